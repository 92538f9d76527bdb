//! Owns the files of the audit log: where records go, when they are durable, and how the log catches up after a crash.
//!
//! What a record says is `audit`'s. A commit's records are written after its commit point and not synced: they are derived
//! from generations, so a start that misses some writes them again, with the same bytes, and one that finds others says so.
//! All other records are synced, and after them the head, which names the last of them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::disk::Disk;
use super::error::StateError;
use super::layout::{Layout, audit_file_number};
use super::load::{MAX_RECORD_BYTES, read_chain, read_generation};
use super::read::{ObjectBytes, list, read_file, read_object};
use super::writer::HostWriter;
use crate::audit::chain::{End, MAX_HEAD_BYTES};
use crate::audit::commit::entries;
use crate::audit::{Accepted, Entry, Kind, Record as AuditRecord};
use crate::digest::Digest;
use crate::generation::Generation;
use crate::record::Record;

/// Size at which a file of the log is full, in bytes. A file of one record may be longer.
pub const MAX_AUDIT_FILE_BYTES: usize = 4 << 20;
/// Most files of the log; the oldest is removed for a new one, and a record says so.
pub const MAX_AUDIT_FILES: usize = 64;
/// Most bytes that are read of one file: a full one and one block of lines more.
pub(super) const MAX_READ_BYTES: usize = 2 * MAX_AUDIT_FILE_BYTES;
/// Most generations that are made up for at a start.
const MAX_CAUGHT_UP: usize = 10_000;

/// The log as its writer knows it.
pub(crate) struct AuditLog {
    layout: Arc<Layout>,
    end: End,
    /// Up to which generation everything is recorded.
    generation: u64,
    /// The numbers of its files, rising; none before the first record.
    files: Vec<u64>,
    /// Bytes of the last file.
    bytes: usize,
    /// Whether the last file's name is durable.
    is_name_durable: bool,
    /// Something failed half-way: what is on disk must be looked at again.
    is_unknown: bool,
}

impl AuditLog {
    /// A log of which nothing is known yet.
    pub(super) fn unopened(layout: Arc<Layout>) -> Self {
        Self {
            layout,
            end: End::EMPTY,
            generation: 0,
            files: Vec::new(),
            bytes: 0,
            is_name_durable: true,
            is_unknown: true,
        }
    }

    /// Finds where the log ends and makes up for what is not in it. Not before there is a current generation.
    pub(crate) fn open(
        layout: Arc<Layout>,
        disk: &Disk,
        current: &Generation,
        now_unix_s: u64,
    ) -> Result<Self, StateError> {
        let files = audit_files(&layout)?;
        let head = head(&layout)?;
        let mut log = Self { files, is_unknown: false, ..Self::unopened(layout) };
        let tail = log.read_tail(disk, head)?;
        if log.end == End::EMPTY {
            log.begin(disk, current, head, now_unix_s)?;
            return Ok(log);
        }
        // A host that died while it began the log wrote no head yet.
        let is_young = head.is_none() && tail.end.n == 1;
        let wrong = log.catch_up(disk, current, &tail)?;
        let what = match head {
            Some(head) if !tail.passes_head && head.n > tail.end.n => {
                Some(format!("the log ended with record {}, and its head names record {}", tail.end.n, head.n))
            }
            Some(head) if !tail.passes_head => Some(format!("record {} was not the one that the head names", head.n)),
            None if !is_young => Some("the head of the log was missing or damaged".to_owned()),
            _ => wrong.map(|n| format!("record {n} was not what its generation says")),
        };
        if is_young && what.is_none() {
            disk.replace_durably(&log.layout.audit_head(), log.end.encode().as_bytes())?;
        }
        if let Some(what) = what {
            log.append(disk, current.number, &[Entry::new(now_unix_s, Kind::Gap, what)], Author::Host)?;
        }
        Ok(log)
    }

