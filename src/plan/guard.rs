//! Decides whether the deletes of a plan may be carried out.
//!
//! Lists them always. What cannot be seen is not deleted; much at once is not deleted unattended.

use std::collections::BTreeSet;

use serde::Serialize;

use super::action::{Action, Effect, Kind, Reason};
use super::approval::{Approval, ApprovalName};
use crate::desired::DesiredState;
use crate::observed::RecentSet;

/// Share of the set that may be deleted unattended, in percent.
pub const MAX_DELETED_PERCENT: usize = 20;
/// Number of installations that may be deleted unattended whatever their share.
pub const MAX_DELETED: usize = 3;

/// A rule that was applied to the plan as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guard {
    /// Which rule.
    pub name: &'static str,
    /// What was counted: deletes of this plan and of the last ten minutes.
    pub value: usize,
    /// Against which number.
    pub of: usize,
    /// The rule in words.
    pub limit: String,
    /// Whether the rule lets the plan pass.
    pub ok: bool,
}

/// Why the absence of a file means nothing at the moment; `None` when it does mean something.
pub(super) fn absence_is_unknown(desired: &DesiredState) -> Option<Reason> {
    if !desired.complete {
        let message = "the directory of desired files could not be listed completely, so nothing is taken as removed";
        return Some(Reason::new("directory-incomplete", message));
    }
    let unknown = desired.unknown.len();
    (unknown > 0).then(|| {
        let files = if unknown == 1 { "a file" } else { "some files" };
        let message = format!("{files} could not be read and may be the missing one, so nothing is taken as removed");
        Reason::new("unreadable-files", message).hint("repair or remove the unreadable files that the plan lists")
    })
}

/// The set that deletes are counted against.
pub(super) struct Set {
    /// How many are installed now.
    pub installed: usize,
    /// What happened in the last ten minutes.
    pub recent: RecentSet,
}

/// Applies the guard to the uninstalls among `actions`; none is left out of the plan.
pub(super) fn apply<'p>(
    actions: impl Iterator<Item = &'p mut Action>,
    set: &Set,
    absence: Option<&Reason>,
    given: &BTreeSet<Approval>,
) -> Vec<Guard> {
    let deletes: Vec<&mut Action> =
        actions.filter(|action| matches!(action.effect, Some(Effect::Uninstall { .. }))).collect();
    if deletes.is_empty() {
        return Vec::new();
    }
    let guard = judge(deletes.len(), set);
    for action in deletes {
        if let Some(reason) = absence {
            action.stop(Kind::Blocked, reason.clone());
        } else if !guard.ok {
            let why =
                format!("{} of {} deleted within ten minutes: more than is done unattended", guard.value, guard.of);
            action.need(ApprovalName::Delete, why, given);
        }
    }
    match absence {
        None => vec![guard],
        Some(_) => {
            vec![Guard { limit: "none until the directory can be read as a whole".to_owned(), ok: false, ..guard }]
        }
    }
}

/// Judges `deletes` deletes out of the set.
fn judge(deletes: usize, set: &Set) -> Guard {
    let Set { installed, recent } = *set;
    let of = recent.size.max(installed);
    let value = deletes + recent.removed;
    let is_everything = of > 1 && value >= of;
    let is_much = value > MAX_DELETED && value * 100 > of * MAX_DELETED_PERCENT;
    let limit =
        format!("at most {MAX_DELETED}, or {MAX_DELETED_PERCENT} % of the set of ten minutes ago, and never all");
    Guard { name: "deletes", value, of, limit, ok: !is_everything && !is_much }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_free(deletes: usize, installed: usize, recent: RecentSet) -> bool {
        judge(deletes, &Set { installed, recent }).ok
    }

    #[test]
    fn three_deletes_and_a_fifth_of_the_set_pass_and_one_more_does_not() {
        assert!(is_free(3, 4, RecentSet::unchanged(4)));
        assert!(!is_free(4, 19, RecentSet::unchanged(19)));
        assert!(is_free(4, 20, RecentSet::unchanged(20)));
        assert!(is_free(20, 100, RecentSet::unchanged(100)));
        assert!(!is_free(21, 100, RecentSet::unchanged(100)));
    }

    #[test]
    fn everything_passes_only_when_there_is_one() {
        assert!(is_free(1, 1, RecentSet::unchanged(1)));
        assert!(!is_free(2, 2, RecentSet::unchanged(2)));
        assert!(!is_free(3, 3, RecentSet::unchanged(3)));
    }

    #[test]
    fn deletes_in_small_steps_add_up_to_a_mass_delete() {
        assert!(is_free(2, 82, RecentSet { size: 100, removed: 18 }));
        assert!(!is_free(3, 82, RecentSet { size: 100, removed: 18 }));
    }

    #[test]
    fn a_set_that_grew_within_ten_minutes_counts_at_its_new_size() {
        assert!(is_free(4, 100, RecentSet::unchanged(1)));
        assert!(!is_free(100, 100, RecentSet::unchanged(1)));
    }
}
