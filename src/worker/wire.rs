//! Owns what the frames say. Everything that comes from a worker is checked here and in `frame`, and nowhere else.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::frame::FrameError;
use crate::desired::file::MAX_DESIRED_FILE_BYTES;
use crate::digest::Digest;
use crate::engine::CompileError;
use crate::escape::escape;
use crate::manifest::MAX_MANIFEST_BYTES;
use crate::source::file::MAX_SIGNATURE_BYTES;
use crate::source::remote::{Ancestry, FetchFailure, Found, RawCommit};

/// Most bytes of everything that is found before a wasm, together.
pub const MAX_FOUND_BYTES: u64 = 64 << 20;
/// Most bytes of compiled code.
pub const MAX_CODE_BYTES: u64 = 512 << 20;
/// Longest code of a failure, in bytes.
const MAX_FAILURE_CODE_BYTES: usize = 64;
/// Longest message or hint of a failure, in characters; what is longer is cut.
const MAX_TEXT_CHARS: usize = 2_000;
/// Most lines of a hint.
const MAX_HINT_LINES: usize = 16;
/// Longest time for which another side may ask to be left alone, in milliseconds.
const MAX_RETRY_AFTER_MS: u64 = 60 * 60 * 1_000;
/// Longest revision, commit id or file name, in bytes.
const MAX_WORD_BYTES: usize = 255;

/// What a worker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Task {
    /// Fetches: may connect, reads what that needs, writes to its directories.
    Fetch,
    /// Compiles: no files, no network, no new descriptor of any kind.
    Compile,
}

/// How a worker confines itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setup {
    pub task: Task,
    pub memory_bytes: u64,
    pub cpu_s: u64,
    pub file_bytes: u64,
    pub open_files: u64,
    /// Besides what every fetch may read.
    pub readable: Vec<PathBuf>,
    /// Readable too.
    pub writable: Vec<PathBuf>,
    /// Whether it steps back behind the other workers as well.
    pub is_idle: bool,
}

/// What a worker says once it is confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ready {
    /// How much of its confinement to directories the kernel enforces: `full`, `partial` or `none`.
    pub landlock: String,
    /// Which code its compiler makes; only of one that compiles.
    pub code_hash: Option<Digest>,
}

/// How far a fetch is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    pub step: String,
    pub bytes: u64,
}

/// How much code follows, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeHead {
    pub bytes: u64,
}

/// Why a worker failed by its own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failure {
    /// It did not get as far as its job.
    Start(String),
    /// The fetch failed.
    Fetch(FetchFailure),
    /// The component was refused.
    Compile(CompileError),
}

/// [`Found`] without its bytes: they follow in this order, of these lengths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FoundHead {
    Artifact {
        revision: Option<String>,
        manifest: u64,
        signature: u64,
    },
    Tree {
        commit: String,
        files: Vec<(String, u64)>,
        unreadable: Vec<(String, String)>,
        is_fast_forward: bool,
        commits: Vec<(String, u64)>,
        is_cut: bool,
    },
    Unchanged,
}

/// Takes what was found apart into its head and its bytes.
pub(super) fn take_apart(found: Found) -> (FoundHead, Vec<u8>) {
    let mut body = Vec::new();
    let mut put = |bytes: Vec<u8>| {
        body.extend_from_slice(&bytes);
        bytes.len() as u64
    };
    let head = match found {
        Found::Artifact { revision, manifest, signature } => {
            FoundHead::Artifact { revision, manifest: put(manifest), signature: put(signature) }
        }
        Found::Tree { commit, files, unreadable, ancestry } => FoundHead::Tree {
            commit,
            files: files.into_iter().map(|(name, bytes)| (name, put(bytes))).collect(),
            unreadable,
            is_fast_forward: ancestry.is_fast_forward,
            commits: ancestry.commits.into_iter().map(|commit| (commit.id, put(commit.bytes))).collect(),
            is_cut: ancestry.is_cut,
        },
        Found::Unchanged => FoundHead::Unchanged,
    };
    (head, body)
}

