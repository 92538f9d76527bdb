//! Owns artifacts in a directory of this machine: `Component.toml`, its signature and the wasm.
//!
//! Hands out untrusted bytes. That the wasm is looked for under a *verified* manifest is the caller's
//! duty; a size or digest other than the manifest's is noticed here all the same.

use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Stat};

use crate::digest::Digest;
use crate::escape::escape;
use crate::manifest::{MAX_MANIFEST_BYTES, MAX_WASM_BYTES, WasmReference};
use crate::resolution::{Class, Refusal, Resolution, class};
use crate::safe_open::{
    Content, Copied, CopyError, Directory, FileError, Identity, Links, MAX_READ_ATTEMPTS, Rules, check_segment,
};

#[cfg(test)]
mod tests;

/// The manifest's file name.
pub const MANIFEST_FILE: &str = "Component.toml";
/// The signature's file name.
pub const SIGNATURE_FILE: &str = "Component.toml.sig";
/// Largest signature file, in bytes.
pub const MAX_SIGNATURE_BYTES: u64 = 16 * 1024;

/// Why an artifact could not be had from its directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The directory is not there.
    #[error("the directory `{directory}` does not exist")]
    NoDirectory {
        /// The directory, escaped.
        directory: String,
    },
    /// The directory holds no manifest.
    #[error("there is no {MANIFEST_FILE} in `{directory}`")]
    NoManifest {
        /// The directory, escaped.
        directory: String,
    },
    /// The manifest has no signature beside it.
    #[error("there is no {SIGNATURE_FILE} beside the manifest in `{directory}`")]
    Unsigned {
        /// The directory, escaped.
        directory: String,
    },
    /// The file that the manifest names is not there.
    #[error("there is no `{file}`, which the manifest names")]
    NoWasm {
        /// The path, escaped.
        file: String,
    },
    /// The wasm is not the one that was signed: half written, or of another release.
    #[error("`{file}` is not the file that was signed: its {difference} differs")]
    OtherWasm {
        /// The path, escaped.
        file: String,
        /// What differs: `size` or `digest`.
        difference: &'static str,
    },
    /// The signed size is over the limit.
    #[error("the manifest speaks of a wasm of {size} bytes, at most {MAX_WASM_BYTES} are read")]
    SizeOverLimit {
        /// The signed size in bytes.
        size: u64,
    },
    /// The content store did not take the bytes.
    #[error("cannot store a copy of `{file}`: {reason}")]
    NotStored {
        /// The path, escaped.
        file: String,
        /// The system's words.
        reason: String,
    },
}

impl FetchError {
    /// Whether trying again can help without a changed input.
    pub fn is_transient(&self) -> bool {
        class(self.code()) != Class::Stalled
    }

    /// The machine reason, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::NoDirectory { .. } => "no-directory",
            Self::NoManifest { .. } => "no-manifest",
            Self::Unsigned { .. } => "unsigned",
            Self::NoWasm { .. } => "no-wasm",
            Self::OtherWasm { difference: "size", .. } => "wrong-size",
            Self::OtherWasm { .. } => "wrong-digest",
            Self::SizeOverLimit { .. } => "wasm-too-large",
            Self::NotStored { .. } => "not-stored",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::NoDirectory { .. } => {
                Some("`path` in `[source.file]` is relative to the directory of the desired file".to_owned())
            }
            Self::NoManifest { .. } => {
                Some("name the directory that holds Component.toml itself, its signature and the wasm".to_owned())
            }
            Self::SizeOverLimit { .. } => Some("the publisher must make the wasm smaller and sign it again".to_owned()),
            Self::NotStored { .. } => Some("make room for the home; the next pass tries again".to_owned()),
            Self::Unsigned { directory } => {
                Some(format!("the publisher signs it with: airssys-wasm sign '{directory}'"))
            }
            Self::NoWasm { .. } | Self::OtherWasm { .. } => {
                Some("if it is being copied, it is taken when the copy is complete".to_owned())
            }
        }
    }

    /// As plans and status show it.
    pub fn refusal(&self) -> Refusal {
        Refusal { code: self.code().to_owned(), message: self.to_string(), hint: self.hint() }
    }
}

impl From<FetchError> for Resolution {
    fn from(error: FetchError) -> Self {
        if error.is_transient() { Self::Unavailable(error.refusal()) } else { Self::Refused(error.refusal()) }
    }
}

/// The directory that `path` of a desired file means.
pub fn directory(desired_directory: &Path, path: &str) -> PathBuf {
    desired_directory.join(path)
}

/// A manifest and its signature as they were found: untrusted, and both of one moment.
#[derive(Debug)]
pub struct Fetched {
    directory: Directory,
    manifest: Content,
    signature: Content,
    own_uid: u32,
}

