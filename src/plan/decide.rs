//! Decides what is done to one installation, as if it were alone.
//!
//! The order of actions, dependencies and the guard against mass deletes come after, in their own modules.

use std::collections::BTreeSet;

use super::action::{Action, Commit, Effect, Instance, Kind, Location, Reason, Storage, Summary};
use super::approval::{self, Approval};
use super::change::Deltas;
use super::drift::{drift, is_down, is_up};
use super::impact::{Impact, Interface, Outcome};
use super::moved::{Claim, Moves};
use super::rows::Row;
use super::wanted::{self, Wanted};
use crate::desired::spec::{Origin, Spec};
use crate::desired::{Entry, Held};
use crate::floors::Floors;
use crate::name::InstallationName;
use crate::observed::{HeldTarget, Installed, Phase, quarantine};
use crate::resolution::{Candidate, Refusal, Resolution};
use crate::secret::{AllSecrets, Fingerprints, SecretStates};
use crate::surface::HostSurface;

/// What all decisions share.
pub(super) struct Rules<'a> {
    pub floors: &'a Floors,
    pub approvals: &'a BTreeSet<Approval>,
    pub secrets: &'a AllSecrets,
    pub host: HostSurface<'a>,
}

/// What was decided about one row.
pub(super) enum Verdict {
    /// Neither wanted nor installed.
    Nothing,
    /// Installed as wanted.
    Unchanged,
    /// It goes on under another name, whose row says so.
    MovesAway,
    /// Something is done, or keeps something from being done.
    Act(Box<Action>),
}

/// What was decided about one row.
pub(super) struct Decided {
    pub verdict: Verdict,
    /// Whether something else is wanted now than what its hold holds back.
    pub releases_hold: bool,
}

impl From<Verdict> for Decided {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, releases_hold: false }
    }
}

impl From<Action> for Decided {
    fn from(action: Action) -> Self {
        Verdict::Act(Box::new(action)).into()
    }
}

/// One wanted installation with all that matters for it.
#[derive(Clone, Copy)]
struct Subject<'a> {
    row: &'a Row<'a>,
    spec: &'a Spec,
    origin: &'a Origin,
    /// What it would replace: its own installation, or the one that it takes over.
    base: Option<&'a Installed>,
    moved_from: Option<&'a InstallationName>,
    claim: Option<&'a Claim<'a>>,
}

/// Decides about the row at `place`.
pub(super) fn decide<'a>(
    place: usize,
    row: &'a Row<'a>,
    takes: Option<&'a Row<'a>>,
    moves: &'a Moves<'a>,
    rules: &Rules<'_>,
) -> Decided {
    match (row.want, row.have) {
        (None, None) => Verdict::Nothing.into(),
        (None, Some(_)) if moves.taken_by(place).is_some() => Verdict::MovesAway.into(),
        (None, Some(have)) => match moves.disputed(place) {
            Some(reason) => keep(row, have, reason.clone(), rules).into(),
            None => match row.hold.filter(|hold| hold.is_of_absence()) {
                Some(hold) => keep(row, have, held_absence(row.name, hold), rules).into(),
                None => uninstall(row, have, rules).into(),
            },
        },
        (Some(Entry::Held(held)), _) => hold_bad_file(row, held).into(),
        (Some(Entry::Wanted { spec, origin }), have) => {
            let taken = takes.and_then(|old| Some((old.name, old.have?)));
            let base = have.or(taken.map(|(_, installed)| installed));
            let moved_from = taken.map(|(name, _)| name);
            wanted(&Subject { row, spec, origin, base, moved_from, claim: moves.claim(place) }, rules)
        }
    }
}

/// An installation that no file wants stays all the same.
fn keep(row: &Row<'_>, have: &Installed, reason: Reason, rules: &Rules<'_>) -> Action {
    let mut action = uninstall(row, have, rules);
    action.stop(Kind::Hold, reason);
    action
}

/// Why what no file wants stays all the same.
fn held_absence(name: &InstallationName, hold: &HeldTarget) -> Reason {
    let hint = format!("`airssys-wasm resume {name}` lets it go; a file that defines it ends the hold, too");
    Reason::new("held-target", hold.reason.clone()).hint(hint)
}

