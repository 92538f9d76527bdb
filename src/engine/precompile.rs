//! Owns making code in one process that another one runs.
//!
//! Decides neither what is compiled nor where; `worker` does, and hands over what came of it.

use wasmtime::component::Component;

use super::{
    CompileError, CompiledComponent, Engine, EngineConfig, EngineError, LoadError, code_hash, config, inspect,
};
use crate::digest::Digest;
use crate::trust::VerifiedArtifact;

/// Compiles and can run nothing: what a process needs that only makes code.
pub struct Compiler(wasmtime::Engine);

impl Compiler {
    /// Sets up the compiler that every [`Engine`] of this program has. Opens no file and starts no thread.
    pub fn new() -> Result<Self, EngineError> {
        let config = EngineConfig { memory_budget_bytes: 0, memory_overcommit: true, parallel_compilation: true };
        let engine = wasmtime::Engine::new(&config::wasmtime_config(&config));
        Ok(Self(engine.map_err(|e| EngineError(format!("{e:#}")))?))
    }

    /// As [`Engine::code_hash`].
    pub fn code_hash(&self) -> Digest {
        code_hash(&self.0)
    }

    /// Serialized code of a component. Whose bytes they are is known to whoever asks.
    pub fn precompile(&self, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        precompile(&self.0, wasm)
    }
}

/// Code that was made just now, and from which wasm.
pub struct FreshCode {
    wasm: Digest,
    bytes: Vec<u8>,
}

impl FreshCode {
    /// Takes over code that was made elsewhere.
    ///
    /// # Safety
    ///
    /// `bytes` must be what [`Compiler::precompile`] returned for the wasm of this digest, under an equal
    /// [`Engine::code_hash`], in a process that this host started from a program it believes as it believes
    /// itself. The code runs in this process with all its rights, and nothing in it can be checked.
    pub unsafe fn made_elsewhere(wasm: Digest, bytes: Vec<u8>) -> Self {
        Self { wasm, bytes }
    }

    /// The code, for the cache.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for FreshCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FreshCode").field("wasm", &self.wasm).field("bytes", &self.bytes.len()).finish()
    }
}

impl Engine {
    /// Makes code of the wasm of a verified artifact in this process, to be cached and loaded.
    pub fn precompile(&self, artifact: &VerifiedArtifact, wasm: &[u8]) -> Result<FreshCode, CompileError> {
        let found = check_bytes(artifact, wasm)?;
        Ok(FreshCode { wasm: found, bytes: precompile(&self.wasmtime, wasm)? })
    }

    /// Loads code that was made just now, where it could not be had from the cache. Copies it.
    pub fn load_fresh(&self, artifact: &VerifiedArtifact, code: &FreshCode) -> Result<CompiledComponent, LoadError> {
        let wanted = artifact.identity().wasm;
        if code.wasm != wanted {
            return Err(LoadError::OtherWasm { found: code.wasm, wanted });
        }
        // SAFETY: a `FreshCode` is what this engine made, or whoever made it elsewhere vouched for exactly that.
        let component = unsafe { Component::deserialize(&self.wasmtime, &code.bytes) };
        let component = component.map_err(|error| LoadError::Refused(format!("{error:#}")))?;
        Ok(CompiledComponent::new(component, wanted))
    }
}

/// The digest of `wasm`, which is the artifact's.
pub(crate) fn check_bytes(artifact: &VerifiedArtifact, wasm: &[u8]) -> Result<Digest, CompileError> {
    let (found, verified) = (Digest::of(wasm), artifact.identity().wasm);
    if found == verified { Ok(found) } else { Err(CompileError::OtherBytes { found, verified }) }
}

fn precompile(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    inspect::check(wasm)?;
    engine.precompile_component(wasm).map_err(|e| CompileError::Invalid(format!("{e:#}")))
}
