//! The reconciler: what it works with and what it keeps from pass to pass.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::actor::{ActorPhase, System};
use crate::backoff::{Backoff, Retries};
use crate::config::StateSettings;
use crate::digest::Digest;
use crate::engine::Engine;
use crate::name::InstallationName;
use crate::observed::quarantine::Quarantined;
use crate::observed::{Observed, Phase};
use crate::resolution::Refusal;
use crate::source::secret::SecretPlaces;
use crate::source::trust_file::{self, TrustLocation};
use crate::state::{AuditSink, Deaths, Opened, Store, Suspects, quarantined};
use crate::trust::TrustPolicy;
use crate::worker::{CompileLimits, Workers};

use super::Tell;
use super::aftermath::Aftermath;
use super::beside::{Beside, OnEnd};
use super::code::CodeMaker;
use super::notice::Notice;
use super::observe::Committed;
use super::prepare::Preparer;
use super::purge::Purges;
use super::read::Reader;
use super::recorder::Recorder;
use super::remote::{Remote, RemoteOptions};
use super::repository::{FromGit, SnapshotParts, Snapshots};
use super::resolve::Resolver;
use super::room::RoomMeter;
use super::secrets::{Expect, Secrets};
use super::told::Told;
use super::turns::Turns;
use super::word::Word;

/// What a reconciler works with.
pub struct Parts {
    /// The desired directory.
    pub desired: PathBuf,
    /// Where the desired files are instead, if they are in a repository.
    pub from_git: Option<FromGit>,
    /// Where the trust policy is.
    pub trust: TrustLocation,
    /// The state, locked by this process.
    pub store: Store,
    /// Compiles and loads.
    pub engine: Engine,
    /// Runs.
    pub actors: Arc<System>,
    /// Whether the actors are to take over, or only to be tried: `apply` without a host commits and ends.
    pub runs: bool,
    /// Where fetching and compiling happen.
    pub workers: Workers,
    /// What the host says about remote sources.
    pub remote: RemoteOptions,
    /// What one compilation may use.
    pub compile_limits: CompileLimits,
    /// Where notices go.
    pub tell: Tell,
    /// How much of the past is kept.
    pub keep: StateSettings,
    /// Where secrets are read.
    pub secrets: SecretPlaces,
    /// Becomes true when the host is to stop: what is being prepared is given up, and nothing is committed.
    pub stopping: Arc<AtomicBool>,
}

/// Keeps the running set equal to the desired directory, one pass at a time.
pub struct Reconciler {
    pub(super) parts: Parts,
    pub(super) committed: Committed,
    /// What the last look observed, of which the next one keeps what cannot have changed.
    pub(super) observed: Observed,
    pub(super) code: CodeMaker,
    pub(super) beside: Beside,
    pub(super) suspects: Suspects,
    /// Components with a count of host deaths.
    pub(super) deaths: Deaths,
    pub(super) quarantined: Quarantined,
    pub(super) recorder: Recorder,
    pub(super) resolver: Resolver,
    pub(super) secrets: Secrets,
    pub(super) policy: Arc<TrustPolicy>,
    pub(super) aftermath: Aftermath,
    /// The generation that is noted on disk as the last good one.
    pub(super) good: Option<u64>,
    /// When what is not kept was removed last, since the host started.
    pub(super) collected_at: Duration,
    started: Instant,
    pub(super) reader: Reader,
    pub(super) snapshots: Option<Snapshots>,
    pub(super) trust_shown: String,
    pub(super) sources: Retries,
    pub(super) turns: Turns,
    /// What an operator approved and waits for its code.
    pub(super) word: Word,
    /// The code that an operator's orders to go back wait for.
    pub(super) ways_back: BTreeSet<Digest>,
    /// What runs as soon as its code is made: it was not there when the host started.
    pub(super) late: BTreeSet<InstallationName>,
    pub(super) told: Told,
    pub(super) passes: u64,
    pub(super) room: RoomMeter,
    pub(super) purges: Purges,
}

