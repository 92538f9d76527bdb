//! Owns what is told of the past: what each generation changed, and why an installation is what it is.
//!
//! Pure: generations and records are given, and what is not kept any more is said to be unknown.

pub mod text;
pub mod why;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::digest::Digest;
use crate::generation::{Decoded, Generation, HeldTarget, Note, Slot};
use crate::name::InstallationName;
use crate::plan::notes::{self, ActionNote};
use crate::record::Record;
use crate::timestamp;

/// `$type` of [`History`].
pub const HISTORY_TYPE: &str = "airssys-wasm/history/v1";

/// What a generation is for telling its story.
#[derive(Debug, Clone)]
pub struct Side {
    number: u64,
    parent: Option<u64>,
    digest: Digest,
    written_unix_s: u64,
    commit: Option<String>,
    entries: BTreeMap<InstallationName, Slot>,
    holds: BTreeMap<InstallationName, HeldTarget>,
    notes: Vec<Note>,
}

impl Side {
    /// Of a generation as it was read, with one installation alone.
    pub fn only(decoded: &Decoded, name: &InstallationName) -> Self {
        let generation = &decoded.generation;
        Self {
            number: generation.number,
            parent: generation.parent.map(|parent| parent.number),
            digest: decoded.digest,
            written_unix_s: generation.written_unix_s,
            commit: generation.applied_commit.as_ref().map(|applied| applied.commit.to_string()),
            entries: generation.entries.get_key_value(name).into_iter().map(|(n, slot)| (n.clone(), *slot)).collect(),
            holds: generation.holds.get_key_value(name).into_iter().map(|(n, h)| (n.clone(), h.clone())).collect(),
            notes: generation.notes.iter().filter(|note| is_about(note, name)).cloned().collect(),
        }
    }

    /// Of a generation as it was read.
    pub fn of(decoded: &Decoded) -> Self {
        let Generation {
            number,
            parent,
            written_unix_s,
            entries,
            holds,
            notes,
            applied_commit,
            next_storage_id: _,
            floors: _,
        } = &decoded.generation;
        Self {
            commit: applied_commit.as_ref().map(|applied| applied.commit.to_string()),
            number: *number,
            parent: parent.map(|parent| parent.number),
            digest: decoded.digest,
            written_unix_s: *written_unix_s,
            entries: entries.clone(),
            holds: holds.clone(),
            notes: notes.clone(),
        }
    }
}

/// Whether a note may concern an installation: those of single actions of others do not.
fn is_about(note: &Note, name: &InstallationName) -> bool {
    ActionNote::read(note).is_none_or(|action| action.name == name.as_str())
        && (note.kind != notes::APPROVAL || note.text.contains(&format!(" for {name} action ")))
}

/// The past, newest first.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct History {
    #[serde(rename = "$type")]
    document: &'static str,
    /// The generations.
    pub generations: Vec<Past>,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Past {
    /// Its number.
    pub number: u64,
    /// Its checksum.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub digest: Digest,
    /// The generation before.
    pub parent: Option<u64>,
    /// When it was committed, in UTC.
    pub written: String,
    /// Whether it is in force.
    pub current: bool,
    /// Whether it is the last one that was seen to run well.
    pub last_good: bool,
    /// The commit of the repository whose desired files it carries out, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// How many installations it has.
    pub installed: usize,
    /// Who ordered it, where an operator did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The approvals that were spent.
    pub approvals: Vec<String>,
    /// What it changed; none when the generation before is not kept, see `changes_known`.
    pub changes: Vec<Change>,
    /// Whether the generation before is kept, so that the changes are known.
    pub changes_known: bool,
    /// What else was noted, each with its kind.
    pub notes: Vec<String>,
}

/// What one generation changed of one installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Change {
    /// The installation.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub name: InstallationName,
    /// `install`, `update`, `reconfigure`, `move`, `uninstall`, `hold` or `release`.
    pub kind: String,
    /// The version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The version after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The reason's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Why it is held, or under which name it went on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Finds a record by its digest; `None` when it is not kept.
pub type Records<'a> = dyn FnMut(&Digest) -> Option<Arc<Record>> + 'a;

/// Tells of `sides`, which are oldest first; of the oldest only when it has no parent. At most `most`
/// generations, and with a name only those that touch it.
pub fn tell(
    sides: &[Side],
    (last_good, most): (Option<u64>, usize),
    only: Option<&InstallationName>,
    records: &mut Records<'_>,
) -> History {
    let mut generations = Vec::new();
    for (index, side) in sides.iter().enumerate().rev() {
        if generations.len() == most {
            break;
        }
        let before = index.checked_sub(1).map(|before| &sides[before]);
        let mut past = past(before, side, records);
        past.current = index + 1 == sides.len();
        past.last_good = last_good == Some(side.number);
        if let Some(name) = only {
            past.changes.retain(|change| change.name == *name);
            let needle = format!(" for {name} action ");
            past.approvals.retain(|approval| approval.contains(&needle));
            if past.changes.is_empty() {
                continue;
            }
        }
        generations.push(past);
    }
    History { document: HISTORY_TYPE, generations }
}

