//! Owns who of a pass is prepared now and who later, so that code which compiles slowly keeps nobody else waiting.
//!
//! In a pass that has several to prepare each compilation gets a first turn. Whoever is cut off there is left out while
//! there is anything else to do, and has a later pass to itself, with all the time that a compilation may take.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::digest::Digest;
use crate::name::InstallationName;
use crate::plan::action::{Action, Effect};
use crate::resolution::Refusal;
use crate::worker::CompileLimits;

use super::apply::{FailedAction, fresh_record};

/// Time of a compilation beside which others wait.
const FIRST_TURN: Duration = Duration::from_secs(5);

/// The code that was cut off in its first turn, by digest of the wasm.
#[derive(Debug, Default)]
pub(super) struct Turns {
    slow: BTreeSet<Digest>,
}

/// The actions of one pass.
#[derive(Debug)]
pub(super) struct Chosen {
    /// What is carried out.
    pub actions: Vec<Action>,
    /// Whether compilations are cut off after their first turn.
    pub is_shared: bool,
    /// Whether something is left for a later pass.
    pub leaves_some: bool,
}

impl Turns {
    /// Chooses among the actions of a pass. An operator's order is one piece, and so is what moves names.
    pub(super) fn choose(&mut self, actions: &[Action], is_one_piece: bool) -> Chosen {
        self.slow.retain(|wasm| actions.iter().any(|action| wasm_of(action) == Some(*wasm)));
        let all = |is_shared| Chosen { actions: actions.to_vec(), is_shared, leaves_some: false };
        if is_one_piece || actions.iter().any(moves) {
            return all(false);
        }
        let is_slow = |action: &&Action| wasm_of(action).is_some_and(|wasm| self.slow.contains(&wasm));
        let later: BTreeSet<&InstallationName> = actions.iter().filter(is_slow).map(|action| &action.name).collect();
        let later = with_dependents(actions, later);
        let now: Vec<Action> = actions.iter().filter(|action| !later.contains(&action.name)).cloned().collect();
        if !now.is_empty() {
            let is_shared = actions.iter().filter(|action| wasm_of(action).is_some()).count() > 1;
            return Chosen { actions: now, is_shared, leaves_some: !later.is_empty() };
        }
        // Nothing else is left to do: the first of them has its turn, with those of the same code.
        match actions.iter().find(is_slow).and_then(wasm_of) {
            Some(wasm) => {
                let actions_now: Vec<Action> =
                    actions.iter().filter(|action| wasm_of(action) == Some(wasm)).cloned().collect();
                let leaves_some = actions_now.len() < actions.len();
                Chosen { actions: actions_now, is_shared: false, leaves_some }
            }
            None => all(false),
        }
    }

    /// Takes those out of the failed ones that only had no time: they and what depends on them are left for later.
    /// Gives whether there were any.
    pub(super) fn put_off(&mut self, failed: &mut Vec<FailedAction>) -> bool {
        let late: Vec<Digest> =
            failed.iter().filter(|failed| is_late(&failed.why)).filter_map(|failed| wasm_of(&failed.action)).collect();
        if late.is_empty() {
            return false;
        }
        self.slow.extend(late);
        failed.retain(|failed| !is_late(&failed.why) && failed.why.code != "dependency-failed");
        true
    }
}

/// The limits of a first turn.
pub(super) fn first_turn(limits: &CompileLimits) -> CompileLimits {
    CompileLimits { time: limits.time.min(FIRST_TURN), ..limits.clone() }
}

fn is_late(why: &Refusal) -> bool {
    why.code == "worker-timeout"
}

/// The code that carrying an action out needs.
fn wasm_of(action: &Action) -> Option<Digest> {
    fresh_record(action).filter(|record| record.spec.enabled).map(|record| record.artifact.wasm)
}

fn moves(action: &Action) -> bool {
    matches!(&action.effect, Some(Effect::Commit(commit)) if commit.moved_from.is_some())
}

/// The names, and all that start after one of them.
fn with_dependents<'a>(
    actions: &'a [Action],
    mut names: BTreeSet<&'a InstallationName>,
) -> BTreeSet<&'a InstallationName> {
    loop {
        let before = names.len();
        for action in actions {
            let needs = fresh_record(action).map(|record| &record.spec.depends_on);
            if needs.is_some_and(|needs| needs.iter().any(|need| names.contains(need))) {
                names.insert(&action.name);
            }
        }
        if names.len() == before {
            return names;
        }
    }
}
