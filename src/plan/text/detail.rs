//! Owns the lines below an action's headline: why, what is risky, what differs.
//!
//! What is the same is not mentioned, and what follows from something else is said once. The document for
//! programs has it all.

use super::{Line, Style, impact};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::plan::action::{Action, Kind, Summary};
use crate::plan::approval::ApprovalName;
use crate::plan::change::{Deltas, NamedChange, Pair, PermissionDelta, SetDelta};
use crate::plan::diff::{ConfigDiff, MAX_COMPARED_LINES, Side};

/// Width of the labels, in characters.
const LABEL_WIDTH: usize = 12;

pub(super) fn lines(action: &Action) -> Vec<Line> {
    let mut lines = vec![why(action)];
    if let Some(hint) = &action.reason.hint {
        lines.extend(
            hint.lines()
                .enumerate()
                .map(|(index, text)| labelled(if index == 0 { "help" } else { "" }, Style::Plain, text)),
        );
    }
    // Why a delete waits stands once, in the line of the guard.
    for approval in action.approvals.iter().filter(|approval| approval.name != ApprovalName::Delete) {
        let (label, style) = if approval.given { ("approved", Style::Plain) } else { ("approval", Style::Bad) };
        lines.push(labelled(label, style, &format!("{}: {}", approval.name, approval.why)));
    }
    lines.extend(action.risks.iter().map(|risk| labelled("risk", Style::Change, risk)));
    if action.wanted == Kind::Install {
        lines.extend(action.after.as_ref().map(signed));
        let codecs = action.after.iter().map(|after| &after.codecs).filter(|codecs| !codecs.is_empty());
        lines.extend(codecs.map(|codecs| labelled("codecs", Style::Plain, &codecs.to_string())));
    }
    lines.extend(impact::lines(&action.impact, action.kind.as_str(), action.before.is_none()));
    lines.extend(deltas(action));
    lines
}

/// Whose work a first install is: nothing else asks an operator about it.
fn signed(after: &Summary) -> Line {
    let keys = after.signers.iter().map(PublicKey::short).collect::<Vec<_>>().join(", ");
    labelled("package", Style::Plain, &format!("{}, signed by {} ({keys})", after.package, after.publisher))
}

fn why(action: &Action) -> Line {
    let place = if action.location.file.is_empty() { String::new() } else { format!("{}: ", action.location) };
    let line = labelled("why", Style::Dim, &place).and(Style::Plain, &action.reason.message);
    line.and(Style::Dim, format!("  [{}]", action.reason.code))
}

pub(super) fn labelled(label: &str, style: Style, text: &str) -> Line {
    Line::new(Style::Dim, format!("      {label:<LABEL_WIDTH$}")).and(style, text)
}

pub(super) fn deltas(action: &Action) -> Vec<Line> {
    let Deltas {
        package,
        version,
        sequence,
        wasm,
        manifest,
        signature,
        publisher,
        signers,
        permissions,
        ask,
        codecs,
        grant,
        without,
        enabled,
        limits,
        limits_written,
        links,
        depends_on,
        triggers,
        subscriptions,
        supervision,
        breaker,
        on_uninstall,
        delivery,
        mode,
        source,
        require,
        moved_from,
        config,
        secrets,
    } = &action.deltas;
    let mut lines = permission_lines(permissions, action.kind);
    lines.extend(pair("publisher", publisher, Clone::clone));
    lines.extend(pair("signers", signers, |keys| keys.iter().map(PublicKey::short).collect::<Vec<_>>().join(", ")));
    lines.extend(pair("package", package, ToString::to_string));
    // With another version stands another sequence, with other wasm another manifest, and so on.
    lines.extend(pair("sequence", sequence, ToString::to_string).filter(|_| version.is_none()));
    let digests = [pair("wasm", wasm, Digest::short), pair("manifest", manifest, Digest::short)];
    lines.extend(digests.into_iter().chain([pair("signature", signature, Digest::short)]).flatten().next());
    lines.extend(pair("codecs", codecs, ToString::to_string));
    lines.extend(pair("enabled", enabled, ToString::to_string));
    lines.extend(pair("source", source, Clone::clone));
    lines.extend(pair("delivery", delivery, |delivery| delivery.as_str().to_owned()));
    lines.extend(pair("permissions", mode, |mode| mode.as_str().to_owned()));
    let triggers_text = |texts: &Vec<String>| if texts.is_empty() { "none".to_owned() } else { texts.join(", ") };
    lines.extend(pair("trigger", triggers, triggers_text));
    if action.wanted != Kind::Move {
        lines.extend(pair("moved-from", moved_from, |name| {
            name.as_ref().map_or("not written".to_owned(), ToString::to_string)
        }));
    }
    for (label, changes) in [("limits", limits), ("limits", limits_written), ("links", links), ("require", require)] {
        lines.extend(changes.iter().map(|change| named(label, change)));
    }
    lines.extend(supervision.iter().map(|change| named("supervision", change)));
    lines.extend(breaker.iter().map(|change| named("breaker", change)));
    lines.extend(pair("uninstall", on_uninstall, |what| what.as_str().to_owned()));
    lines.extend(set_lines("depends-on", depends_on));
    lines.extend(set_lines("subscribes", subscriptions));
    // What is asked and granted shows in what the component may do; here is only what makes no difference there.
    let PermissionDelta { added, widened, narrowed, removed } = permissions;
    let is_shown = |text: &String| [added, widened, narrowed, removed].iter().any(|list| list.contains(text));
    for (label, set) in [("asks", ask), ("grant", grant), ("without", without)] {
        let rest = |texts: &[String]| texts.iter().filter(|text| !is_shown(text)).cloned().collect();
        lines.extend(set_lines(label, &SetDelta { added: rest(&set.added), removed: rest(&set.removed) }));
    }
    lines.extend(config.iter().flat_map(config_lines));
    lines.extend(secrets.iter().map(secret));
    lines
}

