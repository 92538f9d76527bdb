//! What follows a pass: retries of installs that failed, and new versions under watch.
//!
//! The rules are `backoff`'s and `probation`'s; here they meet the clock and the actors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::actor::{ActorPhase, ActorStatus, Health};
use crate::backoff::{Backoff, Jitter, Retries};
use crate::digest::Digest;
use crate::generation::{Decoded, HeldTarget};
use crate::host::health::HealthStatus;
use crate::name::InstallationName;
use crate::plan::action::{Action, Effect, Instance};
use crate::plan::revert::{REVERTED, revert};
use crate::plan::rollback::ROLLED_BACK;
use crate::plan::ties::Tie;
use crate::record::Record;
use crate::resolution::Refusal;

use super::apply::{FailedAction, Holds};
use super::probation::{Probation, Standing, Verdict};
use super::reconciler::Reconciler;

/// Shortest wait that is asked for, so that nothing makes the loop spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// Wait before going back is tried again when it failed.
const REVERT_RETRY: Duration = Duration::from_secs(10);

/// A target whose install failed and is tried again after a wait.
#[derive(Debug)]
struct Deferred {
    target: Digest,
    retries: Retries,
    why: Refusal,
}

/// Installs that wait for another attempt, and versions that have yet to prove themselves.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    deferred: BTreeMap<InstallationName, Deferred>,
    probations: BTreeMap<InstallationName, Probation>,
}

impl Aftermath {
    /// Whether an install failed before and waits for its next attempt. A changed target is tried at once.
    pub(super) fn waits(&self, action: &Action, now: Duration) -> bool {
        let deferred = self.deferred.get(&action.name);
        deferred.is_some_and(|d| target_of(action) == Some(d.target) && !d.retries.is_due(millis(now)))
    }

    /// Installs that wait for another attempt, each with why and for how long.
    pub(super) fn waiting(&self, now: Duration) -> BTreeMap<InstallationName, (Refusal, Duration)> {
        let waiting = self.deferred.iter().filter_map(|(name, deferred)| {
            let next = Duration::from_millis(deferred.retries.next_ms()?);
            Some((name.clone(), (deferred.why.clone(), next.saturating_sub(now))))
        });
        waiting.collect()
    }

    /// Notes what came of the actions of a pass.
    pub(super) fn note(&mut self, done: &[&Action], failed: &[FailedAction], now: Duration) {
        for action in done {
            self.deferred.remove(&action.name);
        }
        // What failed because of another one is tried again with that one.
        let has_own_time = |failed: &&FailedAction| !failed.is_held() && !Tie::is_why(&failed.why);
        for FailedAction { action, why } in failed.iter().filter(has_own_time) {
            let Some(target) = target_of(action) else { continue };
            let deferred = self.deferred.entry(action.name.clone()).or_insert_with(|| Deferred {
                target,
                retries: Retries::new(Backoff::SOURCE),
                why: why.clone(),
            });
            if deferred.target != target {
                deferred.target = target;
                deferred.retries.reset();
            }
            deferred.why = why.clone();
            deferred.retries.failed(millis(now), jitter());
        }
    }

    /// Forgets names for which the plan has nothing to carry out any more.
    pub(super) fn keep_only(&mut self, is_wanted: impl Fn(&InstallationName) -> bool) {
        self.deferred.retain(|name, _| is_wanted(name));
    }

    /// When something waits for time to pass: how long until then.
    pub(super) fn next_look(&self, now: Duration) -> Option<Duration> {
        let retries = self.deferred.values().filter_map(|d| d.retries.next_ms());
        let retries = retries.map(|ms| Duration::from_millis(ms).saturating_sub(now));
        let next = retries.chain(self.probations.values().map(|probation| probation.next_look(now))).min();
        next.map(|wait| wait.max(SHORTEST_WAIT))
    }

    /// Makes every install that waits for another attempt due now.
    pub(super) fn try_now(&mut self) {
        self.deferred.values_mut().for_each(|deferred| deferred.retries.reset());
    }

    /// A version under watch has only now begun to run.
    pub(super) fn watch_from(&mut self, name: &InstallationName, now: Duration) {
        if let Some(probation) = self.probations.get_mut(name) {
            probation.since = now;
        }
    }

