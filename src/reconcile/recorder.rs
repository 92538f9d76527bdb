//! Gathers what the audit log is to say besides what commits say, and writes it in one piece.
//!
//! What can't be written waits for the next time, is told once, and is never left out without a record that says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::audit::{Entry, Kind};
use crate::resolution::Refusal;
use crate::state::Store;

use super::Tell;
use super::apply::FailedAction;
use super::notice::Notice;
use super::reconciler::unix_now_s;

/// Most records that wait for a log that can't be written; the oldest are left out then, and a record says how many.
pub const MAX_WAITING_RECORDS: usize = 100_000;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    waiting: Mutex<Waiting>,
    is_failing: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    left_out: u64,
}

impl Recorder {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened now.
    pub fn note(&self, make: impl FnOnce(u64) -> Entry) {
        let entry = make(unix_now_s().unsigned_abs());
        let mut waiting = self.waiting();
        waiting.entries.push(entry);
        let too_many = waiting.entries.len().saturating_sub(MAX_WAITING_RECORDS);
        waiting.entries.drain(..too_many);
        waiting.left_out += too_many as u64;
    }

    /// Wishes that are not carried out, as they were told.
    pub fn refused(&self, told: &[Notice]) {
        for notice in told {
            let Notice::Held { kind, name, location, why, .. } = notice else { continue };
            let location = location.as_ref().map_or_else(String::new, |location| format!("{location}: "));
            let what = format!("{kind}: {location}{} [{}]", why.message, why.code);
            self.note(|now| Entry::new(now, Kind::Refused, what).about(name));
        }
    }

    /// What is wrong with the trust policy: nobody is trusted then.
    pub fn problems(&self, told: &[Refusal]) {
        for why in told.iter().filter(|why| why.code.starts_with("trust-")) {
            self.note(|now| Entry::new(now, Kind::Refused, format!("{} [{}]", why.message, why.code)));
        }
    }

    /// Actions that failed.
    pub fn failed(&self, failed: &[FailedAction]) {
        for FailedAction { action, why } in failed {
            let what = format!("{} at {}: {} [{}]", action.kind.as_str(), action.location, why.message, why.code);
            self.note(|now| Entry::new(now, Kind::Failed, what).about(&action.name));
        }
    }

    /// Writes what waits.
    pub fn write(&self, store: &Store, tell: &Tell) {
        let Waiting { mut entries, left_out } = std::mem::take(&mut *self.waiting());
        if left_out > 0 {
            let what = format!("{left_out} records were left out: the log could not be written");
            entries.insert(0, Entry::new(unix_now_s().unsigned_abs(), Kind::Gap, what));
        }
        if entries.is_empty() {
            return;
        }
        match store.record(entries.clone()).wait() {
            Ok(()) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tell(&Notice::Solved { code: NOT_WRITTEN.to_owned() });
                }
            }
            Err(error) => {
                let mut waiting = self.waiting();
                entries.append(&mut waiting.entries);
                waiting.entries = entries;
                drop(waiting);
                self.tell_not_written(&error.to_string(), tell);
            }
        }
    }

    /// Tells once that the log can't be written.
    pub fn tell_not_written(&self, error: &str, tell: &Tell) {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            let why = Refusal::new(NOT_WRITTEN, format!("the audit log can't be written: {error}"));
            let hint = "what is to be recorded waits, and is written when it can be; look at the disk of the home";
            tell(&Notice::Problem { why: why.hint(hint) });
        }
    }
}

const NOT_WRITTEN: &str = "audit-not-written";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_too_long_is_counted_and_never_forgotten_silently() {
        let recorder = Recorder::default();
        for at in 0..MAX_WAITING_RECORDS + 3 {
            recorder.note(|now| Entry::new(now, Kind::Pause, at.to_string()));
        }
        let waiting = recorder.waiting();
        assert_eq!((waiting.entries.len(), waiting.left_out), (MAX_WAITING_RECORDS, 3));
        assert_eq!(waiting.entries[0].what, "3");
    }
}
