//! Decides what follows from a crash: another start, when, or none.
//!
//! Pure: time and randomness are arguments. It starts and stops nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::desired::spec::{RestartPolicy, Supervision};

/// How long an actor must run well before the waits start anew.
pub const HEALTHY_RUN: Duration = Duration::from_secs(10 * 60);
/// How often a failed actor is started again: the world may have healed.
pub const SLOW_RETRY: Duration = Duration::from_secs(5 * 60);
/// How far a wait is moved at random, in percent, so that what crashed together does not start together.
const JITTER_PERCENT: u32 = 20;
/// Restarts that are remembered at most.
const MAX_REMEMBERED: usize = 1_000;

/// What follows from a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Start again after this.
    Restart(Duration),
    /// Counts as failed. Tried again after this, or never.
    Failed(Option<Duration>),
}

/// What is known about the crashes of one version of an actor. Times count from any fixed moment.
#[derive(Debug)]
pub(super) struct Supervisor {
    rules: Supervision,
    /// Restarts within the window, oldest first.
    restarts: VecDeque<Duration>,
    /// Crashes without a healthy run between them.
    in_a_row: u32,
    /// There were too many restarts, and no healthy run since.
    failed: bool,
    started: Option<Duration>,
}

impl Supervisor {
    pub(super) fn new(rules: Supervision) -> Self {
        Self { rules, restarts: VecDeque::new(), in_a_row: 0, failed: false, started: None }
    }

    /// The actor is up.
    pub(super) fn started(&mut self, now: Duration) {
        self.started = Some(now);
    }

    /// The actor crashed, or could not be started. `random` is any number.
    pub(super) fn crashed(&mut self, now: Duration, random: u32) -> Verdict {
        if self.started.take().is_some_and(|since| now.saturating_sub(since) >= HEALTHY_RUN) {
            self.restarts.clear();
            self.in_a_row = 0;
            self.failed = false;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.rules.restart == RestartPolicy::Never {
            return Verdict::Failed(None);
        }
        let window = self.rules.window.duration();
        while self.restarts.front().is_some_and(|at| now.saturating_sub(*at) > window) {
            self.restarts.pop_front();
        }
        if self.failed || self.restarts.len() >= self.most() {
            self.failed = true;
            return Verdict::Failed(Some(spread(SLOW_RETRY, random)));
        }
        self.restarts.push_back(now);
        Verdict::Restart(spread(self.wait(), random).min(self.rules.backoff_max.duration()))
    }

    fn most(&self) -> usize {
        usize::try_from(self.rules.max_restarts).unwrap_or(MAX_REMEMBERED).min(MAX_REMEMBERED)
    }

    fn wait(&self) -> Duration {
        let factor = 1u64.checked_shl(self.in_a_row - 1).unwrap_or(u64::MAX);
        // A zero would restart in a loop without any pause.
        let wait_ms = self.rules.backoff.0.max(1).saturating_mul(factor);
        Duration::from_millis(wait_ms.min(self.rules.backoff_max.0))
    }
}

/// `wait`, moved by up to [`JITTER_PERCENT`] either way.
fn spread(wait: Duration, random: u32) -> Duration {
    let permille = 1000 - JITTER_PERCENT * 10 + random % (JITTER_PERCENT * 20 + 1);
    wait * permille / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Millis;

    /// Moves no wait.
    const MIDDLE: u32 = JITTER_PERCENT * 10;

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn waits_double_from_the_first_to_the_longest() {
        let rules = Supervision { max_restarts: 1000, ..Supervision::default() };
        let mut supervisor = Supervisor::new(rules);
        let waits: Vec<u128> = (0..12)
            .map(|i| match supervisor.crashed(seconds(i), MIDDLE) {
                Verdict::Restart(wait) => wait.as_millis(),
                Verdict::Failed(_) => panic!("crash {i}"),
            })
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
    }

    #[test]
    fn the_sixth_crash_within_a_minute_is_a_failure_with_a_slow_retry() {
        let mut supervisor = Supervisor::new(Supervision::default());
        for i in 0..5 {
            supervisor.started(seconds(i));
            assert!(matches!(supervisor.crashed(seconds(i), MIDDLE), Verdict::Restart(_)), "crash {i}");
        }
        assert_eq!(supervisor.crashed(seconds(5), MIDDLE), Verdict::Failed(Some(SLOW_RETRY)));
    }

    #[test]
    fn five_crashes_a_minute_for_ever_are_restarts_for_ever() {
        let mut supervisor = Supervisor::new(Supervision::default());
        for i in 0..100 {
            let now = seconds(13 * i);
            supervisor.started(now);
            assert!(matches!(supervisor.crashed(now, MIDDLE), Verdict::Restart(_)), "crash {i}");
        }
    }

    #[test]
    fn a_failed_actor_that_crashes_at_its_slow_retry_fails_again_at_once() {
        let mut supervisor = Supervisor::new(Supervision { max_restarts: 0, ..Supervision::default() });
        assert_eq!(supervisor.crashed(seconds(0), MIDDLE), Verdict::Failed(Some(SLOW_RETRY)));
        supervisor.started(seconds(300));
        assert_eq!(supervisor.crashed(seconds(400), MIDDLE), Verdict::Failed(Some(SLOW_RETRY)));
    }

    #[test]
    fn a_healthy_run_of_ten_minutes_starts_anew() {
        let mut supervisor = Supervisor::new(Supervision::default());
        for i in 0..6 {
            supervisor.crashed(seconds(i), MIDDLE);
        }
        supervisor.started(seconds(306));
        let after = supervisor.crashed(seconds(306) + HEALTHY_RUN, MIDDLE);
        assert_eq!(after, Verdict::Restart(Duration::from_millis(100)));
    }

    #[test]
    fn never_means_never() {
        let rules = Supervision { restart: RestartPolicy::Never, ..Supervision::default() };
        assert_eq!(Supervisor::new(rules).crashed(seconds(0), MIDDLE), Verdict::Failed(None));
    }

    #[test]
    fn every_random_number_moves_a_wait_by_at_most_a_fifth_and_none_is_zero_or_over_the_longest() {
        for random in (0..5000).chain([u32::MAX - 1, u32::MAX]) {
            let moved = spread(seconds(1), random);
            assert!((Duration::from_millis(800)..=Duration::from_millis(1200)).contains(&moved), "{random}: {moved:?}");
        }
        let rules =
            Supervision { backoff: Millis(0), backoff_max: Millis(3), max_restarts: 9, ..Supervision::default() };
        let mut supervisor = Supervisor::new(rules);
        for random in [0, MIDDLE, 400, 7] {
            let Verdict::Restart(wait) = supervisor.crashed(seconds(0), random) else { panic!("a restart is due") };
            assert!(!wait.is_zero() && wait <= Duration::from_millis(3), "{random}: {wait:?}");
        }
    }
}