    /// The first record of a log. It can't be made again later, so it is on disk before anything stands on it.
    fn begin(
        &mut self,
        disk: &Disk,
        current: &Generation,
        head: Option<End>,
        now_unix_s: u64,
    ) -> Result<(), StateError> {
        self.generation = current.number;
        let mut first = Vec::new();
        if let Some(head) = head {
            let what = format!("the log is gone: its head names record {}", head.n);
            first.push(Entry::new(now_unix_s, Kind::Gap, what));
            self.end = head;
        }
        let what = format!("the log begins with generation {}", current.number);
        first.push(Entry::new(now_unix_s, Kind::Begin, what));
        // An earlier start may have made the file and nothing more.
        self.is_name_durable = false;
        self.append(disk, current.number, &first, Author::Host)
    }

    /// Compares what is in it behind the last record of a host's own with what the generations say, and writes what is
    /// missing. Gives the number of the first record that says something else.
    fn catch_up(&mut self, disk: &Disk, current: &Generation, tail: &Tail) -> Result<Option<u64>, StateError> {
        let (steps, mut begins_at) = self.steps_to(current)?;
        let reaches = tail.after.last().map_or(self.generation, |(record, _)| record.generation);
        let mut expected = Vec::new();
        for (parent, number) in steps {
            let (Ok(before), Ok(after)) = (read_chain(&self.layout, parent)?, read_chain(&self.layout, number)?) else {
                // Without the one before it is not known what it changed.
                expected.clear();
                begins_at = number;
                continue;
            };
            let (before, after) = (before.generation, after.generation);
            let entries = entries(&before, &after, &mut |digest| accepted(&self.layout, digest));
            expected.extend(entries.into_iter().map(|entry| (number, entry)));
        }
        let (there, wrong) = tail.compare(&expected, begins_at);
        if reaches < begins_at {
            let what =
                format!("what was changed up to generation {begins_at} is not recorded: it is not kept any more");
            let gap = Entry::new(current.written_unix_s, Kind::Gap, what);
            self.append(disk, begins_at, &[gap], Author::Host)?;
        }
        for of_one in expected[there..].chunk_by(|(a, _), (b, _)| a == b) {
            let entries: Vec<Entry> = of_one.iter().map(|(_, entry)| entry.clone()).collect();
            self.append(disk, of_one[0].0, &entries, Author::Commit)?;
        }
        self.generation = current.number;
        Ok(wrong)
    }

    /// The commits after the generation up to which everything is recorded, oldest first, each with its parent; and with
    /// which generation they begin, which is a later one where it is not kept any more.
    fn steps_to(&self, current: &Generation) -> Result<(Vec<(u64, u64)>, u64), StateError> {
        let (mut steps, mut number) = (Vec::new(), current.number);
        while number > self.generation {
            let file = read_generation(&self.layout, number)?.ok().filter(|_| steps.len() < MAX_CAUGHT_UP);
            let Some(parent) = file.and_then(|file| file.parent).map(|parent| parent.number) else { break };
            steps.push((parent, number));
            number = parent;
        }
        steps.reverse();
        // After a recovery the parent may be an older one than the log knows.
        Ok((steps, number.max(self.generation)))
    }

    /// Records what a commit changed, and what an earlier one did when that could not be written.
    fn commit(
        &mut self,
        disk: &Disk,
        before: &Generation,
        after: &Generation,
        new: &BTreeMap<Digest, Accepted>,
    ) -> Result<(), StateError> {
        if self.is_unknown || self.generation != before.number {
            return self.open_again(disk, after);
        }
        let known = |digest: &Digest| new.get(digest).cloned();
        let entries = entries(before, after, &mut |digest| known(digest).or_else(|| accepted(&self.layout, digest)));
        self.append(disk, after.number, &entries, Author::Commit)?;
        self.generation = after.number;
        Ok(())
    }

    /// Records what no generation knows. It is on disk when this returns.
    pub(crate) fn record(&mut self, disk: &Disk, current: &Generation, entries: &[Entry]) -> Result<(), StateError> {
        if self.is_unknown || self.generation != current.number {
            self.open_again(disk, current)?;
        }
        self.append(disk, current.number, entries, Author::Host)
    }

    fn open_again(&mut self, disk: &Disk, current: &Generation) -> Result<(), StateError> {
        disk.check_going()?;
        *self = Self::open(Arc::clone(&self.layout), disk, current, current.written_unix_s)?;
        Ok(())
    }

    fn append(&mut self, disk: &Disk, generation: u64, entries: &[Entry], author: Author) -> Result<(), StateError> {
        let result = self.try_append(disk, generation, entries, author);
        self.is_unknown |= result.is_err();
        result
    }

