//! What is asked of the log, and what is found.

use std::collections::{BTreeSet, VecDeque};

use serde::Serialize;

use super::chain::Walked;
use super::{Kind, Record};
use crate::name::InstallationName;
use crate::timestamp::rfc3339;

/// `$type` of [`Audit`].
pub const AUDIT_TYPE: &str = "airssys-wasm/audit/v1";
/// Most records that are shown at a time.
pub const MAX_SHOWN: usize = 100_000;

/// Which records are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Of this installation alone.
    pub installation: Option<InstallationName>,
    /// Of these kinds; of all when there is none.
    pub kinds: BTreeSet<Kind>,
    /// From this time on, in seconds since 1970.
    pub since: Option<u64>,
    /// Before this time, in seconds since 1970.
    pub until: Option<u64>,
    /// The newest so many, at most [`MAX_SHOWN`].
    pub most: usize,
}

impl Query {
    /// Whether a record is wanted.
    pub fn wants(&self, record: &Record) -> bool {
        // Times are UTC with a fixed width: their order is the order of their text.
        let time = |unix_s: u64| rfc3339(i64::try_from(unix_s).unwrap_or(i64::MAX));
        self.installation.as_ref().is_none_or(|name| record.installation.as_deref() == Some(name.as_str()))
            && (self.kinds.is_empty() || self.kinds.contains(&record.kind))
            && self.since.is_none_or(|since| record.time >= time(since))
            && self.until.is_none_or(|until| record.time < time(until))
    }
}

/// Keeps the newest records that are wanted.
#[derive(Debug)]
pub struct Newest<'q> {
    query: &'q Query,
    records: VecDeque<Record>,
    matching: u64,
}

impl<'q> Newest<'q> {
    /// Nothing was seen yet.
    pub fn new(query: &'q Query) -> Self {
        Self { query, records: VecDeque::new(), matching: 0 }
    }

    /// Sees the next record; they come oldest first.
    pub fn see(&mut self, record: Record) {
        if !self.query.wants(&record) {
            return;
        }
        self.matching += 1;
        self.records.push_back(record);
        if self.records.len() > self.query.most.min(MAX_SHOWN) {
            self.records.pop_front();
        }
    }

    /// What was found, with the state of the chain.
    pub fn found(self, chain: Walked) -> Audit {
        Audit {
            document: AUDIT_TYPE,
            matching: self.matching,
            records: self.records.into(),
            chain: Chain {
                first: chain.first,
                last: chain.end.n,
                head: chain.end.digest.to_string(),
                broken: chain.broken,
                breaks: chain.breaks,
            },
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Audit {
    #[serde(rename = "$type")]
    document: &'static str,
    /// How many records match, shown or not.
    pub matching: u64,
    /// The newest of them, oldest first.
    pub records: Vec<Record>,
    /// How the whole log is.
    pub chain: Chain,
}

/// How the chain of the whole log is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Chain {
    /// The number of the first record that is kept.
    pub first: Option<u64>,
    /// The number of the last record; 0 when there is none.
    pub last: u64,
    /// SHA-256 of the last record's line.
    pub head: String,
    /// In how many places the chain is broken.
    pub broken: u64,
    /// Where and how, at most 100.
    pub breaks: Vec<String>,
}
