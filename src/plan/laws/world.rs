//! Owns the model: a set of files, what is installed, and an executor that does what a plan says.
//!
//! The executor knows the rules in its own words and complains about every effect that breaks one, so that
//! it is no second copy of the planner. It can fail, stop between two actions, and be given an old plan.

use std::collections::{BTreeMap, BTreeSet};

use super::wish::{Wish, name};
use crate::desired::{BadFile, DesiredState, Entry, Held};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::floors::Floors;
use crate::name::{InstallationName, PackageName};
use crate::observed::{HeldTarget, Installed, Observed, Phase, RecentSet};
use crate::permission::{Declined, Entry as Permission};
use crate::plan::action::{Action, Commit, Effect, Instance, Kind, Storage};
use crate::plan::approval::{Approval, ApprovalName, Operator};
use crate::plan::rollback::Rollback;
use crate::plan::{Plan, PlanInput, plan, ties};
use crate::record::Record;
use crate::resolution::Resolution;
use crate::surface::HostSurface;

/// A broken rule, in words.
pub type Broken = String;

macro_rules! must {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(format!($($words)*));
        }
    };
}

/// One file.
#[derive(Debug, Clone)]
pub enum File {
    Good(Wish),
    /// Bad, but it is known which installation it defines.
    Bad,
}

/// How an execution goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// How many effects are carried out before the host dies; all without it.
    pub stops_after: Option<usize>,
    /// A bit for each effect that fails for good.
    pub fails: u64,
    /// A bit for each effect that fails for now.
    pub fails_for_now: u64,
}

#[derive(Debug, Clone)]
pub struct World {
    pub files: BTreeMap<InstallationName, File>,
    /// A bad file of which nobody knows what it defines.
    pub unknown: bool,
    pub complete: bool,
    pub observed: Observed,
    pub floors: Floors,
    pub approvals: BTreeSet<Approval>,
    /// Uninstalled without an approval; the model's ten minutes never end.
    pub removed: usize,
    /// Whose data each storage holds.
    storages: BTreeMap<u64, PackageName>,
    /// As they were when the pass began: a plan is judged by what was accepted before it.
    floors_before: Floors,
    /// Everything that was ever carried out.
    pub trace: Vec<(Kind, InstallationName)>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            unknown: false,
            complete: true,
            observed: Observed::default(),
            floors: Floors::default(),
            approvals: BTreeSet::new(),
            removed: 0,
            storages: BTreeMap::new(),
            floors_before: Floors::default(),
            trace: Vec::new(),
        }
    }
}

impl World {
    pub fn desired(&self) -> DesiredState {
        let entry = |(name, file): (&InstallationName, &File)| {
            let entry = match file {
                File::Good(wish) => Entry::Wanted { spec: wish.spec.clone(), origin: wish.origin.clone() },
                File::Bad => {
                    let file = format!("{name}.toml");
                    let problems = vec![Diagnostic::whole_file(&file, "it is bad")];
                    Entry::Held(Held { files: vec![file], problems })
                }
            };
            (name.clone(), entry)
        };
        let bad =
            || BadFile { file: "?.toml".to_owned(), problems: vec![Diagnostic::whole_file("?.toml", "it is bad")] };
        DesiredState {
            commit: None,
            entries: self.files.iter().map(entry).collect(),
            unknown: self.unknown.then(bad).into_iter().collect(),
            complete: self.complete,
        }
    }

    pub fn resolutions(&self) -> BTreeMap<InstallationName, Resolution> {
        let good = |(name, file): (&InstallationName, &File)| match file {
            File::Good(wish) => Some((name.clone(), wish.resolution.clone())),
            File::Bad => None,
        };
        self.files.iter().filter_map(good).collect()
    }

    /// The plan for this world, checked for what every plan must be.
    pub fn plan(&self) -> Result<Plan, Broken> {
        let plan = self.plan_against(&self.observed);
        self.check_plan(&plan)?;
        Ok(plan)
    }

    /// A plan that takes `observed` for what is there.
    pub fn plan_against(&self, observed: &Observed) -> Plan {
        plan(&PlanInput {
            desired: &self.desired(),
            resolutions: &self.resolutions(),
            observed,
            recent: RecentSet { size: observed.installed.len() + self.removed, removed: self.removed },
            floors: &self.floors,
            approvals: &self.approvals,
            secrets: &BTreeMap::new(),
            host: HostSurface::default(),
        })
    }

