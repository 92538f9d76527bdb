//! Owns the threads that run actors: one run queue for each core, and a watchdog.
//!
//! Does not know what it runs. A job that makes jobs keeps them on its own thread's queue, because what
//! it wrote is in that core's cache; threads without work take from those with too much. Guests cannot
//! yield, so the watchdog looks for a thread that is in one guest call for more than a tick: its queue
//! gets a new thread, and the old one ends after its call.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::mark::{LOCAL, Local, Mark, current_thread_id, lower_priority};
use crate::engine::MAX_WASM_STACK_BYTES;

/// How often the watchdog looks; also the longest time that one actor holds a thread while others wait.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// Threads that are stuck in guest calls while others do their work, at most. Beyond this, calls wait
/// until a deadline ends one.
pub const MAX_STUCK_THREADS: usize = 64;
/// Stack of a worker, in bytes: what a guest may use and as much again for the host, and some.
const STACK_BYTES: usize = 2 * MAX_WASM_STACK_BYTES + (1 << 20);
/// Jobs after which a thread looks at the common queue first, so that nothing starves there.
const FAIRNESS: u32 = 61;
/// Jobs that one thread takes from another at once, at most.
const MAX_STOLEN: usize = 32;
/// Calls after which a long job looks at the clock.
const CALLS_PER_LOOK: u32 = 8;
/// How long a job runs before it asks a sleeping thread to take what it made.
const SHARE_AFTER: Duration = Duration::from_micros(100);
/// How often threads that should end are hurried.
const HURRY_EVERY: Duration = Duration::from_millis(1);

/// What is in common to all threads.
struct Shared<J> {
    slots: Box<[Slot<J>]>,
    injector: Mutex<VecDeque<J>>,
    /// Slots whose thread sleeps; the last to fall asleep is woken first.
    sleeping: Mutex<Vec<usize>>,
    sleepers: AtomicUsize,
    tick: Arc<AtomicU64>,
    over: AtomicBool,
    stuck: AtomicUsize,
    replaced: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Does a job. Only threads hold it, so that what it holds is let go when they end.
type Run<J> = Arc<dyn Fn(J) + Send + Sync>;

/// One run queue. Threads come and go; the queue stays.
struct Slot<J> {
    queue: Mutex<VecDeque<J>>,
    owner: Mutex<Arc<Mark>>,
    awake: Mutex<bool>,
    wake: Condvar,
}

/// The threads. They end when this is dropped.
pub(super) struct Scheduler<J: Send + 'static> {
    shared: Arc<Shared<J>>,
}

