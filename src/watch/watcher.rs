//! Owns the watches: on the desired directory, on where it stands, and on the artifacts' directories.
//!
//! Decides nothing about changes; where watching does not work it says so and asks for polling. Its
//! calls do file I/O and belong on a blocking thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FileType;

use super::backend::Backend;
use super::debounce::Urgency;
use super::files::FileTimes;
use super::filesystem;
use super::inbox::Origin;
use super::interest::{DirectoryId, Interest, Interests, MAX_WATCHED_DIRECTORIES};
use super::wake::{Shared, Wake};

#[cfg(test)]
mod tests;

/// Time between two full lists while events work.
pub const FULL_LIST_INTERVAL: Duration = Duration::from_secs(60);
/// Time between two full lists while they do not.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How far the jitter moves [`FULL_LIST_INTERVAL`] at most, in thousandths.
const MAX_JITTER_PERMILLE: i16 = 100;

/// How changes are noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchMode {
    /// By events, and by a full list once a minute.
    Events,
    /// By a full list every [`POLL_INTERVAL`].
    Polled {
        /// Why there are no events.
        cause: PollCause,
    },
}

/// Why there are no events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollCause {
    /// A network file system, whose changes are made elsewhere.
    FileSystem(&'static str),
    /// The kernel's limit of watches or watchers is used up.
    WatchLimit,
    /// More artifact directories than are watched.
    TooManyDirectories,
    /// The directory does not exist.
    Missing,
    /// The watcher failed; its words, escaped.
    Failed(String),
}

impl fmt::Display for PollCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileSystem(name) => write!(f, "{name} does not report changes"),
            Self::WatchLimit => f.write_str("the limit of inotify watches is reached (fs.inotify.max_user_watches)"),
            Self::TooManyDirectories => write!(f, "more than {MAX_WATCHED_DIRECTORIES} artifact directories"),
            Self::Missing => f.write_str("the directory does not exist"),
            Self::Failed(error) => write!(f, "watching failed: {error}"),
        }
    }
}

/// The watching side.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    directory: PathBuf,
    /// Time between two full lists while events work, jitter included.
    full_list_interval: Duration,
    desired: Option<Backend>,
    /// What the desired directory and its parent were when they were watched.
    desired_id: Option<DirectoryId>,
    parent_is_watched: bool,
    desired_mode: WatchMode,
    artifacts: Option<Backend>,
    artifact_dirs: BTreeSet<PathBuf>,
    watched_artifacts: BTreeMap<PathBuf, DirectoryId>,
    artifact_mode: WatchMode,
}

impl Watcher {
    /// Watches `directory` as well as that can be done now; never fails, for where events do not come
    /// a list does. `jitter_permille`, a random number from -100 to 100, moves the time of the regular
    /// full list, so that many hosts do not list at the same moment.
    pub fn open(directory: &Path, jitter_permille: i16) -> (Self, Wake) {
        let directory = normalize(directory);
        let full_list_interval = with_jitter(jitter_permille);
        let shared = Arc::new(Shared::new(directory.clone(), full_list_interval));
        let mut watcher = Self {
            shared: Arc::clone(&shared),
            directory,
            full_list_interval,
            desired: None,
            desired_id: None,
            parent_is_watched: false,
            desired_mode: WatchMode::Events,
            artifacts: None,
            artifact_dirs: BTreeSet::new(),
            watched_artifacts: BTreeMap::new(),
            artifact_mode: WatchMode::Events,
        };
        watcher.refresh();
        (watcher, Wake { shared })
    }

    /// How changes to the desired directory are noticed.
    pub fn mode(&self) -> &WatchMode {
        &self.desired_mode
    }

    /// How changes to artifacts are noticed.
    pub fn artifact_mode(&self) -> &WatchMode {
        &self.artifact_mode
    }

    /// Whose clock stamps the desired files.
    pub fn file_times(&self) -> FileTimes {
        match self.desired_mode {
            WatchMode::Polled { cause: PollCause::FileSystem(_) } => FileTimes::Foreign,
            _ => FileTimes::Local,
        }
    }

    /// Sees to it that the watches are on the directories that the paths mean now. To be called in
    /// every pass before the list; costs one stat when nothing changed.
    pub fn refresh(&mut self) {
        self.refresh_desired();
        let directories = std::mem::take(&mut self.artifact_dirs);
        self.refresh_artifacts(directories);
    }

    /// Watches these directories for changes to artifacts, and no others. Nothing happens when they are
    /// the same as before and no watch was lost.
    pub fn set_artifact_dirs(&mut self, directories: &BTreeSet<PathBuf>) {
        if *directories != self.artifact_dirs {
            self.shared.inbox().artifact_watches_are_stale = true;
        }
        self.refresh_artifacts(directories.clone());
    }

    fn refresh_desired(&mut self) {
        let id = directory_id(&self.directory);
        let is_stale = std::mem::take(&mut self.shared.inbox().desired_watch_is_stale);
        if id.is_some() && id == self.desired_id && !is_stale && self.desired_mode == WatchMode::Events {
            return;
        }
        let had_watched = self.desired_id.is_some();
        self.unwatch_desired();
        self.desired_mode = match self.watch_desired(id) {
            Ok(()) => WatchMode::Events,
            Err(cause) => WatchMode::Polled { cause },
        };
        if had_watched && self.desired_id.is_some() {
            // What happened between the two watches is not known.
            let now = self.shared.now();
            self.shared.inbox().wake(&self.directory.to_string_lossy(), Urgency::Begun, now);
            self.shared.announce();
        }
        self.set_interval();
    }

