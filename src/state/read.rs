//! Reads files of the state: bounded, only regular ones, never through a symlink.
//!
//! It changes nothing and gives no meaning to the bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::error::StateError;
use super::layout::Layout;
use crate::digest::Digest;

/// Most names that are taken from one directory.
const MAX_DIRECTORY_ENTRIES: usize = 1_000_000;

/// What came of reading an object.
#[derive(Debug)]
pub(crate) enum ObjectBytes {
    /// It is there and is what its name says.
    Good(Vec<u8>),
    /// There is none.
    Missing,
    /// Something else is there.
    Damaged(&'static str),
}

/// Opens a regular file; `None` when there is none. A symlink or a pipe is an error.
pub(crate) fn open_file(path: &Path) -> Result<Option<(File, fs::Metadata)>, StateError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags fit into an int");
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::io("open", path, error)),
    };
    let metadata = file.metadata().map_err(|error| StateError::io("look at", path, error))?;
    if !metadata.is_file() {
        return Err(StateError::io("read", path, io::Error::other("it is not a regular file")));
    }
    Ok(Some((file, metadata)))
}

/// The bytes of a file of at most `max_bytes`; `None` when there is none.
pub(crate) fn read_file(path: &Path, max_bytes: usize) -> Result<Option<Vec<u8>>, StateError> {
    let Some((file, metadata)) = open_file(path)? else { return Ok(None) };
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(size.min(max_bytes).saturating_add(1));
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| StateError::io("read", path, error))?;
    if bytes.len() > max_bytes {
        return Err(StateError::io("read", path, io::Error::other("it is longer than a file of its kind may be")));
    }
    Ok(Some(bytes))
}

/// Reads an object and checks it against its name.
pub(crate) fn read_object(layout: &Layout, digest: &Digest, max_bytes: u64) -> Result<ObjectBytes, StateError> {
    let path = layout.object(digest);
    let Some((file, metadata)) = open_file(&path)? else { return Ok(ObjectBytes::Missing) };
    if metadata.len() > max_bytes {
        return Ok(ObjectBytes::Damaged("is larger than an object of its kind may be"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1));
    let limit = max_bytes.saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| StateError::io("read", &path, error))?;
    if Digest::of(&bytes) == *digest {
        Ok(ObjectBytes::Good(bytes))
    } else {
        Ok(ObjectBytes::Damaged("is not the one that was stored"))
    }
}

/// Where a symlink points; `None` when nothing, or no symlink, is there.
pub(crate) fn read_link(path: &Path) -> Result<Option<PathBuf>, StateError> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(None),
        Err(error) => Err(StateError::io("read", path, error)),
    }
}

/// The names in a directory, in order; empty when there is no directory. Names that are not UTF-8 are left out.
pub(crate) fn list(path: &Path) -> Result<Vec<String>, StateError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StateError::io("list", path, error)),
    };
    let mut names = Vec::new();
    for entry in entries.take(MAX_DIRECTORY_ENTRIES) {
        let entry = entry.map_err(|error| StateError::io("list", path, error))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}
