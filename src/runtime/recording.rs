//! What a running host records besides what its passes do: that it starts and stops, and what components are denied.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::actor::{Denial, System};
use crate::audit::{Entry, Kind};
use crate::reconcile::unix_now_s;
use crate::state::AuditSink;

/// How often denials are looked for, in milliseconds: the first of a component is in the log after this.
const LOOK_FOR_DENIALS_MS: u64 = 1_000;

/// Records denials until the host is to stop. What comes after that is recorded by [`stopped`].
pub(super) async fn denials(actors: Arc<System>, sink: AuditSink, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(LOOK_FOR_DENIALS_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Cancel-safe: a timer.
            _ = ticks.tick() => {}
            // Cancel-safe: `watch` keeps the value. An error means that nobody wants a host any more.
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let entries = entries(&actors.take_denials(false));
        if !entries.is_empty() {
            let _ = sink.record(entries).await;
        }
    }
}

/// The host began to run.
pub(super) fn started(running: usize, installed: usize) -> Entry {
    let version = env!("CARGO_PKG_VERSION");
    let what = format!("airssys-wasm {version}: {running} of {installed} components started");
    Entry::new(now(), Kind::Start, what).by(user())
}

/// The host ends; `in_time` says whether all components did by themselves.
pub(super) fn stopped(actors: &System, stopped: usize, in_time: bool) -> Vec<Entry> {
    let mut entries = entries(&actors.take_denials(true));
    let how = if in_time { "" } else { "; some did not end by themselves in time" };
    entries.push(Entry::new(now(), Kind::Stop, format!("{stopped} components were stopped{how}")));
    entries
}

fn entries(denials: &[Denial]) -> Vec<Entry> {
    let entry = |denial: &Denial| {
        let what = format!("{}: {}", denial.permission, denial.what);
        Entry { count: Some(denial.count), ..Entry::new(now(), Kind::Denied, what).about(&denial.name) }
    };
    denials.iter().map(entry).collect()
}

fn now() -> u64 {
    unix_now_s().unsigned_abs()
}

fn user() -> String {
    format!("uid {}", rustix::process::geteuid().as_raw())
}
