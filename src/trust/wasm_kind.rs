//! Decides by the first bytes what a file is that should be a component.
//!
//! Only a component is ever compiled. Whether it is a valid one is found when it is.

use std::fmt;

/// Bytes that are needed to tell.
pub(super) const HEAD_BYTES: usize = 8;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WasmKind {
    /// A WebAssembly component.
    Component,
    /// A WebAssembly core module.
    Module,
    /// Native code that some wasmtime compiled. Running it would mean trusting its maker with the whole host.
    Precompiled,
    /// Another ELF file.
    Elf,
    /// WebAssembly in its text form.
    Text,
    /// None of these.
    Other,
}

impl WasmKind {
    /// Looks at the first bytes of a file.
    pub fn of(bytes: &[u8]) -> Self {
        /// Where an ELF file names its system, and wasmtime's number for its own.
        const ELF_SYSTEM: usize = 7;
        const ELF_SYSTEM_WASMTIME: u8 = 200;
        match bytes {
            // Version 13 of layer 1, and version 1 of layer 0: the only ones there are.
            [0, b'a', b's', b'm', 13, 0, 1, 0, ..] => Self::Component,
            [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Self::Module,
            [0x7f, b'E', b'L', b'F', ..] if bytes.get(ELF_SYSTEM) == Some(&ELF_SYSTEM_WASMTIME) => Self::Precompiled,
            [0x7f, b'E', b'L', b'F', ..] => Self::Elf,
            _ => match bytes.trim_ascii_start() {
                [b'(', ..] | [b';', b';', ..] => Self::Text,
                _ => Self::Other,
            },
        }
    }
}

impl fmt::Display for WasmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Component => "a WebAssembly component",
            Self::Module => "a WebAssembly core module",
            Self::Precompiled => "precompiled native code",
            Self::Elf => "an ELF file",
            Self::Text => "WebAssembly text",
            Self::Other => "no WebAssembly",
        })
    }
}
