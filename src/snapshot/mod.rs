//! Owns desired state in a repository: which one it is, which commit of it is in force, and what may follow that commit.
//!
//! Pure. Fetching is `source::git`'s work; a snapshot counts only once [`judge`] lets it follow the commit that was
//! applied last, which every generation remembers.

mod commit;
mod judge;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::desired::spec::GitReference;
use crate::escape::escape;
use crate::remote_url::RemoteUrl;

pub use commit::{Commit, CommitError, CommitId, MAX_PARENTS};
pub use judge::{Offer, Rules, judge};

/// Desired files in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// The repository.
    pub url: RemoteUrl,
    /// Which commit.
    pub at: GitReference,
    /// The directory of the desired files in the commit's tree, `.` for its top.
    pub path: String,
}

/// The commit whose desired files were applied last: the high-water mark, below which nothing goes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppliedCommit {
    /// The commit.
    pub commit: CommitId,
    /// Where it was found.
    pub repository: Repository,
}

/// How a commit follows from the one that was applied last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Descent {
    /// Nothing was applied before.
    First,
    /// It is the one that was applied last.
    Applied,
    /// It descends from it.
    FastForward,
    /// It doesn't, and the operator allowed that.
    NotFastForward,
}

/// A commit that may be in force, and why: what plans say about where the desired files are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DesiredCommit {
    /// Where it was found.
    #[serde(flatten)]
    pub repository: Repository,
    /// The commit.
    pub commit: CommitId,
    /// How it follows from `from`.
    pub descent: Descent,
    /// The commit that was applied last, if another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<CommitId>,
    /// Who signed the commits since then, escaped; empty when no rule asks for signatures, or nothing is new.
    pub signers: Vec<String>,
    /// What differs from where the last applied commit was found, in words, escaped.
    pub moved: Vec<String>,
}

impl Repository {
    /// The branch, tag or commit and the path, without the URL.
    fn place(&self) -> String {
        let at = escape(&self.at.to_string());
        if self.path == "." { at } else { format!("{at}, path {}", escape(&self.path)) }
    }

    /// How a file of the directory is called in messages.
    pub fn file(&self, name: &str) -> String {
        if self.path == "." { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    /// What differs from `before`, in words, escaped.
    fn differences(&self, before: &Self) -> Vec<String> {
        let said = |what: &str, before: &dyn fmt::Display, now: &dyn fmt::Display| {
            format!("{what} was {}, is {}", escape(&before.to_string()), escape(&now.to_string()))
        };
        let mut moved = Vec::new();
        if self.url != before.url {
            moved.push(said("the repository", &before.url, &self.url));
        }
        if self.at != before.at {
            moved.push(said("the reference", &before.at, &self.at));
        }
        if self.path != before.path {
            moved.push(said("the path", &before.path, &self.path));
        }
        moved
    }

    /// The directory of the tree that `path` in a desired file means; what is wrong with it otherwise.
    pub fn source_directory(&self, path: &str) -> Result<String, &'static str> {
        if path.starts_with('/') {
            return Err("is absolute; in a repository it is relative to the desired file and stays inside");
        }
        let mut parts: Vec<&str> = if self.path == "." { Vec::new() } else { self.path.split('/').collect() };
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() => return Err("leads out of the repository"),
                ".." => {}
                part if part.eq_ignore_ascii_case(".git") => return Err("names a directory of git itself"),
                part if part.contains('\\') => return Err("holds a backslash"),
                part => parts.push(part),
            }
        }
        Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
    }
}

impl fmt::Display for Repository {
    /// For people; escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "git {} {}", self.url, self.place())
    }
}

impl fmt::Display for DesiredCommit {
    /// One line for people; escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repository { url, at, path } = &self.repository;
        let at = match at {
            GitReference::Commit(_) => format!("commit {}", self.commit.short()),
            other => format!("{}@{}", escape(&other.to_string()), self.commit.short()),
        };
        write!(f, "git {url} {at}")?;
        if path != "." {
            write!(f, ", path {}", escape(path))?;
        }
        let from = self.from.map_or_else(String::new, |from| format!(" from {}", from.short()));
        let how = match self.descent {
            Descent::First => "the first".to_owned(),
            Descent::Applied => "as applied".to_owned(),
            Descent::FastForward => format!("fast-forward{from}"),
            Descent::NotFastForward => format!("not fast-forward{from}, as allowed"),
        };
        let signed =
            if self.signers.is_empty() { String::new() } else { format!(", signed by {}", self.signers.join(", ")) };
        write!(f, " ({how}{signed})")?;
        if self.moved.is_empty() { Ok(()) } else { write!(f, "; {}", self.moved.join("; ")) }
    }
}

impl AppliedCommit {
    /// As a generation writes it: the id, then URL, reference and path, each quoted.
    pub fn line(&self) -> String {
        let Repository { url, at, path } = &self.repository;
        let at = match at {
            GitReference::Branch(name) => format!("branch:{name}"),
            GitReference::Tag(name) => format!("tag:{name}"),
            GitReference::Commit(id) => format!("commit:{id}"),
        };
        let quote = |text: &str| serde_json::to_string(text).expect("text is always JSON");
        format!("{} {} {} {}", self.commit, quote(url.as_str()), quote(&at), quote(path))
    }

    /// Reads what [`AppliedCommit::line`] writes; `None` for anything else.
    pub fn from_line(line: &str) -> Option<Self> {
        use crate::desired::source::git::{parse_reference, parse_tree_path};
        let (commit, rest) = line.split_once(' ')?;
        let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let mut text = || texts.next()?.ok();
        let repository = Repository {
            url: text()?.parse().ok()?,
            at: parse_reference(&text()?).ok()?,
            path: parse_tree_path(&text()?).ok()?,
        };
        let applied = Self { commit: commit.parse().ok()?, repository };
        (applied.line() == line).then_some(applied)
    }
}

#[cfg(test)]
mod tests;
