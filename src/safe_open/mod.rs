//! Owns how files that others may have written are opened and read: only regular files of a trusted
//! owner, never through a link that leads elsewhere, never waiting, never more than a limit.
//!
//! Decides nothing about the content: bytes from here are untrusted.

use std::fs::File;
use std::io::{Read as _, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, StatVfsMountFlags};
use rustix::io::Errno;

use crate::digest::{Digest, Digester};
use crate::escape::escape;

mod error;
mod identity;
mod walk;

#[cfg(test)]
pub(crate) mod race;
#[cfg(test)]
mod tests;

pub use error::{FileError, own_uid};
pub use identity::{Identity, QUIET_AFTER, wall_ns};

/// How often a file that changes while it is read is read again before that is an error.
pub const MAX_READ_ATTEMPTS: u32 = 3;

/// Bytes that are copied at a time.
const COPY_BLOCK_BYTES: usize = 128 * 1024;

/// What a file must be like to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The largest size, in bytes.
    pub max_bytes: u64,
    /// The user whose files are read besides root's; [`own_uid`] outside of tests.
    pub own_uid: u32,
    /// What a symbolic link in place of the file means.
    pub links: Links,
}

/// What a symbolic link in place of a file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// It is refused.
    Refused,
    /// It is followed as long as it stays below the directory, as mounted configuration of Kubernetes
    /// does with `..data`. Every step is checked by descriptor.
    Beneath,
}

/// The bytes of a file, untrusted, with what is known about when they were valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// The file as it was before and after the read.
    pub identity: Identity,
    /// Whether the file was quiet when it was read. If not, a later change may have left the identity
    /// equal, so the file should be read once more.
    pub was_quiet: bool,
}

/// What came of copying a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Digest of the bytes that were written.
    pub digest: Digest,
    /// The file as it was before and after the copy.
    pub identity: Identity,
    /// See [`Content::was_quiet`].
    pub was_quiet: bool,
}

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The place that it was copied to refused the bytes.
    #[error(transparent)]
    Sink(std::io::Error),
}

/// An open directory: everything in it is reached by descriptor, so that exchanging the directory
/// midway cannot mix two states.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    /// The path for messages, escaped.
    shown: String,
}

impl Directory {
    /// Opens a directory by the path that the operator wrote. Links in it are followed: whoever writes
    /// the path also chooses where it leads. Links of `/proc` are not, where the system can tell.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let shown = escape(&path.to_string_lossy());
        match open_directory(path) {
            Ok(fd) => Ok(Self { fd, shown }),
            Err(errno) => Err(FileError::from_errno("open", shown, errno)),
        }
    }

    /// A directory that is open already; `path` is for messages.
    pub fn from_fd(fd: OwnedFd, path: &Path) -> Self {
        Self { fd, shown: escape(&path.to_string_lossy()) }
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Gives the descriptor away.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// What is known of an entry without opening it; a link is not followed. `None`: nothing is there.
    pub fn identity(&self, name: &str) -> Result<Option<Identity>, FileError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Identity::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(FileError::from_errno("look at", self.show(name), errno)),
        }
    }

    /// Reads a whole file. Reads again, a few times, when it changes meanwhile.
    pub fn read(&self, name: &str, rules: &Rules) -> Result<Content, FileError> {
        for _ in 0..MAX_READ_ATTEMPTS {
            match self.open_file(name, rules)?.read() {
                Err(FileError::Changed { .. }) => {}
                done => return done,
            }
        }
        Err(FileError::Changed { file: self.show(name) })
    }

    /// Opens a file that is a direct entry of this directory and follows the rules.
    pub fn open_file(&self, name: &str, rules: &Rules) -> Result<OpenFile, FileError> {
        let shown = self.show(name);
        check_segment(name).map_err(|fault| FileError::BadName { file: shown.clone(), fault })?;
        match rules.links {
            Links::Refused => open_entry(self.fd(), name, shown, rules),
            Links::Beneath => {
                let place = walk::beneath(self.fd(), name, &shown, rules.own_uid)?;
                open_entry(place.directory(self.fd()), place.name(), shown, rules)
            }
        }
    }

    /// Checks an entry without opening it, following links as `rules` say.
    pub fn inspect(&self, name: &str, rules: &Rules) -> Result<Identity, FileError> {
        let place = match rules.links {
            Links::Refused => walk::Place::here(name),
            Links::Beneath => walk::beneath(self.fd(), name, &self.show(name), rules.own_uid)?,
        };
        let stat = rustix::fs::statat(place.directory(self.fd()), place.name(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| FileError::from_errno("look at", self.show(name), errno))?;
        check(&stat, rules, || self.show(name))?;
        Ok(Identity::of(&stat))
    }

    /// The path of an entry for messages.
    pub fn show(&self, name: &str) -> String {
        format!("{}/{}", self.shown, escape(name))
    }
}

/// An open regular file that follows its rules.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    identity: Identity,
    was_quiet: bool,
    shown: String,
}

