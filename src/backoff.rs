//! Decides how long to wait before something is tried again, and when it counts as failed.
//!
//! Reads no clock and no randomness: the time is monotonic milliseconds that the caller passes, the
//! jitter a number that the caller draws. It starts and stops nothing.

use std::collections::VecDeque;

use crate::desired::spec::Supervision;
use crate::quantity::Millis;

/// Wait before the first restart of an actor, in milliseconds.
pub const ACTOR_FIRST_WAIT_MS: u64 = 100;
/// Longest wait before a restart of an actor, in milliseconds.
pub const ACTOR_LONGEST_WAIT_MS: u64 = 60_000;
/// Wait before a source is tried again for the first time, in milliseconds.
pub const SOURCE_FIRST_WAIT_MS: u64 = 1_000;
/// Longest wait before a source is tried again, in milliseconds.
pub const SOURCE_LONGEST_WAIT_MS: u64 = 300_000;
/// Most restarts that are remembered for one actor, whatever its file says.
pub const MAX_COUNTED_RESTARTS: usize = 1_000;

/// A random number of the caller, all of `0..=u32::MAX` equally likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter(pub u32);

/// Waits that double from the first to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Millis,
    longest: Millis,
}

impl Backoff {
    /// For sources that can't be had: files, repositories, registries.
    pub const SOURCE: Self = Self { first: Millis(SOURCE_FIRST_WAIT_MS), longest: Millis(SOURCE_LONGEST_WAIT_MS) };
    /// For actors whose file says nothing else.
    pub const ACTOR: Self = Self { first: Millis(ACTOR_FIRST_WAIT_MS), longest: Millis(ACTOR_LONGEST_WAIT_MS) };

    /// Waits from `first` to `longest`; a zero first wait counts as one millisecond, so that nothing spins.
    pub fn new(first: Millis, longest: Millis) -> Self {
        let first = Millis(first.0.max(1));
        Self { first, longest: longest.max(first) }
    }

    /// The longest that the wait after `failures` failures in a row can be. No failure, no wait.
    pub fn ceiling(&self, failures: u32) -> Millis {
        let Some(doublings) = failures.checked_sub(1) else { return Millis(0) };
        let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        Millis(self.first.0.saturating_mul(factor).min(self.longest.0))
    }

    /// The wait after `failures` failures in a row: between half of the ceiling and all of it.
    ///
    /// The lower half is never used: it would let a run of small random numbers try at once again and again.
    pub fn wait(&self, failures: u32, jitter: Jitter) -> Millis {
        let ceiling = self.ceiling(failures).0;
        let spread = ceiling / 2;
        let random = u128::from(spread) * u128::from(jitter.0) / u128::from(u32::MAX);
        // `random` is at most `spread`, which came out of a u64.
        Millis(ceiling - spread + u64::try_from(random).unwrap_or(spread))
    }
}

/// The tries of one thing that fails and may succeed later, for instance one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    backoff: Backoff,
    failures: u32,
    next_ms: Option<u64>,
}

impl Retries {
    /// Nothing has failed yet.
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, next_ms: None }
    }

    /// A try failed at `now_ms`; returns when the next one is due.
    pub fn failed(&mut self, now_ms: u64, jitter: Jitter) -> u64 {
        self.failures = self.failures.saturating_add(1);
        let next = now_ms.saturating_add(self.backoff.wait(self.failures, jitter).0);
        self.next_ms = Some(next);
        next
    }

    /// A try succeeded, or what is tried has changed: the waits start anew.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.next_ms = None;
    }

    /// The next try is due at `at_ms`, whatever the wait was: something changed that may have mended it.
    pub fn try_at(&mut self, at_ms: u64) {
        self.next_ms = Some(at_ms);
    }

    /// Whether a try is due at `now_ms`.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.next_ms.is_none_or(|next| now_ms >= next)
    }

    /// When the next try is due; `None` while nothing has failed.
    pub fn next_ms(&self) -> Option<u64> {
        self.next_ms
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// The restarts of one actor.
#[derive(Debug, Clone)]
pub struct Restarts {
    backoff: Backoff,
    most: usize,
    window_ms: u64,
    in_a_row: u32,
    /// Times of the restarts that still count, oldest first; at most `most` of them.
    counted: VecDeque<u64>,
}

/// What follows from a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCrash {
    /// Start again after the wait. The actor counts as recovering.
    Restart {
        /// How long to wait.
        wait: Millis,
    },
    /// There were too many restarts within the window: the actor counts as failed, and a slow retry goes on.
    Failed {
        /// How long to wait before the slow retry.
        wait: Millis,
    },
}

