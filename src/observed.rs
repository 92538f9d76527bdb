//! Owns the observed state: what the current generation says and what the supervisor reports.
//!
//! A value that `reconcile::observe` fills and `plan` reads; it reads nothing itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
pub use crate::generation::HeldTarget;
use crate::name::InstallationName;
use crate::record::Record;

/// How far back the guard against mass deletes looks, in milliseconds.
pub const GUARD_WINDOW_MS: u64 = 600_000;
/// Commits closer together than this count as one, in milliseconds: it bounds what is remembered.
const GUARD_BUCKET_MS: u64 = 10_000;

/// What is committed, and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Number of the current generation; 0 before the first one.
    pub generation: u64,
    /// Digest of the current generation; none before the first one.
    pub generation_digest: Option<Digest>,
    /// What the current generation holds.
    pub installed: BTreeMap<InstallationName, Installed>,
    /// Targets that must not be tried again on their own.
    pub held: BTreeMap<InstallationName, HeldTarget>,
}

/// One installation of the current generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// What is committed.
    pub record: Arc<Record>,
    /// [`Record::target_digest`] of the record.
    pub target: Digest,
    /// Which storage is its own.
    pub storage_id: u64,
    /// What became of it.
    pub phase: Phase,
}

/// What an installation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Takes messages. A plan leaves it alone, or stops it when it should be stopped.
    Running,
    /// On its way to running. A plan treats it as running.
    Starting,
    /// Crashed and waits for its restart, which is the supervisor's. A plan treats it as running.
    Backoff,
    /// Crashed too often; the supervisor retries slowly. A plan leaves it alone: restarting it at every
    /// pass would be a hot loop. A new target replaces it as if it ran.
    Failed,
    /// Stopped. Right for a disabled installation; a plan restarts any other.
    Stopped,
    /// No host is running, so nothing is. A plan leaves it alone: a host starts its set by itself.
    NotRunning,
}

/// What happened to the set in the last ten minutes, for the guard against mass deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentSet {
    /// How many were installed ten minutes ago.
    pub size: usize,
    /// How many were uninstalled since then without an approval.
    pub removed: usize,
}

impl RecentSet {
    /// A set of this size in which nothing was removed: what a host knows when it starts.
    pub fn unchanged(size: usize) -> Self {
        Self { size, removed: 0 }
    }
}

/// Remembers how the set shrank, so that deletes spread over many passes count as one.
#[derive(Debug, Clone, Default)]
pub struct SetHistory {
    /// Oldest first; at most one for each [`GUARD_BUCKET_MS`] of the window.
    commits: VecDeque<Commit>,
}

#[derive(Debug, Clone, Copy)]
struct Commit {
    at_ms: u64,
    size_before: usize,
    removed: usize,
}

impl SetHistory {
    /// At `now_ms` a generation was committed: `removed` of `size_before` installations were uninstalled.
    pub fn committed(&mut self, now_ms: u64, size_before: usize, removed: usize) {
        self.forget(now_ms);
        match self.commits.back_mut() {
            Some(last) if now_ms.saturating_sub(last.at_ms) < GUARD_BUCKET_MS => last.removed += removed,
            _ => self.commits.push_back(Commit { at_ms: now_ms, size_before, removed }),
        }
    }

    /// An operator approved what was removed: it must not count against later deletes.
    pub fn approved(&mut self) {
        self.commits.clear();
    }

    /// The set of ten minutes before `now_ms`, when it has `size_now` members now.
    pub fn recent(&self, now_ms: u64, size_now: usize) -> RecentSet {
        let mut recent = self.commits.iter().filter(|commit| is_recent(commit.at_ms, now_ms)).peekable();
        let size = recent.peek().map_or(size_now, |first| first.size_before);
        RecentSet { size, removed: recent.map(|commit| commit.removed).sum() }
    }

    fn forget(&mut self, now_ms: u64) {
        while self.commits.front().is_some_and(|commit| !is_recent(commit.at_ms, now_ms)) {
            self.commits.pop_front();
        }
    }
}

fn is_recent(at_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < GUARD_WINDOW_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_commit_the_set_is_what_it_is_now() {
        assert_eq!(SetHistory::default().recent(5, 7), RecentSet::unchanged(7));
    }

    #[test]
    fn deletes_spread_over_minutes_add_up_and_leave_after_ten() {
        let mut history = SetHistory::default();
        for minute in 0..5 {
            history.committed(minute * 60_000, 100 - 3 * minute as usize, 3);
        }
        assert_eq!(history.recent(240_000, 85), RecentSet { size: 100, removed: 15 });
        assert_eq!(history.recent(600_000, 85), RecentSet { size: 97, removed: 12 });
        assert_eq!(history.recent(840_000, 85), RecentSet::unchanged(85));
    }

    #[test]
    fn an_approval_starts_the_count_anew() {
        let mut history = SetHistory::default();
        history.committed(0, 100, 80);
        history.approved();
        assert_eq!(history.recent(1, 20), RecentSet::unchanged(20));
    }

    #[test]
    fn a_commit_a_second_for_a_day_stays_bounded() {
        let mut history = SetHistory::default();
        for second in 0..86_400 {
            history.committed(second * 1_000, 10, 1);
            assert!(history.commits.len() as u64 <= GUARD_WINDOW_MS / GUARD_BUCKET_MS + 1);
        }
        assert_eq!(history.recent(86_399_000, 10).removed, 600);
    }
}
