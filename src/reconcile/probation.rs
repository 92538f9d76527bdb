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
}

impl Probation {
    /// Judges at `now`, with the exits of this version and whether it runs.
    pub fn judge(&self, now: Duration, exits: u64, running: bool) -> Verdict {
        let age = now.saturating_sub(self.since);
        if exits >= MAX_EXITS {
            Verdict::Revert(exits)
        } else if !running && exits == 0 && age >= HEALTHY_WITHIN {
            Verdict::NeverHealthy
        } else if age >= PROBATION && running {
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
        let at = |seconds, exits| probation().judge(Duration::from_secs(seconds), exits, true);
        assert_eq!(at(11, 0), Verdict::Watch);
        assert_eq!(at(60, 2), Verdict::Watch);
        assert_eq!(at(60, 3), Verdict::Revert(3));
        assert_eq!(at(130, 2), Verdict::Proved);
    }

    #[test]
    fn a_version_that_never_becomes_healthy_goes_back_after_a_minute() {
        let at = |seconds, exits| probation().judge(Duration::from_secs(seconds), exits, false);
        assert_eq!(at(69, 0), Verdict::Watch);
        assert_eq!(at(70, 0), Verdict::NeverHealthy);
        assert_eq!(at(200, 1), Verdict::Watch, "it is in its backoff: neither proved nor past its exits");
    }
}
