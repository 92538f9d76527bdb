//! Owns what is said when the state can't be read or written: what was attempted, on which path, why, what to do.
//!
//! It decides nothing about what follows from an error.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::escape::escape;
use crate::generation::SuccessionError;
use crate::home::HomeError;
use crate::name::InstallationName;
use crate::quantity::ByteSize;

/// Why the state could not be read or written. Nothing that runs is touched by any of these.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The home or one of its directories can't be trusted.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The system refused.
    #[error("can't {attempt} {}: {source}", shown(.path))]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another host has this state.
    #[error("the state in {} is in use by {holder}", shown(.path))]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// Who has it, as far as that is known.
        holder: String,
    },
    /// Written by a newer version.
    #[error("{} says \"{found}\", and this version knows \"{known}\"", shown(.path))]
    Format {
        /// The file that names the format.
        path: PathBuf,
        /// What it says, escaped and cut.
        found: String,
        /// What this version writes.
        known: &'static str,
    },
    /// A file is missing without which nothing may be assumed.
    #[error("{} is missing, and the state was in use before", shown(.path))]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {why}", shown(.path))]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// The set that was to be committed doesn't follow the committed one.
    #[error("generation {number} was not committed: {source}")]
    Succession {
        /// The generation that was refused.
        number: u64,
        /// Why.
        source: SuccessionError,
    },
    /// What is on disk is not what this process committed last.
    #[error("the state in {} was changed by somebody else: {why}", shown(.path))]
    ChangedOutside {
        /// The file that differs.
        path: PathBuf,
        /// How.
        why: String,
    },
    /// A set names an object that is not there, or is another.
    #[error("\"{name}\" was not committed: its object {digest} {why}")]
    Object {
        /// The installation.
        name: InstallationName,
        /// The object.
        digest: Digest,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The bytes to be stored are more than was allowed for.
    #[error("it is larger than {0}")]
    TooLarge(ByteSize),
    /// The bytes to be stored could not be read.
    #[error("reading it failed: {0}")]
    Source(io::Error),
    /// So little space is left that the state itself could become stuck.
    #[error("{} has {free} free, and {kept} are kept for the state itself", shown(.path))]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// Free space for this user.
        free: ByteSize,
        /// The space that is not given to new objects.
        kept: ByteSize,
    },
    /// As much is on its way into the content store as may be.
    #[error(
        "more than {0} would be on its way into the content store; `scratch-max` in [state] of config.toml allows no more"
    )]
    ScratchFull(ByteSize),
    /// Too many objects are being written at once.
    #[error("{0} objects are being written already")]
    TooManyUploads(usize),
    /// A sync failed earlier: what is on disk since then is not known.
    #[error("nothing more is written to the state, because an earlier write may be lost: {0}")]
    Stopped(String),
    /// The thread that writes ended.
    #[error("the thread that writes the state has ended")]
    WriterGone,
}

/// A path as messages show it.
pub(crate) fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

impl StateError {
    pub(crate) fn io(attempt: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { attempt, path: path.to_owned(), source }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } => io_hint(source),
            Self::Locked { .. } => Some("one host at a time: stop that one, or give another --home"),
            Self::Format { .. } => Some("run the version that wrote it, or give another --home"),
            Self::Missing { hint, .. } | Self::Damaged { hint, .. } => Some(hint),
            Self::ChangedOutside { .. } => Some("restart the host: it then starts from what is on disk"),
            Self::Object { .. } => Some("it is fetched again with the next pass"),
            Self::NoRoom { .. } => Some("free some space; what runs goes on running"),
            Self::ScratchFull(_) => Some("try again when other fetches are done, or raise `scratch-max`"),
            Self::TooManyUploads(_) => Some("try again"),
            Self::Stopped(_) => Some("check the disk, then restart the host: it starts from what is on disk"),
            Self::WriterGone => Some("restart the host"),
            Self::Home(_) | Self::Succession { .. } | Self::TooLarge(_) | Self::Source(_) => None,
        }
    }

    /// Whether the disk is full or read-only: a condition of the machine that passes, and no damage.
    pub fn is_disk_full_or_read_only(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
            ),
            Self::NoRoom { .. } => true,
            _ => false,
        }
    }
}

fn io_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull => Some("free some space on that file system; what runs goes on running"),
        io::ErrorKind::QuotaExceeded => Some("free some of the quota there; what runs goes on running"),
        io::ErrorKind::ReadOnlyFilesystem => Some("mount it writable; what runs goes on running"),
        io::ErrorKind::PermissionDenied => Some("run as the owner of the home, or give another --home"),
        _ => None,
    }
}
