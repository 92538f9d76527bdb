//! Owns the trait behind which the stores stand, and its words.
//!
//! Whoever implements it keeps bytes in order and commits many changes as one. Quotas, ids and who may do
//! what are not its business.

mod fjall;
mod memory;
mod redb;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

pub use self::memory::MemoryBackend;
use crate::config::StorageSetting;
use crate::escape::escape;

/// One of the name spaces of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// What components keep.
    Data,
    /// Messages that must outlive the host.
    Mail,
    /// The store's own records: usage of each storage id, its format, what is to be purged.
    Meta,
}

impl Space {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Data, Self::Mail, Self::Meta];

    fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Mail => "mail",
            Self::Meta => "meta",
        }
    }
}

/// What one commit changes: a value to put, or `None` to remove the key. In order, each key once.
pub type Changes = BTreeMap<(Space, Vec<u8>), Option<Arc<[u8]>>>;

/// What a commit outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// It may be lost when the host ends, though never a part of it, nor an earlier one without it.
    Relaxed,
    /// What every call of a component gets: calls wait for it without a thread, and many share one sync.
    ///
    /// It outlives the host and the machine's power from the moment on at which the commit returns.
    Synced,
}

/// Why a backend could not do what it was asked for. Its own words, escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(String);

impl BackendError {
    /// With a text of any origin.
    pub fn new(text: impl fmt::Display) -> Self {
        Self(escape(&text.to_string()))
    }
}

/// Gets each entry of a scan; says whether to go on.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// A store of ordered bytes with atomic commits over all its spaces.
///
/// One thread commits; any thread reads at any time and sees commits as a whole, in order.
pub trait StorageBackend: Send + Sync {
    /// The value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Arc<[u8]>>, BackendError>;

    /// Visits the entries from `from` on up to, not including, `until`, in the order of their keys.
    fn scan(&self, space: Space, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> Result<(), BackendError>;

    /// Makes all the changes or none. After an error nothing is known about the store, and it is not written again.
    fn commit(&self, changes: &Changes, durability: Durability) -> Result<(), BackendError>;

    /// Makes everything that was committed outlive the machine's power.
    fn sync(&self) -> Result<(), BackendError>;

    /// Which one it is.
    fn kind(&self) -> BackendKind;
}

/// The backends that this host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendKind {
    /// A log-structured store, made for many small writes. The default.
    #[default]
    Fjall,
    /// A B-tree in one file: opens at once and uses little memory, and writes slower.
    Redb,
    /// Memory alone: keeps nothing when the host ends.
    Memory,
}

impl BackendKind {
    /// The backends that keep what they are given, in the order in which help texts name them.
    pub const LASTING: [Self; 2] = [Self::Fjall, Self::Redb];

    /// Opens, and makes when it is not there, the store below `directory`, which exists.
    pub(super) fn open(self, directory: &Path) -> Result<Arc<dyn StorageBackend>, BackendError> {
        let open = || -> Result<Arc<dyn StorageBackend>, BackendError> {
            Ok(match self {
                Self::Fjall => Arc::new(fjall::FjallBackend::open(&self.path(directory))?),
                Self::Redb => Arc::new(redb::RedbBackend::open(&self.path(directory))?),
                Self::Memory => Arc::new(MemoryBackend::default()),
            })
        };
        // What is on disk may be damaged in ways for which the libraries have an assertion and no error.
        std::panic::catch_unwind(open)
            .unwrap_or_else(|_printed| Err(BackendError::new("the store's files are damaged")))
    }

    /// Where its files are below the directory of stores.
    pub fn path(self, directory: &Path) -> std::path::PathBuf {
        match self {
            Self::Fjall => directory.join("fjall"),
            Self::Redb => directory.join("data.redb"),
            Self::Memory => directory.to_owned(),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fjall => "fjall",
            Self::Redb => "redb",
            Self::Memory => "memory",
        })
    }
}

impl From<StorageSetting> for BackendKind {
    fn from(setting: StorageSetting) -> Self {
        match setting {
            StorageSetting::Fjall => Self::Fjall,
            StorageSetting::Redb => Self::Redb,
        }
    }
}

/// The text names no backend that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is \"fjall\" or \"redb\"")]
pub struct ParseBackendError;

impl FromStr for BackendKind {
    type Err = ParseBackendError;

    fn from_str(text: &str) -> Result<Self, ParseBackendError> {
        Self::LASTING.into_iter().find(|kind| kind.to_string() == text).ok_or(ParseBackendError)
    }
}
