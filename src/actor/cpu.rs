//! Decides whether a component has had its share of a core: so much time in its calls over time, and a second's worth at
//! once.
//!
//! Pure but for [`thread_time`]: time is an argument. A call can't be cut in two, so what it takes beyond the share is
//! owed, and nothing is delivered until it is paid.

use std::time::{Duration, Instant};

use super::status::CpuUse;

/// How long a share is saved up.
const WINDOW: Duration = Duration::from_secs(1);
/// Time in calls that is there when a rest ends, so that it does not end for a nanosecond.
const GRAIN: Duration = Duration::from_millis(1);
/// A core, in the unit of shares.
const WHOLE: i128 = 100;

/// The share of one component.
#[derive(Debug)]
pub(super) struct CpuShare {
    percent: i128,
    /// In hundredths of a nanosecond; below zero it is owed.
    left: i128,
    filled: Instant,
    total: Duration,
}

impl CpuShare {
    /// All of a window's worth may be used at once.
    pub(super) fn new(percent: u64, now: Instant) -> Self {
        let percent = i128::from(percent);
        Self { percent, left: most(percent), filled: now, total: Duration::ZERO }
    }

    /// A call took `time` of a core.
    pub(super) fn charge(&mut self, time: Duration, now: Instant) {
        self.fill(now);
        self.left -= nanos(time) * WHOLE;
        self.total += time;
    }

    /// How long nothing may be delivered; none when something may.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        if self.left > 0 {
            return None;
        }
        // No share is so small that a window's worth is less than the grain.
        let missing = nanos(GRAIN) * WHOLE - self.left;
        let wait = u64::try_from((missing + self.percent - 1) / self.percent).unwrap_or(u64::MAX);
        Some(Duration::from_nanos(wait))
    }

    /// What its calls took.
    pub(super) fn used(&mut self, now: Instant) -> CpuUse {
        self.fill(now);
        // Rounded up: what is used is never shown as nothing.
        let percent = (most(self.percent) - self.left + nanos(WINDOW) - 1) / nanos(WINDOW);
        CpuUse { total: self.total, percent: u64::try_from(percent).unwrap_or_default() }
    }

    fn fill(&mut self, now: Instant) {
        let gained = nanos(now.saturating_duration_since(self.filled)) * self.percent;
        self.left = (self.left + gained).min(most(self.percent));
        self.filled = self.filled.max(now);
    }
}

fn most(percent: i128) -> i128 {
    nanos(WINDOW) * percent
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX / (WHOLE * WHOLE))
}

/// What this thread has had of a core so far.
pub(super) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_scale::cases;

    #[test]
    fn a_window_is_used_at_once_and_what_is_beyond_it_is_paid_with_rest() {
        let start = Instant::now();
        let mut share = CpuShare::new(25, start);
        assert_eq!(share.rest(start), None);
        share.charge(Duration::from_millis(249), start);
        assert_eq!(share.rest(start), None, "a millisecond is left");
        share.charge(Duration::from_millis(101), start);
        let rest = Duration::from_millis(4 * 101);
        assert_eq!(share.rest(start), Some(rest), "and one for the next call");
        assert_eq!(share.used(start), CpuUse { total: Duration::from_millis(350), percent: 35 });
        assert_eq!(share.rest(start + rest / 2), Some(rest / 2));
        assert_eq!(share.rest(start + rest), None);
        assert_eq!(share.used(start + rest).percent, 25, "a tenth of a percent is shown as one");
    }

    #[test]
    fn nobody_saves_more_than_a_window_and_a_clock_that_stands_gives_nothing() {
        let start = Instant::now();
        let mut share = CpuShare::new(1, start);
        let later = start + Duration::from_secs(1 << 40);
        share.charge(Duration::from_millis(11), later);
        assert_eq!(share.rest(later), Some(Duration::from_millis(200)));
        assert!(share.rest(start).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(2_000), ..ProptestConfig::default() })]

        #[test]
        fn over_any_time_calls_get_no_more_than_the_share_a_window_and_the_last_of_them(
            percent in 1..=100u64,
            calls in proptest::collection::vec((0..3_000_000u64, 0..800_000u64), 1..80),
        ) {
            let start = Instant::now();
            let mut share = CpuShare::new(percent, start);
            let (mut now, mut had) = (start, Vec::new());
            for (pause_us, call_us) in calls {
                now += Duration::from_micros(pause_us);
                if let Some(rest) = share.rest(now) {
                    now += rest;
                    prop_assert_eq!(share.rest(now), None, "the rest that is said is enough");
                }
                let (begun, call) = (now, Duration::from_micros(call_us));
                now += call;
                share.charge(call, now);
                had.push((begun, call));
            }
            for (first, (from, _)) in had.iter().enumerate() {
                let mut sum = Duration::ZERO;
                for (begun, call) in &had[first..] {
                    // Before the last of them begins, all others were within the share.
                    let most = (*begun - *from + WINDOW).as_nanos() * u128::from(percent);
                    prop_assert!(sum.as_nanos() * 100 <= most, "{sum:?} within {:?}", *begun - *from);
                    sum += *call;
                }
            }
        }
    }
}