    fn check_plan(&self, plan: &Plan) -> Result<(), Broken> {
        let mut seen = BTreeSet::new();
        for action in &plan.actions {
            must!(seen.insert(action.name.clone()), "{} has two actions", action.name);
            if let Some(Effect::Commit(Commit { moved_from: Some(old), .. })) = &action.effect
                && action.is_ready()
            {
                must!(seen.insert(old.clone()), "{old} is moved and has another action");
            }
            must!(action.kind.has_effect() == action.effect.is_some(), "{} has kind {:?}", action.name, action.kind);
            let code = action.reason.code.as_bytes();
            let is_kebab = code.iter().all(|b| b.is_ascii_lowercase() || *b == b'-');
            must!(!code.is_empty() && is_kebab, "{} says {:?}", action.name, action.reason.code);
            must!(!action.location.file.is_empty(), "{} does not say where", action.name);
        }
        let untouched = self.observed.installed.keys().filter(|name| !seen.contains(*name)).count();
        must!(untouched == plan.unchanged, "{untouched} stay and {} are counted", plan.unchanged);
        let first_idle = plan.actions.iter().position(|action| action.effect.is_none()).unwrap_or(plan.actions.len());
        must!(plan.actions[first_idle..].iter().all(|action| action.effect.is_none()), "effects come first");
        for (name, installed) in &self.observed.installed {
            let is_listed = plan.actions.iter().any(|action| action.name == *name);
            let moves = plan.actions.iter().any(|action| moved_from(action) == Some(name));
            must!(self.files.contains_key(name) || is_listed || moves, "the delete of {name} is not listed");
            let _ = installed;
        }
        self.check_exit_code(plan)
    }

    fn check_exit_code(&self, plan: &Plan) -> Result<(), Broken> {
        let stuck = plan.actions.iter().any(|action| matches!(action.kind, Kind::Hold | Kind::Blocked));
        let waits = plan
            .actions
            .iter()
            .any(|action| action.kind.has_effect() && action.approvals.iter().any(|approval| !approval.given));
        let expected = match () {
            () if stuck || self.unknown || !self.complete => 12,
            () if waits => 11,
            () if !plan.actions.is_empty() => 10,
            () => 0,
        };
        must!(plan.exit_code() == expected, "exit code {} and not {expected}", plan.exit_code());
        Ok(())
    }

    /// Carries a plan out. `false`: it was made for another generation, and nothing was done.
    pub fn apply(&mut self, plan: &Plan, faults: Faults) -> Result<bool, Broken> {
        if (plan.generation, plan.parent) != (self.observed.generation, self.observed.generation_digest) {
            return Ok(false);
        }
        self.check_deletes(plan)?;
        let before = self.observed.clone();
        self.floors_before = self.floors.clone();
        let mut carried = BTreeSet::new();
        let effects: Vec<&Action> = plan.effects().collect();
        let (failed, own) = self.failed(plan, faults);
        for (index, action) in effects.iter().take(faults.stops_after.unwrap_or(usize::MAX)).enumerate() {
            let bit = 1u64 << (index % 64);
            if failed.contains(&action.name) {
                if let (Some(Effect::Commit(commit)), true) =
                    (&action.effect, own.contains(&action.name) && faults.fails & bit != 0)
                {
                    let held = HeldTarget { target: commit.target, reason: "it failed".to_owned() };
                    self.observed.held.insert(action.name.clone(), held);
                }
                continue;
            }
            let later: Vec<&&Action> = effects[index + 1..].iter().collect();
            self.carry_out(action, &later)?;
            carried.insert(action.name.clone());
            carried.extend(moved_from(action).cloned());
        }
        let is_whole = faults.stops_after.is_none_or(|most| most >= effects.len());
        for name in plan.released.iter().filter(|name| is_whole || carried.contains(*name)) {
            // A target that has just failed is held anew.
            if !failed.contains(name) {
                self.observed.held.remove(name);
            }
        }
        self.check_idle(plan, &before)?;
        self.check_failed(&effects, &failed, &before)?;
        self.commit(&before);
        self.approvals.clear();
        Ok(true)
    }

