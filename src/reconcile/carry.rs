//! The acting half of a pass: standbys, one commit, the switch, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::actor::{Standby, Switch};
use crate::digest::Digest;
use crate::floors::Floors;
use crate::generation::Generation;
use crate::name::{InstallationName, PackageName};
use crate::plan::action::{Action, Effect, Kind, Storage};
use crate::plan::notes;
use crate::plan::ties::{self, Installed, Tie};
use crate::quantity::Millis;
use crate::trust::Revoked;

use super::apply::{self, Applied, FailedAction, Holds};
use super::notice::Notice;
use super::observe::Targeted;
use super::prepare::{Start, parallelism};
use super::purge::removes_storage;
use super::reconciler::{Reconciler, unix_now_s};
use super::secrets::Expect;
use super::turns::{self, Chosen};

impl Reconciler {
    /// Prepares, commits and switches. `Err` means that nothing was committed and everything runs as before.
    ///
    /// Code that takes longer to compile than a pass waits is made beside it; what needs it is put off.
    pub(super) fn carry_out(&mut self, actions: &[Action], holds: Holds, begun: Instant) -> anyhow::Result<Applied> {
        let applied = self.carry_out_now(actions, holds, begun)?;
        self.compile_beside(actions, &applied.put_off);
        Ok(applied)
    }

    /// Begins to make the first code that something was put off for, unless other code is being made.
    fn compile_beside(&mut self, actions: &[Action], put_off: &BTreeSet<InstallationName>) {
        if self.beside.is_busy() || self.parts.stopping.load(Ordering::Relaxed) {
            return;
        }
        for action in actions.iter().filter(|action| put_off.contains(&action.name)) {
            let Some(record) = apply::fresh_record(action) else { continue };
            if !self.turns.is_slow(&record.artifact.wasm, &self.beside) {
                continue;
            }
            // What may not run any more is refused by the next pass.
            let Ok(artifact) = self.admit(record) else { continue };
            let limits = &self.parts.compile_limits;
            let text = match self.beside.begin(&self.code, &action.name, artifact, limits) {
                Ok(()) => format!(
                    "{}: its code takes more than {} to compile; that goes on beside everything else, for at most {}",
                    action.name,
                    shown(limits.first_turn),
                    shown(limits.time),
                ),
                Err(error) => format!("{}: its code can't be compiled beside everything else: {error}", action.name),
            };
            (self.parts.tell)(&Notice::Info { text });
            return;
        }
    }

