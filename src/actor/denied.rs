//! Owns what components asked for and may not do, counted until somebody writes it down.
//!
//! The words are the components': they are cut, escaped, and few of one component are told apart, so that none fills a
//! memory or a log with them. What is told apart no more is counted all the same.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::core::locked;
use crate::escape::escape;
use crate::name::InstallationName;

/// Denials of one component that are told apart between two tellings; further ones are only counted.
pub const MAX_DENIALS_TOLD_APART: usize = 16;
/// Shortest time between two tellings of one component, in milliseconds: the first is told at once, repetitions are
/// gathered.
pub const DENIALS_GATHERED_MS: u64 = 60_000;
/// Longest word that is kept, in characters; the rest is cut off.
const MAX_WORD_CHARS: usize = 80;

/// What one component asked for in vain, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Which component.
    pub name: InstallationName,
    /// The permission that it lacks, as `send`; `others` for what is not told apart.
    pub permission: &'static str,
    /// What it asked for, escaped and cut.
    pub what: String,
    /// How often.
    pub count: u64,
}

/// The denials of a host.
#[derive(Debug, Default)]
pub(super) struct Denials {
    any: AtomicBool,
    of: Mutex<BTreeMap<InstallationName, Tally>>,
}

#[derive(Debug, Default)]
struct Tally {
    told: Option<Instant>,
    counts: BTreeMap<(&'static str, String), u64>,
    others: u64,
}

impl Tally {
    fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.others == 0
    }

    fn is_due(&self, now: Instant) -> bool {
        let gathered = Duration::from_millis(DENIALS_GATHERED_MS);
        self.told.is_none_or(|told| now.saturating_duration_since(told) >= gathered)
    }

    fn take(&mut self, name: &InstallationName, now: Instant) -> Vec<Denial> {
        self.told = Some(now);
        let of = |(permission, what), count| Denial { name: name.clone(), permission, what, count };
        let mut taken: Vec<Denial> =
            std::mem::take(&mut self.counts).into_iter().map(|(key, count)| of(key, count)).collect();
        let others = std::mem::take(&mut self.others);
        if others > 0 {
            taken.push(of(("others", "what is not told apart".to_owned()), others));
        }
        taken
    }
}

impl Denials {
    /// Counts one.
    pub(super) fn add(&self, name: &InstallationName, permission: &'static str, what: &str) {
        let cut = what.char_indices().nth(MAX_WORD_CHARS).map_or(what, |(at, _)| &what[..at]);
        let key = (permission, escape(cut));
        let mut of = locked(&self.of);
        let tally = match of.get_mut(name) {
            Some(tally) => tally,
            None => of.entry(name.clone()).or_default(),
        };
        let is_told_apart = tally.counts.contains_key(&key) || tally.counts.len() < MAX_DENIALS_TOLD_APART;
        let count = if is_told_apart { tally.counts.entry(key).or_default() } else { &mut tally.others };
        *count += 1;
        self.any.store(true, Ordering::Relaxed);
    }

    /// What is due to be told, or all there is. Cheap when there is none.
    pub(super) fn take(&self, now: Instant, all: bool) -> Vec<Denial> {
        if !self.any.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut of = locked(&self.of);
        let due = of.iter_mut().filter(|(_, tally)| !tally.is_empty() && (all || tally.is_due(now)));
        let taken = due.flat_map(|(name, tally)| tally.take(name, now)).collect();
        // Whoever was quiet for long enough is told at once again, as if it were the first time.
        of.retain(|_, tally| !tally.is_empty() || !tally.is_due(now));
        self.any.store(!of.is_empty(), Ordering::Relaxed);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> InstallationName {
        text.parse().unwrap()
    }

    fn told(denials: &[Denial]) -> Vec<String> {
        denials.iter().map(|d| format!("{} {} {} {}", d.name, d.permission, d.what, d.count)).collect()
    }

    #[test]
    fn the_first_denial_is_told_at_once_and_repetitions_once_a_minute() {
        let (denials, start) = (Denials::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert!(denials.take(start, true).is_empty());
        denials.add(&name("a"), "send", "bank");
        denials.add(&name("a"), "send", "bank");
        assert_eq!(told(&denials.take(start, false)), ["a send bank 2"]);
        denials.add(&name("a"), "send", "bank");
        denials.add(&name("b"), "storage", "storage");
        assert_eq!(told(&denials.take(after(1), false)), ["b storage storage 1"]);
        assert!(denials.take(after(DENIALS_GATHERED_MS - 1), false).is_empty());
        denials.add(&name("a"), "send", "bank");
        assert_eq!(told(&denials.take(after(DENIALS_GATHERED_MS), false)), ["a send bank 2"]);
        denials.add(&name("a"), "send", "bank");
        assert_eq!(told(&denials.take(after(DENIALS_GATHERED_MS + 1), true)), ["a send bank 1"]);
        assert!(denials.take(after(3 * DENIALS_GATHERED_MS), false).is_empty());
        assert!(locked(&denials.of).is_empty(), "nothing is remembered of the quiet");
    }

    #[test]
    fn few_words_are_told_apart_and_none_is_lost_or_shown_as_it_is() {
        let (denials, now) = (Denials::default(), Instant::now());
        let many = 10 * MAX_DENIALS_TOLD_APART;
        (0..many).for_each(|at| denials.add(&name("a"), "send", &format!("{at}\u{1b}[2J{}", "x".repeat(9_000))));
        let taken = denials.take(now, false);
        assert_eq!(taken.len(), MAX_DENIALS_TOLD_APART + 1);
        assert_eq!(taken.iter().map(|denial| denial.count).sum::<u64>(), many as u64);
        assert!(taken.iter().all(|denial| !denial.what.contains('\u{1b}') && denial.what.len() < 2 * MAX_WORD_CHARS));
    }
}
