//! Decides which actions need an operator's word before they are carried out, and what that word is.
//!
//! A first install needs none: the operator's file and a matching trust rule are the authority. Who may
//! give an approval, and how it is kept, is decided elsewhere; here it is an input.

use std::collections::BTreeSet;
use std::fmt;

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Plan;
use super::action::Action;
use super::impact::Interface;
use crate::digest::Digest;
use crate::escape::escape;
use crate::name::InstallationName;
use crate::permission::{Decision, Permissions};
use crate::record::ArtifactIdentity;
use crate::resolution::Refusal;

/// Most approvals that are given at a time.
pub const MAX_APPROVALS: usize = 1_000;

/// Most lost exports that one sentence names.
const MAX_SHOWN_LOST: usize = 8;

/// What is approved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApprovalName {
    /// New permissions that the operator's file only covers by a pattern.
    Permission(InstallationName),
    /// An interface change that breaks those who use the component.
    Breaking(InstallationName),
    /// Another signer or publisher.
    Signer(InstallationName),
    /// A delete that the guard against mass deletes stopped.
    Delete,
}

impl fmt::Display for ApprovalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission(name) => write!(f, "permission:{name}"),
            Self::Breaking(name) => write!(f, "breaking:{name}"),
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

/// A text that names no approval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no approval: permission:NAME, signer:NAME, breaking:NAME or delete", escape(.0))]
pub struct ParseApprovalError(String);

impl FromStr for ApprovalName {
    type Err = ParseApprovalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once(':').and_then(|(kind, name)| {
            let make = match kind {
                "permission" => Self::Permission,
                "signer" => Self::Signer,
                "breaking" => Self::Breaking,
                _ => return None,
            };
            Some(make(name.parse().ok()?))
        });
        let name = if text == "delete" { Some(Self::Delete) } else { named };
        name.ok_or_else(|| ParseApprovalError(text.chars().take(100).collect()))
    }
}

impl<'de> Deserialize<'de> for ApprovalName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who gives an order, as the kernel says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The user's number.
    pub uid: u32,
    /// The user's name, escaped; `uid-N` where the system has none for the number.
    pub user: String,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (uid {})", self.user, self.uid)
    }
}

/// Binds the approvals that are given to the actions of a plan that ask for them.
///
/// # Errors
///
/// `approval-matches-nothing` when one of them is asked for by no action: a word that goes nowhere is a
/// misunderstanding, and what was meant would not happen.
pub fn bind(plan: &Plan, names: &BTreeSet<ApprovalName>) -> Result<BTreeSet<Approval>, Refusal> {
    let mut bound = BTreeSet::new();
    let mut unmatched = names.clone();
    for action in plan.actions.iter().filter(|action| action.waits_for_approval()) {
        for needed in action.approvals.iter().filter(|needed| names.contains(&needed.name)) {
            unmatched.remove(&needed.name);
            bound.insert(Approval { name: needed.name.clone(), action: action.digest() });
        }
    }
    let Some(first) = unmatched.first() else { return Ok(bound) };
    let asked = plan.asked_approvals();
    let hint = match asked.is_empty() {
        true => "this plan asks for no approval".to_owned(),
        false => {
            format!("this plan asks for: {}", asked.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
    };
    Err(Refusal::new("approval-matches-nothing", format!("nothing in the plan asks for {first}")).hint(hint))
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
    if let Some(why) = action.impact.interface.as_ref().and_then(breaking_change) {
        action.need(ApprovalName::Breaking(action.name.clone()), why, given);
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

/// An export that others may use is gone or has another signature.
fn breaking_change(interface: &Interface) -> Option<String> {
    let exports = &interface.breaking()?.exports;
    let removed = exports.removed.iter().map(|name| format!("- {name}"));
    let lost: Vec<String> =
        removed.chain(exports.changed.iter().map(|changed| format!("~ {}", changed.name))).collect();
    let shown = lost.iter().take(MAX_SHOWN_LOST).cloned().collect::<Vec<_>>().join(", ");
    let more = lost.len().saturating_sub(MAX_SHOWN_LOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("what it exports goes away or changes: {shown}{more}"))
}

/// Permissions that are new, and that no line of the grant names.
fn covered_escalation(before: &Permissions, after: &Decision) -> Option<String> {
    let new: Vec<String> =
        after.covered.iter().filter(|entry| !before.includes(entry)).map(ToString::to_string).collect();
    (!new.is_empty()).then(|| format!("new, and only covered by a pattern of the grant: {}", new.join(", ")))
}
