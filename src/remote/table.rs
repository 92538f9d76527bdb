//! Decides which remote source is fetched when.
//!
//! Events in, commands out. A source waits by itself: its failures, its wait, its class. A host that can't be
//! reached makes everything behind it wait together, so that a thousand sources on a dead host cost one attempt at
//! a time. The time is monotonic milliseconds that the caller passes, the jitter a function of the caller.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::backoff::{Backoff, Jitter, Retries, SOURCE_FIRST_WAIT_MS};
use crate::digest::Digest;
use crate::resolution::Class;

/// Most fetches at a time.
pub const MAX_FETCHES: usize = 8;
/// Most fetches at a time from one `host:port`.
pub const MAX_FETCHES_PER_HOST: usize = 2;
/// Longest time for which a server may ask to be left alone, in milliseconds.
pub const MAX_RETRY_AFTER_MS: u64 = 60 * 60 * 1_000;

/// Names one start of a fetch.
pub type Ticket = u64;

/// Where a source is fetched from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// `host:port`; none on this machine.
    pub host: Option<String>,
    /// What only one fetch at a time may use, such as the mirror of a repository.
    pub exclusive: Option<String>,
}

/// A source that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Where it is.
    pub place: Place,
    /// Digest of everything besides the source that the outcome depends on: another one makes it worth a try at once.
    pub input: Digest,
    /// Whether it is resolved already, from an earlier time.
    pub is_known: bool,
    /// Whether it can never be anything else than what it is: a commit, pinned bytes.
    pub is_fixed: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<K> {
    /// Start a fetch.
    Start {
        /// Of what.
        key: K,
        /// Its name, for [`Table::done`].
        ticket: Ticket,
    },
    /// End a fetch soon; [`Table::done`] is called for it all the same.
    Cancel {
        /// Which.
        ticket: Ticket,
    },
}

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The source is resolved.
    Resolved,
    /// It is not.
    Failed {
        /// What the failure asks for.
        class: Class,
        /// Whether its host could not be spoken to at all.
        is_unreachable: bool,
        /// How long the other side asked to be left alone, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// It was told to end.
    Cancelled,
}

/// How a source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Being fetched.
    Fetching,
    /// Its turn comes at this time, or as soon as others are done.
    Waiting {
        /// When, at the earliest.
        next_ms: u64,
    },
    /// Nothing is done before an input changes.
    Resting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Due(u64),
    Fetching(Ticket),
    Resting,
}

#[derive(Debug, Clone)]
struct Entry {
    want: Want,
    phase: Phase,
    retries: Retries,
}

#[derive(Debug, Clone)]
struct Host {
    running: usize,
    /// Failures to reach it in a row; while there are any, one fetch at a time tries.
    unreachable: Retries,
    failed_at_ms: u64,
    /// It asked to be left alone until then.
    quiet_until_ms: u64,
}

impl Default for Host {
    fn default() -> Self {
        Self { running: 0, unreachable: Retries::new(Backoff::SOURCE), failed_at_ms: 0, quiet_until_ms: 0 }
    }
}

impl Host {
    fn room(&self) -> usize {
        let most = if self.unreachable.failures() > 0 { 1 } else { MAX_FETCHES_PER_HOST };
        most.saturating_sub(self.running)
    }

    fn opens_at(&self) -> u64 {
        self.unreachable.next_ms().unwrap_or(0).max(self.quiet_until_ms)
    }
}

#[derive(Debug, Clone)]
struct Running<K> {
    key: K,
    place: Place,
    input: Digest,
    is_cancelled: bool,
}

/// All wanted remote sources.
#[derive(Debug, Clone)]
pub struct Table<K> {
    interval_ms: u64,
    entries: BTreeMap<K, Entry>,
    running: BTreeMap<Ticket, Running<K>>,
    hosts: BTreeMap<String, Host>,
    next_ticket: Ticket,
}

impl<K: Ord + Clone> Table<K> {
    /// Nothing is wanted yet. What can move is looked at again every `interval_ms`, give or take a tenth.
    pub fn new(interval_ms: u64) -> Self {
        Self {
            interval_ms: interval_ms.max(1),
            entries: BTreeMap::new(),
            running: BTreeMap::new(),
            hosts: BTreeMap::new(),
            next_ticket: 1,
        }
    }

