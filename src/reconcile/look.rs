//! The looking half of a pass: reads, resolves, observes and plans.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::backoff::{Jitter, Retries};
use crate::observed::{Observed, Phase};
use crate::plan::{Plan, PlanInput};
use crate::resolution::Refusal;
use crate::saved::{Inputs, Made, settings_digest};
use crate::watch::files::{FileTimes, MAX_SETTLING};

use super::notice::Notice;
use super::order::{ApplyOrder, Refused};
use super::pass::Pass;
use super::read::Hints;
use super::recent::recent_set;
use super::reconciler::{Reconciler, phase, unix_now_s};
use super::word::Word;

/// What a look at everything found.
pub(super) struct Looked {
    pub plan: Plan,
    /// What of it operators approved.
    pub word: Word,
    pub problems: Vec<Refusal>,
    pub waits_for_sources: Option<Duration>,
    pub now: Duration,
}
impl Reconciler {
    /// What a pass would do now, without doing it.
    pub fn plan_now(&mut self, times: FileTimes) -> anyhow::Result<Plan> {
        self.reload_trust();
        Ok(self.look(times, &mut BTreeSet::new, None)?.plan)
    }

    /// Reads, resolves, observes and plans; carries nothing out.
    pub(super) fn look(
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
        self.resolver.resolve(desired, &self.committed.records, &self.policy, objects, unix_now_s());
        let waits_for_sources = note_sources(&mut self.sources, self.resolver.lacks_file(), now);
        let runs = self.parts.runs.then_some(&self.parts.actors);
        let phase = |name: &_| runs.map_or(Phase::NotRunning, |actors| phase(actors, name));
        let earlier = std::mem::take(&mut self.observed);
        let observed = self.committed.observe_after(earlier, phase);
        let mut observed = Observed { room: self.room.at(now, &self.parts.engine), ..observed };
        self.quarantined.put_into(&mut observed);
        let recent = recent_set(self.parts.store.reader(), &self.committed, desired, unix_now_s().unsigned_abs())?;
        let input = PlanInput {
            desired,
            resolutions: self.resolver.resolutions(),
            secrets: self.secrets.look(desired, now),
            observed: &observed,
            recent,
            floors: &self.committed.floors,
            approvals: &self.word.approvals(),
            host: crate::host::SURFACE,
        };
        let mut plan = crate::plan::plan(&input);
        let mut word = self.word.clone();
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
            word = word.and(order.approvals_for(&plan, inputs).map_err(Refused)?, &order.note());
            plan = crate::plan::plan(&PlanInput { approvals: &word.approvals(), ..input });
        }
        let stale = self.resolver.remote().stale();
        self.observed = observed;
        // A commit that could not be had, or that is refused, may want something else.
        plan.is_stale = !stale.is_empty() || self.snapshots.is_some() && !problems.is_empty();
        let problems = problems.into_iter().chain(stale).collect();
        Ok(Looked { plan, word, problems, waits_for_sources, now })
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
}

/// Counts failed looks at sources that may be there later; gives the wait before the next one. Sources on other machines
/// have clocks of their own, which wake the loop.
fn note_sources(sources: &mut Retries, lacks_file: bool, now: Duration) -> Option<Duration> {
    if !lacks_file {
        sources.reset();
        return None;
    }
    if sources.is_due(millis(now)) {
        sources.failed(millis(now), Jitter(getrandom::u32().unwrap_or(u32::MAX / 2)));
    }
    sources.next_ms().map(|at| Duration::from_millis(at).saturating_sub(now))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
