//! Owns the one compilation that goes on beside the passes, because it takes longer than a pass waits.
//!
//! It makes code and leaves it where a later pass finds it; what becomes of the component is that pass's matter. One at a
//! time, behind everything else on the machine, within the limits of every compilation.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::digest::Digest;
use crate::name::InstallationName;
use crate::resolution::Refusal;
use crate::trust::VerifiedArtifact;
use crate::worker::{CompileLimits, Lane};

use super::code::CodeMaker;

/// Told when a compilation ended.
pub type OnEnd = Arc<dyn Fn() + Send + Sync>;

type Outcome = Arc<Mutex<Option<Result<(), Refusal>>>>;

/// What is compiled beside the passes, and what came of it until a pass takes it up.
#[derive(Default)]
pub(super) struct Beside {
    job: Option<Job>,
    made: BTreeSet<Digest>,
    given_up: BTreeMap<Digest, Refusal>,
    on_end: Option<OnEnd>,
}

struct Job {
    wasm: Digest,
    stop: Arc<AtomicBool>,
    outcome: Outcome,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    /// Whom to tell when a compilation ended.
    pub(super) fn on_end(&mut self, on_end: OnEnd) {
        self.on_end = Some(on_end);
    }

    /// Whether something is being compiled.
    pub(super) fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// Whether a pass may take this code up: it was made, or it is known why not.
    pub(super) fn is_settled(&self, wasm: &Digest) -> bool {
        self.made.contains(wasm) || self.given_up.contains_key(wasm)
    }

    /// Code that was made and that no pass has taken up yet.
    pub(super) fn made(&self) -> &BTreeSet<Digest> {
        &self.made
    }

    /// What was not made, and why.
    pub(super) fn given_up(&self) -> &BTreeMap<Digest, Refusal> {
        &self.given_up
    }

    /// A pass took up what came of this code.
    pub(super) fn forget(&mut self, wasm: &Digest) {
        self.made.remove(wasm);
        self.given_up.remove(wasm);
    }

    /// Notes what ended since the last look.
    pub(super) fn note_ended(&mut self) {
        let ended = |job: &mut Job| job.outcome.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if let Some(mut job) = self.job.take_if(ended) {
            let outcome = job.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
            job.join();
            match outcome {
                _ if job.stop.load(Ordering::Relaxed) => {}
                Some(Ok(())) => drop(self.made.insert(job.wasm)),
                Some(Err(why)) => drop(self.given_up.insert(job.wasm, why)),
                None => {}
            }
        }
    }

    /// Forgets what is not wanted any more, and ends it.
    pub(super) fn keep_only(&mut self, wanted: &BTreeSet<Digest>) {
        self.made.retain(|wasm| wanted.contains(wasm));
        self.given_up.retain(|wasm, _| wanted.contains(wasm));
        if let Some(job) = self.job.as_ref().filter(|job| !wanted.contains(&job.wasm)) {
            job.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Begins a compilation; nothing may go on. An error says why it could not begin.
    pub(super) fn begin(
        &mut self,
        code: &CodeMaker,
        name: &InstallationName,
        artifact: Arc<VerifiedArtifact>,
        limits: &CompileLimits,
    ) -> std::io::Result<()> {
        let (stop, outcome) = (Arc::new(AtomicBool::new(false)), Outcome::default());
        let job = Job { wasm: artifact.identity().wasm, stop: stop.clone(), outcome: outcome.clone(), thread: None };
        let (code, name, on_end) = (code.clone(), name.clone(), self.on_end.clone());
        let limits = CompileLimits { lane: Lane::Beside, ..limits.clone() };
        let work = move || {
            let make = AssertUnwindSafe(|| code.make(&name, &artifact, &limits, &stop).map(drop));
            let made = catch_unwind(make)
                .unwrap_or_else(|_printed| Err(Refusal::new("not-compiled", "the host failed while it compiled it")));
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
            on_end.iter().for_each(|told| told());
        };
        let thread = std::thread::Builder::new().name("compile-beside".to_owned()).spawn(work)?;
        self.job = Some(Job { thread: Some(thread), ..job });
        Ok(())
    }

    /// Ends what goes on, and waits for its end.
    pub(super) fn end(&mut self) {
        if let Some(mut job) = self.job.take() {
            job.stop.store(true, Ordering::Relaxed);
            job.join();
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.end();
    }
}

impl Job {
    fn join(&mut self) {
        // A panic of it was caught in it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
