//! Owns the one thread that writes the state, and the closed list of what it can be told.
//!
//! It keeps the order of the commands; how each is carried out stands with its subject.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::audit::AuditLog;
use super::cache::{CacheCommand, CacheWriter};
use super::collect::Keep;
use super::commit::Committed;
use super::disk::{Disk, FaultHook};
use super::error::StateError;
use super::layout::Layout;
use super::lock::Lock;
use super::marker::{Deaths, MarkerCommand, Suspects};
use super::object::{ObjectCommand, ObjectWriter, Room, ensure_dir};
use super::reply::Answer;
use crate::audit::Entry;
use crate::digest::Digest;
use crate::floors::{Floors, FloorsFile};
use crate::generation::{Decoded, Generation};
use crate::paused::Paused;
use crate::status::collected::Collected;

/// The name of the thread, by which fault tests find it.
pub const WRITER_THREAD: &str = "state-writer";
/// Commands that wait for the thread; whoever sends one more waits too.
const MAX_COMMANDS_WAITING: usize = 64;

/// What the writing thread can be told.
pub(crate) enum Command {
    /// About objects; `plan` sends no other kind.
    Object(ObjectCommand),
    /// Makes a set the current one.
    Commit { generation: Box<Generation>, floors: Floors, answer: Answer<Committed> },
    /// Notes that a generation runs well.
    MarkGood { number: u64, answer: Answer<()> },
    /// Notes what is paused.
    SetPaused { paused: Paused, answer: Answer<()> },
    /// About markers of components that are starting.
    Marker(MarkerCommand),
    /// About compiled code.
    Cache(CacheCommand),
    /// Writes records into the audit log.
    Record { entries: Vec<Entry>, answer: Answer<()> },
    /// Removes what no kept generation names.
    Collect { keep: Keep, answer: Answer<Collected> },
    /// Ends the thread after everything before it.
    Stop,
}

/// The writing thread of a host: it has the lock, and knows what is on disk.
pub(crate) struct HostWriter {
    pub(super) disk: Disk,
    pub(super) layout: Arc<Layout>,
    pub(super) objects: ObjectWriter,
    pub(super) cache: CacheWriter,
    pub(super) audit: AuditLog,
    pub(super) current: Arc<Decoded>,
    /// The floors file on disk.
    pub(super) floors: FloorsFile,
    /// The highest generation number that was ever used.
    pub(super) highest: u64,
    pub(super) last_good: Option<u64>,
    pub(super) deaths: Deaths,
    /// The markers on disk.
    pub(super) starting: Suspects,
    /// What records name, so that collecting reads each record once.
    pub(super) named_by: BTreeMap<Digest, [Digest; 3]>,
    /// Held until the last write is done.
    pub(super) _lock: Lock,
}

impl HostWriter {
    fn run(mut self, commands: &Receiver<Command>) {
        while let Ok(command) = commands.recv() {
            match command {
                Command::Object(command) => self.objects.carry_out(&self.disk, command),
                Command::Commit { generation, floors, answer } => answer.send(self.commit(*generation, floors)),
                Command::MarkGood { number, answer } => answer.send(self.mark_good(number)),
                Command::SetPaused { paused, answer } => answer.send(self.set_paused(&paused)),
                Command::Marker(command) => self.change_markers(command),
                Command::Cache(command) => self.cache.carry_out(&self.disk, command),
                Command::Record { entries, answer } => answer.send(self.record(&entries)),
                Command::Collect { keep, answer } => answer.send(self.collect(&keep)),
                Command::Stop => break,
            }
        }
    }
}

/// The thread; dropping it lets it finish what it was told, and waits for that.
pub(crate) struct WriterThread {
    commands: SyncSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl WriterThread {
    /// Starts the thread of a host. `open` runs on it, because it writes too.
    pub(crate) fn host<T: Send + 'static>(
        open: impl FnOnce() -> Result<(HostWriter, T), StateError> + Send + 'static,
        opened: Answer<T>,
    ) -> Result<Self, StateError> {
        Self::start(move |commands| match open() {
            Ok((writer, parts)) => {
                opened.send(Ok(parts));
                writer.run(commands);
            }
            Err(error) => opened.send(Err(error)),
        })
    }

    /// Starts the thread of `plan`, which writes objects and nothing else.
    pub(crate) fn objects(layout: Arc<Layout>, room: Room, faults: Option<FaultHook>) -> Result<Self, StateError> {
        let disk = Disk::new(faults);
        Self::start(move |commands| {
            let mut objects = ObjectWriter::new(Arc::clone(&layout), room);
            // Made when the first object comes: a `plan` that stores nothing leaves nothing.
            let prepare = || layout.plan_directories().iter().try_for_each(|dir| ensure_dir(&disk, dir));
            while let Ok(command) = commands.recv() {
                match command {
                    Command::Object(command) => match prepare() {
                        Ok(()) => objects.carry_out(&disk, command),
                        Err(error) => command.refuse(error),
                    },
                    Command::Stop => break,
                    // Without the lock nothing else is written; the sender learns it from the missing answer.
                    _ => {}
                }
            }
        })
    }

    fn start(run: impl FnOnce(&Receiver<Command>) + Send + 'static) -> Result<Self, StateError> {
        let (commands, received) = sync_channel(MAX_COMMANDS_WAITING);
        let thread = thread::Builder::new().name(WRITER_THREAD.to_owned()).spawn(move || run(&received));
        let thread = thread.map_err(|error: io::Error| StateError::io("start", "a thread".as_ref(), error))?;
        Ok(Self { commands, thread: Some(thread) })
    }

    pub(crate) fn commands(&self) -> &SyncSender<Command> {
        &self.commands
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        // Handles that live longer keep the channel open, so the thread is told to end.
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
