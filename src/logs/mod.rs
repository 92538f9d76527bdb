//! Owns the logs of components: one set of files for each installation, written by one thread.
//!
//! Does not log the host's own work; that goes to standard error. A writer never waits: what the queue
//! or the rate cannot take is dropped and counted, and one line says how much.

mod bucket;
mod line;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bucket::Bucket;
pub use line::{Level, LogLine, Source};
pub use reader::{Follow, MAX_TAIL_LINES};

use crate::name::InstallationName;
use crate::secret::Redactions;

/// Longest line, in bytes of text; the rest of a longer one is cut off.
pub const MAX_LINE_BYTES: usize = 4 * 1024;
/// What a guest may write over time, in bytes a second.
pub const GUEST_RATE_BYTES: u64 = 1 << 20;
/// What a guest may write at once, in bytes.
pub const GUEST_BURST_BYTES: u64 = 4 << 20;
/// What the host writes into one component's log over time, in bytes a second.
const HOST_RATE_BYTES: u64 = 64 << 10;
/// What the host writes into one component's log at once, in bytes.
const HOST_BURST_BYTES: u64 = 512 << 10;
/// Lines that wait for the writer.
const MAX_QUEUED_LINES: usize = 4_096;
/// Size at which a file is put aside, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// Files of one component: the current one and those put aside.
pub const MAX_FILES: usize = 4;

/// The logs of all components of a host. Cheap to clone; the writer ends with the last clone.
#[derive(Clone)]
pub struct Logs(Arc<Shared>);

struct Shared {
    directory: PathBuf,
    components: Arc<Components>,
    queue: SyncSender<Job>,
}

type Components = Mutex<HashMap<InstallationName, Weak<Component>>>;

/// What all handles of one component's log share.
struct Component {
    name: InstallationName,
    guest: Mutex<Bucket>,
    host: Mutex<Bucket>,
    /// Lines dropped since the log last said so.
    lost: AtomicU64,
    /// Lines dropped in all.
    lost_ever: AtomicU64,
}

enum Job {
    Line {
        component: Arc<Component>,
        line: LogLine,
    },
    /// Some component lost its first line since the log last said so.
    Lost,
    /// Answered when everything queued before is in the files.
    Flush(SyncSender<()>),
}

impl Logs {
    /// Opens the logs in `directory`, which is made if need be, and starts the writer.
    pub fn open(directory: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let (queue, jobs) = mpsc::sync_channel(MAX_QUEUED_LINES);
        let components = Arc::new(Components::default());
        writer::start(directory.to_owned(), jobs, Arc::clone(&components))?;
        Ok(Self(Arc::new(Shared { directory: directory.to_owned(), components, queue })))
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// The log of one component. All handles of a name share its rate.
    pub fn component(&self, name: &InstallationName) -> ComponentLog {
        let mut components = locked(&self.0.components);
        let shared = components.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            // Looked through only when the map would grow, so that a thousand starts do not look a thousand times.
            if components.len() == components.capacity() {
                components.retain(|_, component| component.strong_count() > 0);
            }
            let component = Arc::new(Component::new(name.clone()));
            components.insert(name.clone(), Arc::downgrade(&component));
            component
        });
        ComponentLog { component: shared, queue: self.0.queue.clone(), instance: 0, redactions: Redactions::default() }
    }

    /// Returns when everything written before is in the files.
    pub fn flush(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.0.queue.send(Job::Flush(done)).is_ok() {
            // An error means that the writer is gone, and with it everything that could be waited for.
            let _ = wait.recv();
        }
    }
}

impl Component {
    fn new(name: InstallationName) -> Self {
        let now = Instant::now();
        Self {
            name,
            guest: Mutex::new(Bucket::full(GUEST_RATE_BYTES, GUEST_BURST_BYTES, now)),
            host: Mutex::new(Bucket::full(HOST_RATE_BYTES, HOST_BURST_BYTES, now)),
            lost: AtomicU64::new(0),
            lost_ever: AtomicU64::new(0),
        }
    }
}

/// The log of one component, for one of its instances. Cheap to clone.
#[derive(Clone)]
pub struct ComponentLog {
    component: Arc<Component>,
    queue: SyncSender<Job>,
    instance: u64,
    redactions: Redactions,
}

impl ComponentLog {
    /// The same log for the instance of this number.
    #[must_use]
    pub fn for_instance(&self, instance: u64) -> Self {
        Self { instance, ..self.clone() }
    }

    /// The same log without the values of these secrets in it.
    #[must_use]
    pub fn redacting(&self, redactions: Redactions) -> Self {
        Self { redactions, ..self.clone() }
    }

    /// Writes one line, cut to [`MAX_LINE_BYTES`]. Never waits.
    pub fn write(&self, level: Level, source: Source, message: &str) {
        let message = &*self.redactions.apply(message);
        let kept = &message[..message.floor_char_boundary(MAX_LINE_BYTES)];
        let bucket = match source {
            Source::Guest => &self.component.guest,
            Source::Host => &self.component.host,
        };
        // A line costs what it takes on disk: empty ones are not free, and control characters take six bytes.
        let cost = line::stored_bytes(kept);
        if !locked(bucket).take(cost, Instant::now()) {
            return self.lose();
        }
        let line = LogLine {
            ts_ms: now_ms(),
            level,
            source,
            instance: self.instance,
            cut: kept.len() < message.len(),
            message: kept.to_owned(),
        };
        match self.queue.try_send(Job::Line { component: Arc::clone(&self.component), line }) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.lose(),
        }
    }

    /// Lines of this component that were dropped, whatever the reason.
    pub fn lost(&self) -> u64 {
        self.component.lost_ever.load(Ordering::Relaxed)
    }

    fn lose(&self) {
        self.component.lost_ever.fetch_add(1, Ordering::Relaxed);
        if self.component.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            // A full queue means that the writer is awake and looks for losses by itself.
            let _ = self.queue.try_send(Job::Lost);
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
