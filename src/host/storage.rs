//! Owns `airssys:component/storage`: a guest reads and writes what it keeps.
//!
//! Does not decide what it may do or when its writes are kept; that is the transaction's part, which whoever
//! runs the instance begins and commits.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, WasmList, WasmStr};

use super::Guest;
use crate::permission::StorageLevel;
use crate::storage::{HandlerStorage, Page, PageOf, StorageError, Transaction};

pub(super) const INTERFACE: &str = "airssys:component/storage@0.1.0";

/// Why a call was refused, as guests are told.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "not-permitted")]
    NotPermitted,
    #[component(name = "read-only-now")]
    ReadOnlyNow,
    #[component(name = "invalid-key")]
    InvalidKey(&'static str),
    #[component(name = "value-too-large")]
    ValueTooLarge(u64),
    #[component(name = "quota-exceeded")]
    QuotaExceeded(u64),
    #[component(name = "too-many-keys")]
    TooManyKeys(u64),
    #[component(name = "batch-too-large")]
    BatchTooLarge(u64),
    #[component(name = "too-many-operations")]
    TooManyOperations(u64),
    #[component(name = "transaction-too-large")]
    TransactionTooLarge(u64),
    #[component(name = "unavailable")]
    Unavailable,
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotPermitted => Self::NotPermitted,
            StorageError::ReadOnlyNow => Self::ReadOnlyNow,
            StorageError::InvalidKey(why) => Self::InvalidKey(why),
            StorageError::ValueTooLarge(most) => Self::ValueTooLarge(most),
            StorageError::QuotaExceeded(most) => Self::QuotaExceeded(most),
            StorageError::TooManyKeys(most) => Self::TooManyKeys(most),
            StorageError::BatchTooLarge(most) => Self::BatchTooLarge(most),
            StorageError::TooManyOperations(most) => Self::TooManyOperations(most),
            StorageError::TransactionTooLarge(most) => Self::TransactionTooLarge(most),
            // Why is the operator's business: it is told when the call ends, as such a call is not kept.
            StorageError::Unavailable(_) => Self::Unavailable,
        }
    }
}

type Bytes = Arc<[u8]>;

#[derive(ComponentType, Lift)]
#[component(record)]
struct NewEntry {
    key: String,
    value: Vec<u8>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Entry {
    key: String,
    value: Bytes,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct KeyPage {
    keys: Vec<String>,
    next: Option<String>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct EntryPage {
    entries: Vec<Entry>,
    next: Option<String>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Usage {
    bytes: u64,
    keys: u64,
}

type Scan = (WasmStr, Option<WasmStr>, u32);

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(INTERFACE)?;
    instance.func_wrap("get", |store: Store<'_>, (key,): (WasmStr,)| {
        with_key(store, StorageLevel::ReadOnly, key, |t, key| t.get(key))
    })?;
    instance.func_wrap("has", |store: Store<'_>, (key,): (WasmStr,)| {
        with_key(store, StorageLevel::ReadOnly, key, |t, key| t.has(key))
    })?;
    instance.func_wrap("delete", |store: Store<'_>, (key,): (WasmStr,)| {
        with_key(store, StorageLevel::ReadWrite, key, |transaction, key| transaction.delete(key))
    })?;
    instance.func_wrap("set", |store: Store<'_>, (key, value): (WasmStr, WasmList<u8>)| {
        outside(store, StorageLevel::ReadWrite, |storage, store| {
            let key = key.to_str(store)?;
            // Read in the guest's memory, and copied once it is taken.
            Ok(call(storage, |transaction| transaction.set(&key, value.as_le_slice(store))))
        })
    })?;
    instance.func_wrap("keys", |store: Store<'_>, asked: Scan| {
        let page = page(store, PageOf::Keys, asked)?.0;
        let keys = |page: Page| page.entries.into_iter().map(|(key, _)| key).collect();
        Ok((page.map(|mut it| KeyPage { next: it.next.take(), keys: keys(it) }),))
    })?;
    instance.func_wrap("scan", |store: Store<'_>, asked: Scan| {
        let page = page(store, PageOf::Entries, asked)?.0;
        let entries = |page: Page| page.entries.into_iter().map(|(key, value)| Entry { key, value }).collect();
        Ok((page.map(|mut it| EntryPage { next: it.next.take(), entries: entries(it) }),))
    })?;
    instance.func_wrap("size", |store: Store<'_>, (): ()| {
        let usage = outside(store, StorageLevel::ReadOnly, |storage, _| Ok(call(storage, Transaction::usage)))?.0;
        Ok((usage.map(|it| Usage { bytes: it.bytes, keys: it.keys }),))
    })?;
    instance.func_wrap("clear", |store: Store<'_>, (): ()| {
        outside(store, StorageLevel::Admin, |storage, _| Ok(call(storage, Transaction::clear)))
    })?;
    instance.func_wrap("get-many", |store: Store<'_>, (keys,): (Vec<String>,)| {
        outside(store, StorageLevel::ReadOnly, |storage, _| {
            Ok(call(storage, |transaction| transaction.get_many(&keys)))
        })
    })?;
    instance.func_wrap("set-many", |store: Store<'_>, (entries,): (Vec<NewEntry>,)| {
        let entries: Vec<_> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        outside(store, StorageLevel::ReadWrite, |storage, _| {
            Ok(call(storage, |transaction| transaction.set_many(&entries)))
        })
    })
}

