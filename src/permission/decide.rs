//! Decides what a component may do: ask, grant and the publisher's cap together, minus what nobody may have.
//!
//! Says also what stands in the way. It does not say what a plan does about it.

use std::collections::BTreeSet;

use super::entry::{Entry, Kind};
use super::forbidden::why_forbidden;
use super::{Grant, Permissions};

/// The kinds that this version enforces. What nothing enforces is not given to anybody.
pub const ENFORCED_KINDS: &[Kind] = &[
    Kind::FsRead,
    Kind::FsWrite,
    Kind::NetConnect,
    Kind::NetListen,
    Kind::Env,
    Kind::Storage,
    Kind::Send,
    Kind::Receive,
    Kind::Publish,
    Kind::Subscribe,
];

/// What came of an ask.
///
/// An installation may go ahead when [`Decision::is_blocked`] is false. All lists are in the order of the entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// What the component may do; never more than ask, grant and cap each allow.
    pub effective: Permissions,
    /// Asked, neither granted as a whole nor declined.
    pub withheld: Vec<Entry>,
    /// Asked and declined on purpose; a part may have been granted all the same.
    pub declined: Vec<Entry>,
    /// Asked or granted, and more than the publisher may have.
    pub over_cap: Vec<Entry>,
    /// Asked or granted, and in reach of what no component may do.
    pub forbidden: Vec<Entry>,
    /// Effective, and of a kind that this version does not enforce.
    pub not_enforced: Vec<Entry>,
    /// Effective because an entry of the grant equals it.
    pub named: Vec<Entry>,
    /// Effective only because a wider entry of the grant includes it.
    pub covered: Vec<Entry>,
}

impl Decision {
    /// Whether anything asked can't be had as it was asked, and nobody said that this is fine.
    pub fn is_blocked(&self) -> bool {
        [&self.withheld, &self.over_cap, &self.forbidden, &self.not_enforced].iter().any(|list| !list.is_empty())
    }
}

/// Decides what a component may do that asks for `ask`.
///
/// `cap` is the most that its publisher may have, `enforced` the kinds that the host enforces
/// ([`ENFORCED_KINDS`]).
pub fn decide(ask: &Permissions, grant: &Grant, cap: &Permissions, enforced: &[Kind]) -> Decision {
    let mut decision = Decision::default();
    let mut granted = BTreeSet::new();
    let mut wanted = BTreeSet::new();
    for entry in ask.entries() {
        let parts = grant.parts_of(entry);
        let is_complete = parts.contains(entry);
        if !is_complete && grant.declines(entry) {
            decision.declined.push(entry.clone());
            wanted.extend(parts.iter().cloned());
        } else {
            wanted.insert(entry.clone());
            if !is_complete {
                decision.withheld.push(entry.clone());
            }
        }
        granted.extend(parts);
    }
    for entry in wanted {
        if why_forbidden(&entry).is_some() {
            decision.forbidden.push(entry.clone());
        }
        if !cap.includes(&entry) {
            decision.over_cap.push(entry);
        }
    }
    let allowed = granted.into_iter().collect::<Permissions>().intersect(cap);
    decision.effective = allowed.entries().filter(|entry| why_forbidden(entry).is_none()).cloned().collect();
    for entry in decision.effective.entries() {
        let list = if grant.permissions.names(entry) { &mut decision.named } else { &mut decision.covered };
        list.push(entry.clone());
        if !enforced.contains(&entry.kind()) {
            decision.not_enforced.push(entry.clone());
        }
    }
    decision
}
