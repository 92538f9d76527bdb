//! Owns what a worker thread shows to the watchdog, and what it knows about itself.
//!
//! Plain marks, written by the thread and read by others; what they lead to is decided in `scheduler`.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Instant;

/// Priority that a stuck thread gets: the guest may go on, but after everyone else.
const STUCK_NICENESS: i32 = 10;

/// What one thread shows to the watchdog.
pub(super) struct Mark {
    /// The tick in which the guest call began that runs now; 0 when none does.
    pub(super) call_began: AtomicU64,
    /// Another thread has the queue.
    pub(super) demoted: AtomicBool,
    pub(super) thread_id: AtomicI32,
}

impl Mark {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { call_began: AtomicU64::new(0), demoted: AtomicBool::new(false), thread_id: AtomicI32::new(0) })
    }
}

/// What a worker thread knows about itself.
pub(super) struct Local {
    /// Address of the shared part: tells one scheduler's threads from another's.
    pub(super) scheduler: usize,
    pub(super) slot: usize,
    pub(super) mark: Arc<Mark>,
    pub(super) tick: Arc<AtomicU64>,
    /// The tick in which the job began that runs now.
    pub(super) job_tick: u64,
    pub(super) calls: u32,
    pub(super) first_look: Option<Instant>,
}

thread_local! {
    pub(super) static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

/// Calls a guest, in view of the watchdog if this is a worker's thread.
pub(super) fn during_call<T>(call: impl FnOnce() -> T) -> T {
    LOCAL.with_borrow(|local| {
        if let Some(local) = local {
            local.mark.call_began.store(local.tick.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    });
    let result = call();
    LOCAL.with_borrow(|local| {
        if let Some(local) = local {
            local.mark.call_began.store(0, Ordering::Relaxed);
        }
    });
    result
}

#[cfg(target_os = "linux")]
pub(super) fn current_thread_id() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn current_thread_id() -> i32 {
    0
}

/// Linux has a priority for each thread; elsewhere a stuck thread competes like any other.
pub(super) fn lower_priority(thread_id: i32) {
    let Some(thread) = rustix::process::Pid::from_raw(thread_id) else { return };
    // The thread may have ended, and then there is nothing to lower.
    let _ = rustix::process::setpriority_process(Some(thread), STUCK_NICENESS);
}