impl Restarts {
    /// No restart yet, under the rules of the desired file.
    pub fn new(supervision: &Supervision) -> Self {
        let most = usize::try_from(supervision.max_restarts).unwrap_or(MAX_COUNTED_RESTARTS);
        Self {
            backoff: Backoff::new(supervision.backoff, supervision.backoff_max),
            most: most.min(MAX_COUNTED_RESTARTS),
            window_ms: supervision.window.0,
            in_a_row: 0,
            counted: VecDeque::new(),
        }
    }

    /// The actor, healthy since `healthy_since_ms` or not at all, crashed at `now_ms`.
    ///
    /// A healthy run as long as the window is a success: the waits start anew, and so does the count.
    pub fn crashed(&mut self, healthy_since_ms: Option<u64>, now_ms: u64, jitter: Jitter) -> AfterCrash {
        if healthy_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= self.window_ms) {
            self.reset();
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        while self.counted.front().is_some_and(|at| now_ms.saturating_sub(*at) >= self.window_ms) {
            self.counted.pop_front();
        }
        if self.counted.len() >= self.most {
            return AfterCrash::Failed { wait: self.backoff.wait(u32::MAX, jitter) };
        }
        let wait = self.backoff.wait(self.in_a_row, jitter);
        self.counted.push_back(now_ms);
        AfterCrash::Restart { wait }
    }

    /// A new spec, a new artifact or an operator's word: what was before says nothing any more.
    pub fn reset(&mut self) {
        self.in_a_row = 0;
        self.counted.clear();
    }

    /// Crashes in a row, without a healthy run between them.
    pub fn in_a_row(&self) -> u32 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Jitter = Jitter(0);
    const ALL: Jitter = Jitter(u32::MAX);

    fn default_restarts() -> Restarts {
        Restarts::new(&Supervision::default())
    }

    #[test]
    fn actor_waits_double_from_100_ms_to_one_minute() {
        let waits: Vec<u64> = (0..=12).map(|failures| Backoff::ACTOR.wait(failures, ALL).0).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
    }