    fn refresh_artifacts(&mut self, directories: BTreeSet<PathBuf>) {
        self.artifact_dirs = directories;
        let is_stale = std::mem::take(&mut self.shared.inbox().artifact_watches_are_stale);
        if !is_stale && self.artifact_mode == WatchMode::Events {
            return;
        }
        let mut interests = Interests::in_artifacts(&self.artifact_dirs);
        let mut cause = interests.unwatchable.map(PollCause::FileSystem);
        if interests.too_many {
            cause = Some(PollCause::TooManyDirectories);
        }
        self.unwatch_artifacts(&interests.by_path);
        self.shared.inbox().interests = std::mem::take(&mut interests.by_path);
        if let Err(limit) = self.watch_artifacts() {
            cause = Some(limit);
        }
        self.artifact_mode = cause.map_or(WatchMode::Events, |cause| WatchMode::Polled { cause });
        self.set_interval();
    }

    fn watch_desired(&mut self, id: Option<DirectoryId>) -> Result<(), PollCause> {
        if let Some(name) = filesystem::unwatchable(&self.directory) {
            self.desired = None;
            self.parent_is_watched = false;
            return Err(PollCause::FileSystem(name));
        }
        let backend = Backend::ensure(&mut self.desired, &self.shared, Origin::Desired)?;
        if !self.parent_is_watched
            && let Some(parent) = self.directory.parent()
        {
            // Without it the directory's return is noticed by polling.
            self.parent_is_watched = backend.watch(parent).is_ok();
        }
        let id = id.ok_or(PollCause::Missing)?;
        backend.watch(&self.directory)?;
        self.desired_id = Some(id);
        if directory_id(&self.directory) != Some(id) {
            // Exchanged just now: the watch may be on either. The next pass sorts it out.
            let now = self.shared.now();
            self.shared.inbox().wake(&self.directory.to_string_lossy(), Urgency::Complete, now);
            self.shared.announce();
        }
        Ok(())
    }

    fn unwatch_desired(&mut self) {
        let Some(backend) = &mut self.desired else { return };
        if backend.is_dead() {
            self.desired = None;
            self.parent_is_watched = false;
        } else {
            backend.unwatch(&self.directory);
            if let Some(parent) = self.directory.parent() {
                backend.unwatch(parent);
                self.parent_is_watched = false;
            }
        }
        self.desired_id = None;
    }

    fn unwatch_artifacts(&mut self, wanted: &BTreeMap<PathBuf, Interest>) {
        let lost = std::mem::take(&mut self.shared.inbox().lost);
        let Some(backend) = &mut self.artifacts else { return };
        if backend.is_dead() {
            self.artifacts = None;
            self.watched_artifacts.clear();
            return;
        }
        // A directory that was removed or renamed took its watch along; its path may mean another now.
        self.watched_artifacts.retain(|path, id| {
            let stays = wanted.get(path).is_some_and(|interest| interest.id == *id) && !lost.holds(path);
            if !stays {
                backend.unwatch(path);
            }
            stays
        });
    }

    fn watch_artifacts(&mut self) -> Result<(), PollCause> {
        let missing: Vec<(PathBuf, Interest)> = {
            let inbox = self.shared.inbox();
            let is_missing = |path: &&PathBuf| !self.watched_artifacts.contains_key(*path);
            let missing = inbox.interests.keys().filter(is_missing);
            missing.map(|path| (path.clone(), inbox.interests[path].clone())).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let backend = Backend::ensure(&mut self.artifacts, &self.shared, Origin::Artifacts)?;
        let mut fresh = BTreeSet::new();
        let mut outcome = Ok(());
        for (path, interest) in missing {
            match backend.watch(&path) {
                Ok(()) => {
                    self.watched_artifacts.insert(path, interest.id);
                    fresh.extend(interest.directories);
                }
                // It went away just now: the next pass looks for it again.
                Err(PollCause::Missing) => self.shared.inbox().artifact_watches_are_stale = true,
                Err(limit) => {
                    outcome = Err(limit);
                    break;
                }
            }
        }
        let now = self.shared.now();
        self.shared.inbox().touch(&fresh, now);
        self.shared.announce();
        outcome
    }

    fn set_interval(&self) {
        let watched = self.desired_mode == WatchMode::Events && self.artifact_mode == WatchMode::Events;
        let interval = if watched { self.full_list_interval } else { POLL_INTERVAL };
        self.shared.inbox().interval = interval;
        self.shared.announce();
    }
}

fn directory_id(directory: &Path) -> Option<DirectoryId> {
    let stat = rustix::fs::stat(directory).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::Directory).then_some((stat.st_dev, stat.st_ino))
}

/// Absolute, and with a last component that is a name: events carry such paths.
fn normalize(directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    match absolute.file_name() {
        Some(_) => absolute,
        None => std::fs::canonicalize(&absolute).unwrap_or(absolute),
    }
}

fn with_jitter(permille: i16) -> Duration {
    let clamped = permille.clamp(-MAX_JITTER_PERMILLE, MAX_JITTER_PERMILLE);
    let thousandths = u32::try_from(i32::from(clamped) + 1_000).unwrap_or(1_000);
    FULL_LIST_INTERVAL * thousandths / 1_000
}
