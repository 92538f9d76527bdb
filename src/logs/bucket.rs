//! Decides whether a writer is within its rate: a token bucket.
//!
//! Time is an argument.

use std::time::Instant;

/// So many bytes a second over time, and so many at once.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: u64,
    burst: u64,
    left: u64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn full(rate: u64, burst: u64, now: Instant) -> Self {
        Self { rate, burst, left: burst, filled: now }
    }

    /// Takes `cost` if it is there.
    pub(super) fn take(&mut self, cost: u64, now: Instant) -> bool {
        if self.left < cost {
            self.fill(now);
        }
        let enough = self.left >= cost;
        if enough {
            self.left -= cost;
        }
        enough
    }

    fn fill(&mut self, now: Instant) {
        let passed_ns = now.saturating_duration_since(self.filled).as_nanos();
        let gained = passed_ns * u128::from(self.rate) / 1_000_000_000;
        if gained > 0 {
            self.left = u64::try_from(gained).unwrap_or(u64::MAX).saturating_add(self.left).min(self.burst);
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_goes_through_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::full(100, 1000, start);
        assert!(bucket.take(1000, start));
        assert!(!bucket.take(1, start));
        let later = start + Duration::from_secs(3);
        assert!(bucket.take(300, later));
        assert!(!bucket.take(1, later));
    }

    #[test]
    fn rest_fills_up_to_the_burst_and_no_further() {
        let start = Instant::now();
        let mut bucket = Bucket::full(100, 1000, start);
        assert!(bucket.take(1000, start));
        let much_later = start + Duration::from_secs(3600);
        assert!(!bucket.take(1001, much_later));
        assert!(bucket.take(1000, much_later));
    }

    #[test]
    fn asking_often_does_not_lose_the_fractions() {
        let start = Instant::now();
        let mut bucket = Bucket::full(100, 1000, start);
        assert!(bucket.take(1000, start));
        let taken = (1..=1000).filter(|ms| bucket.take(1, start + Duration::from_millis(*ms))).count();
        assert!((99..=100).contains(&taken), "{taken}");
    }
}
