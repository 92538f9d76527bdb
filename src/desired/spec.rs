//! One installation as its desired file wants it: validated, with nothing left to misread.
//!
//! Plain data. Two specs are equal when they ask for the same thing, wherever and however it was
//! written; where it was written stands in [`Origin`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::key::PublicKey;
use crate::limits::LimitOverrides;
use crate::name::{InstallationName, LinkName, PackageName};
use crate::permission::{Grant, Topic};
use crate::quantity::Millis;
use crate::remote_url::RemoteUrl;

/// One installation as its file wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The operator's name.
    pub name: InstallationName,
    /// The publisher's name; the manifest must carry the same.
    pub package: PackageName,
    /// `false`: installed but stopped.
    pub enabled: bool,
    /// Installations that must be ready before this one starts.
    pub depends_on: BTreeSet<InstallationName>,
    /// The name this installation had before; identity and state move over.
    pub moved_from: Option<InstallationName>,
    /// What the artifact must satisfy beyond the trust policy.
    pub require: Require,
    /// Where the artifact comes from.
    pub source: Source,
    /// What the operator grants.
    pub grant: Grant,
    /// Which installation each link word means; an unbound word means the installation of that name.
    pub links: BTreeMap<LinkName, InstallationName>,
    /// Reaches `init` as JSON.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Limits set by the operator.
    pub limits: LimitOverrides,
    /// What happens after a crash.
    pub supervision: Supervision,
    /// When it stops sending to a target whose messages end badly; without one, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// What becomes of its storage when it is uninstalled. Written only where it is not the default: records of hosts
    /// that did not know it stay what they are.
    #[serde(default, skip_serializing_if = "OnUninstall::is_default")]
    pub on_uninstall: OnUninstall,
    /// Whether its messages outlive the host. Written only where it is not the default: records of hosts that did not
    /// know it stay what they are.
    #[serde(default, skip_serializing_if = "Delivery::is_default")]
    pub delivery: Delivery,
    /// Messages that the host sends by itself; sorted.
    pub triggers: Vec<Trigger>,
    /// The topics whose messages it takes from its start on. Written only where there are any, like `on_uninstall`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub subscriptions: BTreeSet<Topic>,
}

/// Conditions on the artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// Versions accepted. An exact requirement (`=1.3.9`) also allows going back to that version.
    pub version: Option<semver::VersionReq>,
    /// The key that must be among the signers.
    pub signer: Option<PublicKey>,
}

impl Require {
    /// Whether the requirement names exactly one version.
    pub fn is_exact_pin(&self) -> bool {
        self.version.as_ref().is_some_and(|req| {
            matches!(req.comparators.as_slice(), [only]
                if only.op == semver::Op::Exact && only.minor.is_some() && only.patch.is_some())
        })
    }
}

/// Where an artifact comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A directory on this machine that holds `Component.toml`, its signature and the wasm.
    File {
        /// As written: absolute, or relative to the directory of the desired file.
        path: String,
    },
    /// A directory in the tree of a commit of a Git repository.
    Git {
        /// The repository.
        url: RemoteUrl,
        /// Which commit.
        at: GitReference,
        /// The directory in the commit's tree, `.` for its top.
        path: String,
    },
    /// A manifest behind a URL, its signature and the wasm beside it.
    Url {
        /// Of `Component.toml`.
        url: RemoteUrl,
        /// The digest of the wasm, where the operator pins it.
        sha256: Option<Digest>,
    },
}

/// A place in the history of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GitReference {
    /// A tag, which is expected to stay where it is.
    Tag(String),
    /// A branch, which moves.
    Branch(String),
    /// A commit by its full id.
    Commit(String),
}

impl GitReference {
    /// Whether the same name can mean another commit later.
    pub fn moves(&self) -> bool {
        !matches!(self, Self::Commit(_))
    }
}

impl std::fmt::Display for GitReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(name) => write!(f, "tag {name}"),
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

