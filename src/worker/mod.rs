//! Owns the processes in which hostile bytes are fetched and compiled.
//!
//! A worker is this program once more, with nothing: no environment, no rights, little memory and time. What it
//! sends back is bytes that are then verified, as if they came from the network; that it ends badly costs one
//! source or one component its turn. It decides nothing, and keeps nothing but mirrors of repositories.
//!
//! The conversation, all of it in bounded frames over the worker's standard streams:
//!
//! ```text
//! host                          worker
//! Setup  (limits, directories)   gives up signals, rights, descriptors; reads Setup; confines itself
//!        <-- Ready (how far it is confined, which code its compiler makes)
//! Job    (nothing hostile is read before this)
//! fetch:   <-- Progress …  <-- Found, pieces    Wanted -->   <-- pieces, Done
//! compile: pieces, Done -->                     <-- Code, pieces, Done
//!          <-- Failed at any time after Ready
//! ```

mod child;
mod compiling;
#[cfg(target_os = "linux")]
mod confine;
mod fetching;
mod frame;
mod in_process;
pub mod limits;
mod process;
mod starter;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::engine::{CompileError, Engine, FreshCode};
use crate::resolution::Refusal;
use crate::source::remote::{FetchFailure, FetchJob};
use crate::trust::VerifiedArtifact;

pub use fetching::Fetching;
pub use frame::MAX_FRAME_BYTES;
pub use limits::{CompileLimits, FetchLimits, Lane, WASM_BYTES_A_SECOND};
pub use wire::{MAX_CODE_BYTES, MAX_FOUND_BYTES};

/// Name of the hidden command that makes a process of this program a worker.
pub const WORKER_COMMAND: &str = "worker";

/// Where fetching and compiling happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workers {
    /// In processes of their own, each a run of this program with the argument [`WORKER_COMMAND`]. It must be an
    /// `airssys-wasm` of this very version: what it compiles is run. Hostile input can cost one turn, no more.
    Exe(PathBuf),
    /// In this process: nothing is confined, memory and processor time have no limit, and a fetch that is past its
    /// deadline goes on unseen until its next word. For tests, measurements and hosts that can't start processes.
    InProcess,
}

/// Called with a word and a number of bytes as a fetch goes on.
pub type OnProgress = Box<dyn FnMut(&str, u64) + Send>;

/// Why there is no code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileFailure {
    /// The compiler, or the checks before it, refused the component.
    Refused(CompileError),
    /// The worker passed a limit, broke down, or could not be started.
    Worker(Refusal),
}

impl Workers {
    /// Processes of the program that is running, also when its file was replaced meanwhile.
    pub fn of_this_program() -> std::io::Result<Self> {
        // The kernel keeps this link at the program that runs, whatever its path leads to by now: an upgrade of
        // the file must not make workers of another version.
        let own = PathBuf::from("/proc/self/exe");
        if cfg!(target_os = "linux") && own.exists() {
            return Ok(Self::Exe(own));
        }
        std::env::current_exe().map(Self::Exe)
    }

    /// Which it is, in a few words.
    pub fn text(&self) -> &'static str {
        match self {
            Self::Exe(_) => "processes of their own",
            Self::InProcess => "in this process",
        }
    }

    /// Begins a fetch and waits for what it finds. Blocks until then, at most for the limits' time.
    ///
    /// The directory of a mirror is made if it is missing; the worker can write there and nowhere else. `stop`
    /// becoming true ends it soon, with the code `stopping`. What comes of it is untrusted.
    pub fn fetch(
        &self,
        job: FetchJob,
        limits: &FetchLimits,
        stop: &Arc<AtomicBool>,
        on_progress: OnProgress,
    ) -> Result<Fetching, FetchFailure> {
        fetching::make_mirror(&job)?;
        match self {
            Self::Exe(program) => Fetching::in_child(program, &job, limits, stop, on_progress),
            Self::InProcess => Fetching::in_thread(job, limits, stop, on_progress),
        }
    }

    /// Makes code of a verified artifact's wasm. Blocks: in each [`Lane`] one worker compiles at a time in a host, at low
    /// priority.
    ///
    /// `stop` becoming true ends it soon, with the code `stopping`.
    pub fn compile(
        &self,
        engine: &Engine,
        artifact: &VerifiedArtifact,
        wasm: &[u8],
        limits: &CompileLimits,
        stop: &Arc<AtomicBool>,
    ) -> Result<FreshCode, CompileFailure> {
        match self {
            Self::Exe(program) => compiling::in_child(program, engine, artifact, wasm, limits, stop),
            Self::InProcess => engine.precompile(artifact, wasm).map_err(CompileFailure::Refused),
        }
    }
}

/// A worker's whole life: confines itself, does the one job that the host sends, and ends.
pub fn serve() -> ExitCode {
    child::serve()
}