    fn try_append(
        &mut self,
        disk: &Disk,
        generation: u64,
        entries: &[Entry],
        author: Author,
    ) -> Result<(), StateError> {
        let mut left = entries;
        while let Some(first) = left.first() {
            let (lines, _) = self.end.extend(generation, left);
            let mut room = MAX_AUDIT_FILE_BYTES.saturating_sub(self.bytes);
            let fits = lines.iter().take_while(|line| {
                let fits = line.len() <= room;
                room = room.saturating_sub(line.len());
                fits
            });
            let fits = fits.count();
            if self.files.is_empty() || (fits == 0 && self.bytes > 0) {
                self.begin_file(disk, generation, first.unix_s)?;
                continue;
            }
            let now = fits.max(1);
            self.write_lines(disk, generation, &left[..now], author)?;
            left = &left[now..];
        }
        if author == Author::Host && !entries.is_empty() {
            disk.replace_durably(&self.layout.audit_head(), self.end.encode().as_bytes())?;
        }
        Ok(())
    }

    /// Writes lines to the last file.
    fn write_lines(
        &mut self,
        disk: &Disk,
        generation: u64,
        entries: &[Entry],
        author: Author,
    ) -> Result<(), StateError> {
        let Some(number) = self.files.last() else { return Ok(()) };
        let path = self.layout.audit_file(*number);
        let (lines, end) = self.end.extend(generation, entries);
        let text = lines.concat();
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).expect("open flags fit into an int");
        let file = OpenOptions::new().append(true).custom_flags(flags).open(&path);
        let file: File = file.map_err(|error| StateError::io("open", &path, error))?;
        disk.write(&file, &path, text.as_bytes())?;
        if author == Author::Host {
            disk.sync_file(&file, &path)?;
            if !self.is_name_durable {
                disk.sync_dir(&self.layout.audit())?;
                self.is_name_durable = true;
            }
        }
        self.bytes += text.len();
        self.end = end;
        Ok(())
    }

    /// Begins a new file. The oldest goes for it when there are too many.
    fn begin_file(&mut self, disk: &Disk, generation: u64, now_unix_s: u64) -> Result<(), StateError> {
        let number = self.files.last().map_or(1, |last| last + 1);
        drop(disk.create(&self.layout.audit_file(number))?);
        self.files.push(number);
        self.bytes = 0;
        self.is_name_durable = false;
        if self.files.len() <= MAX_AUDIT_FILES {
            return Ok(());
        }
        let kept_from = first_record(&self.layout, self.files[1])?.map_or(0, |record| record.n);
        let removed = kept_from.saturating_sub(1);
        let what = format!("records up to {removed} were removed to make room: {MAX_AUDIT_FILES} files are kept");
        let entry = Entry { count: Some(removed), ..Entry::new(now_unix_s, Kind::Rotate, what) };
        self.write_lines(disk, generation, &[entry], Author::Host)?;
        let oldest = self.files.remove(0);
        disk.remove_file(&self.layout.audit_file(oldest))
    }

    /// Reads from the end back to the record that the head names, or to the last one of a host's own where there is no
    /// head, and takes a torn line away.
    fn read_tail(&mut self, disk: &Disk, head: Option<End>) -> Result<Tail, StateError> {
        let mut tail = Tail { passes_head: false, end: End::EMPTY, after: Vec::new() };
        let mut last_digest = None;
        for (from_last, number) in self.files.clone().into_iter().rev().enumerate() {
            let path = self.layout.audit_file(number);
            let bytes = read_file(&path, MAX_READ_BYTES)?.unwrap_or_default();
            let kept = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if from_last == 0 {
                if kept < bytes.len() {
                    disk.replace_durably(&path, &bytes[..kept])?;
                }
                self.bytes = kept;
            }
            for line in bytes[..kept].split(|byte| *byte == b'\n').rev().skip(1) {
                let digest = Digest::of(line);
                let last = *last_digest.get_or_insert(digest);
                // A line of somebody's: the chain goes on behind it, and does not hold.
                let Ok(record) = serde_json::from_slice::<AuditRecord>(line) else { continue };
                if self.end == End::EMPTY {
                    self.end = End { n: record.n, digest: last };
                    tail.end = self.end;
                }
                self.generation = record.generation;
                tail.passes_head = head == Some(End { n: record.n, digest });
                let is_enough = match head {
                    Some(head) => record.n <= head.n,
                    None => !record.kind.is_of_commit() && record.kind != Kind::Rotate,
                };
                if is_enough {
                    tail.after.reverse();
                    return Ok(tail);
                }
                tail.after.push((record, line.to_vec()));
            }
        }
        tail.after.reverse();
        Ok(tail)
    }
}

