//! What fetching from elsewhere has in common: the job, the conversation with whoever asked, the ways to fail.
//!
//! A fetch runs where nothing is trusted, usually in a worker process. It hands out the manifest and its
//! signature first, and gives the wasm only when it is asked for by name and size: whoever asks has
//! verified the manifest by then. What a failure leads to is decided by its code, in [`crate::resolution`].

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::desired::spec::GitReference;
use crate::remote_url::RemoteUrl;
use crate::resolution::Refusal;

/// What is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FetchJob {
    /// An artifact from a repository.
    Git(GitJob),
    /// An artifact from behind a URL.
    Url(UrlJob),
    /// The desired files of a commit.
    Tree(TreeJob),
}

/// The desired files in the tree of a commit, and how that commit follows from an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeJob {
    /// The repository.
    pub url: RemoteUrl,
    /// Which commit.
    pub at: GitReference,
    /// The directory of the desired files, `.` for the top.
    pub path: String,
    /// The bare mirror of the repository: an absolute path that only the host chooses. The directory is there, empty
    /// at first; a fetch can write in it and nowhere else.
    pub mirror: std::path::PathBuf,
    /// Whether what the mirror holds must do: nothing is connected to.
    pub offline: bool,
    /// The commit that was applied last, whose descendant the new one should be.
    pub since: Option<String>,
    /// What opens the door.
    pub access: Access,
}

/// An artifact in the tree of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitJob {
    /// The repository.
    pub url: RemoteUrl,
    /// Which commit.
    pub at: GitReference,
    /// The directory that holds the artifact, `.` for the top.
    pub path: String,
    /// The bare mirror of the repository: an absolute path that only the host chooses. The directory is there, empty
    /// at first; a fetch can write in it and nowhere else.
    pub mirror: std::path::PathBuf,
    /// Whether what the mirror holds must do: nothing is connected to.
    pub offline: bool,
    /// What opens the door.
    pub access: Access,
}

/// An artifact behind a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlJob {
    /// Of the manifest.
    pub url: RemoteUrl,
    /// The validator of an earlier answer: when it still holds, [`Found::Unchanged`] is all that comes.
    pub etag: Option<String>,
    /// What opens the door.
    pub access: Access,
}

/// What the host's own settings say about one remote host. Holds secrets: it has no `Display`, is sent to a worker
/// over a pipe, and is never stored.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// User name for HTTP and SSH.
    pub user: Option<String>,
    /// Password or token for HTTP.
    pub password: Option<Password>,
    /// An SSH private key in OpenSSH's format.
    pub ssh_key: Option<Password>,
    /// The passphrase of that key.
    pub ssh_key_passphrase: Option<Password>,
    /// Lines of a `known_hosts` file. Without a line for the host nothing is connected to over SSH.
    pub known_hosts: Option<String>,
    /// Certificates, PEM, of authorities that count for this host besides those of the system.
    pub ca: Option<String>,
    /// Whether the host's name may lead to a private, link-local or loopback address.
    pub allow_private: bool,
    /// Whether redirects that stay on the host are followed.
    pub follow_redirects: bool,
    /// An HTTP proxy to go through. The environment's are never used.
    pub proxy: Option<String>,
}

/// A text that opens a door. Wiped from memory when dropped; it has neither `Debug` nor `Display`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Password(Zeroizing<String>);

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl std::ops::Deref for Password {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Password {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("user", &self.user.is_some()).finish_non_exhaustive()
    }
}

/// What a fetch found before the wasm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The manifest, its signature, and which revision they are of. Untrusted.
    Artifact {
        /// A commit id, or the validator of an HTTP answer.
        revision: Option<String>,
        /// The bytes of `Component.toml`.
        manifest: Vec<u8>,
        /// The bytes of its signature.
        signature: Vec<u8>,
    },
    /// The desired files of one commit. Untrusted.
    Tree {
        /// The commit's id.
        commit: String,
        /// Names and bytes of the regular files directly in the directory whose names end in `.toml`.
        files: Vec<(String, Vec<u8>)>,
        /// Files of that kind that can't be handed out, with the reason: links, too large ones.
        unreadable: Vec<(String, String)>,
        /// How the commit follows from the one that was applied last.
        ancestry: Ancestry,
    },
    /// What was fetched before is what there is.
    Unchanged,
}

/// How a commit follows from an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ancestry {
    /// Whether the earlier one is an ancestor, or the same.
    pub is_fast_forward: bool,
    /// The raw commits after the earlier one up to and including the new one, newest first; only the new one where
    /// there is no earlier one.
    pub commits: Vec<RawCommit>,
    /// Whether there were more commits than are handed out.
    pub is_cut: bool,
}

/// A commit as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCommit {
    /// Its id.
    pub id: String,
    /// The whole commit object, its signature included: the id is the hash of exactly these bytes.
    pub bytes: Vec<u8>,
}

/// Which wasm is wanted, now that the manifest is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmWanted {
    /// A sibling of the manifest; one checked path segment.
    pub file: String,
    /// Its signed size in bytes: not one byte more is taken.
    pub size: u64,
}

/// Why a fetch failed. Comes out of a worker, so that everything in it is untrusted text, bounded and escaped
/// by whoever receives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(deny_unknown_fields)]
pub struct FetchFailure {
    /// Machine reason, kebab-case, one of those that [`crate::resolution::class`] knows.
    pub code: String,
    /// What was attempted and why it failed: one sentence without a full stop.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// How long the other side asked to be left alone, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl FetchFailure {
    /// A failure without a hint.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None, retry_after_ms: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As plans and status show it.
    pub fn refusal(&self) -> Refusal {
        Refusal { code: self.code.clone(), message: self.message.clone(), hint: self.hint.clone() }
    }
}

/// The other side of a fetch: whoever asked for it.
pub trait Port {
    /// Tells how far the fetch is; a word and a number of bytes.
    fn progress(&mut self, step: &str, bytes: u64) -> Result<(), FetchFailure>;
    /// Hands over what was found, and waits for which wasm is wanted; none when that is all. A worker may be ended
    /// while it waits here: what is to last must be on disk before.
    fn found(&mut self, found: Found) -> Result<Option<WasmWanted>, FetchFailure>;
    /// Hands over the next piece of the wasm.
    fn wasm(&mut self, piece: &[u8]) -> Result<(), FetchFailure>;
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// Compiles only where each text that opens a door is of the kind that is wiped.
    #[test]
    fn what_opens_a_door_is_wiped_and_comes_back_from_a_worker_s_pipe_as_it_was() {
        fn is_wiped<T: ZeroizeOnDrop>(_: &T) {}
        let access = Access {
            password: Some("p\"\n".into()),
            ssh_key: Some("key".into()),
            ssh_key_passphrase: Some("phrase".into()),
            ..Access::default()
        };
        // Whoever adds a field decides here what it is.
        let Access {
            user: _,
            password,
            ssh_key,
            ssh_key_passphrase,
            known_hosts: _,
            ca: _,
            allow_private: _,
            follow_redirects: _,
            proxy: _,
        } = &access;
        for secret in [password, ssh_key, ssh_key_passphrase].into_iter().flatten() {
            let Password(text) = secret;
            is_wiped(text);
        }
        let sent = serde_json::to_vec(&access).expect("JSON");
        assert_eq!(serde_json::from_slice::<Access>(&sent).expect("read"), access);
    }
}
