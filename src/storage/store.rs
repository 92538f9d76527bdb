//! Owns one open store: reads go to it from any thread, every write through its committer.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::READ_CACHE_BYTES;
use super::backend::{BackendError, BackendKind, Changes, Durability, Space, StorageBackend, Visit};
use super::cache::ReadCache;
use super::commit::{Committer, WriteSet};
use super::error::StoreError;
use super::keys::{behind, full, split};
use super::mail::{Kept, MailSet};
use super::queue::Then;
use super::transaction::{Rules, Transaction};
use super::usage::Usage;
use crate::escape::escape;

/// What this version writes first into a store.
const FORMAT: &str = "airssys-kv 1";
/// Where that stands, below the store's own id.
pub(super) const FORMAT_KEY: &[u8] = b"format";
/// Stands there while a copy from another backend is not finished.
pub(super) const UNFINISHED_KEY: &[u8] = b"unfinished";
/// Where it stands which version of a component wrote last, below the component's id.
pub(super) const WRITER_KEY: &[u8] = b"writer";
/// The storage id under which the store keeps its own records; no component has it.
pub(super) const OWN_ID: u64 = 0;
/// Longest foreign format that an error repeats, in bytes.
const MAX_QUOTED_BYTES: usize = 64;

/// One open store.
pub struct Store {
    pub(super) room: Arc<Room>,
    committer: Committer,
}

/// What readers and the committer share.
pub(super) struct Room {
    pub(super) backend: Arc<dyn StorageBackend>,
    pub(super) cache: ReadCache,
    /// Why nothing may be used any more.
    pub(super) broken: OnceLock<BackendError>,
    pub(super) sets: AtomicU64,
    pub(super) commits: AtomicU64,
}

/// What a store did since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreCounts {
    /// Write sets that were taken.
    pub sets: u64,
    /// Commits of the backend, and so syncs at most.
    pub commits: u64,
}

impl Store {
    /// Opens, and makes when it is not there, a store below a private directory.
    pub fn open(kind: BackendKind, directory: &Path) -> Result<Self, StoreError> {
        let failed = |why| StoreError::Open { kind, path: directory.to_owned(), why };
        Self::on(kind.open(directory).map_err(failed)?)
    }

    /// A store on a backend that the caller brings.
    pub fn on(backend: Arc<dyn StorageBackend>) -> Result<Self, StoreError> {
        let room = Room {
            backend,
            cache: ReadCache::new(READ_CACHE_BYTES),
            broken: OnceLock::new(),
            sets: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        };
        room.check_format()?;
        let room = Arc::new(room);
        Ok(Self { committer: Committer::start(Arc::clone(&room))?, room })
    }

    /// Begins one call of a component with this storage id.
    pub fn begin(self: &Arc<Self>, id: u64, rules: Rules) -> Transaction {
        Transaction::new(Arc::clone(self), id, rules)
    }

    /// Commits what a call changed, and returns when it outlives what its durability says.
    pub fn commit(&self, set: WriteSet) -> Result<(), StoreError> {
        self.committer.commit(set).map(drop)
    }

    /// The same, and says what was given to new messages.
    pub fn commit_mail(&self, mail: MailSet) -> Result<Kept, StoreError> {
        self.committer.commit(WriteSet::of_mail(mail))
    }

    /// Commits what a call changed, and calls `then` when it outlives what its durability says, or failed.
    ///
    /// Returns at once. When more waits for the disk than may, that is [`StoreError::Busy`] and nothing is written.
    pub fn commit_then(&self, set: WriteSet, then: Then) {
        self.committer.commit_then(set, then);
    }

    /// The same without ever being [`StoreError::Busy`]: for what ends things, and does not begin them.
    pub fn commit_soon(&self, set: WriteSet, then: Then) {
        self.committer.commit_soon(set, then);
    }

    /// What the storage id holds.
    pub fn usage(&self, id: u64) -> Result<Usage, StoreError> {
        self.room.usage(id)
    }

    /// The version of the component that wrote last under this id, as far as it is known.
    pub fn writer(&self, id: u64) -> Result<Option<Arc<str>>, StoreError> {
        let record = self.room.get(Space::Meta, full(id, WRITER_KEY))?;
        let damaged = StoreError::Damaged { what: "note of who wrote last" };
        record.map(|record| std::str::from_utf8(&record).map(Arc::from).map_err(|_| damaged)).transpose()
    }