    fn carry_out_now(&mut self, actions: &[Action], holds: Holds, begun: Instant) -> anyhow::Result<Applied> {
        let floors_rise =
            self.lowest_of_policy().any(|(package, lowest)| lowest > self.committed.floors.of(package).floor);
        let commit_moves =
            holds.applied_commit.is_some() && holds.applied_commit != self.committed.generation.applied_commit;
        if actions.is_empty() && holds.add.is_empty() && holds.drop.is_empty() && !commit_moves && !floors_rise {
            return Ok(Applied::default());
        }
        let before = self.committed.installed();
        let Chosen { mut actions, is_shared, mut put_off } =
            self.turns.choose(actions, &before, self.parts.runs, &self.beside);
        if holds.is_whole && !put_off.is_empty() {
            return Ok(Applied { put_off, ..Applied::default() });
        }
        let (mut standbys, mut failed) = self.prepare(&actions, is_shared);
        // The host outlived it.
        for action in actions.iter().filter(|action| apply::fresh_record(action).is_some()) {
            self.suspects.remove(&action.name);
            self.forgive(&action.name);
        }
        let configs = self.new_configs(&actions, &mut failed);
        if self.parts.stopping.load(Ordering::Relaxed) {
            // Given up half-way: what failed because of that must not be held against it.
            let tried = standbys.keys().cloned().collect();
            drop(standbys);
            self.no_longer_starting(tried);
            return Ok(Applied::default());
        }
        if is_shared {
            put_off.extend(self.turns.put_off(&actions, &before, &mut failed, &mut self.beside));
            actions.retain(|action| !put_off.contains(&action.name));
        }
        if holds.is_whole && !put_off.is_empty() {
            let tried = standbys.keys().cloned().collect();
            drop(standbys);
            self.no_longer_starting(tried);
            return Ok(Applied { put_off, ..Applied::default() });
        }
        let holds = holds.without(&put_off);
        self.leave_what_cannot_go(&actions, &before, &mut failed);
        if holds.is_whole && !failed.is_empty() {
            let tried = standbys.keys().cloned().collect();
            drop(standbys);
            self.no_longer_starting(tried);
            return Ok(Applied { failed, ..Applied::default() });
        }
        let mut ready = without(&actions, &failed);
        ready.iter().filter_map(|action| turns::wasm_of(action)).for_each(|wasm| self.turns.has_code(&wasm));
        let own = failed.iter().filter(|failed| !Tie::is_why(&failed.why));
        own.filter_map(|failed| turns::wasm_of(&failed.action)).for_each(|wasm| self.beside.forget(&wasm));
        for FailedAction { action, .. } in failed.iter().filter(|failed| failed.why.code == "object-missing") {
            self.resolver.forget(&action.name);
        }
        let committed = self.commit(&ready, &failed, holds);
        if committed.is_err() {
            // An object may be gone or damaged: the next pass looks at every source again.
            ready.iter().for_each(|action| self.resolver.forget(&action.name));
        }
        let tried: Vec<_> = standbys.keys().cloned().collect();
        if committed.is_err() || !self.parts.runs {
            drop(standbys);
            self.no_longer_starting(tried);
            committed?;
            return Ok(Applied { put_off, ..self.report(&ready, failed, begun) });
        }
        standbys.retain(|name, _| ready.iter().any(|action| &action.name == name));
        for (name, standby) in &standbys {
            if let Some(slot) = self.committed.generation.entries.get(name) {
                standby.owns_storage(slot.storage_id);
            }
        }
        self.parts.actors.switch(apply::switches(&ready, standbys));
        self.stop_what_is_not_committed();
        if ready.iter().any(|action| leaves_storage(action)) {
            self.end_mail_left_behind();
        }
        self.no_longer_starting(tried);
        let refused = self.tell_configs(&ready, configs);
        ready.retain(|action| !refused.iter().any(|failed| failed.action.name == action.name));
        self.watch_new_versions(&ready, &before);
        self.take_back(&refused, &before, begun)?;
        failed.extend(refused);
        let mut in_use = apply::wasm_in_use(self.committed.records.values().map(|targeted| &targeted.record));
        in_use.extend(self.beside.made());
        self.code.keep_only(&in_use);
        Ok(Applied { put_off, ..self.report(&ready, failed, begun) })
    }

    /// Adds to what failed: what removes a storage that can't be removed, and what can't be carried out without something
    /// that failed.
    fn leave_what_cannot_go(&mut self, actions: &[Action], before: &Installed, failed: &mut Vec<FailedAction>) {
        leave_tied(actions, before, failed);
        let kept = without(actions, failed);
        if let Err(why) = self.note_purges(&kept) {
            let refused = kept.into_iter().filter(|action| removes_storage(action));
            failed.extend(refused.map(|action| FailedAction { action: action.clone(), why: why.clone() }));
            leave_tied(actions, before, failed);
        }
    }

    fn prepare(&self, actions: &[Action], is_shared: bool) -> (BTreeMap<InstallationName, Standby>, Vec<FailedAction>) {
        let mut starts = BTreeMap::new();
        let mut failed = Vec::new();
        for action in actions {
            let Some(record) = apply::fresh_record(action).filter(|record| record.spec.enabled) else { continue };
            match self.admit(record) {
                Ok(artifact) => {
                    let start = Start {
                        record: record.clone(),
                        target: record.target_digest(),
                        artifact,
                        storage_id: self.storage_of(action),
                    };
                    starts.insert(action.name.clone(), start);
                }
                Err(why) => failed.push(FailedAction { action: action.clone(), why }),
            }
        }
        let mut standbys = BTreeMap::new();
        let limits = &self.parts.compile_limits;
        let limits = if is_shared { &turns::first_turn(limits) } else { limits };
        let preparer = self.preparer(Expect::AsRecorded, limits);
        // Whoever was starting when the last host died comes last and alone, so that only the guilty one is counted.
        let last: Vec<_> = starts.extract_if(.., |name, _| self.suspects.contains_key(name)).collect();
        let mut prepared = preparer.all(&starts, parallelism());
        for (name, start) in last {
            prepared.extend(preparer.all(&BTreeMap::from([(name, start)]), 1));
        }
        for (name, result) in prepared {
            match (result, actions.iter().find(|action| action.name == name)) {
                (Ok(standby), _) => drop(standbys.insert(name, standby)),
                (Err(why), Some(action)) => failed.push(FailedAction { action: action.clone(), why }),
                (Err(_), None) => {}
            }
        }
        (standbys, failed)
    }

