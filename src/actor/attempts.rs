//! Decides whether a message that was not handled is delivered again, and when, or has failed for good. Pure.

use std::time::Duration;

use crate::limits::{Limits, MAX_RETRY_WAIT_MS};

/// Crashes with one message in hand; after the last it is poison.
pub(super) const MAX_CRASHES: u8 = 2;
/// Longest wait before a delivery of a message that the store holds.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How often a message is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// Deliveries of one message that may end badly; after the last it is poison.
    pub(super) deliveries: u8,
    /// Wait before the second delivery; doubles with each further one.
    pub(super) first_wait: Duration,
    /// Longest wait before a delivery.
    pub(super) longest_wait: Duration,
}

impl Policy {
    /// That of messages that the store holds.
    pub(super) const DURABLE: Self =
        Self { deliveries: 5, first_wait: Duration::from_millis(100), longest_wait: LONGEST_WAIT };

    /// That of a component whose file asks for retries.
    pub(super) fn of(limits: &Limits) -> Option<Self> {
        let (retries, wait) = limits.retries.filter(|retries| *retries > 0).zip(limits.retry_wait)?;
        let deliveries = u8::try_from(retries).unwrap_or(u8::MAX).saturating_add(1);
        Some(Self { deliveries, first_wait: wait.duration(), longest_wait: Duration::from_millis(MAX_RETRY_WAIT_MS) })
    }
}

/// How often a message was delivered in vain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attempts {
    /// Deliveries that did not end well.
    pub(super) deliveries: u8,
    /// Those of them that ended in a crash.
    pub(super) crashes: u8,
}

/// How a delivery ended that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The component answered with an error.
    Error,
    /// It took longer than it may.
    Deadline,
    /// It crashed.
    Crash,
    /// The host ended with the message in hand, or may have.
    HostDeath,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is delivered again after this.
    Again(Duration),
    /// It has failed for good.
    Poison,
}

impl Attempts {
    /// After one more delivery that did not end well.
    pub(super) fn after(self, failure: Failure, policy: &Policy) -> (Self, Next) {
        let deliveries = self.deliveries.saturating_add(1);
        let crashes = self.crashes.saturating_add(u8::from(failure == Failure::Crash));
        let next = if deliveries >= policy.deliveries || crashes >= MAX_CRASHES {
            Next::Poison
        } else {
            Next::Again((policy.first_wait * (1 << (deliveries - 1).min(10))).min(policy.longest_wait))
        };
        (Self { deliveries, crashes }, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(failures: &[Failure]) -> Vec<Next> {
        let mut attempts = Attempts::default();
        let one = |failure: &Failure| {
            let next;
            (attempts, next) = attempts.after(*failure, &Policy::DURABLE);
            next
        };
        failures.iter().map(one).collect()
    }

    #[test]
    fn the_fifth_delivery_in_vain_is_the_last_whatever_ended_them_and_waits_double_between() {
        let wait = |ms| Next::Again(Duration::from_millis(ms));
        let all = [Failure::Error, Failure::Deadline, Failure::HostDeath, Failure::Error, Failure::Deadline];
        assert_eq!(run(&all), [wait(100), wait(200), wait(400), wait(800), Next::Poison]);
    }

    #[test]
    fn the_second_crash_is_the_last_also_when_other_ends_lie_between() {
        assert_eq!(run(&[Failure::Crash, Failure::Crash])[1], Next::Poison);
        assert_eq!(run(&[Failure::Crash, Failure::Deadline, Failure::HostDeath, Failure::Crash])[3], Next::Poison);
        assert!(matches!(run(&[Failure::Crash, Failure::Error])[1], Next::Again(_)));
    }

    #[test]
    fn counts_that_no_host_writes_are_poison_and_no_overflow() {
        let attempts = Attempts { deliveries: u8::MAX, crashes: u8::MAX };
        assert_eq!(attempts.after(Failure::Crash, &Policy::DURABLE), (attempts, Next::Poison));
    }

    #[test]
    fn a_file_says_how_often_and_how_soon_and_the_wait_has_an_end() {
        let mut limits = Limits::resolve(&Default::default(), &Default::default());
        assert_eq!(Policy::of(&limits), None);
        (limits.retries, limits.retry_wait) = (Some(10), Some(crate::quantity::Millis(20_000)));
        let policy = Policy::of(&limits).unwrap();
        let mut attempts = Attempts::default();
        let waits: Vec<Next> = (0..11)
            .map(|_| {
                let next;
                (attempts, next) = attempts.after(Failure::Error, &policy);
                next
            })
            .collect();
        let wait = |s| Next::Again(Duration::from_secs(s));
        assert_eq!(waits[..4], [wait(20), wait(40), wait(60), wait(60)]);
        assert_eq!(waits[9..], [wait(60), Next::Poison]);
    }
}
