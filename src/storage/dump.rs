//! Owns the form in which a store's entries leave the host and come back: chunks, each with its digest.
//!
//! ```text
//! airssys-storage 1
//! chunk ENTRIES BYTES SHA256      then so many bytes: id u64, length of key u32, length of value u32, key, value
//! …
//! end CHUNKS ENTRIES
//! ```
//!
//! Numbers in a chunk are big-endian. Nobody needs memory for more than one chunk, and every chunk is checked
//! before anything of it is stored. Importing a file again stores the same again, so a run that was cut off is
//! simply repeated.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read as _, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::backend::{Changes, Durability, Space};
use super::error::{StorageError, StoreError};
use super::keys::{check_key, full, split};
use super::store::{OWN_ID, Store};
use super::transaction::Rules;
use super::usage::Quota;
use super::{MAX_KEY_BYTES, MAX_PAGE_BYTES, MAX_PAGE_KEYS, MAX_VALUE_BYTES};
use crate::digest::Digest;
use crate::permission::StorageLevel;

const FIRST_LINE: &str = "airssys-storage 1";
/// Longest line of an export, in bytes.
const MAX_LINE_BYTES: u64 = 128;
/// Bytes of an entry besides key and value.
const HEAD_BYTES: usize = 16;
/// Largest chunk that is taken, in bytes: a page and one entry of the largest size.
const MAX_CHUNK_BYTES: usize = MAX_PAGE_BYTES + MAX_VALUE_BYTES + MAX_KEY_BYTES + (MAX_PAGE_KEYS + 1) * HEAD_BYTES;

/// How much was exported or imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Chunks.
    pub chunks: u64,
    /// Entries of all chunks.
    pub entries: u64,
}

/// Why an export or an import ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The file can't be read or written.
    #[error("the file can't be read or written: {0}")]
    Io(#[from] io::Error),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is no export, or not whole. Chunks before this one are stored.
    #[error("chunk {chunk} of the export {why}; the {chunk} chunks before it were stored")]
    Format {
        /// Which chunk, from 0.
        chunk: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An entry is for a storage that may not be written.
    #[error(
        "the export has entries of storage {0}, and no generation of this host has given that id out, or it is being \
         purged"
    )]
    UnknownId(u64),
    /// An entry breaks a rule.
    #[error("an entry of storage {id} was refused: {why}")]
    Refused {
        /// Which storage.
        id: u64,
        /// Which rule.
        why: StorageError,
    },
}

impl Store {
    /// Writes the entries of these storages, or of all.
    pub fn export(&self, only: Option<&BTreeSet<u64>>, out: &mut dyn Write) -> Result<Copied, DumpError> {
        writeln!(out, "{FIRST_LINE}")?;
        let mut copied = Copied::default();
        let skipped: BTreeSet<u64> = self.noted_purges()?.into_iter().collect();
        for id in self.held_ids()? {
            if skipped.contains(&id) || only.is_some_and(|only| !only.contains(&id)) {
                continue;
            }
            let mut from = full(id, b"");
            while let Some(chunk) = self.chunk(id, &mut from)? {
                writeln!(out, "chunk {} {} {}", chunk.entries, chunk.body.len(), Digest::of(&chunk.body).hex())?;
                out.write_all(&chunk.body)?;
                copied.chunks += 1;
                copied.entries += chunk.entries;
            }
        }
        writeln!(out, "end {} {}", copied.chunks, copied.entries)?;
        out.flush()?;
        Ok(copied)
    }

