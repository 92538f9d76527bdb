//! One pass: read, resolve, observe, plan, apply.
//!
//! Owns what lives from pass to pass. What a pass does is in the plan that it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::actor::System;
use crate::backoff;
use crate::digest::Digest;
use crate::engine::Engine;
use crate::name::InstallationName;
use crate::observed::{Observed, Phase, SetHistory};
use crate::plan::action::Action;
use crate::plan::{Plan, PlanInput};
use crate::resolution::{Refusal, Resolution};
use crate::source::trust_file::{self, TrustLocation};
use crate::state::Store;
use crate::status::PassSummary;
use crate::trust::TrustPolicy;

use super::Tell;
use super::apply::{self, Applied, FailedAction};
use super::notice::Notice;
use super::observe::Committed;
use super::prepare::{CompiledCode, Preparer, Start, parallelism};
use super::probation::{Probation, Verdict};
use super::read::Reader;
use super::resolve::Resolver;
use super::told::Told;

/// What a reconciler works with.
pub struct Parts {
    /// The desired directory.
    pub desired: PathBuf,
    /// Where the trust policy is.
    pub trust: TrustLocation,
    /// The state, locked by this process.
    pub store: Store,
    /// Compiles and loads.
    pub engine: Arc<Engine>,
    /// Runs.
    pub actors: Arc<System>,
    /// Whether the actors are to take over, or only to be tried: `apply` without a host commits and ends.
    pub runs: bool,
    /// Where notices go.
    pub tell: Tell,
}

/// Keeps the running set equal to the desired directory, one pass at a time.
pub struct Reconciler {
    pub(super) parts: Parts,
    pub(super) committed: Committed,
    pub(super) code: CompiledCode,
    started: Instant,
    reader: Reader,
    resolver: Resolver,
    policy: Arc<TrustPolicy>,
    trust_shown: String,
    history: SetHistory,
    pub(super) aftermath: Aftermath,
    sources: Retries,
    told: Told,
    passes: u64,
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
    /// What concerns no single name.
    pub problems: Vec<Refusal>,
}

impl Reconciler {
    /// Takes the state as it is on disk. Nothing runs yet; see [`Reconciler::start_committed`].
    pub fn new(parts: Parts) -> anyhow::Result<Self> {
        let loaded = trust_file::load(&parts.trust)?;
        let committed = parts.store.committed()?;
        let reader = Reader::new(&parts.desired);
        let resolver = Resolver::new(&parts.desired);
        let mut reconciler = Self {
            parts,
            committed,
            code: CompiledCode::default(),
            started: Instant::now(),
            reader,
            resolver,
            policy: Arc::new(loaded.policy),
            trust_shown: loaded.shown,
            history: SetHistory::default(),
            aftermath: Aftermath::default(),
            sources: Retries::new(Backoff::SOURCE),
            told: Told::default(),
            passes: 0,
        };
        if let Some(text) = loaded.warning {
            (reconciler.parts.tell)(&Notice::Info { text });
        }
        reconciler.passes = 0;
        Ok(reconciler)
    }

    /// Time since this reconciler was made: the only clock that decisions see.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The trust policy in force, for people.
    pub fn trust_shown(&self) -> &str {
        &self.trust_shown
    }

    /// What is committed.
    pub fn committed(&self) -> &Committed {
        &self.committed
    }

    /// Reads, resolves, observes and plans. Writes below `objects/` and `scratch/` only.
    pub fn plan(&mut self) -> (Plan, Vec<Refusal>) {
        let mut problems = self.reload_trust();
        let desired = self.reader.read(&self.committed.last_good());
        problems.extend(desired.problem.clone());
        let resolutions = self.resolver.resolve(&desired.state, &self.policy, self.parts.store.objects(), unix_now_s());
        let observed = self.observe();
        let now_ms = millis(self.now());
        let input = PlanInput {
            desired: &desired.state,
            resolutions: &resolutions,
            observed: &observed,
            recent: self.history.recent(now_ms, observed.installed.len()),
            floors: &self.parts.store.floors(),
            approvals: &BTreeSet::new(),
        };
        (crate::plan::plan(&input), problems)
    }

    /// One pass. Errors of single actions are in the result; an error means that nothing was committed.
    pub fn pass(&mut self, cause: &str) -> anyhow::Result<Pass> {
        let begun = Instant::now();
        self.passes += 1;
        self.judge_probations(begun)?;
        let (plan, problems) = self.plan();
        self.told.problems(&problems, &self.parts.tell);
        let actions: Vec<Action> =
            plan.actions.iter().filter(|action| action.is_ready() && !self.aftermath.waits(action, self.now())).cloned().collect();
        let generation = self.committed.generation.number;
        let applied = self.carry_out(&actions, begun)?;
        self.tell_held(&plan);
        let converged = applied.failed.is_empty() && plan.is_converged();
        let summary = PassSummary {
            number: self.passes,
            cause: cause.to_owned(),
            took_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            ended_ms_ago: 0,
            done: applied.done.len() as u64,
            failed: applied.failed.len() as u64,
            converged,
        };
        Ok(Pass {
            summary,
            plan,
            look_again_in: self.look_again_in(),
            committed: self.committed.generation.number != generation,
            failed: applied.failed,
            problems,
        })
    }

    fn observe(&self) -> Observed {
        let runs = self.parts.runs;
        let actors = &self.parts.actors;
        self.committed.observe(|name| if runs { actors.phase(name) } else { Phase::NotRunning })
    }

    /// While the policy can't be read nobody is trusted: what it revoked meanwhile is unknown.
    fn reload_trust(&mut self) -> Vec<Refusal> {
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

    fn look_again_in(&self) -> Option<Duration> {
        let now = self.now();
        let retries = self.deferred.values().map(|d| d.not_before.saturating_sub(now));
        let probations = self.probations.values().map(|p| p.next_look(now));
        retries.chain(probations).min()
    }
}

/// Seconds since 1970, for the dates in manifests.
pub fn unix_now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
