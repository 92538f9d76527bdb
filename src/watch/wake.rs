//! Owns waiting for the next look.
//!
//! Decides nothing: when a look is due is [`super::debounce`]'s business.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::inbox::{Cause, Inbox, Touched};

/// What the watcher and the waiting side share.
#[derive(Debug)]
pub(super) struct Shared {
    inbox: Mutex<Inbox>,
    /// Wakes the one waiting side; keeps a permit while it does not wait.
    arrived: Notify,
    begun: Instant,
}

impl Shared {
    pub(super) fn new(directory: PathBuf, interval: Duration) -> Self {
        Self { inbox: Mutex::new(Inbox::new(directory, interval)), arrived: Notify::new(), begun: Instant::now() }
    }

    /// Monotonic time.
    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Held for a moment only: the thread that drains the kernel's queue waits for it.
    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // What a panicking thread left is still a list of reasons to look.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the waiting side ask again when the next look is due.
    pub(super) fn announce(&self) {
        self.arrived.notify_one();
    }
}

/// The waiting side: owned by the one loop that looks.
#[derive(Debug)]
pub struct Wake {
    pub(super) shared: Arc<Shared>,
}

impl Wake {
    /// Waits until the next look is due and says why. Reasons that come meanwhile become one.
    ///
    /// Cancel-safe: a reason is taken in the same step in which it is returned.
    pub async fn next(&mut self) -> Cause {
        loop {
            let now = self.shared.now();
            let taken = self.shared.inbox().take(now);
            let ask_again = match taken {
                Ok(cause) => return cause,
                Err(ask_again) => ask_again,
            };
            tokio::select! {
                // Cancel-safe: `Notify` stores one permit.
                () = self.shared.arrived.notified() => {}
                // Cancel-safe: a timer.
                () = tokio::time::sleep(ask_again.saturating_sub(now)) => {}
            }
        }
    }

    /// The desired files that were closed after writing or renamed into place since the last call.
    /// To be taken after the list that they are compared with.
    pub fn take_completed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.shared.inbox().completed)
    }

    /// The artifact directories that may have changed since the last call. Everything at first.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.shared.inbox().touched)
    }

    /// When to look again without a further event, from [`super::files::FileCache::look_again_after`].
    /// Each call replaces the one before.
    pub fn look_again_after(&mut self, wait: Option<Duration>) {
        let at = wait.map(|wait| self.shared.now().saturating_add(wait));
        self.shared.inbox().look_again_at = at;
    }

    /// Monotonic time, for [`super::files::Look::now`].
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// Whether the last list reached files through links: then every name in the directory matters.
    pub fn set_has_links(&mut self, has_links: bool) {
        self.shared.inbox().every_name_matters = has_links;
    }
}