impl<J: Send + 'static> Scheduler<J> {
    /// Starts `workers` threads and the watchdog. `run` does a job.
    pub(super) fn start(workers: NonZeroUsize, run: impl Fn(J) + Send + Sync + 'static) -> io::Result<Self> {
        let slots = (0..workers.get()).map(|_| Slot::new()).collect();
        let shared = Arc::new(Shared {
            slots,
            injector: Mutex::default(),
            sleeping: Mutex::default(),
            sleepers: AtomicUsize::new(0),
            tick: Arc::new(AtomicU64::new(1)),
            over: AtomicBool::new(false),
            stuck: AtomicUsize::new(0),
            replaced: AtomicU64::new(0),
            threads: Mutex::default(),
        });
        let run: Run<J> = Arc::new(run);
        let scheduler = Self { shared };
        for slot in 0..workers.get() {
            let mark = Arc::clone(&locked(&scheduler.shared.slots[slot].owner));
            scheduler.shared.start_worker(slot, mark, Arc::clone(&run))?;
        }
        let shared = Arc::clone(&scheduler.shared);
        let watchdog =
            std::thread::Builder::new().name("actor-watchdog".to_owned()).spawn(move || shared.watch(&run))?;
        locked(&scheduler.shared.threads).push(watchdog);
        Ok(scheduler)
    }

    /// Queues a job: on this thread's own queue if it is a worker's, else on the common one.
    pub(super) fn submit(&self, job: J) {
        let shared = &*self.shared;
        let me = std::ptr::from_ref(shared).addr();
        let own = LOCAL.with_borrow(|local| local.as_ref().filter(|l| l.scheduler == me).map(|l| l.slot));
        match own {
            Some(slot) => {
                let mut queue = locked(&shared.slots[slot].queue);
                queue.push_back(job);
                let others_wait = queue.len() > 1;
                drop(queue);
                // A single job is what this thread does next; waking another for it costs more than it gains.
                if others_wait {
                    shared.wake_one();
                }
            }
            None => shared.submit_from_outside(job),
        }
    }

    /// Where threads of others may leave jobs. It keeps nothing alive.
    pub(super) fn entrance(&self) -> Entrance<J> {
        Entrance(Arc::downgrade(&self.shared))
    }

    /// Whether the running job should make place: it has had its tick, or its thread lost the queue.
    pub(super) fn should_leave(&self) -> bool {
        LOCAL.with_borrow_mut(|local| {
            let Some(local) = local else { return false };
            local.calls += 1;
            // A thread of another scheduler has nothing to share here.
            let is_ours = local.scheduler == std::ptr::from_ref(&*self.shared).addr();
            if local.calls.is_multiple_of(CALLS_PER_LOOK) && is_ours {
                self.share(local);
            }
            local.tick.load(Ordering::Relaxed) != local.job_tick
                || local.mark.demoted.load(Ordering::Relaxed)
                || self.shared.over.load(Ordering::Relaxed)
        })
    }

    /// Lets a sleeping thread take what this job made, if it goes on for long.
    fn share(&self, local: &mut Local) {
        let shared = &*self.shared;
        if shared.sleepers.load(Ordering::Relaxed) == 0 {
            return;
        }
        let now = Instant::now();
        let since = *local.first_look.get_or_insert(now);
        if now - since >= SHARE_AFTER && !locked(&shared.slots[local.slot].queue).is_empty() {
            shared.wake_one();
        }
    }

    /// Threads that are stuck in a guest call and lost their queue, now and ever.
    pub(super) fn stuck(&self) -> (usize, u64) {
        (self.shared.stuck.load(Ordering::Relaxed), self.shared.replaced.load(Ordering::Relaxed))
    }

    /// Ends all threads after the calls they have in hand, and waits for that. `hurry` is called until it is so.
    pub(super) fn stop(&self, hurry: impl Fn()) {
        let shared = &*self.shared;
        shared.over.store(true, Ordering::SeqCst);
        for slot in &shared.slots {
            slot.rouse();
        }
        let me = std::thread::current().id();
        loop {
            // A thread that is started meanwhile finds that it is over and is waited for in the next round.
            let threads = std::mem::take(&mut *locked(&shared.threads));
            if threads.is_empty() {
                return;
            }
            for thread in threads.into_iter().filter(|thread| thread.thread().id() != me) {
                while !thread.is_finished() {
                    hurry();
                    std::thread::sleep(HURRY_EVERY);
                }
                // A panic of the thread was reported when it happened.
                let _ = thread.join();
            }
        }
    }
}

/// Where threads of others leave jobs, as long as there is somebody to do them.
pub(super) struct Entrance<J>(Weak<Shared<J>>);

impl<J: Send + 'static> Entrance<J> {
    /// Leads to no threads.
    #[cfg(test)]
    pub(super) fn nowhere() -> Self {
        Self(Weak::new())
    }

    /// Queues a job on the common queue, or drops it when the threads end.
    pub(super) fn submit(&self, job: J) {
        if let Some(shared) = self.0.upgrade().filter(|shared| !shared.over.load(Ordering::SeqCst)) {
            shared.submit_from_outside(job);
        }
    }
}

impl<J: Send + 'static> Drop for Scheduler<J> {
    fn drop(&mut self) {
        self.stop(|| ());
    }
}

impl<J> Slot<J> {
    fn new() -> Self {
        Self { queue: Mutex::default(), owner: Mutex::new(Mark::new()), awake: Mutex::new(true), wake: Condvar::new() }
    }

    fn rouse(&self) {
        *locked(&self.awake) = true;
        self.wake.notify_all();
    }
}

