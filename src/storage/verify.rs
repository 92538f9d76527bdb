//! Decides whether a store agrees with itself: every entry readable, every usage the sum of its entries.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::backend::Space;
use super::error::StoreError;
use super::keys::{check_key, full, split};
use super::mail::{MailKind, kind_of};
use super::store::{OWN_ID, Store};
use super::usage::Usage;
use super::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// What a look at everything showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Storage ids that hold something.
    pub ids: u64,
    /// Keys of all of them.
    pub keys: u64,
    /// Bytes of keys and values of all of them.
    pub bytes: u64,
    /// Messages that wait.
    pub messages: u64,
    /// Dead letters.
    pub letters: u64,
    /// What does not agree.
    pub differences: Vec<Difference>,
}

/// What does not agree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The record of a usage is not the sum of the entries.
    #[error(
        "storage {id} holds {} bytes in {} keys, and its record says {} bytes in {} keys",
        counted.bytes, counted.keys, recorded.bytes, recorded.keys
    )]
    Usage {
        /// Which storage.
        id: u64,
        /// What it holds.
        counted: Usage,
        /// What the record says.
        recorded: Usage,
    },
    /// The record of a usage is none.
    #[error("the record of storage {id} is damaged; it holds {} bytes in {} keys", counted.bytes, counted.keys)]
    Record {
        /// Which storage.
        id: u64,
        /// What it holds.
        counted: Usage,
    },
    /// A message or a dead letter that is none.
    #[error("{count} entries in {} are no messages", mailbox(*id))]
    Mail {
        /// Whose mailbox; 0 is that of the dead letters.
        id: u64,
        /// How many.
        count: u64,
    },
    /// An entry that no component can have written.
    #[error("storage {id} has {count} entries that no component can have written")]
    Entries {
        /// Which storage.
        id: u64,
        /// How many.
        count: u64,
    },
}

impl Store {
    /// Reads everything. What can't be read is an error; what is readable and wrong, a difference.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let mut counted: BTreeMap<u64, Usage> = BTreeMap::new();
        let mut foreign: BTreeMap<u64, u64> = BTreeMap::new();
        self.room.scan(Space::Data, &full(OWN_ID, b""), &[0xff; 9 + MAX_KEY_BYTES], &mut |key, value| {
            let (id, key) = split(key).unwrap_or((OWN_ID, b""));
            let key = std::str::from_utf8(key).unwrap_or_default();
            if id == OWN_ID || check_key(key).is_err() || value.len() > MAX_VALUE_BYTES {
                *foreign.entry(id).or_default() += 1;
            } else {
                let usage = counted.entry(id).or_default();
                *usage = usage.after(key, None, Some(value.len()));
            }
            ControlFlow::Continue(())
        })?;
        let noted = self.noted_purges()?;
        let mut verified = Verified { ids: counted.len() as u64, ..Verified::default() };
        verified.keys = counted.values().map(|usage| usage.keys).sum();
        verified.bytes = counted.values().map(|usage| usage.bytes).sum();
        verified.differences.extend(foreign.into_iter().map(|(id, count)| Difference::Entries { id, count }));
        self.verify_mail(&mut verified)?;
        let records = self.records()?;
        // What is being purged is no longer counted.
        let ids = counted.keys().chain(records.keys()).copied().filter(|id| !noted.contains(id));
        for id in ids.collect::<BTreeSet<u64>>() {
            let counted = counted.get(&id).copied().unwrap_or_default();
            let difference = match records.get(&id).copied().unwrap_or(Some(Usage::default())) {
                None => Difference::Record { id, counted },
                Some(recorded) if (counted.bytes, counted.keys) != (recorded.bytes, recorded.keys) => {
                    Difference::Usage { id, counted, recorded }
                }
                Some(_) => continue,
            };
            verified.differences.push(difference);
        }
        Ok(verified)
    }

    fn verify_mail(&self, verified: &mut Verified) -> Result<(), StoreError> {
        let mut foreign: BTreeMap<u64, u64> = BTreeMap::new();
        self.room.scan(Space::Mail, b"", &[0xff; 9 + MAX_KEY_BYTES], &mut |key, record| {
            match kind_of(key, record) {
                MailKind::Message(_) => verified.messages += 1,
                MailKind::Letter => verified.letters += 1,
                MailKind::Foreign(id) => *foreign.entry(id).or_default() += 1,
            }
            ControlFlow::Continue(())
        })?;
        verified.differences.extend(foreign.into_iter().map(|(id, count)| Difference::Mail { id, count }));
        Ok(())
    }
}

fn mailbox(id: u64) -> String {
    if id == OWN_ID { "the dead letters".to_owned() } else { format!("the mailbox of storage {id}") }
}
