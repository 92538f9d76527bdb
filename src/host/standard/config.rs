//! Owns `wasi:config/store`: the desired file's `[config]`, flat.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, WasmStr};

use super::super::{Guest, HOSTCALL_BYTES};

pub(super) const DRAFT: &str = "wasi:config/store@0.2.0-draft";
pub(super) const CANDIDATE: &str = "wasi:config/store@0.2.0-rc.1";

#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    #[expect(dead_code, reason = "the config is in memory, and the standard's error has this case")]
    Io(String),
}

type Found = Result<Option<String>, Error>;
type All = Result<Vec<(String, String)>, Error>;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for interface in [DRAFT, CANDIDATE] {
        let mut config = linker.instance(interface)?;
        config.func_wrap("get", |store: StoreContextMut<'_, Guest>, (key,): (WasmStr,)| {
            let key = key.to_str(&store)?;
            Ok((Found::Ok(store.data().config.flat(&key)),))
        })?;
        config.func_wrap("get-all", |store: StoreContextMut<'_, Guest>, (): ()| {
            let all = store.data().config.all_flat(HOSTCALL_BYTES);
            let too_much = || Error::Upstream(format!("all of it together is more than {HOSTCALL_BYTES} bytes"));
            Ok((All::from(all.ok_or_else(too_much)),))
        })?;
    }
    Ok(())
}
