//! What one fetch may cost.

use std::time::Duration;

/// Most objects of one pack.
pub(super) const MAX_PACK_OBJECTS: usize = 1_000_000;
/// Largest object that a delta may make, in bytes. Also the most memory that one delta costs, twice.
pub(super) const MAX_OBJECT_BYTES: usize = 128 << 20;
/// Most of one pack that is mapped at a time, in bytes: a worker's address space is bounded.
pub(super) const WINDOW_BYTES: usize = 16 << 20;
/// Most of all packs that is mapped, in bytes.
pub(super) const MAPPED_BYTES: usize = 128 << 20;
/// Most references that a repository may show.
pub(super) const MAX_REFERENCES: usize = 100_000;
/// Annotated tags that may point to each other before a commit comes.
pub(super) const MAX_TAG_DEPTH: usize = 8;
/// Largest commit or tag object, in bytes.
pub(super) const MAX_COMMIT_BYTES: usize = 1 << 20;
/// Largest tree object, in bytes; about 200,000 entries.
pub(super) const MAX_TREE_BYTES: usize = 8 << 20;
/// Most segments of a path.
pub(super) const MAX_PATH_SEGMENTS: usize = 64;
/// Most desired files of one directory.
pub(super) const MAX_TREE_FILES: usize = 100_000;
/// Most bytes of the desired files of one directory together.
pub(super) const MAX_TREE_FILES_BYTES: usize = 64 << 20;
/// Most commits that are handed out to be checked.
pub(super) const MAX_COMMITS: usize = 1_000;
/// Most bytes of these commits together.
pub(super) const MAX_COMMITS_BYTES: usize = 4 << 20;
/// Packs in a mirror before it is made anew.
pub(super) const MAX_MIRROR_PACKS: usize = 100;
/// Bytes of the packs of a mirror before it is made anew.
pub(super) const MAX_MIRROR_BYTES: u64 = 2 << 30;
/// Bytes in which a wasm is handed over.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// What one fetch may cost. A worker process has limits of its own besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the start to the end.
    pub total: Duration,
    /// Until a connection stands, name and TLS included.
    pub connect: Duration,
    /// Without a single byte.
    pub stall: Duration,
    /// From the first byte of a pack until the rate counts.
    pub grace: Duration,
    /// Slowest rate of a pack after the grace, in bytes a second.
    pub min_rate: u64,
    /// Most bytes that are received.
    pub received_bytes: u64,
    /// For another process that fetches into the same mirror.
    pub lock_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A worker is killed some seconds later: this end has a reason.
            total: Duration::from_secs(280),
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            grace: Duration::from_secs(15),
            min_rate: 16 << 10,
            received_bytes: 512 << 20,
            lock_wait: Duration::from_secs(60),
        }
    }
}
