//! Owns the compiler and everything that turns verified wasm into something that can run.
//!
//! Does not decide what may run: it takes a [`VerifiedArtifact`], and only `trust` makes those.
//! Nothing here knows about actors, messages or mailboxes.

mod code;
mod compile;
mod config;
mod inspect;
mod limits;
pub mod maps;
mod precompile;
mod surface;
#[cfg(test)]
mod tests;
pub mod threads;

use std::hash::{Hash, Hasher};

pub use code::LoadError;
pub use compile::{CompileError, CompiledComponent, Part};
pub use config::wasmtime_config;
pub use config::{EPOCH_TICK, MAX_WASM_STACK_BYTES, ticks};
pub use inspect::{
    MAX_COMPONENT_INSTANCES, MAX_COMPONENT_TYPES, MAX_COMPONENTS, MAX_EXPORTS, MAX_FUNCTIONS, MAX_IMPORTS, MAX_MODULES,
};
pub use limits::{
    InstanceLimiter, MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES, MemoryBudget, MemoryRefusal,
};

pub(crate) use precompile::check_bytes;
pub use precompile::{Compiler, FreshCode};
pub use surface::{MAX_SIGNATURE_BYTES, MAX_TYPE_BYTES, MAX_TYPE_DEPTH, SurfaceError, surface};

use crate::config::host::MemorySettings;
use crate::digest::{Digest, Digester};
use crate::observed::room::MemoryRoom;
#[cfg(doc)]
use crate::trust::VerifiedArtifact;

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Memory that all instances of this host may hold together, in bytes.
    pub memory_budget_bytes: u64,
    /// Whether the limits of all instances may add up to more than that.
    pub memory_overcommit: bool,
    /// Whether one compilation may use all cores.
    pub parallel_compilation: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { memory_budget_bytes: limits::half_of_ram_bytes(), memory_overcommit: true, parallel_compilation: true }
    }
}

impl EngineConfig {
    /// As the host's settings say.
    pub fn with(memory: &MemorySettings) -> Self {
        let default = Self::default();
        let memory_budget_bytes = memory.budget.map_or(default.memory_budget_bytes, |budget| budget.0);
        Self { memory_budget_bytes, memory_overcommit: memory.overcommit, ..default }
    }

    /// The room for instances as far as memory goes.
    pub fn memory_room(&self) -> MemoryRoom {
        MemoryRoom { budget: self.memory_budget_bytes, overcommits: self.memory_overcommit }
    }
}

/// A compiler with one set of settings, and the clock of its guests.
///
/// Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    budget: MemoryBudget,
    overcommits: bool,
}

/// The engine could not be set up on this machine.
#[derive(Debug, thiserror::Error)]
#[error("could not set up the wasm engine: {0}")]
pub struct EngineError(String);

impl Engine {
    /// Sets up an engine and starts its clock, which stops when the last clone is gone.
    pub fn new(config: &EngineConfig) -> Result<Self, EngineError> {
        let wasmtime =
            wasmtime::Engine::new(&config::wasmtime_config(config)).map_err(|e| EngineError(format!("{e:#}")))?;
        config::start_clock(&wasmtime).map_err(|e| EngineError(format!("no thread for its clock: {e}")))?;
        Ok(Self {
            wasmtime,
            budget: MemoryBudget::new(config.memory_budget_bytes),
            overcommits: config.memory_overcommit,
        })
    }

    /// Names everything that compiled code depends on besides the wasm: versions, settings, processor.
    ///
    /// Code of another engine hash is useless here; it is not loaded, and need not be kept.
    pub fn code_hash(&self) -> Digest {
        code_hash(&self.wasmtime)
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// The memory that all instances of this engine draw from.
    pub fn memory_budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// The room for instances as far as memory goes.
    pub fn memory_room(&self) -> MemoryRoom {
        MemoryRoom { budget: self.budget.limit_bytes(), overcommits: self.overcommits }
    }

    /// Ends every guest call that is running now at its next check, as if its time were over.
    ///
    /// For a host that must stop at once. Calls that start afterwards have their full time.
    pub fn expire_running_calls(&self) {
        config::expire_running_calls(&self.wasmtime);
    }
}

fn code_hash(engine: &wasmtime::Engine) -> Digest {
    struct Feed(Digester);
    impl Hasher for Feed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(&(bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut feed = Feed(Digester::default());
    engine.precompile_compatibility_hash().hash(&mut feed);
    feed.0.finish()
}