    /// Exactly these are wanted. What is new, or depends on something new, is due at once; what is fetched and no
    /// longer wanted, or for an old input, is cancelled.
    pub fn want(&mut self, wanted: BTreeMap<K, Want>, now_ms: u64) -> Vec<Command<K>> {
        let mut commands = Vec::new();
        let gone: Vec<K> = self.entries.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        for key in gone {
            if let Some(Entry { phase: Phase::Fetching(ticket), .. }) = self.entries.remove(&key) {
                commands.extend(self.cancel(ticket));
            }
        }
        for (key, want) in wanted {
            let same = self.entries.get(&key).is_some_and(|entry| entry.want.input == want.input);
            if same {
                continue;
            }
            if let Some(Entry { phase: Phase::Fetching(ticket), .. }) = self.entries.get(&key) {
                commands.extend(self.cancel(*ticket));
            }
            let phase = if want.is_known && want.is_fixed { Phase::Resting } else { Phase::Due(now_ms) };
            if let (Phase::Due(_), Some(host)) = (phase, &want.place.host) {
                self.try_soon(&host.clone(), now_ms);
            }
            self.entries.insert(key, Entry { want, phase, retries: Retries::new(Backoff::SOURCE) });
        }
        self.hosts.retain(|name, host| {
            host.running > 0 || self.entries.values().any(|entry| entry.want.place.host.as_ref() == Some(name))
        });
        commands
    }

