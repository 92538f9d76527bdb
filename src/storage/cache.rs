//! Keeps values that were read or written lately, within a number of bytes.
//!
//! It never has a value that is older than the last commit of which the committer told it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::backend::{Changes, Space};

/// Parts with a lock each.
const PARTS: usize = 16;
/// What an entry costs besides key and value, in bytes, roughly.
const ENTRY_BYTES: usize = 128;

type Key = (Space, Vec<u8>);

pub(super) struct ReadCache {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
    half_of_a_part: usize,
}

/// Two halves: when the young one is full it becomes the old one, and what was the old one is forgotten.
#[derive(Default)]
struct Part {
    young: HashMap<Key, Arc<[u8]>>,
    old: HashMap<Key, Arc<[u8]>>,
    young_bytes: usize,
    /// Counts commits that touched this part: a read that began before one is not remembered after it.
    commits: u64,
}

/// The state of a part before a read of the store.
#[derive(Clone, Copy)]
pub(super) struct Before(u64);

impl ReadCache {
    pub(super) fn new(bytes: usize) -> Self {
        let parts = std::array::from_fn(|_| Mutex::default());
        Self { parts, hasher: RandomState::new(), half_of_a_part: bytes / PARTS / 2 }
    }

    fn part(&self, key: &Key) -> MutexGuard<'_, Part> {
        let at = self.hasher.hash_one(key) as usize % PARTS;
        self.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, or the state in which there was none.
    pub(super) fn get(&self, key: &Key) -> Result<Arc<[u8]>, Before> {
        let mut part = self.part(key);
        if let Some(value) = part.young.get(key) {
            return Ok(Arc::clone(value));
        }
        let Some((key, value)) = part.old.remove_entry(key) else { return Err(Before(part.commits)) };
        part.insert(key, Arc::clone(&value), self.half_of_a_part);
        Ok(value)
    }

    /// Remembers what was read, unless a commit came between.
    pub(super) fn remember(&self, before: Before, key: Key, value: &Arc<[u8]>) {
        let mut part = self.part(&key);
        if part.commits == before.0 {
            part.insert(key, Arc::clone(value), self.half_of_a_part);
        }
    }

    /// Follows a commit.
    pub(super) fn committed(&self, changes: &Changes) {
        // Messages are read once, when a host starts.
        for (key, value) in changes.iter().filter(|((space, _), _)| *space != Space::Mail) {
            let mut part = self.part(key);
            part.commits += 1;
            part.remove(key);
            if let Some(value) = value {
                part.insert(key.clone(), Arc::clone(value), self.half_of_a_part);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let part_bytes = |part: &Mutex<Part>| {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.young.iter().chain(&part.old).map(|(key, value)| weight(key, value)).sum::<usize>()
        };
        self.parts.iter().map(part_bytes).sum()
    }
}

impl Part {
    fn insert(&mut self, key: Key, value: Arc<[u8]>, half: usize) {
        let bytes = weight(&key, &value);
        self.remove(&key);
        if bytes > half {
            return;
        }
        if self.young_bytes + bytes > half {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(key, value);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(value) = self.young.remove(key) {
            self.young_bytes -= weight(key, &value);
        }
        self.old.remove(key);
    }
}

fn weight(key: &Key, value: &[u8]) -> usize {
    ENTRY_BYTES + key.1.len() + value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        (Space::Data, name.as_bytes().to_vec())
    }

    #[test]
    fn a_read_that_a_commit_overtook_is_not_remembered() {
        let cache = ReadCache::new(1 << 20);
        let before = cache.get(&key("a")).unwrap_err();
        cache.committed(&Changes::from([(key("a"), None)]));
        cache.remember(before, key("a"), &Arc::from(&b"old"[..]));
        assert!(cache.get(&key("a")).is_err());
    }

    #[test]
    fn it_holds_no_more_than_it_may_and_what_is_used_stays() {
        let cache = ReadCache::new(1 << 20);
        let value: Arc<[u8]> = Arc::from(vec![0; 1_000]);
        for i in 0..10_000 {
            if let Err(before) = cache.get(&key("used")) {
                cache.remember(before, key("used"), &value);
            }
            let name = key(&i.to_string());
            let before = cache.get(&name).unwrap_err();
            cache.remember(before, name, &value);
            assert!(i < 2 || cache.get(&key("used")).is_ok(), "{i}");
        }
        assert!(cache.bytes() <= 1 << 20 && cache.bytes() > 1 << 18, "{}", cache.bytes());
    }

    #[test]
    fn a_value_larger_than_a_half_is_not_kept() {
        let cache = ReadCache::new(1 << 14);
        let before = cache.get(&key("a")).unwrap_err();
        cache.remember(before, key("a"), &Arc::from(vec![0; 1 << 10]));
        assert!(cache.get(&key("a")).is_err());
    }
}
