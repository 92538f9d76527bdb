//! Owns who subscribes to what: by the desired file for as long as a version is active, or at run time for as long as an
//! instance lives.
//!
//! Does not decide who may; that stands in the version's permissions, and the outbox asks them.

mod index;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use index::Index;

use super::cell::ActorCell;
use super::core::locked;
use crate::permission::Topic;

/// Most subscriptions that one instance makes at run time.
pub(super) const MAX_RUN_TIME_SUBSCRIPTIONS: usize = 64;
/// Most subscribers that one message is published to.
pub(super) const MAX_SUBSCRIBERS: usize = 1_024;

/// The subscriptions of a host.
#[derive(Default)]
pub(super) struct Topics(RwLock<Registered>);

#[derive(Default)]
struct Registered {
    index: Index<u64>,
    subscriptions: BTreeMap<u64, (Weak<ActorCell>, BTreeSet<Topic>)>,
    last: u64,
}

/// Some patterns that an actor subscribes to, until this is dropped.
pub(super) struct Subscription {
    topics: Weak<Topics>,
    number: u64,
}

impl Topics {
    /// Subscribes an actor to patterns; to none is no subscription.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        cell: &Arc<ActorCell>,
        patterns: BTreeSet<Topic>,
    ) -> Option<Subscription> {
        if patterns.is_empty() {
            return None;
        }
        let mut registered = self.write();
        registered.last += 1;
        let number = registered.last;
        for pattern in &patterns {
            registered.index.add(pattern.clone(), number);
        }
        registered.subscriptions.insert(number, (Arc::downgrade(cell), patterns));
        Some(Subscription { topics: Arc::downgrade(self), number })
    }

    /// Everybody who subscribes to the topic, once each.
    pub(super) fn subscribers(&self, topic: &Topic) -> Vec<Arc<ActorCell>> {
        let registered = self.read();
        let numbers = registered.index.subscribers(topic);
        let cells = numbers.iter().filter_map(|number| registered.subscriptions.get(number)?.0.upgrade());
        // Collected under the lock: the last owner of an actor ends its subscriptions, which needs the lock.
        let mut cells: Vec<Arc<ActorCell>> = cells.collect();
        drop(registered);
        let mut seen = HashSet::new();
        cells.retain(|cell| seen.insert(Arc::as_ptr(cell)));
        cells
    }

    fn read(&self) -> RwLockReadGuard<'_, Registered> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Registered> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(topics) = self.topics.upgrade() else { return };
        let mut registered = topics.write();
        let Some((_, patterns)) = registered.subscriptions.remove(&self.number) else { return };
        for pattern in &patterns {
            registered.index.remove(pattern, self.number);
        }
    }
}

/// The subscriptions that one instance makes at run time. They begin when it takes part, and end with it.
pub(super) struct OwnTopics {
    topics: Arc<Topics>,
    inner: Mutex<Own>,
}

#[derive(Default)]
struct Own {
    patterns: BTreeSet<Topic>,
    owner: Weak<ActorCell>,
    subscription: Option<Subscription>,
    over: bool,
}

impl OwnTopics {
    pub(super) fn new(topics: Arc<Topics>) -> Arc<Self> {
        Arc::new(Self { topics, inner: Mutex::default() })
    }

    /// The instance takes part from now on, as this actor's.
    pub(super) fn belong_to(&self, owner: &Arc<ActorCell>) {
        let mut own = locked(&self.inner);
        own.owner = Arc::downgrade(owner);
        self.renew(&mut own);
    }

    /// Subscribes to exactly these from now on.
    pub(super) fn set(&self, patterns: BTreeSet<Topic>) {
        let mut own = locked(&self.inner);
        own.patterns = patterns;
        self.renew(&mut own);
    }

    /// What it subscribes to.
    pub(super) fn patterns(&self) -> BTreeSet<Topic> {
        locked(&self.inner).patterns.clone()
    }

    /// Whether it subscribes to nothing.
    pub(super) fn is_empty(&self) -> bool {
        locked(&self.inner).patterns.is_empty()
    }

    /// The instance ends.
    pub(super) fn end(&self) {
        let mut own = locked(&self.inner);
        own.over = true;
        own.subscription = None;
        own.patterns.clear();
    }

    fn renew(&self, own: &mut Own) {
        let owner = own.owner.upgrade().filter(|_| !own.over);
        // The new one is there before the old one goes: nothing that is published meanwhile passes by.
        own.subscription = owner.and_then(|owner| self.topics.subscribe(&owner, own.patterns.clone()));
    }
}
