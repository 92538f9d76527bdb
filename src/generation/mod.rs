//! Owns the generation: the n-th committed whole set, and what must hold from one to the next.
//!
//! Pure: it is text and rules. Which file is the current one, and when it counts, is `state`'s.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::InstallationName;
use crate::snapshot::AppliedCommit;

mod text;

pub use text::{Decoded, GenerationError, GenerationFile, decode_chain};

/// Most installations of one generation.
pub const MAX_ENTRIES: usize = 100_000;
/// Longest generation file, in bytes.
pub const MAX_GENERATION_BYTES: usize = 64 << 20;
/// A generation is written whole when this many deltas would otherwise stand on the last whole one.
pub const REBASE_EVERY: u32 = 64;
/// Longest reason of a hold, in bytes; the rest is cut off.
pub const MAX_REASON_BYTES: usize = 1024;
/// Most notes of one generation; later ones are dropped. One for every action of a whole set, and some.
pub const MAX_NOTES: usize = MAX_ENTRIES + 1_000;
/// Most bytes of all notes of one generation together; later ones are dropped.
pub const MAX_NOTES_BYTES: usize = 24 << 20;
/// Longest text of a note, in bytes; the rest is cut off.
pub const MAX_NOTE_BYTES: usize = 4096;

/// A whole set, as it is or will be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Rises with every commit and is never used twice.
    pub number: u64,
    /// The generation that this one follows; `None` only for the empty one that a new state starts with.
    pub parent: Option<Parent>,
    /// When it was committed, in seconds since 1970.
    pub written_unix_s: u64,
    /// What is installed.
    pub entries: BTreeMap<InstallationName, Slot>,
    /// Targets that are not to be applied again until the desired file changes. A name may be held without being
    /// installed: a rollback removed it.
    pub holds: BTreeMap<InstallationName, HeldTarget>,
    /// The storage id that the next new installation gets.
    pub next_storage_id: u64,
    /// Checksum of the floors file that was in force. The store fills it in when it commits.
    pub floors: Digest,
    /// The commit of a repository whose desired files were applied last, whatever they were applied from since then:
    /// what goes back behind it is refused.
    pub applied_commit: Option<AppliedCommit>,
    /// What else is to be remembered of this commit: approvals that were spent, a mass delete that was allowed.
    pub notes: Vec<Note>,
}

/// The generation before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its number.
    pub number: u64,
    /// Its checksum, which covers its own parent's.
    pub digest: Digest,
}

/// What a generation holds for one installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The record, an object in the content store.
    pub record: Digest,
    /// Under which id its data is stored. Never reused.
    pub storage_id: u64,
}

/// A target that failed or was rolled back, and why it is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTarget {
    /// The target digest that is held.
    pub target: Digest,
    /// Why, for people; escaped by whoever wrote it.
    pub reason: String,
}

impl HeldTarget {
    /// The target of what is not to be there: held, it keeps an installation that no file wants.
    pub fn absence() -> Digest {
        Digest::of(b"airssys-absent-v1")
    }

    /// Whether it holds back a removal.
    pub fn is_of_absence(&self) -> bool {
        self.target == Self::absence()
    }
}

/// One thing to be remembered of one commit; not inherited by the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What kind of note: one lower-case word with hyphens, as `approval`.
    pub kind: String,
    /// The note itself.
    pub text: String,
}

/// Why a generation may not follow another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuccessionError {
    /// It was made from another generation than the one it would follow.
    #[error("it was made from generation {made_from}, and generation {current} is current")]
    Parent {
        /// The parent it names; 0 when it names none.
        made_from: u64,
        /// The generation it would follow.
        current: u64,
    },
    /// Its number was used before.
    #[error("its number {number} is not above {highest}, the highest one in use")]
    Number {
        /// Its number.
        number: u64,
        /// The highest number seen.
        highest: u64,
    },
    /// More installations than [`MAX_ENTRIES`].
    #[error("it has {0} installations, more than {MAX_ENTRIES}")]
    TooMany(usize),
    /// Two installations would share their data, or one would get the data of a removed one.
    #[error("storage id {id} of \"{name}\" is in use or was used before")]
    StorageId {
        /// The installation.
        name: InstallationName,
        /// The id.
        id: u64,
    },
    /// Ids that were given out could be given out again.
    #[error("the next storage id {next} is below {before}, which the generation before had")]
    NextStorageId {
        /// What it says.
        next: u64,
        /// What the generation before says.
        before: u64,
    },
    /// A note's kind is no lower-case word.
    #[error("a note's kind is one word of a-z and hyphens, of at most 32 characters")]
    NoteKind,
}

