//! The plan document as types, for its schema. The plan itself borrows what it shows, and has none.

use schemars::JsonSchema;
use serde_json::Value;

use super::forms::{Codec, Permissions};
use crate::observed::room::Asked;
use crate::plan::impact::Impact;

/// What a pass would do, in order.
#[derive(JsonSchema)]
pub struct PlanDocument {
    /// `airssys-wasm/plan/v1`.
    #[schemars(rename = "$type")]
    pub document_type: String,
    /// The plan's name: equal plans have equal digests.
    pub plan_digest: String,
    /// What the starts for which there is room may take; absent where there are none. No part of the digest.
    pub room: Option<Asked>,
    /// The generation that it starts from.
    pub parent_generation: u64,
    /// Its digest; none before the first one.
    #[schemars(required)]
    pub parent_digest: Option<String>,
    /// Whether a host runs the set.
    pub is_live: bool,
    /// 0: nothing to do, 10: changes, 11: some need an approval, 12: something is held, blocked or unreadable.
    pub exit_code: u8,
    /// How many actions of each kind.
    pub summary: Totals,
    /// First what is carried out, in order, then what has no effect.
    pub actions: Vec<Action>,
    /// Rules that were applied to the plan as a whole.
    pub guards: Vec<Guard>,
    /// Files that could not be used, and a directory that could not be listed.
    pub errors: Vec<FileError>,
    /// Names whose held target is no longer wanted.
    pub released: Vec<String>,
}

/// How many actions of each kind.
#[derive(JsonSchema)]
pub struct Totals {
    /// Will be installed.
    pub install: usize,
    /// Will be updated.
    pub update: usize,
    /// Will be reconfigured.
    pub reconfigure: usize,
    /// Will be restarted.
    pub restart: usize,
    /// Will be moved.
    pub r#move: usize,
    /// Will be uninstalled.
    pub uninstall: usize,
    /// Are as wanted.
    pub unchanged: usize,
    /// Wait for an approval.
    pub need_approval: usize,
    /// Are held.
    pub hold: usize,
    /// Are blocked.
    pub blocked: usize,
}

/// What is done to one installation, and why.
#[derive(JsonSchema)]
pub struct Action {
    /// The installation.
    pub name: String,
    /// What is done: install, update, reconfigure, restart, move, uninstall, hold or blocked. More may come.
    pub kind: String,
    /// What would be done if nothing stood in the way.
    pub wanted: String,
    /// Whether it will be carried out.
    pub will_run: bool,
    /// Why.
    pub reason: Reason,
    /// Where it comes from.
    pub location: Location,
    /// What is installed.
    pub before: Option<Summary>,
    /// What is wanted.
    pub after: Option<Summary>,
    /// What differs.
    pub deltas: Deltas,
    /// What it does to interface, state and messages, and whom it touches.
    #[serde(flatten)]
    pub impact: Impact,
    /// What a person should know before saying yes.
    pub risks: Vec<String>,
    /// What it needs before it is carried out.
    pub approvals_required: Vec<NeededApproval>,
    /// `new`, `keep` or `remove`.
    pub storage: Option<String>,
    /// The storage that is kept.
    pub storage_id: Option<u64>,
    /// What becomes of the running instance: `fresh`, `keep`, `reconfigure` or `stop`.
    pub instance: Option<String>,
    /// The name that it had before.
    pub moved_from: Option<String>,
    /// What approvals are bound to.
    pub digest: String,
}

