//! Decides how what differs although nothing that is wanted changed is brought back.

use super::action::{Action, Commit, Effect, Instance, Kind, Location, Reason, Storage, Summary};
use super::change::Deltas;
use super::decide::{Rules, Verdict};
use super::impact::{Impact, Outcome};
use crate::desired::spec::Origin;
use crate::observed::{Installed, Phase};

/// Stopped, and should run.
pub(super) fn is_down(have: &Installed) -> bool {
    have.record.spec.enabled && have.phase == Phase::Stopped
}

/// Running or about to, and should be stopped.
pub(super) fn is_up(have: &Installed) -> bool {
    let may_run = matches!(have.phase, Phase::Running | Phase::Starting | Phase::Backoff | Phase::Failed);
    !have.record.spec.enabled && may_run
}

/// Brings back what differs although nothing that is wanted changed.
pub(super) fn drift(have: &Installed, origin: &Origin, rules: &Rules<'_>) -> Verdict {
    let location = Location::of(origin, &["enabled"]);
    let action = if have.record.spec.enabled { restart(have, location) } else { stop(have, location, rules) };
    Verdict::Act(Box::new(action))
}

/// The start of what is committed and does not run.
pub fn restart(have: &Installed, location: Location) -> Action {
    let reason = Reason::new("not-running", "it is stopped and should run");
    let effect = Effect::Restart { record: have.record.clone() };
    action(have, location, (Kind::Restart, reason, effect), Outcome::restarted(have))
}

fn stop(have: &Installed, location: Location, rules: &Rules<'_>) -> Action {
    let reason = Reason::new("not-stopped", "it runs and should be stopped");
    let outcome = Outcome::replaced(have, &have.record, (Storage::Keep(have.storage_id), Instance::Stop), &rules.host);
    let commit = Commit {
        record: have.record.clone(),
        target: have.target,
        storage: Storage::Keep(have.storage_id),
        instance: Instance::Stop,
        moved_from: None,
    };
    action(have, location, (Kind::Reconfigure, reason, Effect::Commit(commit)), outcome)
}

fn action(
    have: &Installed,
    location: Location,
    (kind, reason, effect): (Kind, Reason, Effect),
    outcome: Outcome,
) -> Action {
    Action {
        name: have.record.spec.name.clone(),
        kind,
        wanted: kind,
        reason,
        location,
        before: Some(Summary::installed(have)),
        after: Some(Summary::installed(have)),
        deltas: Deltas::default(),
        impact: Impact { outcome: Some(outcome), ..Impact::default() },
        risks: Vec::new(),
        approvals: Vec::new(),
        effect: Some(effect),
    }
}