impl FoundHead {
    /// How many bytes follow; an error when it is more than may be found.
    pub(super) fn body_bytes(&self) -> Result<u64, FrameError> {
        let lengths: Vec<(u64, u64)> = match self {
            Self::Artifact { manifest, signature, .. } => {
                vec![(*manifest, MAX_MANIFEST_BYTES), (*signature, MAX_SIGNATURE_BYTES)]
            }
            Self::Tree { files, commits, .. } => {
                let files = files.iter().map(|(_, bytes)| (*bytes, MAX_DESIRED_FILE_BYTES as u64));
                files.chain(commits.iter().map(|(_, bytes)| (*bytes, MAX_FOUND_BYTES))).collect()
            }
            Self::Unchanged => Vec::new(),
        };
        let mut all = 0u64;
        for (bytes, most) in lengths {
            all = all.saturating_add(bytes);
            if bytes > most || all > MAX_FOUND_BYTES {
                return Err(FrameError::Protocol(format!("it found more than it may: {bytes} bytes of {most}")));
            }
        }
        Ok(all)
    }

    /// Puts head and bytes together; `body` is as long as [`FoundHead::body_bytes`] says.
    pub(super) fn put_together(self, body: &[u8]) -> Result<Found, FrameError> {
        let mut rest = body;
        let mut take = |bytes: u64| {
            let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= rest.len());
            let (taken, left) = rest.split_at(bytes.ok_or_else(|| protocol("the body is too short"))?);
            rest = left;
            Ok::<_, FrameError>(taken.to_vec())
        };
        Ok(match self {
            Self::Artifact { revision, manifest, signature } => Found::Artifact {
                revision: revision.map(word).transpose()?,
                manifest: take(manifest)?,
                signature: take(signature)?,
            },
            Self::Tree { commit, files, unreadable, is_fast_forward, commits, is_cut } => Found::Tree {
                commit: word(commit)?,
                files: files.into_iter().map(|(name, bytes)| Ok((file_name(name)?, take(bytes)?))).collect::<Result<
                    _,
                    FrameError,
                >>(
                )?,
                unreadable: unreadable
                    .into_iter()
                    .map(|(name, why)| Ok((file_name(name)?, text(&why))))
                    .collect::<Result<_, FrameError>>()?,
                ancestry: Ancestry {
                    is_fast_forward,
                    commits: commits
                        .into_iter()
                        .map(|(id, bytes)| Ok(RawCommit { id: word(id)?, bytes: take(bytes)? }))
                        .collect::<Result<_, FrameError>>()?,
                    is_cut,
                },
            },
            Self::Unchanged => Found::Unchanged,
        })
    }
}

/// A fetch's failure with its texts bounded and escaped.
pub(super) fn checked(failure: FetchFailure) -> Result<FetchFailure, FrameError> {
    let FetchFailure { code, message, hint, retry_after_ms } = failure;
    let is_code = !code.is_empty()
        && code.len() <= MAX_FAILURE_CODE_BYTES
        && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_code {
        return Err(protocol("the code of its failure is no code"));
    }
    let hint = hint.map(|hint| hint.lines().take(MAX_HINT_LINES).map(text).collect::<Vec<_>>().join("\n"));
    let retry_after_ms = retry_after_ms.map(|ms| ms.min(MAX_RETRY_AFTER_MS));
    Ok(FetchFailure { code, message: text(&message), hint, retry_after_ms })
}

/// Foreign text, cut and escaped.
pub(super) fn text(foreign: &str) -> String {
    let mut end = foreign.char_indices().map(|(at, _)| at);
    match end.nth(MAX_TEXT_CHARS) {
        Some(end) => format!("{}…", escape(&foreign[..end])),
        None => escape(foreign),
    }
}

