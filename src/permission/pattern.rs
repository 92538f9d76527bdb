//! Owns the small patterns of the permission grammar: directory trees, environment names, storage levels, peers, topics.
//!
//! Every value has exactly one spelling, so two patterns that mean the same are equal. Nothing here touches a
//! file system: whether a path leaves its tree through a symbolic link is for the host to check when it opens it.

use std::fmt;
use std::str::FromStr;

use crate::name::{InstallationName, LinkName, MAX_NAME_PART_BYTES};
use crate::text_serde::serde_as_text;

/// Longest path of a directory tree, in bytes.
pub const MAX_PATH_BYTES: usize = 1024;
/// Longest segment of a path, in bytes.
pub const MAX_PATH_SEGMENT_BYTES: usize = 255;
/// Longest name of an environment variable, in bytes.
pub const MAX_ENV_NAME_BYTES: usize = 128;
/// Most segments of a topic.
pub const MAX_TOPIC_SEGMENTS: usize = 8;
/// Longest topic, in bytes: as many words as there may be, the longest there are, and the dots between.
pub const MAX_TOPIC_BYTES: usize = MAX_TOPIC_SEGMENTS * (MAX_NAME_PART_BYTES + 1) - 1;

/// Why a text is no pattern of its kind; a sentence without a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(pub(super) &'static str);

/// A directory and everything below it. Written `/data/**`; `/**` is the whole file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tree {
    /// The directory without a final slash; empty for the root.
    base: Box<str>,
}

impl Tree {
    /// The directory, `/` for the root.
    pub fn base(&self) -> &str {
        if self.base.is_empty() { "/" } else { &self.base }
    }

    /// The names that lead to the directory.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.base.split('/').skip(1)
    }

    /// Whether everything in `other` is in this tree as well.
    pub fn covers(&self, other: &Self) -> bool {
        // The rest must be empty or start at a slash: `/data` has nothing to do with `/database`.
        other.base.strip_prefix(&*self.base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Tree {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_PATH_BYTES {
            return Err(PatternError("the path is longer than 1024 bytes"));
        }
        if !text.starts_with('/') {
            return Err(PatternError("the path must be absolute, as in `/data/**`"));
        }
        let Some(base) = text.strip_suffix("/**") else {
            return Err(PatternError(
                "a permission is for a whole directory tree and ends with `/**`, as in `/data/**`; \
                 single files and other patterns can't be granted",
            ));
        };
        for segment in base.split('/').skip(1) {
            check_segment(segment)?;
        }
        Ok(Self { base: base.into() })
    }
}

fn check_segment(segment: &str) -> Result<(), PatternError> {
    if segment.is_empty() || segment.bytes().all(|b| b == b'.') {
        return Err(PatternError("the path must be written without `.`, `..` and doubled slashes"));
    }
    if segment.contains(['*', '?', '[', ']', '{', '}']) {
        return Err(PatternError("the only wildcard is the `/**` at the end of a directory tree"));
    }
    if segment.len() > MAX_PATH_SEGMENT_BYTES {
        return Err(PatternError("a name in the path is longer than 255 bytes"));
    }
    // Letters of other scripts have several spellings for one look, and file systems disagree on them.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+@=,:~ ".contains(&b);
    if !segment.bytes().all(plain) || segment.starts_with([' ', '~']) || segment.ends_with(' ') {
        return Err(PatternError(
            "a name in the path may hold ASCII letters, digits and `._-+@=,:~`, and spaces inside; \
             it must not start with `~`",
        ));
    }
    Ok(())
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/**", self.base)
    }
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvName(Box<str>);

impl EnvName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnvName {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if text.is_empty() || !plain || text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(PatternError(
                "the name of an environment variable is ASCII letters, digits and `_`, and starts with no digit; \
                 there are no wildcards",
            ));
        }
        if text.len() > MAX_ENV_NAME_BYTES {
            return Err(PatternError("the name is longer than 128 characters"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a component may use its storage; each level includes the ones before it.
///
/// The level `none` is the absence of a storage permission, so it is no value here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorageLevel {
    /// Reads.
    ReadOnly,
    /// Reads and writes.
    ReadWrite,
    /// Reads, writes and removes everything at once.
    Admin,
}

impl StorageLevel {
    /// Reads a level; `none` gives `None`.
    pub fn parse(text: &str) -> Result<Option<Self>, PatternError> {
        match text {
            "none" => Ok(None),
            "read-only" => Ok(Some(Self::ReadOnly)),
            "read-write" => Ok(Some(Self::ReadWrite)),
            "admin" => Ok(Some(Self::Admin)),
            _ => Err(PatternError("it is one of `none`, `read-only`, `read-write` and `admin`")),
        }
    }
}

impl fmt::Display for StorageLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
            Self::Admin => "admin",
        })
    }
}

/// One other component, or all of them. Written as the name, or `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer<N> {
    /// Every one.
    Any,
    /// The one of this name.
    Named(N),
}

impl<N: PartialEq> Peer<N> {
    /// Whether everyone whom `other` means is meant.
    pub fn covers(&self, other: &Self) -> bool {
        matches!(self, Self::Any) || self == other
    }
}

macro_rules! peer {
    ($name:ty, $expected:literal) => {
        impl FromStr for Peer<$name> {
            type Err = PatternError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    "*" => Ok(Self::Any),
                    _ => text.parse().map(Self::Named).map_err(|_| PatternError($expected)),
                }
            }
        }
    };
}

peer!(LinkName, "it is the word of a link (a-z, 0-9 and hyphens inside, at most 64), or `*` for all of them");
peer!(InstallationName, "it is the name of an installation (a-z, 0-9 and hyphens inside, at most 64), or `*` for all");

impl<N: fmt::Display> fmt::Display for Peer<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Named(name) => write!(f, "{name}"),
        }
    }
}

/// A topic, or all topics one segment below it. Written `orders.created`, `orders.*` or `*`.
///
/// `*` stands for exactly one segment, and only at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Box<str>);

impl Topic {
    /// Whether every topic that `other` means is meant.
    pub fn covers(&self, other: &Self) -> bool {
        let (above, last) = self.split_last();
        let (other_above, other_last) = other.split_last();
        above == other_above && (last == "*" || last == other_last)
    }

    /// Whether it means more than one topic.
    pub fn is_pattern(&self) -> bool {
        self.split_last().1 == "*"
    }

    /// The pattern that means this topic and its siblings.
    pub fn with_any_last_word(&self) -> Self {
        Self(match self.split_last() {
            (Some(above), _) => format!("{above}.*").into(),
            (None, _) => "*".into(),
        })
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn split_last(&self) -> (Option<&str>, &str) {
        match self.0.rsplit_once('.') {
            Some((above, last)) => (Some(above), last),
            None => (None, &self.0),
        }
    }
}

impl FromStr for Topic {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TOPIC_BYTES {
            return Err(PatternError("a topic is at most 519 bytes long"));
        }
        let segments: Vec<&str> = text.split('.').collect();
        if segments.len() > MAX_TOPIC_SEGMENTS {
            return Err(PatternError("a topic has at most 8 segments"));
        }
        let (last, above) = segments.split_last().expect("splitting gives at least one piece");
        let is_word = |segment: &&str| segment.parse::<LinkName>().is_ok();
        if !above.iter().all(is_word) || !(is_word(last) || *last == "*") {
            return Err(PatternError(
                "a topic is words of a-z, 0-9 and hyphens with dots between, as in `orders.created`; \
                 only the last may be `*`, which stands for one word",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Topic);
