//! Owns the bare repositories on this machine into which fetches go.
//!
//! A mirror is one directory that the host chose: `lock`, and a repository for each depth with a note beside it while
//! it is being written. A repository whose note is found was interrupted; it is thrown away, never repaired.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::{Repository, RepositoryInitOptions, RepositoryOpenFlags};
use rustix::fs::{FlockOperation, flock};

use crate::source::remote::FetchFailure;

use super::failure::{asks_for_new_mirror, of_disk, of_mirror};
use super::limits::{Limits, MAX_MIRROR_BYTES, MAX_MIRROR_PACKS};

/// All that the configuration of a mirror says. Written before each opening, so that nothing else counts.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tlogallrefupdates = false\n";
/// Between two looks at a lock that another process has.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A mirror that no other process uses meanwhile.
pub(super) struct Mirror {
    directory: PathBuf,
    note: PathBuf,
    place: PathBuf,
    repository: Repository,
    _lock: File,
}

impl Mirror {
    /// Opens or makes the repository `name` below `place`. Offline nothing is thrown away: what is there must do, and
    /// its objects are hashed when they are read.
    pub(super) fn open(place: &Path, name: &str, offline: bool, limits: &Limits) -> Result<Self, FetchFailure> {
        let lock = lock(place, limits.lock_wait)?;
        let directory = place.join(format!("{name}.git"));
        let note = place.join(format!("{name}.fetching"));
        if !offline && (note.exists() || is_full(&directory)) {
            throw_away(&directory)?;
        }
        let repository = match open(&directory) {
            Ok(repository) => repository,
            Err(_) if !offline => {
                throw_away(&directory)?;
                open(&directory)?
            }
            Err(error) => return Err(error),
        };
        Ok(Self { directory, note, place: place.to_owned(), repository, _lock: lock })
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The directory below which everything of this mirror lies.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Throws everything away and starts with an empty repository.
    pub(super) fn make_anew(&mut self) -> Result<(), FetchFailure> {
        throw_away(&self.directory)?;
        self.repository = open(&self.directory)?;
        Ok(())
    }

    /// Notes that the repository is being written. Without [`Mirror::written`] the next opening makes it anew.
    pub(super) fn writing(&self) -> Result<(), FetchFailure> {
        fs::write(&self.note, b"").map_err(|error| of_disk("write beside the mirror", &error))
    }

    /// Takes the note back: libgit2 has finished, with or without success, and took its temporary files with it.
    pub(super) fn written(&self) -> Result<(), FetchFailure> {
        match fs::remove_file(&self.note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(of_disk("write beside the mirror", &error)),
            _ => Ok(()),
        }
    }

    /// After damage the next opening makes the repository anew.
    pub(super) fn distrust_after(&self, error: &FetchFailure) {
        if asks_for_new_mirror(error) {
            // Failing here costs one more attempt, which finds the same damage.
            let _ = self.writing();
        }
    }
}

/// Waits for the lock, which ends with the process that has it. Whoever had it may have removed the mirror, and the
/// lock with it: then another one counts.
fn lock(place: &Path, wait: Duration) -> Result<File, FetchFailure> {
    let path = place.join("lock");
    let until = Instant::now() + wait;
    loop {
        let mut directory = fs::DirBuilder::new();
        let made = directory.recursive(true).mode(0o700).create(place);
        made.map_err(|error| of_disk("make the mirror's directory", &error))?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600).custom_flags(NO_FOLLOW);
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && Instant::now() < until => continue,
            file => file.map_err(|error| of_disk("open the mirror's lock", &error))?,
        };
        wait_for(&file, until, wait)?;
        if is_at(&file, &path) {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (held, there) = (file.metadata().map(identity), fs::symlink_metadata(path).map(identity));
    matches!((held, there), (Ok(held), Ok(there)) if held == there)
}

fn wait_for(file: &File, until: Instant, wait: Duration) -> Result<(), FetchFailure> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < until => {
                std::thread::sleep(LOCK_POLL);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let message = format!("another process has used the mirror for {} s", wait.as_secs());
                return Err(FetchFailure::new("mirror-busy", message));
            }
            Err(errno) => return Err(of_disk("lock the mirror", &errno.into())),
        }
    }
}

const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

fn open(directory: &Path) -> Result<Repository, FetchFailure> {
    if !directory.join("HEAD").exists() {
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).mkpath(true).no_dotgit_dir(true);
        Repository::init_opts(directory, &options).map_err(|error| of_mirror(&error))?;
    }
    fs::write(directory.join("config"), CONFIG).map_err(|error| of_disk("write into the mirror", &error))?;
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::BARE | RepositoryOpenFlags::NO_DOTGIT;
    Repository::open_ext(directory, flags, std::iter::empty::<&Path>()).map_err(|error| of_mirror(&error))
}

fn throw_away(directory: &Path) -> Result<(), FetchFailure> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(of_disk("throw the mirror away", &error)),
        _ => Ok(()),
    }
}

/// Whether so many fetches have gone into the repository that a new one is smaller.
fn is_full(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory.join("objects/pack")) else { return false };
    let (mut packs, mut bytes) = (0, 0);
    for entry in entries.flatten() {
        packs += usize::from(entry.path().extension().is_some_and(|extension| extension == "pack"));
        bytes += entry.metadata().map_or(0, |metadata| metadata.len());
    }
    packs >= MAX_MIRROR_PACKS || bytes >= MAX_MIRROR_BYTES
}
