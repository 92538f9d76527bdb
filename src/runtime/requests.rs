//! Carries out what was asked of the loop, between two passes and on its blocking thread.
//!
//! What changes something is durable before it is answered; what waits for a pass is answered after it.

use tokio::sync::mpsc;

use crate::control::MAX_WAITING_REQUESTS;
use crate::control::documents::{
    ActionWord, ApplyBody, GcDocument, Left, PASS_TYPE, PassDocument, PausedDocument, RollbackBody,
};
use crate::control::request::{Asked, Because, Refused, Request};
use crate::name::InstallationName;
use crate::paused::PausedBy;
use crate::plan::approval::{MAX_APPROVALS, Operator, ParseApprovalError};
use crate::plan::rollback::document::RollbackDocument;
use crate::reconcile::notice::Notice;
use crate::reconcile::order::{self, ApplyOrder};
use crate::reconcile::resolve::FETCHING;
use crate::reconcile::rollback::{RollbackOrder, RollbackTarget, WentBack};
use crate::reconcile::{Lifted, Pass, PauseError, Tell, unix_now_s};
use crate::resolution::Refusal;
use crate::state::StateError;

use super::Rounds;
use super::board::{Shared, note};
use super::waiting::{PassWaiter, WayBack};

/// What the loop does next: why, and what was asked.
pub(super) struct Turn {
    cause: String,
    asked: Vec<Asked>,
}

impl Turn {
    /// A pass that nobody asked for.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), asked: Vec::new() }
    }

    /// What was asked, and everything that waits behind it: one pass answers them all.
    pub fn of(first: Asked, waiting: &mut mpsc::Receiver<Asked>) -> Self {
        let cause = format!("{}, asked by {}", first.request.word(), first.asker.user);
        let mut asked = vec![first];
        // An order is the last of its turn: a pass carries out one at most.
        while asked.len() < MAX_WAITING_REQUESTS
            && !asked.iter().any(|asked| matches!(asked.request, Request::Apply(_)))
            && let Ok(next) = waiting.try_recv()
        {
            asked.push(next);
        }
        Self { cause, asked }
    }
}

impl Rounds {
    /// Carries out what was asked, then one pass; no pass when there were only questions.
    pub fn turn(mut self, turn: Turn, board: &Shared, tell: &Tell) -> (Self, Option<anyhow::Result<Pass>>) {
        let Turn { cause, asked } = turn;
        let mut looks = asked.is_empty();
        let mut waiting = Vec::new();
        let mut order = None;
        looks |= self.waiting.for_pass();
        looks |= self.go_on_back(tell);
        for asked in asked.into_iter().filter(|asked| !asked.is_given_up()) {
            match &asked.request {
                Request::Plan => {
                    let plan = self.reconciler.plan_now(self.watcher.file_times());
                    let plan = plan.map_err(|error| failed(&error));
                    asked.answer(plan.as_ref().map(|plan| plan.document()).map_err(Clone::clone));
                    continue;
                }
                Request::Gc { dry_run } => {
                    let dry_run = *dry_run;
                    let collected = self.reconciler.collect_now(!dry_run).map_err(|error| not_collected(&error));
                    asked.answer(collected.map(|collected| GcDocument::new(dry_run, collected)));
                    continue;
                }
                Request::Pause(name) => {
                    let name = name.clone();
                    self.pause(asked, name.as_ref(), board, tell);
                }
                Request::Resume(name) => {
                    let name = name.clone();
                    self.resume(asked, name.as_ref(), board, tell);
                }
                Request::Rollback(body) => {
                    let body = body.clone();
                    let is_question = body.dry_run;
                    self.roll_back(asked, body, tell);
                    if is_question {
                        continue;
                    }
                }
                Request::Sync { wait } => {
                    self.reconciler.look_at_everything();
                    match wait {
                        true => self.waiting.push(PassWaiter::new(asked)),
                        false => waiting.push(asked),
                    }
                }
                Request::Apply(body) => match order_of(body, &asked) {
                    Ok(ordered) => {
                        order = Some((ordered, PassWaiter::new(asked)));
                    }
                    Err(why) => {
                        asked.answer(Err::<PassDocument, _>(why));
                        continue;
                    }
                },
            }
            looks = true;
        }
        if !looks {
            return (self, None);
        }
        let (order, mut orderer) = order.unzip();
        let (mut back, mut passed) = self.one(&cause, order.as_ref());
        if let Err(error) = &passed
            && let Some(why) = error.downcast_ref::<order::Refused>()
        {
            // The order does not fit, and nothing was done. Whoever else waits has nothing to do with that.
            let why = Refused::new(Because::Conflict, why.0.clone());
            orderer.take().into_iter().for_each(|orderer| orderer.refuse(why.clone()));
            (back, passed) = back.one(&cause, None);
        }
        let is_fetching = back.reconciler.is_fetching();
        let reported = match &passed {
            Ok(pass) => {
                // What came in after the pass had looked is the matter of the next one.
                let fetching = is_fetching || saw_fetching(pass);
                Ok(report(pass, back.reconciler.committed().generation.number, fetching))
            }
            Err(error) => Err(failed(error)),
        };
        for asked in waiting {
            asked.answer(reported.clone());
        }
        orderer.into_iter().for_each(|orderer| back.waiting.push(orderer));
        back.waiting.passed(&reported);
        (back, Some(passed))
    }

