//! Decides which actions can't go ahead because of what they depend on, and the order of the rest.
//!
//! An installation starts after what it depends on and is uninstalled before it. Uninstalls come last.
//! What is installed stays, whatever becomes of its dependencies.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, Effect, Instance, Kind, Location, Reason};
use super::graph::{Dependency, Graph};
use super::rows::Rows;
use crate::desired::Entry;

/// Actions by the place of their row.
pub(super) type Actions = BTreeMap<usize, Action>;

/// Blocks what depends on itself, and what depends on something that will not be there.
pub(super) fn block(rows: &Rows<'_>, graph: &Graph<'_, '_>, actions: &mut Actions) {
    block_circles(rows, graph, actions);
    // What is blocked here blocks what comes after it, so dependencies are looked at first.
    for place in graph.dependencies_first(&starting(actions), |place| is_passed(rows, actions, place)) {
        if let Some((reason, location)) = missing(place, rows, graph, actions)
            && let Some(action) = actions.get_mut(&place)
        {
            action.stop(Kind::Blocked, reason);
            action.location = location;
        }
    }
}

/// The places of all actions in the order in which they are carried out, those without effect at the end.
pub(super) fn sort(rows: &Rows<'_>, graph: &Graph<'_, '_>, actions: &Actions) -> Vec<usize> {
    let mut order = graph.dependencies_first(&starting(actions), |place| is_passed(rows, actions, place));
    let uninstalls = places(actions, |action| matches!(action.effect, Some(Effect::Uninstall { .. })));
    order.extend(graph.dependents_first(&uninstalls));
    order.extend(places(actions, |action| action.effect.is_none()));
    order
}

fn places(actions: &Actions, choose: impl Fn(&Action) -> bool) -> BTreeSet<usize> {
    actions.iter().filter(|(_, action)| choose(action)).map(|(place, _)| *place).collect()
}

/// Everything with an effect but uninstalls.
fn starting(actions: &Actions) -> BTreeSet<usize> {
    places(actions, |action| matches!(action.effect, Some(Effect::Commit(_) | Effect::Restart { .. })))
}

/// Whether a row is installed as wanted, so that what it depends on comes before its dependents, too.
fn is_passed(rows: &Rows<'_>, actions: &Actions, place: usize) -> bool {
    let row = rows.at(place);
    !actions.contains_key(&place) && row.have.is_some() && matches!(row.want, Some(Entry::Wanted { .. }))
}

fn block_circles(rows: &Rows<'_>, graph: &Graph<'_, '_>, actions: &mut Actions) {
    for members in graph.circles(starting(actions).into_iter()) {
        let Some(first) = members.first() else { continue };
        let circle = graph.show_circle(*first, &members);
        for place in &members {
            let Some(action) = actions.get_mut(place).filter(|action| commits_a_change(action)) else { continue };
            let message = format!("it depends on itself: {circle}");
            let hint = "take one of these names out of a depends-on";
            action.stop(Kind::Blocked, Reason::new("dependency-cycle", message).hint(hint));
            action.location = depends_on(rows, *place, None);
        }
    }
}

/// Whether another spec or artifact is committed, and not only what is committed brought back.
fn commits_a_change(action: &Action) -> bool {
    let target = action.before.as_ref().and_then(|before| before.target);
    matches!(&action.effect, Some(Effect::Commit(commit)) if Some(commit.target) != target)
}

/// The first dependency of a start that will not be there.
fn missing(place: usize, rows: &Rows<'_>, graph: &Graph<'_, '_>, actions: &Actions) -> Option<(Reason, Location)> {
    let Some(Effect::Commit(commit)) = &actions.get(&place)?.effect else { return None };
    let row = rows.at(place);
    // Something that runs goes on; only a dependency that its file has just added must be there.
    let old = commit.moved_from.as_ref().and_then(|old| rows.at(rows.find(old)?).have).or(row.have);
    let starts = old.is_none_or(|old| !old.record.spec.enabled && commit.instance == Instance::Fresh);
    let dependencies = graph.of(place);
    let looked_at = dependencies
        .iter()
        .filter(|dependency| starts || old.is_some_and(|old| !old.record.spec.depends_on.contains(dependency.name)));
    let runs = commit.record.spec.enabled;
    looked_at.filter_map(|dependency| Some((dependency, absence(dependency, runs, rows, actions)?))).next().map(
        |(dependency, reason)| {
            let key = format!("depends-on \"{}\"", dependency.name);
            (reason, depends_on(rows, place, Some(&key)))
        },
    )
}

/// Why a dependency will not be there when it is needed.
fn absence(dependency: &Dependency<'_>, runs: bool, rows: &Rows<'_>, actions: &Actions) -> Option<Reason> {
    let name = dependency.name;
    let Some(place) = dependency.place.filter(|place| rows.at(*place).want.is_some()) else {
        return Some(Reason::new("dependency-missing", format!("it depends on {name}, which no file defines")));
    };
    let row = rows.at(place);
    let action = actions.get(&place);
    let committed = action.filter(|action| action.is_ready()).and_then(|action| match &action.effect {
        Some(Effect::Commit(commit)) => Some(&commit.record),
        _ => None,
    });
    let Some(record) = committed.or(row.have.map(|have| &have.record)) else {
        let why = match action {
            Some(action) if action.waits_for_approval() => "waits for an approval",
            Some(action) if action.kind == Kind::Hold => "is held",
            _ => "is blocked",
        };
        return Some(Reason::new("dependency-not-installed", format!("it depends on {name}, which {why}")));
    };
    (runs && !record.spec.enabled).then(|| {
        let message = format!("it depends on {name}, which is stopped by enabled = false");
        Reason::new("dependency-disabled", message)
    })
}

fn depends_on(rows: &Rows<'_>, place: usize, key: Option<&str>) -> Location {
    match rows.at(place).want {
        Some(Entry::Wanted { origin, .. }) => {
            let keys: Vec<&str> = key.into_iter().chain(["depends-on"]).collect();
            Location::of(origin, &keys)
        }
        _ => Location::file(rows.at(place).name.as_str()),
    }
}
