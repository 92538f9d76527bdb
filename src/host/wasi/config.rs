//! Owns `wasi:config`: the desired file's `[config]` as flat texts.
//!
//! Read-only, and only the component's own.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, WasmStr};

use super::super::Guest;

pub(in super::super) const STORE: &str = "wasi:config/store@0.2.0-rc.1";

/// Nothing of it happens: the settings are in memory.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(STORE)?;
    instance.func_wrap("get", |store: StoreContextMut<'_, Guest>, (key,): (WasmStr,)| {
        let key = key.to_str(&store)?;
        Ok((Ok::<_, Error>(store.data().config.flat_value(&key)),))
    })?;
    instance.func_wrap("get-all", |store: StoreContextMut<'_, Guest>, (): ()| {
        Ok((Ok::<_, Error>(store.data().config.flat()),))
    })
}
