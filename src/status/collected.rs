//! Owns what removing the past comes to: counts and bytes.

use serde::{Deserialize, Serialize};

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Collected {
    /// Generation files.
    pub generations: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of those objects.
    pub object_bytes: u64,
    /// Entries of the code cache.
    pub cache_entries: u64,
    /// Bytes of those entries.
    pub cache_bytes: u64,
    /// Bytes of those generation files.
    pub generation_bytes: u64,
    /// Remote sources that nothing uses: what was remembered of them, and their mirrors.
    pub sources: u64,
    /// Mirrors of sources that are in use and can be fetched again: there were too many bytes of them.
    pub mirrors: u64,
    /// Bytes of all those mirrors.
    pub mirror_bytes: u64,
    /// Bytes of the mirrors that are left.
    pub kept_mirror_bytes: u64,
    /// Bytes that unfinished writes had left behind.
    pub scratch_bytes: u64,
}

impl Collected {
    /// Bytes that are free now and were not.
    pub fn freed_bytes(&self) -> u64 {
        self.object_bytes + self.cache_bytes + self.generation_bytes + self.mirror_bytes + self.scratch_bytes
    }
}