/// Reads the manifest and the signature of the artifact in `directory`.
pub fn fetch(directory: &Path, own_uid: u32) -> Result<Fetched, FetchError> {
    let shown = || escape(&directory.to_string_lossy());
    let directory = Directory::open(directory).map_err(|error| match error {
        FileError::Missing { .. } => FetchError::NoDirectory { directory: shown() },
        other => FetchError::File(other),
    })?;
    let read = |name, max_bytes| directory.read(name, &Rules { max_bytes, own_uid, links: Links::Refused });
    for _ in 0..MAX_READ_ATTEMPTS {
        let manifest = read(MANIFEST_FILE, MAX_MANIFEST_BYTES).map_err(|error| match error {
            FileError::Missing { .. } => FetchError::NoManifest { directory: shown() },
            other => FetchError::File(other),
        })?;
        let signature = read(SIGNATURE_FILE, MAX_SIGNATURE_BYTES).map_err(|error| match error {
            FileError::Missing { .. } => FetchError::Unsigned { directory: shown() },
            other => FetchError::File(other),
        })?;
        // The manifest may have been exchanged while the signature was read: such a pair would look
        // like a forgery.
        if directory.identity(MANIFEST_FILE)? == Some(manifest.identity) {
            return Ok(Fetched { directory, manifest, signature, own_uid });
        }
    }
    Err(FileError::Changed { file: directory.show(MANIFEST_FILE) }.into())
}

impl Fetched {
    /// The manifest's bytes.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest.bytes
    }

    /// The signature file's bytes.
    pub fn signature(&self) -> &[u8] {
        &self.signature.bytes
    }

    /// Copies the wasm that the verified manifest names to `sink`, at most the signed size, hashing
    /// what it writes. After an error `sink` holds rubbish that must be dropped.
    ///
    /// Only bytes with the signed digest are a success; anything else may be a half-written file and
    /// is worth another attempt.
    pub fn copy_wasm(&self, signed: &WasmReference, sink: &mut impl Write) -> Result<Wasm, FetchError> {
        let file = || self.directory.show(&signed.file);
        check_segment(&signed.file).map_err(|fault| FileError::BadName { file: escape(&signed.file), fault })?;
        if signed.size > MAX_WASM_BYTES {
            return Err(FetchError::SizeOverLimit { size: signed.size });
        }
        // The file may be larger than what was signed: then it is another one, not a broken rule.
        let rules = Rules { max_bytes: u64::MAX, own_uid: self.own_uid, links: Links::Refused };
        let open = self.directory.open_file(&signed.file, &rules).map_err(|error| match error {
            FileError::Missing { file } => FetchError::NoWasm { file },
            other => FetchError::File(other),
        })?;
        if open.identity().size != signed.size {
            return Err(FetchError::OtherWasm { file: file(), difference: "size" });
        }
        let copied = open.copy_to(sink).map_err(|error| match error {
            CopyError::File(error) => FetchError::File(error),
            CopyError::Sink(error) => FetchError::NotStored { file: file(), reason: error.to_string() },
        })?;
        if copied.digest != signed.digest {
            return Err(FetchError::OtherWasm { file: file(), difference: "digest" });
        }
        Ok(Wasm { digest: copied.digest, size: copied.identity.size, stamp: self.stamp(&copied) })
    }

    fn stamp(&self, wasm: &Copied) -> Stamp {
        let quiet = self.manifest.was_quiet && self.signature.was_quiet && wasm.was_quiet;
        Stamp {
            files: Files {
                manifest: Some(self.manifest.identity),
                signature: Some(self.signature.identity),
                wasm: Some(wasm.identity),
            },
            quiet,
        }
    }
}

/// A wasm that was copied and has the signed digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wasm {
    /// The digest of the bytes, equal to the signed one.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// The three files as they were read.
    pub stamp: Stamp,
}

/// The three files of an artifact as they were read, to see later that nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    files: Files,
    quiet: bool,
}

impl Stamp {
    /// The stamp of an attempt that failed: the files as a [`Glance`] showed them *before* it, so that
    /// a file that was exchanged meanwhile counts as changed.
    pub fn of_attempt(before: Files, wall_ns: i64) -> Self {
        let mut there = [before.manifest, before.signature, before.wasm].into_iter().flatten();
        Self { files: before, quiet: there.all(|identity| identity.is_quiet(wall_ns)) }
    }

    /// Whether the same files would be read again. `false` as well when a file was not quiet when it
    /// was read: its times may hide a later change, so it is read once more.
    pub fn still_holds(&self, now: &Files) -> bool {
        self.quiet && self.files == *now
    }
}

/// The three files of an artifact as a look without opening shows them; `None` for what is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// `Component.toml`.
    pub manifest: Option<Identity>,
    /// Its signature.
    pub signature: Option<Identity>,
    /// The wasm.
    pub wasm: Option<Identity>,
}

/// Looks at artifacts without opening them: one system call a file.
#[derive(Debug)]
pub struct Glance {
    base: OwnedFd,
    path: String,
}

impl Glance {
    /// Paths of `[source.file]` are relative to `desired_directory`.
    pub fn new(desired_directory: &Path) -> Result<Self, FileError> {
        let base = Directory::open(desired_directory)?.into_fd();
        Ok(Self { base, path: String::new() })
    }

    /// The files of one artifact; `wasm_file` is not known before the manifest was verified once.
    /// What cannot be looked at counts as not there: the difference to before makes the caller fetch
    /// again, and that says why.
    pub fn at(&mut self, directory: &str, wasm_file: Option<&str>) -> Files {
        Files {
            manifest: self.identity(directory, MANIFEST_FILE),
            signature: self.identity(directory, SIGNATURE_FILE),
            wasm: wasm_file.and_then(|file| self.identity(directory, file)),
        }
    }

    fn identity(&mut self, directory: &str, file: &str) -> Option<Identity> {
        self.path.clear();
        self.path.push_str(directory);
        self.path.push('/');
        self.path.push_str(file);
        let stat: Stat = rustix::fs::statat(self.base.as_fd(), self.path.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(Identity::of(&stat))
    }
}
