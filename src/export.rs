//! Owns the exported state: what one home has committed and running, for plans that are made elsewhere.
//!
//! It holds no value of a secret: a record names the place of each, and a keyed fingerprint. Whoever reads one takes it
//! for untrusted: it decides what a plan shows, and nothing that is carried out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::floors::{Floors, MAX_FLOOR_PACKAGES};
use crate::generation::MAX_ENTRIES;
use crate::name::{InstallationName, PackageName};
use crate::observed::{HeldTarget, Observed, Phase};
use crate::paused::Paused;
use crate::record::Record;
use crate::sealed::json::{self, JsonFile, JsonFileError};
use crate::snapshot::AppliedCommit;

/// `$type` of an exported state.
pub const EXPORT_TYPE: &str = "airssys-wasm/export/v1";
/// Largest exported state, in bytes: room for some ten thousand installations.
pub const MAX_EXPORT_BYTES: usize = 64 << 20;

/// What is committed and running in one home.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// `airssys-wasm/export/v1`.
    #[serde(rename = "$type")]
    document: String,
    /// The number of the committed generation; 0 before the first one.
    pub generation: u64,
    /// Its digest; none before the first one.
    #[cfg_attr(feature = "runtime", schemars(with = "Option<String>"))]
    pub generation_digest: Option<Digest>,
    /// What it holds.
    #[cfg_attr(feature = "runtime", schemars(with = "BTreeMap<String, Exported>"))]
    pub installations: BTreeMap<InstallationName, Exported>,
    /// Targets that are not tried again on their own.
    #[cfg_attr(feature = "runtime", schemars(with = "BTreeMap<String, serde_json::Value>"))]
    pub held: BTreeMap<InstallationName, HeldTarget>,
    /// What an operator paused.
    pub paused: Paused,
    /// The sequences accepted so far.
    #[cfg_attr(feature = "runtime", schemars(with = "BTreeMap<String, AcceptedSequences>"))]
    pub accepted: BTreeMap<PackageName, AcceptedSequences>,
    /// The commit whose desired files were applied last; none when they never were of a repository.
    #[cfg_attr(feature = "runtime", schemars(with = "Option<serde_json::Value>"))]
    pub applied_commit: Option<AppliedCommit>,
    /// Checksum of all bytes before this field.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    digest: Digest,
}

/// One installation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// What is committed for it, in the form in which the state keeps it.
    #[cfg_attr(feature = "runtime", schemars(with = "serde_json::Map<String, serde_json::Value>"))]
    pub record: Record,
    /// Which storage is its own.
    pub storage_id: u64,
    /// What it was doing: running, starting, backoff, failed, stopped or not-running.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub phase: Phase,
}

/// The numbers of one package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AcceptedSequences {
    /// The highest one accepted.
    pub high: u64,
    /// Nothing below this is accepted.
    pub floor: u64,
}

impl JsonFile for Export {
    const TYPE: &'static str = EXPORT_TYPE;
    const WHAT: &'static str = "an exported state";
    const MAX_BYTES: usize = MAX_EXPORT_BYTES;
}

impl Export {
    /// The state as it was observed.
    pub fn of(observed: &Observed, floors: &Floors, applied_commit: Option<AppliedCommit>) -> Self {
        let installed = observed.installed.iter().map(|(name, installed)| {
            let record = Record::clone(&installed.record);
            (name.clone(), Exported { record, storage_id: installed.storage_id, phase: installed.phase })
        });
        let accepted = floors.iter().map(|(package, numbers)| {
            (package.clone(), AcceptedSequences { high: numbers.high, floor: numbers.floor })
        });
        Self {
            document: EXPORT_TYPE.to_owned(),
            generation: observed.generation,
            generation_digest: observed.generation_digest,
            installations: installed.collect(),
            held: observed.held.clone(),
            paused: observed.paused.clone(),
            accepted: accepted.collect(),
            applied_commit,
            digest: Digest::from_bytes([0; 32]),
        }
    }

    /// The file. `None` when it would be larger than [`MAX_EXPORT_BYTES`].
    pub fn write(&self) -> Option<String> {
        json::write(self)
    }

    /// Reads a file.
    pub fn read(bytes: &[u8]) -> Result<Self, JsonFileError> {
        let export: Self = json::read(bytes)?;
        match export.fault() {
            None => Ok(export),
            Some(why) => Err(JsonFileError::Invalid { what: Self::WHAT, why }),
        }
    }

    /// What makes it a state that can't be.
    fn fault(&self) -> Option<String> {
        if self.installations.len() > MAX_ENTRIES || self.accepted.len() > MAX_FLOOR_PACKAGES {
            return Some(format!("it names more than {MAX_ENTRIES} installations or {MAX_FLOOR_PACKAGES} packages"));
        }
        if self.generation == 0 && !self.installations.is_empty() {
            return Some("there is something installed before the first generation".to_owned());
        }
        let misnamed = self.installations.iter().find(|(name, installed)| installed.record.spec.name != **name);
        if let Some((name, _)) = misnamed {
            return Some(format!("the record of {name} is that of another installation"));
        }
        let stray = self.held.keys().find(|name| !self.installations.contains_key(*name));
        stray.map(|name| format!("{name} is held and not installed"))
    }

    /// What an installation was doing.
    pub fn phase(&self, name: &InstallationName) -> Phase {
        self.installations.get(name).map_or(Phase::NotRunning, |installed| installed.phase)
    }

    /// The sequences accepted so far.
    pub fn floors(&self) -> Floors {
        let mut floors = Floors::default();
        for (package, AcceptedSequences { high, floor }) in &self.accepted {
            floors.accept(package, *high);
            floors.raise_floor(package, *floor);
        }
        floors
    }
}
