//! Decides what a rollback does: which installations go back, to what, and what is held from then on.
//!
//! Pure: generations and records are given. It is all or nothing; one name that can't go back refuses the whole.

pub mod document;
mod related;
pub mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::action::{Action, Commit, Effect, Instance, Kind, Location, NeededApproval, Reason, Storage, Summary};
use super::approval::{ApprovalName, Operator};
use super::change::Deltas;
use super::decide::{self, removes_storage};
use super::impact::{Impact, Interface, Outcome};
use crate::desired::spec::OnUninstall;
use crate::digest::Digest;
use crate::name::InstallationName;
use crate::observed::{HeldTarget, Installed, Observed};
use crate::record::Record;
use crate::resolution::Refusal;
use crate::secret::Fingerprints;
use crate::surface::HostSurface;

/// The machine reason of an action of a rollback.
pub const ROLLED_BACK: &str = "rolled-back";

/// A generation to go back to.
#[derive(Debug, Clone)]
pub struct Then {
    /// Its number.
    pub number: u64,
    /// When it was committed, in seconds since 1970.
    pub written_unix_s: u64,
    /// What it holds.
    pub entries: BTreeMap<InstallationName, ThenEntry>,
}

/// What a generation of the past holds for one installation.
#[derive(Debug, Clone)]
pub struct ThenEntry {
    /// The digest of its record.
    pub digest: Digest,
    /// The record; `None` when it is not kept any more.
    pub record: Option<Arc<Record>>,
    /// Under which id its data was stored.
    pub storage_id: u64,
}

/// What is to be rolled back.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What is installed now.
    pub observed: &'a Observed,
    /// To what.
    pub then: &'a Then,
    /// Which installations; all when there is none.
    pub names: &'a BTreeSet<InstallationName>,
    /// What this host offers to components and calls in them.
    pub host: HostSurface<'a>,
}

/// Says whether a record may run now, and gives the fingerprints that its secrets have now.
pub type Check<'a> = dyn FnMut(&Record) -> Result<Fingerprints, Refusal> + 'a;

/// What a rollback does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// The generation that it starts from. It must not be carried out on any other.
    pub generation: u64,
    /// Digest of that generation.
    pub parent: Option<Digest>,
    /// The generation that it goes back to.
    pub to: u64,
    /// When that was committed, in seconds since 1970.
    pub to_written_unix_s: u64,
    /// What is carried out, dependencies first and uninstalls last.
    pub actions: Vec<Action>,
    /// Targets that are held from then on, by name.
    pub holds: BTreeMap<InstallationName, Digest>,
    /// Names whose hold ends: they are again what is held back.
    pub released: Vec<InstallationName>,
    /// Why it can't be carried out, by name.
    pub refused: BTreeMap<InstallationName, Refusal>,
    /// How many installations stay as they are.
    pub unchanged: usize,
}

/// Returns what going back does.
///
/// # Errors
///
/// `no-such-installation` when a name is in neither of the two sets.
pub fn propose(asked: &Asked<'_>, check: &mut Check<'_>) -> Result<Rollback, Refusal> {
    let Asked { observed, then, names, host } = *asked;
    if let Some(name) = names.iter().find(|name| !has(observed, then, name)) {
        let message = format!("{name} is installed neither now nor in generation {}", then.number);
        return Err(Refusal::new("no-such-installation", message)
            .hint(format!("`airssys-wasm history {name}` shows where it was")));
    }
    let moves = moves(observed, then);
    let is_selected = |name: &InstallationName| {
        let partner = moves.get(name).copied().or(moves.iter().find(|(_, now)| **now == name).map(|(then, _)| *then));
        names.is_empty() || names.contains(name) || partner.is_some_and(|partner| names.contains(partner))
    };
    let mut rollback = Rollback {
        generation: observed.generation,
        parent: observed.generation_digest,
        to: then.number,
        to_written_unix_s: then.written_unix_s,
        actions: Vec::new(),
        holds: BTreeMap::new(),
        released: Vec::new(),
        refused: BTreeMap::new(),
        unchanged: 0,
    };
    let mut commits = BTreeMap::new();
    for (name, entry) in then.entries.iter().filter(|(name, _)| is_selected(name)) {
        let old_name = moves.get(name).copied();
        let base = observed.installed.get_key_value(old_name.unwrap_or(name));
        match back(name, entry, base, (then.number, &host), check) {
            Ok(Some(action)) => drop(commits.insert(name.clone(), action)),
            Ok(None) => {}
            Err(refusal) => drop(rollback.refused.insert(name.clone(), refusal)),
        }
    }
    let is_moved = |name: &InstallationName| moves.values().any(|now| *now == name);
    let gone = observed
        .installed
        .iter()
        .filter(|(name, _)| is_selected(name) && !then.entries.contains_key(*name) && !is_moved(name));
    let gone: Vec<Action> = gone.map(|(name, have)| uninstall(name, have, (then.number, &host))).collect();
    let touched = |name: &InstallationName| {
        commits.contains_key(name) || is_moved(name) || gone.iter().any(|action| action.name == *name)
    };
    rollback.unchanged = observed.installed.keys().filter(|name| !touched(name)).count();
    rollback.refuse_without_dependencies(&commits, &gone, observed);
    rollback.actions = dependencies_first(commits);
    rollback.actions.extend(gone);
    related::tell(&mut rollback.actions, observed);
    rollback.hold(observed);
    Ok(rollback)
}

