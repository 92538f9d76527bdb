//! Keeps everything in one redb file: three tables of a copy-on-write tree.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ::redb::{Database, ReadableDatabase as _, TableDefinition};

use super::{BackendError, BackendKind, Changes, Durability, Space, StorageBackend, Visit};

/// Pages of the file that stay in memory, in bytes.
const PAGE_CACHE_BYTES: usize = 16 << 20;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(super) struct RedbBackend {
    database: Database,
}

fn table(space: Space) -> Table {
    Table::new(space.name())
}

impl RedbBackend {
    pub(super) fn open(path: &Path) -> Result<Self, BackendError> {
        let database = Database::builder().set_cache_size(PAGE_CACHE_BYTES).create(path).map_err(described)?;
        // Tables come into being by being opened for writing; readers need them all.
        let transaction = database.begin_write().map_err(described)?;
        for space in Space::ALL {
            transaction.open_table(table(space)).map_err(described)?;
        }
        transaction.commit().map_err(described)?;
        Ok(Self { database })
    }
}

impl StorageBackend for RedbBackend {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Arc<[u8]>>, BackendError> {
        let transaction = self.database.begin_read().map_err(described)?;
        let table = transaction.open_table(table(space)).map_err(described)?;
        let value = table.get(key).map_err(described)?;
        Ok(value.map(|value| Arc::from(value.value())))
    }

    fn scan(&self, space: Space, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> Result<(), BackendError> {
        if from >= until {
            return Ok(());
        }
        let transaction = self.database.begin_read().map_err(described)?;
        let table = transaction.open_table(table(space)).map_err(described)?;
        for entry in table.range(from..until).map_err(described)? {
            let (key, value) = entry.map_err(described)?;
            if let ControlFlow::Break(()) = visit(key.value(), value.value()) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, changes: &Changes, durability: Durability) -> Result<(), BackendError> {
        let mut transaction = self.database.begin_write().map_err(described)?;
        transaction
            .set_durability(match durability {
                Durability::Relaxed => ::redb::Durability::None,
                Durability::Synced => ::redb::Durability::Immediate,
            })
            .map_err(described)?;
        // What a kill leaves behind is repaired from a record of this commit, not by reading the whole file.
        transaction.set_quick_repair(durability == Durability::Synced);
        for space in Space::ALL {
            let mut changed = changes.iter().filter(|((of, _), _)| *of == space).peekable();
            if changed.peek().is_none() {
                continue;
            }
            let mut table = transaction.open_table(table(space)).map_err(described)?;
            for ((_, key), value) in changed {
                match value {
                    Some(value) => table.insert(key.as_slice(), &**value).map_err(described)?,
                    None => table.remove(key.as_slice()).map_err(described)?,
                };
            }
        }
        transaction.commit().map_err(described)
    }

    fn sync(&self) -> Result<(), BackendError> {
        // An empty commit that is synced brings those before it along.
        self.commit(&Changes::new(), Durability::Synced)
    }

    fn kind(&self) -> BackendKind {
        BackendKind::Redb
    }
}

fn described(error: impl Into<::redb::Error>) -> BackendError {
    match error.into() {
        ::redb::Error::DatabaseAlreadyOpen => BackendError::new("another process has it open"),
        ::redb::Error::Corrupted(what) => BackendError::new(format!("its file is damaged: {what}")),
        other => BackendError::new(other),
    }
}
