//! Owns `wasi:logging`: a guest writes to its component's log, with a context before the message.
//!
//! Bounds and escapes nothing itself; the log does both for every line, whoever wrote it.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, WasmStr};

use super::super::Guest;
use crate::logs::{Level, Source};

pub(in super::super) const LOGGING: &str = "wasi:logging/logging@0.1.0-draft";

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
    #[component(name = "critical")]
    Critical,
}

impl From<GuestLevel> for Level {
    fn from(level: GuestLevel) -> Self {
        match level {
            GuestLevel::Trace => Self::Trace,
            GuestLevel::Debug => Self::Debug,
            GuestLevel::Info => Self::Info,
            GuestLevel::Warn => Self::Warn,
            GuestLevel::Error | GuestLevel::Critical => Self::Error,
        }
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let log = |store: StoreContextMut<'_, Guest>, (level, context, message): (GuestLevel, WasmStr, WasmStr)| {
        let (context, message) = (context.to_str(&store)?, message.to_str(&store)?);
        let log = &store.data().log;
        match &*context {
            "" => log.write(level.into(), Source::Guest, &message),
            context => log.write(level.into(), Source::Guest, &format!("{context}: {message}")),
        }
        Ok(())
    };
    linker.instance(LOGGING)?.func_wrap("log", log)
}