    /// The storage that an action keeps; none when the commit gives out a new one.
    fn storage_of(&self, action: &Action) -> Option<u64> {
        match &action.effect {
            Some(Effect::Commit(commit)) => match commit.storage {
                Storage::Keep(id) => Some(id),
                Storage::New => None,
            },
            _ => self.committed.generation.entries.get(&action.name).map(|slot| slot.storage_id),
        }
    }

    /// The floors in force, raised by what the policy revokes: that stays forbidden when its line is gone.
    fn floors_of_policy(&self) -> Floors {
        let mut floors = self.committed.floors.clone();
        self.lowest_of_policy().for_each(|(package, lowest)| floors.raise_floor(package, lowest));
        floors
    }

    fn lowest_of_policy(&self) -> impl Iterator<Item = (&PackageName, u64)> {
        self.policy.revocations().filter_map(|revocation| match &revocation.what {
            Revoked::SequenceBelow(package, lowest) => Some((package, *lowest)),
            _ => None,
        })
    }

    /// Writes the records and the generation. Only now does anything that is on disk change.
    fn commit(&mut self, ready: &[&Action], failed: &[FailedAction], holds: Holds) -> anyhow::Result<()> {
        let mut records: BTreeMap<InstallationName, Digest> = BTreeMap::new();
        let mut targeted: BTreeMap<InstallationName, Targeted> = BTreeMap::new();
        for action in ready {
            let Some(Effect::Commit(commit)) = &action.effect else { continue };
            let stored = self.parts.store.objects().put_object(&commit.record.encode())?;
            records.insert(action.name.clone(), stored.digest);
            let record = Targeted { record: commit.record.clone(), target: commit.target };
            targeted.insert(action.name.clone(), record);
        }
        let current = &self.committed.generation;
        let now_unix_s = unix_now_s().unsigned_abs();
        let next = self.committed.successor(now_unix_s);
        let notes = notes::of_commit(ready, holds.order.as_ref(), &holds.approved, now_unix_s);
        let next = Generation { notes, ..apply::next_generation(next, ready, &records, failed, holds) };
        let mut floors = self.floors_of_policy();
        for targeted in targeted.values() {
            floors.accept(&targeted.record.artifact.package, targeted.record.artifact.sequence);
        }
        if next.entries == current.entries
            && next.holds == current.holds
            && next.applied_commit == current.applied_commit
            && floors == self.committed.floors
        {
            return Ok(());
        }
        let done = self.parts.store.commit(next, floors).wait()?;
        if let Some(error) = &done.not_recorded {
            self.recorder.tell_not_written(error, &self.parts.tell);
        }
        let gone: Vec<InstallationName> = ready.iter().filter(|a| ends_target(a)).map(|a| a.name.clone()).collect();
        for name in &gone {
            self.lift_quarantine(name);
        }
        self.committed.generation = done.current.generation.clone();
        self.committed.digest = Some(done.current.digest);
        self.committed.next_number = done.next_number;
        self.committed.floors = done.floors;
        self.committed.records.extend(targeted);
        let entries = &self.committed.generation.entries;
        self.committed.records.retain(|name, _| entries.contains_key(name));
        Ok(())
    }

    /// Messages in the store for what is not installed any more become dead letters. A kill before that is made up for at
    /// the next start.
    pub(super) fn end_mail_left_behind(&self) {
        let live = self.committed.generation.entries.values().map(|slot| slot.storage_id).collect();
        if let Err(error) = self.parts.actors.end_mail_left_behind(&live) {
            let text = format!("messages for removed components stay in the store for now: {error}");
            (self.parts.tell)(&Notice::Info { text });
        }
    }

