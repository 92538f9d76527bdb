//! Owns what all actors of a host share: the registry of names, the threads, the numbers.
//!
//! Plumbing without decisions; what happens to an actor is decided in `cell`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::cell::ActorCell;
use super::dead::DeadLetters;
use super::denied::Denials;
use super::instance::Instance;
use super::post::PostOffice;
use super::request::OpenRequests;
use super::scheduler::Scheduler;
use super::status::{ActorEvent, EventSink};
use super::system::Lookup;
use super::timer::Timer;
use super::topics::Topics;
use super::trigger::Ticking;
use crate::engine::Engine;
use crate::host::QuietLinker;
use crate::logs::{ComponentLog, Level, Source};
use crate::name::InstallationName;
use crate::storage::{Storage, Store, StoreError};

/// Threads of components that may wait, to begin with; while they all wait there are more, as many as may be stuck.
const WAITING_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);
/// Message numbers that a sender takes at a time, so that senders do not fight over one counter.
const ID_BLOCK: u64 = 64;

/// What a worker does.
pub(super) enum Job {
    /// Lets an actor work off its mailbox.
    Actor(Arc<ActorCell>),
    /// Ends an instance that another one replaced.
    Retire(Box<Retired>),
}

/// An instance on its way out.
pub(super) struct Retired {
    pub(super) instance: Instance,
    pub(super) time: Duration,
    pub(super) log: ComponentLog,
}

/// What the timer waits for.
pub(super) enum Due {
    /// The next tick of a trigger.
    Tick(Ticking),
    /// The end of the time of an instance's requests.
    Requests(std::sync::Weak<OpenRequests>),
    /// The end of the time that an ending actor has for a commit, or for room elsewhere, or of a rest.
    Look(std::sync::Weak<ActorCell>),
    /// The look for actors that are idle.
    Idle,
    /// The end of the time of messages outside a full mailbox.
    Line(std::sync::Weak<ActorCell>),
    /// The time to ask a component how it is.
    Health {
        cell: std::sync::Weak<ActorCell>,
        /// The start since which it is asked; another one makes it void.
        incarnation: u64,
    },
    /// The end of a backoff.
    Restart {
        cell: std::sync::Weak<ActorCell>,
        /// The start for which the wait was; another one makes it void.
        incarnation: u64,
    },
}

/// The shared parts.
pub(super) struct Core {
    pub(super) engine: Engine,
    pub(super) linker: QuietLinker,
    pub(super) registry: Registry,
    pub(super) dead: Arc<DeadLetters>,
    pub(super) max_hops: u32,
    pub(super) storage: Arc<Storage>,
    pub(super) post: PostOffice,
    pub(super) topics: Arc<Topics>,
    pub(super) denials: Denials,
    scheduler: OnceLock<Scheduler<Job>>,
    /// The threads of components that may wait; none before the first of them.
    waiting: OnceLock<Scheduler<Job>>,
    /// Becomes true when whoever waits is to end.
    hurry: watch::Sender<bool>,
    /// What belongs to this host, and is no component's.
    pub(super) own: Vec<PathBuf>,
    timer: Mutex<Option<Timer<Due>>>,
    events: Option<EventSink>,
    pub(super) environment: Lookup,
    epoch: Instant,
    ids: AtomicU64,
    instances: AtomicU64,
    random: AtomicU64,
    /// How long an actor that may sleep must be idle.
    idle: Duration,
    looks_for_idle: AtomicBool,
}

impl Core {
    pub(super) fn new(
        engine: Engine,
        linker: QuietLinker,
        max_hops: u32,
        storage: Arc<Storage>,
        idle: Duration,
        (events, environment, own): (Option<EventSink>, Lookup, Vec<PathBuf>),
    ) -> Self {
        use std::hash::BuildHasher as _;
        Self {
            engine,
            linker,
            registry: Registry::default(),
            dead: Arc::default(),
            max_hops,
            storage,
            post: PostOffice::default(),
            topics: Arc::default(),
            denials: Denials::default(),
            environment,
            scheduler: OnceLock::new(),
            waiting: OnceLock::new(),
            hurry: watch::Sender::new(false),
            own,
            timer: Mutex::new(None),
            events,
            epoch: Instant::now(),
            ids: AtomicU64::new(1),
            instances: AtomicU64::new(1),
            random: AtomicU64::new(std::collections::hash_map::RandomState::new().hash_one(0)),
            idle,
            looks_for_idle: AtomicBool::new(false),
        }
    }

