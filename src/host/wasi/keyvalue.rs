//! Owns `wasi:keyvalue`: the component's own storage under the names of the WASI proposal.
//!
//! Does not decide what is allowed; the transaction of the call does, as for `airssys:component/storage`.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType, WasmList, WasmStr};
use wasmtime::{AsContextMut as _, StoreContextMut};
use wasmtime_wasi::WasiView as _;

use super::super::Guest;
use crate::storage::{MAX_BATCH, Page, PageOf, StorageError, Transaction};

pub(in super::super) const STORE: &str = "wasi:keyvalue/store@0.2.0-draft2";
pub(in super::super) const ATOMICS: &str = "wasi:keyvalue/atomics@0.2.0-draft2";
pub(in super::super) const BATCH: &str = "wasi:keyvalue/batch@0.2.0-draft2";

/// Keys that one `list-keys` gives, at most.
const PAGE_KEYS: u32 = 1_000;
/// Names under which the component's storage is opened.
const BUCKETS: [&str; 2] = ["", "default"];

/// The one bucket of a component: there is nothing to tell its handles apart by.
struct Bucket;

/// A value as it was seen.
struct Cas {
    key: String,
    seen: Option<Bytes>,
}

type Bytes = Arc<[u8]>;
type Store<'s> = StoreContextMut<'s, Guest>;

#[derive(Debug, Clone, ComponentType, Lift, Lower)]
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
            StorageError::Unavailable(_) => Self::Other("the store can't be used now".to_owned()),
            told => Self::Other(told.to_string()),
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum CasError {
    #[component(name = "store-error")]
    Store(Error),
    #[component(name = "cas-failed")]
    Failed(Resource<Cas>),
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct KeyResponse {
    keys: Vec<String>,
    cursor: Option<String>,
}

type Answer<T> = wasmtime::Result<(Result<T, Error>,)>;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_store(linker)?;
    add_atomics(linker)?;
    add_batch(linker)
}

fn add_store(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(STORE)?;
    instance.resource("bucket", ResourceType::host::<Bucket>(), |_, _| Ok(()))?;
    instance.func_wrap("open", |store: Store<'_>, (name,): (WasmStr,)| {
        let is_known = BUCKETS.contains(&&*name.to_str(&store)?);
        Ok((if is_known { Ok(Resource::<Bucket>::new_own(0)) } else { Err(Error::NoSuchStore) },))
    })?;
    type OfKey = (Resource<Bucket>, WasmStr);
    instance.func_wrap("[method]bucket.get", |store: Store<'_>, (_, key): OfKey| {
        with_key(store, key, |transaction, key| transaction.get(key))
    })?;
    instance.func_wrap("[method]bucket.exists", |store: Store<'_>, (_, key): OfKey| {
        with_key(store, key, |transaction, key| transaction.has(key))
    })?;
    instance.func_wrap("[method]bucket.delete", |store: Store<'_>, (_, key): OfKey| {
        with_key(store, key, |transaction, key| transaction.delete(key).map(drop))
    })?;
    instance.func_wrap(
        "[method]bucket.set",
        |store: Store<'_>, (_, key, value): (Resource<Bucket>, WasmStr, WasmList<u8>)| {
            with(store, |transaction, store| {
                let key = key.to_str(store)?;
                Ok(transaction.set(&key, value.as_le_slice(store)))
            })
        },
    )?;
    instance.func_wrap(
        "[method]bucket.list-keys",
        |store: Store<'_>, (_, cursor): (Resource<Bucket>, Option<String>)| {
            let page =
                with(store, |transaction, _| Ok(transaction.page(PageOf::Keys, "", cursor.as_deref(), PAGE_KEYS)))?.0;
            let keys = |page: Page| page.entries.into_iter().map(|(key, _)| key).collect();
            Ok((page.map(|mut page| KeyResponse { cursor: page.next.take(), keys: keys(page) }),))
        },
    )
}