fn has(observed: &Observed, then: &Then, name: &InstallationName) -> bool {
    observed.installed.contains_key(name) || then.entries.contains_key(name)
}

/// Names of then whose storage another name of now has: what was moved since. An equal name is never a move, and
/// neither is another package.
fn moves<'a>(observed: &'a Observed, then: &'a Then) -> BTreeMap<&'a InstallationName, &'a InstallationName> {
    let new = observed.installed.iter().filter(|(name, _)| !then.entries.contains_key(*name));
    let by_id: BTreeMap<u64, (&InstallationName, &Installed)> =
        new.map(|(name, have)| (have.storage_id, (name, have))).collect();
    let moved = then.entries.iter().filter(|(name, _)| !observed.installed.contains_key(*name));
    let moved = moved.filter_map(|(name, entry)| {
        let (now, have) = by_id.get(&entry.storage_id)?;
        let is_same = entry.record.as_ref()?.artifact.package == have.record.artifact.package;
        is_same.then_some((name, *now))
    });
    moved.collect()
}

/// What the record says apart from what its secrets were: a content that changed elsewhere is no change here.
pub fn substance(record: &Record) -> Digest {
    match record.secrets.is_empty() {
        true => record.target_digest(),
        false => Record { secrets: Fingerprints::new(), ..record.clone() }.target_digest(),
    }
}

