//! Owns the content store: bytes under their digest, written once, never changed.
//!
//! It does not know what the bytes mean, nor which of them are still needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Options;
use super::disk::Disk;
use super::error::StateError;
use super::layout::Layout;
use super::read::{ObjectBytes, list, open_file, read_file, read_object};
use super::reply::{Answer, Reply, channel};
use super::writer::Command;
use crate::digest::{Digest, Digester};
use crate::quantity::ByteSize;
use crate::remote::memo::{MAX_MEMO_BYTES, Memo};

/// Mode of an object: nobody writes to it.
const OBJECT_MODE: u32 = 0o444;
/// How much of a stream is read, hashed and written at a time, in bytes.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// First bytes that a glance at an object shows: enough to tell kinds of files apart.
const GLANCE_BYTES: usize = 8;
/// Most objects that are being streamed in at the same time.
const MAX_UPLOADS: usize = 64;
/// An object that is found to be there already and is older than this counts as new again, so that what collects
/// garbage by age leaves it alone. In seconds.
const REFRESH_AFTER_S: u64 = 30 * 60;
const DAMAGED_HINT: &str = "it was removed, and is fetched again when it is needed";

/// Streams of this process so far, of all stores: two must not share a file.
static UPLOADS_STARTED: AtomicU64 = AtomicU64::new(1);

/// Starts the names of this process's files in scratch. The process id tells a host that sweeps which of them belong to
/// a `plan` that is still at work, and the random part tells this process from an earlier one of the same id.
pub(crate) fn scratch_prefix() -> &'static str {
    static PREFIX: OnceLock<String> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let token = getrandom::u64().unwrap_or_default();
        format!("object-{}-{token:016x}-", std::process::id())
    })
}

/// A handle to the content store. Cheap to clone; all handles write through the same thread.
///
/// The methods block for as long as the disk takes.
#[derive(Clone)]
pub struct Objects {
    layout: Arc<Layout>,
    commands: SyncSender<Command>,
}

/// An object that is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredObject {
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// What the writing thread does with objects.
pub(crate) enum ObjectCommand {
    /// Stores bytes that are all there.
    Put { digest: Digest, bytes: Vec<u8>, answer: Answer<()> },
    /// Starts a stream of bytes.
    Begin { answer: Answer<u64> },
    /// Continues it.
    Append { upload: u64, bytes: Vec<u8>, answer: Answer<()> },
    /// Ends it: the bytes have this digest.
    Finish { upload: u64, digest: Digest, answer: Answer<()> },
    /// Gives it up.
    Abort { upload: u64 },
    /// Makes an object count as new.
    Refresh { digest: Digest },
    /// Notes what a source was when it was fetched.
    Remember { source: Digest, text: String, answer: Answer<()> },
    /// Removes an object that is not what its name says.
    Discard { digest: Digest, answer: Answer<()> },
}

impl ObjectCommand {
    /// Answers with an error instead of carrying it out.
    pub(crate) fn refuse(self, error: StateError) {
        match self {
            Self::Begin { answer } => answer.send(Err(error)),
            Self::Put { answer, .. }
            | Self::Append { answer, .. }
            | Self::Finish { answer, .. }
            | Self::Remember { answer, .. }
            | Self::Discard { answer, .. } => answer.send(Err(error)),
            Self::Abort { .. } | Self::Refresh { .. } => {}
        }
    }
}

impl Objects {
    pub(crate) fn new(layout: Arc<Layout>, commands: SyncSender<Command>) -> Self {
        Self { layout, commands }
    }

