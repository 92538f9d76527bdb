//! What is committed and what the actors report, as the planner takes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::export::Export;
use crate::floors::Floors;
use crate::generation::{Generation, Slot};
use crate::name::InstallationName;
use crate::observed::room::Room;
use crate::observed::{Installed, Observed, Phase};
use crate::paused::Paused;
use crate::record::Record;
use crate::state::Snapshot;

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
    /// Its digest; none before any host used the home.
    pub digest: Option<Digest>,
    /// The number that the next generation gets.
    pub next_number: u64,
    /// What an operator paused.
    pub paused: Paused,
    /// The sequences accepted so far.
    pub floors: Floors,
    /// The record of every entry that has an intact one.
    pub records: BTreeMap<InstallationName, Targeted>,
}

impl From<Snapshot> for Committed {
    fn from(snapshot: Snapshot) -> Self {
        let records = snapshot.records.into_iter().map(|(name, record)| {
            let target = record.target_digest();
            (name, Targeted { record, target })
        });
        Self {
            records: records.collect(),
            generation: snapshot.generation,
            digest: snapshot.digest,
            next_number: snapshot.next_number,
            floors: snapshot.floors,
            paused: snapshot.paused,
        }
    }
}

impl From<&Export> for Committed {
    fn from(export: &Export) -> Self {
        let records = export.installations.iter().map(|(name, installed)| {
            let target = installed.record.target_digest();
            (name.clone(), Targeted { record: Arc::new(installed.record.clone()), target })
        });
        let slots = export.installations.iter().map(|(name, installed)| {
            let record = Digest::of(&installed.record.encode());
            (name.clone(), Slot { record, storage_id: installed.storage_id })
        });
        let generation = Generation {
            number: export.generation,
            entries: slots.collect(),
            holds: export.held.clone(),
            applied_commit: export.applied_commit.clone(),
            ..Generation::birth(0, Digest::from_bytes([0; 32]))
        };
        Self {
            generation,
            digest: export.generation_digest,
            next_number: export.generation.saturating_add(1),
            paused: export.paused.clone(),
            floors: export.floors(),
            records: records.collect(),
        }
    }
}

impl Committed {
    /// A copy of the generation to make changes in, which follows it.
    pub fn successor(&self, now_unix_s: u64) -> Generation {
        let digest = self.digest.unwrap_or(Digest::from_bytes([0; 32]));
        self.generation.successor(digest, self.next_number, now_unix_s)
    }

    /// As the planner takes it, with what every actor does.
    pub fn observe(&self, phase: impl Fn(&InstallationName) -> Phase) -> Observed {
        // Both are in the order of names, so none is looked up.
        let mut slots = self.generation.entries.iter().peekable();
        let installed = self.records.iter().filter_map(|(name, targeted)| {
            while slots.next_if(|(before, _)| *before < name).is_some() {}
            let (_, slot) = slots.next_if(|(same, _)| *same == name)?;
            let installed = Installed {
                record: targeted.record.clone(),
                target: targeted.target,
                storage_id: slot.storage_id,
                phase: phase(name),
            };
            Some((name.clone(), installed))
        });
        self.observed(installed.collect())
    }

    /// The same where an earlier look is at hand: of the same generation, only what actors do can differ.
    pub fn observe_after(&self, earlier: Observed, phase: impl Fn(&InstallationName) -> Phase) -> Observed {
        if earlier.generation != self.generation.number || earlier.generation_digest != self.digest {
            return self.observe(phase);
        }
        let mut installed = earlier.installed;
        installed.iter_mut().for_each(|(name, installed)| installed.phase = phase(name));
        self.observed(installed)
    }

    fn observed(&self, installed: BTreeMap<InstallationName, Installed>) -> Observed {
        Observed {
            generation: self.generation.number,
            // The first one is empty whoever made it and when: a plan before it and one after it are the same.
            generation_digest: self.digest.filter(|_| self.generation.number > 0),
            installed,
            held: self.generation.holds.clone(),
            paused: self.paused.clone(),
            room: Room::default(),
        }
    }

    /// The records alone.
    pub fn installed(&self) -> BTreeMap<InstallationName, Arc<Record>> {
        self.records.iter().map(|(name, targeted)| (name.clone(), targeted.record.clone())).collect()
    }

    /// Which installation each desired file last defined: what a file that went bad holds.
    pub fn last_good(&self) -> BTreeMap<String, InstallationName> {
        self.records.iter().map(|(name, targeted)| (targeted.record.origin.file.clone(), name.clone())).collect()
    }
}
