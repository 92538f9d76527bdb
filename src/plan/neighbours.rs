//! Decides whom an action touches: who sends to an installation or depends on it, and to whom it sends.
//!
//! Looks at the whole set once, and only when something is replaced, stopped or taken away; a lookup for each
//! link among the names that are acted on.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, Effect, Instance, Kind};
use super::impact::{Neighbour, Neighbours};
use super::order::Actions;
use super::rows::Rows;
use crate::name::{InstallationName, LinkName};
use crate::permission::{Entry, Peer};
use crate::record::Record;

/// Most neighbours of one installation that a plan names.
pub const MAX_NEIGHBOURS: usize = 64;

/// Tells each action that others may notice who they are.
pub(super) fn tell(rows: &Rows<'_>, actions: &mut Actions) {
    let mut touched: BTreeMap<&InstallationName, usize> = BTreeMap::new();
    for (place, action) in actions.iter().filter(|(_, action)| is_noticed(action)) {
        touched.insert(rows.at(*place).name, *place);
        if let Some(Effect::Commit(commit)) = &action.effect
            && let Some(old) = commit.moved_from.as_ref().and_then(|old| rows.find(old))
        {
            touched.insert(rows.at(old).name, *place);
        }
    }
    if touched.is_empty() {
        return;
    }
    let after = rows.iter().enumerate().filter(|(place, _)| !goes_away(*place, rows, actions));
    let after = after.filter_map(|(place, row)| Some((row.name, record_of(place, rows, actions)?)));
    let mut callers = callers(&touched, after);
    let places: BTreeSet<usize> = touched.into_values().collect();
    for place in places {
        let callees = record_of(place, rows, actions).map(callees);
        if let Some(action) = actions.get_mut(&place) {
            action.impact.callees = callees.unwrap_or_default();
            action.impact.callers = callers.remove(&place).unwrap_or_default();
        }
    }
}

/// Who of the set `after` has to do with what is touched, by what `touched` says of that.
pub(super) fn callers<'a, K: Copy + Ord>(
    touched: &BTreeMap<&InstallationName, K>,
    after: impl Iterator<Item = (&'a InstallationName, &'a Record)>,
) -> BTreeMap<K, Neighbours> {
    let mut callers: BTreeMap<K, Neighbours> = BTreeMap::new();
    for (name, record) in after {
        let own = touched.get(name).copied();
        let touched = |target: &InstallationName| touched.get(target).copied().filter(|at| Some(*at) != own);
        let mut found: BTreeMap<K, Neighbour> = BTreeMap::new();
        for at in record.spec.depends_on.iter().filter_map(touched) {
            found.entry(at).or_insert_with(|| neighbour(name)).depends_on = true;
        }
        for (link, target) in links(record) {
            if let Some(at) = touched(&target) {
                found.entry(at).or_insert_with(|| neighbour(name)).links.push(link.clone());
            }
        }
        found.into_iter().for_each(|(at, neighbour)| add(callers.entry(at).or_default(), neighbour));
    }
    callers
}

/// Whether nothing is left under this name: it is uninstalled, or goes on under another one.
fn goes_away(place: usize, rows: &Rows<'_>, actions: &Actions) -> bool {
    match actions.get(&place) {
        Some(action) => action.is_ready() && matches!(action.effect, Some(Effect::Uninstall { .. })),
        None => rows.at(place).want.is_none(),
    }
}

/// Whether others may notice it: something takes over, stops or goes.
pub(super) fn is_noticed(action: &Action) -> bool {
    match &action.effect {
        Some(Effect::Commit(commit)) => {
            matches!(action.kind, Kind::Update | Kind::Move) || commit.instance == Instance::Stop
        }
        Some(Effect::Uninstall { .. }) => true,
        Some(Effect::Restart { .. }) | None => false,
    }
}

/// What will be committed under a name: by its action, or as before. Of an uninstall, what goes away.
fn record_of<'a>(place: usize, rows: &'a Rows<'_>, actions: &'a Actions) -> Option<&'a Record> {
    let committed = actions.get(&place).filter(|action| action.is_ready()).and_then(|action| match &action.effect {
        Some(Effect::Commit(commit)) => Some(&*commit.record),
        _ => None,
    });
    committed.or_else(|| rows.at(place).have.map(|have| &*have.record))
}

/// Each link word by which a record may send, with the installation that it means.
fn links(record: &Record) -> Vec<(&LinkName, InstallationName)> {
    let meant = |link: &LinkName| record.spec.links.get(link).cloned().unwrap_or_else(|| InstallationName::from(link));
    let mut links = Vec::new();
    for entry in record.effective.entries() {
        match entry {
            Entry::Send(Peer::Named(link)) => links.push((link, meant(link))),
            Entry::Send(Peer::Any) => links.extend(record.spec.links.iter().map(|(link, name)| (link, name.clone()))),
            _ => {}
        }
    }
    links.sort();
    links.dedup();
    links
}

/// To whom a component may send, and on what it depends.
pub(super) fn callees(record: &Record) -> Neighbours {
    let mut found: BTreeMap<InstallationName, Neighbour> = BTreeMap::new();
    for name in &record.spec.depends_on {
        found.entry(name.clone()).or_insert_with(|| neighbour(name)).depends_on = true;
    }
    for (link, name) in links(record) {
        found.entry(name.clone()).or_insert_with(|| neighbour(&name)).links.push(link.clone());
    }
    let mut callees = Neighbours::default();
    found.into_values().for_each(|neighbour| add(&mut callees, neighbour));
    callees
}

fn neighbour(name: &InstallationName) -> Neighbour {
    Neighbour { name: name.clone(), links: Vec::new(), depends_on: false }
}

fn add(to: &mut Neighbours, neighbour: Neighbour) {
    if to.named.len() < MAX_NEIGHBOURS {
        to.named.push(neighbour);
    } else {
        to.left_out += 1;
    }
}