    /// Stores bytes. It is not durable before the generation that names it.
    pub fn put_object(&self, bytes: &[u8]) -> Result<StoredObject, StateError> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let stored = StoredObject { digest: Digest::of(bytes), size };
        if !self.has_intact(&stored)? {
            let digest = stored.digest;
            self.ask(|answer| ObjectCommand::Put { digest, bytes: bytes.to_vec(), answer }).wait()?;
        }
        Ok(stored)
    }

    /// Stores what `source` gives, hashed while it is copied; refused as soon as it is more than `max_bytes`.
    ///
    /// The source is read on the caller's thread, so that a slow one holds up nobody else.
    pub fn put_file(&self, source: &mut dyn Read, max_bytes: u64) -> Result<StoredObject, StateError> {
        let upload = Upload { id: self.ask(|answer| ObjectCommand::Begin { answer }).wait()?, objects: self };
        let mut digester = Digester::default();
        let mut size = 0u64;
        loop {
            let bytes = read_chunk(source)?;
            if bytes.is_empty() {
                break;
            }
            size = size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if size > max_bytes {
                return Err(StateError::TooLarge(ByteSize(max_bytes)));
            }
            digester.update(&bytes);
            self.ask(|answer| ObjectCommand::Append { upload: upload.id, bytes, answer }).wait()?;
        }
        let stored = StoredObject { digest: digester.finish(), size };
        if !self.has_intact(&stored)? {
            self.ask(|answer| ObjectCommand::Finish { upload: upload.id, digest: stored.digest, answer }).wait()?;
        }
        Ok(stored)
    }

    /// Whether an object of this name is there. Its bytes are not looked at.
    pub fn has_object(&self, digest: &Digest) -> bool {
        fs::symlink_metadata(self.layout.object(digest)).is_ok_and(|metadata| metadata.is_file())
    }

    /// Size in bytes and first bytes of an object; `None` when there is none. Its bytes are not hashed: they are before
    /// they are compiled.
    pub fn glance_at(&self, digest: &Digest) -> Option<(u64, Vec<u8>)> {
        let (file, metadata) = open_file(&self.layout.object(digest)).ok()??;
        let mut head = Vec::with_capacity(GLANCE_BYTES);
        file.take(GLANCE_BYTES as u64).read_to_end(&mut head).ok()?;
        Some((metadata.len(), head))
    }

    /// An object's bytes, checked against its name; `None` when there is none. A damaged one is removed.
    pub fn get_object(&self, digest: &Digest, max_bytes: u64) -> Result<Option<Vec<u8>>, StateError> {
        match read_object(&self.layout, digest, max_bytes)? {
            ObjectBytes::Good(bytes) => Ok(Some(bytes)),
            ObjectBytes::Missing => Ok(None),
            ObjectBytes::Damaged(why) => {
                self.ask(|answer| ObjectCommand::Discard { digest: *digest, answer }).wait()?;
                let path = self.layout.object(digest);
                Err(StateError::Damaged { path, why: format!("it {why}"), hint: DAMAGED_HINT })
            }
        }
    }

    /// Notes what a source was when it was fetched, under the digest of the source. It survives a crash of the process;
    /// what a cut of power takes away is fetched again.
    pub fn remember(&self, source: &Digest, memo: &Memo) -> Result<(), StateError> {
        let (source, text) = (*source, memo.encode());
        self.ask(|answer| ObjectCommand::Remember { source, text, answer }).wait()
    }

    /// What was noted of a source; none when there is nothing, or nothing intact.
    pub fn recall(&self, source: &Digest) -> Option<Memo> {
        let limit = usize::try_from(MAX_MEMO_BYTES).ok()?;
        Memo::decode(&read_file(&self.layout.memo(source), limit).ok()??)
    }

    /// Whether exactly these bytes are stored already. Anything else in their place is written anew.
    pub(super) fn has_intact(&self, wanted: &StoredObject) -> Result<bool, StateError> {
        if !matches!(read_object(&self.layout, &wanted.digest, wanted.size)?, ObjectBytes::Good(_)) {
            return Ok(false);
        }
        let age = fs::metadata(self.layout.object(&wanted.digest)).and_then(|metadata| metadata.modified());
        let age = age.ok().and_then(|modified| modified.elapsed().ok());
        if age.is_none_or(|age| age > Duration::from_secs(REFRESH_AFTER_S)) {
            // Without an answer: that the object is old is no reason to refuse it.
            self.tell(ObjectCommand::Refresh { digest: wanted.digest });
        }
        Ok(true)
    }

    pub(super) fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> ObjectCommand) -> Reply<T> {
        let (answer, reply) = channel();
        self.tell(command(answer));
        reply
    }

    fn tell(&self, command: ObjectCommand) {
        // A thread that is gone drops the command, and with it the answer.
        let _ = self.commands.send(Command::Object(command));
    }
}

/// A stream that is given up unless it was finished.
pub(super) struct Upload<'a> {
    pub(super) id: u64,
    pub(super) objects: &'a Objects,
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        self.objects.tell(ObjectCommand::Abort { upload: self.id });
    }
}

fn read_chunk(source: &mut dyn Read) -> Result<Vec<u8>, StateError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut filled = 0;
    while filled < chunk.len() {
        match source.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StateError::Source(error)),
        }
    }
    chunk.truncate(filled);
    Ok(chunk)
}

/// How much room objects may take, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// What stays free on the file system.
    kept: u64,
    /// Most that may be in scratch.
    scratch: u64,
}

impl Room {
    pub(crate) fn of(options: &Options) -> Self {
        Self { kept: options.kept_bytes, scratch: options.scratch_bytes }
    }
}

/// The writing half of the content store.
pub(crate) struct ObjectWriter {
    layout: Arc<Layout>,
    room: Room,
    uploads: BTreeMap<u64, (File, PathBuf)>,
    /// What is in scratch, in bytes: what others had there when the last stream began, and all of ours.
    scratch_bytes: u64,
    /// Objects that a commit made durable and that were not written again since.
    durable: BTreeSet<Digest>,
}

impl ObjectWriter {
    pub(crate) fn new(layout: Arc<Layout>, room: Room) -> Self {
        Self { layout, room, uploads: BTreeMap::new(), scratch_bytes: 0, durable: BTreeSet::new() }
    }

