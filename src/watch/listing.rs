//! Owns the list of the desired directory: which files it holds and in which state each is.
//!
//! Parses nothing and decides nothing about a missing file. A list is complete or it is an error:
//! a directory that vanished or could not be read to its end is never an empty one.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Stat};
use rustix::io::Errno;

use super::entries;
use crate::diagnostic::Diagnostic;
use crate::escape::escape;
use crate::safe_open::{
    Content, DIRECTORY_FLAGS, Directory, FileError, Identity, Links, Rules, check, check_directory, wall_ns,
};

#[cfg(test)]
mod tests;

/// Largest desired file, in bytes.
pub const MAX_DESIRED_FILE_BYTES: u64 = 256 * 1024;
/// Most entries of a desired directory, files of other names included.
pub const MAX_DIRECTORY_ENTRIES: usize = 100_000;
/// How often a list is begun again when the directory is exchanged meanwhile.
const MAX_LIST_ATTEMPTS: u32 = 3;

/// Why the directory could not be listed. What was known of it stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It is not there, or went away while it was read.
    #[error("the desired directory `{directory}` does not exist")]
    Missing {
        /// The directory, escaped.
        directory: String,
    },
    /// It breaks a rule, or the system could not read it.
    #[error("the desired directory cannot be used: {0}")]
    Unusable(FileError),
    /// It was exchanged each time while it was read.
    #[error("the desired directory `{directory}` was exchanged while it was read")]
    Exchanged {
        /// The directory, escaped.
        directory: String,
    },
    /// It holds more than fits.
    #[error("the desired directory `{directory}` holds more than {MAX_DIRECTORY_ENTRIES} entries")]
    TooManyEntries {
        /// The directory, escaped.
        directory: String,
    },
}

impl ListError {
    /// For messages about the directory as a whole.
    pub fn diagnostic(&self, directory: &Path) -> Diagnostic {
        let diagnostic = Diagnostic::whole_file(&directory.to_string_lossy(), self.to_string());
        match self {
            Self::Unusable(error) if error.hint().is_some() => diagnostic.hint(error.hint().unwrap_or_default()),
            Self::Missing { .. } => {
                diagnostic.hint("make it, or name another one; nothing is removed while there is no directory")
            }
            _ => diagnostic.hint("nothing is removed while the directory cannot be read"),
        }
    }
}

/// What one look at the directory showed.
#[derive(Debug, Default)]
pub struct Listing {
    /// The desired files in the order of their names.
    pub entries: Vec<Listed>,
    /// Whether a file was reached through a link, so that a change elsewhere in the directory counts.
    pub has_links: bool,
}

/// One desired file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name. Names that are not UTF-8 are escaped, and such a file is always unreadable.
    pub name: Box<str>,
    /// Its state.
    pub found: Found,
}

/// The state of a desired file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It can be read.
    File {
        /// Which state of which file.
        identity: Identity,
        /// Whether it has been unchanged for a while by this machine's clock.
        is_quiet: bool,
    },
    /// It is there and cannot be used, so what it asked for before is held.
    Unreadable(FileError),
}

/// Lists one directory again and again.
#[derive(Debug)]
pub struct Lister {
    path: PathBuf,
    rules: Rules,
    max_entries: usize,
    /// The directory of the last complete list, and that list.
    last: Option<(Directory, Listing)>,
}

impl Lister {
    /// A lister of `path`; nothing is opened yet.
    pub fn new(path: &Path, own_uid: u32) -> Self {
        let rules = Rules { max_bytes: MAX_DESIRED_FILE_BYTES, own_uid, links: Links::Beneath };
        Self { path: path.to_owned(), rules, max_entries: MAX_DIRECTORY_ENTRIES, last: None }
    }

    /// Looks at the whole directory.
    pub fn list(&mut self) -> Result<&Listing, ListError> {
        for _ in 0..MAX_LIST_ATTEMPTS {
            if let Some(done) = self.list_once()? {
                return Ok(&self.last.insert(done).1);
            }
        }
        Err(ListError::Exchanged { directory: self.shown() })
    }

    /// Reads a file of the last list.
    pub fn read(&self, name: &str) -> Result<Content, FileError> {
        match &self.last {
            Some((directory, _)) => directory.read(name, &self.rules),
            None => Err(FileError::Missing { file: escape(name) }),
        }
    }

    /// `None`: the directory was exchanged meanwhile.
    fn list_once(&self) -> Result<Option<(Directory, Listing)>, ListError> {
        self.list_opened(self.open()?)
    }

    fn list_opened(&self, fd: OwnedFd) -> Result<Option<(Directory, Listing)>, ListError> {
        let walk = Walk { directory: Directory::from_fd(fd, &self.path), rules: self.rules, wall_ns: wall_ns() };
        let mut listing = match walk.through(self.max_entries) {
            Err(Stop::Errno(Errno::NOENT)) => return Ok(None),
            listing => listing.map_err(|stop| self.stopped(stop))?,
        };
        self.confirm_absences(&walk, &mut listing);
        // A directory that was removed while it was read may just end early, and one that was exchanged
        // is no longer what the path means. Both look complete without this.
        let read = rustix::fs::fstat(walk.directory.fd()).map_err(|errno| self.stopped(errno.into()))?;
        match rustix::fs::stat(&self.path) {
            Ok(now) if now.st_dev == read.st_dev && now.st_ino == read.st_ino && read.st_nlink > 0 => {
                Ok(Some((walk.directory, listing)))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.stopped(errno.into())),
        }
    }

