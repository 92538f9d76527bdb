//! Measures one fetch against its limits, and keeps why it was ended.
//!
//! libgit2 only says that a callback ended something; the reason waits here.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::source::remote::FetchFailure;

use super::limits::Limits;

/// The clock and the counters of one fetch.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    first_byte: Option<Instant>,
    failure: Option<FetchFailure>,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, started: Instant::now(), state: Mutex::default() }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The time that is left.
    pub(super) fn remaining(&self) -> Result<Duration, FetchFailure> {
        match self.limits.total.checked_sub(self.started.elapsed()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(self.too_long()),
        }
    }

    /// The fetch took longer than it may.
    pub(super) fn too_long(&self) -> FetchFailure {
        FetchFailure::new("fetch-timeout", format!("the fetch took longer than {} s", self.limits.total.as_secs_f32()))
    }

    /// The other side sends nothing.
    pub(super) fn stalled(&self) -> FetchFailure {
        let seconds = self.limits.stall.as_secs_f32();
        FetchFailure::new("fetch-timeout", format!("the server sent nothing for {seconds} s"))
    }

    /// Judges a pack of which `bytes` have come so far.
    pub(super) fn check_received(&self, bytes: u64) -> Result<(), FetchFailure> {
        self.remaining()?;
        let most = self.limits.received_bytes;
        if bytes > most {
            let message = format!("the repository sends more than {most} bytes");
            return Err(FetchFailure::new("repository-too-large", message)
                .hint("keep artifacts in a repository of their own, and name a tag: its history is not fetched"));
        }
        let elapsed = self.state().first_byte.get_or_insert_with(Instant::now).elapsed();
        let least = self.limits.min_rate.saturating_mul(elapsed.as_secs());
        if elapsed > self.limits.grace && bytes < least {
            let message = format!("the server sends less than {} bytes a second", self.limits.min_rate);
            return Err(FetchFailure::new("fetch-timeout", message));
        }
        Ok(())
    }

    /// Keeps why the fetch is ended; the first reason stays.
    pub(super) fn fail(&self, failure: FetchFailure) {
        self.state().failure.get_or_insert(failure);
    }

    /// Takes the reason out.
    pub(super) fn take_failure(&self) -> Option<FetchFailure> {
        self.state().failure.take()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