/// Who says what a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    /// A generation: it can be said again.
    Commit,
    /// A host, once.
    Host,
}

/// What the end of the log says.
struct Tail {
    /// Whether the record that the head names is there.
    passes_head: bool,
    /// Where the log ended when it was read.
    end: End,
    /// The records behind that one, with their lines, oldest first.
    after: Vec<(AuditRecord, Vec<u8>)>,
}

impl Tail {
    /// How many of the expected records of the commits after a generation are there, and the number of the first that is
    /// another one.
    fn compare(&self, expected: &[(u64, Entry)], begins_at: u64) -> (usize, Option<u64>) {
        let mut there = 0;
        let of_commits =
            self.after.iter().filter(|(record, _)| record.kind.is_of_commit() && record.generation > begins_at);
        for (record, line) in of_commits {
            let before = End { n: record.n.wrapping_sub(1), digest: record.previous };
            let is_it = expected.get(there).is_some_and(|(generation, entry)| {
                // What is collected by now can't say again whose signature it was.
                let accepted = entry.accepted.clone().or_else(|| record.accepted.clone());
                let (lines, _) = before.extend(*generation, [&Entry { accepted, ..entry.clone() }]);
                lines.concat().strip_suffix('\n').map(str::as_bytes) == Some(line)
            });
            if !is_it {
                return (there, Some(record.n));
            }
            there += 1;
        }
        (there, None)
    }
}

/// The record that the head names; none when it is missing or damaged.
pub(super) fn head(layout: &Layout) -> Result<Option<End>, StateError> {
    let bytes = read_file(&layout.audit_head(), MAX_HEAD_BYTES)?;
    Ok(bytes.and_then(|bytes| End::decode(&bytes).ok()))
}

/// The numbers of the log's files, rising.
pub(super) fn audit_files(layout: &Layout) -> Result<Vec<u64>, StateError> {
    let mut files: Vec<u64> = list(&layout.audit())?.iter().filter_map(|name| audit_file_number(name)).collect();
    files.sort_unstable();
    Ok(files)
}

fn first_record(layout: &Layout, file: u64) -> Result<Option<AuditRecord>, StateError> {
    let bytes = read_file(&layout.audit_file(file), MAX_READ_BYTES)?.unwrap_or_default();
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice(line).ok())
}

/// What a committed record accepted; none when it can't be read any more.
fn accepted(layout: &Layout, digest: &Digest) -> Option<Accepted> {
    match read_object(layout, digest, MAX_RECORD_BYTES).ok()? {
        ObjectBytes::Good(bytes) => Some(Accepted::from(&Record::decode(&bytes).ok()?.artifact)),
        ObjectBytes::Missing | ObjectBytes::Damaged(_) => None,
    }
}

impl HostWriter {
    pub(super) fn open_audit(&mut self, now_unix_s: u64) -> Result<(), StateError> {
        let (layout, current) = (Arc::clone(&self.layout), Arc::clone(&self.current));
        self.audit = AuditLog::open(layout, &self.disk, &current.generation, now_unix_s)?;
        Ok(())
    }

    /// Records what a commit changed. It is committed whatever comes of that.
    pub(super) fn record_commit(&mut self, before: &Generation, new: &BTreeMap<Digest, Accepted>) -> Option<String> {
        let after = Arc::clone(&self.current);
        let recorded = self.audit.commit(&self.disk, before, &after.generation, new);
        recorded.err().map(|error| error.to_string())
    }

    pub(super) fn record(&mut self, entries: &[Entry]) -> Result<(), StateError> {
        self.disk.check_going()?;
        let current = Arc::clone(&self.current);
        self.audit.record(&self.disk, &current.generation, entries)
    }
}
