//! Owns compilation: from verified bytes to code for this machine.
//!
//! Takes only bytes whose digest the trust rules admitted, and checks that they are those bytes. Code
//! that was compiled before is loaded by `code`.

use std::fmt;

use serde::{Deserialize, Serialize};
use wasmtime::component::Component;

use super::{Engine, inspect};
use crate::digest::Digest;
use crate::escape::Escaped;
use crate::trust::VerifiedArtifact;

/// Why bytes were not compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompileError {
    /// The bytes are not those that were verified.
    #[error("the wasm is not the one that was verified: it is {found}, verified was {verified}")]
    OtherBytes {
        /// What was given.
        found: Digest,
        /// What was verified.
        verified: Digest,
    },
    /// No bytes at all.
    #[error("the wasm file is empty")]
    Empty,
    /// Code that some wasmtime compiled before.
    #[error("the file holds precompiled code (.cwasm), which is never run; give the .wasm from which it was compiled")]
    Precompiled,
    /// A program or library of the operating system.
    #[error("the file is an ELF program, no wasm component")]
    Elf,
    /// The text format, or any other text.
    #[error("the file holds text; if it is WebAssembly text, `wasm-tools parse file.wat -o file.wasm` makes it binary")]
    Text,
    /// Something else.
    #[error("the file is no wasm component: its first four bytes are not `\\0asm`")]
    NotWasm,
    /// A module without component types.
    #[error(
        "the file is a core module, no component; `wasm-tools component new file.wasm -o component.wasm` makes it one, \
         with `--adapt wasi_snapshot_preview1=ADAPTER.wasm` when it was built for wasip1; for Rust, build with `--target wasm32-wasip2`"
    )]
    CoreModule,
    /// More of something than this host compiles.
    #[error("the component has {count} {what} and may have {limit}")]
    TooMany {
        /// Of what.
        what: Part,
        /// How many there are, counted up to where the limit was passed.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The compiler refused it.
    #[error("the component is not valid: {}", Escaped(.0))]
    Invalid(String),
}

/// What a component may have only so many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Functions in all modules together.
    Functions,
    /// Imports of one component or module.
    Imports,
    /// Exports of one component or module.
    Exports,
    /// Core modules.
    CoreModules,
    /// Components within it.
    NestedComponents,
    /// Instances of components and interfaces.
    ComponentInstances,
    /// Types of components.
    ComponentTypes,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Functions => "functions",
            Self::Imports => "imports",
            Self::Exports => "exports",
            Self::CoreModules => "core modules",
            Self::NestedComponents => "nested components",
            Self::ComponentInstances => "component instances",
            Self::ComponentTypes => "component types",
        })
    }
}

/// A component as code for this machine and this engine. Cheap to clone.
///
/// There are three ways to one: [`Engine::compile`], [`Engine::load`] and [`Engine::load_fresh`]. All start from
/// a [`VerifiedArtifact`], so that code nobody signed cannot be run by mistake.
#[derive(Clone)]
pub struct CompiledComponent {
    component: Component,
    wasm: Digest,
}

impl CompiledComponent {
    pub(super) fn new(component: Component, wasm: Digest) -> Self {
        Self { component, wasm }
    }

    pub(crate) fn component(&self) -> &Component {
        &self.component
    }

    /// Digest of the wasm from which the code was made.
    pub fn wasm(&self) -> Digest {
        self.wasm
    }

    /// The code as bytes for the cache, to be given to [`Engine::load`] by an engine of the same [`Engine::code_hash`].
    pub fn serialize(&self) -> Result<Vec<u8>, CompileError> {
        self.component.serialize().map_err(|e| CompileError::Invalid(format!("{e:#}")))
    }
}

impl std::fmt::Debug for CompiledComponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledComponent").field("wasm", &self.wasm).finish_non_exhaustive()
    }
}

impl Engine {
    /// Compiles the wasm of a verified artifact.
    ///
    /// Takes from a millisecond to a second and more; callers do it off every path that must not wait.
    pub fn compile(&self, artifact: &VerifiedArtifact, wasm: &[u8]) -> Result<CompiledComponent, CompileError> {
        self.compile_expecting(artifact.identity().wasm, wasm)
    }

    pub(super) fn compile_expecting(&self, verified: Digest, wasm: &[u8]) -> Result<CompiledComponent, CompileError> {
        let found = Digest::of(wasm);
        if found != verified {
            return Err(CompileError::OtherBytes { found, verified });
        }
        inspect::check(wasm)?;
        let component =
            Component::from_binary(&self.wasmtime, wasm).map_err(|e| CompileError::Invalid(format!("{e:#}")))?;
        Ok(CompiledComponent::new(component, found))
    }

    /// Compiles bytes that no trust rule has seen, for tests of what happens after.
    #[cfg(test)]
    pub(crate) fn compile_for_test(&self, wasm: &[u8]) -> Result<CompiledComponent, CompileError> {
        self.compile_expecting(Digest::of(wasm), wasm)
    }

    /// What is looked at before that, for tests of how far bytes come.
    #[cfg(test)]
    pub(crate) fn inspect_for_test(wasm: &[u8]) -> Result<(), CompileError> {
        inspect::check(wasm)
    }
}
