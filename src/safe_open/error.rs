//! Owns why a file could not be used, and whether trying again can help.
//!
//! Does not decide what a failure leads to: whoever asked keeps what it had.

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::diagnostic::Diagnostic;
use crate::resolution::{Class, Refusal, class};

/// Why a file could not be used. Every text in here is already escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Nothing has that name now. It may be on its way.
    #[error("`{file}` does not exist")]
    Missing {
        /// The path as the operator knows it.
        file: String,
    },
    /// The system could not do it now: a broken disk, a network file system that is away, no more
    /// descriptors, no permission.
    #[error("cannot {doing} `{file}`: {reason}")]
    Io {
        /// What was attempted: `open`, `read`.
        doing: &'static str,
        /// The path as the operator knows it.
        file: String,
        /// The system's words.
        reason: String,
    },
    /// It changed each time while it was read.
    #[error("`{file}` changed while it was read")]
    Changed {
        /// The path as the operator knows it.
        file: String,
    },
    /// It is being written, or has not been quiet for long enough to be read.
    #[error("`{file}` is still being written")]
    BeingWritten {
        /// The path as the operator knows it.
        file: String,
    },
    /// A link where none may be, or one that leads elsewhere.
    #[error("`{file}` is a symbolic link {fault}")]
    Link {
        /// The path as the operator knows it.
        file: String,
        /// What is wrong with the link.
        fault: &'static str,
    },
    /// A directory, a pipe, a socket or a device.
    #[error("`{file}` is {kind}, not a regular file")]
    NotRegular {
        /// The path as the operator knows it.
        file: String,
        /// What it is.
        kind: &'static str,
    },
    /// A file where a directory must be.
    #[error("`{file}` is not a directory")]
    NotADirectory {
        /// The path as the operator knows it.
        file: String,
    },
    /// Owned by someone who could change it behind the operator's back.
    #[error("`{file}` belongs to user {owner}, not to root or to the user of this host")]
    Owner {
        /// The path as the operator knows it.
        file: String,
        /// Who owns it.
        owner: u32,
    },
    /// Everybody may change it.
    #[error("`{file}` can be written by every user of this machine")]
    WorldWritable {
        /// The path as the operator knows it.
        file: String,
    },
    /// Larger than such a file may be.
    #[error("`{file}` has {size} bytes, at most {max} are read")]
    TooLarge {
        /// The path as the operator knows it.
        file: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// No file can have that name.
    #[error("`{file}` cannot be a file's name: {fault}")]
    BadName {
        /// The name as it was given.
        file: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

impl FileError {
    /// What a failed system call means.
    pub(crate) fn from_errno(doing: &'static str, file: String, errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Missing { file },
            Errno::NOTDIR => Self::NotADirectory { file },
            // Without following, a link at the end; with following, a circle or a link of /proc.
            Errno::LOOP => Self::Link { file, fault: "that cannot be followed" },
            Errno::NAMETOOLONG => Self::BadName { file, fault: "it is too long" },
            Errno::INVAL => Self::BadName { file, fault: "the system refuses it" },
            other => Self::Io { doing, file, reason: std::io::Error::from(other).to_string() },
        }
    }

    /// What a failed read means.
    pub(crate) fn from_io(doing: &'static str, file: String, error: &std::io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(errno) if errno == Errno::NOENT => Self::Missing { file },
            _ => Self::Io { doing, file, reason: error.to_string() },
        }
    }

    /// Whether the same attempt may succeed later although nobody repairs anything by hand.
    pub fn is_transient(&self) -> bool {
        class(self.code()) != Class::Stalled
    }

    /// The machine reason, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "file-missing",
            Self::Io { .. } => "file-unreadable",
            Self::Changed { .. } => "file-changing",
            Self::BeingWritten { .. } => "file-being-written",
            Self::Link { .. } => "file-is-link",
            Self::NotRegular { .. } => "file-not-regular",
            Self::NotADirectory { .. } => "not-a-directory",
            Self::Owner { .. } => "file-owner",
            Self::WorldWritable { .. } => "file-world-writable",
            Self::TooLarge { .. } => "file-too-large",
            Self::BadName { .. } => "file-name",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing { .. } => "check that the path is right, or wait until the file is there".to_owned(),
            Self::TooLarge { max, .. } => format!("replace it with a file of at most {max} bytes"),
            Self::BadName { .. } => "use another name for the file".to_owned(),
            Self::Io { .. } => "it is tried again; what runs stays as it is".to_owned(),
            Self::Changed { .. } | Self::BeingWritten { .. } => {
                "write it beside its place and rename it, so that it is never seen half".to_owned()
            }
            Self::Link { .. } => "put the file itself there".to_owned(),
            Self::NotRegular { .. } => "only regular files are read".to_owned(),
            Self::NotADirectory { .. } => "name the directory, not a file in it".to_owned(),
            Self::Owner { file, .. } => format!("chown it to the user of this host: chown {} '{file}'", own_uid()),
            Self::WorldWritable { file } => format!("take the right away: chmod o-w '{file}'"),
        };
        Some(hint)
    }

    /// As a diagnostic of one desired file, whose name is not yet escaped.
    pub fn diagnostic(&self, file_name: &str) -> Diagnostic {
        let diagnostic = Diagnostic::whole_file(file_name, self.to_string());
        match self.hint() {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }
    }
}

impl From<&FileError> for Refusal {
    fn from(error: &FileError) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string(), hint: error.hint() }
    }
}

/// The user whose files are trusted besides root's.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The kind in words, for messages.
pub(crate) fn kind_in_words(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something unknown",
    }
}
