//! Derives what a commit changed from the generation and the one before it: the same records each time.

use std::collections::BTreeSet;

use super::{Accepted, Entry, Kind};
use crate::digest::Digest;
use crate::generation::{Generation, Note};
use crate::name::InstallationName;
use crate::plan::notes::{self, ActionNote, ApprovalNote, OrderNote};

/// Finds what a committed record accepted, by the record's digest; `None` when it is not kept.
pub type AcceptedBy<'a> = dyn FnMut(&Digest) -> Option<Accepted> + 'a;

/// The records of the commit that made `after` out of `before`.
pub fn entries(before: &Generation, after: &Generation, accepted: &mut AcceptedBy<'_>) -> Vec<Entry> {
    let entry = |kind, what: String| Entry::new(after.written_unix_s, kind, what);
    let mut found: Vec<Entry> = after.notes.iter().filter_map(|note| of_note(note, after, accepted)).collect();
    if after.applied_commit != before.applied_commit
        && let Some(applied) = &after.applied_commit
    {
        found.push(entry(Kind::Commit, format!("the desired files of commit {}", applied.commit)));
    }
    for (name, held) in after.holds.iter().filter(|(name, held)| before.holds.get(*name) != Some(held)) {
        let what = format!("target {} is held: {}", held.target.short(), held.reason);
        found.push(entry(Kind::Hold, what).about(name));
    }
    let released = before.holds.iter().filter(|(name, _)| !after.holds.contains_key(*name));
    for (name, held) in released {
        found.push(entry(Kind::Release, format!("target {} is no longer held", held.target.short())).about(name));
    }
    found.extend(unnoted(before, after, accepted));
    found
}

fn of_note(note: &Note, after: &Generation, accepted: &mut AcceptedBy<'_>) -> Option<Entry> {
    let entry = |kind, what: String| Entry::new(after.written_unix_s, kind, what);
    if let Some(action) = ActionNote::read(note) {
        let kind = match action.kind {
            "install" => Kind::Install,
            "update" => Kind::Update,
            "move" => Kind::Move,
            "uninstall" => Kind::Uninstall,
            _ => Kind::Reconfigure,
        };
        let slot = action.name.parse::<InstallationName>().ok().and_then(|name| after.entries.get(&name));
        let accepted = slot.filter(|_| kind != Kind::Uninstall).and_then(|slot| accepted(&slot.record));
        let what = format!("{} ({})", action.location, action.reason);
        return Some(Entry { accepted, ..entry(kind, what).about(action.name) });
    }
    if let Some(order) = OrderNote::read(note) {
        let kind = if notes::rolled_back_to(note).is_some() { Kind::Rollback } else { Kind::Order };
        return Some(entry(kind, order.what.to_owned()).by(order.by));
    }
    if let Some(approval) = ApprovalNote::read(note) {
        let what = format!("{} for action {}", approval.approval, approval.action);
        return Some(entry(Kind::Approval, what).about(approval.installation).by(approval.by));
    }
    (note.kind == RECOVERED).then(|| entry(Kind::Recovered, note.text.clone()))
}

/// The kind of the note that a recovered generation carries.
const RECOVERED: &str = "recovered";

/// What changed without a note: notes are cut off when there are too many, and the log misses nothing.
fn unnoted(before: &Generation, after: &Generation, accepted: &mut AcceptedBy<'_>) -> Vec<Entry> {
    let noted: BTreeSet<&str> = after.notes.iter().filter_map(ActionNote::read).map(|action| action.name).collect();
    let entry = |kind, what: &str| Entry::new(after.written_unix_s, kind, what);
    let mut found = Vec::new();
    for (name, slot) in after.entries.iter().filter(|(name, _)| !noted.contains(name.as_str())) {
        let (kind, what) = match before.entries.get(name) {
            Some(old) if old.record == slot.record => continue,
            Some(_) => (Kind::Update, "its record is another one"),
            None => (Kind::Install, "it is new"),
        };
        found.push(Entry { accepted: accepted(&slot.record), ..entry(kind, what).about(name) });
    }
    let gone = before.entries.iter().filter(|(name, _)| !after.entries.contains_key(*name));
    let gone: Vec<_> = gone.filter(|(name, _)| !noted.contains(name.as_str())).collect();
    if !gone.is_empty() {
        // A name that moved away is in the note of its new name.
        let kept: BTreeSet<u64> = after.entries.values().map(|slot| slot.storage_id).collect();
        let gone = gone.into_iter().filter(|(_, slot)| !kept.contains(&slot.storage_id));
        found.extend(gone.map(|(name, _)| entry(Kind::Uninstall, "it is gone").about(name)));
    }
    found
}
