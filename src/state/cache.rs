//! Owns the cache of compiled code: machine code that this host wrote, or nothing.
//!
//! Each entry carries a MAC under a key that only this user can read, because whoever could change an entry could run
//! anything. It does not compile and does not load; losing all of it costs time only.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use super::disk::Disk;
use super::error::StateError;
use super::layout::{Layout, temporary};
use super::object::check_room;
use super::read::{list, open_file};
use super::reply::{Answer, Reply, channel};
use super::writer::Command;
use crate::digest::Digest;

/// Largest entry, in bytes.
const MAX_ENTRY_BYTES: u64 = 512 << 20;
/// Most bytes of all entries together; beyond that the oldest go.
const MAX_CACHE_BYTES: u64 = 4 << 30;
/// How much of an entry is read at a time, in bytes. Not more: what is larger, the allocator maps and unmaps each time.
const CHUNK_BYTES: usize = 64 << 10;
/// Separates this use of the key from any other.
const DOMAIN: &[u8] = b"airssys-code-cache-v1\n";
/// Length of the key and of the MAC at the end of an entry, in bytes.
const KEY_BYTES: usize = 32;

/// The key of the MAC. Not printable, never leaves this module and the thread that reads it.
#[derive(Clone)]
pub(crate) struct CacheKeyBytes(Arc<[u8; KEY_BYTES]>);

/// Which compiled code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheKey {
    /// The wasm that was compiled.
    pub wasm: Digest,
    /// The engine, its version, settings and target: code of another engine is other code.
    pub engine: Digest,
}

/// A handle to the cache. Cheap to clone; looking up happens on the caller's thread.
#[derive(Clone)]
pub struct CodeCache {
    layout: Arc<Layout>,
    key: CacheKeyBytes,
    commands: SyncSender<Command>,
}

/// What a look into the cache found.
#[derive(Debug)]
pub enum CacheLookup {
    /// Code that this host wrote for this key.
    Hit(CachedCode),
    /// Nothing.
    Miss,
    /// Something that is not what this host wrote; it is removed. Why, for the log.
    Refused(&'static str),
}

/// Code that was checked, in the file in which it was checked.
#[derive(Debug)]
pub struct CachedCode {
    wasm: Digest,
    file: File,
    code_bytes: u64,
}

/// What the writing thread does with the cache.
pub(crate) enum CacheCommand {
    /// Writes an entry.
    Put { name: String, code: Vec<u8>, mac: [u8; KEY_BYTES], answer: Answer<()> },
    /// Removes an entry that was refused.
    Remove { name: String },
}

impl CacheKey {
    /// The file's name. It only finds the entry; the MAC says whether it is the right one.
    fn file_name(&self) -> String {
        format!("{}-{}", self.wasm.hex(), &self.engine.hex()[..16])
    }
}

impl CachedCode {
    /// Digest of the wasm that the code was compiled from.
    pub fn wasm(&self) -> Digest {
        self.wasm
    }

    /// The checked file: the code starts at offset 0 and is followed by the MAC.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Length of the code.
    pub fn code_bytes(&self) -> u64 {
        self.code_bytes
    }

    /// A path that opens exactly the checked file for as long as `self` lives, whatever the cache's directory holds by
    /// then: for engines that map code by path.
    pub fn path(&self) -> PathBuf {
        let directory = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
        Path::new(directory).join(self.file.as_raw_fd().to_string())
    }
}

impl CodeCache {
    pub(crate) fn new(layout: Arc<Layout>, key: CacheKeyBytes, commands: SyncSender<Command>) -> Self {
        Self { layout, key, commands }
    }

    /// Looks up compiled code and checks it.
    pub fn get(&self, key: &CacheKey) -> CacheLookup {
        let path = self.layout.cache().join(key.file_name());
        match check_entry(&path, key, &self.key) {
            Ok(Some(code)) => CacheLookup::Hit(code),
            Ok(None) => CacheLookup::Miss,
            Err(why) => {
                let _ = self.commands.send(Command::Cache(CacheCommand::Remove { name: key.file_name() }));
                CacheLookup::Refused(why)
            }
        }
    }

