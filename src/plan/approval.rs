//! Decides which actions need an operator's word before they are carried out, and what that word is.
//!
//! A first install needs none: the operator's file and a matching trust rule are the authority. Who may
//! give an approval, and how it is kept, is decided elsewhere; here it is an input.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Serialize, Serializer};

use super::action::Action;
use crate::digest::Digest;
use crate::name::InstallationName;
use crate::permission::{Decision, Permissions};
use crate::record::ArtifactIdentity;

/// What is approved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApprovalName {
    /// New permissions that the operator's file only covers by a pattern.
    Permission(InstallationName),
    /// Another signer or publisher.
    Signer(InstallationName),
    /// A delete that the guard against mass deletes stopped.
    Delete,
}

impl fmt::Display for ApprovalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission(name) => write!(f, "permission:{name}"),
            Self::Signer(name) => write!(f, "signer:{name}"),
            Self::Delete => f.write_str("delete"),
        }
    }
}

impl Serialize for ApprovalName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An operator's word for one action; worth nothing for any other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Approval {
    /// What is approved.
    pub name: ApprovalName,
    /// [`Action::digest`] of the action it is given for.
    pub action: Digest,
}

/// Adds what replacing `before` by `after` needs.
pub(super) fn require(
    action: &mut Action,
    before: (&ArtifactIdentity, &Permissions),
    after: (&ArtifactIdentity, &Decision),
    given: &BTreeSet<Approval>,
) {
    if let Some(why) = signer_change(before.0, after.0) {
        action.need(ApprovalName::Signer(action.name.clone()), why, given);
    }
    if let Some(why) = covered_escalation(before.1, after.1) {
        action.need(ApprovalName::Permission(action.name.clone()), why, given);
    }
}

/// A change of hands: another publisher, or none of the keys that signed before.
fn signer_change(before: &ArtifactIdentity, after: &ArtifactIdentity) -> Option<String> {
    if before.publisher != after.publisher {
        return Some(format!("the publisher changes from {} to {}", before.publisher, after.publisher));
    }
    let is_known = before.signers.intersection(&after.signers).next().is_some();
    (!is_known).then(|| "none of the keys that signed before signed this".to_owned())
}

/// Permissions that are new, and that no line of the grant names.
fn covered_escalation(before: &Permissions, after: &Decision) -> Option<String> {
    let new: Vec<String> =
        after.covered.iter().filter(|entry| !before.includes(entry)).map(ToString::to_string).collect();
    (!new.is_empty()).then(|| format!("new, and only covered by a pattern of the grant: {}", new.join(", ")))
}