    /// Gives the orders to go back again that waited for their code; says whether there were any.
    fn go_on_back(&mut self, tell: &Tell) -> bool {
        let ways_back = self.waiting.take_ways_back();
        let has_any = !ways_back.is_empty();
        self.reconciler.forget_ways_back();
        for way_back in ways_back {
            match self.reconciler.roll_back(&way_back.order) {
                Ok(WentBack::WaitsForCode(order)) => self.waiting.push_way_back(way_back.with(order)),
                Ok(WentBack::Is(document)) => went_back(way_back.asked, Ok(document), tell),
                Err(error) => went_back(way_back.asked, Err(error), tell),
            }
        }
        has_any
    }

    fn pause(&mut self, asked: Asked, name: Option<&InstallationName>, board: &Shared, tell: &Tell) {
        let by = PausedBy::new(&asked.asker.user, unix_now_s().unsigned_abs());
        let before = self.reconciler.paused().clone();
        let done = self.reconciler.pause(name, by).map_err(refused);
        let changed = before != *self.reconciler.paused();
        if changed {
            board.publish_paused(self.reconciler.paused());
            let what = name.map_or_else(|| "everything".to_owned(), ToString::to_string);
            let text = format!("{what} paused by {}; what runs goes on", asked.asker.user);
            tell(&Notice::Info { text });
        }
        asked.answer(done.map(|()| PausedDocument::of(self.reconciler.paused(), changed, false)));
    }

    fn roll_back(&mut self, asked: Asked, body: RollbackBody, tell: &Tell) {
        let RollbackBody { names, to, dry_run, digest } = body;
        let names = names.iter().map(|name| name.parse()).collect::<Result<_, _>>();
        let Ok(names) = names else { return asked.answer(Err::<RollbackDocument, _>(no_name())) };
        let target = RollbackTarget { names, to };
        if dry_run {
            return went_back(asked, self.reconciler.plan_rollback(&target), tell);
        }
        let order = RollbackOrder { target, digest, by: operator(&asked) };
        match self.reconciler.roll_back(&order) {
            Ok(WentBack::WaitsForCode(order)) => self.waiting.push_way_back(WayBack::new(asked, order)),
            Ok(WentBack::Is(document)) => went_back(asked, Ok(document), tell),
            Err(error) => went_back(asked, Err(error), tell),
        }
    }

    fn resume(&mut self, asked: Asked, name: Option<&InstallationName>, board: &Shared, tell: &Tell) {
        let done = self.reconciler.resume(name, &operator(&asked)).map_err(refused);
        board.publish_paused(self.reconciler.paused());
        if let Ok(Lifted { pause, hold }) = done
            && (pause || hold)
        {
            let what = name.map_or_else(|| "everything".to_owned(), ToString::to_string);
            tell(&Notice::Info { text: format!("{what} resumed by {}", asked.asker.user) });
        }
        let paused = self.reconciler.paused();
        asked.answer(done.map(|Lifted { pause, hold }| PausedDocument::of(paused, pause || hold, hold)));
    }
}

/// Tells and answers what came of going back.
fn went_back(asked: Asked, done: anyhow::Result<RollbackDocument>, tell: &Tell) {
    if let Ok(document) = &done
        && let Some(generation) = document.committed
    {
        let (to, by) = (document.to_generation, operator(&asked));
        tell(&Notice::Info { text: format!("rolled back to generation {to} by {by}, as generation {generation}") });
    }
    asked.answer(done.map_err(|error| match error.downcast_ref::<order::Refused>() {
        Some(refused) => Refused::new(Because::Conflict, refused.0.clone()),
        None => failed(&error),
    }));
}

