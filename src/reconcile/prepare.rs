//! Makes standbys: code, an instance, its `init`.
//!
//! Nothing prepared here takes a message, and nothing is decided here: what fails is reported.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::actor::{PrepareError, Standby, StandbyRequest, System};
use crate::digest::Digest;
use crate::engine::CompiledComponent;
use crate::host::GuestConfig;
use crate::name::InstallationName;
use crate::plan::ties::DEPENDENCY_FAILED;
use crate::record::Record;
use crate::resolution::Refusal;
use crate::state::{self, Store};
use crate::trust::VerifiedArtifact;
use crate::worker::CompileLimits;

use super::Tell;
use super::code::CodeMaker;
use super::notice::Notice;
use super::secrets::{Expect, Secrets};
use super::waves::waves;

/// Most components made ready at the same time.
const MAX_PARALLEL: usize = 8;

/// The machine reason of a component whose code is not made yet.
pub const NO_CODE: &str = "no-code";

/// One component to make ready.
#[derive(Debug, Clone)]
pub struct Start {
    /// What is to run.
    pub record: Arc<Record>,
    /// [`Record::target_digest`] of that.
    pub target: Digest,
    /// The proof that it may.
    pub artifact: Arc<VerifiedArtifact>,
    /// Its storage, unless the commit gives it a new one.
    pub storage_id: Option<u64>,
}

/// Makes components ready.
pub struct Preparer<'a> {
    /// Holds the markers.
    pub store: &'a Store,
    /// Instantiates.
    pub actors: &'a System,
    /// Has code, or makes it.
    pub code: &'a CodeMaker,
    /// Whether code that is not there is made now. Otherwise what needs it fails with [`NO_CODE`].
    pub makes_code: bool,
    /// What making it may cost.
    pub limits: &'a CompileLimits,
    /// What was not made beside the passes, by digest of the wasm, and why.
    pub given_up: &'a BTreeMap<Digest, Refusal>,
    /// Where long work is told.
    pub tell: &'a Tell,
    /// Reads the secrets of configs.
    pub secrets: &'a Secrets,
    /// What the secrets must be.
    pub expect: Expect,
    /// Whether what is not begun yet is to be given up.
    pub stopping: &'a Arc<AtomicBool>,
}

/// What came of making components ready.
pub type Prepared = BTreeMap<InstallationName, Result<Standby, Refusal>>;

impl Preparer<'_> {
    /// Makes all of `starts` ready, those that others depend on first, several at a time.
    ///
    /// What depends on one that fails is not tried: it would start without what it needs.
    pub fn all(&self, starts: &BTreeMap<InstallationName, Start>, parallel: usize) -> Prepared {
        let needs = starts.iter().map(|(name, start)| (name.clone(), start.record.spec.depends_on.clone())).collect();
        let mut prepared = Prepared::new();
        let progress = Progress { done: AtomicUsize::new(0), of: starts.len() };
        for wave in waves(&needs) {
            let (ready, orphans): (Vec<_>, Vec<_>) =
                wave.into_iter().partition(|name| failed_dependency(name, starts, &prepared).is_none());
            for name in orphans {
                let failed = failed_dependency(&name, starts, &prepared).unwrap_or_default();
                let message = format!("it depends on {failed}, which did not start");
                prepared.insert(name, Err(Refusal::new(DEPENDENCY_FAILED, message)));
            }
            prepared.extend(self.wave(&ready, starts, parallel, &progress));
        }
        prepared
    }

    /// The config of `record` for an instance that runs.
    pub fn config(&self, record: &Arc<Record>) -> Result<Arc<GuestConfig>, Refusal> {
        self.secrets.config(record, self.expect).map(Arc::new)
    }

    fn wave(
        &self,
        names: &[InstallationName],
        starts: &BTreeMap<InstallationName, Start>,
        parallel: usize,
        progress: &Progress,
    ) -> Prepared {
        // One marker a component, so that a death of the host in here leaves the names behind. A disk that
        // takes no marker must not keep components from starting: only that finding is lost.
        let alone = if names.len() == 1 { state::Start::Alone } else { state::Start::Together };
        let targets = names.iter().map(|name| (name.clone(), starts[name].target));
        let _ = self.store.mark_starting(targets.collect(), alone).wait();
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Prepared::new());
        let work = || {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = self.one(name, &starts[name], progress);
                results.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), result);
            }
        };
        let threads = parallel.clamp(1, MAX_PARALLEL).min(names.len());
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failed: Vec<_> = results.iter().filter(|(_, r)| r.is_err()).map(|(name, _)| name.clone()).collect();
        if !failed.is_empty() {
            let _ = self.store.clear_starting(failed).wait();
        }
        results
    }

    fn one(&self, name: &InstallationName, start: &Start, progress: &Progress) -> Result<Standby, Refusal> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Refusal::new("stopping", "the host is stopping"));
        }
        let compiled = self.code_for(name, start, progress)?;
        let config = self.config(&start.record)?;
        let storage_id = start.storage_id;
        let request = StandbyRequest { record: start.record.clone(), compiled, config, storage_id };
        let standby = self.actors.prepare(request).map_err(|error| not_prepared(&error));
        progress.done.fetch_add(1, Ordering::Relaxed);
        standby
    }

    /// From memory, from the cache, or compiled now where that is to be, unless it was tried beside the passes and did
    /// not succeed.
    fn code_for(
        &self,
        name: &InstallationName,
        start: &Start,
        progress: &Progress,
    ) -> Result<CompiledComponent, Refusal> {
        if let Some(code) = self.code.known(name, &start.artifact) {
            return Ok(code);
        }
        if let Some(why) = self.given_up.get(&start.artifact.identity().wasm) {
            return Err(why.clone());
        }
        if !self.makes_code {
            return Err(Refusal::new(NO_CODE, "its code is not compiled yet"));
        }
        let step = (progress.done.load(Ordering::Relaxed) + 1, progress.of);
        (self.tell)(&Notice::Working { what: "compiling", name: name.clone(), step });
        self.code.make(name, &start.artifact, self.limits, self.stopping)
    }
}

