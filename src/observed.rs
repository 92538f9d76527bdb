//! Owns the observed state: what the current generation says and what the supervisor reports.
//!
//! A value that `reconcile::observe` fills and `plan` reads; it reads nothing itself.

pub mod quarantine;
pub mod room;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
pub use crate::generation::HeldTarget;
use crate::name::InstallationName;
use crate::paused::Paused;
use crate::record::Record;

use room::Room;

/// How far back the guard against mass deletes looks, in milliseconds.
pub const GUARD_WINDOW_MS: u64 = 600_000;

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
    /// What an operator paused.
    pub paused: Paused,
    /// What the machine has room for.
    pub room: Room,
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
    /// Took the host down too often, and is not started. A plan holds it; a new target replaces it as if it ran.
    Quarantined,
    /// No host is running, so nothing is. A plan leaves it alone: a host starts its set by itself.
    NotRunning,
}

/// What happened to the set in the last ten minutes, for the guard against mass deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentSet {
    /// How many were installed ten minutes ago.
    pub size: usize,
    /// How many of those are gone, whoever approved it: an approval is for what it was given for.
    pub removed: usize,
}

impl RecentSet {
    /// A set of this size in which nothing was removed: what a host knows when it starts.
    pub fn unchanged(size: usize) -> Self {
        Self { size, removed: 0 }
    }
}
