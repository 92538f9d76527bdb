//! Decides what a person is told about one action because of another: who still needs what goes away, and
//! which delete and install look like one rename.
//!
//! Adds sentences to actions and changes nothing else about them.

use std::collections::BTreeMap;

use super::action::{Action, Kind};
use super::graph::Graph;
use super::order::Actions;
use super::rows::Rows;
use crate::desired::Entry;
use crate::digest::Digest;
use crate::name::PackageName;

/// Most dependents of one installation that are named.
pub const MAX_NAMED_DEPENDENTS: usize = 8;

/// Adds what the actions have to do with each other.
pub(super) fn tell(rows: &Rows<'_>, graph: &Graph<'_, '_>, actions: &mut Actions) {
    let removed: Vec<usize> = actions.iter().filter(|(_, action)| goes_away(action)).map(|(place, _)| *place).collect();
    if removed.is_empty() {
        return;
    }
    tell_dependents(rows, graph, actions);
    tell_renames(&removed, rows, actions);
}

/// Uninstalled, now or as soon as an operator or the guard lets it.
fn goes_away(action: &Action) -> bool {
    action.wanted == Kind::Uninstall && action.kind != Kind::Hold
}

fn tell_dependents(rows: &Rows<'_>, graph: &Graph<'_, '_>, actions: &mut Actions) {
    let mut dependents: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        if row.have.is_none() || !matches!(row.want, Some(Entry::Wanted { .. })) || !graph.has_any(place) {
            continue;
        }
        for dependency in graph.of(place).iter().filter_map(|dependency| dependency.place) {
            if actions.get(&dependency).is_some_and(goes_away) {
                dependents.entry(dependency).or_default().push(row.name.as_str());
            }
        }
    }
    for (place, names) in dependents {
        if let Some(action) = actions.get_mut(&place) {
            let more = names.len().saturating_sub(MAX_NAMED_DEPENDENTS);
            let named = names.iter().take(MAX_NAMED_DEPENDENTS).copied().collect::<Vec<_>>().join(", ");
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            action.risks.push(format!("still needed by {named}{more}"));
        }
    }
}

/// The same package and the same bytes go under one name and come under another.
fn tell_renames(removed: &[usize], rows: &Rows<'_>, actions: &mut Actions) {
    let mut gone: BTreeMap<(&PackageName, Digest), Vec<usize>> = BTreeMap::new();
    for place in removed {
        if let Some(have) = rows.at(*place).have {
            let artifact = &have.record.artifact;
            gone.entry((&artifact.package, artifact.wasm)).or_default().push(*place);
        }
    }
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (place, action) in actions.iter().filter(|(_, action)| action.wanted == Kind::Install) {
        let Some(after) = &action.after else { continue };
        let Some(old) = gone.get_mut(&(&after.package, after.wasm)).filter(|old| !old.is_empty()) else { continue };
        pairs.push((old.remove(0), *place));
    }
    for (old, new) in pairs {
        let (old_name, new_name) = (rows.at(old).name.clone(), rows.at(new).name.clone());
        let line = format!("moved-from = \"{old_name}\"");
        if let Some(action) = actions.get_mut(&new) {
            let file = &action.location.file;
            let told = format!(
                "this looks like a rename of {old_name}; to keep its identity and storage, write in {file}: {line}"
            );
            action.risks.push(told);
        }
        if let Some(action) = actions.get_mut(&old) {
            let told =
                format!("this looks like a rename to {new_name}; to keep identity and storage, write there: {line}");
            action.risks.push(told);
        }
    }
}
