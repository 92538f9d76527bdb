//! Who speaks to the outside: workers, and in tests a fetcher that fails on purpose.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::source::remote::{FetchFailure, FetchJob, Found, WasmWanted};
use crate::worker::{FetchLimits, Fetching, OnProgress, Workers};

/// Begins fetches.
pub trait Fetcher: Send + Sync {
    /// Blocks until something is found. `stop` becoming true ends it soon.
    fn fetch(
        &self,
        job: FetchJob,
        stop: &Arc<AtomicBool>,
        on_progress: OnProgress,
    ) -> Result<Box<dyn Conversation>, FetchFailure>;
}

/// A fetch that found something. Dropping it ends it.
pub trait Conversation {
    /// What was found. Untrusted.
    fn found(&self) -> &Found;
    /// Hands the wasm to `sink`.
    fn wasm(self: Box<Self>, wanted: &WasmWanted, sink: &mut dyn Write) -> Result<(), FetchFailure>;
}

impl Fetcher for Workers {
    fn fetch(
        &self,
        job: FetchJob,
        stop: &Arc<AtomicBool>,
        on_progress: OnProgress,
    ) -> Result<Box<dyn Conversation>, FetchFailure> {
        let limits = FetchLimits::of(&job);
        Ok(Box::new(Self::fetch(self, job, &limits, stop, on_progress)?))
    }
}

impl Conversation for Fetching {
    fn found(&self) -> &Found {
        Self::found(self)
    }

    fn wasm(self: Box<Self>, wanted: &WasmWanted, sink: &mut dyn Write) -> Result<(), FetchFailure> {
        Self::wasm(*self, wanted, sink)
    }
}
