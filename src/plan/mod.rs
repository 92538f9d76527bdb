//! Decides what must happen for the installed set to match the desired files.
//!
//! Pure: no files, no clock, no randomness. Equal inputs give byte-equal plans. Everything that carrying
//! a plan out needs is in its actions; whoever does it makes no choices of its own.

pub mod action;
pub mod approval;
pub mod change;
mod decide;
pub mod diff;
pub mod drift;
mod graph;
pub mod guard;
pub mod impact;
mod imports;
pub mod json;
#[cfg(test)]
mod laws;
mod moved;
pub mod neighbours;
pub mod notes;
mod order;
mod pause;
mod related;
pub mod revert;
pub mod rollback;
mod room;
mod rows;
#[cfg(test)]
mod tests;
pub mod text;
pub mod ties;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use action::{Action, Kind};
use approval::{Approval, ApprovalName};
use decide::{Decided, Rules, Verdict};
use graph::Graph;
use guard::Guard;
use moved::{Claim, Moves};
use order::Actions;
use rows::Rows;

use crate::desired::{BadFile, DesiredState};
use crate::digest::Digest;
use crate::floors::Floors;
use crate::name::InstallationName;
use crate::observed::room::Asked;
use crate::observed::{Observed, Phase, RecentSet};
use crate::resolution::Resolution;
use crate::secret::AllSecrets;
use crate::surface::HostSurface;

/// Everything that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// What the files ask for.
    pub desired: &'a DesiredState,
    /// What came of each wanted spec's source.
    pub resolutions: &'a BTreeMap<InstallationName, Resolution>,
    /// What a look at the secrets of each wanted spec found.
    pub secrets: &'a AllSecrets,
    /// What is installed, and what became of it.
    pub observed: &'a Observed,
    /// How the set shrank in the last ten minutes.
    pub recent: RecentSet,
    /// Which sequences were accepted before.
    pub floors: &'a Floors,
    /// Which approvals were given, each for one action.
    pub approvals: &'a BTreeSet<Approval>,
    /// What the host offers to components and calls of them.
    pub host: HostSurface<'a>,
}

/// What must happen, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Number of the generation that the plan starts from. It must not be applied to any other.
    pub generation: u64,
    /// Digest of that generation; none before the first one.
    pub parent: Option<Digest>,
    /// Which commit of a repository the desired files are from; none for a directory.
    pub desired: Option<String>,
    /// Whether a host runs the set.
    pub is_live: bool,
    /// First what is carried out, in the order in which it is; then what has no effect, by name.
    pub actions: Vec<Action>,
    /// Names whose held target is no longer wanted: the next commit drops their holds.
    pub released: Vec<InstallationName>,
    /// Rules that were applied to the plan as a whole.
    pub guards: Vec<Guard>,
    /// Files that could not be used, and of which nobody knows what they define.
    pub unreadable: Vec<BadFile>,
    /// Whether the directory was listed completely.
    pub is_complete: bool,
    /// Whether a source could not be looked at again: something fetched before is taken for what is wanted, and what
    /// is wanted now is not known. Set by whoever looked; no action depends on it.
    pub is_stale: bool,
    /// How many installations are as wanted.
    pub unchanged: usize,
    /// What the starts for which there is room may take. No part of what names the plan: it differs from look to look.
    pub room: Asked,
    comparisons: u64,
}

/// How many actions of each kind a plan holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Will be installed.
    pub install: usize,
    /// Will be updated.
    pub update: usize,
    /// Will be reconfigured.
    pub reconfigure: usize,
    /// Will be restarted.
    pub restart: usize,
    /// Will be moved.
    pub r#move: usize,
    /// Will be uninstalled.
    pub uninstall: usize,
    /// Are as wanted.
    pub unchanged: usize,
    /// Wait for an approval, whatever their kind.
    pub need_approval: usize,
    /// Are held.
    pub hold: usize,
    /// Are blocked.
    pub blocked: usize,
}

