//! Decides what a person is told about whom the actions of a rollback touch.
//!
//! Adds to the actions and changes nothing else about them.

use std::collections::{BTreeMap, BTreeSet};

use super::moved_from;
use crate::name::InstallationName;
use crate::observed::{Installed, Observed};
use crate::plan::action::{Action, Effect, Kind};
use crate::plan::neighbours::{callees, callers, is_noticed};
use crate::record::Record;

/// Adds to each action whom it touches.
pub(super) fn tell(actions: &mut [Action], observed: &Observed) {
    tell_dependents(actions, observed);
    tell_neighbours(actions, observed);
}

/// What stays and depends on what goes is told of.
fn tell_dependents(actions: &mut [Action], observed: &Observed) {
    let changed: BTreeSet<InstallationName> = actions.iter().map(|action| action.name.clone()).collect();
    for action in actions {
        let old = match action.kind {
            Kind::Uninstall => action.name.clone(),
            _ => match moved_from(action) {
                Some(old) => old.clone(),
                None => continue,
            },
        };
        let needs_it = |(name, have): &(&InstallationName, &Installed)| {
            !changed.contains(*name) && have.record.spec.enabled && have.record.spec.depends_on.contains(&old)
        };
        let dependents = observed.installed.iter().filter(needs_it).map(|(name, _)| name.as_str());
        let dependents: Vec<&str> = dependents.collect();
        if !dependents.is_empty() {
            action.risks.push(format!("{} depend on {old} and go on without it", dependents.join(", ")));
        }
    }
}

/// As in a plan: who sends to it or depends on it when the rollback is carried out, and to whom it sends.
fn tell_neighbours(actions: &mut [Action], observed: &Observed) {
    let mut touched: BTreeMap<&InstallationName, usize> = BTreeMap::new();
    for (place, action) in actions.iter().enumerate().filter(|(_, action)| is_noticed(action)) {
        touched.insert(&action.name, place);
        touched.extend(moved_from(action).map(|old| (old, place)));
    }
    let mut after: BTreeMap<&InstallationName, &Record> =
        observed.installed.iter().map(|(name, have)| (name, &*have.record)).collect();
    for action in actions.iter() {
        after.remove(&action.name);
        moved_from(action).map(|old| after.remove(old));
    }
    after.extend(actions.iter().filter_map(|action| Some((&action.name, committed(action)?))));
    let mut callers = callers(&touched, after.into_iter());
    let places: BTreeSet<usize> = touched.into_values().collect();
    for place in places {
        let action = &mut actions[place];
        let gone = observed.installed.get(&action.name).map(|have| &*have.record);
        action.impact.callees = committed(action).or(gone).map(callees).unwrap_or_default();
        action.impact.callers = callers.remove(&place).unwrap_or_default();
    }
}

/// What an action commits; nothing for an uninstall.
fn committed(action: &Action) -> Option<&Record> {
    match &action.effect {
        Some(Effect::Commit(commit)) => Some(&commit.record),
        Some(Effect::Restart { .. } | Effect::Uninstall { .. }) | None => None,
    }
}
