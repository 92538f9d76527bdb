//! Owns reading logs back: the last lines, those since a time, and those that come.
//!
//! Reads the files alone, so that it works without a host. It keeps up with files that are put aside
//! while it reads, as long as it is asked again before the oldest one is gone.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{LogLine, MAX_FILE_BYTES, MAX_FILES, writer};
use crate::name::InstallationName;

/// Most lines that can be asked for at once.
pub const MAX_TAIL_LINES: usize = 100_000;
/// What one look takes from a file at most, in bytes.
const MAX_POLL_BYTES: u64 = MAX_FILE_BYTES;
/// Longest line that is taken for one; the writer makes none that long even if every character is escaped.
const MAX_STORED_LINE_BYTES: usize = 64 * 1024;

/// A place in a component's log, from which lines can be read as they come.
pub struct Follow {
    directory: PathBuf,
    name: InstallationName,
    current: Option<Current>,
}

struct Current {
    file: File,
    inode: u64,
    /// The start of a line whose end is not there yet.
    open: Vec<u8>,
}

impl Follow {
    /// The last `lines` lines not older than `since_ms`, and the place behind them.
    ///
    /// A log without files is an empty one.
    pub fn open(
        directory: &Path,
        name: &InstallationName,
        lines: usize,
        since_ms: Option<i64>,
    ) -> io::Result<(Vec<LogLine>, Self)> {
        let mut follow = Self { directory: directory.to_owned(), name: name.clone(), current: None };
        let mut last = VecDeque::new();
        for number in (0..MAX_FILES).rev() {
            let Some(current) = Current::open(&writer::path(directory, name, number))? else { continue };
            // Between two files the writer may have put one aside; the same file is not read twice.
            if follow.current.as_ref().is_some_and(|before| before.inode == current.inode) {
                continue;
            }
            let current = follow.current.insert(current);
            current.read_to_end(|line| {
                if since_ms.is_none_or(|since| line.ts_ms >= since) {
                    last.push_back(line);
                    if last.len() > lines.min(MAX_TAIL_LINES) {
                        last.pop_front();
                    }
                }
            })?;
        }
        Ok((last.into(), follow))
    }

    /// The lines that came since the last look. Never waits.
    pub fn poll(&mut self) -> io::Result<Vec<LogLine>> {
        let mut lines = Vec::new();
        for _ in 0..=MAX_FILES {
            // Where the file is now is looked up before it is read: what was written between the two
            // looks is then found by the read, and a file put aside after it is found by the next poll.
            let next = self.next_path()?;
            if let Some(current) = &mut self.current {
                current.read_to_end(|line| lines.push(line))?;
            }
            let Some(next) = next else { break };
            match Current::open(&next)? {
                Some(current) => self.current = Some(current),
                None => break,
            }
        }
        Ok(lines)
    }

    /// The file after the one being read; nothing while that one is the newest.
    fn next_path(&self) -> io::Result<Option<PathBuf>> {
        let path = |number| writer::path(&self.directory, &self.name, number);
        let mut oldest = None;
        for number in 0..MAX_FILES {
            let inode = match std::fs::metadata(path(number)) {
                Ok(metadata) => metadata.ino(),
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            match &self.current {
                Some(current) if current.inode == inode => return Ok(number.checked_sub(1).map(path)),
                _ => oldest = Some(number),
            }
        }
        Ok(oldest.map(path))
    }
}

impl Current {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                Ok(Some(Self { file, inode, open: Vec::new() }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn read_to_end(&mut self, mut each: impl FnMut(LogLine)) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.open);
        (&mut self.file).take(MAX_POLL_BYTES).read_to_end(&mut bytes)?;
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.open = bytes.split_off(complete);
        if self.open.len() > MAX_STORED_LINE_BYTES {
            self.open.clear();
            self.file.seek(SeekFrom::End(0))?;
        }
        // A line that does not parse was torn by a crash of the host or is not ours.
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).for_each(&mut each);
        Ok(())
    }
}
