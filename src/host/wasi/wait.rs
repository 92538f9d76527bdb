//! Owns how long a guest may wait in a call of the host: not at all, or until the time of its own call is over.
//!
//! A guest that may reach files or hosts runs on threads that are there for waiting, so one that waits keeps no other
//! component from its turn. Whatever it waits for, the wait ends with the time that its call has, or with the host.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use wasmtime_wasi::runtime::in_tokio;

/// The guest asked to wait, and must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the component tried to wait (sleep or poll), but it was linked without waiting: it has no fs, net or http grant, \
     so nothing it could wait for can happen; a component that must act later asks for a [[trigger]] in its desired file"
)]
pub(crate) struct WouldWait;

/// The guest waited for as long as its call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it waited until the time of its call was over")]
pub(crate) struct WaitedTooLong;

/// The right of a guest to wait.
#[derive(Debug)]
pub(crate) struct Waits {
    until: Instant,
    /// Becomes true when everybody is to end now.
    hurry: watch::Receiver<bool>,
}

impl Waits {
    /// Nothing is waited for before [`Waits::begin`].
    pub(crate) fn new(hurry: watch::Receiver<bool>) -> Self {
        Self { until: Instant::now(), hurry }
    }

    /// A call begins that may take `time`.
    pub(crate) fn begin(&mut self, time: Duration) {
        self.until = Instant::now() + time;
    }
}

/// The future's value: at once for a guest that must not wait, else as soon as it is there.
pub(super) fn wait<T>(waits: Option<&Waits>, future: impl Future<Output = T>) -> wasmtime::Result<T> {
    match waits {
        None => at_once(future).map_err(wasmtime::Error::from),
        Some(Waits { until, hurry }) => {
            let (until, mut hurry) = (*until, hurry.clone());
            in_tokio(async move {
                tokio::select! {
                    biased;
                    // Nothing is lost: whoever gives up ends the instance.
                    value = future => Ok(value),
                    () = tokio::time::sleep_until(until.into()) => Err(WaitedTooLong.into()),
                    _ = hurry.wait_for(|hurry| *hurry) => Err(WaitedTooLong.into()),
                }
            })
        }
    }
}

fn at_once<T>(future: impl Future<Output = T>) -> Result<T, WouldWait> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(WouldWait),
    }
}
