//! Carries out actions: prepare, commit one generation, switch.
//!
//! Chooses nothing: what to do stands in the actions, and what fails leaves what was there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::actor::{Standby, Switch};
use crate::digest::Digest;
use crate::generation::{Generation, HeldTarget, Slot};
use crate::name::InstallationName;
use crate::plan::action::{Action, Commit, Effect, Instance, Storage};
use crate::plan::approval::Approval;
use crate::plan::notes::Order;
use crate::record::Record;
use crate::resolution::Refusal;
use crate::snapshot::AppliedCommit;

/// An action that was tried and left things as they were.
#[derive(Debug, Clone)]
pub struct FailedAction {
    /// The action.
    pub action: Action,
    /// Why.
    pub why: Refusal,
}

/// Refusals that are the target's own fault: it would fail again however often it is tried.
const TARGET_IS_TO_BLAME: &[&str] = &[
    "health-crashed",
    "init-crashed",
    "init-refused",
    "nobody-to-trigger",
    "not-compiled",
    "not-linkable",
    "reconfigure-refused",
    "unhealthy",
    "worker-crashed",
    "worker-killed",
    "worker-timeout",
];

impl FailedAction {
    /// Whether the target is not tried again until another one is wanted. Everything else that failed
    /// is tried again after a wait: a first install, a move, a restart, and what was not to blame.
    pub fn is_held(&self) -> bool {
        let replaces = matches!(&self.action.effect, Some(Effect::Commit(commit)) if commit.moved_from.is_none());
        replaces && self.action.before.is_some() && TARGET_IS_TO_BLAME.contains(&self.why.code.as_str())
    }
}

/// What came of carrying out actions.
#[derive(Debug, Default)]
pub struct Applied {
    /// Carried out, with the time from the start of the pass to their switch.
    pub done: Vec<(Action, Duration)>,
    /// Tried without success.
    pub failed: Vec<FailedAction>,
    /// What was left until its code is made beside the passes.
    pub put_off: BTreeSet<InstallationName>,
}

/// What a commit holds besides the actions that it commits.
#[derive(Debug, Default)]
pub struct Holds {
    /// Targets that must not be tried again on their own.
    pub add: BTreeMap<InstallationName, HeldTarget>,
    /// Names whose held target is no longer wanted.
    pub drop: Vec<InstallationName>,
    /// The commit whose desired files are applied; none leaves the one applied last.
    pub applied_commit: Option<AppliedCommit>,
    /// The order of an operator that it carries out.
    pub order: Option<Order>,
    /// What operators approved, with the order that each approval was given with.
    pub approved: BTreeMap<Approval, Order>,
    /// Whether one action that fails, or whose code is not made yet, keeps all of them from being carried out.
    pub is_whole: bool,
}

impl Holds {
    /// Without those of what is put off: it is as it was.
    pub fn without(mut self, put_off: &BTreeSet<InstallationName>) -> Self {
        self.add.retain(|name, _| !put_off.contains(name));
        self
    }
}

/// Makes `next`, a copy of the current generation, the one in which `actions` are carried out. Pure.
pub fn next_generation(
    mut next: Generation,
    actions: &[&Action],
    records: &BTreeMap<InstallationName, Digest>,
    failed: &[FailedAction],
    holds: Holds,
) -> Generation {
    let storage_before: BTreeMap<InstallationName, u64> =
        next.entries.iter().map(|(name, slot)| (name.clone(), slot.storage_id)).collect();
    // A name that moves away may be taken by another action of the same pass: out first, then in.
    for action in actions {
        match &action.effect {
            Some(Effect::Commit(Commit { moved_from: Some(old), .. })) => {
                next.entries.remove(old);
                next.holds.remove(old);
            }
            Some(Effect::Uninstall { .. }) => {
                next.entries.remove(&action.name);
                next.holds.remove(&action.name);
            }
            _ => {}
        }
    }
    for action in actions {
        let Some(Effect::Commit(commit)) = &action.effect else { continue };
        let storage_id = match commit.storage {
            Storage::Keep(id) => id,
            // A record that was damaged is planned as if nothing were installed; its storage is still its own.
            Storage::New if action.before.is_none() && storage_before.contains_key(&action.name) => {
                storage_before[&action.name]
            }
            Storage::New => {
                next.next_storage_id += 1;
                next.next_storage_id - 1
            }
        };
        next.entries.insert(action.name.clone(), Slot { record: records[&action.name], storage_id });
        next.holds.remove(&action.name);
    }
    holds.drop.iter().for_each(|name| drop(next.holds.remove(name)));
    for failure in failed.iter().filter(|failure| failure.is_held()) {
        if let Some(Effect::Commit(commit)) = &failure.action.effect {
            let held = HeldTarget { target: commit.target, reason: failure.why.message.clone() };
            next.holds.insert(failure.action.name.clone(), held);
        }
    }
    // What failed is as it was, and nothing is held back from it.
    let is_left = |name: &InstallationName| failed.iter().any(|failure| failure.action.name == *name);
    next.holds.extend(holds.add.into_iter().filter(|(name, _)| !is_left(name)));
    next.applied_commit = holds.applied_commit.or(next.applied_commit);
    next
}

/// The record that an action makes run, when it makes a fresh instance.
pub fn fresh_record(action: &Action) -> Option<&Arc<Record>> {
    match &action.effect {
        Some(Effect::Commit(commit)) if commit.instance == Instance::Fresh => Some(&commit.record),
        Some(Effect::Restart { record }) => Some(record),
        _ => None,
    }
}

/// The record whose config a running instance is to be told.
pub fn told_record(action: &Action) -> Option<&Arc<Record>> {
    match &action.effect {
        Some(Effect::Commit(commit)) if commit.instance == Instance::Reconfigure => Some(&commit.record),
        _ => None,
    }
}

/// What the actors do once the generation is committed.
pub fn switches(actions: &[&Action], mut standbys: BTreeMap<InstallationName, Standby>) -> Vec<Switch> {
    let mut switches = Vec::new();
    for action in actions {
        let name = &action.name;
        match &action.effect {
            Some(Effect::Commit(commit)) => {
                let moved_from = commit.moved_from.clone();
                match commit.instance {
                    Instance::Fresh => {
                        let standby = standbys.remove(name);
                        switches.extend(standby.map(|standby| Switch::Activate { standby, moved_from }));
                    }
                    Instance::Stop => switches.push(Switch::Stop(moved_from.unwrap_or_else(|| name.clone()))),
                    // Told what it has to know when the switch is over.
                    Instance::Keep | Instance::Reconfigure => {}
                }
            }
            Some(Effect::Restart { .. }) => {
                let standby = standbys.remove(name);
                switches.extend(standby.map(|standby| Switch::Activate { standby, moved_from: None }));
            }
            Some(Effect::Uninstall { .. }) => switches.push(Switch::Stop(name.clone())),
            None => {}
        }
    }
    switches
}

/// Digests of wasm that a set of records names.
pub fn wasm_in_use<'a>(records: impl Iterator<Item = &'a Arc<Record>>) -> BTreeSet<Digest> {
    records.map(|record| record.artifact.wasm).collect()
}
