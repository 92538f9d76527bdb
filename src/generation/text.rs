//! Owns the text of generations: a whole set, or what changed against the parent.
//!
//! One value has one text, and nothing but that text is read back. It opens no files.

mod lines;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use lines::{Lines, number, quote, read_kind, read_parent, unquote};

use super::{
    Generation, HeldTarget, MAX_ENTRIES, MAX_GENERATION_BYTES, MAX_NOTE_BYTES, MAX_NOTES, MAX_REASON_BYTES, Note,
    Parent, REBASE_EVERY, Slot, is_note_kind,
};
use crate::digest::Digest;
use crate::name::InstallationName;
use crate::sealed::{self, SealError, Sealed};
use crate::snapshot::AppliedCommit;

const FIRST_LINE: &str = "airssys-generation 1";

/// One generation file, read and found intact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationFile {
    /// The generation's number.
    pub number: u64,
    /// The generation before.
    pub parent: Option<Parent>,
    /// When it was committed, in seconds since 1970.
    pub written_unix_s: u64,
    /// How many installations the whole set has.
    pub entries: usize,
    /// The file's own checksum.
    pub digest: Digest,
    floors: Digest,
    next_storage_id: u64,
    /// In every file that follows one with it: a base that is lost must not make the mark forgotten.
    applied_commit: Option<AppliedCommit>,
    body: Body,
}

/// What a file changes: against its parent, or for a base against nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Body {
    is_base: bool,
    set: BTreeMap<InstallationName, Slot>,
    unset: BTreeSet<InstallationName>,
    hold: BTreeMap<InstallationName, HeldTarget>,
    release: BTreeSet<InstallationName>,
    notes: Vec<Note>,
}

/// A generation with its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The whole set.
    pub generation: Generation,
    /// The checksum of its file, which the next generation names.
    pub digest: Digest,
    /// How many deltas stand on the last base, itself included.
    pub deltas: u32,
}

/// Why bytes are no generation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerationError {
    /// Not intact.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Intact, but not what this version writes.
    #[error("line {0} is not what a generation holds there")]
    Line(usize),
    /// Intact, but there is another, shorter or ordered text for the same value.
    #[error("it is not written the way this version writes it")]
    Spelling,
    /// More lines than a generation may have.
    #[error("it has more than {MAX_ENTRIES} installations, or more than {MAX_NOTES} notes")]
    TooMany,
    /// A delta whose parent is another generation, or missing.
    #[error("it stands on another generation than the one before it")]
    Parent,
    /// A delta that doesn't fit its parent.
    #[error("it does not fit the generation before it: {0}")]
    Misfit(&'static str),
}

impl Generation {
    /// The file of this generation: whole when there is no parent, when [`REBASE_EVERY`] is reached or when a delta
    /// would be no shorter; else what changed against `parent`.
    pub fn encode(self, parent: Option<&Decoded>) -> (Sealed, Decoded) {
        let base = || self.file(Body::of_base(&self));
        let (file, deltas) = match parent {
            Some(parent) if parent.deltas + 1 < REBASE_EVERY => {
                let body = Body::between(&parent.generation, &self);
                if body.lines() < self.entries.len() + self.holds.len() + self.notes.len() {
                    (self.file(body), parent.deltas + 1)
                } else {
                    (base(), 0)
                }
            }
            _ => (base(), 0),
        };
        let sealed = sealed::seal(FIRST_LINE, &file.body_text());
        let decoded = Decoded { generation: self, digest: sealed.digest, deltas };
        (sealed, decoded)
    }

    fn file(&self, body: Body) -> GenerationFile {
        GenerationFile {
            number: self.number,
            parent: self.parent,
            written_unix_s: self.written_unix_s,
            entries: self.entries.len(),
            digest: Digest::from_bytes([0; 32]),
            floors: self.floors,
            next_storage_id: self.next_storage_id,
            applied_commit: self.applied_commit.clone(),
            body,
        }
    }
}

/// Reads a base and the deltas that stand on it, in that order. Every checksum and every link is checked.
pub fn decode_chain(files: impl IntoIterator<Item = GenerationFile>) -> Result<Decoded, GenerationError> {
    let mut files = files.into_iter();
    let base = files.next().ok_or(GenerationError::Parent)?;
    let mut decoded = base.apply(None)?;
    for file in files {
        decoded = file.apply(Some(decoded))?;
    }
    Ok(decoded)
}

