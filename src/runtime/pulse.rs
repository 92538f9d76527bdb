//! Owns the signs of life of the loop: what a service manager's watchdog is fed with.
//!
//! A thread of its own that says "alive" would say so for a dead loop too; here the loop speaks for itself.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Time between two signs of a loop that waits, in milliseconds.
const REST_BEAT_MS: u64 = 1_000;
/// Longest silence of a loop that waits, in milliseconds.
pub const MAX_QUIET_REST_MS: u64 = 10_000;
/// Longest silence within a pass, in milliseconds: no single step of one takes that long.
pub const MAX_QUIET_PASS_MS: u64 = 300_000;

/// The signs of life of one loop.
#[derive(Debug)]
pub struct Pulse {
    started: Instant,
    last_ms: AtomicU64,
    rests: AtomicBool,
    passes: watch::Sender<Passed>,
}

/// What was last heard of the passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// Passes so far.
    pub count: u64,
    /// How the last one left things: one line, escaped.
    pub text: String,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            last_ms: AtomicU64::new(0),
            rests: AtomicBool::new(false),
            passes: watch::Sender::new(Passed::default()),
        }
    }
}

impl Pulse {
    /// Something was done.
    pub(super) fn beat(&self) {
        self.last_ms.store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    /// Beats for as long as it is polled: by the loop itself, while it waits.
    pub(super) async fn rest(&self) -> Infallible {
        let _resting = Resting::new(self);
        loop {
            self.beat();
            tokio::time::sleep(Duration::from_millis(REST_BEAT_MS)).await;
        }
    }

    /// A pass is over.
    pub(super) fn passed(&self, text: String) {
        self.beat();
        self.passes.send_modify(|passed| *passed = Passed { count: passed.count + 1, text });
    }

    /// Tells of every pass from now on, and of the last one.
    pub fn passes(&self) -> watch::Receiver<Passed> {
        self.passes.subscribe()
    }

    /// Whether the loop makes progress.
    pub fn is_alive(&self) -> bool {
        let quiet_ms = millis(self.started.elapsed()).saturating_sub(self.last_ms.load(Ordering::Relaxed));
        is_alive(quiet_ms, self.rests.load(Ordering::Relaxed))
    }
}

fn is_alive(quiet_ms: u64, rests: bool) -> bool {
    quiet_ms <= if rests { MAX_QUIET_REST_MS } else { MAX_QUIET_PASS_MS }
}

/// The loop waits until this is dropped.
struct Resting<'a>(&'a Pulse);

impl<'a> Resting<'a> {
    fn new(pulse: &'a Pulse) -> Self {
        pulse.rests.store(true, Ordering::Relaxed);
        Self(pulse)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.beat();
        self.0.rests.store(false, Ordering::Relaxed);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_waits_must_speak_every_ten_seconds_and_one_at_work_every_five_minutes() {
        assert!(is_alive(MAX_QUIET_REST_MS, true));
        assert!(!is_alive(MAX_QUIET_REST_MS + 1, true));
        assert!(is_alive(MAX_QUIET_PASS_MS, false));
        assert!(!is_alive(MAX_QUIET_PASS_MS + 1, false));
    }

    #[test]
    fn a_stuck_loop_falls_silent_and_is_no_longer_alive() {
        let ago = |ms| Instant::now().checked_sub(Duration::from_millis(ms)).expect("the machine is up for longer");
        let stuck = Pulse { started: ago(MAX_QUIET_REST_MS + 1_000), rests: true.into(), ..Pulse::default() };
        assert!(!stuck.is_alive());
        stuck.beat();
        assert!(stuck.is_alive());
    }

    #[tokio::test]
    async fn a_loop_that_waits_beats_by_itself_and_stops_with_the_wait() {
        let pulse = Pulse::default();
        let waits = tokio::time::timeout(Duration::from_millis(50), pulse.rest());
        let looks = async {
            tokio::task::yield_now().await;
            assert!(pulse.rests.load(Ordering::Relaxed));
        };
        assert!(tokio::join!(waits, looks).0.is_err());
        assert!(!pulse.rests.load(Ordering::Relaxed));
        let mut passes = pulse.passes();
        pulse.passed("1 of 1 running".to_owned());
        assert!(passes.has_changed().expect("there"));
        assert_eq!(*passes.borrow_and_update(), Passed { count: 1, text: "1 of 1 running".to_owned() });
    }
}
