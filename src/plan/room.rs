//! Keeps what does not fit on the machine from being started. What runs goes on.

use super::action::{Action, Effect, Instance, Kind};
use super::order::Actions;
use super::rows::Rows;
use crate::name::InstallationName;
use crate::observed::room::Asked;
use crate::observed::{Observed, Phase};
use crate::record::Record;

/// Holds or blocks every start for which there is no room, in the order of the names.
///
/// A plan without a start looks at nothing, so that a pass without a change costs the same as before. Gives what those
/// that fit may take.
pub(super) fn apply(rows: &Rows<'_>, actions: &mut Actions, observed: &Observed) -> Asked {
    let starts: Vec<usize> =
        actions.iter().filter(|(_, action)| started(action).is_some()).map(|(place, _)| *place).collect();
    if starts.is_empty() {
        return Asked::default();
    }
    let is_live = !observed.installed.values().next().is_some_and(|installed| installed.phase == Phase::NotRunning);
    let mut tally = observed.room.tally();
    if observed.room.counts_all(is_live) {
        for (place, row) in rows.iter().enumerate() {
            let goes = actions.get(&place).is_some_and(stops);
            let Some(have) = row.have.filter(|have| have.record.spec.enabled && !goes) else { continue };
            match is_live || starts.binary_search(&place).is_ok() {
                true => tally.holds(&have.record),
                false => tally.will_hold(&have.record),
            }
        }
    }
    for place in starts {
        let Some(action) = actions.get_mut(&place) else { continue };
        let Some(record) = started(action) else { continue };
        // What goes away under its old name makes room as well.
        let old = moved_from(action).and_then(|name| rows.find(name)).unwrap_or(place);
        let replaced = rows.at(old).have.map(|have| &*have.record);
        if let Err(why) = tally.start(record, replaced) {
            let kind = if action.before.is_some() { Kind::Hold } else { Kind::Blocked };
            action.stop(kind, (&why).into());
        }
    }
    tally.asked()
}

/// The record of the instance that an action starts.
fn started(action: &Action) -> Option<&Record> {
    match action.effect.as_ref()? {
        Effect::Commit(commit) if commit.instance == Instance::Fresh => Some(&commit.record),
        Effect::Restart { record } => Some(record),
        Effect::Commit(_) | Effect::Uninstall { .. } => None,
    }
}

fn moved_from(action: &Action) -> Option<&InstallationName> {
    match action.effect.as_ref()? {
        Effect::Commit(commit) => commit.moved_from.as_ref(),
        Effect::Restart { .. } | Effect::Uninstall { .. } => None,
    }
}

fn stops(action: &Action) -> bool {
    match &action.effect {
        Some(Effect::Uninstall { .. }) => true,
        Some(Effect::Commit(commit)) => commit.instance == Instance::Stop,
        Some(Effect::Restart { .. }) | None => false,
    }
}
