//! Decides whether a sender is within its rate: so many messages a second over time, and so many at once.
//!
//! Pure: time is an argument. What a message takes is given back when it does not leave after all.

use std::time::{Duration, Instant};

/// What one message takes, in billionths: so fine that no rate loses a fraction of a nanosecond's worth.
const ONE: u64 = 1_000_000_000;

/// A sender's messages.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u64,
    /// Never more than this, in billionths of a message.
    most: u64,
    left: u64,
    filled: Instant,
}

impl Rate {
    /// All of the burst may go at once.
    pub(super) fn new(per_second: u64, burst: u64, now: Instant) -> Self {
        let most = burst.saturating_mul(ONE);
        Self { per_second, most, left: most, filled: now }
    }

    /// Takes one message's worth. If it is not there: how long until it is.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        // Also when there is enough: what was gained meanwhile must not come on top of it later.
        self.fill(now);
        match self.left.checked_sub(ONE) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Duration::from_nanos((ONE - self.left).div_ceil(self.per_second.max(1)))),
        }
    }

    /// The message does not leave.
    pub(super) fn give_back(&mut self) {
        self.left = self.left.saturating_add(ONE).min(self.most);
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_nanos();
        let gained = passed.saturating_mul(u128::from(self.per_second));
        self.left = u64::try_from(gained).unwrap_or(u64::MAX).saturating_add(self.left).min(self.most);
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_scale::cases;

    #[test]
    fn a_burst_goes_at_once_and_the_next_one_after_the_time_that_was_said() {
        let start = Instant::now();
        let mut rate = Rate::new(10, 3, start);
        for _ in 0..3 {
            assert_eq!(rate.take(start), Ok(()));
        }
        assert_eq!(rate.take(start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_millis(40);
        assert_eq!(rate.take(later), Err(Duration::from_millis(60)));
        assert_eq!(rate.take(start + Duration::from_millis(100)), Ok(()));
        rate.give_back();
        assert_eq!(rate.take(start + Duration::from_millis(100)), Ok(()), "the one that did not leave");
    }

    #[test]
    fn rest_fills_up_to_the_burst_and_a_clock_that_stands_fills_nothing() {
        let start = Instant::now();
        let mut rate = Rate::new(1_000_000, 2, start);
        rate.give_back();
        let much_later = start + Duration::from_secs(1 << 40);
        let taken = (0..5).filter(|_| rate.take(much_later).is_ok()).count();
        assert_eq!(taken, 2);
        assert!(rate.take(start).is_err(), "nor one that went back");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(2_000), ..ProptestConfig::default() })]

        #[test]
        fn never_more_than_the_burst_and_the_rate_times_the_time_and_the_wait_that_is_said_is_enough(
            per_second in 1..2_000_000u64,
            burst in 1..1_000u64,
            steps in proptest::collection::vec((0..3_000_000u64, 0..20usize, proptest::bool::weighted(0.2)), 1..60),
        ) {
            let start = Instant::now();
            let mut rate = Rate::new(per_second, burst, start);
            let (mut now, mut left_for_good) = (start, Vec::new());
            for (wait_us, tries, fails) in steps {
                now += Duration::from_micros(wait_us);
                for _ in 0..tries {
                    match rate.take(now) {
                        Ok(()) if fails => rate.give_back(),
                        Ok(()) => left_for_good.push(now),
                        Err(wait) => {
                            now += wait;
                            prop_assert_eq!(rate.take(now), Ok(()));
                            left_for_good.push(now);
                        }
                    }
                }
            }
            // In every stretch of time, wherever it begins.
            for (first, from) in left_for_good.iter().enumerate().step_by(7) {
                for (last, until) in left_for_good.iter().enumerate().skip(first).step_by(5) {
                    let (count, passed) = ((last - first + 1) as u128, (*until - *from).as_nanos());
                    let most = u128::from(burst) * u128::from(ONE) + u128::from(per_second) * passed;
                    prop_assert!(count * u128::from(ONE) <= most, "{count} in {passed} ns");
                }
            }
        }
    }
}
