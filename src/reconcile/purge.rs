//! Removes what uninstalled components kept, where their last committed file says so.
//!
//! What is to go is noted in the store before the commit that lets it go, so that a kill between the two leaves nothing
//! behind; a note whose commit did not come is taken back. What is noted goes in bounded steps, over as many passes as
//! it takes, and after a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::plan::action::{Action, Effect};
use crate::resolution::Refusal;
use crate::storage::StoreError;

use super::reconciler::Reconciler;

/// Steps of one pass, each of up to a thousand keys.
const MAX_STEPS: usize = 100;
/// Wait before the next steps.
const GO_ON: Duration = Duration::from_millis(100);
/// Wait before a purge that failed is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// What is known of purges.
#[derive(Debug, Default)]
pub(super) enum Purges {
    /// Nothing: a host that died may have left some.
    #[default]
    Unknown,
    /// There is nothing to purge.
    Done,
    /// There is.
    Due,
    /// There is, and the store refuses; whether an operator was told.
    Failed(Refusal, bool),
}

impl Purges {
    /// Why what is to go does not.
    pub(super) fn problem(&mut self) -> Option<Refusal> {
        let Self::Failed(why, is_told) = self else { return None };
        *is_told = true;
        Some(why.clone())
    }

    /// When to go on.
    pub(super) fn next_look(&self) -> Option<Duration> {
        match self {
            Self::Unknown | Self::Done => None,
            Self::Due | Self::Failed(_, false) => Some(GO_ON),
            Self::Failed(_, true) => Some(RETRY),
        }
    }
}

impl Reconciler {
    /// Notes the storages that go with these actions.
    pub(super) fn note_purges(&mut self, actions: &[&Action]) -> Result<(), Refusal> {
        let ids: Vec<u64> = actions.iter().filter_map(|action| purged(action)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let noted = match self.parts.actors.storage().kept() {
            Ok(Some(store)) => store.note_purge(&ids),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        noted.map(|()| self.purges = Purges::Due).map_err(|error| {
            let message = format!("what it keeps can't be removed: {error}");
            Refusal::new("storage-unavailable", message)
                .hint("it goes on as it is; repair the store, or restart the host")
        })
    }

    /// Takes some of the steps that are due.
    pub(super) fn settle_purges(&mut self) {
        self.purges = match (&self.purges, self.purge_some()) {
            (Purges::Done, _) | (_, Ok(true)) => Purges::Done,
            (_, Ok(false)) => Purges::Due,
            // Nobody has asked the store for anything yet; who does is told what is wrong with it.
            (Purges::Unknown, Err(_)) => Purges::Done,
            (before, Err(error)) => {
                let why = Refusal::new("not-purged", format!("what removed components kept can't be removed: {error}"));
                let is_told = matches!(before, Purges::Failed(told, true) if *told == why);
                Purges::Failed(why.hint("it is tried again every minute, and when the host starts"), is_told)
            }
        };
    }

    /// Takes all the steps that are due; gives why that was not possible.
    pub fn finish_purges(&mut self) -> Option<Refusal> {
        while matches!(self.purges, Purges::Unknown | Purges::Due) {
            self.settle_purges();
        }
        self.purges.problem()
    }

    /// Says whether nothing is left.
    fn purge_some(&self) -> Result<bool, StoreError> {
        if matches!(self.purges, Purges::Done) {
            return Ok(true);
        }
        let Some(store) = self.parts.actors.storage().kept()? else { return Ok(true) };
        let entries = &self.committed.generation.entries;
        let installed: BTreeSet<u64> = entries.values().map(|slot| slot.storage_id).collect();
        let (mut left, mut is_done) = (MAX_STEPS, true);
        for id in store.noted_purges()? {
            if installed.contains(&id) {
                store.take_back_purge(id)?;
            } else if self.parts.actors.uses_storage(id) {
                // It is still about to end, and may write.
                is_done = false;
            } else {
                while left > 0 && !store.purge_step(id)? {
                    left -= 1;
                }
                is_done &= left > 0;
            }
        }
        Ok(is_done)
    }
}

/// The storage that goes with an action.
fn purged(action: &Action) -> Option<u64> {
    match &action.effect {
        Some(Effect::Uninstall { storage_id, storage }) if storage.removes() => Some(*storage_id),
        _ => None,
    }
}

/// Whether an action removes a storage.
pub(super) fn removes_storage(action: &Action) -> bool {
    purged(action).is_some()
}
