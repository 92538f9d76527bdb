//! Decides whether a newly switched version has proved itself or must go back.
//!
//! Pure: exits and times are arguments.

use std::sync::Arc;
use std::time::Duration;

use crate::digest::Digest;
use crate::record::Record;

/// How long a new version is watched after the switch.
pub const PROBATION: Duration = Duration::from_secs(120);
/// Exits within the probation that send a version back.
pub const MAX_EXITS: u64 = 3;
/// How long a new version may take to become healthy after the switch.
pub const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// A version under watch.
#[derive(Debug, Clone)]
pub struct Probation {
    /// The new target.
    pub target: Digest,
    /// What ran before, to go back to; a first install has nothing.
    pub previous: Option<Arc<Record>>,
    /// When the switch was, since the host started.
    pub since: Duration,
    /// Before this time going back is not tried: it failed a moment ago.
    pub not_before: Duration,
}

/// What to do with a version under watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Too early to tell.
    Watch,
    /// It stays.
    Proved,
    /// It goes back, with the number of exits that it had.
    Revert(u64),
    /// It goes back: it never became healthy.
    NeverHealthy,
    /// It goes back: it was unhealthy for too long.
    Unhealthy,
    /// It goes back at once: it did not take over what the version before it stored, or its config.
    DidNotTakeOver,
}

/// How a version under watch stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// Its exits.
    pub exits: u64,
    /// Whether it runs.
    pub is_running: bool,
    /// For how long it has said that it is unhealthy.
    pub unhealthy_for: Option<Duration>,
    /// Whether it did not take over what the version before it stored, or its config.
    pub did_not_take_over: bool,
}

impl Probation {
    /// Judges at `now`.
    pub fn judge(&self, now: Duration, standing: Standing) -> Verdict {
        let Standing { exits, is_running, unhealthy_for, did_not_take_over } = standing;
        let age = now.saturating_sub(self.since);
        if did_not_take_over {
            Verdict::DidNotTakeOver
        } else if exits >= MAX_EXITS {
            Verdict::Revert(exits)
        } else if !is_running && exits == 0 && age >= HEALTHY_WITHIN {
            Verdict::NeverHealthy
        } else if unhealthy_for.is_some_and(|time| time >= HEALTHY_WITHIN) {
            Verdict::Unhealthy
        } else if age >= PROBATION && is_running && unhealthy_for.is_none() {
            Verdict::Proved
        } else {
            Verdict::Watch
        }
    }

    /// How long until the next verdict can differ because time has passed.
    pub fn next_look(&self, now: Duration) -> Duration {
        let age = now.saturating_sub(self.since);
        let next = if age < HEALTHY_WITHIN { HEALTHY_WITHIN } else { PROBATION };
        // A version in its backoff stays under watch past its probation: look at a calm pace.
        next.saturating_sub(age).max(Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probation() -> Probation {
        Probation {
            target: Digest::of(b"new"),
            previous: None,
            since: Duration::from_secs(10),
            not_before: Duration::ZERO,
        }
    }

    #[test]
    fn three_exits_within_two_minutes_send_a_version_back() {
        let at = |seconds, exits| {
            let standing = Standing { exits, is_running: true, ..Standing::default() };
            probation().judge(Duration::from_secs(seconds), standing)
        };
        assert_eq!(at(11, 0), Verdict::Watch);
        assert_eq!(at(60, 2), Verdict::Watch);
        assert_eq!(at(60, 3), Verdict::Revert(3));
        assert_eq!(at(130, 2), Verdict::Proved);
    }

    #[test]
    fn a_version_that_never_becomes_healthy_goes_back_after_a_minute() {
        let at =
            |seconds, exits| probation().judge(Duration::from_secs(seconds), Standing { exits, ..Standing::default() });
        assert_eq!(at(69, 0), Verdict::Watch);
        assert_eq!(at(70, 0), Verdict::NeverHealthy);
        assert_eq!(at(200, 1), Verdict::Watch, "it is in its backoff: neither proved nor past its exits");
    }

    #[test]
    fn a_version_that_is_unhealthy_for_a_minute_goes_back_and_has_not_proved_itself_before() {
        let at = |seconds, unhealthy_for| {
            let unhealthy_for = Some(Duration::from_secs(unhealthy_for));
            let standing = Standing { is_running: true, unhealthy_for, ..Standing::default() };
            probation().judge(Duration::from_secs(seconds), standing)
        };
        assert_eq!(at(50, 40), Verdict::Watch);
        assert_eq!(at(75, 60), Verdict::Unhealthy);
        assert_eq!(at(130, 5), Verdict::Watch, "it runs, and is not well");
        assert_eq!(at(185, 60), Verdict::Unhealthy, "past the two minutes too: it never proved itself");
    }

    #[test]
    fn a_version_that_did_not_take_over_what_is_stored_goes_back_at_once() {
        let standing = Standing { exits: 1, did_not_take_over: true, ..Standing::default() };
        assert_eq!(probation().judge(Duration::from_secs(10), standing), Verdict::DidNotTakeOver);
    }
}