fn past(before: Option<&Side>, side: &Side, records: &mut Records<'_>) -> Past {
    let of_kind = |kind: &str| {
        side.notes.iter().filter(move |note| note.kind == kind).map(|note| note.text.clone()).collect::<Vec<_>>()
    };
    let known = [notes::ORDER, notes::APPROVAL, notes::ACTION];
    let rest = side.notes.iter().filter(|note| !known.contains(&note.kind.as_str()));
    let empty = Side {
        number: 0,
        parent: None,
        digest: side.digest,
        written_unix_s: 0,
        commit: None,
        entries: BTreeMap::new(),
        holds: BTreeMap::new(),
        notes: Vec::new(),
    };
    let before = if side.parent.is_none() { Some(&empty) } else { before };
    Past {
        number: side.number,
        digest: side.digest,
        parent: side.parent,
        written: timestamp::rfc3339(i64::try_from(side.written_unix_s).unwrap_or(i64::MAX)),
        current: false,
        last_good: false,
        commit: side.commit.clone(),
        installed: side.entries.len(),
        order: of_kind(notes::ORDER).into_iter().next(),
        approvals: of_kind(notes::APPROVAL),
        changes: before.map(|before| changes(before, side, records)).unwrap_or_default(),
        changes_known: before.is_some(),
        notes: rest.map(|note| format!("{}: {}", note.kind, note.text)).collect(),
    }
}

fn changes(before: &Side, after: &Side, records: &mut Records<'_>) -> Vec<Change> {
    let noted: BTreeMap<&str, ActionNote<'_>> =
        after.notes.iter().filter_map(ActionNote::read).map(|note| (note.name, note)).collect();
    // A storage that is there under another name now was moved.
    let gone = before.entries.iter().filter(|(name, _)| !after.entries.contains_key(*name));
    let gone: BTreeMap<u64, &InstallationName> = gone.map(|(name, slot)| (slot.storage_id, name)).collect();
    let mut found: Vec<Change> = Vec::new();
    let mut moved: Vec<&InstallationName> = Vec::new();
    for (name, slot) in &after.entries {
        let old_name = before.entries.get_key_value(name).map(|(name, _)| name).or(gone.get(&slot.storage_id).copied());
        let old = old_name.and_then(|name| before.entries.get(name));
        if old_name == Some(name) && old.is_some_and(|old| old.record == slot.record) {
            continue;
        }
        let record = records(&slot.record);
        let old_record = old.and_then(|old| records(&old.record));
        let is_moved = old_name.is_some_and(|old| old != name);
        moved.extend(old_name.filter(|_| is_moved));
        let derived = match (old, &old_record, &record) {
            (None, ..) => "install",
            (Some(_), ..) if is_moved => "move",
            (Some(_), Some(old), Some(new)) if old.artifact == new.artifact => "reconfigure",
            (Some(_), ..) => "update",
        };
        let detail = old_name.filter(|_| is_moved).map(|old| format!("was {old}"));
        let version = |record: Option<Arc<Record>>| record.map(|record| record.artifact.version.to_string());
        let change = Change {
            before: version(old_record),
            after: version(record),
            detail,
            ..changed(name, derived, noted.get(name.as_str()))
        };
        found.push(change);
    }
    for (name, slot) in before.entries.iter().filter(|(name, _)| !after.entries.contains_key(*name)) {
        if !moved.contains(&name) {
            let version = records(&slot.record).map(|record| record.artifact.version.to_string());
            found.push(Change { before: version, ..changed(name, "uninstall", noted.get(name.as_str())) });
        }
    }
    for (name, held) in after.holds.iter().filter(|(name, held)| before.holds.get(*name) != Some(held)) {
        found.push(Change { detail: Some(held.reason.clone()), ..changed(name, "hold", None) });
    }
    let released = before.holds.keys().filter(|name| !after.holds.contains_key(*name));
    found.extend(released.map(|name| changed(name, "release", None)));
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn changed(name: &InstallationName, kind: &str, noted: Option<&ActionNote<'_>>) -> Change {
    Change {
        name: name.clone(),
        kind: noted.map_or(kind, |noted| noted.kind).to_owned(),
        before: None,
        after: None,
        reason: noted.map(|noted| noted.reason.to_owned()),
        location: noted.map(|noted| noted.location.to_owned()),
        detail: None,
    }
}