    pub(super) fn start(self: &Arc<Self>, workers: NonZeroUsize) -> std::io::Result<()> {
        let core = Arc::clone(self);
        let scheduler = Scheduler::start(workers, move |job| match core.waiting_for(&job) {
            Some(waiting) => waiting.submit(job),
            None => job.run(&core),
        })?;
        let core = Arc::clone(self);
        let timer = Timer::start(move |due: &Due, at| core.fire(due, at))?;
        *locked(&self.timer) = Some(timer);
        // A second start would be a bug of `System`; its threads would end at once.
        let _ = self.scheduler.set(scheduler);
        Ok(())
    }

    /// The threads on which a job is done that may wait; none for any other job.
    fn waiting_for(self: &Arc<Self>, job: &Job) -> Option<&Scheduler<Job>> {
        let waits = match job {
            Job::Actor(cell) => cell.waits(),
            Job::Retire(retired) => retired.instance.waits(),
        };
        if waits { self.waiting.get() } else { None }
    }

    /// Starts the threads of components that may wait, unless they are there.
    pub(super) fn start_waiting(self: &Arc<Self>) -> std::io::Result<()> {
        if self.waiting.get().is_some() {
            return Ok(());
        }
        let core = Arc::clone(self);
        let waiting = Scheduler::start(WAITING_THREADS, move |job: Job| job.run(&core))?;
        // Of two at a time the second one's threads end at once.
        let _ = self.waiting.set(waiting);
        Ok(())
    }

    /// Tells whoever waits when it is to end.
    pub(super) fn hurry(&self) -> watch::Receiver<bool> {
        self.hurry.subscribe()
    }

    /// Ends every call that is under way, and whatever it waits for.
    pub(super) fn end_calls(&self) {
        self.engine.expire_running_calls();
        self.hurry.send_replace(true);
    }

    /// Ends all threads, and with them the circle of references between actors and this.
    pub(super) fn stop(&self) {
        drop(locked(&self.timer).take());
        self.scheduler().stop(|| self.end_calls());
        if let Some(waiting) = self.waiting.get() {
            waiting.stop(|| self.end_calls());
        }
        let cells = self.registry.take_all();
        // What one of them leaves may go to another, which must not ask for a thread that is gone.
        for cell in &cells {
            cell.mailbox.set_runnable(false);
        }
        for cell in cells {
            cell.vacate(self);
        }
        // What is still to be written is, and whoever it is about is told.
        self.storage.close();
    }

    pub(super) fn scheduler(&self) -> &Scheduler<Job> {
        self.scheduler.get().expect("set before the first actor can exist")
    }

    pub(super) fn schedule(&self, cell: Arc<ActorCell>) {
        self.scheduler().submit(Job::Actor(cell));
    }

    pub(super) fn set_timer(&self, at: Instant, due: Due) {
        if let Some(timer) = &*locked(&self.timer) {
            timer.set(at, due);
        }
    }

    /// Looks for idle actors from now on: one that took nothing between two looks may sleep.
    pub(super) fn watch_for_idle(&self) {
        if !self.looks_for_idle.swap(true, Ordering::Relaxed) {
            self.set_timer(Instant::now() + self.idle, Due::Idle);
        }
    }

    fn fire(self: &Arc<Self>, due: &Due, at: Instant) -> Option<Instant> {
        match due {
            Due::Tick(ticking) => ticking.fire(self, at, Instant::now()),
            Due::Requests(requests) => requests.upgrade()?.expire(at),
            Due::Line(cell) => cell.upgrade()?.expire_line(),
            Due::Look(cell) => {
                cell.upgrade()?.look(self);
                None
            }
            Due::Idle => {
                self.registry.all().into_iter().for_each(|(_, cell)| cell.sleep_if_idle(self));
                Some(Instant::now() + self.idle)
            }
            Due::Health { cell, incarnation } => {
                cell.upgrade()?.ask_health(self, *incarnation);
                None
            }
            Due::Restart { cell, incarnation } => {
                let cell = cell.upgrade()?;
                cell.start_again(self, *incarnation);
                None
            }
        }
    }