    pub(crate) fn carry_out(&mut self, disk: &Disk, command: ObjectCommand) {
        match command {
            ObjectCommand::Put { digest, bytes, answer } => answer.send(self.put(disk, &digest, &bytes)),
            ObjectCommand::Begin { answer } => answer.send(self.begin(disk)),
            ObjectCommand::Append { upload, bytes, answer } => answer.send(self.append(disk, upload, &bytes)),
            ObjectCommand::Finish { upload, digest, answer } => answer.send(self.finish(disk, upload, &digest)),
            ObjectCommand::Abort { upload } => self.abort(disk, upload),
            ObjectCommand::Remember { source, text, answer } => answer.send(self.remember(disk, &source, &text)),
            ObjectCommand::Refresh { digest } => drop(disk.touch(&self.layout.object(&digest))),
            ObjectCommand::Discard { digest, answer } => {
                self.forget(&digest);
                answer.send(disk.remove_file(&self.layout.object(&digest)));
            }
        }
    }

    /// Whether the object needs no sync before it is named.
    pub(crate) fn is_durable(&self, digest: &Digest) -> bool {
        self.durable.contains(digest)
    }

    /// The objects are durable from now on.
    pub(crate) fn set_durable(&mut self, digests: impl IntoIterator<Item = Digest>) {
        self.durable.extend(digests);
    }

    /// The object is gone, or about to go.
    pub(crate) fn forget(&mut self, digest: &Digest) {
        self.durable.remove(digest);
    }

    fn put(&mut self, disk: &Disk, digest: &Digest, bytes: &[u8]) -> Result<(), StateError> {
        let upload = self.begin(disk)?;
        let result = self.append(disk, upload, bytes).and_then(|()| self.finish(disk, upload, digest));
        self.abort(disk, upload);
        result
    }

    fn begin(&mut self, disk: &Disk) -> Result<u64, StateError> {
        if self.uploads.len() >= MAX_UPLOADS {
            return Err(StateError::TooManyUploads(MAX_UPLOADS));
        }
        check_room(self.layout.root(), self.room.kept)?;
        self.scratch_bytes = bytes_in(&self.layout.scratch())?;
        let id = UPLOADS_STARTED.fetch_add(1, Ordering::Relaxed);
        let path = self.layout.scratch().join(format!("{}{id}", scratch_prefix()));
        let file = disk.create(&path)?;
        self.uploads.insert(id, (file, path));
        Ok(id)
    }

    fn append(&mut self, disk: &Disk, upload: u64, bytes: &[u8]) -> Result<(), StateError> {
        let (file, path) = self.uploads.get(&upload).ok_or(StateError::WriterGone)?;
        self.scratch_bytes = self.scratch_bytes.saturating_add(bytes.len() as u64);
        if self.scratch_bytes > self.room.scratch {
            // Others may have finished since the last count.
            self.scratch_bytes = bytes_in(&self.layout.scratch())?.saturating_add(bytes.len() as u64);
            if self.scratch_bytes > self.room.scratch {
                return Err(StateError::ScratchFull(ByteSize(self.room.scratch)));
            }
        }
        disk.write(file, path, bytes)
    }

    fn finish(&mut self, disk: &Disk, upload: u64, digest: &Digest) -> Result<(), StateError> {
        let (file, path) = self.uploads.get(&upload).ok_or(StateError::WriterGone)?;
        disk.set_mode(file, path, OBJECT_MODE)?;
        let object = self.layout.object(digest);
        let parent = object.parent().expect("an object's path has a directory");
        ensure_dir(disk, parent)?;
        disk.rename(path, &object)?;
        self.uploads.remove(&upload);
        self.durable.remove(digest);
        Ok(())
    }

    fn remember(&self, disk: &Disk, source: &Digest, text: &str) -> Result<(), StateError> {
        ensure_dir(disk, &self.layout.mirrors())?;
        ensure_dir(disk, &self.layout.source(source))?;
        disk.replace(&self.layout.memo(source), text.as_bytes())
    }

    fn abort(&mut self, disk: &Disk, upload: u64) {
        if let Some((_, path)) = self.uploads.remove(&upload) {
            disk.give_up(&path);
        }
    }
}

/// The files of one directory together. There are few: each process may have [`MAX_UPLOADS`] at a time.
fn bytes_in(path: &Path) -> Result<u64, StateError> {
    let sizes = list(path)?.into_iter().map(|name| fs::symlink_metadata(path.join(name)).map_or(0, |m| m.len()));
    Ok(sizes.sum())
}

/// Objects and compiled code are what fills a disk; what the state itself writes is small and must still fit.
pub(crate) fn check_room(path: &Path, kept_bytes: u64) -> Result<(), StateError> {
    let room = rustix::fs::statvfs(path).map_err(|error| StateError::io("look at", path, error.into()))?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if free < kept_bytes {
        let (free, kept) = (ByteSize(free), ByteSize(kept_bytes));
        return Err(StateError::NoRoom { path: path.to_owned(), free, kept });
    }
    Ok(())
}

/// Makes a directory that may be there already, made by another process too.
pub(crate) fn ensure_dir(disk: &Disk, path: &Path) -> Result<(), StateError> {
    if path.is_dir() {
        return Ok(());
    }
    match disk.make_dir(path) {
        Err(StateError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}
