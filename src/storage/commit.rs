//! Owns the one thread that writes a store: it makes one commit out of all write sets that wait.
//!
//! A write set whose storage was changed since its call began is refused, so that usages stay exact even
//! if two instances of a component overlap. After a commit that failed nothing is written any more.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use super::backend::{BackendError, Changes, Durability, Space};
use super::error::StoreError;
use super::keys::full;
use super::store::Room;
use super::usage::Usage;

/// The name of the thread, by which fault tests find it.
pub(super) const THREAD: &str = "storage-writer";
/// Write sets that wait for the thread; whoever brings one more waits too.
const MAX_WAITING: usize = 256;
/// Write sets of one commit at most.
const MAX_GROUP: usize = 1_024;
/// Bytes of one commit at most, unless a single write set has more.
const MAX_GROUP_BYTES: usize = 32 << 20;

/// What one call changed, ready to be committed as a whole.
pub struct WriteSet {
    pub(super) id: u64,
    /// The usage on which the changes build.
    pub(super) before: Usage,
    /// Without its count of commits, which is the committer's.
    pub(super) after: Usage,
    /// Everything that was there goes before `changes` come.
    pub(super) clears: bool,
    pub(super) changes: Changes,
    pub(super) durability: Durability,
    /// Removes the record of the usage, too: the end of a purge.
    pub(super) forgets: bool,
}

impl WriteSet {
    /// The same with another durability.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    fn bytes(&self) -> usize {
        self.changes.iter().map(|((_, key), value)| key.len() + value.as_ref().map_or(0, |value| value.len())).sum()
    }
}

struct Order {
    set: WriteSet,
    answer: SyncSender<Result<(), StoreError>>,
}

/// The thread; dropping it lets it finish, syncs and waits for that.
pub(super) struct Committer {
    orders: RwLock<Option<SyncSender<Order>>>,
    thread: Option<JoinHandle<()>>,
    #[cfg(test)]
    pub(super) brought: std::sync::atomic::AtomicU64,
}

impl Committer {
    pub(super) fn start(room: Arc<Room>) -> Result<Self, StoreError> {
        let (orders, received) = sync_channel(MAX_WAITING);
        let thread = thread::Builder::new().name(THREAD.to_owned()).spawn(move || run(&room, &received));
        let thread = thread.map_err(|error: io::Error| StoreError::Stopped(BackendError::new(error)))?;
        Ok(Self {
            orders: RwLock::new(Some(orders)),
            thread: Some(thread),
            #[cfg(test)]
            brought: Default::default(),
        })
    }

    pub(super) fn commit(&self, set: WriteSet) -> Result<(), StoreError> {
        let gone = || StoreError::Stopped(BackendError::new("the thread that writes has ended"));
        let (answer, answered) = sync_channel(1);
        let orders = self.orders.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(gone)?;
        orders.send(Order { set, answer }).map_err(|_closed| gone())?;
        #[cfg(test)]
        self.brought.fetch_add(1, Ordering::SeqCst);
        answered.recv().map_err(|_closed| gone())?
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.orders.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(room: &Room, orders: &Receiver<Order>) {
    let mut left_over = None;
    while let Some(first) = left_over.take().or_else(|| orders.recv().ok()) {
        let mut group = vec![first];
        let mut bytes = group[0].set.bytes();
        while group.len() < MAX_GROUP {
            match orders.try_recv() {
                // Clearing looks at what is there, so it comes after what is on its way has arrived.
                Ok(next) if next.set.clears || bytes + next.set.bytes() > MAX_GROUP_BYTES => {
                    left_over = Some(next);
                    break;
                }
                Ok(next) => {
                    bytes += next.set.bytes();
                    group.push(next);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        commit(room, group);
    }
    if room.broken.get().is_none() {
        // Nobody is there to be told; a failure shows when the store is opened again.
        let _ = room.backend.sync();
    }
}

fn commit(room: &Room, group: Vec<Order>) {
    let mut all = Changes::new();
    let mut durability = Durability::Relaxed;
    let mut taken = Vec::with_capacity(group.len());
    for Order { set, answer } in group {
        let asked = set.durability;
        match merge(room, &mut all, set) {
            Ok(()) => {
                durability = durability.max(asked);
                taken.push(answer);
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    }
    if taken.is_empty() {
        return;
    }
    let written = catch_unwind(AssertUnwindSafe(|| room.backend.commit(&all, durability)))
        .unwrap_or_else(|_printed| Err(BackendError::new("the backend failed on an assertion")));
    let result = match written {
        Ok(()) => {
            room.cache.committed(&all);
            room.sets.fetch_add(taken.len() as u64, Ordering::Relaxed);
            room.commits.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Err(why) => Err(StoreError::Stopped(room.broken.get_or_init(|| why).clone())),
    };
    for answer in taken {
        // Whoever asked may be gone.
        let _ = answer.send(result.clone());
    }
}

/// Adds one write set to a commit.
fn merge(room: &Room, all: &mut Changes, set: WriteSet) -> Result<(), StoreError> {
    if let Some(why) = room.broken.get() {
        return Err(StoreError::Stopped(why.clone()));
    }
    let usage_key = (Space::Meta, full(set.id, b""));
    let now = match all.get(&usage_key) {
        Some(record) => record.as_deref().and_then(Usage::decode).unwrap_or_default(),
        None => room.usage(set.id)?,
    };
    if now != set.before {
        return Err(StoreError::Conflict);
    }
    if set.clears {
        let keys = room.keys_of(Space::Data, set.id, usize::MAX)?;
        all.extend(keys.into_iter().map(|key| ((Space::Data, key), None)));
    }
    all.extend(set.changes);
    let after = Usage { commits: now.commits + 1, ..set.after };
    let record = (!set.forgets).then(|| Arc::from(after.encode()));
    all.insert(usage_key, record);
    Ok(())
}
