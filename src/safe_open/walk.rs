//! Owns following a symbolic link that must stay below a directory, one component at a time.
//!
//! Every directory on the way is held open and `..` goes back to one of those, so nothing that is
//! renamed meanwhile can lead outside. The last component is not opened here.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::{DIRECTORY_FLAGS, FileError, check_directory};

/// Links followed for one name. Kubernetes needs two.
const MAX_LINKS: u32 = 8;
/// Directories below the start that are held open at once.
const MAX_DEPTH: usize = 16;

/// A directory below the start, or the start itself, and a name in it that is no link.
#[derive(Debug)]
pub(super) struct Place {
    below: Option<OwnedFd>,
    name: String,
}

impl Place {
    /// A direct entry of the start.
    pub(super) fn here(name: &str) -> Self {
        Self { below: None, name: name.to_owned() }
    }

    pub(super) fn directory<'a>(&'a self, start: BorrowedFd<'a>) -> BorrowedFd<'a> {
        self.below.as_ref().map_or(start, |fd| fd.as_fd())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Where `name` leads. Absolute links are refused even when they point below the start: the path from
/// the root to the start is not looked at here.
pub(super) fn beneath(start: BorrowedFd<'_>, name: &str, shown: &str, own_uid: u32) -> Result<Place, FileError> {
    let fail = |fault| FileError::Link { file: shown.to_owned(), fault };
    let mut opened: Vec<OwnedFd> = Vec::new();
    let mut todo: VecDeque<String> = VecDeque::from([name.to_owned()]);
    let mut links = 0;
    while let Some(component) = todo.pop_front() {
        if component == ".." {
            opened.pop().ok_or_else(|| fail("that leaves its directory"))?;
            continue;
        }
        let here = opened.last().map_or(start, |fd| fd.as_fd());
        let stat = rustix::fs::statat(here, component.as_str(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| FileError::from_errno("look at", shown.to_owned(), errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(fail("that leads through too many others"));
                }
                for part in target(here, &component, shown)?.split('/').rev() {
                    if !matches!(part, "" | ".") {
                        todo.push_front(part.to_owned());
                    }
                }
            }
            FileType::Directory if !todo.is_empty() => {
                if opened.len() >= MAX_DEPTH {
                    return Err(fail("that leads too deep"));
                }
                let fd = rustix::fs::openat(here, component, DIRECTORY_FLAGS.union(OFlags::NOFOLLOW), Mode::empty())
                    .map_err(|errno| FileError::from_errno("open", shown.to_owned(), errno))?;
                check_directory(fd.as_fd(), own_uid, || shown.to_owned())?;
                opened.push(fd);
            }
            _ if todo.is_empty() => return Ok(Place { below: opened.pop(), name: component }),
            _ => return Err(fail("that leads through something that is no directory")),
        }
    }
    Err(fail("to a directory"))
}

fn target(dir: BorrowedFd<'_>, name: &str, shown: &str) -> Result<String, FileError> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new())
        .map_err(|errno| FileError::from_errno("read the link", shown.to_owned(), errno))?;
    match target.into_string() {
        Ok(target) if target.starts_with('/') => {
            Err(FileError::Link { file: shown.to_owned(), fault: "with an absolute target" })
        }
        Ok(target) => Ok(target),
        Err(_) => Err(FileError::Link { file: shown.to_owned(), fault: "whose target is not UTF-8" }),
    }
}
