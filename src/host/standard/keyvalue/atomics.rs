//! Owns `wasi:keyvalue/atomics`: counting, and swapping a value if it is still the one that was seen.
//!
//! Nobody else writes to a component's storage while one of its calls runs, so within a call a swap only fails after a
//! write of the call's own. Over calls it may, after whatever the instance did between them.

use std::ops::RangeInclusive;

use wasmtime::component::{ComponentType, Linker, Lower, Resource, ResourceType, WasmList, WasmStr};

use super::handles::{Handles, MAX_SWAPS};
use super::{Answer, Bucket, Error, Guest, Store, add_bucket, with};
use crate::digest::Digest;
use crate::permission::StorageLevel;
use crate::storage::{StorageError, Transaction};

/// A swap in preparation: a key, and the digest of the value that it had when it was last looked at. The value itself would
/// let a guest fill the host's memory.
#[derive(Clone)]
struct Swap {
    key: String,
    seen: Option<Digest>,
}

/// Why a value was not swapped.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum SwapError {
    #[component(name = "store-error")]
    Store(Error),
    #[component(name = "cas-failed")]
    Failed(Resource<Swap>),
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Params<N> = (Resource<Bucket>, WasmStr, N);
    let mut atomics = linker.instance("wasi:keyvalue/atomics@0.2.0-draft")?;
    add_bucket(&mut atomics)?;
    atomics.func_wrap("increment", |store: Store<'_>, (_, key, delta): Params<u64>| {
        let (answer,) = increment(store, key, delta.into(), 0..=u64::MAX.into())?;
        Ok((answer.map(|sum| sum as u64),))
    })?;
    let mut atomics = linker.instance("wasi:keyvalue/atomics@0.2.0-draft2")?;
    add_bucket(&mut atomics)?;
    atomics.func_wrap("increment", |store: Store<'_>, (_, key, delta): Params<i64>| {
        let (answer,) = increment(store, key, delta.into(), i64::MIN.into()..=i64::MAX.into())?;
        Ok((answer.map(|sum| sum as i64),))
    })?;
    atomics.resource("cas", ResourceType::host::<Swap>(), |mut store, rep| {
        Ok(Handles::of(&mut store).swaps.delete(Resource::<Swap>::new_own(rep)).map(drop)?)
    })?;
    atomics
        .func_wrap("[static]cas.new", |store: Store<'_>, (_, key): (Resource<Bucket>, WasmStr)| prepare(store, key))?;
    atomics.func_wrap("[method]cas.current", |store: Store<'_>, (it,): (Resource<Swap>,)| current(store, &it))?;
    atomics.func_wrap("swap", |store: Store<'_>, (it, value): (Resource<Swap>, WasmList<u8>)| swap(store, it, value))
}

/// Adds to a number. The sum is in `range`.
fn increment(mut store: Store<'_>, key: WasmStr, delta: i128, range: RangeInclusive<i128>) -> Answer<i128> {
    let sum = with(&mut store, StorageLevel::ReadWrite, |transaction, store| {
        let key = key.to_str(store)?;
        Ok(add(transaction, &key, delta, &range))
    });
    Ok((sum?,))
}

fn add(transaction: &mut Transaction, key: &str, delta: i128, range: &RangeInclusive<i128>) -> Result<i128, Error> {
    let number = match transaction.get(key)? {
        None => 0,
        Some(value) => {
            let text = std::str::from_utf8(&value).ok();
            let no_number = || Error::Other("the value is no number in decimal digits".to_owned());
            text.and_then(|text| text.parse().ok()).ok_or_else(no_number)?
        }
    };
    let sum = delta.checked_add(number).filter(|sum| range.contains(sum));
    let sum = sum.ok_or_else(|| Error::Other("the sum is no number of 64 bits".to_owned()))?;
    transaction.set(key, sum.to_string().as_bytes())?;
    Ok(sum)
}

fn prepare(mut store: Store<'_>, key: WasmStr) -> Answer<Resource<Swap>> {
    let swap = with(&mut store, StorageLevel::ReadOnly, |transaction, store| {
        let key = key.to_str(store)?;
        Ok(seen(transaction, &key).map(|seen| Swap { key: key.into_owned(), seen }))
    })?;
    Ok((swap.and_then(|swap| {
        let too_many = || Error::Other(format!("an instance has at most {MAX_SWAPS} handles of `cas`"));
        Handles::of(&mut store).swaps.push(swap).map_err(|_| too_many())
    }),))
}

fn seen(transaction: &mut Transaction, key: &str) -> Result<Option<Digest>, StorageError> {
    Ok(transaction.get(key)?.map(|value| Digest::of(&value)))
}

fn current(mut store: Store<'_>, it: &Resource<Swap>) -> Answer<Option<std::sync::Arc<[u8]>>> {
    let key = Handles::of(&mut store).swaps.get(it)?.key.clone();
    let value = with(&mut store, StorageLevel::ReadOnly, |transaction, _| Ok(transaction.get(&key)))?;
    if let Ok(value) = &value {
        Handles::of(&mut store).swaps.get_mut(it)?.seen = value.as_deref().map(Digest::of);
    }
    Ok((value,))
}

fn swap(mut store: Store<'_>, it: Resource<Swap>, value: WasmList<u8>) -> wasmtime::Result<(Result<(), SwapError>,)> {
    let Swap { key, seen: known } = Handles::of(&mut store).swaps.delete(it)?;
    let swapped = with(&mut store, StorageLevel::ReadWrite, |transaction, store| {
        Ok(seen(transaction, &key).and_then(|now| match now == known {
            true => transaction.set(&key, value.as_le_slice(store)).map(|()| None),
            false => Ok(Some(now)),
        }))
    })?;
    Ok((match swapped {
        Ok(None) => Ok(()),
        Ok(Some(now)) => Err(SwapError::Failed(Handles::of(&mut store).swaps.push(Swap { key, seen: now })?)),
        Err(error) => Err(SwapError::Store(error)),
    },))
}
