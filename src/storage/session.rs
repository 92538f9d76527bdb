//! Owns the storage of one instance over its calls: which storage it is, and the transaction of the call in hand.
//!
//! What the calls are and when they end is known to whoever runs the instance.

use std::sync::{Arc, OnceLock};

use super::error::{StorageError, StoreError};
use super::lazy::Storage;
use super::transaction::{Rules, Transaction};

/// The storage of one instance.
///
/// [`HandlerStorage::begin`] opens the transaction of a call, [`HandlerStorage::commit`] keeps what the call
/// wrote, and [`HandlerStorage::abort`] or the next `begin` forgets it.
pub struct HandlerStorage {
    storage: Arc<Storage>,
    /// Set when the generation that gives the id out is committed; until then there is nothing to read.
    id: Arc<OnceLock<u64>>,
    rules: Rules,
    current: Option<Transaction>,
}

impl HandlerStorage {
    /// Nothing is opened before the guest asks for something.
    pub fn new(storage: Arc<Storage>, id: Arc<OnceLock<u64>>, rules: Rules) -> Self {
        Self { storage, id, rules, current: None }
    }

    /// A call begins, which may write or only read.
    pub fn begin(&mut self, writes: bool) {
        self.current = None;
        self.rules.writes = writes;
    }

    /// The transaction of the call in hand.
    pub fn transaction(&mut self) -> Result<&mut Transaction, StorageError> {
        let Self { storage, id, rules, current } = self;
        match current {
            Some(transaction) => Ok(transaction),
            None => {
                if rules.level.is_none() {
                    return Err(StorageError::NotPermitted);
                }
                // No component has id 0: under it stands nothing that a component could read.
                let rules = Rules { writes: rules.writes && id.get().is_some(), ..*rules };
                let id = id.get().copied().unwrap_or_default();
                Ok(current.insert(storage.store()?.begin(id, rules)))
            }
        }
    }

    /// The call ended well. An error means that nothing of it was kept.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        let Some(transaction) = self.current.take() else { return Ok(()) };
        let store = Arc::clone(&transaction.store);
        match transaction.finish()? {
            Some(set) => store.commit(set),
            None => Ok(()),
        }
    }

    /// The call did not end well.
    pub fn abort(&mut self) {
        self.current = None;
    }
}