impl Reconciler {
    /// Takes the state as it is on disk. Nothing runs yet; see [`Reconciler::start_committed`].
    pub fn new(opened: Opened, parts: impl FnOnce(Store) -> Parts) -> Result<Self, trust_file::TrustFileError> {
        let Opened { store, snapshot, suspects, deaths } = opened;
        let parts = parts(store);
        let loaded = trust_file::load(&parts.trust)?;
        if let Some(text) = loaded.warning {
            (parts.tell)(&Notice::Info { text });
        }
        if let Some(recovered) = &snapshot.recovered {
            let why = Refusal::new(
                "recovered",
                format!(
                    "the current generation was damaged ({}); generation {} took its place",
                    recovered.why, recovered.number
                ),
            );
            (parts.tell)(&Notice::Problem { why });
        }
        for (name, why) in &snapshot.damaged {
            let why = Refusal::new("damaged-record", format!("its committed record {why}"));
            (parts.tell)(&Notice::Failed {
                verb: "start",
                name: name.clone(),
                why: why.hint("the next pass makes it anew from its file"),
            });
        }
        let stored = (parts.store.objects().clone(), parts.store.cache().clone());
        let code = CodeMaker::new(parts.engine.clone(), stored, parts.workers.clone(), parts.tell.clone());
        let fetcher = Arc::new(parts.workers.clone());
        let remote = parts.remote.clone().parts(fetcher, parts.store.objects().clone());
        let remote = Arc::new(Remote::new(remote));
        let snapshots = parts.from_git.clone().map(|from| {
            Snapshots::new(SnapshotParts {
                from,
                workers: parts.workers.clone(),
                settings: parts.remote.settings.clone(),
                home: parts.remote.home.clone(),
                offline: parts.remote.offline,
            })
        });
        Ok(Self {
            good: snapshot.last_good,
            committed: Committed::from(snapshot),
            observed: Observed::default(),
            code,
            beside: Beside::default(),
            suspects,
            quarantined: quarantined(&deaths),
            deaths,
            recorder: Recorder::default(),
            resolver: Resolver::new(&parts.desired, remote),
            secrets: Secrets::new(parts.secrets.clone(), Some(parts.store.secret_key().clone())),
            policy: Arc::new(loaded.policy),
            aftermath: Aftermath::default(),
            collected_at: Duration::ZERO,
            started: Instant::now(),
            reader: Reader::new(&parts.desired),
            snapshots,
            trust_shown: loaded.shown,
            sources: Retries::new(Backoff::SOURCE),
            turns: Turns::default(),
            word: Word::default(),
            ways_back: BTreeSet::new(),
            late: BTreeSet::new(),
            told: Told::default(),
            passes: 0,
            room: RoomMeter::default(),
            purges: Purges::default(),
            parts,
        })
    }

    /// Time since this reconciler was made: the only clock that decisions see.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The trust policy in force, for people.
    pub fn trust_shown(&self) -> &str {
        &self.trust_shown
    }

    /// The desired files of a repository, if they are from one.
    pub fn snapshots(&self) -> Option<&Snapshots> {
        self.snapshots.as_ref()
    }

    /// What is committed.
    pub fn committed(&self) -> &Committed {
        &self.committed
    }

    /// What runs.
    pub fn actors(&self) -> &Arc<System> {
        &self.parts.actors
    }

    /// Set to true, it makes a pass that is under way end soon and without a commit.
    pub fn stopping(&self) -> &Arc<AtomicBool> {
        &self.parts.stopping
    }

    /// Has `told` called whenever code was made beside the passes, or given up: a pass is due then.
    pub fn on_compiled(&mut self, told: OnEnd) {
        self.beside.on_end(told);
    }

    /// Whether code is being made beside the passes.
    pub fn is_compiling(&self) -> bool {
        self.beside.is_busy()
    }