    /// The code of what would be gone back to.
    pub(super) fn ways_back(&self) -> impl Iterator<Item = Digest> {
        let previous = self.probations.values().filter_map(|probation| probation.previous.as_ref());
        previous.map(|record| record.artifact.wasm)
    }

    /// Puts a version under watch.
    pub(super) fn watch(&mut self, name: InstallationName, probation: Probation) {
        self.probations.insert(name, probation);
    }
}

impl Reconciler {
    /// Puts what was just switched to under watch, with what it replaced.
    pub(super) fn watch_new_versions(&mut self, done: &[&Action], before: &BTreeMap<InstallationName, Arc<Record>>) {
        for action in done {
            let Some(Effect::Commit(commit)) = &action.effect else { continue };
            let open = self.aftermath.probations.remove(&action.name);
            if !commit.record.spec.enabled {
                continue;
            }
            if !matches!(commit.instance, Instance::Fresh | Instance::Reconfigure) {
                // The instance under watch goes on under another spec, or under its own when it refused another config.
                let moved_on = open.map(|probation| Probation { target: commit.target, ..probation });
                moved_on.into_iter().for_each(|probation| self.aftermath.watch(action.name.clone(), probation));
                continue;
            }
            // What is gone back to has proved itself before; were it watched, two bad versions would take turns.
            if [REVERTED, ROLLED_BACK].contains(&&*action.reason.code) {
                continue;
            }
            let old_name = commit.moved_from.as_ref().unwrap_or(&action.name);
            let replaced = before.get(old_name).filter(|record| record.spec.name == action.name).cloned();
            // Rather back to what proved itself than to what was still under watch.
            let previous = open.and_then(|probation| probation.previous).or(replaced);
            self.put_on_probation(&action.name, commit.target, previous);
        }
    }

    pub(super) fn put_on_probation(&mut self, name: &InstallationName, target: Digest, previous: Option<Arc<Record>>) {
        let probation = Probation { target, previous, since: self.now(), not_before: Duration::ZERO };
        self.aftermath.watch(name.clone(), probation);
    }

    /// Judges every version under watch; those that fail go back to what they replaced.
    pub(super) fn judge_probations(&mut self, begun: Instant) -> anyhow::Result<()> {
        let now = self.now();
        let observed = self.observe();
        let mut over = Vec::new();
        let mut holds = Holds::default();
        let mut actions = Vec::new();
        for (name, probation) in &self.aftermath.probations {
            // What has no code yet can't prove itself.
            if self.committed.paused.holds(name).is_some() || self.late.contains(name) {
                continue;
            }
            let committed = self.committed.records.get(name);
            if committed.is_none_or(|c| c.target != probation.target || !c.record.spec.enabled) {
                over.push(name.clone());
                continue;
            }
            // An actor that is not there is not running: that must not pass for having proved itself.
            let status = self.parts.actors.status(name);
            let standing = status.as_ref().map_or_else(Standing::default, standing);
            let why = match probation.judge(now, standing) {
                Verdict::Watch => continue,
                Verdict::Proved => {
                    over.push(name.clone());
                    continue;
                }
                Verdict::Revert(exits) => format!("it ended {exits} times within two minutes of the switch"),
                Verdict::NeverHealthy => "it was not healthy within 60 s of the switch".to_owned(),
                Verdict::Unhealthy => "it said for 60 s that it is unhealthy".to_owned(),
                Verdict::DidNotTakeOver => "it did not take over".to_owned(),
            };
            let (Some(previous), Some(installed)) = (&probation.previous, observed.installed.get(name)) else {
                continue;
            };
            let last = status.and_then(last_words).map_or_else(String::new, |e| format!("; last: {e}"));
            let why = format!("{why}{last}");
            if now >= probation.not_before
                && let Some(action) = revert(installed, previous.clone(), &why, &crate::host::SURFACE)
            {
                actions.push(action);
                holds.add.insert(name.clone(), HeldTarget { target: installed.target, reason: why });
            }
        }
        over.iter().for_each(|name| drop(self.aftermath.probations.remove(name)));
        self.go_back(&actions, holds, begun)
    }

