//! Owns the rollback as a document for programs and as text for people. Both are made of the same values, so that a
//! host's rollback reads like one without a host.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Rollback;
use crate::escape::escape;
use crate::plan::action::{Action, Effect};
use crate::plan::impact::Impact;
use crate::plan::text::{detail_lines, impact_lines};
use crate::resolution::Refusal;
use crate::timestamp;

/// `$type` of [`RollbackDocument`].
pub const ROLLBACK_TYPE: &str = "airssys-wasm/rollback/v1";

/// What a rollback does or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct RollbackDocument {
    /// [`ROLLBACK_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// What names it: carrying it out can be bound to it.
    pub digest: String,
    /// The generation that it starts from.
    pub from_generation: u64,
    /// The generation that it goes back to.
    pub to_generation: u64,
    /// When that was committed, in UTC.
    pub to_written: String,
    /// The generation that carried it out; absent when nothing was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<u64>,
    /// What changes, in order.
    pub actions: Vec<RollbackAction>,
    /// How many installations stay as they are.
    pub unchanged: usize,
    /// Names that are held from then on.
    pub held: Vec<String>,
    /// Names whose hold ends.
    pub released: Vec<String>,
    /// Why it is not carried out, by name. Nothing is, when there is one.
    pub refused: Vec<RefusedName>,
}

/// What a rollback does to one installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct RollbackAction {
    /// The installation.
    pub name: String,
    /// `install`, `update`, `reconfigure`, `move` or `uninstall`.
    pub kind: String,
    /// The version now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The version after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The name that it has now, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<String>,
    /// What it does to interface, state and messages, and whom it touches, as in a plan.
    #[serde(flatten)]
    pub impact: Impact,
    /// What a person should know; sentences without a full stop.
    pub risks: Vec<String>,
    /// What differs, as plans write it.
    pub changes: Vec<String>,
}

/// Why one installation can't go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct RefusedName {
    /// The installation.
    pub name: String,
    /// Why.
    #[serde(flatten)]
    pub why: Refusal,
}

impl Rollback {
    /// The rollback as a document; `committed` is the generation that carried it out.
    pub fn document(&self, committed: Option<u64>) -> RollbackDocument {
        let names =
            |names: &mut dyn Iterator<Item = &crate::name::InstallationName>| names.map(ToString::to_string).collect();
        let refused = self.refused.iter().map(|(name, why)| RefusedName { name: name.to_string(), why: why.clone() });
        RollbackDocument {
            document: ROLLBACK_TYPE.to_owned(),
            digest: self.digest().to_string(),
            from_generation: self.generation,
            to_generation: self.to,
            to_written: timestamp::rfc3339(i64::try_from(self.to_written_unix_s).unwrap_or(i64::MAX)),
            committed,
            actions: self.actions.iter().map(action).collect(),
            unchanged: self.unchanged,
            held: names(&mut self.holds.keys()),
            released: names(&mut self.released.iter()),
            refused: refused.collect(),
        }
    }
}

fn action(action: &Action) -> RollbackAction {
    let version = |summary: &Option<crate::plan::action::Summary>| summary.as_ref().map(|s| s.version.to_string());
    let moved_from = match &action.effect {
        Some(Effect::Commit(commit)) => commit.moved_from.as_ref().map(ToString::to_string),
        _ => None,
    };
    RollbackAction {
        name: action.name.to_string(),
        kind: action.kind.as_str().to_owned(),
        before: version(&action.before),
        after: version(&action.after),
        moved_from,
        impact: action.impact.clone(),
        risks: action.risks.clone(),
        changes: detail_lines(action),
    }
}

impl RollbackDocument {
    /// Whether it can be carried out and changes something.
    pub fn is_ready(&self) -> bool {
        self.refused.is_empty() && !self.actions.is_empty()
    }

    /// The text for people. Whatever came from elsewhere is escaped once more.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let short: String = self.digest.trim_start_matches("sha256:").chars().take(12).collect();
        let _ = writeln!(
            text,
            "rollback {}  from generation {} to {}, committed {}",
            escape(&short),
            self.from_generation,
            self.to_generation,
            escape(&self.to_written)
        );
        let width = self.actions.iter().map(|action| action.name.len()).max().unwrap_or(0);
        for action in &self.actions {
            one(&mut text, action, width);
        }
        if self.unchanged > 0 {
            let _ = writeln!(text, "=   {} unchanged", self.unchanged);
        }
        for RefusedName { name, why } in &self.refused {
            let _ = writeln!(text, "!   {}  {} [{}]", escape(name), escape(&why.message), escape(&why.code));
            for line in why.hint.iter().flat_map(|hint| hint.lines()) {
                let _ = writeln!(text, "      {}", escape(line));
            }
        }
        self.conclude(&mut text);
        text
    }

    fn conclude(&self, text: &mut String) {
        let names = |names: &[String]| names.iter().map(|name| escape(name)).collect::<Vec<_>>().join(", ");
        if !self.refused.is_empty() {
            text.push_str("nothing is rolled back: all of it goes back or nothing does\n");
            return;
        }
        if self.actions.is_empty() {
            text.push_str("nothing differs, so there is nothing to do\n");
            return;
        }
        if !self.held.is_empty() {
            let until = "until its file changes or `airssys-wasm resume NAME`";
            let _ = writeln!(text, "held, {until}: {}", names(&self.held));
        }
        if !self.released.is_empty() {
            let _ = writeln!(text, "no longer held: {}", names(&self.released));
        }
        text.push_str("state is not rolled back: what components keep stays as it is now\n");
        if let Some(committed) = self.committed {
            let _ = writeln!(text, "done: generation {committed}");
        }
    }
}

fn one(text: &mut String, action: &RollbackAction, width: usize) {
    let RollbackAction { name, kind, before, after, moved_from, impact, risks, changes } = action;
    let symbol = match kind.as_str() {
        "install" => "+",
        "uninstall" => "-",
        "move" => ">",
        _ => "~",
    };
    let versions = match (before, after) {
        (Some(before), Some(after)) if before != after => format!("{before} -> {after}"),
        (_, Some(version)) | (Some(version), None) => version.clone(),
        (None, None) => String::new(),
    };
    let from = moved_from.as_ref().map_or_else(String::new, |old| format!(", now {old}"));
    let what = escape(&format!("{kind} {versions}{from}"));
    let _ = writeln!(text, "{symbol:<3} {:<width$}  {what}", escape(name));
    for risk in risks {
        let _ = writeln!(text, "      {:<12}{}", "risk", escape(risk));
    }
    for line in impact_lines(impact, kind, before.is_none()).iter().chain(changes) {
        let _ = writeln!(text, "      {}", escape(line));
    }
}