    /// The names of a plan whose actions fail, and of these the ones that fail by themselves.
    fn failed(&self, plan: &Plan, faults: Faults) -> (BTreeSet<InstallationName>, BTreeSet<InstallationName>) {
        let effects: Vec<Action> = plan.effects().cloned().collect();
        let fails = |(index, _): &(usize, &Action)| (faults.fails | faults.fails_for_now) >> (index % 64) & 1 == 1;
        let own: BTreeSet<_> =
            effects.iter().enumerate().filter(fails).map(|(_, action)| action.name.clone()).collect();
        let installed =
            self.observed.installed.iter().map(|(name, have)| (name.clone(), have.record.clone())).collect();
        let tied = ties::tied(&effects, &own, &installed, false);
        (own.iter().cloned().chain(tied.into_keys()).collect(), own)
    }

    /// What failed is as it was, and so is what it depends on.
    fn check_failed(
        &self,
        effects: &[&Action],
        failed: &BTreeSet<InstallationName>,
        before: &Observed,
    ) -> Result<(), Broken> {
        for action in effects.iter().filter(|action| failed.contains(&action.name)) {
            let name = moved_from(action).unwrap_or(&action.name);
            must!(self.observed.installed.get(name) == before.installed.get(name), "{name} failed and is another");
            must!(name == &action.name || !self.observed.installed.contains_key(&action.name), "{name} half moved");
            let Some(have) = before.installed.get(name).filter(|have| have.record.spec.enabled) else { continue };
            let wanted = match &action.effect {
                Some(Effect::Commit(commit)) if commit.record.spec.enabled => Some(&commit.record.spec.depends_on),
                Some(Effect::Restart { record }) => Some(&record.spec.depends_on),
                _ => None,
            };
            for need in &have.record.spec.depends_on {
                let is_let_go = wanted.is_none_or(|wanted| !wanted.contains(need));
                let was_there = before.installed.get(need).is_some_and(|need| need.record.spec.enabled);
                let is_there = self.observed.installed.get(need).is_some_and(|need| need.record.spec.enabled);
                must!(!is_let_go || !was_there || is_there, "{name} failed, goes on, and lost {need}");
            }
        }
        Ok(())
    }

    /// Applies a plan for this world without faults.
    pub fn pass(&mut self) -> Result<Plan, Broken> {
        let plan = self.plan()?;
        self.apply(&plan, Faults::default())?;
        Ok(plan)
    }

    /// Carries a rollback out, and holds what it holds.
    pub fn go_back(&mut self, rollback: &Rollback) -> Result<(), Broken> {
        must!(
            (rollback.generation, rollback.parent) == (self.observed.generation, self.observed.generation_digest),
            "old"
        );
        must!(rollback.refused.is_empty(), "{:?}", rollback.refused);
        let before = self.observed.clone();
        for action in &rollback.actions {
            must!(action.is_ready(), "{} of a rollback waits", action.name);
            match &action.effect {
                Some(Effect::Commit(Commit { moved_from: Some(old), .. })) => drop(self.observed.installed.remove(old)),
                Some(Effect::Uninstall { storage_id, storage: _ }) => {
                    let have = self.observed.installed.remove(&action.name).ok_or("it is not installed")?;
                    must!(have.storage_id == *storage_id, "{} has another storage", action.name);
                }
                _ => {}
            }
        }
        for action in &rollback.actions {
            let Some(Effect::Commit(commit)) = &action.effect else { continue };
            let base = before.installed.get(commit.moved_from.as_ref().unwrap_or(&action.name));
            let package = &commit.record.artifact.package;
            let storage_id = match (commit.storage, base) {
                (Storage::New, _) => self.storages.keys().next_back().map_or(1, |last| last + 1),
                (Storage::Keep(id), Some(base)) if base.storage_id == id => id,
                (Storage::Keep(id), _) => return Err(format!("{} takes storage {id}", action.name)),
            };
            let owner = self.storages.entry(storage_id).or_insert_with(|| package.clone());
            must!(owner == package, "{} gets the storage of {owner}", action.name);
            let phase = if commit.record.spec.enabled { Phase::Running } else { Phase::Stopped };
            let installed = Installed { record: commit.record.clone(), target: commit.target, storage_id, phase };
            self.observed.installed.insert(action.name.clone(), installed);
        }
        let by = Operator { uid: 7, user: "alice".to_owned() };
        self.observed.held.extend(rollback.held_targets(&by));
        rollback.released.iter().for_each(|name| drop(self.observed.held.remove(name)));
        self.commit(&before);
        Ok(())
    }