    #[test]
    fn source_waits_double_from_one_second_to_five_minutes() {
        let waits: Vec<u64> = (1..=11).map(|failures| Backoff::SOURCE.wait(failures, ALL).0 / 1000).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn the_default_supervision_is_the_actors_backoff() {
        let Supervision { restart: _, max_restarts, window, backoff, backoff_max } = Supervision::default();
        assert_eq!(Backoff::new(backoff, backoff_max), Backoff::ACTOR);
        assert_eq!((max_restarts, window), (5, Millis(60_000)));
    }

    #[test]
    fn the_sixth_crash_within_a_minute_is_a_failure_with_a_slow_retry() {
        let mut restarts = default_restarts();
        for crash in 0..5 {
            let after = restarts.crashed(None, crash * 1_000, NONE);
            assert!(matches!(after, AfterCrash::Restart { .. }), "crash {crash}");
        }
        assert_eq!(restarts.crashed(None, 59_999, NONE), AfterCrash::Failed { wait: Millis(30_000) });
        assert_eq!(restarts.crashed(None, 59_999, ALL), AfterCrash::Failed { wait: Millis(60_000) });
        // The first restart has left the window, so one more is allowed; the wait is that of the eighth crash in a row.
        assert_eq!(restarts.crashed(None, 60_000, ALL), AfterCrash::Restart { wait: Millis(12_800) });
    }

    #[test]
    fn a_healthy_run_as_long_as_the_window_starts_the_waits_anew() {
        let mut restarts = default_restarts();
        for crash in 0..5 {
            restarts.crashed(None, crash, ALL);
        }
        assert_eq!(restarts.clone().crashed(Some(5), 60_004, ALL), AfterCrash::Restart { wait: Millis(3200) });
        assert_eq!(restarts.crashed(Some(5), 60_005, ALL), AfterCrash::Restart { wait: Millis(100) });
    }

    #[test]
    fn no_restart_allowed_means_failed_at_once() {
        let mut restarts = Restarts::new(&Supervision { max_restarts: 0, ..Supervision::default() });
        assert!(matches!(restarts.crashed(None, 0, NONE), AfterCrash::Failed { .. }));
    }

    #[test]
    fn what_never_failed_is_due_and_a_reset_makes_it_due_again() {
        let mut retries = Retries::new(Backoff::SOURCE);
        assert!(retries.is_due(0));
        assert_eq!(retries.failed(10, ALL), 1_010);
        assert!(!retries.is_due(1_009));
        assert!(retries.is_due(1_010));
        retries.reset();
        assert!(retries.is_due(0));
        assert_eq!(retries.next_ms(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(2_000)))]

        #[test]
        fn a_wait_is_between_half_of_its_ceiling_and_the_ceiling(
            first in 0..=u64::MAX, longest in 0..=u64::MAX, failures in any::<u32>(), jitter in any::<u32>(),
        ) {
            let backoff = Backoff::new(Millis(first), Millis(longest));
            let ceiling = backoff.ceiling(failures).0;
            let wait = backoff.wait(failures, Jitter(jitter)).0;
            prop_assert!(wait <= ceiling && wait >= ceiling / 2);
            prop_assert!(ceiling <= longest.max(first).max(1));
            prop_assert!((failures == 0) == (wait == 0), "a failure always waits");
        }

        #[test]
        fn more_failures_never_wait_less_at_equal_jitter(failures in 0u32..200, jitter in any::<u32>()) {
            for backoff in [Backoff::ACTOR, Backoff::SOURCE] {
                prop_assert!(backoff.wait(failures, Jitter(jitter)) <= backoff.wait(failures + 1, Jitter(jitter)));
            }
        }

        #[test]
        fn a_permanent_failure_does_not_spin(jitters in prop::collection::vec(any::<u32>(), 1..400)) {
            let mut retries = Retries::new(Backoff::SOURCE);
            let mut now = 0;
            let mut tries_in_the_first_minute = 0;
            for jitter in jitters {
                if now < 60_000 {
                    tries_in_the_first_minute += 1;
                }
                let next = retries.failed(now, Jitter(jitter));
                prop_assert!(!retries.is_due(next - 1) && retries.is_due(next));
                now = next;
            }
            // With the smallest waits: 0.5 + 1 + 2 + 4 + 8 + 16 + 32 s pass a minute at the eighth try.
            prop_assert!(tries_in_the_first_minute <= 8);
        }

        #[test]
        fn no_window_ever_holds_more_restarts_than_allowed(
            most in 0u32..8, steps in prop::collection::vec((0u64..90_000, any::<u32>()), 1..100),
        ) {
            let mut restarts = Restarts::new(&Supervision { max_restarts: most, ..Supervision::default() });
            let mut now = 0u64;
            let mut granted: Vec<u64> = Vec::new();
            for (pause, jitter) in steps {
                now += pause;
                if let AfterCrash::Restart { .. } = restarts.crashed(None, now, Jitter(jitter)) {
                    granted.push(now);
                }
                let recent = granted.iter().filter(|at| now - **at < 60_000).count();
                prop_assert!(recent <= most as usize);
                prop_assert!(restarts.counted.len() <= most as usize);
            }
        }

        #[test]
        fn only_differences_of_time_matter(
            shift in 0u64..=u64::MAX / 2, steps in prop::collection::vec((0u64..90_000, any::<u32>(), any::<bool>()), 1..60),
        ) {
            let run = |start: u64| {
                let mut restarts = default_restarts();
                let mut now = start;
                steps
                    .iter()
                    .map(|(pause, jitter, healthy)| {
                        let since = healthy.then_some(now);
                        now += pause;
                        restarts.crashed(since, now, Jitter(*jitter))
                    })
                    .collect::<Vec<_>>()
            };
            prop_assert_eq!(run(0), run(shift));
        }
    }
}