    /// No actor goes on under a name that is not in the generation, whatever left it behind.
    fn stop_what_is_not_committed(&self) {
        let records = &self.committed.records;
        let strays = self.parts.actors.phases().into_iter().filter(|(name, _)| !records.contains_key(name));
        let steps: Vec<Switch> = strays.map(|(name, _)| Switch::Stop(name)).collect();
        if !steps.is_empty() {
            self.parts.actors.switch(steps);
        }
    }

    /// Removes markers. One that stays makes its component a suspect at the next start, no more.
    pub(super) fn no_longer_starting(&self, names: Vec<InstallationName>) {
        if !names.is_empty() {
            let _ = self.parts.store.clear_starting(names).wait();
        }
    }

    fn report(&mut self, ready: &[&Action], failed: Vec<FailedAction>, begun: Instant) -> Applied {
        let took = begun.elapsed();
        for action in ready {
            (self.parts.tell)(&done(action, took));
        }
        for FailedAction { action, why } in &failed {
            let notice = Notice::Failed { verb: action.kind.as_str(), name: action.name.clone(), why: why.clone() };
            (self.parts.tell)(&notice);
        }
        self.recorder.failed(&failed);
        let now = self.now();
        self.aftermath.note(ready, &failed, now);
        Applied {
            done: ready.iter().map(|action| ((*action).clone(), took)).collect(),
            failed,
            put_off: BTreeSet::new(),
        }
    }
}

/// Adds what can't be carried out without what failed.
fn leave_tied(actions: &[Action], before: &Installed, failed: &mut Vec<FailedAction>) {
    let left: BTreeSet<InstallationName> = failed.iter().map(|failed| failed.action.name.clone()).collect();
    let tied = ties::tied(actions, &left, before, false);
    let tied = actions.iter().filter_map(|action| Some((action, tied.get(&action.name)?)));
    failed.extend(tied.map(|(action, tie)| FailedAction { action: action.clone(), why: tie.why() }));
}

/// The actions that did not fail.
fn without<'a>(actions: &'a [Action], failed: &[FailedAction]) -> Vec<&'a Action> {
    let failed: BTreeSet<&InstallationName> = failed.iter().map(|failed| &failed.action.name).collect();
    actions.iter().filter(|action| !failed.contains(&action.name)).collect()
}

/// Whether what was committed under the name is no longer.
fn ends_target(action: &Action) -> bool {
    matches!(&action.effect, Some(Effect::Commit(_) | Effect::Uninstall { .. }))
}

/// Whether a storage belongs to nobody after this action that belonged to somebody before.
fn leaves_storage(action: &Action) -> bool {
    match &action.effect {
        Some(Effect::Uninstall { .. }) => true,
        Some(Effect::Commit(commit)) => action.before.is_some() && commit.storage == Storage::New,
        _ => false,
    }
}

fn shown(time: Duration) -> Millis {
    Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn done(action: &Action, took: Duration) -> Notice {
    let (symbol, verb) = match action.kind {
        Kind::Install => ("+", "installed"),
        Kind::Update => ("~", "updated"),
        Kind::Reconfigure => ("~", "reconfigured"),
        Kind::Restart => ("~", "restarted"),
        Kind::Move => (">", "moved"),
        Kind::Uninstall => ("-", "uninstalled"),
        Kind::Hold | Kind::Blocked => ("!", "held"),
    };
    Notice::Done {
        verb,
        symbol,
        name: action.name.clone(),
        what: what_changed(action),
        why: format!("{}: {}", action.location, action.reason.message),
        took,
    }
}

/// `0.1.0`, `0.1.0 -> 0.2.0`: what a person tells versions apart by.
fn what_changed(action: &Action) -> String {
    match (&action.before, &action.after) {
        (Some(before), Some(after)) if before.version != after.version => {
            format!("{} -> {}", before.version, after.version)
        }
        (Some(one), _) | (None, Some(one)) => one.version.to_string(),
        (None, None) => String::new(),
    }
}
