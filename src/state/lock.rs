//! Owns the lock: one host at a time has a state.
//!
//! The lock file is never removed, because a file of the same name made anew would be another lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use super::disk::FILE_MODE;
use super::error::StateError;
use super::layout::Layout;
use super::read::read_file;
use crate::escape::escape;

/// Longest text about the holder that is read, in bytes.
const MAX_HOLDER_BYTES: usize = 4096;

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

fn try_lock(file: &File, layout: &Layout) -> Result<(), StateError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(StateError::Locked { path: layout.root().to_owned(), holder: holder(layout) })
        }
        Err(TryLockError::Error(error)) => Err(StateError::io("lock", &layout.lock(), error)),
    }
}

fn sign(mut file: &File, now_unix_s: u64) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "process {} since {now_unix_s}", std::process::id())
}

fn holder(layout: &Layout) -> String {
    let text = read_file(&layout.lock(), MAX_HOLDER_BYTES).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let process = text.strip_prefix("process ").and_then(|rest| rest.split_once(' '));
    match process.and_then(|(id, _)| id.parse::<u32>().ok()) {
        Some(id) => format!("process {id}"),
        None if text.is_empty() => "another process".to_owned(),
        None => format!("another process (\"{}\")", escape(text.trim_end()).chars().take(80).collect::<String>()),
    }
}