impl GenerationFile {
    /// Reads one file. What it says about its parent is checked when it is applied.
    pub fn decode(bytes: &[u8]) -> Result<Self, GenerationError> {
        let opened = sealed::open(FIRST_LINE, bytes, MAX_GENERATION_BYTES)?;
        let mut lines = Lines::new(opened.body);
        let mut file = Self {
            number: lines.read(|line| number(line.strip_prefix("number ")?))?,
            parent: lines.read(|line| read_parent(line.strip_prefix("parent ")?))?,
            written_unix_s: lines.read(|line| number(line.strip_prefix("written ")?))?,
            floors: lines.read(|line| line.strip_prefix("floors ")?.parse().ok())?,
            next_storage_id: lines.read(|line| number(line.strip_prefix("next-storage-id ")?))?,
            entries: lines.read(|line| usize::try_from(number(line.strip_prefix("entries ")?)?).ok())?,
            digest: opened.digest,
            applied_commit: None,
            body: Body { is_base: lines.read(read_kind)?, ..Body::default() },
        };
        while let Some(line) = lines.next() {
            match line.strip_prefix("applied-commit ") {
                Some(applied) => file.applied_commit = AppliedCommit::from_line(applied),
                None => file.body.take(line).ok_or(GenerationError::Line(lines.number))?,
            }
            if file.body.is_too_long() {
                return Err(GenerationError::TooMany);
            }
        }
        if sealed::seal(FIRST_LINE, &file.body_text()).digest != opened.digest {
            return Err(GenerationError::Spelling);
        }
        Ok(file)
    }

    /// What is to be remembered of its commit.
    pub fn notes(&self) -> &[Note] {
        &self.body.notes
    }

    /// Whether it holds the whole set and needs no other file.
    pub fn is_base(&self) -> bool {
        self.body.is_base
    }

    /// The records that the file itself names: of a base all of them, of a delta the new ones.
    pub fn named_records(&self) -> impl Iterator<Item = &Digest> {
        self.body.set.values().map(|slot| &slot.record)
    }

    /// The records of `parent` that this generation has no more.
    pub fn dropped_records(&self, parent: &Generation) -> Vec<Digest> {
        let is_dropped = |name: &InstallationName, before: &Slot| match self.body.set.get(name) {
            Some(now) => now.record != before.record,
            None => self.is_base() || self.body.unset.contains(name),
        };
        let entries = parent.entries.iter();
        if self.is_base() {
            return entries.filter(|(name, slot)| is_dropped(name, slot)).map(|(_, slot)| slot.record).collect();
        }
        // A delta names what it touches: few of many.
        let touched = self.body.set.keys().chain(&self.body.unset);
        let before = touched.filter_map(|name| parent.entries.get_key_value(name));
        before.filter(|(name, slot)| is_dropped(name, slot)).map(|(_, slot)| slot.record).collect()
    }

    /// The whole set: the file's own, or what it makes of its parent's.
    pub fn apply(self, parent: Option<Decoded>) -> Result<Decoded, GenerationError> {
        let deltas = match (&parent, self.is_base()) {
            (_, true) => 0,
            (None, false) => return Err(GenerationError::Parent),
            (Some(parent), false) => parent.deltas + 1,
        };
        if let Some(parent) = &parent {
            let named = Some(Parent { number: parent.generation.number, digest: parent.digest });
            if self.parent != named || self.number <= parent.generation.number {
                return Err(GenerationError::Parent);
            }
        }
        let (mut entries, mut holds) = match parent {
            Some(parent) if !self.is_base() => (parent.generation.entries, parent.generation.holds),
            _ => (BTreeMap::new(), BTreeMap::new()),
        };
        change(&mut entries, self.body.set, &self.body.unset)?;
        change(&mut holds, self.body.hold, &self.body.release)?;
        if entries.len() != self.entries {
            return Err(GenerationError::Misfit("the number of installations differs"));
        }
        let generation = Generation {
            number: self.number,
            parent: self.parent,
            written_unix_s: self.written_unix_s,
            entries,
            holds,
            next_storage_id: self.next_storage_id,
            floors: self.floors,
            applied_commit: self.applied_commit,
            notes: self.body.notes,
        };
        Ok(Decoded { generation, digest: self.digest, deltas })
    }

    fn body_text(&self) -> String {
        let mut text = String::new();
        self.write_to(&mut text).expect("a string takes every write");
        text
    }

