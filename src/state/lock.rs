//! Owns the lock: one host at a time has a state.
//!
//! The lock file is never removed, because a file of the same name made anew would be another lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::disk::FILE_MODE;
use super::error::StateError;
use super::layout::Layout;
use super::read::read_file;
use crate::escape::escape;

/// Longest text about the holder that is read, in bytes.
const MAX_HOLDER_BYTES: usize = 4096;
/// Longest wait for a lock whose holder has ended.
const MAX_ORPHAN_WAIT: Duration = Duration::from_secs(2);
/// Time between two looks at it.
const ORPHAN_LOOK_EVERY: Duration = Duration::from_millis(5);

/// The state is ours until this is dropped, or the process ends in any way.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
    /// The directory is locked as well: somebody may remove the file.
    _directory: File,
}

impl Lock {
    /// Takes the lock or says who has it.
    pub(crate) fn take(layout: &Layout, now_unix_s: u64) -> Result<Self, StateError> {
        let path = layout.lock();
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
        let file = open.map_err(|error| StateError::io("open", &path, error))?;
        try_lock(&file, layout)?;
        let root = layout.root();
        let directory = File::open(root).map_err(|error| StateError::io("open", root, error))?;
        try_lock(&directory, layout)?;
        // Only for the message to whoever comes second; a full disk must not keep a host from starting.
        let _ = sign(&file, now_unix_s);
        Ok(Self { _file: file, _directory: directory })
    }
}

/// A host that is killed while it begins a worker leaves a copy of its lock there until the worker's program runs: that is
/// waited for. A host that lives is not.
fn try_lock(file: &File, layout: &Layout) -> Result<(), StateError> {
    let until = Instant::now() + MAX_ORPHAN_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if has_ended(layout) && Instant::now() < until => {
                std::thread::sleep(ORPHAN_LOOK_EVERY);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StateError::Locked { path: layout.root().to_owned(), holder: holder(layout) });
            }
            Err(TryLockError::Error(error)) => return Err(StateError::io("lock", &layout.lock(), error)),
        }
    }
}

fn sign(mut file: &File, now_unix_s: u64) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "process {} since {now_unix_s}", std::process::id())
}

/// Whether the process that signed the lock last is gone.
fn has_ended(layout: &Layout) -> bool {
    let id = process_of(&signature(layout)).and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    id.is_some_and(|id| test_kill_process(id) == Err(Errno::SRCH))
}

fn signature(layout: &Layout) -> String {
    let text = read_file(&layout.lock(), MAX_HOLDER_BYTES).ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

fn process_of(signature: &str) -> Option<u32> {
    let (id, _) = signature.strip_prefix("process ")?.split_once(' ')?;
    id.parse().ok()
}

fn holder(layout: &Layout) -> String {
    let text = signature(layout);
    match process_of(&text) {
        Some(id) => format!("process {id}"),
        None if text.is_empty() => "another process".to_owned(),
        None => format!("another process (\"{}\")", escape(text.trim_end()).chars().take(80).collect::<String>()),
    }
}
