//! The threads of fetches: one clock that knows when the next is due, and one thread for each fetch under way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::converse::{Failed, Subject, converse};
use super::{Shared, SourceKey, State, host_and_port, url};
use crate::backoff::Jitter;
use crate::remote::memo::Memo;
use crate::remote::table::{Command, Outcome, Ticket};
use crate::source::remote::FetchFailure;

/// Longest sleep of the clock: it lives no longer than this after whoever started it.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

impl Shared {
    /// Starts the clock thread unless it runs.
    pub(super) fn start_clock(shared: &Arc<Self>, state: &mut State) {
        if state.has_clock {
            return;
        }
        let weak = Arc::downgrade(shared);
        let clock = thread::Builder::new().name("fetch-clock".to_owned()).spawn(move || run_clock(&weak));
        // Without a clock what is due is started by the passes, later than it could be.
        state.has_clock = clock.is_ok();
    }

    /// Starts every fetch that is due.
    pub(super) fn start_due(shared: &Arc<Self>, state: &mut State) {
        if shared.is_closing.load(Ordering::Relaxed) {
            return;
        }
        for command in state.table.tick(shared.now_ms()) {
            let Command::Start { key, ticket } = command else { continue };
            let Some(spec) = state.specs.get(&key).cloned() else { continue };
            let subject =
                Subject { spec, policy: state.policy.clone(), previous: state.known.get(&key.source).cloned() };
            let stop = Arc::new(AtomicBool::new(false));
            state.stops.insert(ticket, stop.clone());
            let (mine, my_key) = (shared.clone(), key.clone());
            let work = move || fetch(&mine, &my_key, ticket, &subject, &stop);
            if let Err(error) = thread::Builder::new().name("fetch".to_owned()).spawn(work) {
                let failure = FetchFailure::new("not-started", format!("no thread could be started: {error}"));
                shared.note(state, &key, ticket, Err(failure.into()));
            }
        }
    }

    /// Notes how a fetch ended. Gives whether a pass would see something new.
    fn note(&self, state: &mut State, key: &SourceKey, ticket: Ticket, result: Result<Memo, Failed>) -> bool {
        state.stops.remove(&ticket);
        state.progress.remove(key);
        let outcome = match &result {
            Ok(_) => Outcome::Resolved,
            Err(failed) if failed.refusal.code == "stopping" => Outcome::Cancelled,
            Err(Failed { class, is_unreachable, retry_after_ms, .. }) => {
                Outcome::Failed { class: *class, is_unreachable: *is_unreachable, retry_after_ms: *retry_after_ms }
            }
        };
        state.table.done(ticket, outcome, self.now_ms(), &mut draw);
        if outcome == Outcome::Cancelled || !state.specs.contains_key(key) {
            return false;
        }
        let host = url(&key.source).and_then(host_and_port);
        match result {
            Ok(memo) => {
                let healed = host.is_some_and(|host| state.unreachable.remove(&host).is_some());
                let healed = state.failed.remove(key).is_some() || healed;
                state.unknown.remove(&key.source);
                let is_new = state.known.get(&key.source).is_none_or(|before| !is_same(before, &memo));
                if is_new {
                    state.known.insert(key.source.clone(), Arc::new(memo));
                }
                is_new || healed
            }
            Err(failed) => {
                let unreachable = match (host, failed.is_unreachable) {
                    (Some(host), true) => state.unreachable.insert(host, failed.clone()).as_ref() != Some(&failed),
                    (Some(host), false) => state.unreachable.remove(&host).is_some(),
                    (None, _) => false,
                };
                state.failed.insert(key.clone(), failed.clone()).as_ref() != Some(&failed) || unreachable
            }
        }
    }
}

/// Whether two memos mean the same bytes of the same revision.
fn is_same(before: &Memo, now: &Memo) -> bool {
    Memo { at_unix_s: now.at_unix_s, ..before.clone() } == *now
}

fn draw() -> Jitter {
    Jitter(getrandom::u32().unwrap_or(u32::MAX / 2))
}

fn fetch(shared: &Arc<Shared>, key: &SourceKey, ticket: Ticket, subject: &Subject, stop: &Arc<AtomicBool>) {
    let (weak, of) = (Arc::downgrade(shared), key.clone());
    let on_progress = Box::new(move |step: &str, bytes: u64| {
        if let Some(shared) = Weak::upgrade(&weak) {
            shared.state().progress.insert(of.clone(), (step.to_owned(), bytes));
        }
    });
    // What a fetch found is hostile; a fault in reading it must cost this source its turn and no more.
    let result = catch_unwind(AssertUnwindSafe(|| converse(&shared.parts, subject, stop, on_progress)))
        .unwrap_or_else(|_| Err(Failed::panicked()));
    let mut state = shared.state();
    let is_news = shared.note(&mut state, key, ticket, result);
    Shared::start_due(shared, &mut state);
    let was_last = state.is_awaited && !state.table.is_busy(shared.now_ms());
    state.is_awaited &= !was_last;
    drop(state);
    shared.moved.notify_all();
    if is_news || was_last {
        shared.tell_changed();
    }
}

fn run_clock(weak: &Weak<Shared>) {
    // Upgraded anew for each turn: the clock alone keeps nothing alive for longer than one sleep.
    while let Some(shared) = weak.upgrade() {
        if shared.is_closing.load(Ordering::Relaxed) {
            return;
        }
        let mut state = shared.state();
        Shared::start_due(&shared, &mut state);
        let now_ms = shared.now_ms();
        let wait = state.table.next_tick_ms().map(|next| Duration::from_millis(next.saturating_sub(now_ms).max(1)));
        let wait = wait.map_or(LONGEST_SLEEP, |wait| wait.min(LONGEST_SLEEP));
        drop(shared.moved.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner));
    }
}
