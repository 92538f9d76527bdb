//! Decides what an operator's pause means for a plan: what would be done is listed, and held.

use super::action::{Action, Effect, Kind, Reason};
use crate::name::InstallationName;
use crate::paused::{Paused, PausedBy};

/// Holds the actions on what is paused. A move is held when either of its names is.
pub(super) fn apply<'p>(actions: impl Iterator<Item = &'p mut Action>, paused: &Paused) {
    if paused.is_empty() {
        return;
    }
    for action in actions.filter(|action| action.effect.is_some()) {
        let moved_from = match &action.effect {
            Some(Effect::Commit(commit)) => commit.moved_from.clone(),
            _ => None,
        };
        let name = action.name.clone();
        let held = std::iter::once(&name).chain(&moved_from).find_map(|name| Some((name, paused.holds(name)?)));
        if let Some((name, by)) = held {
            let reason = reason(name, by, !paused.names.contains_key(name));
            action.stop(Kind::Hold, reason);
        }
    }
}

fn reason(name: &InstallationName, by: &PausedBy, is_everything: bool) -> Reason {
    let (what, command) = match is_everything {
        true => ("everything is".to_owned(), "airssys-wasm resume".to_owned()),
        false => (format!("{name} is"), format!("airssys-wasm resume {name}")),
    };
    Reason::new("paused", format!("{what} paused {by}")).hint(format!("`{command}` lifts it"))
}
