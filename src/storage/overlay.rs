//! Owns what one call has written and not yet committed.
//!
//! Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

type Written = Option<Arc<[u8]>>;

/// Writes over what is committed.
#[derive(Default)]
pub(super) struct Overlay {
    entries: BTreeMap<Box<str>, Written>,
    /// What is committed counts as gone.
    clears: bool,
    bytes: u64,
}

/// How some keys stood before a batch.
pub(super) struct Memory {
    entries: Vec<(Box<str>, Option<Written>)>,
    bytes: u64,
}

impl Overlay {
    /// What this call knows of the key by itself: the outer `None` sends the reader to the store.
    pub(super) fn get(&self, key: &str) -> Option<Written> {
        match self.entries.get(key) {
            Some(written) => Some(written.clone()),
            None if self.clears => Some(None),
            None => None,
        }
    }

    /// Bytes that are held once the key has a value of this length.
    pub(super) fn bytes_after(&self, key: &str, value: usize) -> u64 {
        self.bytes - self.weight(key) + (key.len() + value) as u64
    }

    pub(super) fn put(&mut self, key: &str, value: &[u8]) {
        self.write(key, Some(Arc::from(value)));
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.write(key, None);
    }

    pub(super) fn clear(&mut self) {
        *self = Self { clears: true, ..Self::default() };
    }

    pub(super) fn is_untouched(&self) -> bool {
        !self.clears && self.entries.is_empty()
    }

    pub(super) fn hides_the_store(&self) -> bool {
        self.clears
    }

    pub(super) fn remember<'k>(&self, keys: impl Iterator<Item = &'k str>) -> Memory {
        let entries = keys.map(|key| (key.into(), self.entries.get(key).cloned())).collect();
        Memory { entries, bytes: self.bytes }
    }

    pub(super) fn restore(&mut self, memory: Memory) {
        for (key, entry) in memory.entries {
            match entry {
                Some(written) => self.entries.insert(key, written),
                None => self.entries.remove(&key),
            };
        }
        self.bytes = memory.bytes;
    }

    /// Written keys after `after` that begin with `prefix`, in order.
    pub(super) fn range<'o>(
        &'o self,
        prefix: &'o str,
        after: Option<&'o str>,
    ) -> impl Iterator<Item = (&'o str, &'o Written)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = match after {
            Some(after) if after >= prefix => Excluded(after),
            _ => Included(prefix),
        };
        let entries = self.entries.range::<str, _>((from, Unbounded));
        entries.map(|(key, written)| (&**key, written)).take_while(move |(key, _)| key.starts_with(prefix))
    }

    pub(super) fn into_parts(self) -> (bool, BTreeMap<Box<str>, Written>) {
        (self.clears, self.entries)
    }

    fn weight(&self, key: &str) -> u64 {
        self.entries.get(key).map_or(0, |written| weight(key, written))
    }

    fn write(&mut self, key: &str, written: Written) {
        self.bytes = self.bytes - self.weight(key) + weight(key, &written);
        self.entries.insert(key.into(), written);
    }
}

fn weight(key: &str, written: &Written) -> u64 {
    (key.len() + written.as_ref().map_or(0, |value| value.len())) as u64
}
