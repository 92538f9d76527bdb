//! Starts what is committed, before the desired directory is looked at.
//!
//! What was running when a host died runs again, whatever has become of sources and files. Trust is
//! asked anew: what the policy no longer admits does not start.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::actor::Switch;
use crate::floors::Floors;
use crate::name::InstallationName;
use crate::record::Record;
use crate::resolution::Refusal;
use crate::trust::{self, TrustPolicy, VerifiedArtifact};

use super::notice::Notice;
use super::pass::{Reconciler, unix_now_s};
use super::prepare::{Start, parallelism};
use super::secrets::Expect;

impl Reconciler {
    /// Starts every enabled installation of the current generation; gives how many run.
    ///
    /// Those whose start a dead host left unfinished come last and one at a time, so that a component
    /// that takes the host down with it is found out, and the others are up before it is tried.
    pub fn start_committed(&mut self) -> usize {
        let suspects = std::mem::take(&mut self.suspects);
        let mut starts = BTreeMap::new();
        let mut tally = self.room.at(self.now(), &self.parts.engine).tally();
        for (name, targeted) in self.committed.records.iter().filter(|(_, t)| t.record.spec.enabled) {
            let fits = |artifact| tally.start(&targeted.record, None).map(|()| artifact);
            match self.admit(&targeted.record).and_then(fits) {
                Ok(artifact) => {
                    let storage_id = self.committed.generation.entries.get(name).map(|slot| slot.storage_id);
                    starts.insert(name.clone(), Start { record: targeted.record.clone(), artifact, storage_id });
                }
                Err(why) => self.tell_failed_start(name, why),
            }
        }
        let last: Vec<_> = starts.extract_if(.., |name, _| suspects.contains_key(name)).collect();
        let mut running = self.start(&starts, parallelism());
        for (name, start) in last {
            running += self.start(&BTreeMap::from([(name, start)]), 1);
        }
        // What was suspected and does not start now, because it is switched off or refused, is none any more.
        self.no_longer_starting(suspects.into_keys().collect());
        self.end_mail_left_behind();
        self.resume_probations();
        self.room.forget();
        running
    }

    fn start(&self, starts: &BTreeMap<InstallationName, Start>, parallel: usize) -> usize {
        let mut switches = Vec::new();
        let mut names = Vec::new();
        for (name, result) in self.preparer(Expect::AsItIs, &self.parts.compile_limits).all(starts, parallel) {
            match result {
                Ok(standby) => {
                    switches.push(Switch::Activate { standby, moved_from: None });
                    names.push(name);
                }
                Err(why) => self.tell_failed_start(&name, why),
            }
        }
        self.parts.actors.switch(switches);
        let running = names.len();
        self.no_longer_starting(names);
        running
    }

    fn tell_failed_start(&self, name: &InstallationName, why: Refusal) {
        (self.parts.tell)(&Notice::Failed { verb: "start", name: name.clone(), why });
    }

    /// The proof that a record's artifact may run, by the policy in force.
    pub(super) fn admit(&self, record: &Arc<Record>) -> Result<Arc<VerifiedArtifact>, Refusal> {
        admit(&self.policy, &self.committed.floors, record).map(Arc::new)
    }
}

/// The proof that a record's artifact may run: the policy of this moment judges what the record says.
///
/// Every record was made from an artifact that was verified; whether that still counts is asked anew
/// each time something is about to run, be it new, restarted or gone back to.
pub(super) fn admit(policy: &TrustPolicy, floors: &Floors, record: &Record) -> Result<VerifiedArtifact, Refusal> {
    let artifact = &record.artifact;
    let floor = floors.of(&artifact.package).floor;
    if artifact.sequence < floor {
        let message =
            format!("sequence {} of {} is revoked: {floor} is the lowest", artifact.sequence, artifact.package);
        return Err(Refusal::new("below-floor", message).hint("use a newer release"));
    }
    trust::readmit(policy, record, unix_now_s())
}
