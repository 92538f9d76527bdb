//! Owns the answer to one message: a place that is filled once, for the host that waits or the instance that asked.
//!
//! Needs no runtime: the answer can be waited for on a thread or polled as a future.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::request::OpenRequests;
use super::sync::{Condvar, Mutex, MutexGuard};
use crate::codec::{NotTaken, Payload};

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such installation, or it takes no messages now.
    #[error("it is not running, or takes no messages now")]
    NoSuchTarget,
    /// Its mailbox is full.
    #[error("its mailbox is full")]
    MailboxFull,
    /// The message is larger than it takes; its limit in bytes.
    #[error("the message is larger than the {0} bytes that it takes")]
    TooLarge(u64),
    /// The message is in a codec that it does not take.
    #[error(transparent)]
    CodecNotTaken(NotTaken),
    /// It has nothing that takes messages.
    #[error("it takes no messages: it exports no `airssys:component/message-handler`")]
    NoHandler,
    /// It has no operations.
    #[error("it has no operations: it exports no `airssys:component/operations`")]
    NoOperations,
    /// It has operations, and none of this name.
    #[error("it has no operation of this name")]
    UnknownOperation,
    /// It has the operation, and can't use the input; its words, escaped.
    #[error("it can't use the input: {0}")]
    InvalidInput(String),
    /// The component answered with an error; its words, escaped.
    #[error("it answered with an error: {0}")]
    Failed(String),
    /// The component crashed with this message in hand.
    #[error("it crashed: {0}")]
    Crashed(String),
    /// The store did not confirm what the component wrote, so its reply does not count; why.
    #[error("the store did not confirm what it wrote: {0}")]
    NotKept(String),
    /// The message itself could not be written where it must outlive the host; why.
    #[error("the message could not be written: {0}")]
    NotWritten(String),
    /// The message was not handled because the actor stopped.
    #[error("it was stopped before it came to this message")]
    Stopped,
    /// Its mailbox was full, and the message was dropped as its limits say.
    #[error("its mailbox was full, and the message was dropped")]
    Dropped,
    /// The time is over. The message is not handled any more unless it is in hand already.
    #[error("it did not answer in time")]
    TimedOut,
}

/// The answer: a content, or none when the component gave none.
pub type Reply = Result<Option<Payload>, CallError>;

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reply: Option<Reply>,
    waker: Option<Waker>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, reply: Reply) {
        let mut state = self.state();
        if state.reply.is_none() {
            state.reply = Some(reply);
        }
        let waker = state.waker.take();
        drop(state);
        self.came.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The side that answers. Dropped without an answer, it says that the actor stopped.
pub(super) struct ReplySlot(Option<Asker>);

/// Who waits for an answer.
enum Asker {
    Host(Arc<Shared>),
    Instance { requests: Arc<OpenRequests>, id: u64 },
}

impl Asker {
    fn tell(self, reply: Reply) {
        match self {
            Self::Host(shared) => shared.fill(reply),
            Self::Instance { requests, id } => requests.answer(id, reply),
        }
    }
}

impl ReplySlot {
    /// The place for the answer to an open request of an instance.
    pub(super) fn of_request(requests: Arc<OpenRequests>, id: u64) -> Self {
        Self(Some(Asker::Instance { requests, id }))
    }

    pub(super) fn answer(mut self, reply: Reply) {
        if let Some(asker) = self.0.take() {
            asker.tell(reply);
        }
    }
}

impl Drop for ReplySlot {
    fn drop(&mut self) {
        if let Some(asker) = self.0.take() {
            asker.tell(Err(CallError::Stopped));
        }
    }
}

/// An answer that may come: wait for it with [`PendingReply::wait`], or await it.
///
/// As a future it has no time limit of its own, but the message expires, and then the answer says so.
#[derive(Debug)]
pub struct PendingReply {
    shared: Arc<Shared>,
    until: Instant,
}

pub(super) fn slot(timeout: Duration) -> (ReplySlot, PendingReply) {
    let shared = Arc::new(Shared::default());
    // A time too far away to be written down is cut to a day, which no call lives.
    let now = Instant::now();
    let until = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(24 * 60 * 60));
    (ReplySlot(Some(Asker::Host(Arc::clone(&shared)))), PendingReply { shared, until })
}

impl PendingReply {
    /// When the message expires.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Whether the answer is there.
    pub(super) fn is_there(&self) -> bool {
        self.shared.state().reply.is_some()
    }

    /// Waits for the answer, at most until the time given with the call is over.
    pub fn wait(self) -> Reply {
        let mut state = self.shared.state();
        loop {
            if let Some(reply) = state.reply.take() {
                return reply;
            }
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CallError::TimedOut);
            }
            state = self.shared.came.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Future for PendingReply {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        let mut state = self.shared.state();
        match state.reply.take() {
            Some(reply) => Poll::Ready(reply),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
