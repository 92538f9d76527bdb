//! Owns the removal of everything under a storage id, in steps that can be taken up again after a kill.
//!
//! What is to be purged stands in the store itself until the last step has removed the record.

use std::ops::ControlFlow;

use super::backend::{Changes, Durability, Space};
use super::commit::{DataSet, WriteSet};
use super::error::StoreError;
use super::keys::{behind, full, split};
use super::mail::open_mark;
use super::store::{OWN_ID, Store, WRITER_KEY};
use super::usage::Usage;

/// Keys that one step removes.
pub(super) const KEYS_PER_STEP: usize = 1_000;
/// The beginning of the records of what is to be purged.
const PENDING: &[u8] = b"purge/";

impl Store {
    /// Notes that everything under these ids is to go. It stays noted until it is gone.
    pub fn note_purge(&self, ids: &[u64]) -> Result<(), StoreError> {
        let ids = ids.iter().filter(|id| **id != OWN_ID);
        let changes = ids.map(|id| ((Space::Meta, pending(*id)), Some([].into()))).collect();
        self.commit_own(changes)
    }

    /// The ids that are noted, in order.
    pub fn noted_purges(&self) -> Result<Vec<u64>, StoreError> {
        let mut ids = Vec::new();
        let first = full(OWN_ID, PENDING);
        self.room.scan(Space::Meta, &first, &behind(&first), &mut |key, _| {
            ids.extend(
                split(key).and_then(|(_, key)| key.strip_prefix(PENDING)).and_then(|id| split(id)).map(|it| it.0),
            );
            ControlFlow::Continue(())
        })?;
        Ok(ids)
    }

    /// Removes up to a thousand keys of a noted id. Says whether it is gone.
    pub fn purge_step(&self, id: u64) -> Result<bool, StoreError> {
        let mut changes = Changes::new();
        let mut left = KEYS_PER_STEP;
        for space in [Space::Data, Space::Mail] {
            let keys = self.room.keys_of(space, id, left.max(1))?;
            left = left.saturating_sub(keys.len());
            changes.extend(keys.into_iter().map(|key| ((space, key), None)));
        }
        let is_last = left > 0;
        if is_last {
            changes.insert((Space::Meta, pending(id)), None);
            changes.insert((Space::Meta, open_mark(id)), None);
            changes.insert((Space::Meta, full(id, WRITER_KEY)), None);
        }
        let before = self.usage(id)?;
        // The last step must not be lost while the one before it is kept, and the order of commits sees to that.
        let durability = if is_last { Durability::Synced } else { Durability::Relaxed };
        // What is counted is settled by the record's end.
        let set = DataSet { id, before, after: before, clears: false, changes, forgets: is_last };
        self.commit(WriteSet::of_data(set, durability))?;
        Ok(is_last)
    }

    /// Takes a note back: the id is in use, so whatever was to let it go did not happen.
    pub fn take_back_purge(&self, id: u64) -> Result<(), StoreError> {
        self.commit_own(Changes::from([((Space::Meta, pending(id)), None)]))
    }

    /// Finishes all purges that are noted, and takes back those of ids that are in use.
    pub fn purge_noted(&self, is_in_use: impl Fn(u64) -> bool) -> Result<usize, StoreError> {
        let (in_use, ids): (Vec<u64>, Vec<u64>) = self.noted_purges()?.into_iter().partition(|id| is_in_use(*id));
        in_use.into_iter().try_for_each(|id| self.take_back_purge(id))?;
        for id in &ids {
            while !self.purge_step(*id)? {}
        }
        Ok(ids.len())
    }

    /// Commits records of the store's own.
    pub(super) fn commit_own(&self, changes: Changes) -> Result<(), StoreError> {
        let before = self.usage(OWN_ID)?;
        let set = DataSet { id: OWN_ID, before, after: Usage::default(), clears: false, changes, forgets: false };
        self.commit(WriteSet::of_data(set, Durability::Synced))
    }
}

fn pending(id: u64) -> Vec<u8> {
    full(OWN_ID, &[PENDING, &id.to_be_bytes()].concat())
}
