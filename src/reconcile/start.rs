//! Starts what is committed, before the desired directory is looked at.
//!
//! What was running when a host died runs again, whatever has become of sources and files. Trust is
//! asked anew: what the policy no longer admits does not start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::actor::Switch;
use crate::audit::{Entry, Kind};
use crate::floors::Floors;
use crate::name::InstallationName;
use crate::observed::quarantine;
use crate::plan::action::{Action, Effect, Location};
use crate::plan::{Plan, drift};
use crate::record::Record;
use crate::resolution::Refusal;
use crate::trust::{self, TrustPolicy, VerifiedArtifact};

use super::apply::Applied;
use super::notice::Notice;
use super::prepare::{NO_CODE, Preparer, Start, parallelism};
use super::reconciler::{Reconciler, unix_now_s};
use super::secrets::Expect;

impl Reconciler {
    /// Starts every enabled installation of the current generation whose code is there; gives how many run. What has no
    /// code yet, and what depends on that, keeps nobody else waiting: the passes start it.
    ///
    /// Those whose start a dead host left unfinished come last and one at a time, so that a component
    /// that takes the host down with it is found out, and the others are up before it is tried.
    pub fn start_committed(&mut self) -> usize {
        let suspects = std::mem::take(&mut self.suspects);
        self.record_quarantine();
        let mut starts = BTreeMap::new();
        let mut tally = self.room.at(self.now(), &self.parts.engine).tally();
        for (name, targeted) in self.committed.records.iter().filter(|(_, t)| t.record.spec.enabled) {
            if self.quarantined.holds(name, &targeted.target) {
                continue;
            }
            let fits = |artifact| tally.start(&targeted.record, None).map(|()| artifact);
            match self.admit(&targeted.record).and_then(fits) {
                Ok(artifact) => {
                    let storage_id = self.committed.generation.entries.get(name).map(|slot| slot.storage_id);
                    starts.insert(
                        name.clone(),
                        Start { record: targeted.record.clone(), target: targeted.target, artifact, storage_id },
                    );
                }
                Err(why) => self.tell_failed_start(name, why),
            }
        }
        let last: Vec<_> = starts.extract_if(.., |name, _| suspects.contains_key(name)).collect();
        let mut late = BTreeSet::new();
        let tried: Vec<InstallationName> = starts.keys().chain(last.iter().map(|(name, _)| name)).cloned().collect();
        let mut running = self.start(&starts, parallelism(), &mut late);
        for (name, start) in last {
            running += self.start(&BTreeMap::from([(name, start)]), 1, &mut late);
        }
        if !late.is_empty() {
            let text = format!("{} of the committed components start when their code is compiled", late.len());
            (self.parts.tell)(&Notice::Info { text });
        }
        tried.iter().filter(|name| !late.contains(*name)).for_each(|name| self.forgive(name));
        self.late = late;
        // What was suspected and does not start now, because it is switched off or refused, is none any more.
        self.no_longer_starting(suspects.keys().cloned().collect());
        // What is not committed yet is tried by a pass, and is in hand alone then.
        self.suspects = suspects;
        self.suspects.retain(|name, _| !self.committed.records.contains_key(name));
        self.recorder.write(&self.parts.store, &self.parts.tell);
        self.end_mail_left_behind();
        self.resume_probations();
        self.room.forget();
        running
    }

    fn start(
        &self,
        starts: &BTreeMap<InstallationName, Start>,
        parallel: usize,
        late: &mut BTreeSet<InstallationName>,
    ) -> usize {
        let mut switches = Vec::new();
        let mut names = Vec::new();
        let mut failed = BTreeMap::new();
        let preparer = self.preparer(Expect::AsItIs, &self.parts.compile_limits);
        for (name, result) in (Preparer { makes_code: false, ..preparer }).all(starts, parallel) {
            match result {
                Ok(standby) => {
                    switches.push(Switch::Activate { standby, moved_from: None });
                    names.push(name);
                }
                Err(why) if why.code == NO_CODE => drop(late.insert(name)),
                Err(why) => drop(failed.insert(name, why)),
            }
        }
        // What depends on them is late, too, and so on.
        let needs_late = |name: &InstallationName, late: &BTreeSet<_>| {
            starts[name].record.spec.depends_on.iter().any(|need| late.contains(need))
        };
        while let Some(name) = failed.keys().find(|name| needs_late(name, late)).cloned() {
            failed.remove(&name);
            late.insert(name);
        }
        failed.into_iter().for_each(|(name, why)| self.tell_failed_start(&name, why));
        self.parts.actors.switch(switches);
        let running = names.len();
        self.no_longer_starting(names);
        running
    }

    /// What was late when the host started and is left, as actions, where the plan has nothing else for them.
    pub(super) fn late_starts(&mut self, plan: &Plan) -> Vec<Action> {
        let (actors, records) = (&self.parts.actors, &self.committed.records);
        let is_left = |name: &InstallationName| {
            records.get(name).is_some_and(|targeted| targeted.record.spec.enabled) && actors.phase(name).is_none()
        };
        self.late.retain(is_left);
        if self.late.is_empty() {
            return Vec::new();
        }
        let moved = |action: &Action| match &action.effect {
            Some(Effect::Commit(commit)) => commit.moved_from.clone(),
            _ => None,
        };
        let touched: BTreeSet<_> =
            plan.effects().flat_map(|action| [Some(action.name.clone()), moved(action)]).flatten().collect();
        let observed = self.observe();
        let left = self.late.difference(&touched).filter_map(|name| observed.installed.get(name));
        left.map(|have| drift::restart(have, Location::file(&have.record.origin.file))).collect()
    }

    /// What was tried in a pass is late no more, unless it still has no code. What failed is the plan's from now on.
    pub(super) fn late_tried(&mut self, tried: &[Action], applied: &Applied) {
        let now = self.now();
        for action in tried.iter().filter(|action| !applied.put_off.contains(&action.name)) {
            if self.late.remove(&action.name) {
                self.aftermath.watch_from(&action.name, now);
            }
        }
    }

    /// Records and tells what is not started any more.
    fn record_quarantine(&self) {
        for (name, target) in self.quarantined.iter() {
            let what = format!("target {}: {}", target.short(), quarantine::why());
            self.recorder.note(|now| Entry::new(now, Kind::Quarantined, what).about(name));
        }
    }

    fn tell_failed_start(&self, name: &InstallationName, why: Refusal) {
        let what = format!("start: {} [{}]", why.message, why.code);
        self.recorder.note(|now| Entry::new(now, Kind::Failed, what).about(name));
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