/// When a crashed actor is started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervision {
    /// Which ends lead to a restart.
    pub restart: RestartPolicy,
    /// Restarts within `window` before the actor counts as failed.
    pub max_restarts: u32,
    /// The time over which restarts are counted.
    pub window: Millis,
    /// Wait before the first restart; doubles with each further one.
    pub backoff: Millis,
    /// Longest wait before a restart.
    pub backoff_max: Millis,
}

/// Which ends of an actor lead to a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Every crash leads to a restart; after too many, a slow retry goes on.
    Permanent,
    /// No crash leads to a restart.
    Never,
}

impl RestartPolicy {
    /// The word that files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Never => "never",
        }
    }
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            restart: RestartPolicy::Permanent,
            max_restarts: 5,
            window: Millis(60_000),
            backoff: Millis(100),
            backoff_max: Millis(60_000),
        }
    }
}

/// When a component stops sending to a target whose messages end badly, and when it tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Messages in a row that end badly before nothing goes to that target any more.
    pub failure_threshold: u32,
    /// Messages that must end well, after that, before everything goes again.
    pub success_threshold: u32,
    /// For how long nothing goes.
    pub open_time: Millis,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failure_threshold: 5, success_threshold: 1, open_time: Millis(10_000) }
    }
}

/// What becomes of the storage of what is uninstalled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUninstall {
    /// It stays, and belongs to nobody.
    #[default]
    Keep,
    /// It is removed.
    Purge,
}

impl OnUninstall {
    /// The word that files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Purge => "purge",
        }
    }

    /// Whether it is removed.
    pub fn removes(self) -> bool {
        self == Self::Purge
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the messages for a component wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// In memory: they end with the host.
    #[default]
    Memory,
    /// In the store, until the commit of the handler: each one's effect is there exactly once.
    Durable,
}

impl Delivery {
    /// The word that files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Durable => "durable",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A message that the host sends by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// The period.
    pub every: Millis,
}

/// Where a spec was written: for messages, and to find the file again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The desired file's name in its directory, escaped.
    pub file: String,
    /// Lines, from 1, of dotted keys (`require.version`, `moved-from`, `trigger[0].every`) and of single
    /// texts in arrays (`grant.send "alerter"`, `depends-on "aggregator"`).
    pub lines: BTreeMap<String, u32>,
}

impl Origin {
    /// `file:line` of a key or of one text in an array; of what it stands in when it has no line of its own;
    /// the file alone when none of that is written.
    pub fn locate(&self, key: &str) -> String {
        match self.line_near(key) {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }

    /// The line that [`Origin::locate`] names.
    pub fn line_near(&self, key: &str) -> Option<u32> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = &key[..key.find(' ').or_else(|| key.rfind(['.', '[']))?];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_line_is_located_where_it_would_stand() {
        let lines = [("grant", 3), ("grant.net", 5), ("grant.net.connect \"a.example.com:443\"", 6), ("trigger", 9)];
        let lines = lines.into_iter().map(|(key, line)| (key.to_owned(), line)).collect();
        let origin = Origin { file: "a.toml".into(), lines };
        assert_eq!(origin.locate("grant.net.connect \"a.example.com:443\""), "a.toml:6");
        assert_eq!(origin.locate("grant.net.connect \"b.example.com:443\""), "a.toml:5");
        assert_eq!(origin.locate("grant.send \"alerter\""), "a.toml:3");
        assert_eq!(origin.locate("trigger[0].every"), "a.toml:9");
        assert_eq!(origin.locate("require.version"), "a.toml");
    }

    #[test]
    fn only_one_complete_version_is_an_exact_pin() {
        let require = |version: &str| Require { version: Some(version.parse().unwrap()), signer: None };
        assert!(require("=1.3.9").is_exact_pin());
        for loose in ["1.3.9", "^1.3.9", "=1.3", "=1", "=1.3.9, <2", "*", "~1.3.9"] {
            assert!(!require(loose).is_exact_pin(), "{loose}");
        }
        assert!(!Require::default().is_exact_pin());
    }
}
