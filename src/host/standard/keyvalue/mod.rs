//! Owns `wasi:keyvalue`: the component's own storage as the one bucket that there is, under its two names.
//!
//! Keys, permission, quota and transaction are those of `airssys:component/storage`. Two versions of the package are
//! offered: the tagged one, whose cursors are numbers, and the one after it, whose cursors are texts.

mod atomics;
mod batch;
mod handles;

pub(in crate::host) use handles::Handles;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceType, WasmList, WasmStr};

use super::super::Guest;
use super::super::storage::{denied, needs, taken_out};
use crate::permission::StorageLevel;
use crate::storage::{MAX_PAGE_KEYS, Page, PageOf, StorageError, Transaction};

/// The names of the bucket.
const NAMES: [&str; 2] = ["", "default"];

/// Why a call was refused, as guests are told.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotPermitted => Self::AccessDenied,
            // Why is the operator's business: it is told when the call ends, as such a call is not kept.
            StorageError::Unavailable(_) => Self::Other("the host's store failed".to_owned()),
            other => Self::Other(other.to_string()),
        }
    }
}

/// Stands for the component's storage; there is nothing to know about it.
struct Bucket;

#[derive(ComponentType, Lower)]
#[component(record)]
struct NumberedKeys {
    keys: Vec<String>,
    cursor: Option<u64>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct NamedKeys {
    keys: Vec<String>,
    cursor: Option<String>,
}

type Store<'s> = StoreContextMut<'s, Guest>;
type Answer<T> = wasmtime::Result<(Result<T, Error>,)>;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut store = linker.instance("wasi:keyvalue/store@0.2.0-draft")?;
    add_store(&mut store)?;
    store.func_wrap("[method]bucket.list-keys", numbered)?;
    let mut store = linker.instance("wasi:keyvalue/store@0.2.0-draft2")?;
    add_store(&mut store)?;
    store.func_wrap("[method]bucket.list-keys", named)?;
    batch::add_to_linker(linker)?;
    atomics::add_to_linker(linker)
}

/// What both versions have alike.
fn add_store(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    add_bucket(instance)?;
    instance.func_wrap("open", |store: Store<'_>, (name,): (WasmStr,)| {
        let name = name.to_str(&store)?;
        Ok((open(&store, &name),))
    })?;
    type OfKey = (Resource<Bucket>, WasmStr);
    instance.func_wrap("[method]bucket.get", |store: Store<'_>, (_, key): OfKey| {
        with_key(store, StorageLevel::ReadOnly, key, |transaction, key| transaction.get(key))
    })?;
    instance.func_wrap("[method]bucket.exists", |store: Store<'_>, (_, key): OfKey| {
        with_key(store, StorageLevel::ReadOnly, key, |transaction, key| transaction.has(key))
    })?;
    instance.func_wrap("[method]bucket.delete", |store: Store<'_>, (_, key): OfKey| {
        with_key(store, StorageLevel::ReadWrite, key, |transaction, key| transaction.delete(key).map(drop))
    })?;
    type OfValue = (Resource<Bucket>, WasmStr, WasmList<u8>);
    instance.func_wrap("[method]bucket.set", |mut store: Store<'_>, (_, key, value): OfValue| {
        let set = with(&mut store, StorageLevel::ReadWrite, |transaction, store| {
            let key = key.to_str(store)?;
            // Read in the guest's memory, and copied once it is taken.
            Ok(transaction.set(&key, value.as_le_slice(store)))
        });
        Ok((set?,))
    })
}

/// Every interface that speaks of buckets has the resource; there is nothing to do when one is dropped.
fn add_bucket(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    instance.resource("bucket", ResourceType::host::<Bucket>(), |_, _| Ok(()))
}

fn open(store: &Store<'_>, name: &str) -> Result<Resource<Bucket>, Error> {
    if !NAMES.contains(&name) {
        return Err(Error::NoSuchStore);
    }
    if store.data().storage.is_none() {
        needs(store, StorageLevel::ReadOnly);
        denied(store);
        return Err(Error::AccessDenied);
    }
    Ok(Resource::new_own(0))
}

fn numbered(mut store: Store<'_>, (_, cursor): (Resource<Bucket>, Option<u64>)) -> Answer<NumberedKeys> {
    let after = match cursor {
        None => None,
        Some(cursor) => match Handles::of(&mut store).places.key(cursor) {
            Some(key) => Some(key.to_owned()),
            None => return Ok((Err(Error::Other("the cursor is not known any more: begin without one".to_owned())),)),
        },
    };
    let page = with(&mut store, StorageLevel::ReadOnly, |transaction, _| Ok(keys(transaction, after.as_deref())))?;
    Ok((page.map(|Page { entries, next }| NumberedKeys {
        cursor: next.map(|key| Handles::of(&mut store).places.number(key)),
        keys: names(entries),
    }),))
}

fn named(mut store: Store<'_>, (_, cursor): (Resource<Bucket>, Option<WasmStr>)) -> Answer<NamedKeys> {
    let page = with(&mut store, StorageLevel::ReadOnly, |transaction, store| {
        let after = cursor.as_ref().map(|cursor| cursor.to_str(store)).transpose()?;
        Ok(keys(transaction, after.as_deref()))
    })?;
    Ok((page.map(|Page { entries, next }| NamedKeys { keys: names(entries), cursor: next }),))
}

fn keys(transaction: &mut Transaction, after: Option<&str>) -> Result<Page, StorageError> {
    transaction.page(PageOf::Keys, "", after, MAX_PAGE_KEYS as u32)
}

fn names<V>(entries: Vec<(String, V)>) -> Vec<String> {
    entries.into_iter().map(|(key, _)| key).collect()
}

/// One call of the transaction, while texts can be read in the guest's memory.
fn with<T, E>(
    store: &mut Store<'_>,
    level: StorageLevel,
    call: impl FnOnce(&mut Transaction, &Store<'_>) -> wasmtime::Result<Result<T, E>>,
) -> wasmtime::Result<Result<T, Error>>
where
    Error: From<E>,
{
    needs(store, level);
    let answer = taken_out(store, |storage, store| {
        let Some(storage) = storage else { return Ok(Err(Error::AccessDenied)) };
        match storage.transaction() {
            Ok(transaction) => Ok(call(transaction, store)?.map_err(Error::from)),
            Err(error) => Ok(Err(error.into())),
        }
    })?;
    if matches!(answer, Err(Error::AccessDenied)) {
        denied(store);
    }
    Ok(answer)
}

fn with_key<T>(
    mut store: Store<'_>,
    level: StorageLevel,
    key: WasmStr,
    run: impl FnOnce(&mut Transaction, &str) -> Result<T, StorageError>,
) -> Answer<T> {
    let answer = with(&mut store, level, |transaction, store| {
        let key = key.to_str(store)?;
        Ok(run(transaction, &key))
    });
    Ok((answer?,))
}
