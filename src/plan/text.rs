//! Owns the plan as text: what happens, then what is risky about it, then what the change is in detail.
//!
//! Pieces carry a meaning and no colour. Whatever came from a file, a manifest or an error is escaped
//! here, once more, so that nothing in it can pass for a line of the plan.

mod detail;
mod impact;
pub mod markdown;
mod symbol;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use symbol::Symbol;

use super::action::{Action, Effect, Instance, Kind, Storage, Summary};
use super::approval::ApprovalName;
use super::impact::Impact;
use super::{Plan, Totals};
use crate::escape::escape;

/// Widest column of names, in characters; longer names push the rest of their line.
const MAX_NAME_COLUMN: usize = 28;
/// Widest column of versions, in characters.
const MAX_VERSION_COLUMN: usize = 20;
/// Most unreadable files that are listed one by one.
const MAX_LISTED_FILES: usize = 50;

/// The command that carries out what is asked for, where nothing else is known.
pub const APPLY: &str = "airssys-wasm apply";

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Nothing in particular.
    Plain,
    /// Something comes.
    Add,
    /// Something changes, or wants a look.
    Change,
    /// Something goes.
    Remove,
    /// Something is wrong, or waits for a person.
    Bad,
    /// Steps back.
    Dim,
    /// Steps forward.
    Strong,
}

/// A piece of a line. Holds no control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What it means.
    pub style: Style,
    /// The text.
    pub text: String,
}

/// One line, without its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The pieces, in order.
    pub spans: Vec<Span>,
}

impl Line {
    /// A line of one piece.
    fn new(style: Style, text: impl AsRef<str>) -> Self {
        Self::default().and(style, text)
    }

    /// Adds a piece.
    #[must_use]
    fn and(mut self, style: Style, text: impl AsRef<str>) -> Self {
        self.spans.push(Span { style, text: escape(text.as_ref()) });
        self
    }

    /// The text without its meaning.
    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }
}

/// What differs in an action, one line each, for other texts than a plan's.
pub(super) fn detail_lines(action: &Action) -> Vec<String> {
    bare(&detail::deltas(action))
}

/// What an action does to others, one line each, for other texts than a plan's; as [`impact::lines`].
pub(super) fn impact_lines(impact: &Impact, kind: &str, is_new: bool) -> Vec<String> {
    bare(&impact::lines(impact, kind, is_new))
}

fn bare(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.text().trim_start().to_owned()).collect()
}

impl Plan {
    /// The plan as lines for a person.
    pub fn lines(&self) -> Vec<Line> {
        self.lines_for(APPLY)
    }

    /// The plan as lines for a person who would carry it out with the command `apply`.
    pub fn lines_for(&self, apply: &str) -> Vec<Line> {
        let totals = self.totals();
        let mut lines = vec![self.title()];
        lines.extend(self.desired.iter().map(|desired| Line::new(Style::Dim, format!("desired: {desired}"))));
        lines.extend(self.legend());
        lines.extend(self.warnings(&totals));
        let columns = Columns::of(self);
        for action in &self.actions {
            lines.push(headline(action, &columns));
            lines.extend(detail::lines(action));
        }
        if totals.unchanged > 0 {
            lines.push(Line::new(Style::Dim, format!("=   {} unchanged", totals.unchanged)));
        }
        for name in &self.released {
            lines.push(Line::new(
                Style::Dim,
                format!("=   {name}: what was held back is no longer wanted, so its hold ends"),
            ));
        }
        lines.extend(self.guard_lines());
        lines.extend(self.room.text().map(|text| Line::new(Style::Dim, format!("room   {text}"))));
        lines.push(Line::new(Style::Strong, summary(&totals)));
        // Bound to what is shown here: an artifact that comes meanwhile is not approved unseen.
        lines.extend(self.missing_approvals(&format!("{apply} --plan {}", self.digest().short())));
        lines
    }

    /// The plan as plain text.
    pub fn text(&self) -> String {
        self.lines().iter().fold(String::new(), |mut text, line| {
            writeln!(text, "{}", line.text()).expect("a string takes every write");
            text
        })
    }

    fn title(&self) -> Line {
        let from = match (self.generation, self.is_live) {
            (0, _) => "nothing is installed yet".to_owned(),
            (generation, true) => format!("from generation {generation}"),
            (generation, false) => format!("from generation {generation}; no host is running"),
        };
        Line::new(Style::Strong, format!("plan {}", self.digest().short())).and(Style::Dim, format!("  {from}"))
    }

