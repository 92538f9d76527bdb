//! Owns the system calls that change the state: the only ones there are, but for the text in the lock file.
//!
//! Each is announced to a fault point first, so that tests stop, fail, tear or leave out any of them. It decides
//! nothing about order.

use std::cell::RefCell;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::error::StateError;
use super::layout::temporary;

/// Mode of every directory below `state/`.
const DIRECTORY_MODE: u32 = 0o700;
/// Mode of every file below `state/` that is written once or replaced.
pub(crate) const FILE_MODE: u32 = 0o600;

/// One system call that changes the state, just before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultPoint<'a> {
    /// Makes a directory.
    MakeDir(&'a Path),
    /// Makes a file that must not be there.
    Create(&'a Path),
    /// Appends to a file.
    Write(&'a Path, &'a [u8]),
    /// Changes a file's mode.
    SetMode(&'a Path),
    /// Sets a file's time to now.
    Touch(&'a Path),
    /// Makes a file's bytes durable.
    SyncFile(&'a Path),
    /// Makes a directory's names durable.
    SyncDir(&'a Path),
    /// Makes everything on the file system of this path durable.
    SyncFileSystem(&'a Path),
    /// Renames the first path to the second, replacing it.
    Rename(&'a Path, &'a Path),
    /// Makes a symlink at the first path that points to the second.
    Symlink(&'a Path, &'a Path),
    /// Removes a file or a symlink.
    RemoveFile(&'a Path),
    /// Removes an empty directory.
    RemoveDir(&'a Path),
}

/// What a fault point does to a call.
#[derive(Debug)]
pub enum Fault {
    /// The call is not made and fails.
    Error(io::Error),
    /// A write writes the first half of its bytes and fails; any other call is not made and fails.
    Torn(io::Error),
    /// The call is made and fails all the same.
    Late(io::Error),
    /// The call is not made and succeeds: a seeded bug.
    Skipped,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Error(error)
    }
}

/// Asked before every call; `Ok` lets it happen. Runs on the writing thread.
pub type FaultHook = Arc<dyn Fn(FaultPoint<'_>) -> Result<(), Fault> + Send + Sync>;

/// Makes the calls. Belongs to the one writing thread.
pub(crate) struct Disk {
    hook: Option<FaultHook>,
    syncs: Arc<AtomicU64>,
    /// Why nothing is written any more.
    stopped: RefCell<Option<String>>,
}

impl Disk {
    pub(crate) fn new(hook: Option<FaultHook>) -> Self {
        Self { hook, syncs: Arc::default(), stopped: RefCell::default() }
    }

    /// How many syncs of any kind were asked for.
    pub(crate) fn syncs(&self) -> &Arc<AtomicU64> {
        &self.syncs
    }

    /// Refuses every later call. What a failed sync left on the disk is not known, and asking again may lie.
    pub(crate) fn stop(&self, why: &StateError) {
        self.stopped.borrow_mut().get_or_insert_with(|| why.to_string());
    }

    /// Fails once [`Disk::stop`] was called.
    pub(crate) fn check_going(&self) -> Result<(), StateError> {
        match &*self.stopped.borrow() {
            Some(why) => Err(StateError::Stopped(why.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn make_dir(&self, path: &Path) -> Result<(), StateError> {
        self.check_going()?;
        self.call("create", path, FaultPoint::MakeDir(path), || DirBuilder::new().mode(DIRECTORY_MODE).create(path))
    }

    /// Makes a file that is not there. A leftover of an earlier attempt is removed first.
    pub(crate) fn create(&self, path: &Path) -> Result<File, StateError> {
        self.check_going()?;
        let mut file = None;
        let open = || OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
        let mut create = || self.call("create", path, FaultPoint::Create(path), || open().map(|new| file = Some(new)));
        match create() {
            Err(StateError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                self.remove_file(path)?;
                create()?;
            }
            result => result?,
        }
        file.ok_or_else(|| StateError::io("create", path, io::Error::other("left out by a fault point")))
    }

    pub(crate) fn write(&self, file: &File, path: &Path, bytes: &[u8]) -> Result<(), StateError> {
        self.check_going()?;
        let mut file = file;
        match self.ask(FaultPoint::Write(path, bytes)) {
            Err(Fault::Torn(error)) => {
                let result = file.write_all(&bytes[..bytes.len() / 2]);
                result.and(Err(error))
            }
            verdict => act(verdict, || file.write_all(bytes)),
        }
        .map_err(|error| StateError::io("write", path, error))
    }

    pub(crate) fn set_mode(&self, file: &File, path: &Path, mode: u32) -> Result<(), StateError> {
        self.check_going()?;
        let set = || file.set_permissions(fs::Permissions::from_mode(mode));
        self.call("set the mode of", path, FaultPoint::SetMode(path), set)
    }

    pub(crate) fn touch(&self, path: &Path) -> Result<(), StateError> {
        self.check_going()?;
        let set = || File::open(path)?.set_modified(SystemTime::now());
        self.call("set the time of", path, FaultPoint::Touch(path), set)
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), StateError> {
        self.check_going()?;
        self.call("write", to, FaultPoint::Rename(from, to), || fs::rename(from, to))
    }

    pub(crate) fn symlink(&self, path: &Path, target: &Path) -> Result<(), StateError> {
        self.check_going()?;
        self.call("create", path, FaultPoint::Symlink(path, target), || symlink(target, path))
    }

    /// Removes a file, also after [`Disk::stop`]: what was given up must not be found again.
    pub(crate) fn remove_file(&self, path: &Path) -> Result<(), StateError> {
        self.call("remove", path, FaultPoint::RemoveFile(path), || ignore_missing(fs::remove_file(path)))
    }

    pub(crate) fn remove_dir(&self, path: &Path) -> Result<(), StateError> {
        self.check_going()?;
        self.call("remove", path, FaultPoint::RemoveDir(path), || ignore_missing(fs::remove_dir(path)))
    }

    pub(crate) fn sync_file(&self, file: &File, path: &Path) -> Result<(), StateError> {
        self.sync(path, FaultPoint::SyncFile(path), || file.sync_all())
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), StateError> {
        self.sync(path, FaultPoint::SyncDir(path), || File::open(path)?.sync_all())
    }

    /// One sync for everything that was written before.
    pub(crate) fn sync_file_system(&self, path: &Path) -> Result<(), StateError> {
        self.sync(path, FaultPoint::SyncFileSystem(path), || sync_file_system(&File::open(path)?))
    }

    fn sync(
        &self,
        path: &Path,
        point: FaultPoint<'_>,
        sync: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), StateError> {
        self.check_going()?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.call("sync", path, point, sync).inspect_err(|error| self.stop(error))
    }

    /// Replaces a small file so that it is either the old or the new one after a crash of the process.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StateError> {
        let new = temporary(path);
        let file = self.write_new(&new, bytes)?;
        drop(file);
        self.rename(&new, path).inspect_err(|_| self.give_up(&new))
    }

    /// Replaces a small file so that it is either the old or the new one, also after a cut of power. The new name is
    /// durable after a sync of the directory.
    pub(crate) fn replace_durably(&self, path: &Path, bytes: &[u8]) -> Result<(), StateError> {
        let new = temporary(path);
        let file = self.write_new(&new, bytes)?;
        self.sync_file(&file, &new).and_then(|()| self.rename(&new, path)).inspect_err(|_| self.give_up(&new))
    }

    /// Writes a whole new file. A failure leaves none.
    pub(crate) fn write_new(&self, path: &Path, bytes: &[u8]) -> Result<File, StateError> {
        let file = self.create(path)?;
        self.write(&file, path, bytes).inspect_err(|_| self.give_up(path))?;
        Ok(file)
    }

    /// Removes what an attempt left. If that fails too, the next start removes it.
    pub(crate) fn give_up(&self, path: &Path) {
        let _ = self.remove_file(path);
    }

    fn ask(&self, point: FaultPoint<'_>) -> Result<(), Fault> {
        match &self.hook {
            Some(hook) => hook(point),
            None => Ok(()),
        }
    }

    fn call(
        &self,
        attempt: &'static str,
        path: &Path,
        point: FaultPoint<'_>,
        make: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), StateError> {
        act(self.ask(point), make).map_err(|error| StateError::io(attempt, path, error))
    }
}

fn act(verdict: Result<(), Fault>, make: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match verdict {
        Ok(()) => make(),
        Err(Fault::Error(error) | Fault::Torn(error)) => Err(error),
        Err(Fault::Late(error)) => make().and(Err(error)),
        Err(Fault::Skipped) => Ok(()),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(target_os = "linux")]
fn sync_file_system(any: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(any)?)
}

/// Elsewhere there is no call for one file system; this one asks for all of them.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(_any: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}