fn uninstall(row: &Row<'_>, have: &Installed, rules: &Rules<'_>) -> Action {
    let file = &have.record.origin.file;
    Action {
        name: row.name.clone(),
        kind: Kind::Uninstall,
        wanted: Kind::Uninstall,
        reason: Reason::new("file-removed", "no file defines it any more"),
        location: Location::file(file),
        before: Some(Summary::installed(have)),
        after: None,
        deltas: Deltas::default(),
        impact: Impact { outcome: Some(Outcome::uninstalled(have, &rules.host)), ..Impact::default() },
        risks: have.record.spec.on_uninstall.removes().then(|| removes_storage(have)).into_iter().collect(),
        approvals: Vec::new(),
        effect: Some(Effect::uninstall(have)),
    }
}

/// What is lost with an installation.
pub(super) fn removes_storage(have: &Installed) -> String {
    format!("what it keeps, storage {}, is removed for good: its last committed file says so", have.storage_id)
}

fn hold_bad_file(row: &Row<'_>, held: &Held) -> Action {
    let Held { files, problems } = held;
    // One with a place leads a person further than one about the file as a whole.
    let first = problems.iter().find(|problem| problem.place.is_some()).or(problems.first());
    let message = match (first, problems.len()) {
        (Some(problem), 1) => problem.message.clone(),
        (Some(problem), n) => format!("{} (and {} more)", problem.message, n - 1),
        (None, _) => "its file can't be used".to_owned(),
    };
    let hint = first.and_then(|problem| problem.hint.clone());
    let location = match (first, files.first()) {
        (Some(problem), _) => {
            Location { file: problem.file.clone(), line: problem.place.as_ref().map(|place| place.line) }
        }
        (None, Some(file)) => Location::file(file),
        (None, None) => Location::file(row.name.as_str()),
    };
    stopped(row, Kind::Hold, Reason { hint, ..Reason::new("invalid-file", message) }, location)
}

/// An action without an effect, about which nothing more is known than what is installed.
fn stopped(row: &Row<'_>, kind: Kind, reason: Reason, location: Location) -> Action {
    Action {
        name: row.name.clone(),
        kind,
        wanted: kind,
        reason,
        location,
        before: row.have.map(Summary::installed),
        after: None,
        deltas: Deltas::default(),
        impact: Impact::default(),
        risks: Vec::new(),
        approvals: Vec::new(),
        effect: None,
    }
}

fn wanted(subject: &Subject<'_>, rules: &Rules<'_>) -> Decided {
    let Subject { row, spec, origin, base: _, moved_from: _, claim } = *subject;
    let at_source = || Location::of(origin, &["source.file.path", "source"]);
    let stop = |kind, reason, location| Decided::from(stopped(row, kind, reason, location));
    if let Some(Claim::Refused(reason)) = claim {
        return stop(Kind::Blocked, reason.clone(), Location::of(origin, &["moved-from"]));
    }
    match row.resolution {
        Some(Resolution::Ready(candidate)) => ready(subject, candidate, rules),
        Some(Resolution::Refused(refusal)) => stop(Kind::Blocked, refusal.into(), at_source()),
        // What is committed stands in the content store: a source that is away must not keep it from running.
        Some(Resolution::Unavailable(_)) | None
            if row.have.is_some_and(|have| is_down(have) && have.record.spec == *spec) =>
        {
            row.have.map_or(Verdict::Nothing.into(), |have| drift(have, origin, rules).into())
        }
        Some(Resolution::Unavailable(refusal)) => stop(Kind::Hold, refusal.into(), at_source()),
        None => stop(Kind::Hold, Reason::new("not-resolved", "its source was not looked at yet"), at_source()),
    }
}

fn ready(subject: &Subject<'_>, candidate: &Candidate, rules: &Rules<'_>) -> Decided {
    let Subject { row, spec, origin, base, .. } = *subject;
    let secrets = match fingerprints(rules.secrets.get(&spec.name)) {
        Ok(secrets) => secrets,
        Err((place, why)) => {
            let kind = if base.is_some() { Kind::Hold } else { Kind::Blocked };
            return stopped(row, kind, why.into(), Location::near(origin, place)).into();
        }
    };
    if let Some(have) = row.have.filter(|have| wanted::is_unchanged(spec, candidate, &secrets, have)) {
        return unchanged(row, have, origin, rules);
    }
    let wanted = Wanted::new(spec, origin, candidate, secrets);
    if let Some(have) = row.have.filter(|have| have.target == wanted.target && !wanted.decision.is_blocked()) {
        return unchanged(row, have, origin, rules);
    }
    let mut action = change(subject, &wanted, rules);
    if let Some((reason, location)) = wanted.objection(base.map(|base| &*base.record), rules) {
        action.stop(Kind::Blocked, reason);
        action.location = location;
    } else if let Some(hold) = row.hold.filter(|hold| hold.target == wanted.target) {
        let hint = format!("change the file or the artifact, or run `airssys-wasm resume {}`, to try again", row.name);
        action.stop(Kind::Hold, Reason::new("held-target", hold.reason.clone()).hint(hint));
    }
    Decided { releases_hold: row.hold.is_some_and(|hold| hold.target != wanted.target), ..action.into() }
}

