//! One pass: look, then carry out.
//!
//! What a pass does is in the plan that it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::name::InstallationName;
use crate::plan::Plan;
use crate::plan::action::Action;
use crate::plan::ties::{self, Tie};
use crate::resolution::Refusal;
use crate::status::PassSummary;
use crate::watch::files::FileTimes;

use super::apply::{FailedAction, Holds};
use super::held::{bad_file, held_notices};
use super::look::Looked;
use super::order::ApplyOrder;
use super::purge::Purges;
use super::reconciler::Reconciler;
use super::repository::Snapshots;
use super::resolve::FETCHING;
use super::turns;

/// A look that is due sooner than this is for files that settle, and not for one that can't be read.
const SETTLES_SOON: Duration = Duration::from_secs(1);

/// Wait before the look that follows when code could not be made beside the passes.
const LOOK_AFTER_NO_BEGINNING: Duration = Duration::from_secs(1);

/// Wait before the look that follows a failed action.
const LOOK_AFTER_FAILURE: Duration = Duration::from_millis(100);

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
    /// What failed and is tried again, and what can't go before that, each with why and after which wait.
    pub waiting: BTreeMap<InstallationName, (Refusal, Duration)>,
    /// What waits for code that is made beside the passes, each with why.
    pub put_off: BTreeMap<InstallationName, Refusal>,
    /// What concerns no single name.
    pub problems: Vec<Refusal>,
}

impl Reconciler {
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
    /// Besides those of [`Reconciler::pass`], a [`Refused`](super::order::Refused) when the order does not fit what is there
    /// now: nothing was committed then.
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
        self.beside.note_ended();
        if self.parts.runs {
            self.judge_probations(begun)?;
        }
        self.settle_purges();
        let Looked { plan, word, mut problems, waits_for_sources, now } = self.look(times, completed, order)?;
        problems.splice(..0, trust_problems.into_iter().chain(self.purges.problem()));
        // What is late goes in the pass after an order.
        let late = if order.is_none() { self.late_starts(&plan) } else { Vec::new() };
        let effects: Vec<Action> = plan.effects().cloned().chain(late).collect();
        let doable: BTreeSet<&InstallationName> = effects.iter().map(|action| &action.name).collect();
        self.aftermath.keep_only(|name| doable.contains(name));
        // A file that is new and still settles is not told yet: in a moment it is complete, or a problem.
        let settles = self.reader.look_again_after().is_some_and(|wait| wait < SETTLES_SOON);
        problems.extend(plan.unreadable.iter().filter(|_| !settles).map(bad_file));
        let news = self.told.problems(&problems, &self.parts.tell);
        self.recorder.problems(&news);
        self.keep_compiling(&effects);
        let wanted = effects.len();
        let Timed { actions, waiting } = self.timed(effects, order, now);
        let noted = order.map(ApplyOrder::note).or_else(|| word.order_of(&actions));
        let applied_commit = self.snapshots.as_ref().and_then(Snapshots::applies);
        for name in &plan.released {
            self.lift_quarantine(name);
        }
        let holds = Holds {
            drop: plan.released.clone(),
            order: noted,
            approved: word.0.clone(),
            applied_commit,
            ..Holds::default()
        };
        let applied = self.carry_out(&actions, holds, begun)?;
        self.late_tried(&actions, &applied);
        self.word = word.left_for(&actions, &applied.put_off);
        if order.is_some() && !applied.put_off.is_empty() {
            // Nor does who orders it want to wait for more than its code.
            self.aftermath.try_now();
        }
        if !applied.done.is_empty() {
            self.room.forget();
        }
        if matches!(self.purges, Purges::Due) {
            self.settle_purges();
        }
        let news = self.told.held(held_notices(&plan), &self.parts.tell);
        self.recorder.refused(&news);
        self.recorder.write(&self.parts.store, &self.parts.tell);
        let summary = PassSummary {
            number: self.passes,
            cause: cause.to_owned(),
            took_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            ended_ms_ago: 0,
            done: applied.done.len() as u64,
            failed: applied.failed.len() as u64,
            // While a file settles, or an artifact is fetched, it is not known what is wanted.
            converged: applied.done.len() == wanted
                && self.late.is_empty()
                && self.reader.look_again_after().is_none()
                && self.snapshots.as_ref().is_none_or(|snapshots| snapshots.applies().is_some())
                && !plan.actions.iter().any(|action| action.reason.code == FETCHING),
        };
        let now = self.now();
        // What failed is held by now: the next look tells so, and why.
        let failed = (!applied.failed.is_empty()).then_some(LOOK_AFTER_FAILURE);
        // The end of what is made beside the passes wakes whoever waits. Where nothing could begin, time does.
        let lacks_code = !applied.put_off.is_empty() || !self.late.is_empty();
        let idle = (lacks_code && !self.beside.is_busy()).then_some(LOOK_AFTER_NO_BEGINNING);
        let (files, purges) = (self.reader.look_again_after(), self.purges.next_look());
        let waits = [self.aftermath.next_look(now), waits_for_sources, files, failed, idle, purges];
        Ok(Pass {
            summary,
            plan,
            look_again_in: waits.into_iter().flatten().min(),
            committed: self.committed.generation.number != number,
            failed: applied.failed,
            waiting: self.waiting(&waiting, now),
            put_off: applied.put_off.into_iter().map(|name| (name, turns::why_put_off())).collect(),
            problems,
        })
    }

    /// Ends what is compiled for nobody any more.
    fn keep_compiling(&mut self, effects: &[Action]) {
        let mut wanted: BTreeSet<Digest> = effects.iter().filter_map(turns::wasm_of).collect();
        wanted.extend(self.aftermath.ways_back());
        wanted.extend(&self.ways_back);
        self.beside.keep_only(&wanted);
    }

    /// What is carried out now, and what waits for what failed before and is tried again later. Who orders it does not want
    /// to wait.
    fn timed(&self, mut actions: Vec<Action>, order: Option<&ApplyOrder>, now: Duration) -> Timed {
        let mut later = BTreeSet::new();
        if order.is_none() {
            later.extend(actions.iter().filter(|action| self.aftermath.waits(action, now)).map(|a| a.name.clone()));
        }
        if later.is_empty() {
            return Timed { actions, waiting: BTreeMap::new() };
        }
        let waiting = ties::tied(&actions, &later, &self.committed.installed(), true);
        actions.retain(|action| !later.contains(&action.name) && !waiting.contains_key(&action.name));
        Timed { actions, waiting }
    }

    /// All that wait: those that are tried again, and those that are `tied` to them.
    fn waiting(
        &self,
        tied: &BTreeMap<InstallationName, Tie>,
        now: Duration,
    ) -> BTreeMap<InstallationName, (Refusal, Duration)> {
        let mut waiting = self.aftermath.waiting(now);
        for (name, tie) in tied {
            let mut first = tie.to();
            while let Some(tie) = tied.get(first) {
                first = tie.to();
            }
            let wait = waiting.get(first).map_or(Duration::ZERO, |(_, wait)| *wait);
            waiting.entry(name.clone()).or_insert_with(|| (tie.why(), wait));
        }
        waiting
    }
}

/// The actions of a plan by when they are carried out.
struct Timed {
    actions: Vec<Action>,
    /// What is left because it is tied to something that waits for its next attempt.
    waiting: BTreeMap<InstallationName, Tie>,
}