/// The action that makes `name` what it was; none when it is that.
fn back(
    name: &InstallationName,
    entry: &ThenEntry,
    base: Option<(&InstallationName, &Installed)>,
    (to, host): (u64, &HostSurface<'_>),
    check: &mut Check<'_>,
) -> Result<Option<Action>, Refusal> {
    let record = entry.record.as_ref().ok_or_else(|| {
        let message = format!("its record {} of generation {to} is not in the content store any more", entry.digest);
        Refusal::new("object-missing", message).hint("a rollback fetches nothing; choose a later generation with --to")
    })?;
    if let Some((now, have)) = base
        && now == name
        && substance(&have.record) == substance(record)
    {
        return Ok(None);
    }
    let secrets = check(record)?;
    let other_secret = secrets != record.secrets;
    let record = match other_secret {
        true => Arc::new(Record { secrets, ..Record::clone(record) }),
        false => record.clone(),
    };
    let mut action = commit(name, record, base, (to, host));
    if other_secret {
        action.risks.push("the content of a secret is another than then; it gets the one of now".to_owned());
    }
    Ok(Some(action))
}

fn commit(
    name: &InstallationName,
    record: Arc<Record>,
    base: Option<(&InstallationName, &Installed)>,
    (to, host): (u64, &HostSurface<'_>),
) -> Action {
    let (old_name, have) = base.unzip();
    let moved_from = old_name.filter(|old| *old != name);
    let deltas = have.map_or_else(|| Deltas::of_install(&record), |have| Deltas::between(&have.record, &record));
    let kind = match have {
        None => Kind::Install,
        Some(_) if moved_from.is_some() => Kind::Move,
        Some(have) if have.record.artifact != record.artifact => Kind::Update,
        Some(_) => Kind::Reconfigure,
    };
    let mut risks = decide::risks(&deltas, have, None);
    if have.is_none() {
        risks.push("it starts with empty storage: what it had kept does not come back".to_owned());
    }
    if let Some(old) = moved_from {
        risks.push(format!(
            "it is {old} again later, with its state, only while that file says moved-from = \"{name}\""
        ));
    }
    let target = record.target_digest();
    let storage = match have.filter(|_| deltas.package.is_none()) {
        Some(have) => Storage::Keep(have.storage_id),
        None => Storage::New,
    };
    let instance = match (record.spec.enabled, have.is_some_and(|have| have.record.spec.enabled)) {
        (true, _) => Instance::Fresh,
        (false, true) => Instance::Stop,
        (false, false) => Instance::Keep,
    };
    let interface = match have {
        Some(have) => Interface::replacing(&have.record, &record, host),
        None => record.surface.as_ref().map(|surface| Interface::first(surface, host)),
    };
    let outcome = have.map(|have| Outcome::replaced(have, &record, (storage, instance), host));
    Action {
        name: name.clone(),
        kind,
        wanted: kind,
        reason: reason(to),
        location: Location::file(&record.origin.file),
        before: have.map(Summary::installed),
        after: Some(Summary::record(&record, target)),
        deltas,
        impact: Impact { interface, outcome, ..Impact::default() },
        risks,
        approvals: Vec::new(),
        effect: Some(Effect::Commit(Commit { record, target, storage, instance, moved_from: moved_from.cloned() })),
    }
}

/// An uninstall, which the order of the rollback approves: it lists it.
fn uninstall(name: &InstallationName, have: &Installed, (to, host): (u64, &HostSurface<'_>)) -> Action {
    let why = format!("it was not there in generation {to}");
    let risk = match have.record.spec.on_uninstall {
        OnUninstall::Keep => {
            format!("storage {} is left behind; a later install starts with an empty one", have.storage_id)
        }
        OnUninstall::Purge => removes_storage(have),
    };
    Action {
        name: name.clone(),
        kind: Kind::Uninstall,
        wanted: Kind::Uninstall,
        reason: reason(to),
        location: Location::file(&have.record.origin.file),
        before: Some(Summary::installed(have)),
        after: None,
        deltas: Deltas::default(),
        impact: Impact { outcome: Some(Outcome::uninstalled(have, host)), ..Impact::default() },
        risks: vec![risk],
        approvals: vec![NeededApproval { name: ApprovalName::Delete, why, given: true }],
        effect: Some(Effect::uninstall(have)),
    }
}

fn reason(to: u64) -> Reason {
    Reason::new(ROLLED_BACK, format!("as in generation {to}"))
}

/// Those that others need come before them; members of a circle in the order of their names.
fn dependencies_first(mut left: BTreeMap<InstallationName, Action>) -> Vec<Action> {
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_free = |action: &Action| needs(action).all(|need| *need == action.name || !left.contains_key(need));
        let mut free: Vec<InstallationName> =
            left.iter().filter(|(_, action)| is_free(action)).map(|(name, _)| name.clone()).collect();
        if free.is_empty() {
            free = left.keys().cloned().collect();
        }
        order.extend(free.iter().filter_map(|name| left.remove(name)));
    }
    order
}

/// What a commit needs to be there when it runs.
fn needs(action: &Action) -> impl Iterator<Item = &InstallationName> {
    let record = match &action.effect {
        Some(Effect::Commit(commit)) if commit.record.spec.enabled => Some(&commit.record),
        _ => None,
    };
    record.into_iter().flat_map(|record| &record.spec.depends_on)
}

impl Rollback {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.refused.is_empty()
    }

    /// What names the rollback: equal ones have equal digests.
    pub fn digest(&self) -> Digest {
        let actions: Vec<Digest> = self.actions.iter().map(Action::digest).collect();
        let parts =
            ("airssys-rollback-v1", self.generation, self.parent, self.to, actions, &self.holds, &self.released);
        Digest::of(&serde_json::to_vec(&parts).expect("names, digests and numbers are JSON"))
    }

    /// The holds as a commit keeps them.
    pub fn held_targets(&self, by: &Operator) -> BTreeMap<InstallationName, HeldTarget> {
        let reason = format!("held as in generation {} by a rollback of {by}", self.to);
        let held = self.holds.iter();
        held.map(|(name, target)| (name.clone(), HeldTarget { target: *target, reason: reason.clone() })).collect()
    }

    /// What needs something that will not be there can't go back without it.
    fn refuse_without_dependencies(
        &mut self,
        commits: &BTreeMap<InstallationName, Action>,
        gone: &[Action],
        observed: &Observed,
    ) {
        let moved = |name: &InstallationName| commits.values().any(|action| moved_from(action) == Some(name));
        let runs = |name: &InstallationName| match commits.get(name) {
            Some(action) => action.after.as_ref().is_some_and(|after| after.enabled),
            None => {
                let stays = !moved(name) && !gone.iter().any(|action| action.name == *name);
                stays && observed.installed.get(name).is_some_and(|have| have.record.spec.enabled)
            }
        };
        for action in commits.values() {
            let Some(need) = needs(action).find(|need| !runs(need)) else { continue };
            let message = format!("it depends on {need}, which would not run");
            let refusal = Refusal::new("dependency-missing", message);
            let refusal = refusal.hint(format!("name {need}, too, or roll back everything"));
            self.refused.entry(action.name.clone()).or_insert(refusal);
        }
    }

    /// What each changed name is held from: what is desired of it, which is what is held already, or what is installed.
    fn hold(&mut self, observed: &Observed) {
        let after = |action: &Action| action.after.as_ref().and_then(|after| after.target);
        let left = self.actions.iter().filter_map(|action| Some((moved_from(action)?.clone(), HeldTarget::absence())));
        let changed =
            self.actions.iter().map(|action| (action.name.clone(), after(action).unwrap_or_else(HeldTarget::absence)));
        for (name, after) in changed.chain(left).collect::<Vec<_>>() {
            let held = observed.held.get(&name).map(|held| held.target);
            let installed = observed.installed.get(&name).map(|have| have.target);
            let desired = held.or(installed).unwrap_or_else(HeldTarget::absence);
            if desired != after {
                self.holds.insert(name, desired);
            } else if held.is_some() {
                self.released.push(name);
            }
        }
    }
}

fn moved_from(action: &Action) -> Option<&InstallationName> {
    match &action.effect {
        Some(Effect::Commit(commit)) => commit.moved_from.as_ref(),
        _ => None,
    }
}
