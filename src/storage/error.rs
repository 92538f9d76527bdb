//! Owns what is said when something can't be stored or read.

use std::path::PathBuf;
use std::sync::Arc;

use super::backend::{BackendError, BackendKind};
use crate::escape::Escaped;

/// Why one call of a component was refused. Nothing of the call was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The component's storage permission does not go that far.
    #[error("its storage permission does not go that far")]
    NotPermitted,
    /// Now is no time for writing: `init` and `shutdown` read only.
    #[error("`init` and `shutdown` may read the storage and not write it")]
    ReadOnlyNow,
    /// The key is none.
    #[error("the key can't be used: {0}")]
    InvalidKey(&'static str),
    /// The value is larger than this many bytes.
    #[error("a value has at most {0} bytes")]
    ValueTooLarge(u64),
    /// It would hold more than this many bytes.
    #[error("it would hold more than the {0} bytes that it may")]
    QuotaExceeded(u64),
    /// It would hold more than this many keys.
    #[error("it would hold more than the {0} keys that it may")]
    TooManyKeys(u64),
    /// A batch has at most this many keys.
    #[error("a batch has at most {0} keys")]
    BatchTooLarge(u64),
    /// One call of a handler does at most this many operations.
    #[error("this call has done the {0} storage operations that it may")]
    TooManyOperations(u64),
    /// One call of a handler writes at most this many bytes.
    #[error("this call would write more than the {0} bytes that it may")]
    TransactionTooLarge(u64),
    /// The store could not do it.
    #[error(transparent)]
    Unavailable(Arc<StoreError>),
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

/// Why the store of all components can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It can't be opened.
    #[error(
        "the {kind} store in {} can't be opened: {why}; components with storage don't start until it can. \
         Put a backup in its place, or move the directory aside to begin with empty storage",
        Escaped(&path.to_string_lossy())
    )]
    Open {
        /// Which backend.
        kind: BackendKind,
        /// The directory of the store.
        path: PathBuf,
        /// Why.
        why: BackendError,
    },
    /// The directory can't be made.
    #[error("the directory of the store, {}, can't be used: {why}", Escaped(&path.to_string_lossy()))]
    Directory {
        /// Which directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It was written by another version.
    #[error("the store says \"{found}\", and this version knows \"{known}\"; use the version that wrote it")]
    Format {
        /// What it says, escaped and cut.
        found: String,
        /// What this version writes.
        known: &'static str,
    },
    /// A copy into it was begun and not finished.
    #[error(
        "the copy into the {kind} store is not finished; `airssys-wasm storage migrate --to {kind}` goes on with it"
    )]
    Unfinished {
        /// Which backend.
        kind: BackendKind,
    },
    /// The store is one of another backend.
    #[error(
        "what components keep is in the {other} store in {}, and the settings say {kind}; write [state]          storage-backend = \"{other}\", or copy it with `airssys-wasm storage migrate --to {kind}`",
        Escaped(&path.to_string_lossy())
    )]
    OtherBackend {
        /// What the settings say.
        kind: BackendKind,
        /// What is there.
        other: BackendKind,
        /// The directory of both.
        path: PathBuf,
    },
    /// The store can't be read.
    #[error("the store can't be read: {0}")]
    Read(BackendError),
    /// A record of the store itself is not one.
    #[error("the store's {what} is damaged; `storage verify` says what is wrong")]
    Damaged {
        /// Which record.
        what: &'static str,
    },
    /// An earlier commit failed.
    #[error(
        "the store was stopped, because a write failed: {0}; everything before that write is kept. \
         Check the disk, then restart the host"
    )]
    Stopped(BackendError),
    /// More waits for the disk than may.
    #[error("the disk is behind: more waits to be written than the host keeps; later it may work")]
    Busy,
    /// A message of a mailbox is none.
    #[error("a message in the mailbox of storage {id} is damaged; `storage verify` says how many are")]
    DamagedMail {
        /// Whose mailbox.
        id: u64,
    },
    /// No store is open: the host ends.
    #[error("the store is closed")]
    Closed,
    /// A message that was to end, or to change, had ended before.
    #[error("the message has ended meanwhile")]
    Ended,
    /// Somebody else changed the same storage meanwhile.
    #[error("the storage was changed by another instance of the component during this call")]
    Conflict,
}