    /// The next entries of a storage, and where those after them begin.
    fn chunk(&self, id: u64, from: &mut Vec<u8>) -> Result<Option<Chunk>, StoreError> {
        let mut chunk = Chunk { entries: 0, body: Vec::new() };
        let mut last = None;
        self.room.scan(Space::Data, from, &super::keys::behind(&full(id, b"")), &mut |key, value| {
            chunk.push(id, &key[full(id, b"").len()..], value);
            last = Some(key.to_vec());
            let is_full = chunk.entries as usize >= MAX_PAGE_KEYS || chunk.body.len() >= MAX_PAGE_BYTES;
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(last.map(|mut last| {
            last.push(0);
            *from = last;
            chunk
        }))
    }

    /// Stores what an export holds, over what is there. `quota_of` says how much a storage may hold, and gives none for
    /// an id that there may not be.
    pub fn import(
        self: &Arc<Self>,
        input: &mut dyn BufRead,
        quota_of: impl Fn(u64) -> Option<Quota>,
    ) -> Result<Copied, DumpError> {
        let mut copied = Copied::default();
        let wrong = |chunk, why| DumpError::Format { chunk, why };
        if line(input)?.as_deref() != Some(FIRST_LINE) {
            return Err(wrong(0, "does not begin with the line of an export"));
        }
        loop {
            let at = copied.chunks;
            let head = line(input)?.ok_or_else(|| wrong(at, "is missing: the file is cut off"))?;
            let words: Vec<&str> = head.split(' ').collect();
            match words[..] {
                ["chunk", entries, bytes, digest] => {
                    let bytes: usize = bytes.parse().map_err(|_| wrong(at, "has no length"))?;
                    if bytes > MAX_CHUNK_BYTES {
                        return Err(wrong(at, "is larger than any export writes"));
                    }
                    let mut body = vec![0; bytes];
                    input.read_exact(&mut body).map_err(|_| wrong(at, "is cut off"))?;
                    if Digest::of(&body).hex() != digest {
                        return Err(wrong(at, "is damaged: its digest differs"));
                    }
                    let entries = entries.parse().map_err(|_| wrong(at, "has no number of entries"))?;
                    self.import_chunk(&body, entries, &quota_of, at)?;
                    copied.chunks += 1;
                    copied.entries += entries;
                }
                ["end", chunks, entries] => {
                    if (chunks.parse(), entries.parse()) != (Ok(copied.chunks), Ok(copied.entries)) {
                        return Err(wrong(at, "is missing: the end counts more"));
                    }
                    // What was stored so far without a sync comes along.
                    self.commit_own(Changes::new())?;
                    return Ok(copied);
                }
                _ => return Err(wrong(at, "has a line that is none of an export")),
            }
        }
    }

    /// Stores the entries of one chunk, all of one storage and `expected` of them, or nothing.
    fn import_chunk(
        self: &Arc<Self>,
        mut body: &[u8],
        expected: u64,
        quota_of: &impl Fn(u64) -> Option<Quota>,
        chunk: u64,
    ) -> Result<(), DumpError> {
        let mut seen = 0;
        let mut call = None;
        while !body.is_empty() {
            let Some((id, key, value, rest)) = entry(body) else {
                return Err(DumpError::Format { chunk, why: "has an entry that is none" });
            };
            let Some(quota) = quota_of(id).filter(|_| id != OWN_ID) else { return Err(DumpError::UnknownId(id)) };
            body = rest;
            let rules = Rules { level: Some(StorageLevel::ReadWrite), quota, writes: true };
            let transaction = call.get_or_insert_with(|| self.begin(id, rules));
            if transaction.id != id {
                return Err(DumpError::Format { chunk, why: "has entries of two storages" });
            }
            transaction.set(key, value).map_err(|why| DumpError::Refused { id, why })?;
            seen += 1;
        }
        if seen != expected {
            return Err(DumpError::Format { chunk, why: "has another number of entries than it says" });
        }
        if let Some(set) = call.map(|call| call.finish()).transpose()?.flatten() {
            self.commit(set.with_durability(Durability::Relaxed))?;
        }
        Ok(())
    }
}

struct Chunk {
    entries: u64,
    body: Vec<u8>,
}

impl Chunk {
    fn push(&mut self, id: u64, key: &[u8], value: &[u8]) {
        self.entries += 1;
        self.body.extend_from_slice(&id.to_be_bytes());
        for length in [key.len(), value.len()] {
            self.body.extend_from_slice(&(length as u32).to_be_bytes());
        }
        self.body.extend_from_slice(key);
        self.body.extend_from_slice(value);
    }
}

/// The first entry of a chunk's bytes, and what is left of them.
fn entry(body: &[u8]) -> Option<(u64, &str, &[u8], &[u8])> {
    let (id, rest) = split(body)?;
    let (key, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_first_chunk::<4>()?;
    let (key, value) = (u32::from_be_bytes(*key) as usize, u32::from_be_bytes(*value) as usize);
    let (key, rest) = rest.split_at_checked(key)?;
    let (value, rest) = rest.split_at_checked(value)?;
    let key = std::str::from_utf8(key).ok().filter(|key| check_key(key).is_ok())?;
    Some((id, key, value, rest))
}

/// One line without its end; none at the end of the file.
fn line(input: &mut dyn BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    input.take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)?;
    Ok(bytes.strip_suffix(b"\n").and_then(|line| String::from_utf8(line.to_vec()).ok()))
}