struct Progress {
    done: AtomicUsize,
    of: usize,
}

fn not_prepared(error: &PrepareError) -> Refusal {
    let (code, hint) = match error {
        PrepareError::OtherArtifact => ("other-artifact", "report this: the host mixed up two artifacts"),
        PrepareError::Link(_) => ("not-linkable", "the component was built for another host or version of the world"),
        PrepareError::NobodyToTrigger => {
            ("nobody-to-trigger", "remove the trigger, or use a release that handles messages")
        }
        PrepareError::NobodyToSubscribe => {
            ("nobody-to-subscribe", "remove `subscriptions`, or use a release that handles messages")
        }
        PrepareError::NobodyToDeliverTo => {
            ("nobody-to-deliver-to", "remove the line, or use a release that handles messages")
        }
        PrepareError::OverflowOfTheStore(_) => {
            ("overflow-of-the-store", "write mailbox-overflow = \"reject\" in [limits], or remove `delivery`")
        }
        PrepareError::RetriesOfTheStore => {
            ("retries-of-the-store", "write retries = 0 in [limits], or remove `delivery`")
        }
        PrepareError::ForgetfulStore => {
            ("store-in-memory", "remove the line, or give the host a store on disk: fjall or redb")
        }
        PrepareError::Storage(_) => ("storage-unavailable", "components without storage are not affected"),
        PrepareError::Unavailable(_) => {
            ("grant-unavailable", "make the directory, or grant another one; it is tried again by itself")
        }
        PrepareError::Refused(_) => {
            ("init-refused", "`[config]` of the desired file reaches init; see also the component's log")
        }
        PrepareError::Unhealthy(_) => ("unhealthy", "an instance that is unhealthy after init is never used"),
        PrepareError::HealthCrashed(_) => ("health-crashed", "see the component's log"),
        PrepareError::Crashed(_) => ("init-crashed", "see the component's log; limits are in [limits]"),
    };
    Refusal::new(code, error.to_string()).hint(hint)
}

/// How many components are made ready at a time on this machine.
pub fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn failed_dependency(
    name: &InstallationName,
    starts: &BTreeMap<InstallationName, Start>,
    prepared: &Prepared,
) -> Option<String> {
    let needs = &starts.get(name)?.record.spec.depends_on;
    needs.iter().find(|need| prepared.get(*need).is_some_and(Result::is_err)).map(ToString::to_string)
}