    fn open(&self) -> Result<OwnedFd, ListError> {
        let fd = rustix::fs::openat(CWD, &self.path, DIRECTORY_FLAGS, Mode::empty())
            .map_err(|errno| self.stopped(errno.into()))?;
        check_directory(fd.as_fd(), self.rules.own_uid, || self.shown()).map_err(ListError::Unusable)?;
        Ok(fd)
    }

    /// Some file systems miss an entry that is renamed during a walk. What was there before and is not
    /// on the list now is asked for by name before it counts as absent.
    fn confirm_absences(&self, walk: &Walk, listing: &mut Listing) {
        let Some((_, before)) = &self.last else { return };
        let mut found = Vec::new();
        let mut now = listing.entries.iter().map(|entry| &*entry.name).peekable();
        for entry in &before.entries {
            while now.next_if(|name| *name < &*entry.name).is_some() {}
            if now.peek() == Some(&&*entry.name) {
                continue;
            }
            if let Some(seen) = walk.look_by_name(&entry.name, &mut listing.has_links) {
                found.push(Listed { name: entry.name.clone(), found: seen });
            }
        }
        if !found.is_empty() {
            listing.entries.append(&mut found);
            listing.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
    }

    fn stopped(&self, stop: Stop) -> ListError {
        match stop {
            Stop::Errno(Errno::NOENT) => ListError::Missing { directory: self.shown() },
            Stop::Errno(errno) => ListError::Unusable(FileError::from_errno("list", self.shown(), errno)),
            Stop::TooManyEntries => ListError::TooManyEntries { directory: self.shown() },
        }
    }

    fn shown(&self) -> String {
        escape(&self.path.to_string_lossy())
    }
}

/// Why a walk ended early.
enum Stop {
    Errno(Errno),
    TooManyEntries,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// One walk through one open directory.
struct Walk {
    directory: Directory,
    rules: Rules,
    wall_ns: i64,
}

impl Walk {
    fn through(&self, max_entries: usize) -> Result<Listing, Stop> {
        let mut listing = Listing::default();
        // Escaped names of files that can never be acted on; such a name may equal a real one.
        let mut unnamable: BTreeMap<Box<str>, FileError> = BTreeMap::new();
        let mut count = 0;
        entries::each(self.directory.fd(), |raw_name| {
            count += 1;
            // `.` and `..` are two of them.
            if count > max_entries + 2 {
                return Err(Stop::TooManyEntries);
            }
            match raw_name.to_str() {
                Ok(name) if is_desired_file_name(name) => {
                    let stat = rustix::fs::statat(self.directory.fd(), raw_name, AtFlags::SYMLINK_NOFOLLOW);
                    let found = self.judge(name, stat, &mut listing.has_links);
                    listing.entries.push(Listed { name: name.into(), found });
                }
                Ok(_) => {}
                Err(_) if is_desired_file_name(&raw_name.to_string_lossy()) => {
                    let name: Box<str> = raw_name.to_bytes().escape_ascii().to_string().into();
                    let file = self.directory.show(&name);
                    unnamable.insert(name, FileError::BadName { file, fault: "it is not UTF-8" });
                }
                Err(_) => {}
            }
            Ok(())
        })?;
        listing.entries.retain(|entry| !unnamable.contains_key(&entry.name));
        listing
            .entries
            .extend(unnamable.into_iter().map(|(name, error)| Listed { name, found: Found::Unreadable(error) }));
        listing.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    fn look_by_name(&self, name: &str, has_links: &mut bool) -> Option<Found> {
        match rustix::fs::statat(self.directory.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => None,
            stat => Some(self.judge(name, stat, has_links)),
        }
    }

    fn judge(&self, name: &str, stat: Result<Stat, Errno>, has_links: &mut bool) -> Found {
        let identity = match stat {
            Err(errno) => Err(FileError::from_errno("look at", self.directory.show(name), errno)),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                *has_links = true;
                self.directory.inspect(name, &self.rules).map_err(|error| match error {
                    // The entry is there, so its file was not removed: what it leads to is away, as a mount may be.
                    FileError::Missing { file } => FileError::Io {
                        doing: "follow the link",
                        file,
                        reason: "what it leads to is not there".to_owned(),
                    },
                    other => other,
                })
            }
            Ok(stat) => check(&stat, &self.rules, || self.directory.show(name)).map(|()| Identity::of(&stat)),
        };
        match identity {
            Ok(identity) => Found::File { identity, is_quiet: identity.is_quiet(self.wall_ns) },
            Err(error) => Found::Unreadable(error),
        }
    }
}

/// Whether a name is one of a desired file: editors, backups and mounted configuration leave others.
pub(crate) fn is_desired_file_name(name: &str) -> bool {
    name.len() > ".toml".len() && name.ends_with(".toml") && !name.starts_with('.') && !name.contains(['~', '#'])
}
