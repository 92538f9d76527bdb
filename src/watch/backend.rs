//! Owns one watcher of the kernel and the way of its events into the inbox.
//!
//! Knows nothing about what is watched or why.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::{Config, ErrorKind, Event, EventHandler, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::inbox::{Cause, Origin};
use super::wake::Shared;
use super::watcher::PollCause;
use crate::escape::escape;

/// One inotify instance. The thread of `notify` drains it and only ever takes the inbox's lock.
pub(super) struct Backend {
    watcher: RecommendedWatcher,
    pub(super) is_dead: Arc<AtomicBool>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("is_dead", &self.is_dead).finish_non_exhaustive()
    }
}

impl Backend {
    pub(super) fn ensure<'a>(
        place: &'a mut Option<Self>,
        shared: &Arc<Shared>,
        origin: Origin,
    ) -> Result<&'a mut Self, PollCause> {
        if place.is_none() {
            *place = Some(Self::open(shared, origin)?);
        }
        Ok(place.as_mut().expect("it was filled just now"))
    }

    fn open(shared: &Arc<Shared>, origin: Origin) -> Result<Self, PollCause> {
        let is_dead = Arc::new(AtomicBool::new(false));
        let feed = Feed { shared: Arc::clone(shared), origin, is_dead: Arc::clone(&is_dead) };
        let watcher = RecommendedWatcher::new(feed, Config::default()).map_err(poll_cause)?;
        Ok(Self { watcher, is_dead })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    // The inbox must not be locked here: the answer comes from the thread that locks it.
    pub(super) fn watch(&mut self, directory: &Path) -> Result<(), PollCause> {
        self.watcher.watch(directory, RecursiveMode::NonRecursive).map_err(poll_cause)
    }

    pub(super) fn unwatch(&mut self, directory: &Path) {
        // An error means that the watch went away with its directory.
        let _ = self.watcher.unwatch(directory);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Ended on purpose: the feed must not report it.
        self.is_dead.store(true, Ordering::Release);
    }
}

/// Takes events from the thread of `notify`.
pub(super) struct Feed {
    pub(super) shared: Arc<Shared>,
    pub(super) origin: Origin,
    pub(super) is_dead: Arc<AtomicBool>,
}

impl EventHandler for Feed {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        let now = self.shared.now();
        let matters = self.shared.inbox().deliver(self.origin, event, now);
        if matters {
            self.shared.announce();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if !self.is_dead.swap(true, Ordering::AcqRel) {
            let now = self.shared.now();
            let cause = Cause::WatcherError("its thread ended".to_owned());
            self.shared.inbox().fail(self.origin, cause, now);
            self.shared.announce();
        }
    }
}

pub(super) fn poll_cause(error: notify::Error) -> PollCause {
    /// What `inotify_init` says when a user has too many instances, or a process too many files.
    const TOO_MANY_INSTANCES: i32 = rustix::io::Errno::MFILE.raw_os_error();
    match &error.kind {
        ErrorKind::MaxFilesWatch => PollCause::WatchLimit,
        ErrorKind::PathNotFound => PollCause::Missing,
        ErrorKind::Io(io) if io.raw_os_error() == Some(TOO_MANY_INSTANCES) => PollCause::WatchLimit,
        _ => PollCause::Failed(escape(&error.to_string())),
    }
}
