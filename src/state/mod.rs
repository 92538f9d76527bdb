//! Owns what a host remembers below `state/`: the committed sets, their objects, the floors, markers and the code cache.
//!
//! It decides nothing about what runs. All writes go through one thread, so that what a crash, a full disk or a cut of
//! power leaves behind can be tested call by call:
//!
//! * *commit point*: the rename of `current`. Before it the old set counts, after it the new one, nothing between.
//! * *reading* needs no lock ([`Reader`]), and `plan` stores objects without it ([`ObjectStore`]).
//! * *damage* is found by checksums: a damaged current generation gives way to the newest intact one, a damaged object
//!   is fetched again, damaged floors stop the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use crate::audit::Entry;
use crate::config::StateSettings;
use crate::digest::Digest;
use crate::floors::Floors;
use crate::generation::Generation;
use crate::home::Home;
use crate::name::InstallationName;
use crate::paused::Paused;
use crate::status::collected::Collected;

mod audit;
mod cache;
mod check;
mod collect;
mod commit;
mod disk;
mod error;
mod layout;
mod load;
mod lock;
mod marker;
mod mirrors;
mod object;
mod open;
mod pause;
mod read;
mod reader;
mod reply;
mod secret_key;
mod sink;
mod writer;

pub use audit::{MAX_AUDIT_FILE_BYTES, MAX_AUDIT_FILES};
pub use cache::{CacheKey, CacheLookup, CachedCode, CodeCache};
pub use check::{Checked, Finding, check, repair};
pub use collect::{Keep, MAX_KEPT_GENERATIONS, MIN_OBJECT_AGE_S};
pub use commit::Committed;
pub use disk::{Fault, FaultHook, FaultPoint};
pub use error::StateError;
pub use load::Recovered;
pub use marker::{Death, Deaths, Start, Suspect, Suspects};
pub use mirrors::SourcesInUse;
pub use object::{Objects, StoredObject};
pub(crate) use reader::quarantined;
pub use reader::{ObjectProblem, Past, Reader, Snapshot};
pub use reply::Reply;
pub use secret_key::SecretKey;
pub use sink::ObjectSink;
pub use writer::WRITER_THREAD;

use disk::Disk;
use layout::Layout;
use marker::MarkerCommand;
use object::Room;
use writer::{Command, WriterThread};

/// Free space that new objects leave to the state itself, in bytes. A share of the disk would be no use here: on small
/// file systems it is too little, on large ones it refuses installs for which there is room.
pub const KEPT_BYTES: u64 = 64 << 20;

/// How a state is opened.
#[derive(Clone)]
pub struct Options {
    /// The time, for the lock's text and the first generation, in seconds since 1970.
    pub now_unix_s: u64,
    /// Free space below which no object is stored, in bytes; usually [`KEPT_BYTES`].
    pub kept_bytes: u64,
    /// Most bytes that may be on their way into the content store at a time, of all processes together.
    pub scratch_bytes: u64,
    /// When the floors are missing or damaged: make them anew from the records of the kept generations. Only on an
    /// operator's explicit word, because older floors may have been higher.
    pub rebuild_floors: bool,
    /// Asked before every call that changes the state; for tests.
    pub faults: Option<FaultHook>,
}

impl Options {
    /// The usual options.
    pub fn at(now_unix_s: u64) -> Self {
        let scratch_bytes = crate::config::MAX_SCRATCH_BYTES;
        Self { now_unix_s, kept_bytes: KEPT_BYTES, scratch_bytes, rebuild_floors: false, faults: None }
    }

    /// With what the host's settings say.
    pub fn with(now_unix_s: u64, settings: &StateSettings) -> Self {
        Self { scratch_bytes: settings.scratch_max.0, ..Self::at(now_unix_s) }
    }
}

/// A host's state: whoever has it has the lock. Dropping it finishes what was asked for and gives the lock back.
///
/// The methods that return a [`Reply`] may be called from asynchronous code; they block only while
/// 64 commands are waiting.
pub struct Store {
    reader: Reader,
    objects: Objects,
    cache: CodeCache,
    secret_key: SecretKey,
    syncs: Arc<AtomicU64>,
    commands: SyncSender<Command>,
    // Dropped last: it waits for the thread.
    _thread: WriterThread,
}

/// A state that was just opened.
pub struct Opened {
    /// The state.
    pub store: Store,
    /// What is committed.
    pub snapshot: Snapshot,
    /// What was starting when the last host ended.
    pub suspects: Suspects,
    /// How often each component took a host down while it started alone.
    pub deaths: Deaths,
}