impl<J: Send + 'static> Shared<J> {
    fn submit_from_outside(&self, job: J) {
        locked(&self.injector).push_back(job);
        self.wake_one();
    }

    fn start_worker(self: &Arc<Self>, slot: usize, mark: Arc<Mark>, run: Run<J>) -> io::Result<()> {
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name(format!("actor-worker-{slot}"))
            .stack_size(STACK_BYTES)
            .spawn(move || shared.work(slot, mark, &*run))?;
        let mut threads = locked(&self.threads);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    fn work(self: Arc<Self>, slot: usize, mark: Arc<Mark>, run: &(dyn Fn(J) + Send + Sync)) {
        mark.thread_id.store(current_thread_id(), Ordering::Relaxed);
        LOCAL.set(Some(Local {
            scheduler: std::ptr::from_ref(&*self).addr(),
            slot,
            mark: Arc::clone(&mark),
            tick: Arc::clone(&self.tick),
            job_tick: 0,
            calls: 0,
            first_look: None,
        }));
        let mut turn = 0;
        while !mark.demoted.load(Ordering::Relaxed) && !self.over.load(Ordering::Relaxed) {
            turn = (turn + 1) % FAIRNESS;
            match self.next(slot, turn == 0) {
                Some(job) => self.do_job(job, run),
                None => self.sleep(slot, &mark),
            }
        }
        if mark.demoted.load(Ordering::Relaxed) {
            self.stuck.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn do_job(&self, job: J, run: &(dyn Fn(J) + Send + Sync)) {
        let tick = self.tick.load(Ordering::Relaxed);
        LOCAL.with_borrow_mut(|local| {
            if let Some(local) = local {
                (local.job_tick, local.calls, local.first_look) = (tick, 0, None);
            }
        });
        // A bug in one actor's bookkeeping must not take the thread from all others. The panic was printed.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(job)));
    }

    fn next(&self, slot: usize, common_first: bool) -> Option<J> {
        let common = || locked(&self.injector).pop_front();
        let own = || locked(&self.slots[slot].queue).pop_front();
        let near = if common_first { common().or_else(own) } else { own().or_else(common) };
        near.or_else(|| self.steal(slot))
    }

    fn steal(&self, slot: usize) -> Option<J> {
        let count = self.slots.len();
        (1..count).map(|step| (slot + step) % count).find_map(|victim| {
            let mut queue = locked(&self.slots[victim].queue);
            let half = queue.len().div_ceil(2).min(MAX_STOLEN);
            let mut stolen: VecDeque<J> = queue.drain(..half).collect();
            drop(queue);
            let first = stolen.pop_front();
            if !stolen.is_empty() {
                locked(&self.slots[slot].queue).append(&mut stolen);
            }
            first
        })
    }

    fn has_jobs(&self) -> bool {
        !locked(&self.injector).is_empty() || self.slots.iter().any(|slot| !locked(&slot.queue).is_empty())
    }

    /// Sleeps until there may be a job.
    ///
    /// The thread says that it sleeps before it looks at the queues for the last time, and whoever queues
    /// a job looks for sleepers after it did: one of the two sees the other.
    fn sleep(&self, slot: usize, mark: &Mark) {
        *locked(&self.slots[slot].awake) = false;
        locked(&self.sleeping).push(slot);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        if self.has_jobs() || self.over.load(Ordering::SeqCst) || mark.demoted.load(Ordering::SeqCst) {
            return self.stay_awake(slot);
        }
        let awake = locked(&self.slots[slot].awake);
        drop(self.slots[slot].wake.wait_while(awake, |awake| !*awake).unwrap_or_else(PoisonError::into_inner));
    }

    fn stay_awake(&self, slot: usize) {
        let mut sleeping = locked(&self.sleeping);
        if let Some(at) = sleeping.iter().position(|sleeper| *sleeper == slot) {
            sleeping.remove(at);
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
        // Otherwise somebody has just woken this slot, which has the same effect.
    }

    fn wake_one(&self) {
        if self.sleepers.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut sleeping = locked(&self.sleeping);
        let Some(slot) = sleeping.pop() else { return };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        drop(sleeping);
        self.slots[slot].rouse();
    }

    fn watch(self: &Arc<Self>, run: &Run<J>) {
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            let tick = self.tick.fetch_add(1, Ordering::Relaxed) + 1;
            for (index, slot) in self.slots.iter().enumerate() {
                let began = locked(&slot.owner).call_began.load(Ordering::Relaxed);
                if began != 0 && tick > began + 1 {
                    self.replace(index, run);
                }
            }
            if self.sleepers.load(Ordering::Relaxed) > 0 && self.has_jobs() {
                self.wake_one();
            }
        }
    }

    fn replace(self: &Arc<Self>, slot: usize, run: &Run<J>) {
        if self.stuck.load(Ordering::Relaxed) >= MAX_STUCK_THREADS {
            return;
        }
        let mark = Mark::new();
        let old = std::mem::replace(&mut *locked(&self.slots[slot].owner), Arc::clone(&mark));
        self.stuck.fetch_add(1, Ordering::Relaxed);
        old.demoted.store(true, Ordering::SeqCst);
        // It may have come out of its call just now and gone to sleep.
        self.slots[slot].rouse();
        if self.start_worker(slot, mark, Arc::clone(run)).is_err() {
            // No new thread to be had: the old one keeps the queue and is looked at again in a tick.
            old.demoted.store(false, Ordering::Relaxed);
            self.stuck.fetch_sub(1, Ordering::Relaxed);
            *locked(&self.slots[slot].owner) = old;
            return;
        }
        self.replaced.fetch_add(1, Ordering::Relaxed);
        lower_priority(old.thread_id.load(Ordering::Relaxed));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::mark::during_call;
    use super::*;

    fn workers(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    type Task = Box<dyn FnOnce() + Send>;

    fn tasks(count: usize) -> Scheduler<Task> {
        Scheduler::start(workers(count), |task: Task| task()).unwrap()
    }

    #[test]
    fn every_job_runs_once_however_it_was_made() {
        let (done, results) = mpsc::channel();
        let scheduler = Arc::new(tasks(2));
        for outer in 0..100 {
            let (inner_scheduler, done) = (Arc::clone(&scheduler), done.clone());
            scheduler.submit(Box::new(move || {
                for inner in 0..100 {
                    let done = done.clone();
                    inner_scheduler.submit(Box::new(move || done.send(outer * 100 + inner).unwrap()));
                }
            }));
        }
        let mut all: Vec<u32> = results.iter().take(10_000).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn no_job_is_forgotten_when_all_threads_fall_asleep_between_jobs() {
        let (done, results) = mpsc::sync_channel(0);
        let scheduler = tasks(2);
        for job in 0..5_000 {
            let done = done.clone();
            scheduler.submit(Box::new(move || done.send(job).unwrap()));
            assert_eq!(results.recv().unwrap(), job);
        }
    }

    #[test]
    fn threads_stuck_in_calls_leave_their_queues_to_new_ones() {
        let (done, results) = mpsc::channel();
        let scheduler = tasks(2);
        // Made after the scheduler, so that a failed assertion opens it before the threads are waited for.
        let (open_gate, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..6 {
            let gate = Arc::clone(&gate);
            scheduler.submit(Box::new(move || {
                let _closed = during_call(|| locked(&gate).recv());
            }));
        }
        for job in 0..100 {
            let done = done.clone();
            scheduler.submit(Box::new(move || done.send(job).unwrap()));
        }
        assert_eq!(results.iter().take(100).count(), 100);
        // The last of them may be in its call for less than a tick when all others are done.
        let until = Instant::now() + Duration::from_secs(60);
        while scheduler.stuck().1 < 6 {
            assert!(Instant::now() < until, "not all were noticed: {:?}", scheduler.stuck());
            std::thread::yield_now();
        }
        drop(open_gate);
        scheduler.stop(|| ());
        assert_eq!(scheduler.stuck().0, 0);
    }

    #[test]
    fn a_panic_ends_its_job_and_no_thread() {
        let (done, results) = mpsc::channel();
        let scheduler = tasks(1);
        scheduler.submit(Box::new(|| panic!("meant for this test")));
        scheduler.submit(Box::new(move || done.send(()).unwrap()));
        results.recv().unwrap();
    }

    #[test]
    fn a_job_longer_than_a_tick_is_asked_to_leave() {
        let (done, results) = mpsc::channel();
        let scheduler = Arc::new(tasks(1));
        let inner = Arc::clone(&scheduler);
        scheduler.submit(Box::new(move || {
            let mut calls = 0u64;
            while !inner.should_leave() {
                calls += 1;
            }
            done.send(calls).unwrap();
        }));
        assert!(results.recv().unwrap() > 0);
    }
}
