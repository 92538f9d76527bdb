//! Owns the storage of one instance over its calls: which storage it is, and the transaction of the call in hand.
//!
//! What the calls are and when they end is known to whoever runs the instance.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use super::commit::WriteSet;
use super::error::{StorageError, StoreError};
use super::lazy::Storage;
use super::mail::{Kept, MailSet};
use super::queue::Then;
use super::store::Store;
use super::transaction::{Rules, Transaction};
use crate::permission::StorageLevel;

/// The storage of one instance.
///
/// [`HandlerStorage::begin`] opens the transaction of a call, [`HandlerStorage::finish`] gives what it
/// wrote, and [`HandlerStorage::abort`] or the next `begin` forgets it.
pub struct HandlerStorage {
    storage: Arc<Storage>,
    /// Set when the generation that gives the id out is committed; until then there is nothing to read.
    id: Arc<OnceLock<u64>>,
    rules: Rules,
    current: Option<Transaction>,
    /// Which version of the component this is.
    version: Arc<str>,
    /// Whether the storage says already that this version wrote last.
    is_marked: bool,
}

impl HandlerStorage {
    /// Nothing is opened before the guest asks for something.
    pub fn new(storage: Arc<Storage>, id: Arc<OnceLock<u64>>, rules: Rules, version: Arc<str>) -> Self {
        Self { storage, id, rules, current: None, version, is_marked: false }
    }

    /// The version that wrote last, when that is another one and this one may write.
    pub fn written_by_another(&self) -> Result<Option<Arc<str>>, StoreError> {
        let Some(id) = self.id.get().filter(|_| self.rules.level >= Some(StorageLevel::ReadWrite)) else {
            return Ok(None);
        };
        let writer = self.storage.store()?.writer(*id)?;
        Ok(writer.filter(|writer| **writer != *self.version))
    }

    /// A call begins, which may write or only read.
    pub fn begin(&mut self, writes: bool) {
        self.current = None;
        self.rules.writes = writes;
    }

    /// The transaction of the call in hand.
    pub fn transaction(&mut self) -> Result<&mut Transaction, StorageError> {
        let Self { storage, id, rules, current, .. } = self;
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

    /// The call ended well: gives what it wrote, if anything. An error means that nothing of it is kept.
    pub fn finish(&mut self) -> Result<Option<Box<Written>>, StoreError> {
        let Some(transaction) = self.current.take() else { return Ok(None) };
        let store = Arc::clone(&transaction.store);
        let Some(mut set) = transaction.finish()? else { return Ok(None) };
        if !self.is_marked {
            set.signed(&self.version);
        }
        Ok(Some(Box::new(Written { store, set, posted: None })))
    }

    /// What the last call wrote is kept.
    pub fn kept(&mut self) {
        self.is_marked = true;
    }

    /// The call did not end well.
    pub fn abort(&mut self) {
        self.current = None;
    }
}

/// Is told, before anyone else, what became of the messages of a call: where they stand, or why they do not.
pub type Posted = Box<dyn FnOnce(Result<&Kept, &StoreError>) + Send>;

/// What a call wrote, on its way into the store. Dropped, it was never written.
pub struct Written {
    store: Arc<Store>,
    set: WriteSet,
    posted: Option<Posted>,
}

impl Written {
    /// What a call changed among the messages, when it wrote nothing else.
    pub fn of_mail(store: Arc<Store>, mail: MailSet) -> Self {
        Self { store, set: WriteSet::of_mail(mail), posted: None }
    }

    /// The same with what the call changed among the messages.
    pub fn with_mail(self, mail: MailSet) -> Self {
        Self { set: self.set.with_mail(mail), ..self }
    }

    /// The same with somebody who is told first.
    pub fn telling(self, posted: Option<Posted>) -> Self {
        Self { posted, ..self }
    }

    /// Brings it to the store and calls `then` when it is kept, or can't be: see [`Store::commit_then`].
    pub fn keep(self, then: Then) {
        let Self { store, set, posted } = self;
        match posted {
            None => store.commit_then(set, then),
            Some(posted) => store.commit_then(
                set,
                Box::new(move |result| {
                    // Whatever happens there, whoever waits for the commit is told. The panic was printed.
                    let _ = catch_unwind(AssertUnwindSafe(|| posted(result.as_ref())));
                    then(result);
                }),
            ),
        }
    }
}
