//! Decides how much a component has stored and whether more is too much. Exact: bytes of its keys and values.
//!
//! Pure. The record of a usage is committed together with the data that it counts.

use super::error::StorageError;
use crate::limits::{DEFAULT_STORAGE_BYTES, DEFAULT_STORAGE_KEYS, Limits};

/// Bytes of an encoded record.
const RECORD_BYTES: usize = 24;

/// What one storage id holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of keys, as the component writes them, and values.
    pub bytes: u64,
    /// Number of keys.
    pub keys: u64,
    /// Counts commits. A call that began at one count and ends at another was not alone.
    pub commits: u64,
}

/// The most that one storage id may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Number of keys.
    pub keys: u64,
}

impl Quota {
    /// What a component's limits say.
    pub fn of(limits: &Limits) -> Self {
        Self { bytes: limits.storage.0, keys: limits.storage_keys }
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self { bytes: DEFAULT_STORAGE_BYTES, keys: DEFAULT_STORAGE_KEYS }
    }
}

impl Usage {
    /// After the value of `key` changed its length from `old` to `new`; `None` is no value at all.
    pub(super) fn after(self, key: &str, old: Option<usize>, new: Option<usize>) -> Self {
        let weight = |value: Option<usize>| value.map_or(0, |bytes| (key.len() + bytes) as u64);
        Self {
            bytes: self.bytes.saturating_sub(weight(old)).saturating_add(weight(new)),
            keys: self.keys.saturating_sub(u64::from(old.is_some())).saturating_add(u64::from(new.is_some())),
            commits: self.commits,
        }
    }

    pub(super) fn encode(self) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        record[..8].copy_from_slice(&self.bytes.to_be_bytes());
        record[8..16].copy_from_slice(&self.keys.to_be_bytes());
        record[16..].copy_from_slice(&self.commits.to_be_bytes());
        record
    }

    pub(super) fn decode(record: &[u8]) -> Option<Self> {
        let record: &[u8; RECORD_BYTES] = record.try_into().ok()?;
        let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| record[at + i]));
        Some(Self { bytes: number(0), keys: number(8), commits: number(16) })
    }
}

impl Quota {
    /// Whether going from `before` to `after` is allowed. Whoever is above a quota that was lowered may still shrink.
    pub(super) fn allows(self, before: Usage, after: Usage) -> Result<(), StorageError> {
        if after.bytes > self.bytes && after.bytes > before.bytes {
            return Err(StorageError::QuotaExceeded(self.bytes));
        }
        if after.keys > self.keys && after.keys > before.keys {
            return Err(StorageError::TooManyKeys(self.keys));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(bytes: u64, keys: u64) -> Usage {
        Usage { bytes, keys, commits: 1 }
    }

    #[test]
    fn an_overwrite_counts_the_difference_and_a_removal_the_whole() {
        let one = usage(0, 0).after("key", None, Some(10));
        assert_eq!(one, usage(13, 1));
        assert_eq!(one.after("key", Some(10), Some(4)), usage(7, 1));
        assert_eq!(one.after("key", Some(10), Some(0)), usage(3, 1));
        assert_eq!(one.after("key", Some(10), None), usage(0, 0));
        assert_eq!(one.after("other", None, None), one);
    }

    #[test]
    fn the_quota_is_met_exactly_and_a_lowered_one_lets_shrink() {
        let quota = Quota { bytes: 100, keys: 2 };
        assert_eq!(quota.allows(usage(0, 0), usage(100, 2)), Ok(()));
        assert_eq!(quota.allows(usage(100, 2), usage(101, 2)), Err(StorageError::QuotaExceeded(100)));
        assert_eq!(quota.allows(usage(10, 2), usage(11, 3)), Err(StorageError::TooManyKeys(2)));
        assert_eq!(quota.allows(usage(300, 9), usage(299, 9)), Ok(()));
        assert_eq!(quota.allows(usage(300, 9), usage(300, 9)), Ok(()));
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let usage = Usage { bytes: 1 << 40, keys: 3, commits: 9 };
        assert_eq!(Usage::decode(&usage.encode()), Some(usage));
        assert_eq!(Usage::decode(b"short"), None);
    }
}
