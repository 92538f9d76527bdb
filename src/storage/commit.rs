//! Owns the one thread that writes a store: it makes one commit out of all write sets that wait.
//!
//! A write set whose storage was changed since its call began is refused, so that usages stay exact even
//! if two instances of a component overlap. After a commit that failed nothing is written any more.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use super::backend::{BackendError, Changes, Durability, Space};
use super::error::StoreError;
use super::keys::full;
use super::mail::{Desk, Kept, MailSet};
use super::queue::{Order, Queue, Then};
use super::store::{Room, WRITER_KEY};
use super::usage::Usage;

/// The name of the thread, by which fault tests find it.
pub(super) const THREAD: &str = "storage-writer";

/// What one call changed, ready to be committed as a whole.
pub struct WriteSet {
    /// What it changes of what a component keeps; none for a call that touched only messages.
    pub(super) data: Option<DataSet>,
    /// What it changes among the messages.
    pub(super) mail: MailSet,
    pub(super) durability: Durability,
}

/// Changes of one storage, with its usage.
pub(super) struct DataSet {
    pub(super) id: u64,
    /// The usage on which the changes build.
    pub(super) before: Usage,
    /// Without its count of commits, which is the committer's.
    pub(super) after: Usage,
    /// Everything that was there goes before `changes` come.
    pub(super) clears: bool,
    pub(super) changes: Changes,
    /// Removes the record of the usage, too: the end of a purge.
    pub(super) forgets: bool,
}

impl WriteSet {
    /// Changes of messages alone.
    pub fn of_mail(mail: MailSet) -> Self {
        Self { data: None, mail, durability: Durability::Synced }
    }

    /// Changes of one storage alone.
    pub(super) fn of_data(data: DataSet, durability: Durability) -> Self {
        Self { data: Some(data), mail: MailSet::default(), durability }
    }

    /// The same with changes of messages.
    pub fn with_mail(mut self, mail: MailSet) -> Self {
        self.mail = mail;
        self
    }

    /// The same with another durability.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether it removes everything that was there.
    pub(super) fn clears(&self) -> bool {
        self.data.as_ref().is_some_and(|data| data.clears)
    }

    /// The same with the note that this version of the component wrote last.
    pub(super) fn signed(&mut self, version: &str) {
        if let Some(data) = &mut self.data {
            data.changes.insert((Space::Meta, full(data.id, WRITER_KEY)), Some(Arc::from(version.as_bytes())));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let changes = self.data.iter().flat_map(|data| &data.changes);
        let changes = changes.map(|((_, key), value)| key.len() + value.as_ref().map_or(0, |value| value.len()));
        changes.sum::<usize>() + self.mail.bytes()
    }
}

/// The thread; dropping it lets it finish, syncs and waits for that.
pub(super) struct Committer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(super) fn start(room: Arc<Room>) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::default());
        let orders = OnEnd(Arc::clone(&room), Arc::clone(&queue));
        let thread = thread::Builder::new().name(THREAD.to_owned()).spawn(move || run(&room, &orders.1));
        let thread = thread.map_err(|error: io::Error| StoreError::Stopped(BackendError::new(error)))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Commits, and waits for it.
    pub(super) fn commit(&self, set: WriteSet) -> Result<Kept, StoreError> {
        let (answer, answered) = sync_channel(1);
        // Whoever asked waits below.
        self.queue.put(Order::new(set, Box::new(move |result| drop(answer.send(result)))));
        let gone = |_closed| StoreError::Stopped(BackendError::new("the thread that writes has ended"));
        answered.recv().map_err(gone)?
    }

    /// Commits and calls `then`. Never waits.
    pub(super) fn commit_then(&self, set: WriteSet, then: Then) {
        self.queue.offer(Order::new(set, then));
    }

    /// The same however much waits.
    pub(super) fn commit_soon(&self, set: WriteSet, then: Then) {
        self.queue.insist(Order::new(set, then));
    }

    /// Write sets that were brought to it.
    #[cfg(test)]
    pub(super) fn brought(&self) -> u64 {
        self.queue.brought()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue.close();
        // What the thread calls may hold the last of a store, and no thread can wait for itself.
        if let Some(thread) = self.thread.take().filter(|it| it.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// However the thread ends, nobody waits for it in vain.
struct OnEnd(Arc<Room>, Arc<Queue>);

impl Drop for OnEnd {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.get_or_init(|| BackendError::new("the thread that writes failed on an assertion"));
        }
        self.1.abandon();
    }
}

fn run(room: &Room, queue: &Queue) {
    let mut desk = Desk::default();
    while let Some(group) = queue.take() {
        commit(room, &mut desk, group);
    }
    if room.broken.get().is_none() {
        // Nobody is there to be told; a failure shows when the store is opened again.
        let _ = room.backend.sync();
    }
}

fn commit(room: &Room, desk: &mut Desk, group: Vec<Order>) {
    let mut all = Changes::new();
    let mut durability = Durability::Relaxed;
    let mut taken = Vec::with_capacity(group.len());
    for Order { set, answer, .. } in group {
        let asked = set.durability;
        match merge(room, desk, &mut all, set) {
            Ok(kept) => {
                durability = durability.max(asked);
                taken.push((answer, kept));
            }
            Err(error) => answer.give(Err(error)),
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
    for (answer, kept) in taken {
        answer.give(result.clone().map(|()| kept));
    }
}

/// Adds one write set to a commit, as a whole or not at all.
fn merge(room: &Room, desk: &mut Desk, all: &mut Changes, set: WriteSet) -> Result<Kept, StoreError> {
    if let Some(why) = room.broken.get() {
        return Err(StoreError::Stopped(why.clone()));
    }
    let WriteSet { data, mail, .. } = set;
    desk.check(room, all, &mail)?;
    if let Some(data) = data {
        add_data(room, all, data)?;
    }
    Ok(desk.add(all, mail))
}

fn add_data(room: &Room, all: &mut Changes, set: DataSet) -> Result<(), StoreError> {
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
