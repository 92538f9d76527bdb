//! Owns what makes two looks at a file equal without reading it.
//!
//! Equal identities mean equal bytes only for a file that was quiet when it was read; see
//! [`Identity::is_quiet`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

/// A file that has not changed for this long counts as quiet.
///
/// Far above the step of every kernel clock that stamps files (at most 10 ms), so a change after the
/// file was read shows in its times.
pub const QUIET_AFTER: Duration = Duration::from_millis(100);

/// Which file, and which state of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The device.
    pub dev: u64,
    /// The file's number on its device.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the content, in nanoseconds since 1970. Its owner can set it.
    pub mtime_ns: i64,
    /// Last change of anything, in nanoseconds since 1970. Only the kernel sets it.
    pub ctime_ns: i64,
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            dev: unsigned(stat.st_dev),
            ino: unsigned(stat.st_ino),
            size: unsigned(stat.st_size),
            mtime_ns: nanoseconds(signed(stat.st_mtime), signed(stat.st_mtime_nsec)),
            ctime_ns: nanoseconds(signed(stat.st_ctime), signed(stat.st_ctime_nsec)),
        }
    }

    /// Whether the last change lies [`QUIET_AFTER`] or more before `wall_ns`.
    ///
    /// The kernel stamps every write, so this is as good as having looked [`QUIET_AFTER`] ago and
    /// seen the same. It holds only where the file system's clock is this machine's; a time in the
    /// future counts as not quiet.
    pub fn is_quiet(&self, wall_ns: i64) -> bool {
        let quiet_ns = i64::try_from(QUIET_AFTER.as_nanos()).unwrap_or(i64::MAX);
        self.ctime_ns <= wall_ns.saturating_sub(quiet_ns)
    }
}

/// The wall clock in the unit of [`Identity`].
pub fn wall_ns() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX)
}

// Wrapping: an owner may set any time, and two different times must stay different.
fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}

// The fields' types differ between platforms.
fn unsigned(n: impl TryInto<u64>) -> u64 {
    n.try_into().unwrap_or(u64::MAX)
}

fn signed(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_means_unchanged_for_long_enough_and_never_a_time_in_the_future() {
        let at = |ctime_ns| Identity { dev: 1, ino: 2, size: 3, mtime_ns: 0, ctime_ns };
        let now = 1_000_000_000_000;
        assert!(at(now - 100_000_000).is_quiet(now));
        assert!(!at(now - 99_999_999).is_quiet(now));
        assert!(!at(now + 1).is_quiet(now));
        assert!(!at(i64::MAX).is_quiet(now));
        assert!(at(i64::MIN).is_quiet(now));
    }

    #[test]
    fn absurd_times_stay_different_from_each_other() {
        assert_ne!(nanoseconds(i64::MAX, 0), nanoseconds(i64::MAX - 1, 0));
        assert_ne!(nanoseconds(0, i64::MAX), nanoseconds(0, 1));
    }
}