impl Store {
    /// Takes the lock, makes what is missing, repairs what a crash left. Blocks.
    pub fn open(home: &Home, options: Options) -> Result<Opened, StateError> {
        home.create_for_plan()?;
        let layout = Arc::new(Layout::new(home.state_dir()));
        let disk = Disk::new(options.faults.clone());
        let syncs = Arc::clone(disk.syncs());
        let (opened, parts) = reply::channel();
        let open_layout = Arc::clone(&layout);
        let thread = WriterThread::host(move || open::open(open_layout, disk, &options), opened)?;
        let parts = parts.wait()?;
        let commands = thread.commands().clone();
        let store = Self {
            reader: Reader::of(Arc::clone(&layout)),
            objects: Objects::new(Arc::clone(&layout), commands.clone()),
            cache: CodeCache::new(layout, parts.cache_key, commands.clone()),
            secret_key: parts.secret_key,
            syncs,
            commands,
            _thread: thread,
        };
        Ok(Opened { store, snapshot: parts.snapshot, suspects: parts.suspects, deaths: parts.deaths })
    }

    /// Reads the same state.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The content store.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The compiled-code cache.
    pub fn cache(&self) -> &CodeCache {
        &self.cache
    }

    /// The key of secrets' fingerprints.
    pub fn secret_key(&self) -> &SecretKey {
        &self.secret_key
    }

    /// Makes a set the current one, durably. Floors never fall: lower ones are taken as the ones in force.
    ///
    /// After an error the old set is the current one, or, when a sync failed, the store refuses every further write
    /// until it is opened again and finds out.
    pub fn commit(&self, generation: Generation, floors: Floors) -> Reply<Committed> {
        self.ask(|answer| Command::Commit { generation: Box::new(generation), floors, answer })
    }

    /// Notes that a generation runs well.
    pub fn mark_good(&self, number: u64) -> Reply<()> {
        self.ask(|answer| Command::MarkGood { number, answer })
    }

    /// Notes what is paused, durably.
    pub fn set_paused(&self, paused: Paused) -> Reply<()> {
        self.ask(|answer| Command::SetPaused { paused, answer })
    }

    /// Notes that these targets are about to start.
    pub fn mark_starting(&self, targets: Vec<(InstallationName, Digest)>, start: Start) -> Reply<()> {
        self.ask(|answer| Command::Marker(MarkerCommand::Set { targets, start, answer }))
    }

    /// Notes that components are healthy, or were stopped.
    pub fn clear_starting(&self, names: Vec<InstallationName>) -> Reply<()> {
        self.ask(|answer| Command::Marker(MarkerCommand::Clear { names, answer }))
    }

    /// Writes records into the audit log. They are on disk when it answers.
    pub fn record(&self, entries: Vec<Entry>) -> Reply<()> {
        self.ask(|answer| Command::Record { entries, answer })
    }

    /// Sets a component's count of host deaths back to zero.
    pub fn forgive(&self, name: InstallationName) -> Reply<()> {
        self.ask(|answer| Command::Marker(MarkerCommand::Forgive { name, answer }))
    }

    /// Removes generations, objects and cached code that are not kept. Not during a pass.
    pub fn collect(&self, keep: Keep) -> Reply<Collected> {
        self.ask(|answer| Command::Collect { keep, answer })
    }

    /// How many syncs were asked of the system since the state was opened, of files, directories and file systems.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Writes records into the audit log from elsewhere.
    pub fn audit_sink(&self) -> AuditSink {
        AuditSink { commands: self.commands.clone() }
    }

    fn ask<T>(&self, command: impl FnOnce(reply::Answer<T>) -> Command) -> Reply<T> {
        let (answer, reply) = reply::channel();
        // A thread that is gone drops the command, and with it the answer.
        let _ = self.commands.send(command(answer));
        reply
    }
}

/// Writes records into the audit log. Once the store is dropped it writes nothing, and says so.
#[derive(Clone)]
pub struct AuditSink {
    commands: SyncSender<Command>,
}

impl AuditSink {
    /// Writes records. They are on disk when it answers.
    pub fn record(&self, entries: Vec<Entry>) -> Reply<()> {
        let (answer, reply) = reply::channel();
        // A thread that is gone drops the command, and with it the answer.
        let _ = self.commands.send(Command::Record { entries, answer });
        reply
    }
}

/// The content store alone, without the lock: for `plan` beside a running host, or without one.
pub struct ObjectStore {
    objects: Objects,
    // Dropped last: it waits for the thread.
    _thread: WriterThread,
}

impl ObjectStore {
    /// Opens the content store of a home. Writes nothing before the first object comes.
    pub fn open(home: &Home, options: Options) -> Result<Self, StateError> {
        home.create_for_plan()?;
        let layout = Arc::new(Layout::new(home.state_dir()));
        let thread = WriterThread::objects(Arc::clone(&layout), Room::of(&options), options.faults)?;
        Ok(Self { objects: Objects::new(layout, thread.commands().clone()), _thread: thread })
    }

    /// The content store.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }
}

#[cfg(test)]
mod tests;
