//! Owns the notes that a commit leaves in its generation: who ordered it, what was done and why, and which
//! approvals were spent.
//!
//! One line each, written and read back here. What a generation keeps besides is `generation`'s.

use std::collections::BTreeMap;

use super::action::{Action, Effect};
use super::approval::{Approval, ApprovalName, Operator};
use crate::generation::Note;
use crate::timestamp;

/// An order of an operator.
pub const ORDER: &str = "order";
/// An action that was carried out.
pub const ACTION: &str = "action";
/// The commit that the desired files were read from.
pub const COMMIT: &str = "commit";
/// An approval that was spent.
pub const APPROVAL: &str = "approval";

/// What somebody ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What, in a few words.
    pub what: String,
    /// Who.
    pub by: Operator,
}

/// The notes for a commit in which `actions` are carried out, some because they were `approved`.
pub fn of_commit(
    actions: &[&Action],
    order: Option<&Order>,
    approved: &BTreeMap<Approval, Order>,
    now_unix_s: u64,
) -> Vec<Note> {
    let at = timestamp::rfc3339(i64::try_from(now_unix_s).unwrap_or_default());
    let ordered = order.map(|order| note(ORDER, format!("{} by {} at {at}", order.what, order.by)));
    let spent = |action: &Action| {
        let digest = action.digest();
        let text = |name: &ApprovalName| {
            let approval = Approval { name: name.clone(), action: digest };
            let by = &approved.get(&approval)?.by;
            Some(note(APPROVAL, format!("{name} for {} action {digest} by {by} at {at}", action.name)))
        };
        action
            .approvals
            .iter()
            .filter(|needed| needed.given)
            .filter_map(|needed| text(&needed.name))
            .collect::<Vec<_>>()
    };
    let approvals: Vec<Note> = match approved.is_empty() {
        true => Vec::new(),
        false => actions.iter().flat_map(|action| spent(action)).collect(),
    };
    let done = actions.iter().filter(|action| !matches!(action.effect, Some(Effect::Restart { .. })));
    let done = done.map(|action| {
        let Action { name, kind, reason, location, .. } = action;
        note(ACTION, format!("{name} {} {} {location}", kind.as_str(), reason.code))
    });
    ordered.into_iter().chain(approvals).chain(done).collect()
}

fn note(kind: &str, text: String) -> Note {
    Note { kind: kind.to_owned(), text }
}

/// What [`of_commit`] says of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionNote<'a> {
    /// The installation.
    pub name: &'a str,
    /// What was done.
    pub kind: &'a str,
    /// The reason's code.
    pub reason: &'a str,
    /// The file and line that it came from.
    pub location: &'a str,
}

impl<'a> ActionNote<'a> {
    /// Reads a note back; `None` when it is of another kind.
    pub fn read(note: &'a Note) -> Option<Self> {
        let mut words = (note.kind == ACTION).then(|| note.text.splitn(4, ' '))?;
        Some(Self { name: words.next()?, kind: words.next()?, reason: words.next()?, location: words.next()? })
    }
}

/// What [`of_commit`] says of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderNote<'a> {
    /// What, in a few words.
    pub what: &'a str,
    /// Who: name and number of the user.
    pub by: &'a str,
}

impl<'a> OrderNote<'a> {
    /// Reads a note back; `None` when it is of another kind.
    pub fn read(note: &'a Note) -> Option<Self> {
        let text = (note.kind == ORDER).then_some(&*note.text)?;
        let (text, _) = text.rsplit_once(" at ")?;
        let (what, by) = text.rsplit_once(" by ")?;
        Some(Self { what, by })
    }
}

/// What [`of_commit`] says of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalNote<'a> {
    /// The approval.
    pub approval: &'a str,
    /// For which installation it was spent.
    pub installation: &'a str,
    /// The digest of the action.
    pub action: &'a str,
    /// Who: name and number of the user.
    pub by: &'a str,
}

impl<'a> ApprovalNote<'a> {
    /// Reads a note back; `None` when it is of another kind.
    pub fn read(note: &'a Note) -> Option<Self> {
        let text = (note.kind == APPROVAL).then_some(&*note.text)?;
        let (approval, rest) = text.split_once(" for ")?;
        let (installation, rest) = rest.split_once(" action ")?;
        let (action, rest) = rest.split_once(" by ")?;
        let (by, _) = rest.rsplit_once(" at ")?;
        Some(Self { approval, installation, action, by })
    }
}

/// What the order of a rollback says before its number.
const ROLLBACK: &str = "rollback to generation ";

/// The order of a rollback.
pub fn rollback(to: u64, by: Operator) -> Order {
    Order { what: format!("{ROLLBACK}{to}"), by }
}

/// The generation that a commit went back to, when the note says so.
pub fn rolled_back_to(note: &Note) -> Option<u64> {
    let rest = (note.kind == ORDER).then(|| note.text.strip_prefix(ROLLBACK))??;
    rest.split(' ').next()?.parse().ok()
}

/// The installation whose delete was approved, when the note says so.
pub fn approved_delete(note: &Note) -> Option<&str> {
    let rest = (note.kind == APPROVAL).then(|| note.text.strip_prefix("delete for "))??;
    rest.split(' ').next()
}
