//! Owns how records are chained, and how a broken chain is found.

use super::{Entry, Record};
use crate::digest::Digest;
use crate::sealed::{self, SealError};

/// Longest line, in bytes; a longer one is no record.
pub const MAX_LINE_BYTES: usize = 64 << 10;
/// First line of the head.
const HEAD_FIRST_LINE: &str = "airssys-audit-head 1";
/// Longest head, in bytes.
pub const MAX_HEAD_BYTES: usize = 4_096;
/// Most places that are named where the chain is broken.
pub const MAX_BREAKS: usize = 100;

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The number of the last record; 0 when there is none.
    pub n: u64,
    /// SHA-256 of its line; zeros when there is none.
    pub digest: Digest,
}

impl End {
    /// Of a log without records.
    pub const EMPTY: Self = Self { n: 0, digest: Digest::from_bytes([0; 32]) };

    /// The lines for `entries`, each with its end, and where the log ends then.
    pub fn extend<'e>(self, generation: u64, entries: impl IntoIterator<Item = &'e Entry>) -> (Vec<String>, Self) {
        let mut end = self;
        let line = |entry: &Entry| {
            let record = Record::of(entry, generation, end.n.saturating_add(1), end.digest);
            let mut line = serde_json::to_string(&record).expect("a record holds only strings and numbers");
            end = Self { n: record.n, digest: Digest::of(line.as_bytes()) };
            line.push('\n');
            line
        };
        let lines = entries.into_iter().map(line).collect();
        (lines, end)
    }

    /// The file that says so.
    pub fn encode(self) -> String {
        sealed::seal(HEAD_FIRST_LINE, &format!("{} {}\n", self.n, self.digest)).text
    }

    /// Reads what [`End::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, SealError> {
        let opened = sealed::open(HEAD_FIRST_LINE, bytes, MAX_HEAD_BYTES)?;
        let (n, digest) = opened.body.trim_end().split_once(' ').ok_or(SealError::Unfinished)?;
        let (n, digest) = (n.parse().ok(), digest.parse().ok());
        let end = n.zip(digest).map(|(n, digest)| Self { n, digest });
        // One end has one spelling: no sign, no leading zeros, no further line ends.
        end.filter(|end| end.encode().as_bytes() == bytes).ok_or(SealError::Unfinished)
    }
}

/// Goes along a chain, line by line from the oldest, and notes where it is broken.
#[derive(Debug)]
pub struct Walk {
    head: Option<End>,
    end: Option<End>,
    first: Option<u64>,
    /// The number from which on records are kept, as the log says.
    kept_from: u64,
    passed_head: bool,
    breaks: Vec<String>,
    broken: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// The first record that is there.
    pub first: Option<u64>,
    /// Where the log ends.
    pub end: End,
    /// Where and how the chain is broken, at most [`MAX_BREAKS`].
    pub breaks: Vec<String>,
    /// In how many places it is broken.
    pub broken: u64,
}

impl Walk {
    /// Begins before the first line. The head must have been read before the lines: a host may write meanwhile.
    pub fn new(head: Option<End>) -> Self {
        let passed_head = head.is_some_and(|head| head == End::EMPTY);
        Self { head, end: None, first: None, kept_from: 1, passed_head, breaks: Vec::new(), broken: 0 }
    }

    /// Takes the next line, without its end; gives its record when it is one.
    pub fn line(&mut self, place: impl Fn() -> String, line: &[u8]) -> Option<Record> {
        let record = serde_json::from_slice::<Record>(line).ok();
        let digest = Digest::of(line);
        let n = match (&record, self.end) {
            (None, end) => {
                self.broken(format!("{}: this is no record", place()));
                end.map_or(0, |end| end.n)
            }
            (Some(record), None) => {
                self.first = Some(record.n);
                // It says itself that the log before it was lost.
                if record.kind == super::Kind::Gap {
                    self.kept_from = record.n;
                }
                if record.n == 1 && record.previous != End::EMPTY.digest {
                    self.broken(format!("{}: record 1 names a record before it", place()));
                }
                record.n
            }
            (Some(record), Some(end)) => {
                if end.n.checked_add(1) != Some(record.n) {
                    self.broken(format!("{}: record {} follows record {}", place(), record.n, end.n));
                } else if record.previous != end.digest {
                    let why = "was changed, or another one stood there";
                    self.broken(format!("{}: record {} {why} when record {} was written", place(), end.n, record.n));
                }
                record.n
            }
        };
        let end = End { n, digest };
        self.passed_head |= self.head == Some(end);
        self.end = Some(end);
        if let Some(record) = &record
            && record.kind == super::Kind::Rotate
        {
            self.kept_from = record.count.map_or(self.kept_from, |count| count.saturating_add(1));
        }
        record
    }

    /// A last line without its end: a host died while it wrote, and its next start takes it away.
    pub fn end(mut self) -> Walked {
        let end = self.end.unwrap_or(End::EMPTY);
        match self.first {
            Some(first) if first > self.kept_from => {
                let (from, to) = (self.kept_from, first - 1);
                self.broken(format!("records {from} to {to} are gone, and no record says why"));
            }
            _ => {}
        }
        match self.head {
            None if end != End::EMPTY => self.broken("the head is missing or damaged".to_owned()),
            Some(head) if !self.passed_head => {
                let message = match end.n < head.n {
                    true => format!("the log ends with record {}, and its head names record {}", end.n, head.n),
                    false => format!("record {} is not the one that the head names", head.n),
                };
                self.broken(message);
            }
            _ => {}
        }
        Walked { first: self.first, end, breaks: self.breaks, broken: self.broken }
    }

    fn broken(&mut self, what: String) {
        self.broken += 1;
        if self.breaks.len() < MAX_BREAKS {
            self.breaks.push(what);
        }
    }
}
