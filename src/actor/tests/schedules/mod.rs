//! The mailbox, the replies and the requests under a scheduler that tries the orders in which threads can meet.
//!
//! The very files of the actor are compiled here again, on top of other locks and atomics (see `sync`). What stands
//! around them is small and says only what a test must know. A failing schedule is printed with what repeats it.

mod asking;
mod mailbox_of_one;

use crate::limits::{LimitOverrides, Limits};

#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)]
#[path = "../../attempts.rs"]
mod attempts;
// Not every part of the files is used here.
#[allow(dead_code, unused_imports, unreachable_pub, clippy::duplicate_mod)]
#[path = "../../mailbox/mod.rs"]
mod mailbox;
#[allow(dead_code, unused_imports, unreachable_pub, clippy::duplicate_mod)]
#[path = "../../reply.rs"]
mod reply;
#[allow(dead_code, unused_imports, unreachable_pub, clippy::duplicate_mod)]
#[path = "../../request/mod.rs"]
mod request;

/// What `super::sync` is to the actor, under the scheduler of these tests.
mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};
}

/// The core as the requests see it: an alarm clock that is read by hand.
mod core {
    use std::sync::{PoisonError, Weak};
    use std::time::Instant;

    use super::request::OpenRequests;
    use super::sync::{Mutex, MutexGuard};

    pub(super) enum Due {
        Requests(Weak<OpenRequests>),
    }

    #[derive(Default)]
    pub(super) struct Core {
        pub(super) alarms: Mutex<Vec<(Instant, Weak<OpenRequests>)>>,
    }

    impl Core {
        pub(super) fn set_timer(&self, at: Instant, due: Due) {
            let Due::Requests(requests) = due;
            locked(&self.alarms).push((at, requests));
        }
    }

    pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An actor as the requests see it: a mailbox and what is counted.
mod cell {
    use std::sync::Arc;

    use super::core::Core;
    use super::mailbox::Mailbox;
    use super::request::Callback;
    use super::sync::{AtomicU64, Ordering};
    use crate::limits::Limits;

    #[derive(Default)]
    pub(super) struct Counters {
        pub(super) opened: AtomicU64,
        pub(super) cancelled: AtomicU64,
    }

    impl Counters {
        pub(super) fn request_opened(&self) {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
        pub(super) fn answered_late(&self) {}
        pub(super) fn requests_cancelled(&self, requests: u64) {
            self.cancelled.fetch_add(requests, Ordering::Relaxed);
        }
    }

    pub(super) struct ActorCell {
        pub(super) mailbox: Mailbox<()>,
        pub(super) counters: Counters,
    }

    impl ActorCell {
        pub(super) fn new(limits: &Limits) -> Arc<Self> {
            let cell = Self { mailbox: Mailbox::new(limits), counters: Counters::default() };
            cell.mailbox.open();
            cell.mailbox.set_runnable(true);
            Arc::new(cell)
        }

        pub(super) fn take_callback(self: &Arc<Self>, _core: &Core, callback: Callback) {
            self.mailbox.put_callback(callback);
        }
    }
}

/// What is held while a message waits outside; nobody is to be told.
mod ticket {
    pub(super) struct Ticket;
}

mod status {
    pub(super) use crate::actor::DeadReason;
}

/// The way back to a breaker; there is none.
mod breaker {
    pub(super) struct Outcome;
}

/// Nothing of the triggers matters here.
mod trigger {
    #[derive(Debug)]
    pub(super) struct Tick;
    impl Tick {
        pub(super) fn taken(&self) {}
    }
}

/// Looks at so many orders of a small scene, chosen by a fixed seed.
fn in_many_orders(scene: impl Fn() + Send + Sync + 'static) {
    let orders = usize::try_from(crate::test_scale::cases(2_000)).unwrap();
    // Few changes of threads find most mistakes, and find them soonest.
    shuttle::check_pct(scene, orders, 3);
}

fn default_limits() -> Limits {
    Limits::resolve(&LimitOverrides::default(), &LimitOverrides::default())
}
