//! The set of ten minutes ago, which the guard against mass deletes counts against.
//!
//! Read from the generations on disk, so that a host, a restarted one and `plan` all see the same.

use std::collections::BTreeSet;

use crate::desired::DesiredState;
use crate::name::InstallationName;
use crate::observed::{GUARD_WINDOW_MS, RecentSet};
use crate::state::{Reader, StateError};

use super::observe::Committed;

/// How large the set was ten minutes ago, and how many of it are gone. What was removed and is back does
/// not count, and a set that is younger counts as the one that there is.
pub fn recent_set(
    reader: &Reader,
    committed: &Committed,
    desired: &DesiredState,
    now_unix_s: u64,
) -> Result<RecentSet, StateError> {
    let now = committed.records.len();
    // Without a candidate for a delete the guard has nothing to say, and history is not read.
    if are_among(committed.records.keys(), desired.entries.keys()) {
        return Ok(RecentSet::unchanged(now));
    }
    let then = reader.names_at(now_unix_s.saturating_sub(GUARD_WINDOW_MS / 1_000))?.unwrap_or_default();
    Ok(count(&then, |name| committed.records.contains_key(name), now))
}

/// Whether all of the first are among the second, both in the order of names.
fn are_among<'n>(
    mut names: impl Iterator<Item = &'n InstallationName>,
    mut others: impl Iterator<Item = &'n InstallationName>,
) -> bool {
    names.all(|name| others.find(|other| *other >= name) == Some(name))
}

fn count(then: &BTreeSet<InstallationName>, is_there: impl Fn(&InstallationName) -> bool, now: usize) -> RecentSet {
    RecentSet { size: then.len().max(now), removed: then.iter().filter(|name| !is_there(name)).count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_since_then_counts_and_what_came_back_does_not() {
        let names = |text: &str| text.split(' ').map(|n| n.parse().unwrap()).collect::<BTreeSet<InstallationName>>();
        let now = names("a b x y z");
        assert_eq!(count(&names("a b c d"), |n| now.contains(n), now.len()), RecentSet { size: 5, removed: 2 });
        assert_eq!(count(&BTreeSet::new(), |n| now.contains(n), now.len()), RecentSet::unchanged(5));
    }

    #[test]
    fn names_are_among_others_when_none_is_missing() {
        let names = |text: &str| text.split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<InstallationName>>();
        let among = |some: &str, all: &str| are_among(names(some).iter(), names(all).iter());
        for (some, all) in [("", ""), ("", "a"), ("a", "a"), ("b d", "a b c d e"), ("a b c", "a b c")] {
            assert!(among(some, all), "{some} among {all}");
        }
        for (some, all) in [("a", ""), ("a", "b"), ("c", "a b"), ("a c", "a b d"), ("a b c d", "a b c")] {
            assert!(!among(some, all), "{some} among {all}");
        }
    }
}