/// A word that names something at the other side: short, printable.
fn word(foreign: String) -> Result<String, FrameError> {
    let fits = !foreign.is_empty() && foreign.len() <= MAX_WORD_BYTES && escape(&foreign) == foreign;
    if fits { Ok(foreign) } else { Err(protocol("a revision or commit that it names is no word")) }
}

/// The name of a file directly in a directory. It may be strange; it leads nowhere.
fn file_name(foreign: String) -> Result<String, FrameError> {
    let leads = matches!(foreign.as_str(), "" | "." | "..") || foreign.contains(['/', '\0']);
    if leads || foreign.len() > MAX_WORD_BYTES {
        return Err(protocol("a file name that it hands out is none"));
    }
    Ok(foreign)
}

fn protocol(what: &str) -> FrameError {
    FrameError::Protocol(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(name: &str) -> Found {
        Found::Tree {
            commit: "c0ffee".to_owned(),
            files: vec![("a.toml".to_owned(), b"a".to_vec()), (name.to_owned(), Vec::new())],
            unreadable: vec![("c.toml".to_owned(), "a link".to_owned())],
            ancestry: Ancestry {
                is_fast_forward: true,
                commits: vec![RawCommit { id: "c0ffee".to_owned(), bytes: b"tree 1".to_vec() }],
                is_cut: false,
            },
        }
    }

    fn round(found: Found) -> Result<Found, FrameError> {
        let (head, body) = take_apart(found);
        assert_eq!(head.body_bytes()?, body.len() as u64);
        head.put_together(&body)
    }

    #[test]
    fn what_was_found_comes_out_as_it_went_in() {
        let artifact = Found::Artifact {
            revision: Some("\"etag\"".to_owned()),
            manifest: b"manifest".to_vec(),
            signature: b"signature".to_vec(),
        };
        for found in [artifact, tree("b.toml"), Found::Unchanged] {
            assert_eq!(round(found.clone()).unwrap(), found);
        }
    }

    #[test]
    fn names_that_lead_elsewhere_and_lengths_that_lie_are_refused() {
        for name in ["../b.toml", "/b.toml", "..", "", "b\0.toml", &"b".repeat(256)] {
            assert!(round(tree(name)).is_err(), "{name}");
        }
        let artifact = |manifest, signature| FoundHead::Artifact { revision: None, manifest, signature };
        assert!(artifact(MAX_MANIFEST_BYTES + 1, 0).body_bytes().is_err());
        assert!(artifact(0, u64::MAX).body_bytes().is_err());
        assert!(artifact(4, 5).put_together(b"12345678").is_err());
        let revision = FoundHead::Artifact { revision: Some("\u{1b}[2J".to_owned()), manifest: 0, signature: 0 };
        assert!(revision.put_together(b"").is_err());
        let files = (0..300).map(|i| (format!("{i}.toml"), MAX_DESIRED_FILE_BYTES as u64)).collect();
        let (commit, unreadable, commits) = ("c".to_owned(), Vec::new(), Vec::new());
        let tree = FoundHead::Tree { commit, files, unreadable, is_fast_forward: true, commits, is_cut: false };
        assert!(tree.body_bytes().is_err(), "75 MiB of files");
    }

    #[test]
    fn the_texts_of_a_failure_are_cut_and_escaped_and_its_code_is_a_code() {
        let failure = FetchFailure {
            retry_after_ms: Some(u64::MAX),
            ..FetchFailure::new("timeout", "\u{1b}[2J".repeat(10_000)).hint("one\ntwo\u{7}")
        };
        let failure = checked(failure).unwrap();
        assert!(failure.message.starts_with("\\u{1b}[2J") && failure.message.len() < 40_000);
        assert_eq!((failure.hint.as_deref(), failure.retry_after_ms), (Some("one\ntwo\\u{7}"), Some(3_600_000)));
        for code in ["", "Timeout", "time out", &"x".repeat(65)] {
            assert!(checked(FetchFailure::new(code, "")).is_err(), "{code}");
        }
    }
}