/// Why an action is what it is.
#[derive(JsonSchema)]
pub struct Reason {
    /// Kebab-case, from an open set.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// Where a person finds what an action comes from.
#[derive(JsonSchema)]
pub struct Location {
    /// The desired file's name.
    pub file: String,
    /// Line, from 1.
    pub line: Option<u32>,
}

/// What an installation is before or after an action.
#[derive(JsonSchema)]
pub struct Summary {
    /// The signed name.
    pub package: String,
    /// The signed version.
    pub version: String,
    /// The signed sequence.
    pub sequence: u64,
    /// Digest of the wasm.
    pub wasm: String,
    /// Digest of the spec with its resolved revision.
    pub target: Option<String>,
    /// The trust rule.
    pub publisher: String,
    /// Whose signatures counted.
    pub signers: Vec<String>,
    /// What it may do.
    pub permissions: Permissions,
    /// The codecs that its manifest declares; absent: all.
    pub codecs: Option<Vec<Codec>>,
    /// Whether it runs.
    pub enabled: bool,
}

/// One value before and after.
#[derive(JsonSchema)]
pub struct Pair {
    /// What it was.
    pub before: Value,
    /// What it becomes.
    pub after: Value,
}

/// A set before and after.
#[derive(JsonSchema)]
pub struct SetDelta {
    /// Only after.
    pub added: Vec<String>,
    /// Only before.
    pub removed: Vec<String>,
}

/// How what a component may do changes.
#[derive(JsonSchema)]
pub struct PermissionDelta {
    /// New, and allows what nothing allowed before.
    pub added: Vec<String>,
    /// New, and includes one that goes away.
    pub widened: Vec<String>,
    /// New, and allows less than one that goes away.
    pub narrowed: Vec<String>,
    /// Goes away.
    pub removed: Vec<String>,
}

/// A named value that is set, unset or changed.
#[derive(JsonSchema)]
pub struct NamedChange {
    /// As files write it.
    pub name: String,
    /// What it was.
    pub before: Option<String>,
    /// What it becomes.
    pub after: Option<String>,
}

/// What differs between what is installed and what is wanted. Absent: no difference.
#[derive(JsonSchema)]
pub struct Deltas {
    /// Another package.
    pub package: Option<Pair>,
    /// The signed version.
    pub version: Option<Pair>,
    /// The signed sequence.
    pub sequence: Option<Pair>,
    /// The wasm.
    pub wasm: Option<Pair>,
    /// The manifest's bytes.
    pub manifest: Option<Pair>,
    /// The signature file's bytes.
    pub signature: Option<Pair>,
    /// The trust rule.
    pub publisher: Option<Pair>,
    /// Whose signatures counted.
    pub signers: Option<Pair>,
    /// What the component may do.
    pub permissions: Option<PermissionDelta>,
    /// What the manifest asks for.
    pub ask: Option<SetDelta>,
    /// The codecs that the manifest declares; none means all.
    pub codecs: Option<Pair>,
    /// What the operator grants.
    pub grant: Option<SetDelta>,
    /// What the operator declines on purpose.
    pub without: Option<SetDelta>,
    /// Whether it runs.
    pub enabled: Option<Pair>,
    /// The limits that it runs under.
    pub limits: Option<Vec<NamedChange>>,
    /// Limits that are written or no longer written, at the same value.
    pub limits_written: Option<Vec<NamedChange>>,
    /// Which installations its links mean.
    pub links: Option<Vec<NamedChange>>,
    /// What must be ready before it starts.
    pub depends_on: Option<SetDelta>,
    /// Messages that the host sends by itself.
    pub triggers: Option<Pair>,
    /// The topics that it takes from its start on.
    pub subscriptions: Option<SetDelta>,
    /// What happens after a crash.
    pub supervision: Option<Vec<NamedChange>>,
    /// When it stops sending to a target whose messages end badly.
    pub breaker: Option<Vec<NamedChange>>,
    /// What becomes of its storage when it is uninstalled.
    pub on_uninstall: Option<Pair>,
    /// Whether its messages outlive the host.
    pub delivery: Option<Pair>,
    /// What becomes of what it asks for and is not granted.
    pub mode: Option<Pair>,
    /// Where the artifact comes from.
    pub source: Option<Pair>,
    /// Conditions on the artifact.
    pub require: Option<Vec<NamedChange>>,
    /// The name that it had before.
    pub moved_from: Option<Pair>,
    /// What reaches `init`.
    pub config: Option<ConfigDiff>,
    /// Secrets in it whose content is another, by fingerprints.
    pub secrets: Option<Vec<NamedChange>>,
}

/// A change of `[config]`.
#[derive(JsonSchema)]
pub struct ConfigDiff {
    /// The lines around the changes.
    pub lines: Vec<DiffLine>,
    /// Lines that were left out because there were too many.
    pub left_out: usize,
}

/// One line of a diff.
#[derive(JsonSchema)]
pub struct DiffLine {
    /// Which side has it: `both`, `before`, `after`, or `gap` where lines are left out.
    pub side: String,
    /// The line.
    pub text: String,
}

/// One approval that an action needs.
#[derive(JsonSchema)]
pub struct NeededApproval {
    /// What is approved.
    pub name: String,
    /// Why it is needed.
    pub why: String,
    /// Whether it was given for exactly this action.
    pub given: bool,
}

/// A rule that was applied to the plan as a whole.
#[derive(JsonSchema)]
pub struct Guard {
    /// Which rule.
    pub name: String,
    /// What was counted.
    pub value: usize,
    /// Against which number.
    pub of: usize,
    /// The rule in words.
    pub limit: String,
    /// Whether it lets the plan pass.
    pub ok: bool,
}

/// A file that could not be used.
#[derive(JsonSchema)]
pub struct FileError {
    /// Which file; none for the directory.
    pub file: Option<String>,
    /// What is wrong with it.
    pub message: String,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
}