/// The fingerprints of all secrets, or which of them could not be read, and why.
fn fingerprints(states: Option<&SecretStates>) -> Result<Fingerprints, (&str, &Refusal)> {
    let states = states.into_iter().flatten();
    states.map(|(place, state)| Ok((place.clone(), *state.as_ref().map_err(|why| (place.as_str(), why))?))).collect()
}

fn unchanged(row: &Row<'_>, have: &Installed, origin: &Origin, rules: &Rules<'_>) -> Decided {
    if have.phase == Phase::Quarantined && have.record.spec.enabled {
        let hint = format!("change the file or the artifact, or run `airssys-wasm resume {}`, to try again", row.name);
        let reason = Reason::new("quarantined", quarantine::why()).hint(hint);
        return stopped(row, Kind::Hold, reason, Location::of(origin, &["package"])).into();
    }
    let verdict = if is_down(have) || is_up(have) { drift(have, origin, rules) } else { Verdict::Unchanged };
    Decided { verdict, releases_hold: row.hold.is_some_and(|hold| hold.target != have.target) }
}

/// The action that commits `wanted`.
fn change(subject: &Subject<'_>, wanted: &Wanted, rules: &Rules<'_>) -> Action {
    let Subject { row, origin, base, moved_from, claim, .. } = *subject;
    let deltas = match base {
        Some(base) => Deltas::between(&base.record, &wanted.record),
        None => Deltas::of_install(&wanted.record),
    };
    let (kind, reason, keys) = why(subject, wanted, &deltas);
    let storage = match base.filter(|_| deltas.package.is_none()) {
        Some(base) => Storage::Keep(base.storage_id),
        None => Storage::New,
    };
    let commit = Commit {
        record: wanted.record.clone(),
        target: wanted.target,
        storage,
        instance: instance(base, wanted, &deltas, moved_from.is_some(), &rules.host),
        moved_from: moved_from.cloned(),
    };
    let impact = impact(base, wanted, &commit, &rules.host);
    let mut action = Action {
        name: row.name.clone(),
        kind,
        wanted: kind,
        reason,
        location: Location::of(origin, &keys),
        before: base.map(Summary::installed),
        after: Some(Summary::record(&wanted.record, wanted.target)),
        risks: risks(&deltas, base, claim).into_iter().chain(wanted.observes()).collect(),
        deltas,
        impact,
        approvals: Vec::new(),
        effect: Some(Effect::Commit(commit)),
    };
    if let Some(base) = base {
        let before = (&base.record.artifact, &base.record.effective);
        approval::require(&mut action, before, (&wanted.record.artifact, &wanted.decision), rules.approvals);
    }
    action
}

fn impact(base: Option<&Installed>, wanted: &Wanted, commit: &Commit, host: &HostSurface<'_>) -> Impact {
    let after = &wanted.record;
    let interface = match base {
        Some(base) => Interface::replacing(&base.record, after, host),
        None => after.surface.as_ref().map(|surface| Interface::first(surface, host)),
    };
    let outcome = base.map(|base| Outcome::replaced(base, after, (commit.storage, commit.instance), host));
    Impact { interface, outcome, ..Impact::default() }
}

