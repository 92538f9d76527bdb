//! Owns the lines that say what an action does to others: interface, state, messages, requests, neighbours.

use super::detail::labelled;
use super::{Line, Style};
use crate::plan::impact::{Impact, Interface, Mailbox, Neighbour, Neighbours, Outcome, State};
use crate::surface::{Changes, Comparison, Verdict};

/// Most interfaces, functions or neighbours that one list of a line names; the document has more.
const MAX_LISTED: usize = 8;

/// `is_new`: there is nothing installed. `kind` is the kind of the action, as documents write it.
pub(super) fn lines(impact: &Impact, kind: &str, is_new: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let breaks = impact.interface.as_ref().is_some_and(|interface| interface.breaking().is_some());
    match &impact.interface {
        Some(interface) if is_new => lines.extend(first(interface)),
        Some(interface) => lines.push(change(interface)),
        None => {}
    }
    let is_telling = matches!(kind, "update" | "move" | "uninstall");
    let is_told = |outcome: &&Outcome| {
        is_telling
            || outcome.ends_requests
            || matches!(outcome.mailbox, Mailbox::Drained | Mailbox::Dropped | Mailbox::DroppedInStore)
    };
    let outcome = impact.outcome.as_ref().filter(is_told).and_then(Outcome::text);
    let loses = impact.outcome.is_some_and(|outcome| outcome.state == State::Removed);
    let (label, style) = if loses { ("loses", Style::Bad) } else { ("keeps", Style::Plain) };
    lines.extend(outcome.map(|text| labelled(label, style, &text)));
    match (breaks, impact.callers.is_empty()) {
        (true, true) => lines.push(labelled("breaks", Style::Plain, "nobody here sends to it or depends on it")),
        (true, false) => lines.push(labelled("breaks", Style::Bad, &neighbours(&impact.callers))),
        (false, false) => lines.push(labelled("used by", Style::Plain, &neighbours(&impact.callers))),
        (false, true) => {}
    }
    if is_telling && !impact.callees.is_empty() {
        lines.push(labelled("uses", Style::Plain, &neighbours(&impact.callees)));
    }
    lines
}

/// What a component brings with it that was not there before.
fn first(interface: &Interface) -> Vec<Line> {
    let mut lines = Vec::new();
    if !interface.imports.is_empty() {
        lines.push(labelled("imports", Style::Plain, &list(&interface.imports)));
    }
    if !interface.exports.is_empty() {
        let line = labelled("exports", Style::Plain, &list(&interface.exports));
        let not_called = &interface.not_called;
        let note = format!("  (not called by this host: {})", list(not_called));
        lines.push(if not_called.is_empty() { line } else { line.and(Style::Dim, note) });
    }
    lines
}

fn change(interface: &Interface) -> Line {
    let Some(Comparison { verdict, exports, imports }) = &interface.change else {
        return labelled("interface", Style::Change, "not known before: what it replaces was committed without it");
    };
    let style = match verdict {
        Verdict::Identical => Style::Dim,
        Verdict::Additive => Style::Plain,
        Verdict::Breaking => Style::Bad,
    };
    let parts = [("", exports), ("imports ", imports)];
    let parts = parts.iter().filter(|(_, changes)| !changes.is_empty());
    let parts: Vec<String> = parts.map(|(side, changes)| format!("{side}{}", signed(changes))).collect();
    let line = labelled("interface", style, verdict.as_str());
    if parts.is_empty() { line } else { line.and(Style::Plain, format!(" ({})", parts.join("; "))) }
}

/// What goes comes first: it matters most.
fn signed(changes: &Changes) -> String {
    let Changes { added, removed, changed } = changes;
    let removed = removed.iter().map(|name| format!("- {name}"));
    let changed = changed.iter().map(|changed| format!("~ {}", changed.name));
    let added = added.iter().map(|name| format!("+ {name}"));
    list(&removed.chain(changed).chain(added).collect::<Vec<_>>())
}

fn neighbours(neighbours: &Neighbours) -> String {
    let Neighbours { named, left_out } = neighbours;
    let texts: Vec<String> = named.iter().map(neighbour).collect();
    with_more(&texts, *left_out)
}

/// `alerter (link alarm, depends-on)`.
fn neighbour(neighbour: &Neighbour) -> String {
    let Neighbour { name, links, depends_on } = neighbour;
    let links = links.iter().map(|link| format!("link {link}"));
    let how: Vec<String> = links.chain(depends_on.then(|| "depends-on".to_owned())).collect();
    format!("{name} ({})", how.join(", "))
}

fn list(texts: &[String]) -> String {
    with_more(texts, 0)
}

fn with_more(texts: &[String], left_out: usize) -> String {
    let more = texts.len().saturating_sub(MAX_LISTED) + left_out;
    let shown = texts.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
