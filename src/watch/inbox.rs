//! Owns what events leave behind until the next look: when it is due, why, and what was touched.
//!
//! Does no I/O and waits for nothing: whoever delivers events holds the lock for a moment only, so
//! the queue of the kernel is always drained.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind, RenameMode};

use super::debounce::{Debounce, Due, Urgency};
use super::interest::Interest;
use super::listing::is_desired_file_name;
use crate::escape::escape;

#[cfg(test)]
mod tests;

/// Names of completed files that are kept; with more, files settle by their times instead.
const MAX_COMPLETED: usize = 16_384;
/// Artifact directories that are kept by name; with more, all count as touched.
const MAX_TOUCHED: usize = 8_192;

/// Why the next look is made: for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Something changed; the name of the first file, escaped.
    Event(String),
    /// Events were lost.
    Overflow,
    /// The regular full list.
    Interval,
    /// The watcher failed; its words, escaped.
    WatcherError(String),
    /// Files were settling or could not be read, and it is time to look at them again.
    LookAgain,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(name) => write!(f, "`{name}` changed"),
            Self::Overflow => f.write_str("events were lost"),
            Self::Interval => f.write_str("regular full list"),
            Self::WatcherError(error) => write!(f, "the watcher failed: {error}"),
            Self::LookAgain => f.write_str("files were settling"),
        }
    }
}

/// Which artifact directories may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These, as they were handed to [`super::Watcher::set_artifact_dirs`].
    Directories(BTreeSet<PathBuf>),
    /// Nobody knows: look at all.
    All,
}

impl Default for Touched {
    fn default() -> Self {
        Self::Directories(BTreeSet::new())
    }
}

impl Touched {
    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Directories(directories) if directories.is_empty())
    }

    fn add(&mut self, new: &BTreeSet<PathBuf>) {
        if let Self::Directories(directories) = self {
            directories.extend(new.iter().cloned());
            if directories.len() > MAX_TOUCHED {
                *self = Self::All;
            }
        }
    }
}

/// Which watcher delivers an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Desired,
    Artifacts,
}

/// Which watches may be on directories that are gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    all: bool,
    below: BTreeSet<PathBuf>,
}

impl Lost {
    /// Whether the watch of `path` may be gone.
    pub(super) fn holds(&self, path: &Path) -> bool {
        self.all || path.ancestors().any(|ancestor| self.below.contains(ancestor))
    }
}

/// What waits for the next look.
#[derive(Debug)]
pub(super) struct Inbox {
    /// The desired directory and the directory in which it stands.
    directory: PathBuf,
    parent: Option<PathBuf>,
    debounce: Debounce,
    first_event: Option<String>,
    trouble: Option<Cause>,
    pub(super) completed: BTreeSet<String>,
    pub(super) touched: Touched,
    /// What is watched for artifacts.
    pub(super) interests: BTreeMap<PathBuf, Interest>,
    /// Files are reached through links, so every name in the desired directory matters.
    pub(super) every_name_matters: bool,
    /// The watch of the desired directory, or of its parent, may be on a directory that is gone.
    pub(super) desired_watch_is_stale: bool,
    /// What is watched for artifacts is to be worked out again.
    pub(super) artifact_watches_are_stale: bool,
    /// Watches for artifacts that are to be set anew, with everything below.
    pub(super) lost: Lost,
    pub(super) look_again_at: Option<Duration>,
    /// Time between two full lists.
    pub(super) interval: Duration,
    last_full_list: Duration,
}

impl Inbox {
    pub(super) fn new(directory: PathBuf, interval: Duration) -> Self {
        Self {
            parent: directory.parent().map(Path::to_owned),
            directory,
            debounce: Debounce::default(),
            first_event: None,
            trouble: None,
            completed: BTreeSet::new(),
            // Nothing was looked at yet.
            touched: Touched::All,
            interests: BTreeMap::new(),
            every_name_matters: false,
            desired_watch_is_stale: false,
            artifact_watches_are_stale: false,
            lost: Lost::default(),
            look_again_at: None,
            interval,
            last_full_list: Duration::ZERO,
        }
    }

    /// Takes what a watcher delivers. Returns whether it matters.
    pub(super) fn deliver(&mut self, origin: Origin, event: notify::Result<Event>, now: Duration) -> bool {
        match event {
            Err(error) => self.fail(origin, Cause::WatcherError(escape(&error.to_string())), now),
            Ok(event) if event.need_rescan() => self.fail(origin, Cause::Overflow, now),
            Ok(event) => {
                let Some(step) = step(&event.kind) else { return false };
                for path in &event.paths {
                    match origin {
                        Origin::Desired => self.desired_event(path, step, now),
                        Origin::Artifacts => self.artifact_event(path, step, now),
                    }
                }
                return self.debounce.due_at().is_some();
            }
        }
        true
    }