fn pair<T>(label: &str, change: &Option<Pair<T>>, text: impl Fn(&T) -> String) -> Option<Line> {
    let Pair { before, after } = change.as_ref()?;
    Some(labelled(label, Style::Plain, &format!("{} -> {}", text(before), text(after))))
}

/// What the component may do, or would: the part of a plan that must not be overlooked.
fn permission_lines(delta: &PermissionDelta, kind: Kind) -> Vec<Line> {
    let PermissionDelta { added, widened, narrowed, removed } = delta;
    let label = if kind.has_effect() { "may" } else { "would" };
    let parts = [
        ("+ ", Style::Add, added, ""),
        ("+ ", Style::Add, widened, "  (wider)"),
        ("~ ", Style::Change, narrowed, "  (narrower)"),
        ("- ", Style::Remove, removed, ""),
    ];
    let lines = parts.iter().flat_map(|(sign, style, entries, note)| {
        entries.iter().map(move |entry| labelled(label, *style, &format!("{sign}{entry}")).and(Style::Dim, note))
    });
    lines.collect()
}

fn named(label: &str, change: &NamedChange) -> Line {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not written".to_owned());
    let text = format!("{} {} -> {}", change.name, value(&change.before), value(&change.after));
    labelled(label, Style::Plain, &text)
}

/// `config.token ***(a1b2c3) -> ***(d4e5f6)`; only one fingerprint where there is no other.
fn secret(change: &NamedChange) -> Line {
    let NamedChange { name, before, after } = change;
    let sides: Vec<&str> = before.iter().chain(after).map(String::as_str).collect();
    let gone = if after.is_none() { " -> none" } else { "" };
    labelled("secret", Style::Plain, &format!("{name} {}{gone}", sides.join(" -> ")))
}

fn set_lines(label: &str, set: &SetDelta) -> Vec<Line> {
    let SetDelta { added, removed } = set;
    let added = added.iter().map(|text| labelled(label, Style::Add, &format!("+ {text}")));
    let removed = removed.iter().map(|text| labelled(label, Style::Remove, &format!("- {text}")));
    added.chain(removed).collect()
}

fn config_lines(diff: &ConfigDiff) -> Vec<Line> {
    let ConfigDiff { lines, left_out } = diff;
    if lines.is_empty() {
        let text = format!("differs; more than {MAX_COMPARED_LINES} lines are not compared");
        return vec![labelled("config", Style::Plain, &text)];
    }
    let mut shown: Vec<Line> = Vec::with_capacity(lines.len() + 1);
    for (index, line) in lines.iter().enumerate() {
        let label = if index == 0 { "config" } else { "" };
        let (style, sign) = match line.side {
            Side::Both => (Style::Dim, "  "),
            Side::Before => (Style::Remove, "- "),
            Side::After => (Style::Add, "+ "),
            Side::Gap => (Style::Dim, "  ..."),
        };
        shown.push(labelled(label, style, &format!("{sign}{}", line.text)));
    }
    if *left_out > 0 {
        shown.push(labelled("", Style::Dim, &format!("  ({left_out} more lines)")));
    }
    shown
}
