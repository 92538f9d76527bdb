//! Owns the requests that one instance made: how long they may take, and how their answers reach it.
//!
//! Which answer counts is the table's decision. An answer goes past the bounds of the mailbox: its room was taken with
//! the request, of which an instance has only so many.

mod table;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

pub(super) use table::Open;
use table::Table;

use super::cell::ActorCell;
use super::core::{Core, Due, locked};
use super::reply::{CallError, Reply};
use super::sync::Mutex;
use crate::host::contract::{Answer, Body, CallbackError};
use crate::limits::Limits;

/// How long a request may take that does not say so, in milliseconds.
const DEFAULT_REQUEST_MS: u64 = 5_000;
/// Longest time of a request, in milliseconds.
const MAX_REQUEST_MS: u64 = 300_000;
/// Part of the time left for a call that the requests of that call may use, in tenths.
const TENTHS_OF_PARENT: u32 = 9;

/// The requests of one instance.
pub(super) struct OpenRequests {
    core: Arc<Core>,
    max_answer_bytes: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    table: Table,
    /// The actor that the instance belongs to, from the moment it takes part.
    owner: Weak<ActorCell>,
}

/// An answer on its way to the instance that asked.
pub(super) struct Callback {
    pub(super) id: u64,
    pub(super) requests: Arc<OpenRequests>,
    pub(super) answer: Answer,
    pub(super) hops: u32,
    pub(super) parent: Option<Instant>,
}

/// When the time of a request is over that is made now and asks for `timeout_ms`, on behalf of a call for which
/// somebody waits until `parent`.
pub(super) fn until(now: Instant, timeout_ms: u64, parent: Option<Instant>) -> Instant {
    let own = match timeout_ms {
        0 => DEFAULT_REQUEST_MS,
        ms => ms.min(MAX_REQUEST_MS),
    };
    let own = Duration::from_millis(own);
    let left = parent.map(|parent| parent.saturating_duration_since(now) * TENTHS_OF_PARENT / 10);
    now + left.map_or(own, |left| left.min(own))
}

impl OpenRequests {
    pub(super) fn new(core: Arc<Core>, limits: &Limits) -> Arc<Self> {
        let inner = Inner { table: Table::new(limits.open_requests), owner: Weak::new() };
        Arc::new(Self { core, max_answer_bytes: limits.message.0, inner: Mutex::new(inner) })
    }

    /// The instance takes part from now on, as this actor's.
    pub(super) fn belong_to(&self, owner: &Arc<ActorCell>) {
        locked(&self.inner).owner = Arc::downgrade(owner);
    }

    /// Takes a place for a request; the limit when there is none.
    pub(super) fn promise(&self) -> Result<(), u64> {
        locked(&self.inner).table.promise()
    }

    /// Gives back a place that was promised.
    pub(super) fn give_back(&self) {
        locked(&self.inner).table.give_back();
    }

    /// The request leaves. Called before its message does, since the answer can come at once.
    pub(super) fn open(self: &Arc<Self>, id: u64, open: Open) {
        let mut inner = locked(&self.inner);
        if inner.table.is_over() {
            // It was written, and its instance ended before that was known.
            return inner.table.give_back();
        }
        let alarm = inner.table.open(id, open);
        if let Some(owner) = inner.owner.upgrade() {
            owner.counters.request_opened();
        }
        drop(inner);
        if let Some(at) = alarm {
            self.core.set_timer(at, Due::Requests(Arc::downgrade(self)));
        }
    }

    /// The target's answer, or why there is none. Too late, it is nobody's.
    pub(super) fn answer(self: &Arc<Self>, id: u64, reply: Reply) {
        let mut inner = locked(&self.inner);
        let settled = inner.table.settle(id);
        let owner = inner.owner.upgrade();
        drop(inner);
        let Some(open) = settled else {
            if let Some(owner) = owner {
                owner.counters.answered_late();
            }
            return;
        };
        if let Some(owner) = owner {
            self.call_back(&owner, id, open, self.told(reply));
        }
    }

