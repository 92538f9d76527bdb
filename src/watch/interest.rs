//! Decides which directories are watched so that a change to an artifact is noticed.
//!
//! Looks at directories; sets no watch.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::filesystem;

/// Most directories that are watched for artifacts. More are polled: the kernel's limit is for all
/// programs of a user, and 8,192 is its smallest default.
pub(super) const MAX_WATCHED_DIRECTORIES: usize = 8_192;

/// Device and number of a directory: one watch each, whatever its paths.
pub(super) type DirectoryId = (u64, u64);

/// What one watched directory is watched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) id: DirectoryId,
    /// The entries that matter; `None`: all.
    names: Option<BTreeSet<OsString>>,
    /// The artifact directories that a change may touch.
    pub(super) directories: BTreeSet<PathBuf>,
}

impl Interest {
    /// Whether a change of the entry `name` matters.
    pub(super) fn concerns(&self, name: &OsStr) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// What to watch, by the path under which it is watched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Interests {
    pub(super) by_path: BTreeMap<PathBuf, Interest>,
    /// The file system of a directory whose changes cannot be watched.
    pub(super) unwatchable: Option<&'static str>,
    /// There are more directories than are watched.
    pub(super) too_many: bool,
    path_of: BTreeMap<DirectoryId, PathBuf>,
    file_system_of: BTreeMap<u64, Option<&'static str>>,
}

impl Interests {
    /// What to watch for changes to the artifacts in `directories`.
    pub(super) fn in_artifacts(directories: &BTreeSet<PathBuf>) -> Self {
        let mut interests = Self::default();
        for directory in directories {
            interests.add_artifact(directory);
        }
        interests
    }

    fn add_artifact(&mut self, directory: &Path) {
        let parent_and_name = || directory.parent().zip(directory.file_name());
        match rustix::fs::lstat(directory).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Symlink) => {
                // Deploying by exchanging a link changes nothing in the directory that it leads to.
                if let Some((parent, name)) = parent_and_name() {
                    self.add(parent, Some(name), directory);
                }
                self.add(directory, None, directory);
            }
            Ok(_) => self.add(directory, None, directory),
            Err(_) => {
                // Not there yet: its first missing ancestor appears in the nearest one that exists.
                let mut name = directory.file_name();
                for ancestor in directory.ancestors().skip(1) {
                    if rustix::fs::stat(ancestor).is_ok() {
                        self.add(ancestor, name, directory);
                        return;
                    }
                    name = ancestor.file_name();
                }
            }
        }
    }

    fn add(&mut self, watched: &Path, name: Option<&OsStr>, directory: &Path) {
        let Ok(stat) = rustix::fs::stat(watched) else { return };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return;
        }
        let file_system = *self.file_system_of.entry(stat.st_dev).or_insert_with(|| filesystem::unwatchable(watched));
        if file_system.is_some() {
            self.unwatchable = file_system;
            return;
        }
        let id = (stat.st_dev, stat.st_ino);
        let path = self.path_of.entry(id).or_insert_with(|| watched.to_owned()).clone();
        if !self.by_path.contains_key(&path) && self.by_path.len() >= MAX_WATCHED_DIRECTORIES {
            self.too_many = true;
            return;
        }
        let nothing = || Interest { id, names: Some(BTreeSet::new()), directories: BTreeSet::new() };
        let interest = self.by_path.entry(path).or_insert_with(nothing);
        interest.directories.insert(directory.to_owned());
        match (name, &mut interest.names) {
            (None, names) => *names = None,
            (Some(name), Some(names)) => {
                names.insert(name.to_owned());
            }
            (Some(_), None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn of(directories: &[PathBuf]) -> Interests {
        Interests::in_artifacts(&directories.iter().cloned().collect())
    }

    #[test]
    fn a_directory_that_exists_is_watched_itself_and_for_every_name() {
        let root = tempfile::tempdir().unwrap();
        let artifact = root.path().join("a");
        fs::create_dir(&artifact).unwrap();
        let interests = of(std::slice::from_ref(&artifact));
        assert_eq!(interests.by_path.keys().collect::<Vec<_>>(), [&artifact]);
        assert!(interests.by_path[&artifact].concerns(OsStr::new("anything.wasm")));
    }

    #[test]
    fn a_directory_that_does_not_exist_is_awaited_in_its_nearest_ancestor() {
        let root = tempfile::tempdir().unwrap();
        let interests = of(&[root.path().join("not/yet/there")]);
        let interest = &interests.by_path[root.path()];
        assert!(interest.concerns(OsStr::new("not")));
        assert!(!interest.concerns(OsStr::new("there")));
    }

    #[test]
    fn a_link_is_watched_where_it_stands_and_where_it_leads() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("v1")).unwrap();
        let current = root.path().join("current");
        symlink("v1", &current).unwrap();
        let interests = of(std::slice::from_ref(&current));
        assert!(interests.by_path[root.path()].concerns(OsStr::new("current")));
        assert!(!interests.by_path[root.path()].concerns(OsStr::new("v1")));
        assert!(interests.by_path.contains_key(&current));
    }

    #[test]
    fn two_paths_of_one_directory_share_a_watch_and_both_are_touched() {
        let root = tempfile::tempdir().unwrap();
        let artifact = root.path().join("a");
        fs::create_dir(&artifact).unwrap();
        let other = root.path().join("a/../a");
        let interests = of(&[artifact.clone(), other.clone()]);
        assert_eq!(interests.by_path.len(), 1);
        let interest = interests.by_path.values().next().unwrap();
        assert_eq!(interest.directories, BTreeSet::from([artifact, other]));
    }
}