    /// Events were lost or will not come: everything is looked at and the watches are set anew.
    pub(super) fn fail(&mut self, origin: Origin, cause: Cause, now: Duration) {
        self.trouble = Some(cause);
        self.completed.clear();
        self.touched = Touched::All;
        self.artifact_watches_are_stale = true;
        match origin {
            Origin::Desired => self.desired_watch_is_stale = true,
            Origin::Artifacts => self.lost.all = true,
        }
        self.debounce.relist(now);
    }

    /// Asks for a look because of `name`.
    pub(super) fn wake(&mut self, name: &str, urgency: Urgency, now: Duration) {
        self.first_event.get_or_insert_with(|| escape(name));
        self.debounce.event(now, urgency);
    }

    /// Artifact directories whose watch is new: what happened before it was set is not known.
    pub(super) fn touch(&mut self, directories: &BTreeSet<PathBuf>, now: Duration) {
        self.touched.add(directories);
        if let Some(first) = directories.first() {
            self.wake(&first.to_string_lossy(), Urgency::Begun, now);
        }
    }

    /// The next look's cause when it is due, otherwise when to ask again.
    pub(super) fn take(&mut self, now: Duration) -> Result<Cause, Duration> {
        let full_list_at = self.last_full_list.saturating_add(self.interval);
        let cause = match self.debounce.take(now) {
            Some(Due::Relist) => self.trouble.take().unwrap_or(Cause::Overflow),
            Some(Due::Events) => Cause::Event(self.first_event.take().unwrap_or_default()),
            None if full_list_at <= now => Cause::Interval,
            None if self.look_again_at.is_some_and(|at| at <= now) => Cause::LookAgain,
            None => {
                let others = [self.debounce.due_at(), self.look_again_at];
                return Err(others.into_iter().flatten().fold(full_list_at, Duration::min));
            }
        };
        self.look_again_at = None;
        self.first_event = None;
        match cause {
            Cause::Event(_) => {}
            Cause::LookAgain => self.debounce.looked(now),
            Cause::Interval | Cause::Overflow | Cause::WatcherError(_) => {
                self.debounce.looked(now);
                self.trouble = None;
                self.last_full_list = now;
                // What no event tells is found here: links far up a path, mounts, lost watches.
                self.touched = Touched::All;
                self.artifact_watches_are_stale = true;
            }
        }
        Ok(cause)
    }

    #[cfg(test)]
    pub(super) fn is_waiting(&self) -> bool {
        self.debounce.due_at().is_some() || self.look_again_at.is_some()
    }

    fn desired_event(&mut self, path: &Path, step: Step, now: Duration) {
        if path == self.directory || Some(path) == self.parent.as_deref() {
            self.desired_watch_is_stale |= step != Step::Touched;
            let urgency = if step == Step::Completed { Urgency::Complete } else { Urgency::Begun };
            let name = path.to_string_lossy().into_owned();
            return self.wake(&name, urgency, now);
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        if parent != self.directory {
            return;
        }
        let name = name.to_string_lossy().into_owned();
        let is_desired = is_desired_file_name(&name);
        if !(is_desired || self.every_name_matters || name.starts_with("..")) {
            return;
        }
        if is_desired {
            self.note_completion(&name, step);
        }
        let urgency = if step == Step::Completed { Urgency::Complete } else { Urgency::Begun };
        self.wake(&name, urgency, now);
    }

    fn note_completion(&mut self, name: &str, step: Step) {
        match step {
            Step::Completed => {
                if self.completed.len() >= MAX_COMPLETED {
                    self.completed.clear();
                }
                self.completed.insert(name.to_owned());
            }
            Step::Begun => {
                self.completed.remove(name);
            }
            Step::Touched => {}
        }
    }

    /// An artifact is three files: the end of one is no reason to hurry.
    fn artifact_event(&mut self, path: &Path, step: Step, now: Duration) {
        if let Some(itself) = self.interests.get(path) {
            self.touched.add(&itself.directories);
            if step != Step::Touched {
                self.artifact_watches_are_stale = true;
                self.lost.below.insert(path.to_owned());
            }
            self.wake(&path.to_string_lossy(), Urgency::Begun, now);
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        let Some(interest) = self.interests.get(parent) else { return };
        if interest.concerns(name) {
            // A link may lead elsewhere now, or a missing directory may have come.
            self.artifact_watches_are_stale |= interest.directories.iter().any(|directory| directory != parent);
            self.touched.add(&interest.directories);
            self.wake(&name.to_string_lossy(), Urgency::Begun, now);
        }
    }
}

/// What an event says about a file, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Closed after writing, or renamed into place.
    Completed,
    /// Created, partly written, taken away.
    Begun,
    /// Its owner, mode or times changed.
    Touched,
}

/// `None`: the event changes nothing (opened, read, closed after reading), or says twice what two
/// other events say.
fn step(kind: &EventKind) -> Option<Step> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Step::Completed),
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => None,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Step::Completed),
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Step::Touched),
        EventKind::Any | EventKind::Other | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => {
            Some(Step::Begun)
        }
    }
}