    /// Who makes the requests; nobody before the instance is active.
    pub(super) fn owner(&self) -> Weak<ActorCell> {
        locked(&self.inner).owner.clone()
    }

    fn told(&self, reply: Reply) -> Answer {
        match reply {
            Ok(Some(payload)) if payload.len() as u64 > self.max_answer_bytes => {
                Err(CallbackError::TooLarge(self.max_answer_bytes))
            }
            Ok(reply) => Ok(reply.map(Body::from)),
            Err(CallError::Failed(text)) => Err(CallbackError::Failed(text)),
            // What broke another component, or the store, is for the operator.
            Err(CallError::Crashed(_) | CallError::NotKept(_) | CallError::NotWritten(_)) => {
                Err(CallbackError::Crashed)
            }
            Err(CallError::TimedOut) => Err(CallbackError::TimedOut),
            Err(CallError::TooLarge(limit)) => Err(CallbackError::TooLarge(limit)),
            // What follows the first two is said at the call, or of operations, and is no answer.
            Err(
                CallError::Stopped
                | CallError::Dropped
                | CallError::NoSuchTarget
                | CallError::MailboxFull
                | CallError::CodecNotTaken(_)
                | CallError::NoHandler
                | CallError::NoOperations
                | CallError::UnknownOperation
                | CallError::InvalidInput(_),
            ) => Err(CallbackError::Stopped),
        }
    }

    fn call_back(self: &Arc<Self>, owner: &Arc<ActorCell>, id: u64, open: Open, answer: Answer) {
        let Open { hops, parent, .. } = open;
        owner.take_callback(&self.core, Callback { id, requests: Arc::clone(self), answer, hops, parent });
    }

    /// The alarm of `at` went off. Gives the time of the next.
    pub(super) fn expire(self: &Arc<Self>, at: Instant) -> Option<Instant> {
        let mut inner = locked(&self.inner);
        let (expired, next) = inner.table.expire(at, Instant::now());
        let owner = inner.owner.upgrade();
        drop(inner);
        for (id, open) in expired {
            if let Some(owner) = &owner {
                self.call_back(owner, id, open, Err(CallbackError::TimedOut));
            }
        }
        next
    }

    /// The answer is taken in hand. False when nobody wants it any more.
    pub(super) fn take(&self, id: u64) -> bool {
        locked(&self.inner).table.take(id)
    }

    /// Whether no answer is awaited or waits.
    pub(super) fn is_empty(&self) -> bool {
        locked(&self.inner).table.is_empty()
    }

    /// Gives a request up. False when it was not open.
    pub(super) fn cancel(&self, id: u64) -> bool {
        let mut inner = locked(&self.inner);
        let cancelled = inner.table.cancel(id);
        if let Some(owner) = inner.owner.upgrade().filter(|_| cancelled) {
            owner.counters.requests_cancelled(1);
        }
        cancelled
    }

    /// The instance ends.
    pub(super) fn end(&self) {
        let mut inner = locked(&self.inner);
        let left = inner.table.end();
        if let Some(owner) = inner.owner.upgrade() {
            owner.counters.requests_cancelled(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_its_own_time_and_at_most_nine_tenths_of_what_is_left_for_the_call_that_makes_it() {
        let now = Instant::now();
        let ms = |ms| now + Duration::from_millis(ms);
        assert_eq!(until(now, 0, None), ms(5_000));
        assert_eq!(until(now, 20, None), ms(20));
        assert_eq!(until(now, u64::MAX, None), ms(300_000));
        assert_eq!(until(now, 0, Some(ms(1_000))), ms(900));
        assert_eq!(until(now, 300, Some(ms(1_000))), ms(300));
        assert_eq!(until(now + Duration::from_millis(7), 300, Some(now)), ms(7), "nobody waits any more");
    }
}
