//! Owns the outcome of resolving a spec: an artifact that may run, or why there is none.
//!
//! A value that `reconcile::resolve` fills and `plan` reads; it reads nothing itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::LimitOverrides;
use crate::record::ArtifactIdentity;

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

/// A verified artifact that a spec could run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which bytes, and whose.
    pub artifact: ArtifactIdentity,
    /// The most that the publisher's trust rule lets this package have.
    pub permissions_max: crate::permission::Permissions,
    /// Limits that the manifest suggests.
    pub limits: LimitOverrides,
}

/// Why an artifact is refused or missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