/// Who asks, as the kernel says.
fn operator(asked: &Asked) -> Operator {
    Operator { uid: asked.asker.uid, user: asked.asker.user.clone() }
}

fn no_name() -> Refused {
    Refused::new(Because::Malformed, Refusal::new("no-name", "that is no name of an installation"))
}

/// What an operator orders over the socket, in the name of whoever the kernel says it is.
fn order_of(body: &ApplyBody, asked: &Asked) -> Result<ApplyOrder, Refused> {
    let malformed = |message: String| Refused::new(Because::Malformed, Refusal::new("no-approval", message));
    if body.approve.len() > MAX_APPROVALS {
        return Err(malformed(format!("at most {MAX_APPROVALS} approvals are taken at a time")));
    }
    let approve = body.approve.iter().map(|text| text.parse().map_err(|error: ParseApprovalError| error.to_string()));
    Ok(ApplyOrder {
        approve: approve.collect::<Result<_, _>>().map_err(malformed)?,
        plan: body.plan.clone(),
        saved: body.saved.as_deref().cloned(),
        by: operator(asked),
    })
}

/// Whether something was on its way when the pass looked.
fn saw_fetching(pass: &Pass) -> bool {
    pass.plan.actions.iter().any(|action| action.reason.code == FETCHING)
        || pass.problems.iter().any(|problem| problem.code == FETCHING)
}

/// What a pass did, for whoever asked for it.
fn report(pass: &Pass, generation: u64, fetching: bool) -> PassDocument {
    let failed: Vec<Left> = pass
        .failed
        .iter()
        .map(|failed| Left {
            name: failed.action.name.to_string(),
            note: crate::status::Note {
                kind: "failed".to_owned(),
                location: Some(failed.action.location.to_string()),
                why: failed.why.clone(),
            },
        })
        .collect();
    let left = pass.plan.actions.iter().filter_map(note);
    let put_off = pass.put_off.iter().map(|(name, why)| {
        let note = crate::status::Note { kind: "compiling".to_owned(), location: None, why: why.clone() };
        (name.clone(), note)
    });
    let left = left.chain(put_off).map(|(name, note)| Left { name: name.to_string(), note });
    let is_left = |name: &InstallationName| pass.waiting.contains_key(name) || pass.put_off.contains_key(name);
    let is_failed = |name: &str| failed.iter().any(|failed| failed.name == name);
    let done = pass.plan.effects().filter(|action| !is_failed(action.name.as_str()) && !is_left(&action.name));
    let done: Vec<ActionWord> = done
        .map(|action| ActionWord { name: action.name.to_string(), kind: action.kind.as_str().to_owned() })
        .collect();
    let exit_code = match pass.plan.exit_code() {
        _ if !failed.is_empty() => 1,
        0 | 10 if !pass.put_off.is_empty() => 12,
        10 => 0,
        left => left,
    };
    PassDocument {
        document: PASS_TYPE.to_owned(),
        pass: pass.summary.clone(),
        generation,
        committed: pass.committed,
        exit_code,
        done,
        failed,
        left: left.collect(),
        problems: pass.problems.clone(),
        fetching,
        compiling: !pass.put_off.is_empty(),
    }
}

fn failed(error: &anyhow::Error) -> Refused {
    let why = Refusal::new("pass-failed", format!("{error:#}"));
    Refused::new(Because::Failed, why.hint("what runs goes on; the next pass tries again"))
}

fn not_collected(error: &StateError) -> Refused {
    let why = Refusal::new("not-collected", format!("what is not kept could not be removed: {error}"));
    Refused::new(
        Because::Failed,
        match error.hint() {
            Some(hint) => why.hint(hint),
            None => why,
        },
    )
}

fn refused(error: PauseError) -> Refused {
    let (because, code, hint) = match &error {
        PauseError::Unknown(_) => {
            (Because::NotFound, "no-such-installation", Some("`airssys-wasm list` shows the names"))
        }
        PauseError::TooMany => (Because::Conflict, "too-many-paused", None),
        PauseError::State(error) => (Because::Failed, "not-written", error.hint()),
        PauseError::Commit(_) => (Because::Failed, "not-committed", None),
    };
    let why = Refusal::new(code, error.to_string());
    Refused::new(
        because,
        match hint {
            Some(hint) => why.hint(hint),
            None => why,
        },
    )
}