fn add_atomics(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(ATOMICS)?;
    instance.resource("cas", ResourceType::host::<Cas>(), |mut store, rep| {
        store.data_mut().ctx().table.delete(Resource::<Cas>::new_own(rep)).map(drop).map_err(Into::into)
    })?;
    instance.func_wrap("[static]cas.new", |mut store: Store<'_>, (_, key): (Resource<Bucket>, String)| {
        let seen = match with(store.as_context_mut(), |transaction, _| Ok(transaction.get(&key)))?.0 {
            Ok(seen) => seen,
            Err(error) => return Ok((Err(error),)),
        };
        Ok((Ok(store.data_mut().ctx().table.push(Cas { key, seen })?),))
    })?;
    instance.func_wrap("[method]cas.current", |mut store: Store<'_>, (cas,): (Resource<Cas>,)| {
        let seen = store.data_mut().ctx().table.get(&cas)?.seen.clone();
        Ok((Ok::<_, Error>(seen),))
    })?;
    instance.func_wrap("swap", |mut store: Store<'_>, (cas, value): (Resource<Cas>, Vec<u8>)| {
        let Cas { key, seen } = store.data_mut().ctx().table.delete(cas)?;
        let now = match with(store.as_context_mut(), |transaction, _| {
            Ok(swap(transaction, &key, seen.as_deref(), &value))
        })?
        .0
        {
            Ok(now) => now,
            Err(error) => return Ok((Err(CasError::Store(error)),)),
        };
        match now {
            Swapped::Done => Ok((Ok(()),)),
            Swapped::Another(seen) => {
                let again = store.data_mut().ctx().table.push(Cas { key, seen })?;
                Ok((Err(CasError::Failed(again)),))
            }
        }
    })?;
    instance.func_wrap("increment", |store: Store<'_>, (_, key, delta): (Resource<Bucket>, String, i64)| {
        let mut refused = None;
        let sum = with(store, |transaction, _| {
            Ok(increment(transaction, &key, delta)
                .map(|sum| sum.map_err(|why| refused = Some(why)).unwrap_or_default()))
        })?;
        Ok((match refused {
            Some(why) => Err(Error::Other(why.to_owned())),
            None => sum.0,
        },))
    })
}

fn add_batch(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(BATCH)?;
    instance.func_wrap("get-many", |store: Store<'_>, (_, keys): (Resource<Bucket>, Vec<String>)| {
        let values = with(store, |transaction, _| Ok(transaction.get_many(&keys)))?.0;
        Ok((values.map(|values| keys.into_iter().zip(values).collect::<Vec<(String, Option<Bytes>)>>()),))
    })?;
    instance.func_wrap("set-many", |store: Store<'_>, (_, entries): (Resource<Bucket>, Vec<(String, Vec<u8>)>)| {
        with(store, |transaction, _| Ok(transaction.set_many(&entries)))
    })?;
    instance.func_wrap("delete-many", |store: Store<'_>, (_, keys): (Resource<Bucket>, Vec<String>)| {
        with(store, |transaction, _| {
            if keys.len() > MAX_BATCH {
                return Ok(Err(StorageError::BatchTooLarge(MAX_BATCH as u64)));
            }
            Ok(keys.iter().try_for_each(|key| transaction.delete(key).map(drop)))
        })
    })
}

/// What became of an exchange.
enum Swapped {
    Done,
    Another(Option<Bytes>),
}

fn swap(transaction: &mut Transaction, key: &str, seen: Option<&[u8]>, value: &[u8]) -> Result<Swapped, StorageError> {
    let now = transaction.get(key)?;
    if now.as_deref() != seen {
        return Ok(Swapped::Another(now));
    }
    transaction.set(key, value).map(|()| Swapped::Done)
}

/// The new number, or why there is none.
fn increment(transaction: &mut Transaction, key: &str, delta: i64) -> Result<Result<i64, &'static str>, StorageError> {
    let now = match transaction.get(key)? {
        Some(bytes) => std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<i64>().ok()),
        None => Some(0),
    };
    let Some(now) = now else { return Ok(Err("the value is no number in decimal digits")) };
    let Some(sum) = now.checked_add(delta) else { return Ok(Err("the sum is no number of 64 bits")) };
    transaction.set(key, sum.to_string().as_bytes()).map(|()| Ok(sum))
}

/// Takes the storage out of the store for the call, so that texts can be read in the guest's memory.
fn with<T>(
    mut store: Store<'_>,
    run: impl FnOnce(&mut Transaction, &Store<'_>) -> wasmtime::Result<Result<T, StorageError>>,
) -> Answer<T> {
    let mut storage = store.data_mut().storage.take();
    let answer = match storage.as_deref_mut().ok_or(StorageError::NotPermitted).and_then(|it| it.transaction()) {
        Ok(transaction) => run(transaction, &store),
        Err(error) => Ok(Err(error)),
    };
    store.data_mut().storage = storage;
    Ok((answer?.map_err(Error::from),))
}

fn with_key<T>(
    store: Store<'_>,
    key: WasmStr,
    run: impl FnOnce(&mut Transaction, &str) -> Result<T, StorageError>,
) -> Answer<T> {
    with(store, |transaction, store| {
        let key = key.to_str(store)?;
        Ok(run(transaction, &key))
    })
}
