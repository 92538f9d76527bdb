//! Owns the names of the files below `state/`.
//!
//! It opens none of them.

use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// Digits of a generation's file name.
const NUMBER_DIGITS: usize = 10;
/// Ending of files that are being written; they mean nothing until they are renamed.
pub(crate) const TEMPORARY: &str = ".tmp";
/// Ending of generation files that were found damaged; kept for a while for whoever looks for the cause.
pub(crate) const DAMAGED: &str = ".damaged";

/// Ending of the files of the audit log.
const AUDIT_ENDING: &str = ".jsonl";

/// The places below one state directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The directories that a host needs, parents first.
    pub(crate) fn directories(&self) -> [PathBuf; 8] {
        let [objects, digests] = self.object_directories();
        let [generations, starting, audit] = [self.generations(), self.starting(), self.audit()];
        [objects, digests, generations, starting, audit, self.cache(), self.scratch(), self.mirrors()]
    }

    /// The directories that `plan` writes below, parents first.
    pub(crate) fn plan_directories(&self) -> [PathBuf; 4] {
        let [objects, digests] = self.object_directories();
        [objects, digests, self.scratch(), self.mirrors()]
    }

    fn object_directories(&self) -> [PathBuf; 2] {
        [self.root.join("objects"), self.digests()]
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    /// The directory whose directories hold the objects.
    pub(crate) fn digests(&self) -> PathBuf {
        self.root.join("objects/sha256")
    }

    pub(crate) fn object(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.digests().join(&hex[..2]).join(hex)
    }

    pub(crate) fn generations(&self) -> PathBuf {
        self.root.join("gen")
    }

    pub(crate) fn generation(&self, number: u64) -> PathBuf {
        self.generations().join(generation_name(number))
    }

    pub(crate) fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    pub(crate) fn floors(&self) -> PathBuf {
        self.root.join("floors")
    }

    pub(crate) fn paused(&self) -> PathBuf {
        self.root.join("paused")
    }

    pub(crate) fn good(&self) -> PathBuf {
        self.root.join("good")
    }

    pub(crate) fn deaths(&self) -> PathBuf {
        self.root.join("deaths")
    }

    pub(crate) fn starting(&self) -> PathBuf {
        self.root.join("starting")
    }

    /// The directory of the audit log.
    pub(crate) fn audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// One file of the audit log.
    pub(crate) fn audit_file(&self, number: u64) -> PathBuf {
        self.audit().join(format!("{}{AUDIT_ENDING}", generation_name(number)))
    }

    /// Where the audit log ends.
    pub(crate) fn audit_head(&self) -> PathBuf {
        self.audit().join("head")
    }

    pub(crate) fn markers(&self) -> PathBuf {
        self.starting().join("markers")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(crate) fn cache_key(&self) -> PathBuf {
        self.root.join("cache-key")
    }

    pub(crate) fn secret_key(&self) -> PathBuf {
        self.root.join("secret-key")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// Components' data; another module's, only looked at here.
    pub(crate) fn kv(&self) -> PathBuf {
        self.root.join("kv")
    }

    pub(crate) fn mirrors(&self) -> PathBuf {
        self.root.join("mirrors")
    }

    /// The directory of what is remembered of one source.
    pub(crate) fn source(&self, source: &Digest) -> PathBuf {
        self.mirrors().join(source.hex())
    }

    /// What one source was when it was last fetched.
    pub(crate) fn memo(&self, source: &Digest) -> PathBuf {
        self.source(source).join("resolved")
    }
}

fn generation_name(number: u64) -> String {
    format!("{number:0NUMBER_DIGITS$}")
}

/// What `current` points to when `number` is the current generation.
pub(crate) fn current_target(number: u64) -> PathBuf {
    Path::new("gen").join(generation_name(number))
}

/// The number in a name that [`generation_name`] makes; `None` for every other text.
pub(crate) fn generation_number(name: &str) -> Option<u64> {
    let number = name.parse().ok()?;
    (generation_name(number) == name).then_some(number)
}

/// The number in a name of a file of the audit log; `None` for every other text.
pub(crate) fn audit_file_number(name: &str) -> Option<u64> {
    generation_number(name.strip_suffix(AUDIT_ENDING)?)
}

/// The path of the file that is written before it is renamed to `path`.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    with_ending(path, TEMPORARY)
}

/// `path` with an ending after its whole name.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
