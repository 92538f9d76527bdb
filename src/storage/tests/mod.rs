//! Tests of the store as a whole; each backend gets the same ones.

mod corrupt;
mod dump;
mod faults;
mod group;
mod mail;
mod model;
mod purge;
mod rules;

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::permission::StorageLevel;

/// Everything is allowed, within a quota.
fn rules(bytes: u64, keys: u64) -> Rules {
    Rules { level: Some(StorageLevel::Admin), quota: Quota { bytes, keys }, writes: true }
}

fn wide() -> Rules {
    Rules { level: Some(StorageLevel::Admin), quota: Quota::default(), writes: true }
}

fn in_memory() -> Arc<Store> {
    Arc::new(Store::on(Arc::new(MemoryBackend::default())).unwrap())
}

fn open(kind: BackendKind, directory: &Path) -> Arc<Store> {
    Arc::new(Store::open(kind, directory).unwrap_or_else(|error| panic!("{error}")))
}

/// Writes entries in one call.
fn put(store: &Arc<Store>, id: u64, entries: &[(&str, &[u8])]) {
    let mut transaction = store.begin(id, wide());
    for (key, value) in entries {
        transaction.set(key, value).unwrap();
    }
    commit(store, transaction).unwrap();
}

fn commit(store: &Arc<Store>, transaction: Transaction) -> Result<(), StoreError> {
    transaction.finish()?.map_or(Ok(()), |set| store.commit(set))
}

fn get(store: &Arc<Store>, id: u64, key: &str) -> Option<Vec<u8>> {
    store.begin(id, wide()).get(key).unwrap().map(|value| value.to_vec())
}

/// All keys of an id, page by page.
fn all_keys(transaction: &mut Transaction, prefix: &str, limit: u32) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = transaction.page(PageOf::Keys, prefix, after.as_deref(), limit).unwrap();
        keys.extend(page.entries.into_iter().map(|(key, _)| key));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}
