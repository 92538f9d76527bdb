//! Documents that people carry about as files: read by the file rules, and written without harm to other files.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use crate::escape::escape;
use crate::safe_open::{Directory, FileError, Links, Rules, own_uid};
use crate::sealed::json::{self, JsonFile, JsonFileError};

/// All bytes of a file that follows the rules and is not larger than such a document may be.
pub(crate) fn read<D: JsonFile>(path: &Path) -> Result<Vec<u8>, Failure> {
    let shown = shown(path);
    let (directory, name) = split(path)?;
    let rules = Rules { max_bytes: D::MAX_BYTES as u64, own_uid: own_uid(), links: Links::Refused };
    let content = Directory::open(&directory).and_then(|directory| directory.read(name, &rules));
    content.map(|content| content.bytes).map_err(|error| not_read(&error, &shown, D::WHAT))
}

fn not_read(error: &FileError, shown: &str, what: &str) -> Failure {
    let failure = Failure::message(Exit::Validation, format!("{shown} can't be read as {what}: {error}"));
    match error {
        FileError::Link { .. } => failure.hint("name the file itself"),
        FileError::WorldWritable { .. } => failure.hint(format!("chmod o-w {shown}, once you know what is in it")),
        _ => failure,
    }
}

/// A file that is no such document.
pub(crate) fn unusable(path: &Path, error: &JsonFileError) -> Failure {
    Failure::message(Exit::Validation, format!("{} can't be used: {error}", shown(path)))
}

/// A file to write one document to: new, or in place of one of the same kind.
pub(crate) struct OutFile(PathBuf);

impl OutFile {
    /// Refuses a place where something else is.
    pub(crate) fn new<D: JsonFile>(path: &Path) -> Result<Self, Failure> {
        let out = Self(path.to_owned());
        out.replaces::<D>()?;
        Ok(out)
    }

    /// Whether a document of the kind is there.
    fn replaces<D: JsonFile>(&self) -> Result<bool, Failure> {
        let (directory, _) = split(&self.0)?;
        match std::fs::symlink_metadata(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound && directory.is_dir() => return Ok(false),
            Err(error) => return Err(not_written(&self.0, &error)),
            Ok(_) => {}
        }
        if json::begins_as::<D>(&read::<D>(&self.0)?) {
            return Ok(true);
        }
        let message = format!("{} is there and is not {}; it is not overwritten", shown(&self.0), D::WHAT);
        Err(Failure::message(Exit::Validation, message).hint("name another file, or remove this one first"))
    }

    /// Writes it whole or not at all. Only the user may read it.
    pub(crate) fn write<D: JsonFile>(&self, text: &str) -> Result<(), Failure> {
        let fill = |mut file: &File| file.write_all(text.as_bytes()).map_err(|error| not_written(&self.0, &error));
        place(&self.0, fill, |new| match self.replaces::<D>()? {
            true => std::fs::rename(new, &self.0).map_err(|error| not_written(&self.0, &error)),
            false => link(new, &self.0),
        })
    }
}

/// Makes a file that is not there yet, whole or not at all. Only the user may read it.
pub(crate) fn new_file<T>(path: &Path, fill: impl FnOnce(&File) -> Result<T, Failure>) -> Result<T, Failure> {
    place(path, fill, |new| link(new, path))
}

/// Fills a new file beside `path`, syncs it, and lets `take` give it its name.
fn place<T>(
    path: &Path,
    fill: impl FnOnce(&File) -> Result<T, Failure>,
    take: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<T, Failure> {
    let (directory, name) = split(path)?;
    let random = getrandom::u64().map_err(|error| Failure::new(Exit::General, error))?;
    let new = directory.join(format!(".{name}.{random:016x}.new~"));
    let opened = File::options().write(true).create_new(true).mode(0o600).open(&new);
    let file = opened.map_err(|error| not_written(path, &error))?;
    let placed = fill(&file).and_then(|filled| {
        file.sync_all().map_err(|error| not_written(path, &error))?;
        take(&new)?;
        Ok(filled)
    });
    let _ = std::fs::remove_file(&new);
    placed
}

/// Fails when something is there by now.
fn link(new: &Path, path: &Path) -> Result<(), Failure> {
    std::fs::hard_link(new, path).map_err(|error| not_written(path, &error))
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    Failure::message(Exit::General, format!("{} can't be written: {error}", shown(path)))
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

/// The directory of a file, and the file's name in it.
fn split(path: &Path) -> Result<(PathBuf, &str), Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::message(Exit::CommandLine, format!("{} names no file", shown(path))))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")).to_owned(), name))
}
