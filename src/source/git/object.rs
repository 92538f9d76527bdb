//! Reads objects that somebody else wrote. Parsing is ours, small and pure; libgit2 only unpacks and hashes.

use git2::{ObjectType, Odb, Oid, Repository};

use crate::source::remote::FetchFailure;

use super::failure::{damaged, of_mirror};
use super::limits::MAX_COMMIT_BYTES;

/// The objects of one repository.
pub(super) struct Objects<'r> {
    odb: Odb<'r>,
}

impl<'r> Objects<'r> {
    pub(super) fn of(repository: &'r Repository) -> Result<Self, FetchFailure> {
        Ok(Self { odb: repository.odb().map_err(|error| of_mirror(&error))? })
    }

    /// The kind and the size of an object, which is not unpacked for it.
    pub(super) fn header(&self, id: Oid) -> Result<(ObjectType, usize), FetchFailure> {
        let (size, kind) = self.odb.read_header(id).map_err(|error| damaged(id, error.message()))?;
        Ok((kind, size))
    }

    /// The bytes of an object of at most `max` bytes, whose hash is the id. `Err(size)` inside when it is larger.
    pub(super) fn read(&self, id: Oid, kind: ObjectType, max: usize) -> Result<Result<Vec<u8>, usize>, FetchFailure> {
        let (found, size) = self.header(id)?;
        if found != kind {
            return Err(damaged(id, &format!("it is a {found}, not a {kind}")));
        }
        if size > max {
            return Ok(Err(size));
        }
        let object = self.odb.read(id).map_err(|error| damaged(id, error.message()))?;
        Ok(Ok(object.data().to_vec()))
    }

    /// A commit as it is stored.
    pub(super) fn commit(&self, id: Oid) -> Result<Vec<u8>, FetchFailure> {
        self.read(id, ObjectType::Commit, MAX_COMMIT_BYTES)?.map_err(|size| too_large(id, size))
    }

    /// What an annotated tag points to.
    pub(super) fn tagged(&self, id: Oid) -> Result<Oid, FetchFailure> {
        let bytes = self.read(id, ObjectType::Tag, MAX_COMMIT_BYTES)?.map_err(|size| too_large(id, size))?;
        header_id(&bytes, "object").ok_or_else(|| damaged(id, "it is no tag"))
    }

    /// The tree of a commit.
    pub(super) fn tree_of(&self, commit: Oid) -> Result<Oid, FetchFailure> {
        header_id(&self.commit(commit)?, "tree").ok_or_else(|| damaged(commit, "it names no tree"))
    }
}

fn too_large(id: Oid, size: usize) -> FetchFailure {
    FetchFailure::new("object-too-large", format!("object {id} of the repository has {size} bytes"))
}

/// The id in the first line of a commit or tag, which starts with `word`.
fn header_id(bytes: &[u8], word: &str) -> Option<Oid> {
    let rest = bytes.strip_prefix(word.as_bytes())?.strip_prefix(b" ")?;
    let (id, rest) = rest.split_at_checked(40)?;
    let text = std::str::from_utf8(id).ok().filter(|_| rest.starts_with(b"\n"))?;
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then(|| Oid::from_str(text).ok())?
}

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A regular file; whether it may be executed means nothing here.
    File,
    Tree,
    Symlink,
    Submodule,
    Other(u32),
}

impl Mode {
    fn of(digits: &[u8]) -> Option<Self> {
        if digits.len() > 6 {
            return None;
        }
        let mode = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
        Some(match mode {
            0o100_644 | 0o100_755 => Self::File,
            0o040_000 => Self::Tree,
            0o120_000 => Self::Symlink,
            0o160_000 => Self::Submodule,
            other => Self::Other(other),
        })
    }

    /// In words, for messages.
    pub(super) fn in_words(self) -> String {
        match self {
            Self::File => "a file".to_owned(),
            Self::Tree => "a directory".to_owned(),
            Self::Symlink => "a symbolic link, and no link is followed here".to_owned(),
            Self::Submodule => "a submodule, and those are never fetched".to_owned(),
            Self::Other(mode) => format!("an entry of mode {mode:o}, which is no file"),
        }
    }
}

/// One entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'t> {
    pub(super) mode: Mode,
    pub(super) name: &'t [u8],
    pub(super) id: Oid,
}

/// The entries of a tree, in the order of the bytes. An error says what is wrong with them.
pub(super) fn entries(mut bytes: &[u8]) -> Result<Vec<Entry<'_>>, &'static str> {
    const CUT: &str = "its last entry is cut off";
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(8).position(|b| *b == b' ').ok_or("an entry has no mode")?;
        let mode = Mode::of(&bytes[..space]).ok_or("an entry has no mode")?;
        let rest = &bytes[space + 1..];
        let end = rest.iter().position(|b| *b == 0).ok_or(CUT)?;
        let name = &rest[..end];
        if name.is_empty() || name.contains(&b'/') {
            return Err("an entry has no name that a file could have");
        }
        let (id, rest) = rest[end + 1..].split_at_checked(20).ok_or(CUT)?;
        found.push(Entry { mode, name, id: Oid::from_bytes(id).map_err(|_| CUT)? });
        bytes = rest;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(mode: &str, name: &str) -> Vec<u8> {
        [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[7; 20]].concat()
    }

    #[test]
    fn g5_modes_are_told_apart_by_their_whole_value() {
        let modes = [
            ("100644", Mode::File),
            ("100755", Mode::File),
            ("100664", Mode::Other(0o100_664)),
            ("104755", Mode::Other(0o104_755)),
            ("40000", Mode::Tree),
            ("040000", Mode::Tree),
            ("120000", Mode::Symlink),
            ("160000", Mode::Submodule),
            ("0", Mode::Other(0)),
        ];
        for (text, mode) in modes {
            assert_eq!(entries(&entry(text, "x")).unwrap()[0].mode, mode, "{text}");
        }
    }

    #[test]
    fn g5_a_tree_that_is_cut_or_has_impossible_names_is_refused() {
        let whole = entry("100644", "name");
        for end in 1..whole.len() {
            assert!(entries(&whole[..end]).is_err(), "{end}");
        }
        for (mode, name) in [("", "x"), ("1000000", "x"), ("9", "x"), ("-1", "x"), ("100644", ""), ("100644", "a/b")] {
            assert!(entries(&entry(mode, name)).is_err(), "{mode} {name}");
        }
        assert_eq!(entries(b""), Ok(Vec::new()));
    }

    #[test]
    fn the_first_line_must_hold_the_whole_id() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(header_id(format!("tree {id}\nparent").as_bytes(), "tree").unwrap().to_string(), id);
        for text in ["", "tree", "tree ", "tree 0123\n", &format!("tree {id}"), &format!("tree {id}0\n")] {
            assert_eq!(header_id(text.as_bytes(), "tree"), None, "{text}");
        }
        assert_eq!(header_id(format!("tree {}\n", id.to_uppercase()).as_bytes(), "tree"), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = entries(&bytes);
            let _ = header_id(&bytes, "tree");
        }
    }
}
