//! Finds files in the tree of a commit, and hands out nothing but regular ones of a bounded size.

use std::collections::BTreeSet;

use git2::{ObjectType, Oid};

use crate::desired::file::{MAX_DESIRED_FILE_BYTES, is_desired_file_name};
use crate::escape::escape;
use crate::manifest::{MAX_MANIFEST_BYTES, MAX_WASM_BYTES};
use crate::source::file::{MANIFEST_FILE, MAX_SIGNATURE_BYTES, SIGNATURE_FILE};
use crate::source::remote::{FetchFailure, Port, WasmWanted};

use super::failure::damaged;
use super::limits::{MAX_PATH_SEGMENTS, MAX_TREE_BYTES, MAX_TREE_FILES, MAX_TREE_FILES_BYTES, PIECE_BYTES};
use super::object::{Entry, Mode, Objects, entries};

/// The segments of a path inside a repository; none for its top.
pub(super) fn check_path(path: &str) -> Result<Vec<String>, FetchFailure> {
    if path == "." {
        return Ok(Vec::new());
    }
    let refused = |reason: &str| {
        let message = format!("the path `{}` inside the repository {reason}", escape(path));
        FetchFailure::new("path-refused", message).hint("write it as `git ls-tree` prints it, without `.` and `..`")
    };
    let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
    if segments.len() > MAX_PATH_SEGMENTS {
        return Err(refused("has too many segments"));
    }
    for segment in &segments {
        check_segment(segment).map_err(refused)?;
    }
    Ok(segments)
}

/// Names that git itself refuses to check out, and those that no file could have.
fn check_segment(segment: &str) -> Result<(), &'static str> {
    // Some file systems take these for `.git` as well.
    let plain = segment.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    let stem = plain.split(':').next().unwrap_or_default();
    match segment {
        "" => Err("has an empty segment"),
        "." | ".." => Err("leads somewhere else"),
        _ if matches!(stem, ".git" | "git~1" | "") => Err("leads into git's own files"),
        _ if segment.contains(|c: char| c.is_control() || c == '\\') => Err("holds a control character or a backslash"),
        _ => Ok(()),
    }
}

/// A tree as it is stored.
pub(super) struct Directory {
    id: Oid,
    bytes: Vec<u8>,
}

impl Directory {
    fn read(objects: &Objects<'_>, id: Oid) -> Result<Self, FetchFailure> {
        let bytes = objects.read(id, ObjectType::Tree, MAX_TREE_BYTES)?.map_err(|size| {
            FetchFailure::new("tree-too-large", format!("a directory of the commit has {size} bytes of entries"))
                .hint("keep artifacts in a directory with few other files")
        })?;
        Ok(Self { id, bytes })
    }

    fn entries(&self) -> Result<Vec<Entry<'_>>, FetchFailure> {
        entries(&self.bytes).map_err(|reason| {
            FetchFailure::new("path-refused", format!("directory {} of the repository is broken: {reason}", self.id))
        })
    }

    /// The one entry of a name. Two of one name are refused: which one counts would be chance.
    fn find(&self, name: &str) -> Result<Option<Entry<'_>>, FetchFailure> {
        let mut named = self.entries()?.into_iter().filter(|entry| entry.name == name.as_bytes());
        match (named.next(), named.next()) {
            (found, None) => Ok(found),
            _ => Err(twice(name)),
        }
    }

    /// A file of the directory: its id and size.
    fn file(&self, objects: &Objects<'_>, name: &str, missing: &str) -> Result<(Oid, usize), FetchFailure> {
        let entry = self.find(name)?.ok_or_else(|| missing_file(missing, name))?;
        if entry.mode != Mode::File {
            let message = format!("`{}` in the repository is {}", escape(name), entry.mode.in_words());
            return Err(FetchFailure::new("not-a-file", message));
        }
        match objects.header(entry.id)? {
            (ObjectType::Blob, size) => Ok((entry.id, size)),
            (kind, _) => Err(damaged(entry.id, &format!("it is a {kind}, not a blob"))),
        }
    }

    fn read_file(
        &self,
        objects: &Objects<'_>,
        name: &str,
        max: u64,
        codes: [&str; 2],
    ) -> Result<Vec<u8>, FetchFailure> {
        let (id, _) = self.file(objects, name, codes[0])?;
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        objects.read(id, ObjectType::Blob, max)?.map_err(|size| {
            FetchFailure::new(codes[1], format!("`{name}` in the repository has {size} bytes, at most {max} are read"))
        })
    }
}

fn twice(name: &str) -> FetchFailure {
    FetchFailure::new("path-refused", format!("a directory of the commit names `{}` twice", escape(name)))
}

fn missing_file(code: &str, name: &str) -> FetchFailure {
    let failure = FetchFailure::new(code, format!("there is no `{}` in that directory of the commit", escape(name)));
    match code {
        "unsigned" => failure.hint("the publisher signs the component and commits Component.toml.sig"),
        "no-manifest" => failure.hint("name the directory that holds Component.toml itself"),
        _ => failure,
    }
}

