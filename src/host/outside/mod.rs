//! Owns what one instance may reach outside of this host, as it was granted: directory trees, hosts, and time to wait for
//! them.
//!
//! What is granted was decided in `permission`; here it is opened and counted. A guest without any of it has none of this.

mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub(super) use tree::OpenTree;
pub use tree::TreeError;

pub(super) use super::wasi::Waits;
use crate::permission::{Permissions, Reach};

/// Files and directories that an instance may have open at a time, those that it was granted not counted.
pub const MAX_OPEN_FILES: usize = 64;
/// Lists of directories that an instance may have open at a time.
pub const MAX_OPEN_LISTS: usize = 4;
/// Names of one directory that an instance may list; a larger one is refused.
pub const MAX_LISTED_NAMES: usize = 65_536;
/// Sockets that an instance may have at a time, those that it accepted counted.
pub const MAX_SOCKETS: usize = 64;
/// Answers to lookups of names that an instance may have open at a time.
pub const MAX_LOOKUPS: usize = 64;

/// What one instance may reach.
pub struct Outside {
    pub(super) waits: Waits,
    pub(super) trees: Vec<OpenTree>,
    pub(super) reach: Option<Arc<Mutex<Reach>>>,
    pub(super) open: Open,
}

/// What of it is in use, by the numbers of the guest's handles.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) files: BTreeSet<u32>,
    pub(super) lists: BTreeSet<u32>,
    pub(super) sockets: BTreeSet<u32>,
    /// The names whose addresses are being told, by the number of the answer.
    pub(super) lookups: BTreeMap<u32, Box<str>>,
}

impl Outside {
    /// Opens what `effective` says; none when that is nothing. What belongs to this host, at `own`, is in no tree.
    pub fn open(
        effective: &Permissions,
        own: &[PathBuf],
        hurry: watch::Receiver<bool>,
    ) -> Result<Option<Self>, TreeError> {
        if !effective.waits() {
            return Ok(None);
        }
        let trees = effective.trees().into_iter().map(|(tree, writes)| OpenTree::open(&tree, writes, own));
        let reach = effective.reach().map(|reach| Arc::new(Mutex::new(reach)));
        Ok(Some(Self {
            waits: Waits::new(hurry),
            trees: trees.collect::<Result<_, _>>()?,
            reach,
            open: Open::default(),
        }))
    }

    /// A call begins that may take `time`, waiting included.
    pub fn begin(&mut self, time: Duration) {
        self.waits.begin(time);
    }
}

/// The rules of hosts; they are replaced as a whole, so a panic elsewhere can't leave them half changed.
pub(super) fn locked(reach: &Mutex<Reach>) -> MutexGuard<'_, Reach> {
    reach.lock().unwrap_or_else(PoisonError::into_inner)
}
