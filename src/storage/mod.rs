//! Owns what components keep: one store for all of them, behind a trait with three backends.
//!
//! ```text
//! Storage (opened when it is first needed) -> Store
//!    Store::begin            -> Transaction      one call of a handler: reads, and an overlay of its writes
//!    Transaction::finish     -> WriteSet         what it changed, with the new usage in it
//!    Store::commit(_then)    -> the committer thread: many write sets, one atomic commit, one sync
//! ```
//!
//! Messages that outlive the host are in the same commits: see `mail`.
//!
//! A key in the store is the storage id, 8 bytes big-endian, and the component's own key. Ids are given
//! out by generations and never twice, so what one installation left behind is never another one's.
//!
//! It does not know actors or guests, and not which installation has which id.

mod backend;
mod cache;
mod commit;
mod dump;
mod error;
mod keys;
mod lazy;
mod mail;
mod migrate;
mod overlay;
mod page;
mod purge;
mod queue;
mod session;
mod store;
mod transaction;
mod usage;
mod verify;

#[cfg(test)]
mod tests;

pub use backend::{
    BackendError, BackendKind, Changes, Durability, MemoryBackend, ParseBackendError, Space, StorageBackend, Visit,
};
pub use commit::WriteSet;
pub use dump::{Copied, DumpError};
pub use error::{StorageError, StoreError};
pub use keys::check_key;
pub use lazy::Storage;
pub use mail::{
    Author, DamagedRecord, Kept, Letter, MAX_LETTER_BYTES, MAX_LETTERS, Mail, MailHead, MailKey, MailSet, Mailbox,
};
pub use migrate::{MigrateError, migrate};
pub use page::{Page, PageOf};
pub use queue::Then;
pub use session::{HandlerStorage, Posted, Written};
pub use store::{Store, StoreCounts};
pub use transaction::{Rules, Transaction};
pub use usage::{Quota, Usage};
pub use verify::{Difference, Verified};

/// Longest key of a component, in bytes.
pub const MAX_KEY_BYTES: usize = 1_024;
/// Largest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// Most entries of one page of a scan.
pub const MAX_PAGE_KEYS: usize = 1_000;
/// Most bytes of keys and values on one page of a scan; a single larger entry is a page by itself.
pub const MAX_PAGE_BYTES: usize = 1 << 20;
/// Most keys of one batch call.
pub const MAX_BATCH: usize = 100;
/// Most operations of one handler call. A batch and a page count as many as they have keys.
pub const MAX_OPERATIONS: u64 = 10_000;
/// Most bytes of keys and values that one handler call may have written and not yet committed.
pub const MAX_TRANSACTION_BYTES: u64 = 16 << 20;
/// Bytes of values that the host keeps at hand for all components together.
pub const READ_CACHE_BYTES: usize = 16 << 20;
