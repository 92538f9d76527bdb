//! Owns `wasi:keyvalue/batch`: several keys at once, all of them or none.

use std::sync::Arc;

use wasmtime::component::{Linker, Resource};

use crate::permission::StorageLevel;

use super::{Answer, Bucket, Guest, Store, add_bucket, with};

const INTERFACES: [&str; 2] = ["wasi:keyvalue/batch@0.2.0-draft", "wasi:keyvalue/batch@0.2.0-draft2"];

/// The keys that are there, with their values.
type Found = Vec<Option<(String, Arc<[u8]>)>>;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for interface in INTERFACES {
        let mut batch = linker.instance(interface)?;
        add_bucket(&mut batch)?;
        batch.func_wrap("get-many", get_many)?;
        batch.func_wrap(
            "set-many",
            |mut store: Store<'_>, (_, entries): (Resource<Bucket>, Vec<(String, Vec<u8>)>)| {
                Ok((with(&mut store, StorageLevel::ReadWrite, |transaction, _| Ok(transaction.set_many(&entries)))?,))
            },
        )?;
        batch.func_wrap("delete-many", |mut store: Store<'_>, (_, keys): (Resource<Bucket>, Vec<String>)| {
            Ok((with(&mut store, StorageLevel::ReadWrite, |transaction, _| Ok(transaction.delete_many(&keys)))?,))
        })?;
    }
    Ok(())
}

fn get_many(mut store: Store<'_>, (_, keys): (Resource<Bucket>, Vec<String>)) -> Answer<Found> {
    let values = with(&mut store, StorageLevel::ReadOnly, |transaction, _| Ok(transaction.get_many(&keys)))?;
    let found =
        |values: Vec<Option<Arc<[u8]>>>| keys.into_iter().zip(values).map(|(key, value)| Some((key, value?))).collect();
    Ok((values.map(found),))
}
