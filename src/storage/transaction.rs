//! Owns one call's view of its storage: what is committed, under what the call itself has written.
//!
//! Nothing of it is kept until [`Transaction::finish`] and the commit of what that returns; dropping it
//! forgets everything.

use std::sync::Arc;

use super::backend::{Durability, Space};
use super::commit::{DataSet, WriteSet};
use super::error::{StorageError, StoreError};
use super::keys::{check_key, check_value, full};
use super::overlay::Overlay;
use super::store::Store;
use super::usage::{Quota, Usage};
use super::{MAX_BATCH, MAX_OPERATIONS, MAX_TRANSACTION_BYTES};
use crate::permission::StorageLevel;

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How far its permission goes; without one it may do nothing.
    pub level: Option<StorageLevel>,
    /// The most that its storage id may hold.
    pub quota: Quota,
    /// Whether this is a call that may write if its permission allows it.
    pub writes: bool,
}

/// One call's view.
pub struct Transaction {
    pub(super) store: Arc<Store>,
    pub(super) id: u64,
    rules: Rules,
    /// What was committed when the call first asked.
    before: Option<Usage>,
    after: Usage,
    pub(super) overlay: Overlay,
    operations: u64,
    /// Why the store failed this call, if it did; such a call is not committed.
    failure: Option<Arc<StoreError>>,
}

impl Transaction {
    pub(super) fn new(store: Arc<Store>, id: u64, rules: Rules) -> Self {
        let (after, overlay) = (Usage::default(), Overlay::default());
        Self { store, id, rules, before: None, after, overlay, operations: 0, failure: None }
    }

    /// The value of a key.
    pub fn get(&mut self, key: &str) -> Result<Option<Arc<[u8]>>, StorageError> {
        self.read(1)?;
        check_key(key)?;
        self.look_up(key)
    }

    /// Whether there is a value.
    pub fn has(&mut self, key: &str) -> Result<bool, StorageError> {
        Ok(self.get(key)?.is_some())
    }

    /// The values of several keys, in the order of the keys.
    pub fn get_many(&mut self, keys: &[impl AsRef<str>]) -> Result<Vec<Option<Arc<[u8]>>>, StorageError> {
        self.check_batch(keys.len())?;
        self.read(keys.len())?;
        keys.iter().try_for_each(|key| check_key(key.as_ref()))?;
        keys.iter().map(|key| self.look_up(key.as_ref())).collect()
    }

    /// Puts a value.
    pub fn set(&mut self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        self.write(1)?;
        self.put(key, value)
    }

    /// Puts several values, or none of them.
    pub fn set_many(&mut self, entries: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Result<(), StorageError> {
        self.check_batch(entries.len())?;
        self.write(entries.len())?;
        let (after, overlay) = (self.after, self.overlay.remember(entries.iter().map(|(key, _)| key.as_ref())));
        let put = entries.iter().try_for_each(|(key, value)| self.put(key.as_ref(), value.as_ref()));
        if put.is_err() {
            self.after = after;
            self.overlay.restore(overlay);
        }
        put
    }

    /// Removes a key. Says whether it was there.
    pub fn delete(&mut self, key: &str) -> Result<bool, StorageError> {
        self.write(1)?;
        check_key(key)?;
        self.remove(key)
    }

    /// Removes several keys, or none of them.
    pub fn delete_many(&mut self, keys: &[impl AsRef<str>]) -> Result<(), StorageError> {
        self.check_batch(keys.len())?;
        self.write(keys.len())?;
        keys.iter().try_for_each(|key| check_key(key.as_ref()))?;
        // Only the store can fail here, and then nothing of the call is kept.
        keys.iter().try_for_each(|key| self.remove(key.as_ref()).map(drop))
    }

    fn remove(&mut self, key: &str) -> Result<bool, StorageError> {
        let Some(old) = self.look_up(key)? else { return Ok(false) };
        self.after = self.after.after(key, Some(old.len()), None);
        self.overlay.remove(key);
        Ok(true)
    }

    /// Removes everything.
    pub fn clear(&mut self) -> Result<(), StorageError> {
        if self.rules.level < Some(StorageLevel::Admin) {
            return Err(StorageError::NotPermitted);
        }
        self.write(1)?;
        self.after = Usage { bytes: 0, keys: 0, ..self.after };
        self.overlay.clear();
        Ok(())
    }

    /// What the component holds, with what this call wrote.
    pub fn usage(&mut self) -> Result<Usage, StorageError> {
        self.read(1)?;
        Ok(self.after)
    }

    /// What is to be committed: nothing when nothing was written.
    pub fn finish(self) -> Result<Option<WriteSet>, StoreError> {
        if let Some(failure) = self.failure {
            return Err((*failure).clone());
        }
        let Some(before) = self.before.filter(|_| !self.overlay.is_untouched()) else { return Ok(None) };
        let id = self.id;
        let (clears, entries) = self.overlay.into_parts();
        let changes =
            entries.into_iter().map(|(key, value)| ((Space::Data, full(id, key.as_bytes())), value)).collect();
        let set = DataSet { id, before, after: self.after, clears, changes, forgets: false };
        Ok(Some(WriteSet::of_data(set, Durability::Synced)))
    }

    /// Counts an operation that reads, if it may.
    pub(super) fn read(&mut self, operations: usize) -> Result<(), StorageError> {
        if self.rules.level.is_none() {
            return Err(StorageError::NotPermitted);
        }
        self.operations = self.operations.saturating_add(operations.max(1) as u64);
        if self.operations > MAX_OPERATIONS {
            return Err(StorageError::TooManyOperations(MAX_OPERATIONS));
        }
        if self.before.is_none() {
            let usage = self.store.usage(self.id);
            let usage = self.noting(usage)?;
            self.before = Some(usage);
            self.after = usage;
        }
        Ok(())
    }

    fn write(&mut self, operations: usize) -> Result<(), StorageError> {
        if self.rules.level < Some(StorageLevel::ReadWrite) {
            return Err(StorageError::NotPermitted);
        }
        if !self.rules.writes {
            return Err(StorageError::ReadOnlyNow);
        }
        self.read(operations)
    }

    fn check_batch(&self, keys: usize) -> Result<(), StorageError> {
        if keys > MAX_BATCH { Err(StorageError::BatchTooLarge(MAX_BATCH as u64)) } else { Ok(()) }
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        check_key(key)?;
        check_value(value)?;
        let old = self.look_up(key)?.map(|old| old.len());
        let after = self.after.after(key, old, Some(value.len()));
        self.rules.quota.allows(self.after, after)?;
        if self.overlay.bytes_after(key, value.len()) > MAX_TRANSACTION_BYTES {
            return Err(StorageError::TransactionTooLarge(MAX_TRANSACTION_BYTES));
        }
        self.after = after;
        self.overlay.put(key, value);
        Ok(())
    }

    fn look_up(&mut self, key: &str) -> Result<Option<Arc<[u8]>>, StorageError> {
        match self.overlay.get(key) {
            Some(written) => Ok(written),
            None => {
                let found = self.store.room.get(Space::Data, full(self.id, key.as_bytes()));
                self.noting(found)
            }
        }
    }

    /// Remembers that the store failed.
    pub(super) fn noting<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StorageError> {
        result.map_err(|error| {
            let error = Arc::new(error);
            self.failure.get_or_insert_with(|| Arc::clone(&error));
            StorageError::Unavailable(error)
        })
    }
}