    pub(super) fn tell(&self, event: &ActorEvent) {
        if let Some(events) = &self.events {
            // Whoever listens is not part of the actor; its panic was printed and stays its own.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| events(event)));
        }
    }

    /// Monotonic time for the supervisor.
    pub(super) fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub(super) fn next_instance(&self) -> u64 {
        self.instances.fetch_add(1, Ordering::Relaxed)
    }

    /// The store, once somebody's messages are kept in it.
    pub(super) fn store_for_mail(&self) -> Result<Arc<Store>, StoreError> {
        self.storage.opened().ok_or(StoreError::Closed)
    }

    /// No message gets a number below this one from now on, but those that a sender has taken already.
    pub(super) fn use_ids_from(&self, id: u64) {
        self.ids.fetch_max(id, Ordering::Relaxed);
    }

    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Any number, for jitter: splitmix64 over a counter.
    pub(super) fn random(&self) -> u32 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper half is as random as the whole.
        (z >> 32) as u32
    }
}

impl Job {
    fn run(self, core: &Arc<Core>) {
        match self {
            Self::Actor(cell) => cell.run(core),
            Self::Retire(retired) => retired.end(),
        }
    }
}

impl Retired {
    fn end(self) {
        let Self { instance, time, log } = self;
        let number = instance.number;
        if let Err(crash) = instance.shut_down(time) {
            log.for_instance(number).write(Level::Warn, Source::Host, &format!("shutdown: {crash}"));
        }
    }
}

/// A run of message numbers of one sender.
#[derive(Default)]
pub(super) struct IdBlock {
    next: u64,
    end: u64,
}

impl IdBlock {
    pub(super) fn next(&mut self, core: &Core) -> u64 {
        if self.next == self.end {
            self.next = core.ids.fetch_add(ID_BLOCK, Ordering::Relaxed);
            self.end = self.next + ID_BLOCK;
        }
        self.next += 1;
        self.next - 1
    }
}

/// Which actor has which name.
#[derive(Default)]
pub(super) struct Registry {
    cells: RwLock<BTreeMap<InstallationName, Arc<ActorCell>>>,
    /// Changes whenever an answer about a name might, so that senders can remember answers.
    changes: AtomicU64,
}

impl Registry {
    pub(super) fn get(&self, name: &InstallationName) -> Option<Arc<ActorCell>> {
        self.cells.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Never zero.
    pub(super) fn state(&self) -> u64 {
        self.changes.load(Ordering::Acquire) + 1
    }

    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    pub(super) fn insert(&self, name: InstallationName, cell: Arc<ActorCell>) {
        self.cells.write().unwrap_or_else(PoisonError::into_inner).insert(name, cell);
        self.changed();
    }

    /// Takes the name away if it still belongs to `cell`.
    pub(super) fn remove(&self, name: &InstallationName, cell: &Arc<ActorCell>) {
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        if cells.get(name).is_some_and(|current| Arc::ptr_eq(current, cell)) {
            cells.remove(name);
        }
        drop(cells);
        self.changed();
    }

    /// Gives the actor of one name another. False when there is no such actor, or the other name is taken.
    pub(super) fn rename(&self, from: &InstallationName, to: &InstallationName) -> bool {
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        if cells.contains_key(to) {
            return false;
        }
        let Some(cell) = cells.remove(from) else { return false };
        cells.insert(to.clone(), cell);
        drop(cells);
        self.changed();
        true
    }

    pub(super) fn all(&self) -> Vec<(InstallationName, Arc<ActorCell>)> {
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        cells.iter().map(|(name, cell)| (name.clone(), Arc::clone(cell))).collect()
    }

    /// The first `most` names behind `after`.
    pub(super) fn names_after(&self, after: Option<&str>, most: usize) -> Vec<InstallationName> {
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        cells.range::<str, _>(behind).take(most).map(|(name, _)| name.clone()).collect()
    }

    fn take_all(&self) -> Vec<Arc<ActorCell>> {
        let cells = std::mem::take(&mut *self.cells.write().unwrap_or_else(PoisonError::into_inner));
        self.changed();
        cells.into_values().collect()
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
