//! Decides why an installation is what it is: the generation that made it so, and the lines that say so.

use serde::Serialize;

use super::Side;
use crate::digest::Digest;
use crate::name::{InstallationName, PackageName};
use crate::permission::Entry;
use crate::plan::action::Location;
use crate::plan::change::source_text;
use crate::plan::notes::{self, ActionNote};
use crate::record::Record;
use crate::timestamp;

/// `$type` of [`Why`].
pub const WHY_TYPE: &str = "airssys-wasm/why/v1";

/// Why an installation is what it is.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Why {
    #[serde(rename = "$type")]
    document: &'static str,
    /// The installation.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub name: InstallationName,
    /// The signed name.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub package: PackageName,
    /// The signed version.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub version: semver::Version,
    /// The signed sequence.
    pub sequence: u64,
    /// The generation that made it what it is.
    pub generation: Option<u64>,
    /// Whether it may have been an earlier one, which is not kept any more.
    pub or_earlier: bool,
    /// When that generation was committed, in UTC.
    pub written: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// The reason's code.
    pub reason: Option<String>,
    /// Who ordered it, where an operator did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The approvals that it took.
    pub approvals: Vec<String>,
    /// The file and line that say so.
    pub location: String,
    /// The commit that the files were read from, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Where the artifact came from.
    pub source: String,
    /// Digest of the wasm.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub wasm: Digest,
    /// [`Record::target_digest`].
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub target: Digest,
    /// The trust rule.
    pub publisher: String,
    /// Whose signatures counted.
    pub signers: Vec<String>,
    /// What it may do, and which line granted it.
    pub permissions: Vec<Granted>,
    /// Why something else that is wanted is not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// One permission and the line that granted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Granted {
    /// The permission.
    pub permission: String,
    /// The entry of the grant that gives it; another one when that is a pattern.
    pub entry: Option<String>,
    /// File and line of that entry.
    pub granted_by: String,
}

/// Tells why `name` is what `record` says. `sides` are the kept generations, oldest first; the last one is
/// the current one and holds `name`.
pub fn why(name: &InstallationName, record: &Record, sides: &[Side]) -> Why {
    let slot = |side: &Side| side.entries.get(name).map(|slot| slot.record);
    let now = sides.last().and_then(slot);
    let since = sides.iter().rposition(|side| slot(side) != now).map_or(0, |before| before + 1);
    let made = sides.get(since);
    let or_earlier = since == 0 && made.is_some_and(|side| side.parent.is_some());
    let notes = made.filter(|_| !or_earlier).map(|side| side.notes.as_slice()).unwrap_or_default();
    let of_kind = |kind: &'static str| notes.iter().filter(move |note| note.kind == kind).map(|note| note.text.clone());
    let action = notes.iter().filter_map(ActionNote::read).find(|note| note.name == name.as_str());
    let needle = format!(" for {name} action ");
    let artifact = &record.artifact;
    Why {
        document: WHY_TYPE,
        name: name.clone(),
        package: artifact.package.clone(),
        version: artifact.version.clone(),
        sequence: artifact.sequence,
        generation: made.map(|side| side.number),
        or_earlier,
        written: made.map(|side| timestamp::rfc3339(i64::try_from(side.written_unix_s).unwrap_or(i64::MAX))),
        action: action.map(|action| action.kind.to_owned()),
        reason: action.map(|action| action.reason.to_owned()),
        order: of_kind(notes::ORDER).next(),
        approvals: of_kind(notes::APPROVAL).filter(|text| text.contains(&needle)).collect(),
        location: action.map_or_else(
            || Location::of(&record.origin, &["package"]).to_string(),
            |action| action.location.to_owned(),
        ),
        commit: of_kind(notes::COMMIT).next(),
        source: source_text(&record.spec.source),
        wasm: artifact.wasm,
        target: record.target_digest(),
        publisher: artifact.publisher.clone(),
        signers: artifact.signers.iter().map(ToString::to_string).collect(),
        permissions: record.effective.entries().map(|entry| granted(record, entry)).collect(),
        held: sides.last().and_then(|side| side.holds.get(name)).map(|held| held.reason.clone()),
    }
}

/// The entry of the grant that gives a permission, and its line.
fn granted(record: &Record, permission: &Entry) -> Granted {
    let grant = &record.spec.grant.permissions;
    let equal = grant.entries().find(|entry| *entry == permission);
    let entry = equal.or_else(|| grant.entries().find(|entry| entry.covers(permission)));
    let kind = permission.kind();
    let line = entry.map(|entry| format!("grant.{} \"{}\"", entry.kind(), entry.pattern()));
    let table = format!("grant.{kind}");
    let keys: Vec<&str> = line.as_deref().into_iter().chain([table.as_str(), "grant"]).collect();
    Granted {
        permission: permission.to_string(),
        entry: entry.map(ToString::to_string),
        granted_by: Location::of(&record.origin, &keys).to_string(),
    }
}