    /// Keeps compiled code. An error costs time at the next start, and nothing else.
    pub fn put(&self, key: &CacheKey, code: Vec<u8>) -> Reply<()> {
        let mut mac = start_mac(key, code.len() as u64, &self.key);
        mac.update(&code);
        let (answer, reply) = channel();
        let mac = *mac.finalize().as_bytes();
        // A thread that is gone drops the command, and with it the answer.
        let _ = self.commands.send(Command::Cache(CacheCommand::Put { name: key.file_name(), code, mac, answer }));
        reply
    }
}

/// The MAC covers what the code is for, how long it is, and the code.
fn start_mac(key: &CacheKey, code_bytes: u64, secret: &CacheKeyBytes) -> blake3::Hasher {
    let mut mac = blake3::Hasher::new_keyed(&secret.0);
    mac.update(DOMAIN);
    mac.update(key.wasm.as_bytes());
    mac.update(key.engine.as_bytes());
    mac.update(&code_bytes.to_le_bytes());
    mac
}

/// Opens an entry once and checks what that one descriptor holds.
fn check_entry(path: &Path, key: &CacheKey, secret: &CacheKeyBytes) -> Result<Option<CachedCode>, &'static str> {
    let Some((mut file, metadata)) = open_file(path).map_err(|_| "it can't be read, or is no regular file")? else {
        return Ok(None);
    };
    if !is_only_ours(&metadata) {
        return Err("another user owns it, can change it or has a second name for it");
    }
    if metadata.len() > MAX_ENTRY_BYTES {
        return Err("it is larger than an entry may be");
    }
    let code_bytes = metadata.len().checked_sub(KEY_BYTES as u64).ok_or("it is too short")?;
    let mut mac = start_mac(key, code_bytes, secret);
    let mut code = (&mut file).take(code_bytes);
    let mut chunk = vec![0; usize::try_from(code_bytes).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)];
    let mut left = code_bytes;
    while left > 0 {
        let count = code.read(&mut chunk).map_err(|_| "it can't be read")?;
        if count == 0 {
            return Err("it became shorter while it was read");
        }
        mac.update(&chunk[..count]);
        left = left.saturating_sub(count as u64);
    }
    let mut found = [0; KEY_BYTES];
    file.read_exact(&mut found).map_err(|_| "it can't be read")?;
    // Compared in constant time.
    if mac.finalize() != blake3::Hash::from_bytes(found) {
        return Err("it is not what this host wrote");
    }
    file.rewind().map_err(|_| "it can't be read")?;
    Ok(Some(CachedCode { wasm: key.wasm, file, code_bytes }))
}

/// A file that nobody but this user can have written, under one name.
pub(super) fn is_only_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0 && metadata.nlink() == 1
}

/// Reads the key; `None` when there is none that only this user can know.
pub(crate) fn read_cache_key(layout: &Layout) -> Result<Option<CacheKeyBytes>, StateError> {
    let path = layout.cache_key();
    if let Ok(Some((mut file, metadata))) = open_file(&path)
        && is_only_ours(&metadata)
        && metadata.len() == KEY_BYTES as u64
    {
        let mut key = [0; KEY_BYTES];
        file.read_exact(&mut key).map_err(|error| StateError::io("read", &path, error))?;
        return Ok(Some(CacheKeyBytes(Arc::new(key))));
    }
    Ok(None)
}

/// What an entry of this name is: `None` when it is of another engine, and an error when it is not what this host wrote.
pub(crate) fn check_named(
    layout: &Layout,
    name: &str,
    engine: &Digest,
    key: &CacheKeyBytes,
) -> Option<Result<(), &'static str>> {
    let wasm = name.split_once('-').and_then(|(wasm, _)| Digest::from_hex(wasm).ok());
    let Some(wasm) = wasm else { return Some(Err("its name is none that this host gives")) };
    let cache_key = CacheKey { wasm, engine: *engine };
    if cache_key.file_name() != name {
        return None;
    }
    Some(check_entry(&layout.cache().join(name), &cache_key, key).map(drop))
}

