//! Decides which actions can't be carried out because another one of the same plan is not.
//!
//! A plan is right as a whole: an installation starts because what it depends on was to be there, and something goes away
//! because nobody was to need it any more. When one action fails or has to wait, what rests on it is left, too; what is
//! committed then is a state that the plan showed a part of, and never one that it did not show.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::action::{Action, Commit, Effect, Instance};
use crate::name::InstallationName;
use crate::record::Record;
use crate::resolution::Refusal;

/// The machine reason of what can't go because of what it depends on.
pub const DEPENDENCY_FAILED: &str = "dependency-failed";
/// The machine reason of what can't be taken away yet.
pub const STILL_NEEDED: &str = "still-needed";

/// Why an action goes the way of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tie {
    /// It depends on this one, whose action is not carried out.
    Needs(InstallationName),
    /// It takes something away that this one, whose action is not carried out, still depends on.
    NeededBy(InstallationName),
}

impl Tie {
    /// Why, for people.
    pub fn why(&self) -> Refusal {
        match self {
            Self::Needs(name) => {
                Refusal::new(DEPENDENCY_FAILED, format!("it depends on {name}, whose own change failed"))
            }
            Self::NeededBy(name) => {
                let message = format!("{name} still depends on it, because the change that ends that failed");
                Refusal::new(STILL_NEEDED, message)
            }
        }
    }

    /// Whether `why` is about another one, with which it is tried again.
    pub fn is_why(why: &Refusal) -> bool {
        [DEPENDENCY_FAILED, STILL_NEEDED].contains(&why.code.as_str())
    }

    /// The other one.
    pub fn to(&self) -> &InstallationName {
        match self {
            Self::Needs(name) | Self::NeededBy(name) => name,
        }
    }
}

/// What is committed, by name.
pub type Installed = BTreeMap<InstallationName, Arc<Record>>;

/// The actions that can't be carried out without those of `left_out`, each with why.
///
/// With `old_will_do`, what is installed and runs is enough for those that depend on it, though it was to change.
pub fn tied(
    actions: &[Action],
    left_out: &BTreeSet<InstallationName>,
    installed: &Installed,
    old_will_do: bool,
) -> BTreeMap<InstallationName, Tie> {
    let mut tied: BTreeMap<InstallationName, Tie> = BTreeMap::new();
    if left_out.is_empty() {
        return tied;
    }
    let (needs, takers) = (needs(actions, installed), takers(actions));
    let by_name: BTreeMap<&InstallationName, &Action> = actions.iter().map(|action| (&action.name, action)).collect();
    let mut open: Vec<&Action> = left_out.iter().filter_map(|name| by_name.get(name).copied()).collect();
    while let Some(action) = open.pop() {
        let mut leave = |other: &InstallationName, tie: Tie| {
            if !left_out.contains(other) && !tied.contains_key(other) {
                tied.insert(other.clone(), tie);
                open.extend(by_name.get(other));
            }
        };
        let is_there = old_will_do && installed.get(&action.name).is_some_and(|record| record.spec.enabled);
        if committed(action).is_some() && !is_there {
            for dependent in needs.get(&action.name).into_iter().flatten() {
                leave(dependent, Tie::Needs(action.name.clone()));
            }
        }
        for taker in still_needed(action, installed).into_iter().filter_map(|need| takers.get(need)) {
            leave(taker, Tie::NeededBy(action.name.clone()));
        }
    }
    tied
}

type Needs<'a> = BTreeMap<&'a InstallationName, Vec<&'a InstallationName>>;

/// By each name that an action of `actions` rests on: those whose actions do.
fn needs<'a>(actions: &'a [Action], installed: &Installed) -> Needs<'a> {
    let mut needs = Needs::new();
    for action in actions {
        let Some(record) = committed(action).filter(|record| !record.spec.depends_on.is_empty()) else { continue };
        let before = installed.get(installed_as(action));
        let starts = is_fresh(action) || before.is_none();
        // What runs goes on; only a dependency that is new must be there.
        let had = |need: &InstallationName| before.is_some_and(|old| old.spec.depends_on.contains(need));
        for need in record.spec.depends_on.iter().filter(|need| starts || !had(need)) {
            needs.entry(need).or_default().push(&action.name);
        }
    }
    needs
}

/// By each name that goes away or is stopped: whose action does that.
fn takers(actions: &[Action]) -> BTreeMap<&InstallationName, &InstallationName> {
    let taken = actions.iter().filter_map(|action| match &action.effect {
        Some(Effect::Commit(commit)) if commit.moved_from.is_some() || commit.instance == Instance::Stop => {
            Some((installed_as(action), &action.name))
        }
        Some(Effect::Uninstall { .. }) => Some((&action.name, &action.name)),
        _ => None,
    });
    taken.collect()
}

/// What an installation goes on to depend on while its action, which would let go of it, is not carried out.
fn still_needed<'a>(action: &Action, installed: &'a Installed) -> Vec<&'a InstallationName> {
    let Some(before) = installed.get(installed_as(action)).filter(|record| record.spec.enabled) else {
        return Vec::new();
    };
    let after = committed(action).filter(|record| record.spec.enabled);
    let keeps = |need: &&InstallationName| after.is_some_and(|after| after.spec.depends_on.contains(*need));
    before.spec.depends_on.iter().filter(|need| !keeps(need)).collect()
}

/// What is committed once an action is carried out.
fn committed(action: &Action) -> Option<&Arc<Record>> {
    match &action.effect {
        Some(Effect::Commit(Commit { record, .. }) | Effect::Restart { record }) => Some(record),
        Some(Effect::Uninstall { .. }) | None => None,
    }
}

fn is_fresh(action: &Action) -> bool {
    match &action.effect {
        Some(Effect::Commit(commit)) => commit.instance == Instance::Fresh,
        Some(Effect::Restart { .. }) => true,
        Some(Effect::Uninstall { .. }) | None => false,
    }
}

/// Under which name it is installed before the action.
fn installed_as(action: &Action) -> &InstallationName {
    match &action.effect {
        Some(Effect::Commit(Commit { moved_from: Some(old), .. })) => old,
        _ => &action.name,
    }
}