/// Returns what moves the observed state to the desired one. No action with an effect means converged.
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let rows = Rows::join(input);
    let absence = guard::absence_is_unknown(input.desired);
    let moves = Moves::find(&rows, absence.as_ref());
    let rules = Rules { floors: input.floors, approvals: input.approvals, secrets: input.secrets, host: input.host };
    let mut actions = Actions::new();
    let mut released = BTreeSet::new();
    let mut unchanged = 0;
    for (place, row) in rows.iter().enumerate() {
        let takes = match moves.claim(place) {
            Some(Claim::Take(old)) => Some(rows.at(*old)),
            _ => None,
        };
        let Decided { verdict, releases_hold } = decide::decide(place, row, takes, &moves, &rules);
        match verdict {
            Verdict::Act(action) => drop(actions.insert(place, *action)),
            Verdict::Unchanged => unchanged += 1,
            Verdict::Nothing | Verdict::MovesAway => {}
        }
        if releases_hold {
            released.insert(place);
        }
    }
    pause::apply(actions.values_mut(), &input.observed.paused);
    let set = guard::Set { installed: input.observed.installed.len(), recent: input.recent };
    let guards = guard::apply(actions.values_mut(), &set, absence.as_ref(), input.approvals);
    let room = room::apply(&rows, &mut actions, input.observed);
    let graph = Graph::new(&rows);
    order::block(&rows, &graph, &mut actions);
    keep_what_does_not_move(&rows, &moves, &rules, &mut actions);
    related::tell(&rows, &graph, &mut actions);
    neighbours::tell(&rows, &mut actions);
    if absence.is_none() {
        released.extend(gone(&rows, &actions));
    }
    released.retain(|place| input.observed.paused.holds(rows.at(*place).name).is_none());
    let order = order::sort(&rows, &graph, &actions);
    Plan {
        generation: input.observed.generation,
        parent: input.observed.generation_digest,
        desired: input.desired.commit.clone(),
        is_live: !input.observed.installed.values().any(|installed| installed.phase == Phase::NotRunning),
        actions: order.iter().filter_map(|place| actions.remove(place)).collect(),
        released: released.iter().map(|place| rows.at(*place).name.clone()).collect(),
        guards,
        unreadable: input.desired.unknown.clone(),
        is_complete: input.desired.complete,
        is_stale: false,
        unchanged,
        room,
        comparisons: rows.comparisons(),
    }
}

/// Where a move is not carried out, what would have been moved is held under its old name.
fn keep_what_does_not_move(rows: &Rows<'_>, moves: &Moves<'_>, rules: &Rules<'_>, actions: &mut Actions) {
    for (old_place, new_place) in moves.taken() {
        let is_ready = actions.get(&new_place).is_some_and(Action::is_ready);
        let (old, new) = (rows.at(old_place), rows.at(new_place));
        if let Some(have) = old.have.filter(|_| !is_ready) {
            actions.insert(old_place, decide::stays(old, have, new.name, rules));
        }
    }
}

/// Rows with a hold whose installation goes away, or never came.
fn gone(rows: &Rows<'_>, actions: &Actions) -> Vec<usize> {
    let is_gone = |(place, row): &(usize, &rows::Row<'_>)| {
        row.want.is_none() && row.hold.is_some() && actions.get(place).is_none_or(Action::is_ready)
    };
    rows.iter().enumerate().filter(is_gone).map(|(place, _)| place).collect()
}

impl Plan {
    /// Whether nothing is left to carry out. What is held, blocked or waits for an approval stays as it is.
    pub fn is_converged(&self) -> bool {
        !self.actions.iter().any(Action::is_ready)
    }

    /// What will be carried out, in order.
    pub fn effects(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|action| action.is_ready())
    }

    /// 0: nothing to do; 10: changes; 11: some need an approval; 12: something is held, blocked or
    /// unreadable, whatever else there is. Comes from the actions, never from a text.
    pub fn exit_code(&self) -> u8 {
        if self.is_stale
            || !self.is_complete
            || !self.unreadable.is_empty()
            || self.actions.iter().any(|action| !action.kind.has_effect())
        {
            12
        } else if self.actions.iter().any(Action::waits_for_approval) {
            11
        } else if self.is_converged() {
            0
        } else {
            10
        }
    }

    /// How many actions of each kind there are.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { unchanged: self.unchanged, ..Totals::default() };
        for action in &self.actions {
            let total = match action.kind {
                _ if action.waits_for_approval() => &mut totals.need_approval,
                Kind::Install => &mut totals.install,
                Kind::Update => &mut totals.update,
                Kind::Reconfigure => &mut totals.reconfigure,
                Kind::Restart => &mut totals.restart,
                Kind::Move => &mut totals.r#move,
                Kind::Uninstall => &mut totals.uninstall,
                Kind::Hold => &mut totals.hold,
                Kind::Blocked => &mut totals.blocked,
            };
            *total += 1;
        }
        totals
    }

    /// The approvals that are asked for and not given.
    pub fn asked_approvals(&self) -> BTreeSet<ApprovalName> {
        let missing = self.actions.iter().filter(|action| action.waits_for_approval()).flat_map(|a| &a.approvals);
        missing.filter(|approval| !approval.given).map(|approval| approval.name.clone()).collect()
    }

    /// How many names were compared to make the plan.
    pub fn comparisons(&self) -> u64 {
        self.comparisons
    }
}