    /// Explains the symbols that this plan uses, and no others.
    fn legend(&self) -> Option<Line> {
        let used: BTreeSet<Symbol> = self.actions.iter().map(Symbol::of).collect();
        let meanings: Vec<String> =
            used.iter().map(|symbol| format!("{} {}", symbol.as_str(), symbol.meaning())).collect();
        (!meanings.is_empty()).then(|| Line::new(Style::Dim, format!("    {}", meanings.join("   "))))
    }

    /// What matters before any single action.
    fn warnings(&self, totals: &Totals) -> Vec<Line> {
        let mut lines = Vec::new();
        if !self.is_complete {
            lines.push(Line::new(Style::Bad, "!   the directory could not be listed completely: nothing is deleted"));
        }
        if !self.unreadable.is_empty() {
            let count = self.unreadable.len();
            let files = if count == 1 { "1 file is" } else { &format!("{count} files are") };
            let text = format!("!   {files} unreadable, and it is not known what they define: nothing is deleted");
            lines.push(Line::new(Style::Bad, text));
            for problem in self.unreadable.iter().take(MAX_LISTED_FILES).filter_map(|bad| bad.problems.first()) {
                lines.push(Line::new(Style::Plain, format!("      {}", problem.one_line())));
            }
            if count > MAX_LISTED_FILES {
                lines.push(Line::new(Style::Plain, format!("      and {} more", count - MAX_LISTED_FILES)));
            }
        }
        if totals.need_approval > 0 {
            let needs = if totals.need_approval == 1 {
                "1 change needs"
            } else {
                &format!("{} changes need", totals.need_approval)
            };
            lines.push(Line::new(
                Style::Bad,
                format!("!   {needs} approval and will not be carried out: {}", self.missing_kinds()),
            ));
        }
        lines
    }

    /// `1 permission, 2 signer`: how many approvals of each kind are missing.
    fn missing_kinds(&self) -> String {
        let missing = self.actions.iter().flat_map(|action| action.approvals.iter().filter(|approval| !approval.given));
        let (mut permissions, mut signers, mut breaking, mut deletes) = (0, 0, 0, 0);
        for approval in missing {
            match approval.name {
                ApprovalName::Permission(_) => permissions += 1,
                ApprovalName::Signer(_) => signers += 1,
                ApprovalName::Breaking(_) => breaking += 1,
                ApprovalName::Delete => deletes += 1,
            }
        }
        let kinds = [(permissions, "permission"), (signers, "signer"), (breaking, "breaking"), (deletes, "delete")];
        let kinds = kinds.into_iter().filter(|(count, _)| *count > 0);
        kinds.map(|(count, kind)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
    }

    fn guard_lines(&self) -> Vec<Line> {
        let is_stopped = self.actions.iter().any(|action| action.wanted == Kind::Uninstall && !action.is_ready());
        let line = |guard: &super::guard::Guard| {
            let (style, verdict) = match (guard.ok, is_stopped) {
                (true, _) => (Style::Dim, "ok"),
                (false, true) => (Style::Bad, "STOPPED"),
                (false, false) => (Style::Change, "approved"),
            };
            let text = format!("guard  {} {} of {} ({})  ", guard.name, guard.value, guard.of, guard.limit);
            Line::new(Style::Dim, text).and(style, verdict)
        };
        self.guards.iter().map(line).collect()
    }

    /// The command that gives what is missing.
    fn missing_approvals(&self, apply: &str) -> Option<Line> {
        let names = self.asked_approvals();
        (!names.is_empty())
            .then(|| Line::new(Style::Plain, "approve with:  ").and(Style::Strong, approve_command(apply, &names)))
    }
}

/// The command that gives approvals; `apply` is the command without them.
pub fn approve_command<'a>(apply: &str, names: impl IntoIterator<Item = &'a ApprovalName>) -> String {
    names.into_iter().fold(apply.to_owned(), |command, name| format!("{command} --approve {name}"))
}

/// Widths that make the headlines line up.
struct Columns {
    name: usize,
    version: usize,
}

impl Columns {
    fn of(plan: &Plan) -> Self {
        let widest = |width: &dyn Fn(&Action) -> usize, most: usize| {
            plan.actions.iter().map(width).filter(|width| *width <= most).max().unwrap_or(0)
        };
        Self {
            name: widest(&|action| action.name.as_str().len(), MAX_NAME_COLUMN),
            version: widest(&|action| versions(action).chars().count(), MAX_VERSION_COLUMN),
        }
    }
}

