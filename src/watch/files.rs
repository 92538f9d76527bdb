//! Decides which desired files are read now, which are still being written, and which are really gone.
//!
//! Pure: looks at lists that others made; time is an argument. Reads and parses nothing itself.
//!
//! When a new state of a file may be read:
//! * at once after a close-after-write or a rename into place (the watcher saw its completion),
//! * at once when nothing has touched it for [`QUIET_AFTER`] by its change time, which the kernel of
//!   this machine stamps: that is as good as an equal look that long ago,
//! * otherwise after two equal looks at least [`QUIET_AFTER`] apart. On a file system whose times come
//!   from another machine this is the only way.
//!
//! A file is gone when two looks at least [`QUIET_AFTER`] apart did not find it and no other file is
//! being written: editors take a file away for a moment, and a renamed file is new under its new name.
//! Until then its last content counts, and so it does while a newer state settles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::listing::{Found, Listed, Listing};
use crate::safe_open::{Content, FileError, Identity, QUIET_AFTER};

#[cfg(test)]
mod tests;

/// A file that changes at every look for this long is reported instead of awaited.
pub const MAX_SETTLING: Duration = Duration::from_secs(5);
/// Wait before a file that could not be read is looked at again.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);
/// With times from another machine, a content that was read sooner than this after its file's state was
/// first seen is read once more: times there may have steps of up to two seconds.
const FOREIGN_CLOCK_STEP: Duration = Duration::from_secs(3);
/// Shortest wait that is asked for, so that no rounding makes a loop spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Whose clock stamps the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileTimes {
    /// This machine's kernel.
    Local,
    /// Another machine, or nobody knows: a network file system.
    Foreign,
}

/// One look at the directory.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// A complete list.
    pub listing: &'a Listing,
    /// Files that were closed after writing or renamed into place since the last look. Taken *after*
    /// the list was made.
    pub completed: &'a BTreeSet<String>,
    /// Whose times the list shows.
    pub times: FileTimes,
    /// Monotonic time.
    pub now: Duration,
}

/// What a look leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Files to read now; each ends in [`FileCache::fill`] or [`FileCache::fail`].
    pub read: Vec<String>,
    /// Whether [`FileCache::files`] may show something else than before. Never `false` when it does.
    pub changed: bool,
}

/// One desired file as the rest of a pass sees it.
#[derive(Debug, PartialEq, Eq)]
pub enum FileView<'a, T> {
    /// What it says, or what it said before it began to change or went away a moment ago.
    Content(&'a Arc<T>),
    /// It is there and says nothing that can be used.
    Unreadable(&'a FileError),
}

/// What is known of every desired file, keyed by name and valid for one identity each.
#[derive(Debug)]
pub struct FileCache<T> {
    slots: BTreeMap<Box<str>, Slot<T>>,
    times: FileTimes,
}

#[derive(Debug)]
struct Slot<T> {
    kept: Option<Kept<T>>,
    state: State,
    /// Stands in for the content while there is none.
    being_written: FileError,
}

/// A content and the state of the file that it was read from.
#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    identity: Identity,
    /// When a look first showed this state.
    seen_at: Duration,
    /// The file was quiet when it was read: an equal identity means equal bytes.
    is_final: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The kept content is what the file says.
    Settled,
    /// A newer state was seen and may not be read yet; the kept content counts until then.
    Settling { identity: Option<Identity>, since: Duration, begun: Duration, overdue: bool },
    /// Handed out to be read; the kept content counts until then.
    Due { identity: Identity, seen_at: Duration },
    /// Not found; the kept content counts until that is confirmed.
    Absent { since: Duration },
    /// There and unusable; the kept content does not count.
    Unreadable(FileError),
}

impl<T> Default for FileCache<T> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), times: FileTimes::Local }
    }
}

impl<T> FileCache<T> {
    /// Takes a look in and says which files to read now.
    pub fn observe(&mut self, look: Look<'_>) -> Step {
        self.times = look.times;
        let mut step = Step::default();
        let mut tally = Tally::default();
        let mut new = Vec::new();
        let mut known = self.slots.iter_mut().peekable();
        for entry in &look.listing.entries {
            while let Some((_, slot)) = known.next_if(|(name, _)| ***name < *entry.name) {
                step.changed |= slot.miss(look.now);
                tally.add(&slot.state);
            }
            match known.next_if(|(name, _)| **name == entry.name) {
                Some((_, slot)) => {
                    step.changed |= slot.see(entry, &look);
                    step.take_due(&entry.name, &slot.state);
                    tally.add(&slot.state);
                }
                None => new.push(entry),
            }
        }
        for (_, slot) in known {
            step.changed |= slot.miss(look.now);
            tally.add(&slot.state);
        }
        for entry in new {
            let mut slot = Slot::new(entry, look.now);
            slot.see(entry, &look);
            step.changed = true;
            step.take_due(&entry.name, &slot.state);
            tally.add(&slot.state);
            self.slots.insert(entry.name.clone(), slot);
        }
        if tally.absent > 0 && tally.settling == 0 {
            let before = self.slots.len();
            self.slots.retain(|_, slot| !slot.is_gone(look.now));
            step.changed |= self.slots.len() != before;
        }
        step
    }