impl Generation {
    /// The empty generation with which a new state starts. It was never applied by anybody.
    pub fn birth(written_unix_s: u64, floors: Digest) -> Self {
        Self {
            number: 0,
            parent: None,
            written_unix_s,
            entries: BTreeMap::new(),
            holds: BTreeMap::new(),
            next_storage_id: 1,
            floors,
            applied_commit: None,
            notes: Vec::new(),
        }
    }

    /// A copy that follows `self`, whose checksum is `digest`: the place to make changes in.
    pub fn successor(&self, digest: Digest, number: u64, written_unix_s: u64) -> Self {
        Self {
            number,
            parent: Some(Parent { number: self.number, digest }),
            written_unix_s,
            notes: Vec::new(),
            ..self.clone()
        }
    }

    /// Cuts texts that are longer than the format takes: a long reason must not stop a commit.
    pub fn clip(&mut self) {
        for hold in self.holds.values_mut() {
            clip(&mut hold.reason, MAX_REASON_BYTES);
        }
        self.notes.truncate(MAX_NOTES);
        for note in &mut self.notes {
            clip(&mut note.text, MAX_NOTE_BYTES);
        }
        let mut left = MAX_NOTES_BYTES;
        self.notes.retain(|note| {
            let fits = note.text.len() <= left;
            left = if fits { left - note.text.len() } else { 0 };
            fits
        });
    }

    /// Whether `self` may be committed after `parent`, when `highest` is the highest number ever seen.
    pub fn check_follows(&self, parent: &Decoded, highest: u64) -> Result<(), SuccessionError> {
        let before = &parent.generation;
        if self.parent != Some(Parent { number: before.number, digest: parent.digest }) {
            let made_from = self.parent.map_or(0, |p| p.number);
            return Err(SuccessionError::Parent { made_from, current: before.number });
        }
        if self.number <= highest {
            return Err(SuccessionError::Number { number: self.number, highest });
        }
        if self.entries.len() > MAX_ENTRIES || self.holds.len() > MAX_ENTRIES {
            return Err(SuccessionError::TooMany(self.entries.len().max(self.holds.len())));
        }
        if self.next_storage_id < before.next_storage_id {
            return Err(SuccessionError::NextStorageId { next: self.next_storage_id, before: before.next_storage_id });
        }
        if self.notes.iter().any(|note| !is_note_kind(&note.kind)) {
            return Err(SuccessionError::NoteKind);
        }
        self.check_storage_ids(before)
    }

    /// Each id at most once, and none that was given out before and is not in use now.
    fn check_storage_ids(&self, before: &Generation) -> Result<(), SuccessionError> {
        let id_before = |name| before.entries.get(name).map(|slot: &Slot| slot.storage_id);
        let not_kept: Vec<_> =
            self.entries.iter().filter(|(name, slot)| id_before(*name) != Some(slot.storage_id)).collect();
        if not_kept.is_empty() {
            return Ok(());
        }
        // Ids whose installation is gone or has another one now: what a move may take over.
        let left = before
            .entries
            .iter()
            .filter(|(name, slot)| self.entries.get(*name).is_none_or(|now| now.storage_id != slot.storage_id));
        let mut free: BTreeSet<u64> = left.map(|(_, slot)| slot.storage_id).collect();
        let mut taken = BTreeSet::new();
        for (name, slot) in not_kept {
            let id = slot.storage_id;
            let is_new = (before.next_storage_id..self.next_storage_id).contains(&id) && taken.insert(id);
            if !is_new && !free.remove(&id) {
                return Err(SuccessionError::StorageId { name: name.clone(), id });
            }
        }
        Ok(())
    }
}

fn is_note_kind(kind: &str) -> bool {
    (1..=32).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

fn clip(text: &mut String, max_bytes: usize) {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes));
    }
}

#[cfg(test)]
mod tests;