    /// The storage ids that hold something or once did and were not purged, in order.
    pub fn ids(&self) -> Result<Vec<(u64, Usage)>, StoreError> {
        let records = self.records()?.into_iter();
        records.map(|(id, usage)| Ok((id, usage.ok_or(StoreError::Damaged { what: "list of usages" })?))).collect()
    }

    /// The same with none for a record that is damaged.
    pub(super) fn records(&self) -> Result<BTreeMap<u64, Option<Usage>>, StoreError> {
        let mut records = BTreeMap::new();
        self.room.scan(Space::Meta, &full(OWN_ID + 1, b""), &[0xff; 9], &mut |key, record| {
            match split(key) {
                Some((id, WRITER_KEY)) if id != OWN_ID => None,
                Some((id, [])) => records.insert(id, Usage::decode(record)),
                other => records.insert(other.map_or(OWN_ID, |(id, _)| id), None),
            };
            ControlFlow::Continue(())
        })?;
        Ok(records)
    }

    /// The storage ids that have entries, whatever the records say, in order.
    pub fn held_ids(&self) -> Result<Vec<u64>, StoreError> {
        self.ids_in(Space::Data)
    }

    pub(super) fn ids_in(&self, space: Space) -> Result<Vec<u64>, StoreError> {
        let mut ids = Vec::new();
        let mut from = full(OWN_ID + 1, b"");
        loop {
            let mut found = None;
            self.room.scan(space, &from, &[0xff; 9], &mut |key, _| {
                found = split(key).map(|(id, _)| id);
                ControlFlow::Break(())
            })?;
            let Some(id) = found else { return Ok(ids) };
            ids.push(id);
            from = behind(&full(id, b""));
        }
    }

    /// Which backend it is.
    pub fn kind(&self) -> BackendKind {
        self.room.backend.kind()
    }

    /// Whether it can still be used: not after a write that failed.
    pub fn check(&self) -> Result<(), StoreError> {
        self.room.check_usable()
    }

    /// What it did since it was opened.
    pub fn counts(&self) -> StoreCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreCounts { sets: read(&self.room.sets), commits: read(&self.room.commits) }
    }

    /// Write sets that were brought to the committer.
    #[cfg(test)]
    pub(crate) fn brought(&self) -> u64 {
        self.committer.brought()
    }
}

impl Room {
    fn check_format(&self) -> Result<(), StoreError> {
        let key = full(OWN_ID, FORMAT_KEY);
        if self.backend.get(Space::Meta, &full(OWN_ID, UNFINISHED_KEY)).map_err(StoreError::Read)?.is_some() {
            return Err(StoreError::Unfinished { kind: self.backend.kind() });
        }
        let found = self.backend.get(Space::Meta, &key).map_err(StoreError::Read)?;
        match found.as_deref() {
            Some(found) if found == FORMAT.as_bytes() => Ok(()),
            Some(found) => {
                let found = String::from_utf8_lossy(&found[..found.len().min(MAX_QUOTED_BYTES)]).into_owned();
                Err(StoreError::Format { found: escape(&found), known: FORMAT })
            }
            None => {
                let changes = Changes::from([((Space::Meta, key), Some(Arc::from(FORMAT.as_bytes())))]);
                self.backend.commit(&changes, Durability::Synced).map_err(StoreError::Stopped)
            }
        }
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        self.broken.get().map_or(Ok(()), |why| Err(StoreError::Stopped(why.clone())))
    }

    pub(super) fn get(&self, space: Space, key: Vec<u8>) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.check_usable()?;
        let key = (space, key);
        let before = match self.cache.get(&key) {
            Ok(value) => return Ok(Some(value)),
            Err(before) => before,
        };
        let value = self.backend.get(space, &key.1).map_err(StoreError::Read)?;
        if let Some(value) = &value {
            self.cache.remember(before, key, value);
        }
        Ok(value)
    }

    pub(super) fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.check_usable()?;
        self.backend.scan(space, from, until, visit).map_err(StoreError::Read)
    }

    /// All keys of a storage id, as the store has them, up to `most`.
    pub(super) fn keys_of(&self, space: Space, id: u64, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        let first = full(id, b"");
        self.scan(space, &first, &behind(&first), &mut |key, _| {
            keys.push(key.to_vec());
            if keys.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(keys)
    }

    pub(super) fn usage(&self, id: u64) -> Result<Usage, StoreError> {
        match self.get(Space::Meta, full(id, b""))? {
            Some(record) => Usage::decode(&record).ok_or(StoreError::Damaged { what: "record of a usage" }),
            None => Ok(Usage::default()),
        }
    }
}
