//! Owns the triggers of an actor: messages that the host sends by itself, at a period.
//!
//! The first tick comes one period after the version became active, so that a restart of the host is no
//! burst. A tick whose predecessor still waits is skipped and counted, and so are ticks that a sleeping
//! machine missed: a slow actor gets fewer ticks, never a queue of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::cell::ActorCell;
use super::core::Core;
use super::mailbox::{Ask, Envelope, SentBy};
use super::post::Posting;
use crate::codec::Payload;
use crate::desired::spec::Trigger;
use crate::storage::StoreError;

/// Shortest period, in milliseconds.
const MIN_PERIOD_MS: u64 = 1;

/// Whether the last tick of a trigger still waits.
#[derive(Debug, Default)]
pub(super) struct Tick {
    waits: AtomicBool,
    skipped: AtomicU64,
}

impl Tick {
    /// The tick was taken in hand, or will never be.
    pub(super) fn taken(&self) {
        self.waits.store(false, Ordering::Release);
    }

    fn comes(&self) -> bool {
        !self.waits.swap(true, Ordering::Acquire)
    }

    fn skip(&self, ticks: u64) {
        self.skipped.fetch_add(ticks, Ordering::Relaxed);
    }
}

/// The triggers of one version of an actor. They tick as long as this lives.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    ticks: Vec<Arc<Tick>>,
}

impl Triggers {
    /// Ticks skipped so far.
    pub(super) fn skipped(&self) -> u64 {
        self.ticks.iter().map(|tick| tick.skipped.load(Ordering::Relaxed)).sum()
    }
}

/// One trigger as the timer knows it. It ends by itself when its actor or its version is gone.
pub(super) struct Ticking {
    cell: Weak<ActorCell>,
    tick: Weak<Tick>,
    index: u32,
    period: Duration,
}

/// Makes the triggers of a version; what comes with them is for the timer, each with its first time.
pub(super) fn begin(cell: &Arc<ActorCell>, triggers: &[Trigger], now: Instant) -> (Triggers, Vec<(Instant, Ticking)>) {
    let ticks: Vec<Arc<Tick>> = triggers.iter().map(|_| Arc::default()).collect();
    let ticking = triggers.iter().zip(&ticks).enumerate().map(|(index, (trigger, tick))| {
        let period = Duration::from_millis(trigger.every.0.max(MIN_PERIOD_MS));
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let ticking = Ticking { cell: Arc::downgrade(cell), tick: Arc::downgrade(tick), index, period };
        (now + period, ticking)
    });
    let ticking = ticking.collect();
    (Triggers { ticks }, ticking)
}

impl Ticking {
    /// Sends the tick that was due at `at`; returns when the next one is due, or nothing when there is none.
    pub(super) fn fire(&self, core: &Arc<Core>, at: Instant, now: Instant) -> Option<Instant> {
        let (cell, tick) = (self.cell.upgrade()?, self.tick.upgrade()?);
        if tick.comes() {
            // A tick pushes nobody out, and waits for nobody: the next one is as good.
            if let Ok(claim) = cell.mailbox.claim(0, None, Ask::Free) {
                let skipped = Arc::clone(&tick);
                let sent_by = SentBy::Trigger { index: self.index, tick };
                let (id, payload) = (core.next_id(), Payload::from(Vec::new()));
                let envelope =
                    Envelope { id, sent_by, payload, hops: 0, expires: None, reply: None, kept: None, outcome: None };
                match cell.mail_id_for(claim) {
                    // A tick that can't be written is skipped like one that finds no room.
                    Some(mail) => {
                        let skip = move |written: Result<(), StoreError>| written.unwrap_or_else(|_| skipped.skip(1));
                        core.post.send(core, Posting::new(core, cell, mail, envelope), skip);
                    }
                    None => cell.accept(core, envelope, claim, None),
                }
            } else {
                tick.taken();
                tick.skip(1);
            }
        } else {
            tick.skip(1);
        }
        let (next, missed) = next_after(at, self.period, now);
        if let Some(tick) = self.tick.upgrade() {
            tick.skip(missed);
        }
        Some(next)
    }
}

/// The first time of the series through `at` that lies after `now`, and how many before it are lost.
fn next_after(at: Instant, period: Duration, now: Instant) -> (Instant, u64) {
    let late = now.saturating_duration_since(at);
    let missed = late.as_nanos() / period.as_nanos().max(1);
    let missed = u32::try_from(missed).unwrap_or(u32::MAX - 1);
    (at + period * (missed + 1), u64::from(missed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_tick_keeps_the_series_and_counts_what_it_missed() {
        let at = Instant::now();
        let period = Duration::from_millis(100);
        let later = |ms| at + Duration::from_millis(ms);
        assert_eq!(next_after(at, period, at), (later(100), 0));
        assert_eq!(next_after(at, period, later(99)), (later(100), 0));
        assert_eq!(next_after(at, period, later(350)), (later(400), 3));
    }
}