/// The directory that a checked path names in the tree of a commit.
pub(super) fn directory(objects: &Objects<'_>, commit: Oid, path: &[String]) -> Result<Directory, FetchFailure> {
    let mut at = Directory::read(objects, objects.tree_of(commit)?)?;
    for segment in path {
        let next = match at.find(segment)? {
            Some(Entry { mode: Mode::Tree, id, .. }) => id,
            Some(entry) => {
                let message = format!("`{}` in the repository is {}", escape(segment), entry.mode.in_words());
                return Err(FetchFailure::new("path-refused", message));
            }
            None => {
                let message = format!("there is no directory `{}` in commit {commit}", escape(&path.join("/")));
                return Err(FetchFailure::new("no-directory", message)
                    .hint("`path` names the directory inside the repository, from its top"));
            }
        };
        at = Directory::read(objects, next)?;
    }
    Ok(at)
}

/// The manifest and its signature.
pub(super) fn artifact(objects: &Objects<'_>, at: &Directory) -> Result<(Vec<u8>, Vec<u8>), FetchFailure> {
    let manifest = at.read_file(objects, MANIFEST_FILE, MAX_MANIFEST_BYTES, ["no-manifest", "manifest-too-large"])?;
    let signature = at.read_file(objects, SIGNATURE_FILE, MAX_SIGNATURE_BYTES, ["unsigned", "signature-too-large"])?;
    Ok((manifest, signature))
}

/// Hands over the wasm that the verified manifest names.
pub(super) fn send_wasm(
    objects: &Objects<'_>,
    at: &Directory,
    wanted: &WasmWanted,
    port: &mut dyn Port,
) -> Result<(), FetchFailure> {
    if wanted.size > MAX_WASM_BYTES {
        let message =
            format!("the manifest speaks of a wasm of {} bytes, at most {MAX_WASM_BYTES} are read", wanted.size);
        return Err(FetchFailure::new("wasm-too-large", message));
    }
    check_path(&wanted.file).and_then(|segments| match segments.as_slice() {
        [_] => Ok(()),
        _ => Err(FetchFailure::new("path-refused", "the manifest names a wasm outside its directory")),
    })?;
    let (id, size) = at.file(objects, &wanted.file, "no-wasm")?;
    if size as u64 != wanted.size {
        let message = format!(
            "`{}` in the repository is not the file that was signed: it has {size} bytes, not {}",
            escape(&wanted.file),
            wanted.size
        );
        return Err(FetchFailure::new("wrong-size", message));
    }
    let bytes = objects.read(id, ObjectType::Blob, size)?.map_err(|_| damaged(id, "its size changed"))?;
    bytes.chunks(PIECE_BYTES).try_for_each(|piece| port.wasm(piece))
}

/// Names and bytes of the desired files, and names and reasons of those that can't be handed out.
pub(super) type DesiredFiles = (Vec<(String, Vec<u8>)>, Vec<(String, String)>);

/// The desired files directly in a directory.
pub(super) fn desired_files(objects: &Objects<'_>, at: &Directory) -> Result<DesiredFiles, FetchFailure> {
    let (mut files, mut unreadable): DesiredFiles = Default::default();
    let mut names = BTreeSet::new();
    let mut bytes = 0;
    for entry in at.entries()? {
        let name = String::from_utf8_lossy(entry.name);
        if !is_desired_file_name(&name) {
            continue;
        }
        if !names.insert(entry.name.to_vec()) {
            return Err(twice(&name));
        }
        match desired_file(objects, &entry)? {
            Ok(content) => {
                bytes += content.len();
                files.push((name.into_owned(), content));
            }
            Err(reason) => unreadable.push((name.into_owned(), reason)),
        }
        if names.len() > MAX_TREE_FILES || bytes > MAX_TREE_FILES_BYTES {
            let message = format!(
                "the directory holds more than {MAX_TREE_FILES} desired files or {MAX_TREE_FILES_BYTES} bytes of them"
            );
            return Err(FetchFailure::new("tree-too-large", message));
        }
    }
    Ok((files, unreadable))
}

/// The bytes of one desired file, or why they are not handed out.
fn desired_file(objects: &Objects<'_>, entry: &Entry<'_>) -> Result<Result<Vec<u8>, String>, FetchFailure> {
    if entry.mode != Mode::File {
        return Ok(Err(format!("it is {}", entry.mode.in_words())));
    }
    if std::str::from_utf8(entry.name).is_err() {
        return Ok(Err("its name is not UTF-8".to_owned()));
    }
    let read = objects.read(entry.id, ObjectType::Blob, MAX_DESIRED_FILE_BYTES)?;
    Ok(read.map_err(|size| format!("it has {size} bytes, at most {MAX_DESIRED_FILE_BYTES} are read")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g5_only_paths_of_normal_segments_are_taken() {
        for good in ["a", "a/b", "releases/v1.0.0", ".config", ".gitignore", "a b", "größe", "CON"] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        assert_eq!(check_path("."), Ok(Vec::new()));
        let deep = vec!["a"; MAX_PATH_SEGMENTS + 1].join("/");
        let bad = [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/..",
            "../a",
            "./a",
            "a/.",
            ".git",
            "a/.git/hooks",
            ".GIT",
            ".Git ",
            ".git.",
            ".git...",
            ".git::$INDEX_ALLOCATION",
            "git~1",
            "GIT~1",
            "a\\b",
            "a\rb",
            "a\0b",
            "...",
            &deep,
        ];
        for path in bad {
            assert_eq!(check_path(path).expect_err(path).code, "path-refused", "{path}");
        }
    }
}
