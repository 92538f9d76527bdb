//! Owns `wasi:clocks/monotonic-clock`.
//!
//! A deadline can be made and asked whether it has passed; whether it may be waited for is decided in `wait`.

use std::time::{Duration, Instant};

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{WasiView as _, async_trait};

use super::super::Guest;

/// Offers the clock of this module.
pub(super) struct Clocks;

impl HasData for Clocks {
    type Data<'a> = Clock<'a>;
}

/// The clock with the table into which its deadlines go.
pub(super) struct Clock<'a>(&'a mut ResourceTable);

pub(super) fn view(guest: &mut Guest) -> Clock<'_> {
    Clock(guest.ctx().table)
}

/// The instant that guests see as zero: the first time that any guest of this process asked.
fn zero() -> Instant {
    static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ZERO.get_or_init(Instant::now)
}

fn now_ns() -> u64 {
    u64::try_from(zero().elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Nothing when the time is too far away to be written down, which is as good as never.
struct Deadline(Option<Instant>);

#[async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        match self.0 {
            Some(at) if at <= Instant::now() => {}
            // Without a timer nobody waits for this future; it is looked at once.
            Some(at) if tokio::runtime::Handle::try_current().is_ok() => tokio::time::sleep_until(at.into()).await,
            _ => std::future::pending().await,
        }
    }
}

impl Clock<'_> {
    fn deadline(&mut self, wait: Duration) -> wasmtime::Result<Resource<DynPollable>> {
        let deadline = self.0.push(Deadline(Instant::now().checked_add(wait)))?;
        subscribe(self.0, deadline)
    }
}

impl monotonic_clock::Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(now_ns())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.deadline(Duration::from_nanos(when.saturating_sub(now_ns())))
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.deadline(Duration::from_nanos(duration))
    }
}