/// `1.4.2 -> 1.5.0`, or the one version that there is.
fn versions(action: &Action) -> String {
    match (&action.before, &action.after) {
        (Some(before), Some(after)) if before.version != after.version => {
            format!("{} -> {}", before.version, after.version)
        }
        (Some(summary), _) | (None, Some(summary)) => summary.version.to_string(),
        (None, None) => "-".to_owned(),
    }
}

fn headline(action: &Action, columns: &Columns) -> Line {
    let symbol = Symbol::of(action);
    let name = format!("{:<width$}  ", action.name, width = columns.name);
    let versions = format!("{:<width$}  ", versions(action), width = columns.version);
    let line = Line::new(symbol.style(), format!("{:<3} ", symbol.as_str())).and(Style::Strong, name);
    let line = line
        .and(Style::Plain, versions)
        .and(if action.is_ready() { Style::Plain } else { Style::Bad }, headword(action));
    match missing_approvals(action) {
        Some(missing) => line.and(Style::Bad, format!("  WAITS FOR APPROVAL {missing}")),
        None => line,
    }
}

fn missing_approvals(action: &Action) -> Option<String> {
    let missing: Vec<String> =
        action.approvals.iter().filter(|approval| !approval.given).map(|approval| approval.name.to_string()).collect();
    (!missing.is_empty()).then(|| missing.join(" "))
}

/// The effect in a few words.
fn headword(action: &Action) -> String {
    match (&action.effect, action.kind) {
        (Some(Effect::Commit(commit)), kind) => {
            let what = match kind {
                Kind::Install => "install",
                Kind::Move => "move",
                Kind::Update => "update",
                _ => "reconfigure",
            };
            let storage = match commit.storage {
                Storage::New => "empty storage",
                Storage::Keep(_) => "storage stays",
            };
            let instance = match (commit.instance, kind) {
                (Instance::Fresh, Kind::Install) => "starts",
                (Instance::Fresh, _) if action.before.as_ref().is_some_and(|before| !before.enabled) => "starts",
                (Instance::Keep, Kind::Install) => "stays stopped",
                (Instance::Fresh, _) => "a fresh instance takes over",
                (Instance::Keep, _) => "without a restart",
                (Instance::Reconfigure, _) => "the running instance is told",
                (Instance::Stop, _) => "stops",
            };
            let from = commit.moved_from.as_ref().map(|old| format!(" from {old}")).unwrap_or_default();
            format!("{what}{from}: {instance}, {storage}")
        }
        (Some(Effect::Restart { .. }), _) => "restart: a fresh instance starts, storage stays".to_owned(),
        (Some(Effect::Uninstall { storage_id, storage }), _) => {
            let what = if storage.removes() { "will be removed" } else { "is left behind" };
            format!("uninstall: stops, storage {storage_id} {what}")
        }
        (None, kind) => stays(action, kind),
    }
}

/// What it means that nothing is done.
fn stays(action: &Action, kind: Kind) -> String {
    let what = if kind == Kind::Hold { "HELD" } else { "BLOCKED" };
    let wanted = match action.wanted {
        wanted if wanted.has_effect() => format!(" {}", wanted.as_str()),
        _ => String::new(),
    };
    match &action.before {
        Some(Summary { version, .. }) => format!("{what}{wanted}: stays at {version}"),
        None => format!("{what}{wanted}: not installed"),
    }
}

/// One line that says it all.
fn summary(totals: &Totals) -> String {
    let Totals { install, update, reconfigure, restart, r#move, uninstall, unchanged, need_approval, hold, blocked } =
        *totals;
    let done = [
        (install, "to install"),
        (update, "to update"),
        (reconfigure, "to reconfigure"),
        (restart, "to restart"),
        (r#move, "to move"),
        (uninstall, "to uninstall"),
    ];
    let rest =
        [(unchanged, "unchanged"), (need_approval, "waiting for approval"), (hold, "held"), (blocked, "blocked")];
    let shown = |(count, what): &(usize, &str)| (*count > 0).then(|| format!("{count} {what}"));
    let mut parts: Vec<String> = done.iter().filter_map(shown).collect();
    if parts.is_empty() {
        parts.push("nothing to do".to_owned());
    }
    parts.extend(rest.iter().filter_map(shown));
    format!("Plan: {}.", parts.join(", "))
}