impl OpenFile {
    /// The file as it was when it was opened.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether nobody but the file's owner may read or change it.
    pub fn is_private(&self) -> Result<bool, FileError> {
        let stat = rustix::fs::fstat(&self.file);
        let stat = stat.map_err(|errno| FileError::from_errno("look at", self.shown.clone(), errno))?;
        Ok(!Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO))
    }

    /// Reads everything, at most as much as the size that was checked and one byte.
    pub fn read(mut self) -> Result<Content, FileError> {
        let expected = self.identity.size;
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0).saturating_add(1));
        // One byte more than expected, so that a file that grew is noticed.
        (&mut self.file)
            .take(expected.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| FileError::from_io("read", self.shown.clone(), &error))?;
        self.check_unchanged(bytes.len() as u64)?;
        Ok(Content { bytes, identity: self.identity, was_quiet: self.was_quiet })
    }

    /// Copies everything to `sink` and hashes what it copies. After an error `sink` holds rubbish.
    pub fn copy_to(mut self, sink: &mut impl Write) -> Result<Copied, CopyError> {
        let mut digester = Digester::default();
        let mut block = vec![0; COPY_BLOCK_BYTES];
        let mut copied = 0_u64;
        while copied <= self.identity.size {
            let count = match self.file.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(FileError::from_io("read", self.shown, &error).into()),
            };
            copied = copied.saturating_add(count as u64);
            if copied > self.identity.size {
                break;
            }
            digester.update(&block[..count]);
            sink.write_all(&block[..count]).map_err(CopyError::Sink)?;
        }
        self.check_unchanged(copied)?;
        Ok(Copied { digest: digester.finish(), identity: self.identity, was_quiet: self.was_quiet })
    }

    fn check_unchanged(&self, bytes_read: u64) -> Result<(), FileError> {
        let after = rustix::fs::fstat(&self.file)
            .map_err(|errno| FileError::from_errno("look at", self.shown.clone(), errno))?;
        if bytes_read == self.identity.size && Identity::of(&after) == self.identity {
            Ok(())
        } else {
            Err(FileError::Changed { file: self.shown.clone() })
        }
    }
}

/// Refuses whatever is not exactly one name: a path, `.`, `..`, nothing.
pub(crate) fn check_segment(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("it is empty"),
        "." | ".." => Err("it names a directory"),
        _ if name.contains('/') => Err("it contains a slash"),
        _ if name.contains('\0') => Err("it contains a zero byte"),
        _ => Ok(()),
    }
}

/// Refuses an entry that breaks a rule.
pub(crate) fn check(stat: &Stat, rules: &Rules, shown: impl Fn() -> String) -> Result<(), FileError> {
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(FileError::Link { file: shown(), fault: "and no link is followed here" }),
        other => return Err(FileError::NotRegular { file: shown(), kind: error::kind_in_words(other) }),
    }
    if !is_trusted_owner(stat, rules.own_uid) {
        return Err(FileError::Owner { file: shown(), owner: stat.st_uid });
    }
    if is_world_writable(stat) {
        return Err(FileError::WorldWritable { file: shown() });
    }
    if size > rules.max_bytes {
        return Err(FileError::TooLarge { file: shown(), size, max: rules.max_bytes });
    }
    Ok(())
}

/// Refuses a directory in which strangers could put files.
///
/// Mounted configuration of Kubernetes is a directory with mode 0777 on a read-only mount; there
/// the mode gives nobody anything.
pub(crate) fn check_directory(dir: BorrowedFd<'_>, own_uid: u32, shown: impl Fn() -> String) -> Result<(), FileError> {
    let look = |errno| FileError::from_errno("look at", shown(), errno);
    let stat = rustix::fs::fstat(dir).map_err(look)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(FileError::NotADirectory { file: shown() });
    }
    if !is_trusted_owner(&stat, own_uid) {
        return Err(FileError::Owner { file: shown(), owner: stat.st_uid });
    }
    if is_world_writable(&stat) {
        let mount = rustix::fs::fstatvfs(dir).map_err(look)?;
        if !mount.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(FileError::WorldWritable { file: shown() });
        }
    }
    Ok(())
}

fn is_trusted_owner(stat: &Stat, own_uid: u32) -> bool {
    stat.st_uid == 0 || stat.st_uid == own_uid
}

fn is_world_writable(stat: &Stat) -> bool {
    Mode::from_raw_mode(stat.st_mode).contains(Mode::WOTH)
}

fn open_entry(dir: BorrowedFd<'_>, name: &str, shown: String, rules: &Rules) -> Result<OpenFile, FileError> {
    // Opening a pipe or a device can act on it (wake a writer, start a watchdog), so look first. What
    // is decided here is decided again on the descriptor: the entry can be exchanged in between.
    let before = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| FileError::from_errno("look at", shown.clone(), errno))?;
    check(&before, rules, || shown.clone())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())
        .map_err(|errno| FileError::from_errno("open", shown.clone(), errno))?;
    let wall_ns = wall_ns();
    let stat = rustix::fs::fstat(&fd).map_err(|errno| FileError::from_errno("look at", shown.clone(), errno))?;
    check(&stat, rules, || shown.clone())?;
    let identity = Identity::of(&stat);
    Ok(OpenFile { file: File::from(fd), identity, was_quiet: identity.is_quiet(wall_ns), shown })
}

/// The flags that open a directory and nothing else.
pub(crate) const DIRECTORY_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

#[cfg(target_os = "linux")]
fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    match rustix::fs::openat2(CWD, path, DIRECTORY_FLAGS, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        // Old kernels, sandboxes and filters that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_directory_plainly(path),
        done => done,
    }
}

#[cfg(not(target_os = "linux"))]
fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    open_directory_plainly(path)
}

fn open_directory_plainly(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, DIRECTORY_FLAGS, Mode::empty())
}