    /// Whether a source is wanted with this input already.
    pub fn has(&self, key: &K, input: &Digest) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.want.input == *input)
    }

    /// What was resolved is not there any more: it is due at once.
    pub fn lost(&mut self, key: &K, now_ms: u64) {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.phase == Phase::Resting
        {
            entry.phase = Phase::Due(now_ms);
        }
    }

    /// Everything that is not fixed and resolved is due at once, whatever failed before. Who asked to be left alone is.
    pub fn sync(&mut self, now_ms: u64) {
        for entry in self.entries.values_mut() {
            let is_done = entry.want.is_known && entry.want.is_fixed;
            if !matches!(entry.phase, Phase::Fetching(_)) && !is_done {
                entry.retries.reset();
                entry.phase = Phase::Due(now_ms);
            }
        }
        for host in self.hosts.values_mut() {
            host.unreachable.reset();
        }
    }

    /// The fetches that start now.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Command<K>> {
        let mut due: Vec<(u64, K)> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| match entry.phase {
                Phase::Due(at) if at <= now_ms => Some((at, key.clone())),
                _ => None,
            })
            .collect();
        due.sort();
        let mut commands = Vec::new();
        for (_, key) in due {
            if self.running.len() >= MAX_FETCHES {
                break;
            }
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let place = entry.want.place.clone();
            let is_used = |running: &Running<K>| running.place.exclusive == place.exclusive;
            if place.exclusive.is_some() && self.running.values().any(is_used) {
                continue;
            }
            if let Some(name) = &place.host {
                let host = self.hosts.entry(name.clone()).or_default();
                if host.room() == 0 || now_ms < host.opens_at() {
                    continue;
                }
                host.running += 1;
            }
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            entry.phase = Phase::Fetching(ticket);
            let input = entry.want.input;
            self.running.insert(ticket, Running { key: key.clone(), place, input, is_cancelled: false });
            commands.push(Command::Start { key, ticket });
        }
        commands
    }

    /// A fetch ended.
    pub fn done(&mut self, ticket: Ticket, outcome: Outcome, now_ms: u64, jitter: &mut dyn FnMut() -> Jitter) {
        let Some(Running { key, place, input, is_cancelled }) = self.running.remove(&ticket) else { return };
        let outcome = if is_cancelled { Outcome::Cancelled } else { outcome };
        if let Some(host) = place.host.as_ref().and_then(|name| self.hosts.get_mut(name)) {
            host.running = host.running.saturating_sub(1);
            note_host(host, outcome, now_ms, jitter);
        }
        let interval_ms = self.interval_ms;
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.phase == Phase::Fetching(ticket)) else {
            return;
        };
        let again = |entry: &Entry, jitter: &mut dyn FnMut() -> Jitter| match entry.want.is_fixed {
            true => Phase::Resting,
            false => Phase::Due(now_ms.saturating_add(spread(interval_ms, jitter()))),
        };
        entry.phase = match outcome {
            Outcome::Resolved => {
                entry.retries.reset();
                entry.want.is_known = true;
                again(entry, jitter)
            }
            Outcome::Cancelled => Phase::Due(now_ms.saturating_add(SOURCE_FIRST_WAIT_MS)),
            // What it failed by has changed meanwhile.
            Outcome::Failed { .. } if input != entry.want.input => Phase::Due(now_ms),
            // What can move may be mended where it is: it is looked at as seldom as if all were well.
            Outcome::Failed { class: Class::Stalled, .. } => again(entry, jitter),
            Outcome::Failed { class: Class::Transient | Class::Bug, retry_after_ms, .. } => {
                let next = entry.retries.failed(now_ms, jitter());
                let asked = retry_after_ms.unwrap_or(0).min(MAX_RETRY_AFTER_MS);
                Phase::Due(next.max(now_ms.saturating_add(asked)))
            }
        };
    }

    /// How a source stands; none when it is not wanted.
    pub fn standing(&self, key: &K) -> Option<Standing> {
        let entry = self.entries.get(key)?;
        Some(match entry.phase {
            Phase::Fetching(_) => Standing::Fetching,
            Phase::Resting => Standing::Resting,
            Phase::Due(at) => Standing::Waiting { next_ms: at.max(self.opens_at(&entry.want.place)) },
        })
    }

    /// When the next fetch may start by time alone; none when only an event can make one start.
    pub fn next_tick_ms(&self) -> Option<u64> {
        if self.running.len() >= MAX_FETCHES {
            return None;
        }
        let may_start = |place: &Place| {
            let host = place.host.as_ref().and_then(|name| self.hosts.get(name));
            let is_free = place.exclusive.is_none()
                || !self.running.values().any(|running| running.place.exclusive == place.exclusive);
            is_free && host.is_none_or(|host| host.room() > 0)
        };
        let times = self.entries.values().filter_map(|entry| match entry.phase {
            Phase::Due(at) if may_start(&entry.want.place) => Some(at.max(self.opens_at(&entry.want.place))),
            _ => None,
        });
        times.min()
    }

    /// Whether something is being fetched, or was never tried and is only waiting for its turn.
    pub fn is_busy(&self, now_ms: u64) -> bool {
        !self.running.is_empty() || self.next_tick_ms().is_some_and(|next| next <= now_ms)
    }

    /// Fetches that are under way.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    fn opens_at(&self, place: &Place) -> u64 {
        place.host.as_ref().and_then(|name| self.hosts.get(name)).map_or(0, Host::opens_at)
    }

    fn cancel(&mut self, ticket: Ticket) -> Option<Command<K>> {
        let running = self.running.get_mut(&ticket)?;
        running.is_cancelled = true;
        Some(Command::Cancel { ticket })
    }

    /// A changed input shortens the wait for an unreachable host to the shortest that there is, and no further: many
    /// changed files must not become as many attempts.
    fn try_soon(&mut self, name: &str, now_ms: u64) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let soonest = host.failed_at_ms.saturating_add(SOURCE_FIRST_WAIT_MS).max(now_ms);
        if host.unreachable.next_ms().is_some_and(|next| next > soonest) {
            host.unreachable.try_at(soonest);
        }
    }
}

fn note_host(host: &mut Host, outcome: Outcome, now_ms: u64, jitter: &mut dyn FnMut() -> Jitter) {
    match outcome {
        Outcome::Cancelled => {}
        Outcome::Failed { is_unreachable: true, .. } => {
            // Two that fail together are one failure of the host.
            if host.unreachable.is_due(now_ms) {
                host.unreachable.failed(now_ms, jitter());
                host.failed_at_ms = now_ms;
            }
        }
        Outcome::Failed { retry_after_ms, .. } => {
            host.unreachable.reset();
            let asked = retry_after_ms.unwrap_or(0).min(MAX_RETRY_AFTER_MS);
            host.quiet_until_ms = host.quiet_until_ms.max(now_ms.saturating_add(asked));
        }
        Outcome::Resolved => host.unreachable.reset(),
    }
}

/// The interval, give or take a tenth.
fn spread(interval_ms: u64, jitter: Jitter) -> u64 {
    let tenth = interval_ms / 10;
    let random = u128::from(tenth) * 2 * u128::from(jitter.0) / u128::from(u32::MAX);
    (interval_ms - tenth).saturating_add(u64::try_from(random).unwrap_or(tenth)).max(1)
}