    /// Ends what is made beside the passes.
    pub fn end_compiling(&mut self) {
        self.beside.end();
    }

    /// How many syncs of files, directories and file systems were asked for since the state was opened.
    pub fn syncs(&self) -> u64 {
        self.parts.store.syncs()
    }

    /// What compiles and counts memory.
    pub fn engine(&self) -> &Engine {
        &self.parts.engine
    }

    /// The sources on other machines.
    pub fn remote(&self) -> &Arc<Remote> {
        self.resolver.remote()
    }

    /// The directories of all sources, when they changed since the last time this was asked.
    pub fn changed_source_directories(&mut self) -> Option<BTreeSet<PathBuf>> {
        self.resolver.changed_directories()
    }

    /// The directories in which secrets of components lie.
    pub fn secret_directories(&self) -> BTreeSet<PathBuf> {
        self.secrets.directories()
    }

    /// Whether desired files are reached through links, as in a Kubernetes mount.
    pub fn has_links(&self) -> bool {
        self.reader.has_links()
    }

    pub(super) fn observe(&self) -> Observed {
        let runs = self.parts.runs;
        let actors = &self.parts.actors;
        let phase = |name: &_| if runs { phase(actors, name) } else { Phase::NotRunning };
        let mut observed = self.committed.observe(phase);
        self.quarantined.put_into(&mut observed);
        observed
    }

    /// Targets that took the host down too often.
    pub fn quarantined(&self) -> &Quarantined {
        &self.quarantined
    }

    /// Writes into the audit log from elsewhere.
    pub fn audit_sink(&self) -> AuditSink {
        self.parts.store.audit_sink()
    }

    /// What another target of a name did, or an operator let go, says nothing of what comes now.
    pub(super) fn lift_quarantine(&mut self, name: &InstallationName) -> bool {
        let lifted = self.quarantined.lift(name);
        self.forgive(name);
        lifted
    }

    /// The host outlived its start. A count that stays costs no more than a start too few.
    pub(super) fn forgive(&mut self, name: &InstallationName) {
        if self.deaths.remove(name).is_some() {
            let _ = self.parts.store.forgive(name.clone()).wait();
        }
    }

    pub(super) fn preparer<'a>(&'a self, expect: Expect, limits: &'a CompileLimits) -> Preparer<'a> {
        Preparer {
            secrets: &self.secrets,
            expect,
            store: &self.parts.store,
            actors: &self.parts.actors,
            code: &self.code,
            makes_code: true,
            limits,
            given_up: self.beside.given_up(),
            tell: &self.parts.tell,
            stopping: &self.parts.stopping,
        }
    }

    /// While the policy can't be read nobody is trusted: what it revoked meanwhile is unknown.
    pub(super) fn reload_trust(&mut self) -> Vec<Refusal> {
        match trust_file::load(&self.parts.trust) {
            Ok(loaded) => {
                if loaded.policy.digest() != self.policy.digest() {
                    self.policy = Arc::new(loaded.policy);
                }
                self.trust_shown = loaded.shown;
                Vec::new()
            }
            Err(error) => {
                self.policy = Arc::new(TrustPolicy::none());
                vec![Refusal::new("trust-unreadable", error.to_string()).hint(error.hint())]
            }
        }
    }
}

/// What an actor does, in the planner's words.
pub(super) fn phase(actors: &System, name: &InstallationName) -> Phase {
    match actors.phase(name) {
        Some(ActorPhase::Running) => Phase::Running,
        Some(ActorPhase::Starting) => Phase::Starting,
        Some(ActorPhase::Backoff) => Phase::Backoff,
        Some(ActorPhase::Failed) => Phase::Failed,
        Some(ActorPhase::Stopping | ActorPhase::Stopped) | None => Phase::Stopped,
    }
}

/// Seconds since 1970, for the dates in manifests.
pub fn unix_now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX)
}