/// Reads the key, or makes one. A key that others may know is replaced, which makes every entry a miss.
pub(crate) fn open_cache_key(layout: &Layout, disk: &Disk) -> Result<CacheKeyBytes, StateError> {
    let path = layout.cache_key();
    if let Some(key) = read_cache_key(layout)? {
        return Ok(key);
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| StateError::io("make a key for", &path, error.into()))?;
    let new = temporary(&path);
    let file = disk.write_new(&new, &key)?;
    disk.sync_file(&file, &new)?;
    disk.rename(&new, &path)?;
    Ok(CacheKeyBytes(Arc::new(key)))
}

/// The writing half of the cache.
pub(crate) struct CacheWriter {
    layout: Arc<Layout>,
    /// Space on the file system that is not given to code, in bytes.
    kept_bytes: u64,
    /// Bytes of all entries; unknown until the first is written.
    held_bytes: Option<u64>,
    max_bytes: u64,
}

impl CacheWriter {
    pub(crate) fn new(layout: Arc<Layout>, kept_bytes: u64) -> Self {
        Self::with_limits(layout, kept_bytes, MAX_CACHE_BYTES)
    }

    pub(crate) fn with_limits(layout: Arc<Layout>, kept_bytes: u64, max_bytes: u64) -> Self {
        Self { layout, kept_bytes, held_bytes: None, max_bytes }
    }

    pub(crate) fn carry_out(&mut self, disk: &Disk, command: CacheCommand) {
        match command {
            CacheCommand::Put { name, code, mac, answer } => answer.send(self.put(disk, &name, &code, &mac)),
            CacheCommand::Remove { name } => {
                disk.give_up(&self.layout.cache().join(name));
                self.held_bytes = None;
            }
        }
    }

    /// Unsynced: an entry that a power cut left half-written fails its MAC.
    fn put(&mut self, disk: &Disk, name: &str, code: &[u8], mac: &[u8]) -> Result<(), StateError> {
        check_room(self.layout.root(), self.kept_bytes)?;
        let path = self.layout.cache().join(name);
        let new = temporary(&path);
        let file = disk.write_new(&new, code)?;
        let written = disk.write(&file, &new, mac).and_then(|()| disk.rename(&new, &path));
        written.inspect_err(|_| disk.give_up(&new))?;
        let size = (code.len() + mac.len()) as u64;
        let held = match self.held_bytes {
            Some(held) => held.saturating_add(size),
            None => self.entries()?.iter().map(|(_, size, _)| size).sum(),
        };
        self.held_bytes = Some(held);
        if held > self.max_bytes { self.shrink(disk) } else { Ok(()) }
    }

    /// Removes the oldest entries until what is left fits.
    fn shrink(&mut self, disk: &Disk) -> Result<(), StateError> {
        let mut entries = self.entries()?;
        entries.sort_by_key(|(_, _, modified)| *modified);
        let mut held: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (path, size, _) in entries {
            if held <= self.max_bytes {
                break;
            }
            disk.remove_file(&path)?;
            held = held.saturating_sub(size);
        }
        self.held_bytes = Some(held);
        Ok(())
    }

    /// Removes the entries, old enough, whose wasm is not wanted any more.
    pub(crate) fn retain(
        &mut self,
        disk: &Disk,
        removes: bool,
        is_wanted: impl Fn(&str, SystemTime) -> bool,
    ) -> Result<(u64, u64), StateError> {
        let (mut removed, mut bytes) = (0, 0);
        for (path, size, modified) in self.entries()? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !is_wanted(name.get(..64).unwrap_or_default(), modified) {
                if removes {
                    disk.remove_file(&path)?;
                }
                removed += 1;
                bytes += size;
            }
        }
        self.held_bytes = None;
        Ok((removed, bytes))
    }

    fn entries(&self) -> Result<Vec<(PathBuf, u64, SystemTime)>, StateError> {
        let paths = list(&self.layout.cache())?.into_iter().map(|name| self.layout.cache().join(name));
        let entry = |path: PathBuf| {
            let metadata = fs::symlink_metadata(&path).ok()?;
            Some((path, metadata.len(), metadata.modified().ok()?))
        };
        Ok(paths.filter_map(entry).collect())
    }
}