    /// A file of [`Step::read`] was read and says `value`.
    pub fn fill(&mut self, name: &str, read: &Content, value: Arc<T>, now: Duration) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        let seen_at = match slot.state {
            State::Due { identity, seen_at } if identity == read.identity => seen_at,
            _ => now,
        };
        let is_final = match self.times {
            FileTimes::Local => read.was_quiet,
            FileTimes::Foreign => now.saturating_sub(seen_at) >= FOREIGN_CLOCK_STEP,
        };
        slot.kept = Some(Kept { value, identity: read.identity, seen_at, is_final });
        slot.state = State::Settled;
    }

    /// A file of [`Step::read`] could not be read.
    pub fn fail(&mut self, name: &str, error: FileError, now: Duration) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        slot.state = match error {
            FileError::Missing { .. } => State::Absent { since: now },
            FileError::Changed { .. } => State::Settling { identity: None, since: now, begun: now, overdue: false },
            other => State::Unreadable(other),
        };
    }

    /// When to look again without being woken: a file is settling, its absence is to be confirmed, or
    /// the system could not read it. `None`: everything is settled.
    pub fn look_again_after(&self, now: Duration) -> Option<Duration> {
        let is_settling = |slot: &Slot<T>| matches!(slot.state, State::Settling { overdue: false, .. });
        let any_settling = self.slots.values().any(is_settling);
        let until = |at: Duration| at.saturating_sub(now).max(SHORTEST_WAIT);
        self.slots
            .values()
            .filter_map(|slot| match &slot.state {
                State::Settled | State::Due { .. } => None,
                State::Settling { overdue: true, .. } => Some(RETRY_AFTER),
                State::Settling { since, .. } => Some(until(*since + QUIET_AFTER)),
                // Once the time is over only the files that are being written keep it from being gone.
                State::Absent { since } if any_settling && now >= *since + QUIET_AFTER => None,
                State::Absent { since } => Some(until(*since + QUIET_AFTER)),
                State::Unreadable(error) => error.is_transient().then_some(RETRY_AFTER),
            })
            .min()
    }

    /// Every desired file, in the order of names.
    pub fn files(&self) -> impl Iterator<Item = (&str, FileView<'_, T>)> {
        self.slots.iter().map(|(name, slot)| (&**name, slot.view()))
    }
}

impl Step {
    fn take_due(&mut self, name: &str, state: &State) {
        if matches!(state, State::Due { .. }) {
            self.read.push(name.to_owned());
            self.changed = true;
        }
    }
}

#[derive(Default)]
struct Tally {
    absent: usize,
    settling: usize,
}

impl Tally {
    fn add(&mut self, state: &State) {
        match state {
            State::Absent { .. } => self.absent += 1,
            State::Settling { overdue: false, .. } => self.settling += 1,
            _ => {}
        }
    }
}

impl<T> Slot<T> {
    fn new(entry: &Listed, now: Duration) -> Self {
        let being_written = FileError::BeingWritten { file: crate::escape::escape(&entry.name) };
        Self { kept: None, state: State::Absent { since: now }, being_written }
    }

    /// Returns whether anything changed.
    fn see(&mut self, entry: &Listed, look: &Look<'_>) -> bool {
        let next = match &entry.found {
            Found::Unreadable(FileError::Missing { .. }) => return self.miss(look.now),
            Found::Unreadable(error) => State::Unreadable(error.clone()),
            Found::File { identity, is_quiet } => self.see_file(*identity, *is_quiet, &entry.name, look),
        };
        let changed = self.state != next;
        self.state = next;
        changed
    }

    fn see_file(&self, identity: Identity, is_quiet: bool, name: &str, look: &Look<'_>) -> State {
        let is_complete = || look.times == FileTimes::Local && (is_quiet || look.completed.contains(name));
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.identity == identity) {
            let waited =
                look.times == FileTimes::Foreign && look.now.saturating_sub(kept.seen_at) >= FOREIGN_CLOCK_STEP;
            return if kept.is_final || !(waited || is_complete()) {
                State::Settled
            } else {
                State::Due { identity, seen_at: kept.seen_at }
            };
        }
        let (since, begun) = match self.state {
            State::Settling { identity: Some(same), since, begun, .. } if same == identity => (since, begun),
            State::Settling { begun, .. } => (look.now, begun),
            State::Due { identity: same, seen_at } if same == identity => return State::Due { identity, seen_at },
            _ => (look.now, look.now),
        };
        if is_complete() || look.now.saturating_sub(since) >= QUIET_AFTER {
            return State::Due { identity, seen_at: since };
        }
        let overdue = look.now.saturating_sub(begun) >= MAX_SETTLING;
        State::Settling { identity: Some(identity), since, begun, overdue }
    }

    /// The file is not on the list. Returns whether anything changed.
    fn miss(&mut self, now: Duration) -> bool {
        if matches!(self.state, State::Absent { .. }) {
            return false;
        }
        self.state = State::Absent { since: now };
        true
    }

    fn is_gone(&self, now: Duration) -> bool {
        match self.state {
            State::Absent { since } => self.kept.is_none() || now.saturating_sub(since) >= QUIET_AFTER,
            _ => false,
        }
    }

    fn view(&self) -> FileView<'_, T> {
        match (&self.state, &self.kept) {
            (State::Unreadable(error), _) => FileView::Unreadable(error),
            (State::Settling { overdue: true, .. }, _) | (_, None) => FileView::Unreadable(&self.being_written),
            (_, Some(kept)) => FileView::Content(&kept.value),
        }
    }
}
