//! Writes the past as text for people. Whatever came from elsewhere is escaped once more.

use std::fmt::Write as _;

use super::why::Why;
use super::{Change, History, Past};
use crate::escape::Escaped;

/// Width of the labels, in characters.
const LABEL_WIDTH: usize = 12;

/// What `history` prints.
pub fn history(history: &History) -> String {
    let mut text = String::new();
    if history.generations.is_empty() {
        text.push_str("nothing was committed yet\n");
    }
    for past in &history.generations {
        generation(&mut text, past);
    }
    text
}

fn generation(text: &mut String, past: &Past) {
    let marks = match (past.current, past.last_good) {
        (true, true) => "  current, last good",
        (true, false) => "  current",
        (false, true) => "  last good",
        (false, false) => "",
    };
    let parent = past.parent.map_or_else(String::new, |parent| format!("  after {parent}"));
    let _ = writeln!(text, "generation {}{parent}  {}  {} installed{marks}", past.number, past.written, past.installed);
    past.order.iter().for_each(|order| labelled(text, "order", order));
    past.commit.iter().for_each(|commit| labelled(text, "commit", commit));
    for approval in &past.approvals {
        labelled(text, "approved", approval);
    }
    for note in &past.notes {
        labelled(text, "note", note);
    }
    if !past.changes_known {
        labelled(text, "changes", "unknown: the generation before is not kept any more");
    }
    let width = past.changes.iter().map(|change| change.name.as_str().len()).max().unwrap_or(0);
    for change in &past.changes {
        let _ = writeln!(text, "  {:<3} {:<width$}  {}", symbol(change), change.name, Escaped(&what(change)));
    }
}

fn symbol(change: &Change) -> &'static str {
    match change.kind.as_str() {
        "install" => "+",
        "uninstall" => "-",
        "move" => ">",
        "hold" => "!",
        "release" => "=",
        _ => "~",
    }
}

fn what(change: &Change) -> String {
    let Change { name: _, kind, before, after, reason, location, detail } = change;
    let versions = match (before, after) {
        (Some(before), Some(after)) if before != after => format!(" {before} -> {after}"),
        (_, Some(version)) | (Some(version), None) => format!(" {version}"),
        (None, None) => String::new(),
    };
    let mut text = format!("{kind}{versions}");
    detail.iter().for_each(|detail| text.push_str(&format!("  ({detail})")));
    location.iter().for_each(|location| text.push_str(&format!("  {location}")));
    reason.iter().for_each(|reason| text.push_str(&format!("  [{reason}]")));
    text
}

fn labelled(text: &mut String, label: &str, value: &str) {
    let _ = writeln!(text, "      {label:<LABEL_WIDTH$}{}", Escaped(value));
}

/// What `why` prints.
pub fn why(why: &Why) -> String {
    let mut text = format!("{}  {} {}\n", why.name, why.package, why.version);
    let generation = match (why.generation, why.or_earlier) {
        (Some(number), false) => format!("{number}, committed {}", why.written.as_deref().unwrap_or("then")),
        (Some(number), true) => format!("{number} or an earlier one that is not kept any more"),
        (None, _) => "unknown".to_owned(),
    };
    labelled(&mut text, "generation", &generation);
    let action = why.action.as_deref().unwrap_or("unknown: it is not noted");
    let reason = why.reason.as_ref().map(|reason| format!("  [{reason}]")).unwrap_or_default();
    labelled(&mut text, "action", &format!("{action}{reason}"));
    why.order.iter().for_each(|order| labelled(&mut text, "order", order));
    why.approvals.iter().for_each(|approval| labelled(&mut text, "approved", approval));
    labelled(&mut text, "file", &why.location);
    why.commit.iter().for_each(|commit| labelled(&mut text, "commit", commit));
    labelled(&mut text, "source", &why.source);
    labelled(&mut text, "wasm", &why.wasm.to_string());
    labelled(&mut text, "target", &why.target.to_string());
    labelled(&mut text, "publisher", &why.publisher);
    why.signers.iter().for_each(|signer| labelled(&mut text, "signer", signer));
    for permission in &why.permissions {
        labelled(&mut text, "may", &format!("{}  (granted by {})", permission.permission, permission.granted_by));
    }
    if why.permissions.is_empty() {
        labelled(&mut text, "may", "nothing");
    }
    why.held.iter().for_each(|held| labelled(&mut text, "held", held));
    text
}
