//! Owns the audit log as values: what is recorded, how records are chained, what a commit says, what is asked of them.
//!
//! Pure. Which file a record is in, and when it is durable, is `state`'s.
//!
//! One record is one line of JSON. Each carries the SHA-256 of the line before, and the *head* beside the log names the
//! last one, so that a line that was changed, moved or removed shows. Whoever can write the directory can also write a new
//! chain: the log finds what happened to it, and an operator who needs more keeps the head elsewhere (`audit --verify`
//! prints it).
//!
//! What a commit changed is derived from the generation itself ([`commit`]), with the same bytes however often: a host that
//! dies between the two writes them at its next start. What no generation knows (refusals, pauses, denials) is written when
//! it happens.

pub mod chain;
pub mod commit;
pub mod query;
#[cfg(test)]
mod tests;
pub mod text;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::record::ArtifactIdentity;
use crate::timestamp::rfc3339;

/// Longest text of one record, in bytes; the rest is cut off.
pub const MAX_WHAT_BYTES: usize = 2_048;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The log begins; what was before is not in it.
    Begin,
    /// A host started.
    Start,
    /// A host stopped.
    Stop,
    /// An operator ordered what follows in the same generation.
    Order,
    /// An operator ordered to go back to an earlier generation.
    Rollback,
    /// An approval was spent.
    Approval,
    /// The desired files of another commit are applied.
    Commit,
    /// A component was installed; says whose signature was accepted.
    Install,
    /// A component was replaced by another version; says whose signature was accepted.
    Update,
    /// A component got another spec.
    Reconfigure,
    /// An installation goes on under another name.
    Move,
    /// A component was removed.
    Uninstall,
    /// A target is not tried again until another one is wanted, or `resume`.
    Hold,
    /// A target is no longer held.
    Release,
    /// The current generation was damaged, and an older one took its place.
    Recovered,
    /// A wish is not carried out: trust, permissions, limits, or an approval is missing.
    Refused,
    /// An action failed; what ran before goes on.
    Failed,
    /// An operator paused an installation or everything.
    Pause,
    /// An operator lifted a pause or a quarantine.
    Resume,
    /// A component asked for something that it may not do.
    Denied,
    /// A component took the host down too often and is not started.
    Quarantined,
    /// Records are missing, or the log was changed.
    Gap,
    /// Old records were removed to make room.
    Rotate,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Begin,
        Self::Start,
        Self::Stop,
        Self::Order,
        Self::Rollback,
        Self::Approval,
        Self::Commit,
        Self::Install,
        Self::Update,
        Self::Reconfigure,
        Self::Move,
        Self::Uninstall,
        Self::Hold,
        Self::Release,
        Self::Recovered,
        Self::Refused,
        Self::Failed,
        Self::Pause,
        Self::Resume,
        Self::Denied,
        Self::Quarantined,
        Self::Gap,
        Self::Rotate,
    ];

    /// The word in records and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Order => "order",
            Self::Rollback => "rollback",
            Self::Approval => "approval",
            Self::Commit => "commit",
            Self::Install => "install",
            Self::Update => "update",
            Self::Reconfigure => "reconfigure",
            Self::Move => "move",
            Self::Uninstall => "uninstall",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Recovered => "recovered",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Denied => "denied",
            Self::Quarantined => "quarantined",
            Self::Gap => "gap",
            Self::Rotate => "rotate",
        }
    }

    /// The kind of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether records of this kind are derived from a generation, and from nothing else.
    pub fn is_of_commit(self) -> bool {
        match self {
            Self::Order
            | Self::Rollback
            | Self::Approval
            | Self::Commit
            | Self::Install
            | Self::Update
            | Self::Reconfigure
            | Self::Move
            | Self::Uninstall
            | Self::Hold
            | Self::Release
            | Self::Recovered => true,
            Self::Begin
            | Self::Start
            | Self::Stop
            | Self::Refused
            | Self::Failed
            | Self::Pause
            | Self::Resume
            | Self::Denied
            | Self::Quarantined
            | Self::Gap
            | Self::Rotate => false,
        }
    }
}

/// Which artifact was accepted, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Accepted {
    /// The signed name.
    pub package: String,
    /// The signed version.
    pub version: String,
    /// The signed sequence.
    pub sequence: u64,
    /// Digest of the wasm.
    pub wasm: String,
    /// The trust rule under which it was accepted.
    pub publisher: String,
    /// The keys whose signatures counted.
    pub signers: Vec<String>,
}

impl From<&ArtifactIdentity> for Accepted {
    fn from(artifact: &ArtifactIdentity) -> Self {
        Self {
            package: artifact.package.to_string(),
            version: artifact.version.to_string(),
            sequence: artifact.sequence,
            wasm: artifact.wasm.to_string(),
            publisher: artifact.publisher.clone(),
            signers: artifact.signers.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Something to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// What it is about.
    pub kind: Kind,
    /// The installation, where it is about one.
    pub installation: Option<String>,
    /// Who, where a person did it.
    pub by: Option<String>,
    /// What, in words for people; escaped by whoever wrote it.
    pub what: String,
    /// The artifact that was accepted.
    pub accepted: Option<Accepted>,
    /// How often, where it stands for several.
    pub count: Option<u64>,
}

impl Entry {
    /// One that says nothing but what.
    pub fn new(unix_s: u64, kind: Kind, what: impl Into<String>) -> Self {
        Self { unix_s, kind, installation: None, by: None, what: what.into(), accepted: None, count: None }
    }

    /// The same about an installation.
    pub fn about(self, name: impl ToString) -> Self {
        Self { installation: Some(name.to_string()), ..self }
    }

    /// The same, done by somebody.
    pub fn by(self, who: impl ToString) -> Self {
        Self { by: Some(who.to_string()), ..self }
    }
}

/// One record, as its line says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Record {
    /// Its number; each is one more than the one before.
    pub n: u64,
    /// When, in UTC: of what a commit changed, the time of the commit.
    pub time: String,
    /// What it is about.
    pub kind: Kind,
    /// The generation that was current, or became it.
    pub generation: u64,
    /// The installation, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<String>,
    /// Who, where a person did it: name and number of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What, in words.
    pub what: String,
    /// The artifact that was accepted, and on whose word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// How often, where it stands for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// SHA-256 of the line before, without its line end; zeros in the first record.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub previous: Digest,
}

impl Record {
    fn of(entry: &Entry, generation: u64, n: u64, previous: Digest) -> Self {
        let mut what = entry.what.clone();
        what.truncate(what.floor_char_boundary(MAX_WHAT_BYTES));
        Self {
            n,
            time: rfc3339(i64::try_from(entry.unix_s).unwrap_or(i64::MAX)),
            kind: entry.kind,
            generation,
            installation: entry.installation.clone(),
            by: entry.by.clone(),
            what,
            accepted: entry.accepted.clone(),
            count: entry.count,
            previous,
        }
    }
}