    /// Gives every approval that the plan for this world asks for.
    pub fn approve_all(&mut self) -> Result<(), Broken> {
        for action in self.plan()?.actions {
            let digest = action.digest();
            self.approvals
                .extend(action.approvals.into_iter().map(|needed| Approval { name: needed.name, action: digest }));
        }
        Ok(())
    }

    fn commit(&mut self, before: &Observed) {
        if self.observed == *before {
            return;
        }
        self.observed.generation += 1;
        let text = format!("{} after {:?}", self.observed.generation, self.observed.generation_digest);
        self.observed.generation_digest = Some(Digest::of(text.as_bytes()));
    }

    /// The guard against mass deletes, in other words than the planner's.
    fn check_deletes(&self, plan: &Plan) -> Result<(), Broken> {
        let deletes: Vec<&Action> = plan.effects().filter(|action| action.kind == Kind::Uninstall).collect();
        if deletes.is_empty() {
            return Ok(());
        }
        must!(self.complete && !self.unknown, "deletes while the directory can't be seen");
        let unapproved = deletes.iter().filter(|action| !self.is_approved(action, &ApprovalName::Delete)).count();
        let gone = unapproved + self.removed;
        let set = self.observed.installed.len() + self.removed;
        let is_small = gone <= 3 || gone * 5 <= set;
        let leaves_some = gone < set || set <= 1;
        must!(unapproved == 0 || (is_small && leaves_some), "{gone} of {set} are deleted unattended");
        Ok(())
    }

    fn is_approved(&self, action: &Action, name: &ApprovalName) -> bool {
        self.approvals.contains(&Approval { name: name.clone(), action: action.digest() })
    }

    fn carry_out(&mut self, action: &Action, later: &[&&Action]) -> Result<(), Broken> {
        self.trace.push((action.kind, action.name.clone()));
        let name = &action.name;
        must!(!matches!(self.files.get(name), Some(File::Bad)), "{name} is touched while its file is bad");
        match &action.effect {
            None => Err(format!("{name} has no effect to carry out")),
            Some(Effect::Commit(commit)) => self.carry_out_commit(action, commit),
            Some(Effect::Restart { record }) => {
                let have = self.observed.installed.get_mut(name).ok_or(format!("{name} is not installed"))?;
                must!(have.record == *record && record.spec.enabled, "{name} is restarted as something else");
                must!(have.phase == Phase::Stopped, "{name} is restarted while it is {:?}", have.phase);
                have.phase = Phase::Running;
                Ok(())
            }
            Some(Effect::Uninstall { storage_id, storage: _ }) => {
                must!(!self.files.contains_key(name), "{name} is uninstalled and a file defines it");
                let have = self.observed.installed.remove(name).ok_or(format!("{name} is not installed"))?;
                must!(have.storage_id == *storage_id, "{name} has another storage");
                must!(later.iter().all(|later| later.kind == Kind::Uninstall), "something comes after an uninstall");
                for dependent in later.iter().filter_map(|later| self.observed.installed.get(&later.name)) {
                    let is_circle = have.record.spec.depends_on.iter().any(|d| self.leads_back(d, name));
                    let needs = dependent.record.spec.depends_on.contains(name);
                    must!(!needs || is_circle, "{name} goes before {}", dependent.record.spec.name);
                }
                if !self.is_approved(action, &ApprovalName::Delete) {
                    self.removed += 1;
                }
                Ok(())
            }
        }
    }

