//! Decides the way back from a version that did not prove itself.

use std::sync::Arc;

use super::action::{Action, Commit, Effect, Instance, Kind, Location, Reason, Storage, Summary};
use super::change::Deltas;
use super::impact::{Impact, Interface, Outcome};
use crate::observed::Installed;
use crate::record::Record;
use crate::surface::HostSurface;

/// The machine reason of an action that goes back.
pub const REVERTED: &str = "reverted";

/// The action that makes `previous` run again in place of what is installed; `why` is one sentence.
///
/// None when `previous` is what is installed. That the version left behind is not tried again is up to
/// the hold that goes into the same commit.
pub fn revert(installed: &Installed, previous: Arc<Record>, why: &str, host: &HostSurface<'_>) -> Option<Action> {
    let target = previous.target_digest();
    if target == installed.target {
        return None;
    }
    let instance = if previous.spec.enabled { Instance::Fresh } else { Instance::Stop };
    let is_other_artifact = previous.artifact != installed.record.artifact;
    let kind = if is_other_artifact { Kind::Update } else { Kind::Reconfigure };
    let interface = Interface::replacing(&installed.record, &previous, host);
    let outcome = Outcome::replaced(installed, &previous, (Storage::Keep(installed.storage_id), instance), host);
    Some(Action {
        name: previous.spec.name.clone(),
        kind,
        wanted: kind,
        reason: Reason::new(REVERTED, why),
        location: Location::file(&installed.record.origin.file),
        before: Some(Summary::installed(installed)),
        after: Some(Summary::record(&previous, target)),
        deltas: Deltas::between(&installed.record, &previous),
        impact: Impact { interface, outcome: Some(outcome), ..Impact::default() },
        risks: Vec::new(),
        approvals: Vec::new(),
        effect: Some(Effect::Commit(Commit {
            record: previous,
            target,
            storage: Storage::Keep(installed.storage_id),
            instance,
            moved_from: None,
        })),
    })
}