type Store<'s> = StoreContextMut<'s, Guest>;
type Answer<T> = wasmtime::Result<(Result<T, Error>,)>;

/// Takes the storage out of the store for the call, so that texts can be read in the guest's memory.
pub(super) fn taken_out<R>(
    store: &mut Store<'_>,
    call: impl FnOnce(Option<&mut HandlerStorage>, &Store<'_>) -> wasmtime::Result<R>,
) -> wasmtime::Result<R> {
    let mut storage = store.data_mut().storage.take();
    let answer = call(storage.as_deref_mut(), store);
    store.data_mut().storage = storage;
    answer
}

fn outside<T>(
    mut store: Store<'_>,
    level: StorageLevel,
    call: impl FnOnce(Option<&mut HandlerStorage>, &Store<'_>) -> wasmtime::Result<Result<T, Error>>,
) -> Answer<T> {
    needs(&store, level);
    let answer = taken_out(&mut store, call)?;
    if answer.as_ref().err() == Some(&Error::NotPermitted) {
        denied(&store);
    }
    Ok((answer,))
}

/// Notes that it needs this level.
pub(super) fn needs(store: &Store<'_>, level: StorageLevel) {
    store.data().outbox.needs(&|| Some(crate::permission::Entry::Storage(level)));
}

/// Counts that the guest asked for more than its level of storage.
pub(super) fn denied(store: &Store<'_>) {
    store.data().outbox.denied("storage", "its own storage");
}

fn call<T>(
    storage: Option<&mut HandlerStorage>,
    call: impl FnOnce(&mut Transaction) -> Result<T, StorageError>,
) -> Result<T, Error> {
    let storage = storage.ok_or(Error::NotPermitted)?;
    Ok(call(storage.transaction()?)?)
}

fn with_key<T>(
    store: Store<'_>,
    level: StorageLevel,
    key: WasmStr,
    run: impl FnOnce(&mut Transaction, &str) -> Result<T, StorageError>,
) -> Answer<T> {
    outside(store, level, |storage, store| {
        let key = key.to_str(store)?;
        Ok(call(storage, |transaction| run(transaction, &key)))
    })
}

fn page(store: Store<'_>, of: PageOf, (prefix, after, limit): Scan) -> Answer<Page> {
    outside(store, StorageLevel::ReadOnly, |storage, store| {
        let prefix = prefix.to_str(store)?;
        let after = after.as_ref().map(|after| after.to_str(store)).transpose()?;
        Ok(call(storage, |transaction| transaction.page(of, &prefix, after.as_deref(), limit)))
    })
}