/// Kind, reason and the keys of the file that say so.
fn why(subject: &Subject<'_>, wanted: &Wanted, deltas: &Deltas) -> (Kind, Reason, Vec<&'static str>) {
    let source = vec!["source.file.path", "source"];
    let Some(base) = subject.base else {
        return (Kind::Install, Reason::new("not-installed", "it is wanted and not installed"), vec!["package"]);
    };
    if let Some(old) = subject.moved_from {
        let reason = Reason::new("moved", format!("the file says that it was {old} before"));
        return (Kind::Move, reason, vec!["moved-from"]);
    }
    if let Some(package) = &deltas.package {
        let message = format!("the file asks for {} in place of {}", package.after, package.before);
        return (Kind::Update, Reason::new("other-package", message), vec!["package"]);
    }
    if deltas.touches_artifact() {
        let is_older = deltas.version.as_ref().is_some_and(|version| version.after < version.before);
        return if is_older && wanted.record.spec.require.is_exact_pin() {
            let reason = Reason::new("pinned-older", "the file pins an older version");
            (Kind::Update, reason, vec!["require.version"])
        } else {
            (Kind::Update, Reason::new("new-artifact", "the source holds another artifact"), source)
        };
    }
    let keys = deltas.changed_keys();
    if keys == ["config"] && deltas.config.is_none() {
        let places: Vec<&str> = deltas.secrets.iter().map(|secret| secret.name.as_str()).collect();
        let reason = Reason::new("secret-changed", format!("the content of a secret changed: {}", places.join(", ")));
        return (Kind::Reconfigure, reason, keys);
    }
    let reason = match (&deltas.enabled, keys.is_empty()) {
        (Some(enabled), _) if enabled.after => Reason::new("enabled", "the file says that it runs"),
        (Some(_), _) => Reason::new("disabled", "the file says that it is stopped"),
        (None, false) => Reason::new("spec-changed", format!("the file changed: {}", keys.join(", "))),
        (None, true) => Reason::new("trust-changed", "what the trust file says about its publisher changed"),
    };
    debug_assert!(base.target != wanted.target || wanted.decision.is_blocked(), "equal targets are unchanged");
    (Kind::Reconfigure, reason, if deltas.enabled.is_some() { vec!["enabled"] } else { keys })
}

fn instance(
    base: Option<&Installed>,
    wanted: &Wanted,
    deltas: &Deltas,
    moves: bool,
    host: &HostSurface<'_>,
) -> Instance {
    let ran = base.is_some_and(|base| base.record.spec.enabled);
    if !wanted.record.spec.enabled {
        return if ran || base.is_some_and(is_up) { Instance::Stop } else { Instance::Keep };
    }
    // What failed or stands still gets a new try with every new target.
    let is_down = base.is_some_and(|base| matches!(base.phase, Phase::Failed | Phase::Stopped | Phase::Quarantined));
    // Under another name its log and its senders change: an instance under the old one must not go on.
    if !ran || moves || is_down {
        Instance::Fresh
    } else if !deltas.touches_instance() {
        Instance::Keep
    } else if deltas.touches_config_alone() && base.is_some_and(|base| can_be_told(base, host)) {
        Instance::Reconfigure
    } else {
        Instance::Fresh
    }
}

/// Whether an instance runs that takes another config. Where that is not known a new one takes over.
fn can_be_told(base: &Installed, host: &HostSurface<'_>) -> bool {
    base.phase == Phase::Running && base.record.surface.as_ref().is_some_and(|surface| host.reconfigures(surface))
}

pub(super) fn risks(deltas: &Deltas, base: Option<&Installed>, claim: Option<&Claim<'_>>) -> Vec<String> {
    let mut risks = Vec::new();
    if let Some(Claim::NothingThere(old)) = claim {
        risks.push(format!("{old} is not installed here, so there is nothing to take over"));
    }
    if let (Some(package), Some(base)) = (&deltas.package, base) {
        let id = base.storage_id;
        risks.push(format!("it starts with empty storage; storage {id} of {} is left behind", package.before));
    } else if deltas.publisher.is_some() || deltas.signers.is_some() {
        risks.push("its signers change; its storage goes on to what they sign".to_owned());
    }
    if let Some(version) = deltas.version.as_ref().filter(|version| version.after < version.before) {
        risks.push(format!("it goes back from {} to {}", version.before, version.after));
    }
    risks
}

/// An action for the installation that would be moved and is not: it stays under its old name.
pub(super) fn stays(row: &Row<'_>, have: &Installed, new: &InstallationName, rules: &Rules<'_>) -> Action {
    let reason = Reason::new("moves-later", format!("it stays until {new} can take it over"));
    Action { wanted: Kind::Move, ..keep(row, have, reason, rules) }
}
