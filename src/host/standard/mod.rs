//! Owns the interfaces that others published and that stand on what this host has anyway: `wasi:logging` on the log,
//! `wasi:config` on `[config]`, `wasi:keyvalue` on the storage.
//!
//! Adds no way to do anything: what they may and what bounds them is what holds for the interfaces of this host.

mod config;
mod keyvalue;
mod logging;

pub(super) use keyvalue::Handles;
use wasmtime::component::Linker;

use super::Guest;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    config::add_to_linker(linker)?;
    keyvalue::add_to_linker(linker)?;
    logging::add_to_linker(linker)
}
