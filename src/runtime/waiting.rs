//! Owns the answers that wait for more than one pass: for what is fetched, or compiled beside the passes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::control::MAX_SYNC_WAIT_MS;
use crate::control::documents::{ActionWord, Left, PassDocument};
use crate::control::request::{Asked, Because, Refused, Request};
use crate::reconcile::rollback::RollbackOrder;
use crate::resolution::Refusal;

/// Who waits.
#[derive(Default)]
pub(super) struct Waiting {
    passes: Vec<PassWaiter>,
    ways_back: Vec<WayBack>,
}

/// An order to go back whose code is not made yet.
pub(super) struct WayBack {
    pub asked: Asked,
    pub order: RollbackOrder,
    until: Instant,
}

impl WayBack {
    /// Waits from now on.
    pub fn new(asked: Asked, order: RollbackOrder) -> Self {
        Self { asked, order, until: latest() }
    }

    /// Still to be carried out.
    pub fn with(self, order: RollbackOrder) -> Self {
        Self { order, ..self }
    }
}

/// A `sync` or `apply` with what was done for it so far.
pub(super) struct PassWaiter {
    asked: Asked,
    until: Instant,
    done: Vec<ActionWord>,
    /// What failed for an order; a `sync` says how things stand at the end.
    failed: BTreeMap<String, Left>,
    committed: bool,
}

impl PassWaiter {
    /// Waits from now on.
    pub fn new(asked: Asked) -> Self {
        Self { asked, until: latest(), done: Vec::new(), failed: BTreeMap::new(), committed: false }
    }

    /// Answers at once: nothing was done.
    pub fn refuse(self, why: Refused) {
        self.asked.answer(Err::<PassDocument, _>(why));
    }

    fn is_order(&self) -> bool {
        matches!(self.asked.request, Request::Apply(_))
    }

    /// Answers it, unless there is more to wait for.
    fn after(mut self, reported: &Result<PassDocument, Refused>) -> Option<Self> {
        let Ok(pass) = reported else {
            self.asked.answer(reported.clone());
            return None;
        };
        self.done.extend(pass.done.iter().cloned());
        self.committed |= pass.committed;
        if self.is_order() {
            self.failed.extend(pass.failed.iter().map(|left| (left.name.clone(), left.clone())));
            pass.done.iter().for_each(|done| drop(self.failed.remove(&done.name)));
        }
        // An order is for what is here; a `sync` is for all that there is to be had.
        let has_more = pass.compiling || pass.fetching && !self.is_order();
        if has_more && Instant::now() < self.until {
            return Some(self);
        }
        let failed = match self.is_order() {
            true => self.failed.into_values().collect(),
            false => pass.failed.clone(),
        };
        let exit_code = if failed.is_empty() { pass.exit_code } else { 1 };
        let answer = PassDocument { done: self.done, failed, committed: self.committed, exit_code, ..pass.clone() };
        self.asked.answer(Ok(answer));
        None
    }
}

impl Waiting {
    /// Whether a pass is waited for.
    pub fn for_pass(&mut self) -> bool {
        self.passes.retain(|waiter| !waiter.asked.is_given_up());
        !self.passes.is_empty()
    }

    /// Waits for a pass, and for those that follow as long as something is under way.
    pub fn push(&mut self, waiter: PassWaiter) {
        self.passes.push(waiter);
    }

    /// Answers those for whom nothing is under way any more.
    pub fn passed(&mut self, reported: &Result<PassDocument, Refused>) {
        let waiting = std::mem::take(&mut self.passes);
        self.passes = waiting.into_iter().filter_map(|waiter| waiter.after(reported)).collect();
    }

    /// Waits for the code of a way back.
    pub fn push_way_back(&mut self, way_back: WayBack) {
        self.ways_back.push(way_back);
    }

    /// The ways back that are to be tried again, after an answer to those that waited long enough.
    pub fn take_ways_back(&mut self) -> Vec<WayBack> {
        let mut due = Vec::new();
        for way_back in std::mem::take(&mut self.ways_back) {
            if way_back.asked.is_given_up() {
                continue;
            }
            if Instant::now() < way_back.until {
                due.push(way_back);
                continue;
            }
            let waited = MAX_SYNC_WAIT_MS / 1_000;
            let message = format!("nothing was gone back to: its code was not made within {waited} s");
            let why =
                Refusal::new("compiling", message).hint("try again; `airssys-wasm status` shows what is compiled");
            way_back.asked.answer(Err::<PassDocument, _>(Refused::new(Because::TimedOut, why)));
        }
        due
    }

    /// When the first of them has waited long enough.
    pub fn next_deadline(&self) -> Option<Instant> {
        let passes = self.passes.iter().map(|waiter| waiter.until);
        passes.chain(self.ways_back.iter().map(|way_back| way_back.until)).min()
    }
}

fn latest() -> Instant {
    Instant::now() + Duration::from_millis(MAX_SYNC_WAIT_MS)
}
