//! Owns `airssys:component/log`: a guest writes to its component's log.
//!
//! Bounds and escapes nothing itself; the log does both for every line, whoever wrote it.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, WasmStr};

use super::Guest;
use crate::logs::{Level, Source};

pub(super) const INTERFACE: &str = "airssys:component/log@0.1.0";

#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[expect(dead_code, reason = "guests make the values; lifting does not name the variants")]
#[repr(u8)]
enum GuestLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

impl From<GuestLevel> for Level {
    fn from(level: GuestLevel) -> Self {
        match level {
            GuestLevel::Trace => Self::Trace,
            GuestLevel::Debug => Self::Debug,
            GuestLevel::Info => Self::Info,
            GuestLevel::Warn => Self::Warn,
            GuestLevel::Error => Self::Error,
        }
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let log = |store: StoreContextMut<'_, Guest>, (level, message): (GuestLevel, WasmStr)| {
        let message = message.to_str(&store)?;
        store.data().log.write(level.into(), Source::Guest, &message);
        Ok(())
    };
    linker.instance(INTERFACE)?.func_wrap("log", log)
}
