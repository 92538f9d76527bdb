//! What is not carried out, and why, in words.

use std::collections::BTreeMap;

use crate::desired::BadFile;
use crate::diagnostic::Diagnostic;
use crate::name::InstallationName;
use crate::plan::Plan;
use crate::plan::action::{Action, Kind};
use crate::plan::text::{APPLY, approve_command};
use crate::resolution::Refusal;

use super::notice::Notice;
use super::resolve::FETCHING;

/// A bad file that nobody knows the installation of, as a problem of the directory.
pub(super) fn bad_file(file: &BadFile) -> Refusal {
    let first = file.problems.iter().find(|problem| problem.place.is_some()).or(file.problems.first());
    let what = first.map_or_else(|| file.file.clone(), Diagnostic::one_line);
    let message = format!("{what}; nothing is removed while it is unknown what {} defines", file.file);
    let refusal = Refusal::new("invalid-file", message);
    match first.and_then(|problem| problem.hint.clone()) {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

/// A line for every action that is not carried out.
pub(super) fn held_notices(plan: &Plan) -> BTreeMap<InstallationName, Notice> {
    // What is on its way is told as progress, not as something to look into.
    let held = plan.actions.iter().filter(|action| !action.is_ready() && action.reason.code != FETCHING);
    held.map(|action| {
        let notice = Notice::Held {
            kind: match action.kind {
                Kind::Hold => "held",
                Kind::Blocked => "blocked",
                _ => "needs an approval",
            },
            name: action.name.clone(),
            location: Some(action.location.to_string()),
            why: why_not(action),
            keeps_running: action.before.is_some(),
        };
        (action.name.clone(), notice)
    })
    .collect()
}

/// Why an action of a plan is not carried out, and what to do about it.
pub fn why_not(action: &Action) -> Refusal {
    let missing: Vec<_> = action.approvals.iter().filter(|approval| !approval.given).collect();
    if action.effect.is_none() || missing.is_empty() {
        let reason = &action.reason;
        return Refusal { code: reason.code.to_string(), message: reason.message.clone(), hint: reason.hint.clone() };
    }
    let why: Vec<&str> = missing.iter().map(|approval| approval.why.as_str()).collect();
    let names: Vec<String> = missing.iter().map(|approval| approval.name.to_string()).collect();
    let message = format!("{} needs an approval ({}): {}", action.kind.as_str(), names.join(", "), why.join("; "));
    let command = approve_command(APPLY, missing.iter().map(|approval| &approval.name));
    Refusal::new("needs-approval", message).hint(format!("to approve it: {command}"))
}
