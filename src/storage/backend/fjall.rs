//! Keeps everything in a fjall database: one journal, three keyspaces.
//!
//! Components share the keyspaces. One of their own for each would make opening slow and cost a write
//! buffer each.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{BackendError, BackendKind, Changes, Durability, Space, StorageBackend, Visit};

/// Blocks of files that stay in memory, in bytes.
const BLOCK_CACHE_BYTES: u64 = 16 << 20;
/// Most bytes of journals, which are read again when the store is opened; the least that fjall takes.
const MAX_JOURNAL_BYTES: u64 = 64 << 20;
/// Bytes that a keyspace collects before it writes a file.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// Threads that write and merge files.
const THREADS: usize = 1;

pub(super) struct FjallBackend {
    database: Database,
    /// In the order of [`Space::ALL`].
    keyspaces: [Keyspace; 3],
}

impl FjallBackend {
    pub(super) fn open(path: &Path) -> Result<Self, BackendError> {
        let database = Database::builder(path)
            .cache_size(BLOCK_CACHE_BYTES)
            .max_journaling_size(MAX_JOURNAL_BYTES)
            .worker_threads(THREADS)
            .open()
            .map_err(described)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let open = |space: Space| database.keyspace(space.name(), options).map_err(described);
        let keyspaces = [open(Space::Data)?, open(Space::Mail)?, open(Space::Meta)?];
        Ok(Self { database, keyspaces })
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        match space {
            Space::Data => &self.keyspaces[0],
            Space::Mail => &self.keyspaces[1],
            Space::Meta => &self.keyspaces[2],
        }
    }
}

impl StorageBackend for FjallBackend {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Arc<[u8]>>, BackendError> {
        let value = self.keyspace(space).get(key).map_err(described)?;
        Ok(value.map(|value| Arc::from(&*value)))
    }

    fn scan(&self, space: Space, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> Result<(), BackendError> {
        if from >= until {
            return Ok(());
        }
        for entry in self.keyspace(space).range(from..until) {
            let (key, value) = entry.into_inner().map_err(described)?;
            if let ControlFlow::Break(()) = visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, changes: &Changes, durability: Durability) -> Result<(), BackendError> {
        let mode = match durability {
            Durability::Relaxed => PersistMode::Buffer,
            Durability::Synced => PersistMode::SyncData,
        };
        let mut batch = self.database.batch().durability(Some(mode));
        for ((space, key), value) in changes {
            match value {
                Some(value) => batch.insert(self.keyspace(*space), key.as_slice(), &**value),
                None => batch.remove(self.keyspace(*space), key.as_slice()),
            }
        }
        batch.commit().map_err(described)
    }

    fn sync(&self) -> Result<(), BackendError> {
        self.database.persist(PersistMode::SyncAll).map_err(described)
    }

    fn kind(&self) -> BackendKind {
        BackendKind::Fjall
    }
}

fn described(error: ::fjall::Error) -> BackendError {
    match error {
        ::fjall::Error::Io(error) => BackendError::new(error),
        ::fjall::Error::Locked => BackendError::new("another process has it open"),
        ::fjall::Error::Poisoned => BackendError::new("an earlier write failed, and nothing is written after that"),
        ::fjall::Error::JournalRecovery(error) => BackendError::new(format!("its journal is damaged: {error:?}")),
        ::fjall::Error::InvalidVersion(found) => {
            BackendError::new(format!("its format is not the one that this version writes: {found:?}"))
        }
        other => BackendError::new(format!("its files can't be read: {other:?}")),
    }
}
