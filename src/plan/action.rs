//! Owns the action: what is done to one installation, why, and everything that doing it needs.
//!
//! Plain data. What the actions are is decided in `decide`, their order in `order`; nothing here acts.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::approval::{Approval, ApprovalName};
use super::change::Deltas;
use super::impact::Impact;
use crate::codec::Codecs;
use crate::desired::spec::{OnUninstall, Origin};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::name::{InstallationName, PackageName};
use crate::observed::Installed;
use crate::permission::Permissions;
use crate::record::{ArtifactIdentity, Record};
use crate::resolution::Refusal;

/// What is done to one installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is not installed and will be.
    Install,
    /// Another artifact takes over.
    Update,
    /// The same artifact goes on under another spec, other permissions or other limits.
    Reconfigure,
    /// It should run and does not.
    Restart,
    /// It goes on under another name.
    Move,
    /// It goes away.
    Uninstall,
    /// It stays as it is, because what is wanted is unknown or must not be tried again. No effect.
    Hold,
    /// It stays as it is, because a rule forbids what is wanted. No effect.
    Blocked,
}

impl Kind {
    /// The kind in lower case, as documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Update => "update",
            Self::Reconfigure => "reconfigure",
            Self::Restart => "restart",
            Self::Move => "move",
            Self::Uninstall => "uninstall",
            Self::Hold => "hold",
            Self::Blocked => "blocked",
        }
    }

    /// Whether actions of this kind change something once they are approved.
    pub fn has_effect(self) -> bool {
        !matches!(self, Self::Hold | Self::Blocked)
    }
}

/// Why an action is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Kebab-case, from an open set: readers treat an unknown one as "some reason".
    pub code: Cow<'static, str>,
    /// One sentence without a full stop.
    pub message: String,
    /// What to do next; may span lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Reason {
    /// A reason without a hint.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into(), hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<&Refusal> for Reason {
    fn from(refusal: &Refusal) -> Self {
        let Refusal { code, message, hint } = refusal;
        Self { code: Cow::Owned(code.clone()), message: message.clone(), hint: hint.clone() }
    }
}

/// Where a person finds what an action comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The desired file's name, escaped.
    pub file: String,
    /// Line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl Location {
    /// The file as a whole.
    pub fn file(file: &str) -> Self {
        Self { file: file.to_owned(), line: None }
    }

    /// The first of `keys` that is written, else the file as a whole.
    pub fn of(origin: &Origin, keys: &[&str]) -> Self {
        let line = keys.iter().find_map(|key| origin.lines.get(*key)).copied();
        Self { file: origin.file.clone(), line }
    }

    /// Where `key` is written, or what it stands in when it has no line of its own.
    pub fn near(origin: &Origin, key: &str) -> Self {
        Self { file: origin.file.clone(), line: origin.line_near(key) }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// What an installation is before or after an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The signed name.
    pub package: PackageName,
    /// The signed version.
    pub version: semver::Version,
    /// The signed sequence.
    pub sequence: u64,
    /// Digest of the wasm.
    pub wasm: Digest,
    /// [`Record::target_digest`]; none where the plan got no further than the artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Digest>,
    /// The trust rule.
    pub publisher: String,
    /// Whose signatures counted.
    pub signers: BTreeSet<PublicKey>,
    /// What it may do; what it asks for where the plan got no further than the artifact.
    pub permissions: Permissions,
    /// The codecs that its manifest declares; none means all.
    #[serde(skip_serializing_if = "Codecs::is_empty")]
    pub codecs: Codecs,
    /// Whether it runs.
    pub enabled: bool,
}

impl Summary {
    /// Of something installed.
    pub fn installed(installed: &Installed) -> Self {
        Self::record(&installed.record, installed.target)
    }

    /// Of a record with its target digest.
    pub fn record(record: &Record, target: Digest) -> Self {
        let artifact = Self::artifact(&record.artifact, record.spec.enabled);
        Self { target: Some(target), permissions: record.effective.clone(), ..artifact }
    }

    /// Of an artifact that does not come so far as to be a record.
    pub fn artifact(artifact: &ArtifactIdentity, enabled: bool) -> Self {
        let ArtifactIdentity {
            package,
            version,
            sequence,
            manifest: _,
            signature: _,
            wasm,
            wasm_size: _,
            publisher,
            signers,
            ask,
            codecs,
            expires: _,
            stateless: _,
            metadata: _,
        } = artifact;
        Self {
            package: package.clone(),
            version: version.clone(),
            sequence: *sequence,
            wasm: *wasm,
            target: None,
            publisher: publisher.clone(),
            signers: signers.clone(),
            permissions: ask.clone(),
            codecs: codecs.clone(),
            enabled,
        }
    }
}

