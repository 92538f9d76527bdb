//! Owns the outcome of resolving a spec: an artifact that may run, or why there is none.
//!
//! A value that `reconcile::resolve` fills and `plan` reads; it reads nothing itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::LimitOverrides;
use crate::record::ArtifactIdentity;
use crate::surface::Surface;

/// What came of one spec's source.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// Verified, in the content store, allowed by the trust policy.
    Ready(Arc<Candidate>),
    /// Refused by a rule. Waits for a changed input; is not retried on its own.
    Refused(Refusal),
    /// Could not be had: a missing file, a half-written one. Tried again.
    Unavailable(Refusal),
}

/// What a failure asks for, by its code: the one place where that is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// May go away by itself: tried again after a wait that grows.
    Transient,
    /// Would fail again however often it is tried: waits for a changed input.
    Stalled,
    /// Must not happen: tried again as if transient, and reported as a fault of this program.
    Bug,
}

impl Class {
    /// The word in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Stalled => "stalled",
            Self::Bug => "bug",
        }
    }
}

/// Failures that wait for a changed input. Any other known one is worth another attempt.
const STALLED: &[&str] = &[
    "address-refused",
    "bad-certificate",
    "bad-credentials",
    "bad-settings",
    "content-encoding",
    "file-is-link",
    "file-name",
    "file-not-regular",
    "file-owner",
    "file-too-large",
    "file-world-writable",
    "host-not-allowed",
    "host-key-changed",
    "manifest-too-large",
    "not-a-commit",
    "not-a-directory",
    "not-a-file",
    "object-too-large",
    "offline",
    "path-refused",
    "pin-mismatch",
    "pin-required",
    "proxy-refused",
    "redirect-refused",
    "repository-too-large",
    "signature-too-large",
    "tag-moved",
    "too-many-objects",
    "tree-too-large",
    "unknown-host-key",
    "untrusted-owner",
    "wasm-too-large",
];

/// Failures that only a fault of this program explains.
const BUGS: &[&str] = &["other-artifact", "panicked", "worker-protocol"];

/// Failures to speak to a host at all: what else is on it would fail in the same way.
const UNREACHABLE: &[&str] =
    &["cannot-connect", "fetch-timeout", "no-answer", "no-such-host", "tls-failed", "worker-timeout"];

/// Whether a failure of this code says that its host can't be spoken to at all.
pub fn is_unreachable(code: &str) -> bool {
    UNREACHABLE.contains(&code)
}

/// What a failure of this code asks for.
pub fn class(code: &str) -> Class {
    if STALLED.contains(&code) {
        Class::Stalled
    } else if BUGS.contains(&code) {
        Class::Bug
    } else {
        Class::Transient
    }
}

/// The class of a verdict on what was found: only something else mends it, unless time does.
pub fn class_of_verdict(code: &str) -> Class {
    if code == "not-yet-valid" { Class::Transient } else { Class::Stalled }
}

/// A verified artifact that a spec could run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which bytes, and whose.
    pub artifact: ArtifactIdentity,
    /// The most that the publisher's trust rule lets this package have.
    pub permissions_max: crate::permission::Permissions,
    /// Limits that the manifest suggests.
    pub limits: LimitOverrides,
    /// What the source was, a commit id for instance; untrusted text.
    pub revision: Option<String>,
    /// What the component imports and exports.
    pub surface: Surface,
}

/// Why an artifact is refused or missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Refusal {
    /// Machine reason, kebab-case, from an open set: `unsigned`, `unknown-signer`, `wrong-digest`.
    pub code: String,
    /// What was attempted and why it failed: one sentence without a full stop, escaped.
    pub message: String,
    /// What to do next; may span lines.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