    /// Whether committed records lead from `from` to `to`.
    fn leads_back(&self, from: &InstallationName, to: &InstallationName) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.clone()];
        while let Some(next) = open.pop() {
            if next == *to {
                return true;
            }
            if let Some(have) = self.observed.installed.get(&next).filter(|_| seen.insert(next.clone())) {
                open.extend(have.record.spec.depends_on.iter().cloned());
            }
        }
        false
    }

    fn carry_out_commit(&mut self, action: &Action, commit: &Commit) -> Result<(), Broken> {
        let Commit { record, target, storage, instance, moved_from } = commit;
        let name = &action.name;
        must!(record.target_digest() == *target && record.spec.name == *name, "{name} gets another's record");
        let Some(File::Good(wish)) = self.files.get(name) else { return Err(format!("{name} is not wanted")) };
        must!(record.spec == *wish.spec, "{name} gets a spec that no file holds");
        let own = self.observed.installed.get(name).cloned();
        let base = match moved_from {
            Some(old) => {
                must!(!self.files.contains_key(old) && own.is_none(), "{old} is taken from its file");
                must!(wish.spec.moved_from.as_ref() == Some(old), "nobody asked to move {old}");
                must!(self.complete && !self.unknown, "{old} is moved while the directory can't be seen");
                Some(self.observed.installed.remove(old).ok_or(format!("{old} is not installed"))?)
            }
            None => own,
        };
        let is_change = base.as_ref().is_none_or(|base| base.target != *target);
        if is_change {
            must!(self.observed.held.get(name).is_none_or(|held| held.target != *target), "{name} was held");
            self.check_artifact(action, record, base.as_ref())?;
            self.check_start(record, base.as_ref())?;
        }
        let storage_id = match (storage, &base) {
            (Storage::New, _) => self.storages.keys().next_back().map_or(1, |last| last + 1),
            (Storage::Keep(id), Some(base)) if base.storage_id == *id => *id,
            (Storage::Keep(id), _) => return Err(format!("{name} takes storage {id}")),
        };
        let owner = self.storages.entry(storage_id).or_insert_with(|| record.artifact.package.clone());
        must!(*owner == record.artifact.package, "{name} gets the storage of {owner}");
        if let Some(base) = base.as_ref().filter(|base| base.record.artifact.package == record.artifact.package) {
            must!(base.storage_id == storage_id, "{name} loses its storage");
        }
        let ran = base.as_ref().map_or(Phase::Stopped, |base| base.phase);
        let phase = match instance {
            Instance::Fresh => Phase::Running,
            Instance::Keep | Instance::Reconfigure => ran,
            Instance::Stop => Phase::Stopped,
        };
        must!(
            record.spec.enabled || phase == Phase::Stopped || *instance == Instance::Keep,
            "{name} runs and is disabled"
        );
        let differs = |base: &Installed| {
            let (old, new) = (&base.record, record);
            old.artifact.wasm != new.artifact.wasm
                || old.effective != new.effective
                || old.spec.config != new.spec.config
        };
        if record.spec.enabled && base.as_ref().is_some_and(|base| base.record.spec.enabled && differs(base)) {
            let is_told = *instance == Instance::Reconfigure && ran == Phase::Running;
            must!(is_told || *instance == Instance::Fresh, "{name} goes on with what was replaced");
        }
        self.floors.accept(&record.artifact.package, record.artifact.sequence);
        let installed = Installed { record: record.clone(), target: *target, storage_id, phase };
        self.observed.installed.insert(name.clone(), installed);
        Ok(())
    }

    /// Who made it, which release it is, and what it may do.
    fn check_artifact(&self, action: &Action, record: &Record, base: Option<&Installed>) -> Result<(), Broken> {
        let name = &action.name;
        let artifact = &record.artifact;
        let Some(File::Good(wish)) = self.files.get(name) else { return Err(format!("{name} is not wanted")) };
        let Resolution::Ready(candidate) = &wish.resolution else {
            return Err(format!("{name} has no verified artifact"));
        };
        must!(candidate.artifact == *artifact, "{name} gets an artifact that its source does not hold");
        let before = base.map(|base| &base.record.artifact);
        let floor = self.floors_before.of(&artifact.package);
        if before.is_none_or(|before| before.wasm != artifact.wasm || before.manifest != artifact.manifest) {
            must!(artifact.sequence >= floor.floor, "{name} goes below the floor");
            let pins = record.spec.require.version.as_ref().is_some_and(|version| version.to_string().starts_with('='));
            must!(pins || artifact.sequence >= floor.high, "{name} goes back unasked");
        }
        for ask in artifact.ask.entries() {
            let declined = record.spec.grant.without.iter().any(|declined| match declined {
                Declined::Kind(kind) => *kind == ask.kind(),
                Declined::Entry(entry) => entry.covers(ask),
            });
            must!(record.effective.includes(ask) || declined, "{name} goes without {ask}, and nobody said so");
        }
        let may = |permission: &Permission| {
            artifact.ask.includes(permission)
                && record.spec.grant.permissions.includes(permission)
                && candidate.permissions_max.includes(permission)
        };
        must!(record.effective.entries().all(may), "{name} may do what nobody allowed");
        let (Some(before), Some(base)) = (before, base) else { return Ok(()) };
        if before.publisher != artifact.publisher || before.signers.is_disjoint(&artifact.signers) {
            must!(self.is_approved(action, &ApprovalName::Signer(name.clone())), "{name} changes hands unasked");
        }
        let exports = |record: &Record| -> usize {
            record.surface.as_ref().map_or(0, |surface| surface.exports().iter().map(|export| export.items.len()).sum())
        };
        if exports(record) < exports(&base.record) {
            must!(self.is_approved(action, &ApprovalName::Breaking(name.clone())), "{name} breaks its callers unasked");
        }
        let is_new = |permission: &&Permission| !base.record.effective.includes(permission);
        for permission in record.effective.entries().filter(is_new) {
            let is_named = record.spec.grant.permissions.names(permission);
            let is_approved = self.is_approved(action, &ApprovalName::Permission(name.clone()));
            must!(is_named || is_approved, "{name} gets {permission}, which nobody named");
        }
        Ok(())
    }

    /// What a start needs is there, and nothing waits for itself.
    fn check_start(&self, record: &Record, base: Option<&Installed>) -> Result<(), Broken> {
        let name = &record.spec.name;
        must!(!self.is_in_a_circle(name), "{name} depends on itself");
        let is_running = base.is_some_and(|base| base.record.spec.enabled);
        for dependency in &record.spec.depends_on {
            let is_old = base.is_some_and(|base| base.record.spec.depends_on.contains(dependency));
            let there = self.observed.installed.get(dependency);
            if base.is_none() || (!is_running && record.spec.enabled) || !is_old {
                let is_right = there.is_some_and(|there| there.record.spec.enabled || !record.spec.enabled);
                must!(is_right, "{name} starts before {dependency}");
            }
        }
        Ok(())
    }

    /// Whether the files say that `name` depends on itself.
    pub fn is_in_a_circle(&self, name: &InstallationName) -> bool {
        let wanted = |name: &InstallationName| match self.files.get(name) {
            Some(File::Good(wish)) => wish.spec.depends_on.iter().cloned().collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let mut seen = BTreeSet::new();
        let mut open = wanted(name);
        while let Some(next) = open.pop() {
            if next == *name {
                return true;
            }
            if seen.insert(next.clone()) {
                open.extend(wanted(&next));
            }
        }
        false
    }

    /// What has no effect was not touched.
    fn check_idle(&self, plan: &Plan, before: &Observed) -> Result<(), Broken> {
        for action in plan.actions.iter().filter(|action| !action.is_ready()) {
            let name = &action.name;
            must!(self.observed.installed.get(name) == before.installed.get(name), "{name} was to be left alone");
        }
        Ok(())
    }

    /// Whether everything is as wanted, but for what the plan says is stuck.
    pub fn check_matches(&self, plan: &Plan) -> Result<(), Broken> {
        let stuck: BTreeSet<&InstallationName> = plan.actions.iter().map(|action| &action.name).collect();
        for (name, file) in &self.files {
            if let (File::Good(wish), false) = (file, stuck.contains(name)) {
                let have = self.observed.installed.get(name).ok_or(format!("{name} is missing"))?;
                must!(have.record.spec == *wish.spec, "{name} has an old spec");
                let Resolution::Ready(candidate) = &wish.resolution else { return Err(format!("{name} is not told")) };
                must!(have.record.artifact == candidate.artifact, "{name} has an old artifact");
                must!(have.record.effective.is_subset_of(&candidate.permissions_max), "{name} is above its cap");
                must!(have.phase != Phase::Stopped || !wish.spec.enabled, "{name} stands still");
            }
        }
        let extra =
            self.observed.installed.keys().find(|name| !self.files.contains_key(*name) && !stuck.contains(name));
        must!(extra.is_none(), "{extra:?} should be gone");
        Ok(())
    }

    /// Without what differs from run to run: numbers of generations and storages.
    pub fn essence(&self) -> BTreeMap<InstallationName, (Digest, bool)> {
        let essence =
            |(name, have): (&InstallationName, &Installed)| (name.clone(), (have.target, have.phase == Phase::Stopped));
        self.observed.installed.iter().map(essence).collect()
    }
}

/// The name that goes away with an action.
pub fn moved_from(action: &Action) -> Option<&InstallationName> {
    match &action.effect {
        Some(Effect::Commit(commit)) => commit.moved_from.as_ref(),
        _ => None,
    }
}

/// Writes the file of the n-th name.
pub fn write(world: &mut World, owner: usize, wish: Wish) {
    world.files.insert(name(owner), File::Good(wish));
}
