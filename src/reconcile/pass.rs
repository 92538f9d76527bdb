//! One pass: read, resolve, observe, plan, apply.
//!
//! Owns what lives from pass to pass. What a pass does is in the plan that it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::actor::{ActorPhase, System};
use crate::backoff::{Backoff, Jitter, Retries};
use crate::config::StateSettings;
use crate::desired::spec::Source;
use crate::desired::{BadFile, DesiredState, Entry};
use crate::diagnostic::Diagnostic;
use crate::engine::Engine;
use crate::name::InstallationName;
use crate::observed::{Observed, Phase};
use crate::plan::action::{Action, Kind};
use crate::plan::text::{APPLY, approve_command};
use crate::plan::{Plan, PlanInput};
use crate::resolution::{Refusal, Resolution};
use crate::saved::{Inputs, Made, settings_digest};
use crate::source::secret::SecretPlaces;
use crate::source::trust_file::{self, TrustLocation};
use crate::state::{Opened, Store, Suspects};
use crate::status::PassSummary;
use crate::trust::TrustPolicy;
use crate::watch::files::{FileTimes, MAX_SETTLING};
use crate::worker::{CompileLimits, Workers};

use super::Tell;
use super::aftermath::Aftermath;
use super::apply::{FailedAction, Holds};
use super::beside::{Beside, OnEnd};
use super::code::CodeMaker;
use super::notice::Notice;
use super::observe::Committed;
use super::order::{ApplyOrder, Refused};
use super::prepare::Preparer;
use super::purge::Purges;
use super::read::{Hints, Reader};
use super::recent::recent_set;
use super::remote::{Remote, RemoteOptions};
use super::repository::{FromGit, SnapshotParts, Snapshots};
use super::resolve::{FETCHING, Resolver};
use super::room::RoomMeter;
use super::secrets::{Expect, Secrets};
use super::told::Told;
use super::turns::{self, Turns};

/// A look that is due sooner than this is for files that settle, and not for one that can't be read.
const SETTLES_SOON: Duration = Duration::from_secs(1);

/// Wait before the look that follows when code could not be made beside the passes.
const LOOK_AFTER_NO_BEGINNING: Duration = Duration::from_secs(1);

/// Wait before the look that follows a failed action.
const LOOK_AFTER_FAILURE: Duration = Duration::from_millis(100);

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
    pub(super) code: CodeMaker,
    pub(super) beside: Beside,
    pub(super) suspects: Suspects,
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
    trust_shown: String,
    pub(super) sources: Retries,
    pub(super) turns: Turns,
    told: Told,
    passes: u64,
    pub(super) room: RoomMeter,
    pub(super) purges: Purges,
}

/// What a pass did and what is left.
pub struct Pass {
    /// For status and log.
    pub summary: PassSummary,
    /// The plan that was carried out.
    pub plan: Plan,
    /// When to look again even if nothing happens; none when nothing waits for time to pass.
    pub look_again_in: Option<Duration>,
    /// Whether a generation was committed.
    pub committed: bool,
    /// What went wrong with actions of this pass.
    pub failed: Vec<FailedAction>,
    /// Installs that failed and are tried again, each with why and after which wait.
    pub waiting: BTreeMap<InstallationName, (Refusal, Duration)>,
    /// What waits for code that is made beside the passes, each with why.
    pub put_off: BTreeMap<InstallationName, Refusal>,
    /// What concerns no single name.
    pub problems: Vec<Refusal>,
}

/// What a look at everything found.
struct Looked {
    plan: Plan,
    problems: Vec<Refusal>,
    waits_for_sources: Option<Duration>,
    now: Duration,
}

