//! The acting half of a pass: standbys, one commit, the switch, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::actor::Standby;
use crate::digest::Digest;
use crate::name::InstallationName;
use crate::plan::action::{Action, Effect, Kind};
use crate::record::Record;
use crate::resolution::Refusal;

use super::apply::{self, Applied, FailedAction};
use super::notice::Notice;
use super::observe::Targeted;
use super::pass::Reconciler;
use super::prepare::{Preparer, Start, parallelism};
use super::probation::Probation;

impl Reconciler {
    /// Prepares, commits and switches. `Err` means that nothing was committed and everything runs as before.
    pub(super) fn carry_out(&mut self, actions: &[Action], begun: Instant) -> anyhow::Result<Applied> {
        if actions.is_empty() {
            return Ok(Applied::default());
        }
        let (mut standbys, failed) = self.prepare(actions);
        let ready: Vec<&Action> = actions.iter().filter(|a| !failed.iter().any(|f| f.action.name == a.name)).collect();
        self.commit(&ready, &failed)?;
        if !self.parts.runs {
            let tried: Vec<_> = standbys.keys().cloned().collect();
            drop(standbys);
            self.parts.store.clear_starting(&tried);
            return Ok(self.report(&ready, failed, begun));
        }
        let fresh: BTreeSet<_> = standbys.keys().cloned().collect();
        standbys.retain(|name, _| ready.iter().any(|action| &action.name == name));
        self.parts.actors.switch(apply::switches(&ready, standbys));
        self.parts.store.clear_starting(&fresh.into_iter().collect::<Vec<_>>());
        self.watch_new_versions(&ready);
        let in_use = apply::wasm_in_use(self.committed.records.values().map(|targeted| &targeted.record));
        self.code.keep_only(&in_use);
        Ok(self.report(&ready, failed, begun))
    }

    fn prepare(&self, actions: &[Action]) -> (BTreeMap<InstallationName, Standby>, Vec<FailedAction>) {
        let mut starts = BTreeMap::new();
        let mut failed = Vec::new();
        for action in actions {
            let Some(record) = apply::fresh_record(action).filter(|record| record.spec.enabled) else { continue };
            match self.admit(record) {
                Ok(artifact) => drop(starts.insert(action.name.clone(), Start { record: record.clone(), artifact })),
                Err(why) => failed.push(FailedAction { action: action.clone(), why }),
            }
        }
        let preparer = Preparer {
            engine: &self.parts.engine,
            store: &self.parts.store,
            actors: &self.parts.actors,
            code: &self.code,
            tell: &self.parts.tell,
        };
        let mut standbys = BTreeMap::new();
        for (name, result) in preparer.all(&starts, parallelism()) {
            match (result, actions.iter().find(|action| action.name == name)) {
                (Ok(standby), _) => drop(standbys.insert(name, standby)),
                (Err(why), Some(action)) => failed.push(FailedAction { action: action.clone(), why }),
                (Err(_), None) => {}
            }
        }
        (standbys, failed)
    }

    /// Writes the records and the generation. Only now does anything that is on disk change.
    fn commit(&mut self, ready: &[&Action], failed: &[FailedAction]) -> anyhow::Result<()> {
        let mut records: BTreeMap<InstallationName, Digest> = BTreeMap::new();
        let mut targeted: BTreeMap<InstallationName, Targeted> = BTreeMap::new();
        for action in ready {
            let Some(Effect::Commit(commit)) = &action.effect else { continue };
            let digest = self.parts.store.put_object(commit.record.encode())?;
            records.insert(action.name.clone(), digest);
            let record = Targeted { record: commit.record.clone(), target: commit.target };
            targeted.insert(action.name.clone(), record);
        }
        let current = &self.committed.generation;
        let next = apply::next_generation(current, ready, &records, failed);
        if next.entries == current.entries && next.holds == current.holds {
            return Ok(());
        }
        let (size, removed) = (current.entries.len(), ready.iter().filter(|a| a.kind == Kind::Uninstall).count());
        let floors = self.floors_after(targeted.values().map(|targeted| &targeted.record));
        let decoded = self.parts.store.commit(next, floors)?;
        let now_ms = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
        self.history_mut().committed(now_ms, size, removed);
        self.committed.records.extend(targeted);
        self.committed.records.retain(|name, _| decoded.generation.entries.contains_key(name));
        self.committed.digest = Some(decoded.digest);
        self.committed.generation = decoded.generation;
        Ok(())
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
        self.defer(ready, &failed);
        Applied { done: ready.iter().map(|action| ((*action).clone(), took)).collect(), failed }
    }
}

fn done(action: &Action, took: std::time::Duration) -> Notice {
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