/// Which storage an installation gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// The next unused id: there is nothing to keep.
    New,
    /// The one it has, or the one of the installation that it was.
    Keep(u64),
}

/// What becomes of the running instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Instance {
    /// A new one is prepared and takes over, whether or not one runs now.
    Fresh,
    /// Whatever runs or stands still goes on doing so.
    Keep,
    /// The one that runs goes on, and is told its new config.
    Reconfigure,
    /// It stops; installation, storage and mailbox stay.
    Stop,
}

/// What to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Commit a record under the action's name.
    Commit(Commit),
    /// Start a fresh instance of what is committed; the generation stays as it is.
    Restart {
        /// What is committed.
        record: Arc<Record>,
    },
    /// Take the installation out of the generation and stop it.
    Uninstall {
        /// The storage that is left behind, or removed.
        storage_id: u64,
        /// What becomes of it: what the last committed spec says.
        storage: OnUninstall,
    },
}

impl Effect {
    /// What takes away what is installed.
    pub(super) fn uninstall(have: &Installed) -> Self {
        Self::Uninstall { storage_id: have.storage_id, storage: have.record.spec.on_uninstall }
    }
}

/// A record to commit, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The complete new record.
    pub record: Arc<Record>,
    /// Its target digest.
    pub target: Digest,
    /// Which storage it gets.
    pub storage: Storage,
    /// What becomes of the running instance.
    pub instance: Instance,
    /// The name that goes away in the same commit.
    pub moved_from: Option<InstallationName>,
}

/// One approval that an action needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NeededApproval {
    /// What is approved.
    pub name: ApprovalName,
    /// Why it is needed, one sentence without a full stop.
    pub why: String,
    /// Whether it was given for exactly this action.
    pub given: bool,
}

/// What is done to one installation, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The installation.
    pub name: InstallationName,
    /// What is done.
    pub kind: Kind,
    /// What would be done if nothing stood in the way; the same as `kind` when nothing does.
    pub wanted: Kind,
    /// Why.
    pub reason: Reason,
    /// Where it comes from.
    pub location: Location,
    /// What is installed; for a move, under the old name.
    pub before: Option<Summary>,
    /// What is wanted, as far as it is known.
    pub after: Option<Summary>,
    /// What differs.
    pub deltas: Deltas,
    /// What it does to interface, state and messages, and whom it touches.
    pub impact: Impact,
    /// What a person should know before saying yes; sentences without a full stop.
    pub risks: Vec<String>,
    /// What it needs before it is carried out.
    pub approvals: Vec<NeededApproval>,
    /// What to carry out; none for [`Kind::Hold`] and [`Kind::Blocked`].
    pub effect: Option<Effect>,
}

impl Action {
    /// Whether it will be carried out: it has an effect and every approval that it needs.
    pub fn is_ready(&self) -> bool {
        self.effect.is_some() && !self.waits_for_approval()
    }

    /// Whether only an approval is missing.
    pub fn waits_for_approval(&self) -> bool {
        self.effect.is_some() && self.approvals.iter().any(|approval| !approval.given)
    }

    /// Takes the effect away, and says why. What is known about the action stays.
    pub fn stop(&mut self, kind: Kind, reason: Reason) {
        debug_assert!(!kind.has_effect(), "only holding and blocking have no effect");
        self.kind = kind;
        self.reason = reason;
        self.effect = None;
        self.approvals.clear();
        self.impact.outcome = None;
    }

    /// What approvals are bound to: name, kind, what is there and exactly what replaces it.
    ///
    /// Reasons, texts and places are left out, and so is what becomes of the running instance: none of
    /// them is what an operator agrees to, and some change while nothing else does.
    pub fn digest(&self) -> Digest {
        let (storage, moved_from) = match &self.effect {
            Some(Effect::Commit(commit)) => (Some(commit.storage), commit.moved_from.as_ref()),
            // What becomes of the storage is part of what is there, and so of `before`.
            Some(Effect::Uninstall { storage_id, storage: _ }) => (Some(Storage::Keep(*storage_id)), None),
            Some(Effect::Restart { .. }) | None => (None, None),
        };
        let before = self.before.as_ref().and_then(|summary| summary.target);
        let after = self.after.as_ref().and_then(|summary| summary.target);
        let parts = ("airssys-action-v1", &self.name, self.kind, before, after, storage, moved_from);
        Digest::of(&serde_json::to_vec(&parts).expect("names, digests and numbers are JSON"))
    }

    /// Asks for an approval, which counts as given when `given` holds it for exactly this action.
    pub fn need(&mut self, name: ApprovalName, why: String, given: &BTreeSet<Approval>) {
        let approval = Approval { name, action: self.digest() };
        let is_given = given.contains(&approval);
        self.approvals.push(NeededApproval { name: approval.name, why, given: is_given });
    }
}
