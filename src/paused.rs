//! Owns what an operator paused: the whole reconciler, or single installations.
//!
//! Pure: a value and its text on disk. What is paused keeps running as it does; a plan holds every action on it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::name::InstallationName;
use crate::sealed::{self, SealError};

/// Most installations that are paused one by one.
pub const MAX_PAUSED: usize = 10_000;
/// Longest name of a user, in bytes.
pub const MAX_USER_BYTES: usize = 64;
/// Longest file, in bytes.
pub const MAX_PAUSED_BYTES: usize = MAX_PAUSED * 160;
const FIRST_LINE: &str = "airssys-paused 1";
/// Stands for the whole reconciler; no installation has such a name.
const EVERYTHING: &str = "*";

/// What is paused, by whom, since when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Paused {
    /// The whole reconciler.
    pub all: Option<PausedBy>,
    /// Single installations.
    #[cfg_attr(feature = "runtime", schemars(with = "BTreeMap<String, PausedBy>"))]
    pub names: BTreeMap<InstallationName, PausedBy>,
}

/// Who paused, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct PausedBy {
    /// The user's name, or `uid N` where the system knows none; escaped.
    pub by: String,
    /// When, in seconds since 1970.
    pub since_unix_s: u64,
}

/// Why a file is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PausedError {
    /// Its frame is damaged.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// A line is not one of this format.
    #[error("line {0} is not one of this format")]
    Line(usize),
}

impl Paused {
    /// Nothing is paused.
    pub fn is_empty(&self) -> bool {
        self.all.is_none() && self.names.is_empty()
    }

    /// Who paused this installation: itself, or everything.
    pub fn holds(&self, name: &InstallationName) -> Option<&PausedBy> {
        self.names.get(name).or(self.all.as_ref())
    }

    /// The text on disk.
    pub fn encode(&self) -> String {
        let mut body = String::new();
        let all = self.all.iter().map(|by| (EVERYTHING, by));
        for (name, PausedBy { by, since_unix_s }) in all.chain(self.names.iter().map(|(name, by)| (name.as_str(), by)))
        {
            writeln!(body, "{name} {since_unix_s} {by}").expect("a string takes every write");
        }
        sealed::seal(FIRST_LINE, &body).text
    }

    /// Reads what [`Paused::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, PausedError> {
        let opened = sealed::open(FIRST_LINE, bytes, MAX_PAUSED_BYTES)?;
        let mut paused = Self::default();
        for (at, line) in opened.body.lines().enumerate() {
            // The first line of the file names its format.
            let (name, by) = entry(line).ok_or(PausedError::Line(at + 2))?;
            match name {
                EVERYTHING => paused.all = Some(by),
                name => {
                    let name = name.parse().map_err(|_| PausedError::Line(at + 2))?;
                    paused.names.insert(name, by);
                }
            }
        }
        Ok(paused)
    }
}

impl PausedBy {
    /// `user` is cut to what a line of the file takes.
    pub fn new(user: &str, since_unix_s: u64) -> Self {
        let user = crate::escape::escape(user);
        let by = user[..user.floor_char_boundary(MAX_USER_BYTES)].trim();
        Self { by: if by.is_empty() { "somebody".to_owned() } else { by.to_owned() }, since_unix_s }
    }
}

impl std::fmt::Display for PausedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = crate::timestamp::rfc3339(i64::try_from(self.since_unix_s).unwrap_or(i64::MAX));
        write!(f, "by {} since {since}", self.by)
    }
}

fn entry(line: &str) -> Option<(&str, PausedBy)> {
    let (name, rest) = line.split_once(' ')?;
    let (since, by) = rest.split_once(' ')?;
    let by = PausedBy { by: by.to_owned(), since_unix_s: since.parse().ok()? };
    // Only what would be written is read, so that nothing unescaped comes back.
    (PausedBy::new(&by.by, by.since_unix_s) == by).then_some((name, by))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused() -> Paused {
        let by = |user| PausedBy::new(user, 1_700_000_000);
        let names = [("a", "alice"), ("b-2", "uid 1000")].map(|(name, user)| (name.parse().unwrap(), by(user)));
        Paused { all: Some(by("root")), names: names.into() }
    }

    #[test]
    fn what_is_paused_survives_the_way_to_disk_and_back() {
        for paused in [Paused::default(), paused(), Paused { all: None, ..paused() }] {
            assert_eq!(Paused::decode(paused.encode().as_bytes()), Ok(paused));
        }
    }

    #[test]
    fn a_damaged_or_foreign_text_is_refused() {
        let text = paused().encode();
        let damaged = text.replacen("alice", "alicf", 1);
        assert_eq!(Paused::decode(damaged.as_bytes()), Err(PausedError::Sealed(SealError::Checksum)));
        for line in ["a", "a 1", "a x alice", "A 1 alice", "a 1 \u{1b}[2J", "a 1 "] {
            let text = sealed::seal(FIRST_LINE, &format!("{line}\n")).text;
            assert_eq!(Paused::decode(text.as_bytes()), Err(PausedError::Line(2)), "{line:?}");
        }
    }

    #[test]
    fn a_hostile_user_name_becomes_harmless_and_short() {
        let by = PausedBy::new(&format!("x\n* 1 y\u{1b}[2J{}", "z".repeat(200)), 5);
        assert!(by.by.len() <= MAX_USER_BYTES && !by.by.contains(['\n', '\u{1b}']), "{by:?}");
        let paused = Paused { all: Some(by), names: BTreeMap::new() };
        assert_eq!(Paused::decode(paused.encode().as_bytes()), Ok(paused));
        assert_eq!(PausedBy::new(" ", 5).by, "somebody");
    }

    #[test]
    fn the_name_itself_comes_before_everything() {
        let paused = paused();
        assert_eq!(paused.holds(&"a".parse().unwrap()).unwrap().by, "alice");
        assert_eq!(paused.holds(&"other".parse().unwrap()).unwrap().by, "root");
        assert_eq!(Paused::default().holds(&"a".parse().unwrap()), None);
    }
}
