//! Owns who of a pass is prepared now and who later, so that code which compiles slowly keeps nobody else waiting.
//!
//! In a pass of a running host each compilation gets a first turn. Whoever is cut off there is put off, with what depends
//! on it; its code is made beside the passes, and the first pass after that takes it up.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::name::InstallationName;
use crate::plan::action::Action;
use crate::plan::ties::{self, Installed};
use crate::resolution::Refusal;
use crate::worker::CompileLimits;

use super::apply::{FailedAction, fresh_record};
use super::beside::Beside;

/// Most digests of slow code that are remembered; with more, all are forgotten and found out again as needed.
const MAX_REMEMBERED: usize = 1_024;

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
    /// What is left until its code, or that of something that it depends on, is made.
    pub put_off: BTreeSet<InstallationName>,
}

impl Turns {
    /// Chooses among the actions of a pass. Where nothing runs nobody is kept waiting, and each takes the time it needs.
    pub(super) fn choose(&self, actions: &[Action], installed: &Installed, runs: bool, beside: &Beside) -> Chosen {
        if !runs {
            return Chosen { actions: actions.to_vec(), is_shared: false, put_off: BTreeSet::new() };
        }
        let is_slow = |action: &&Action| wasm_of(action).is_some_and(|wasm| self.is_slow(&wasm, beside));
        let slow = actions.iter().filter(is_slow).map(|action| action.name.clone()).collect();
        let put_off = with_tied(actions, slow, installed);
        let actions = actions.iter().filter(|action| !put_off.contains(&action.name)).cloned().collect();
        Chosen { actions, is_shared: true, put_off }
    }

    /// Its code is there, and in the cache.
    pub(super) fn has_code(&mut self, wasm: &Digest) {
        self.slow.remove(wasm);
    }

    /// Whether this code is to be made beside the passes before one takes it up.
    pub(super) fn is_slow(&self, wasm: &Digest, beside: &Beside) -> bool {
        self.slow.contains(wasm) && !beside.is_settled(wasm)
    }

    /// Takes those out of the failed ones that only had no time, with what depends on them; gives who they are.
    pub(super) fn put_off(
        &mut self,
        actions: &[Action],
        installed: &Installed,
        failed: &mut Vec<FailedAction>,
        beside: &mut Beside,
    ) -> BTreeSet<InstallationName> {
        let mut late = BTreeSet::new();
        for FailedAction { action, why } in failed.iter() {
            let Some(wasm) = wasm_of(action).filter(|_| is_late(why)) else { continue };
            // What had all the time there is, and did not make it, has failed.
            if beside.given_up().contains_key(&wasm) {
                continue;
            }
            if self.slow.len() >= MAX_REMEMBERED {
                self.slow.clear();
            }
            self.slow.insert(wasm);
            beside.forget(&wasm);
            late.insert(action.name.clone());
        }
        let put_off = with_tied(actions, late, installed);
        failed.retain(|failed| !put_off.contains(&failed.action.name));
        put_off
    }
}

/// Why an installation waits whose code, or that of what it depends on, is not made yet.
pub(super) fn why_put_off() -> Refusal {
    let message = "it waits for code that takes long to compile and is compiled beside everything else";
    Refusal::new("compiling", message).hint("nothing is to be done; the log tells when it is installed, or why not")
}

/// The limits of a first turn.
pub(super) fn first_turn(limits: &CompileLimits) -> CompileLimits {
    CompileLimits { time: limits.time.min(limits.first_turn), ..limits.clone() }
}

fn is_late(why: &Refusal) -> bool {
    why.code == "worker-timeout"
}

/// The code that carrying an action out needs.
pub(super) fn wasm_of(action: &Action) -> Option<Digest> {
    fresh_record(action).filter(|record| record.spec.enabled).map(|record| record.artifact.wasm)
}

/// The names, and all whose actions can't be carried out without theirs.
fn with_tied(
    actions: &[Action],
    mut names: BTreeSet<InstallationName>,
    installed: &Installed,
) -> BTreeSet<InstallationName> {
    let tied = ties::tied(actions, &names, installed, false);
    names.extend(tied.into_keys());
    names
}
