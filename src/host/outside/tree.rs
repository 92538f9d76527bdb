//! Opens the directory trees that a component was granted: name by name, through no symbolic link.
//!
//! What happens inside a tree is `wasi`'s, which lets no path out of it.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::permission::Tree;

/// Why a tree is not given to a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// There is no such directory, or this host may not open it.
    #[error("the directory {path} of its grant can't be opened: {why}")]
    Closed {
        /// The directory.
        path: String,
        /// Why.
        why: String,
    },
    /// A part of the path is a symbolic link.
    #[error("{path} of its grant is or leads through a symbolic link: grant the directory itself")]
    Link {
        /// The directory as far as it was gone.
        path: String,
    },
    /// This host's own files are in it, or it is in them.
    #[error("the directory {path} of its grant holds files of this host, or lies in them: no component may have it")]
    Ours {
        /// The directory.
        path: String,
    },
}

/// A tree that is open.
#[derive(Debug)]
pub(in crate::host) struct OpenTree {
    directory: OwnedFd,
    /// Where the guest finds it: at the place that it has on this machine.
    pub(in crate::host) place: String,
    pub(in crate::host) writes: bool,
}

/// What tells one directory from all others.
type Identity = (u64, u64);

impl OpenTree {
    /// Opens a tree that has nothing in common with what is at `own`.
    pub(in crate::host) fn open(tree: &Tree, writes: bool, own: &[PathBuf]) -> Result<Self, TreeError> {
        let path = tree.base().to_owned();
        let closed = |error: Errno| TreeError::Closed { path: path.clone(), why: error.to_string() };
        let mut directory = open_directory(CWD, Path::new("/")).map_err(closed)?;
        let mut on_the_way = BTreeSet::from([identity(&directory).map_err(closed)?]);
        let mut gone = String::new();
        for segment in tree.segments() {
            gone.push('/');
            gone.push_str(segment);
            directory = match open_directory(&directory, Path::new(segment)) {
                Err(Errno::LOOP | Errno::NOTDIR) if is_link(&directory, segment) => {
                    return Err(TreeError::Link { path: gone });
                }
                opened => opened.map_err(closed)?,
            };
            on_the_way.insert(identity(&directory).map_err(closed)?);
        }
        let here = identity(&directory).map_err(closed)?;
        let is_ours = own.iter().any(|own| {
            let around = around(own);
            around.contains(&here) || around.first().is_some_and(|own| on_the_way.contains(own))
        });
        match is_ours {
            true => Err(TreeError::Ours { path }),
            false => Ok(Self { directory, place: tree.base().to_owned(), writes }),
        }
    }

    /// A path by which the open directory is opened once more, whatever stands at its place by now.
    pub(in crate::host) fn path(&self) -> PathBuf {
        match cfg!(target_os = "linux") {
            true => PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd())),
            false => PathBuf::from(&self.place),
        }
    }
}

fn open_directory(at: impl AsFd, name: &Path) -> Result<OwnedFd, Errno> {
    openat(at, name, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())
}

fn is_link(directory: &OwnedFd, name: &str) -> bool {
    let found = rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    found.is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_symlink())
}

fn identity(directory: impl AsFd) -> Result<Identity, Errno> {
    let found = fstat(directory)?;
    #[allow(clippy::unnecessary_cast, reason = "the width of a device's number differs by system")]
    Ok((found.st_dev as u64, found.st_ino as u64))
}

/// What is at a path and every directory above it, from there up; what is not there is left out.
fn around(path: &Path) -> Vec<Identity> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let open = |path: &Path| std::fs::File::open(path).ok().and_then(|file| identity(file).ok());
    path.ancestors().filter_map(open).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(path: &Path) -> Tree {
        format!("{}/**", path.display()).parse().unwrap()
    }

    fn real(directory: &tempfile::TempDir) -> PathBuf {
        directory.path().canonicalize().unwrap()
    }

    #[test]
    fn a_directory_is_opened_and_one_behind_a_link_or_missing_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let root = real(&temp);
        fs::create_dir_all(root.join("data/in")).unwrap();
        fs::write(root.join("file"), "x").unwrap();
        symlink(root.join("data"), root.join("link")).unwrap();
        symlink("/etc", root.join("data/etc")).unwrap();
        assert!(OpenTree::open(&tree(&root.join("data/in")), true, &[]).is_ok());
        let why = |path: &str| OpenTree::open(&tree(&root.join(path)), false, &[]).unwrap_err();
        for (path, link) in [("link", "link"), ("link/in", "link"), ("data/etc", "data/etc")] {
            assert_eq!(why(path), TreeError::Link { path: root.join(link).display().to_string() });
        }
        for path in ["none", "file", "data/none/in"] {
            assert!(matches!(why(path), TreeError::Closed { .. }), "{path}");
        }
    }

    #[test]
    fn what_is_this_hosts_own_is_in_no_tree_by_whatever_name() {
        let temp = tempfile::tempdir().unwrap();
        let root = real(&temp);
        fs::create_dir_all(root.join("home/state")).unwrap();
        fs::create_dir_all(root.join("other")).unwrap();
        symlink(root.join("home"), root.join("alias")).unwrap();
        for own in ["home", "alias"] {
            let own = [root.join(own)];
            for path in [root.clone(), root.join("home"), root.join("home/state"), PathBuf::from("")] {
                let refused = OpenTree::open(&tree(&path), false, &own).unwrap_err();
                assert!(matches!(refused, TreeError::Ours { .. }), "{}: {refused}", path.display());
            }
            assert!(OpenTree::open(&tree(&root.join("other")), false, &own).is_ok());
        }
    }
}
