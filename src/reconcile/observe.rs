//! What is committed and what the actors report, as the planner takes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::generation::Generation;
use crate::name::InstallationName;
use crate::observed::{Installed, Observed, Phase};
use crate::record::Record;

/// A record with its target digest, so that the digest is computed once.
#[derive(Debug, Clone)]
pub struct Targeted {
    /// The record.
    pub record: Arc<Record>,
    /// [`Record::target_digest`].
    pub target: Digest,
}

/// The current generation with its records.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The generation.
    pub generation: Generation,
    /// Its digest; none before the first one.
    pub digest: Option<Digest>,
    /// The record of every entry.
    pub records: BTreeMap<InstallationName, Targeted>,
}

impl Committed {
    /// As the planner takes it, with what every actor does.
    pub fn observe(&self, phase: impl Fn(&InstallationName) -> Phase) -> Observed {
        let installed = self.records.iter().filter_map(|(name, targeted)| {
            let slot = self.generation.entries.get(name)?;
            let installed = Installed {
                record: targeted.record.clone(),
                target: targeted.target,
                storage_id: slot.storage_id,
                phase: phase(name),
            };
            Some((name.clone(), installed))
        });
        Observed {
            generation: self.generation.number,
            generation_digest: self.digest,
            installed: installed.collect(),
            held: self.generation.holds.clone(),
        }
    }

    /// Which installation each desired file last defined: what a file that went bad holds.
    pub fn last_good(&self) -> BTreeMap<String, InstallationName> {
        self.records.iter().map(|(name, targeted)| (targeted.record.origin.file.clone(), name.clone())).collect()
    }
}
