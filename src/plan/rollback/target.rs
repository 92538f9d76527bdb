//! Decides which generation a rollback goes back to when nobody says which.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::generation::{Decoded, Slot};
use crate::name::InstallationName;
use crate::plan::notes;

/// What matters of a generation for the choice.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its number.
    pub number: u64,
    /// The generation that its commit went back to, when it was a rollback.
    pub rolled_back_to: Option<u64>,
    /// What it holds.
    pub entries: BTreeMap<InstallationName, Slot>,
}

impl Candidate {
    /// Of a generation as it was read.
    pub fn of(decoded: &Decoded) -> Self {
        let generation = &decoded.generation;
        let rolled_back_to = generation.notes.iter().find_map(notes::rolled_back_to);
        Self { number: generation.number, rolled_back_to, entries: generation.entries.clone() }
    }
}

/// Whether two records, by their digests, come to the same.
pub type Same<'a> = dyn FnMut(&Digest, &Digest) -> bool + 'a;

/// The newest earlier generation whose set differs from the current one, in `names` if there are any; the last good
/// one is preferred. `past` is oldest first and ends with the current one.
///
/// What an earlier rollback went back from is not gone back to: the search goes on before the generation that it
/// went to. An empty set is never chosen.
pub fn choose(
    past: &[Candidate],
    names: &BTreeSet<InstallationName>,
    last_good: Option<u64>,
    same: &mut Same<'_>,
) -> Option<u64> {
    let current = past.last()?;
    let mut newest = None;
    let mut below = u64::MAX;
    for (at, candidate) in past.iter().enumerate().rev().filter(|(_, candidate)| !candidate.entries.is_empty()) {
        if candidate.number >= below {
            continue;
        }
        if let Some(to) = candidate.rolled_back_to
            && let Some(before) = at.checked_sub(1).and_then(|before| past.get(before))
            && differs(before, candidate, names, same)
        {
            below = to;
        }
        let is_earlier = candidate.number < current.number;
        if is_earlier && differs(candidate, current, names, same) {
            if last_good == Some(candidate.number) {
                return last_good;
            }
            newest = newest.or(Some(candidate.number));
        }
    }
    newest
}

fn differs(a: &Candidate, b: &Candidate, names: &BTreeSet<InstallationName>, same: &mut Same<'_>) -> bool {
    let mut differ = |name: &InstallationName| match (a.entries.get(name), b.entries.get(name)) {
        (Some(a), Some(b)) => a.record != b.record && !same(&a.record, &b.record),
        (a, b) => a.is_some() != b.is_some(),
    };
    match names.is_empty() {
        true => a.entries.keys().chain(b.entries.keys()).any(differ),
        false => names.iter().any(&mut differ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a1 b2`: an installation and the record that it has.
    fn candidate(number: u64, rolled_back_to: Option<u64>, text: &str) -> Candidate {
        let entry = |word: &str| {
            let slot = Slot { record: Digest::of(&word.as_bytes()[1..]), storage_id: 1 };
            (word[..1].parse().expect("a name"), slot)
        };
        Candidate { number, rolled_back_to, entries: text.split_whitespace().map(entry).collect() }
    }

    fn chosen(past: &[(u64, Option<u64>, &str)], names: &[&str], last_good: Option<u64>) -> Option<u64> {
        let past: Vec<_> = past.iter().map(|(number, to, text)| candidate(*number, *to, text)).collect();
        let names = names.iter().map(|name| name.parse().expect("a name")).collect();
        choose(&past, &names, last_good, &mut |_, _| false)
    }

    #[test]
    fn the_newest_earlier_one_that_differs_is_chosen_and_the_last_good_one_before_it() {
        let past = [(0, None, ""), (1, None, "a1 b1"), (2, None, "a2 b1"), (3, None, "a2 b2"), (4, None, "a2 b2")];
        assert_eq!(chosen(&past, &[], None), Some(2));
        assert_eq!(chosen(&past, &[], Some(1)), Some(1));
        assert_eq!(chosen(&past, &[], Some(3)), Some(2), "it is what there is");
        assert_eq!(chosen(&past, &["a"], None), Some(1));
        assert_eq!(chosen(&past, &["b"], None), Some(2));
        assert_eq!(chosen(&past, &["c"], None), None);
        assert_eq!(chosen(&past[..2], &[], None), None, "an empty set is not chosen");
    }

    #[test]
    fn a_second_rollback_goes_further_back_and_not_to_what_the_first_left() {
        let past = [(1, None, "a1"), (2, None, "a2"), (3, None, "a3"), (4, Some(2), "a2")];
        assert_eq!(chosen(&past, &[], None), Some(1));
        assert_eq!(chosen(&past, &["a"], Some(3)), Some(1));
        let later = [past.as_slice(), &[(5, None, "a5")]].concat();
        assert_eq!(chosen(&later, &[], None), Some(4));
        // The rollback of another name is none of this one's.
        let other = [(1, None, "a1 b1"), (2, None, "a2 b1"), (3, None, "a2 b2"), (4, Some(1), "a2 b1")];
        assert_eq!(chosen(&other, &["a"], None), Some(1));
    }

    #[test]
    fn records_that_come_to_the_same_are_no_difference() {
        let past = [candidate(1, None, "a1"), candidate(2, None, "a2")];
        assert_eq!(choose(&past, &BTreeSet::new(), None, &mut |_, _| true), None);
    }
}
