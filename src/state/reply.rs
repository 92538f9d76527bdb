//! Owns how an answer comes back from the writing thread, to callers that block and to callers that await.
//!
//! Dropping a reply does not take the command back: it is carried out all the same.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::error::StateError;

/// An answer that is on its way. Wait for it, or await it.
#[must_use = "the command is carried out, but whether it worked is only known from the reply"]
pub struct Reply<T>(Arc<Shared<T>>);

/// The sending half. Dropped unused, it answers that the thread is gone.
pub(crate) struct Answer<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

enum State<T> {
    /// Nothing yet; whom to wake.
    Waiting(Option<Waker>),
    /// Not yet taken.
    Here(Result<T, StateError>),
    /// Taken; a second look finds nothing.
    Taken,
}

/// Two ends of one answer.
pub(crate) fn channel<T>() -> (Answer<T>, Reply<T>) {
    let shared = Arc::new(Shared { state: Mutex::new(State::Waiting(None)), arrived: Condvar::new() });
    (Answer(Arc::clone(&shared)), Reply(shared))
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is replaced as a whole, so a panic elsewhere can't leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Answer<T> {
    pub(crate) fn send(self, result: Result<T, StateError>) {
        self.put(result);
    }

    fn put(&self, result: Result<T, StateError>) {
        let mut state = self.0.lock();
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Here(result);
            drop(state);
            self.0.arrived.notify_all();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        self.put(Err(StateError::WriterGone));
    }
}

impl<T> Reply<T> {
    /// Blocks until the answer is there. Not for asynchronous code, which awaits the reply instead.
    pub fn wait(self) -> Result<T, StateError> {
        let mut state = self.0.lock();
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Here(result) => return result,
                State::Taken => return Err(StateError::WriterGone),
                waiting => *state = waiting,
            }
            state = self.0.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, StateError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Here(result) => Poll::Ready(result),
            State::Taken => Poll::Ready(Err(StateError::WriterGone)),
            State::Waiting(_) => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn an_answer_reaches_a_blocked_caller_and_an_awaiting_one() {
        let (answer, reply) = channel();
        let sender = thread::spawn(move || answer.send(Ok(7)));
        assert_eq!(reply.wait().unwrap(), 7);
        sender.join().unwrap();
        let (answer, reply) = channel();
        let sender = thread::spawn(move || answer.send(Ok(8)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(reply).unwrap(), 8);
        sender.join().unwrap();
    }

    #[test]
    fn a_thread_that_ends_without_an_answer_is_an_error_and_no_hang() {
        let (answer, reply) = channel::<()>();
        drop(answer);
        assert!(matches!(reply.wait(), Err(StateError::WriterGone)));
    }
}