    fn write_to(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "number {}", self.number)?;
        match &self.parent {
            Some(parent) => writeln!(text, "parent {} {}", parent.number, parent.digest)?,
            None => writeln!(text, "parent none")?,
        }
        writeln!(text, "written {}", self.written_unix_s)?;
        writeln!(text, "floors {}", self.floors)?;
        writeln!(text, "next-storage-id {}", self.next_storage_id)?;
        writeln!(text, "entries {}", self.entries)?;
        writeln!(text, "{}", if self.body.is_base { "base" } else { "delta" })?;
        if let Some(applied) = &self.applied_commit {
            writeln!(text, "applied-commit {}", applied.line())?;
        }
        for (name, slot) in &self.body.set {
            writeln!(text, "set {name} {} {}", slot.record, slot.storage_id)?;
        }
        for name in &self.body.unset {
            writeln!(text, "unset {name}")?;
        }
        for (name, held) in &self.body.hold {
            writeln!(text, "hold {name} {} {}", held.target, quote(&held.reason))?;
        }
        for name in &self.body.release {
            writeln!(text, "release {name}")?;
        }
        for note in &self.body.notes {
            writeln!(text, "note {} {}", note.kind, quote(&note.text))?;
        }
        Ok(())
    }
}

impl Body {
    fn of_base(generation: &Generation) -> Self {
        Self {
            is_base: true,
            set: generation.entries.clone(),
            hold: generation.holds.clone(),
            notes: generation.notes.clone(),
            ..Self::default()
        }
    }

    fn between(before: &Generation, after: &Generation) -> Self {
        Self {
            is_base: false,
            set: changed(&before.entries, &after.entries),
            unset: gone(&before.entries, &after.entries),
            hold: changed(&before.holds, &after.holds),
            release: gone(&before.holds, &after.holds),
            notes: after.notes.clone(),
        }
    }

    fn lines(&self) -> usize {
        self.set.len() + self.unset.len() + self.hold.len() + self.release.len() + self.notes.len()
    }

    fn is_too_long(&self) -> bool {
        let most = [self.set.len(), self.unset.len(), self.hold.len(), self.release.len()].into_iter().max();
        most > Some(MAX_ENTRIES) || self.notes.len() > MAX_NOTES
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (verb, rest) = line.split_once(' ')?;
        match verb {
            "set" => {
                let (name, rest) = rest.split_once(' ')?;
                let (record, storage_id) = rest.split_once(' ')?;
                let slot = Slot { record: record.parse().ok()?, storage_id: number(storage_id)? };
                self.set.insert(name.parse().ok()?, slot);
            }
            "unset" => {
                self.unset.insert(rest.parse().ok()?);
            }
            "hold" => {
                let (name, rest) = rest.split_once(' ')?;
                let (target, reason) = rest.split_once(' ')?;
                let held = HeldTarget { target: target.parse().ok()?, reason: unquote(reason, MAX_REASON_BYTES)? };
                self.hold.insert(name.parse().ok()?, held);
            }
            "release" => {
                self.release.insert(rest.parse().ok()?);
            }
            "note" => {
                let (kind, text) = rest.split_once(' ')?;
                is_note_kind(kind).then_some(())?;
                self.notes.push(Note { kind: kind.to_owned(), text: unquote(text, MAX_NOTE_BYTES)? });
            }
            _ => return None,
        }
        Some(())
    }
}

fn changed<V: Clone + PartialEq>(
    before: &BTreeMap<InstallationName, V>,
    after: &BTreeMap<InstallationName, V>,
) -> BTreeMap<InstallationName, V> {
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    changed.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn gone<V>(
    before: &BTreeMap<InstallationName, V>,
    after: &BTreeMap<InstallationName, V>,
) -> BTreeSet<InstallationName> {
    before.keys().filter(|name| !after.contains_key(*name)).cloned().collect()
}

/// Applies changes that must all be changes: a line without an effect means that the parent is the wrong one.
fn change<V: PartialEq>(
    map: &mut BTreeMap<InstallationName, V>,
    set: BTreeMap<InstallationName, V>,
    unset: &BTreeSet<InstallationName>,
) -> Result<(), GenerationError> {
    for name in unset {
        map.remove(name).ok_or(GenerationError::Misfit("it removes what is not there"))?;
    }
    for (name, value) in set {
        if unset.contains(&name) || map.get(&name) == Some(&value) {
            return Err(GenerationError::Misfit("it sets what is there already"));
        }
        map.insert(name, value);
    }
    Ok(())
}
