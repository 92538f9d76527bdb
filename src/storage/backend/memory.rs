//! Keeps everything in memory, for tests and for programs that embed the runtime without a disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::{BackendError, BackendKind, Changes, Durability, Space, StorageBackend, Visit};

type Map = BTreeMap<(Space, Vec<u8>), Arc<[u8]>>;

/// A store that ends with the process.
#[derive(Default)]
pub struct MemoryBackend {
    map: RwLock<Map>,
}

impl MemoryBackend {
    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for MemoryBackend {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Arc<[u8]>>, BackendError> {
        Ok(self.read().get(&(space, key.to_vec())).cloned())
    }

    fn scan(&self, space: Space, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> Result<(), BackendError> {
        if from >= until {
            return Ok(());
        }
        for ((_, key), value) in self.read().range((space, from.to_vec())..(space, until.to_vec())) {
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, changes: &Changes, _durability: Durability) -> Result<(), BackendError> {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            match value {
                Some(value) => map.insert(key.clone(), Arc::clone(value)),
                None => map.remove(key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn kind(&self) -> BackendKind {
        BackendKind::Memory
    }
}
