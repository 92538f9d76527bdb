//! What a service manager is told and what it asks for: readiness, status, watchdog, reload.
//!
//! Without its socket in the environment nothing is sent and nothing is missing.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::Global;
use super::exit::Failure;
use super::run::Printer;
use crate::control::request::Request;
use crate::runtime::{HostHandle, Pulse};

/// Shortest interval of watchdog messages, in milliseconds, whatever the environment says.
const MIN_WATCHDOG_MS: u64 = 10;

/// Says that it is ready after the first pass, how things are after every one, and that the loop is
/// alive at half the watchdog's interval, for as long as it is.
pub(super) fn attend(pulse: &Arc<Pulse>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let mut passes = pulse.passes();
    tokio::spawn(async move {
        while passes.changed().await.is_ok() {
            let passed = passes.borrow_and_update().clone();
            tell(&[NotifyState::Ready, NotifyState::Status(&passed.text)]);
        }
    });
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let pulse = pulse.clone();
    tokio::spawn(async move {
        let half = (interval / 2).max(Duration::from_millis(MIN_WATCHDOG_MS));
        loop {
            if pulse.is_alive() {
                tell(&[NotifyState::Watchdog]);
            }
            tokio::time::sleep(half).await;
        }
    });
}

/// Says that the host stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining and stopping")]);
}

/// SIGHUP looks now, at everything, as `sync` does.
pub(super) fn sync_on_hangup(handle: HostHandle, printer: Arc<Printer>, global: &Global) -> Result<(), Failure> {
    let mut hangup = signal(SignalKind::hangup())?;
    let global = global.clone();
    let in_force = global.config()?;
    tokio::spawn(async move {
        // Those that come while a look is under way are one more.
        while hangup.recv().await.is_some() {
            printer.line("SIGHUP: looking at everything now");
            // Trust policy and secrets are read in every pass; these are read once.
            match global.config() {
                Ok(config) if config == in_force => {}
                Ok(_) => {
                    printer.line("config.toml changed; restart to use it: the settings of the start stay in force")
                }
                Err(failure) => {
                    printer.line(&format!("{failure}; the settings of the start stay in force"));
                }
            }
            let now = NotifyState::monotonic_usec_now();
            tell(&[NotifyState::Reloading].into_iter().chain(now.ok()).collect::<Vec<_>>());
            if let Err(refused) = handle.ask(Request::Sync { wait: false }).await {
                printer.line(&format!("SIGHUP: {}", refused.why.message));
            }
            tell(&[NotifyState::Ready]);
        }
    });
    Ok(())
}

/// A manager that does not listen is none of the host's business.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
