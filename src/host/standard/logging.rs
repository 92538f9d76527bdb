//! Owns `wasi:logging/logging`: lines that go where those of `airssys:component/log` go.
//!
//! Bounds and escapes nothing itself but the length of what it puts together.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, WasmStr};

use super::super::{Guest, HOSTCALL_BYTES};
use crate::logs::{Level, Source};

pub(super) const INTERFACE: &str = "wasi:logging/logging@0.1.0-draft";

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
    type Line = (GuestLevel, WasmStr, WasmStr);
    let log = |store: StoreContextMut<'_, Guest>, (level, context, message): Line| {
        let (context, message) = (context.to_str(&store)?, message.to_str(&store)?);
        let log = &store.data().log;
        match &*context {
            "" => log.write(level.into(), Source::Guest, &message),
            context => log.write(level.into(), Source::Guest, &format!("{}: {}", cut(context), cut(&message))),
        }
        Ok(())
    };
    linker.instance(INTERFACE)?.func_wrap("log", log)
}

/// What a line may be made of: far more than the log keeps of it, so that what it takes out is still whole.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(HOSTCALL_BYTES)]
}