    /// Carries out reverts; one that fails is tried again after a wait, and its version stays under watch.
    fn go_back(&mut self, actions: &[Action], holds: Holds, begun: Instant) -> anyhow::Result<()> {
        let again = self.now() + REVERT_RETRY;
        for action in actions {
            if let Some(probation) = self.aftermath.probations.get_mut(&action.name) {
                probation.not_before = again;
            }
        }
        let applied = self.carry_out(actions, holds, begun)?;
        for name in &applied.put_off {
            // The end of the compilation that it waits for is reason enough to try again.
            if let Some(probation) = self.aftermath.probations.get_mut(name) {
                probation.not_before = Duration::ZERO;
            }
        }
        if applied.failed.is_empty() && applied.done.len() == actions.len() { self.mark_good() } else { Ok(()) }
    }

    /// Notes on disk that the generation runs well: nothing in it is under watch, and everything in it runs.
    pub(super) fn mark_good(&mut self) -> anyhow::Result<()> {
        let number = self.committed.generation.number;
        if !self.aftermath.probations.is_empty() || self.good == Some(number) || number == 0 {
            return Ok(());
        }
        let mut enabled = self.committed.records.iter().filter(|(_, targeted)| targeted.record.spec.enabled);
        let is_well = |status: &ActorStatus| standing(status).is_running && standing(status).unhealthy_for.is_none();
        if enabled.all(|(name, _)| self.parts.actors.status(name).is_some_and(|status| is_well(&status))) {
            self.parts.store.mark_good(number).wait()?;
            self.good = Some(number);
        }
        Ok(())
    }

    /// After a start: what the last good generation did not hold is under watch again.
    pub(super) fn resume_probations(&mut self) {
        if self.good == Some(self.committed.generation.number) {
            return;
        }
        let good = self.last_good_generation();
        let slots = good.as_ref().map(|decoded| &decoded.generation.entries);
        let entries = &self.committed.generation.entries;
        let record_then = |name| slots.and_then(|slots| slots.get(name)).map(|slot| slot.record);
        let changed: Vec<_> = self
            .committed
            .records
            .iter()
            // An equal record is an equal target; only of others the old one is read.
            .filter(|(name, targeted)| {
                targeted.record.spec.enabled && entries.get(*name).map(|slot| slot.record) != record_then(*name)
            })
            .map(|(name, targeted)| (name.clone(), targeted.target, record_then(name)))
            .collect();
        for (name, target, record) in changed {
            let reader = self.parts.store.reader();
            let previous = record.and_then(|digest| reader.record(&digest).ok()?);
            // What an operator rolled back or what failed is held: nothing goes back to that by itself.
            let old_target = previous.as_ref().map(Record::target_digest);
            let is_held =
                self.committed.generation.holds.get(&name).is_some_and(|held| Some(held.target) == old_target);
            if old_target != Some(target) && !is_held {
                self.put_on_probation(&name, target, previous.map(Arc::new));
            }
        }
    }

    /// The last generation that ran well; none when it is not kept any more.
    fn last_good_generation(&self) -> Option<Decoded> {
        self.parts.store.reader().generation(self.good?).ok()?
    }
}

/// How a version under watch stands.
fn standing(status: &ActorStatus) -> Standing {
    let is_unhealthy = |health: &&Health| matches!(health.status, HealthStatus::Unhealthy(_));
    Standing {
        exits: status.crashes,
        is_running: status.phase == ActorPhase::Running,
        unhealthy_for: status.health.as_ref().filter(is_unhealthy).map(|health| health.since.elapsed()),
        did_not_take_over: status.did_not_take_over,
    }
}

/// What it said or ended with last.
fn last_words(status: ActorStatus) -> Option<String> {
    let unwell = status.health.and_then(|health| health.status.text().map(str::to_owned));
    unwell.or(status.last_error)
}

fn target_of(action: &Action) -> Option<Digest> {
    match &action.effect {
        Some(Effect::Commit(commit)) => Some(commit.target),
        Some(Effect::Restart { record }) => Some(record.target_digest()),
        Some(Effect::Uninstall { .. }) => Some(HeldTarget::absence()),
        None => None,
    }
}

/// A random number for waits; the same for all when the system has none to give.
fn jitter() -> Jitter {
    Jitter(getrandom::u32().unwrap_or(u32::MAX / 2))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