impl Reconciler {
    /// Takes the state as it is on disk. Nothing runs yet; see [`Reconciler::start_committed`].
    pub fn new(opened: Opened, parts: impl FnOnce(Store) -> Parts) -> Result<Self, trust_file::TrustFileError> {
        let Opened { store, snapshot, suspects, deaths: _ } = opened;
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
            code,
            beside: Beside::default(),
            suspects,
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

    /// One pass. Errors of single actions are in the result; an error means that nothing was committed.
    ///
    /// `completed` gives the names of desired files that were completed since the last pass, `times`
    /// says whose clock stamps them.
    pub fn pass(
        &mut self,
        cause: &str,
        times: FileTimes,
        completed: &mut dyn FnMut() -> BTreeSet<String>,
    ) -> anyhow::Result<Pass> {
        self.ordered_pass(cause, times, completed, None)
    }

    /// One pass that an operator ordered, if there is an order.
    ///
    /// # Errors
    ///
    /// Besides those of [`Reconciler::pass`], a [`Refused`] when the order does not fit what is there now:
    /// nothing was committed then.
    pub fn ordered_pass(
        &mut self,
        cause: &str,
        times: FileTimes,
        completed: &mut dyn FnMut() -> BTreeSet<String>,
        order: Option<&ApplyOrder>,
    ) -> anyhow::Result<Pass> {
        let begun = Instant::now();
        self.passes += 1;
        let number = self.committed.generation.number;
        let trust_problems = self.reload_trust();
        if self.parts.runs {
            self.judge_probations(begun)?;
        }
        self.settle_purges();
        let Looked { plan, mut problems, waits_for_sources, now } = self.look(times, completed, order)?;
        problems.splice(..0, trust_problems.into_iter().chain(self.purges.problem()));
        let doable: BTreeSet<&InstallationName> = plan.effects().map(|action| &action.name).collect();
        self.aftermath.keep_only(|name| doable.contains(name));
        // A file that is new and still settles is not told yet: in a moment it is complete, or a problem.
        let settles = self.reader.look_again_after().is_some_and(|wait| wait < SETTLES_SOON);
        problems.extend(plan.unreadable.iter().filter(|_| !settles).map(bad_file));
        self.told.problems(&problems, &self.parts.tell);
        // Who orders it does not want to wait for the next attempt.
        let waits = |action: &&Action| order.is_none() && self.aftermath.waits(action, now);
        let actions: Vec<Action> = plan.effects().filter(|action| !waits(action)).cloned().collect();
        self.beside.look(&plan.effects().filter_map(turns::wasm_of).collect());
        let order = order.map(ApplyOrder::note);
        let applied_commit = self.snapshots.as_ref().and_then(Snapshots::applies);
        let holds = Holds { drop: plan.released.clone(), order, applied_commit, ..Holds::default() };
        let applied = self.carry_out(&actions, holds, begun)?;
        if !applied.done.is_empty() {
            self.room.forget();
        }
        if matches!(self.purges, Purges::Due) {
            self.settle_purges();
        }
        self.told.held(held_notices(&plan), &self.parts.tell);
        let summary = PassSummary {
            number: self.passes,
            cause: cause.to_owned(),
            took_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            ended_ms_ago: 0,
            done: applied.done.len() as u64,
            failed: applied.failed.len() as u64,
            // While a file settles, or an artifact is fetched, it is not known what is wanted.
            converged: applied.done.len() == plan.effects().count()
                && self.reader.look_again_after().is_none()
                && self.snapshots.as_ref().is_none_or(|snapshots| snapshots.applies().is_some())
                && !plan.actions.iter().any(|action| action.reason.code == FETCHING),
        };
        let now = self.now();
        // What failed is held by now: the next look tells so, and why.
        let failed = (!applied.failed.is_empty()).then_some(LOOK_AFTER_FAILURE);
        // The end of what is made beside the passes wakes whoever waits. Where nothing could begin, time does.
        let idle = (!applied.put_off.is_empty() && !self.beside.is_busy()).then_some(LOOK_AFTER_NO_BEGINNING);
        let (files, purges) = (self.reader.look_again_after(), self.purges.next_look());
        let waits = [self.aftermath.next_look(now), waits_for_sources, files, failed, idle, purges];
        Ok(Pass {
            summary,
            plan,
            look_again_in: waits.into_iter().flatten().min(),
            committed: self.committed.generation.number != number,
            failed: applied.failed,
            waiting: self.aftermath.waiting(now),
            put_off: applied.put_off.into_iter().map(|name| (name, turns::why_put_off())).collect(),
            problems,
        })
    }

    /// What a pass would do now, without doing it.
    pub fn plan_now(&mut self, times: FileTimes) -> anyhow::Result<Plan> {
        self.reload_trust();
        Ok(self.look(times, &mut BTreeSet::new, None)?.plan)
    }

    /// Reads, resolves, observes and plans; carries nothing out.
    fn look(
        &mut self,
        times: FileTimes,
        completed: &mut dyn FnMut() -> BTreeSet<String>,
        order: Option<&ApplyOrder>,
    ) -> anyhow::Result<Looked> {
        let now = self.now();
        let is_saved = order.is_some_and(|order| order.saved.is_some());
        let problems = match &mut self.snapshots {
            None => Vec::from_iter(self.read_directory(times, completed, is_saved)),
            Some(snapshots) => {
                let current = self.committed.generation.number;
                let last_good = || self.committed.last_good();
                let applied = self.committed.generation.applied_commit.as_ref();
                let problems = snapshots.read(current, applied, last_good).1;
                self.resolver.set_commit(snapshots.applies());
                problems
            }
        };
        let desired = self.snapshots.as_ref().map_or(self.reader.state(), |snapshots| snapshots.state());
        let objects = self.parts.store.objects();
        let resolutions = self.resolver.resolve(desired, &self.committed.records, &self.policy, objects, unix_now_s());
        let waits_for_sources = note_sources(&mut self.sources, desired, resolutions, now);
        let runs = self.parts.runs.then_some(&self.parts.actors);
        let observed = self.committed.observe(|name| runs.map_or(Phase::NotRunning, |actors| phase(actors, name)));
        let observed = Observed { room: self.room.at(now, &self.parts.engine), ..observed };
        let recent = recent_set(self.parts.store.reader(), &self.committed, desired, unix_now_s().unsigned_abs())?;
        let input = PlanInput {
            desired,
            resolutions,
            secrets: self.secrets.look(desired, now),
            observed: &observed,
            recent,
            floors: &self.committed.floors,
            approvals: &BTreeSet::new(),
            host: crate::host::SURFACE,
        };
        let mut plan = crate::plan::plan(&input);
        if let Some(order) = order {
            let inputs = || {
                let is_complete = desired.complete && problems.is_empty();
                let desired = match &self.snapshots {
                    Some(snapshots) => snapshots.input(is_complete),
                    None => self.reader.input(is_complete),
                };
                let signers = self.parts.from_git.as_ref().map_or(&[][..], |from| &from.rules.signers);
                let settings = settings_digest(&self.parts.secrets.rules, &self.parts.remote.settings, signers);
                Inputs::of(Made { input: &input, desired, trust: self.policy.digest(), settings })
            };
            let approvals = order.approvals_for(&plan, inputs).map_err(Refused)?;
            plan = crate::plan::plan(&PlanInput { approvals: &approvals, ..input });
        }
        let stale = self.resolver.remote().stale();
        plan.is_stale = !stale.is_empty();
        Ok(Looked { plan, problems: problems.into_iter().chain(stale).collect(), waits_for_sources, now })
    }

    /// Reads the desired directory. Whoever saved a plan looked at files that had `settled`, so whoever carries it out
    /// does: while a file settles, what it said before would count, and a change of it would be overlooked.
    fn read_directory(
        &mut self,
        times: FileTimes,
        completed: &mut dyn FnMut() -> BTreeSet<String>,
        settled: bool,
    ) -> Option<Refusal> {
        let begun = self.now();
        loop {
            let now = self.now();
            let hints = Hints { completed, times, now };
            let number = self.committed.generation.number;
            let problem = self.reader.read(hints, number, || self.committed.last_good()).1;
            match self.reader.look_again_after() {
                Some(wait) if settled && (now - begun).saturating_add(wait) < MAX_SETTLING => std::thread::sleep(wait),
                _ => return problem,
            }
        }
    }

    /// One pass over a directory that nobody watched: looks until its files have settled.
    pub fn pass_settled(&mut self, order: Option<&ApplyOrder>) -> anyhow::Result<Pass> {
        let last_good = self.committed.last_good();
        let number = self.committed.generation.number;
        let desired = match &mut self.snapshots {
            None => self.reader.read_settled(number, &last_good).0,
            Some(snapshots) => {
                let applied = self.committed.generation.applied_commit.as_ref();
                self.resolver.set_commit(snapshots.read_once(number, applied, || last_good.clone()));
                snapshots.state()
            }
        };
        let objects = self.parts.store.objects();
        self.resolver.resolve(desired, &self.committed.records, &self.policy, objects, unix_now_s());
        let tell = &self.parts.tell;
        self.resolver.remote().wait(|at, of| tell(&Notice::Fetching { step: (at, of) }));
        self.ordered_pass("apply", FileTimes::Local, &mut BTreeSet::new, order)
    }

    pub(super) fn observe(&self) -> Observed {
        let runs = self.parts.runs;
        let actors = &self.parts.actors;
        self.committed.observe(|name| if runs { phase(actors, name) } else { Phase::NotRunning })
    }

    pub(super) fn preparer<'a>(&'a self, expect: Expect, limits: &'a CompileLimits) -> Preparer<'a> {
        Preparer {
            secrets: &self.secrets,
            expect,
            store: &self.parts.store,
            actors: &self.parts.actors,
            code: &self.code,
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

/// Counts failed looks at sources that may be there later; gives the wait before the next one.
fn note_sources(
    sources: &mut Retries,
    desired: &DesiredState,
    resolutions: &BTreeMap<InstallationName, Resolution>,
    now: Duration,
) -> Option<Duration> {
    // Sources on other machines have clocks of their own, which wake the loop.
    let is_here = |name: &InstallationName| matches!(desired.entries.get(name), Some(Entry::Wanted { spec, .. }) if matches!(spec.source, Source::File { .. }));
    if !resolutions.iter().any(|(name, resolution)| matches!(resolution, Resolution::Unavailable(_)) && is_here(name)) {
        sources.reset();
        return None;
    }
    if sources.is_due(millis(now)) {
        sources.failed(millis(now), Jitter(getrandom::u32().unwrap_or(u32::MAX / 2)));
    }
    sources.next_ms().map(|at| Duration::from_millis(at).saturating_sub(now))
}

/// A bad file that nobody knows the installation of, as a problem of the directory.
fn bad_file(file: &BadFile) -> Refusal {
    let first = file.problems.iter().find(|problem| problem.place.is_some()).or(file.problems.first());
    let what = first.map_or_else(|| file.file.clone(), Diagnostic::one_line);
    let message = format!("{what}; nothing is removed while it is unknown what {} defines", file.file);
    let refusal = Refusal::new("invalid-file", message);
    match first.and_then(|problem| problem.hint.clone()) {
        Some(hint) => refusal.hint(hint),
        None => refusal,
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

/// A line for every action that is not carried out.
fn held_notices(plan: &Plan) -> BTreeMap<InstallationName, Notice> {
    // What is on its way is told as progress, not as something to look into.
    let held = plan.actions.iter().filter(|action| !action.is_ready() && action.reason.code != FETCHING);
    held.map(|action| {
        let notice = Notice::Held {
            kind: match action.kind {
                Kind::Hold => "held",
                Kind::Blocked => "blocked",
                _ => "needs an approval",
            },
            name: action.name.clone(),
            location: Some(action.location.to_string()),
            why: why_not(action),
            keeps_running: action.before.is_some(),
        };
        (action.name.clone(), notice)
    })
    .collect()
}

/// Why an action of a plan is not carried out, and what to do about it.
pub fn why_not(action: &Action) -> Refusal {
    let missing: Vec<_> = action.approvals.iter().filter(|approval| !approval.given).collect();
    if action.effect.is_none() || missing.is_empty() {
        let reason = &action.reason;
        return Refusal { code: reason.code.to_string(), message: reason.message.clone(), hint: reason.hint.clone() };
    }
    let why: Vec<&str> = missing.iter().map(|approval| approval.why.as_str()).collect();
    let names: Vec<String> = missing.iter().map(|approval| approval.name.to_string()).collect();
    let message = format!("{} needs an approval ({}): {}", action.kind.as_str(), names.join(", "), why.join("; "));
    let command = approve_command(APPLY, missing.iter().map(|approval| &approval.name));
    Refusal::new("needs-approval", message).hint(format!("to approve it: {command}"))
}

/// Seconds since 1970, for the dates in manifests.
pub fn unix_now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
