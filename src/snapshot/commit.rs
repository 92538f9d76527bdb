//! Owns commit objects: their ids, and which commits they name as their parents.

use std::fmt;
use std::str::FromStr;

use sha1_checked::{Digest as _, Sha1};

use crate::hex;
use crate::text_serde::serde_as_text;

/// Most parents of one commit. An octopus has a handful.
pub const MAX_PARENTS: usize = 64;

/// The id of a commit: 20 bytes, written as 40 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId([u8; 20]);

/// Why bytes are not the commit that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// No id.
    #[error("a commit's id is 40 lower-case hexadecimal digits")]
    Id,
    /// The bytes have another id.
    #[error("its bytes have another id")]
    OtherId,
    /// The bytes carry the marks of a known attack on SHA-1.
    #[error("its bytes are made so that two commits have one id")]
    Collision,
    /// Not what git writes.
    #[error("it does not begin as a commit does")]
    Syntax,
}

impl CommitId {
    /// The first seven digits, for lines that a person reads.
    pub fn short(&self) -> String {
        hex::encode(&self.0)[..7].to_owned()
    }

    /// The id of the commit that is stored as `raw`.
    pub fn of(raw: &[u8]) -> Result<Self, CommitError> {
        let mut hash = Sha1::new();
        hash.update(format!("commit {}\0", raw.len()));
        hash.update(raw);
        let result = hash.try_finalize();
        if result.has_collision() { Err(CommitError::Collision) } else { Ok(Self((*result.hash()).into())) }
    }
}

impl FromStr for CommitId {
    type Err = CommitError;

    fn from_str(text: &str) -> Result<Self, CommitError> {
        hex::decode(text).map(Self).ok_or(CommitError::Id)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(CommitId);

/// A commit whose bytes have the id by which it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit<'a> {
    /// The whole object.
    pub raw: &'a [u8],
    /// The commits that it follows, in their order.
    pub parents: Vec<CommitId>,
}

impl<'a> Commit<'a> {
    /// Reads a commit object and checks that it is the one named `id`.
    pub fn read(id: CommitId, raw: &'a [u8]) -> Result<Self, CommitError> {
        if CommitId::of(raw)? != id {
            return Err(CommitError::OtherId);
        }
        let mut rest = raw;
        let tree = take_line(&mut rest, b"tree ").ok_or(CommitError::Syntax)?;
        parse(tree)?;
        let mut parents = Vec::new();
        while let Some(parent) = take_line(&mut rest, b"parent ") {
            if parents.len() == MAX_PARENTS {
                return Err(CommitError::Syntax);
            }
            parents.push(parse(parent)?);
        }
        rest.starts_with(b"author ").then_some(Self { raw, parents }).ok_or(CommitError::Syntax)
    }
}

/// The rest of the line, when it starts with `word`.
fn take_line<'a>(rest: &mut &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let line = rest.strip_prefix(word)?;
    let end = line.iter().position(|byte| *byte == b'\n')?;
    *rest = &line[end + 1..];
    Some(&line[..end])
}

fn parse(id: &[u8]) -> Result<CommitId, CommitError> {
    std::str::from_utf8(id).map_err(|_| CommitError::Syntax)?.parse().map_err(|_| CommitError::Syntax)
}
