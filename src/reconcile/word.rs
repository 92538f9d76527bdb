//! An operator's word that is not spent yet: what it approves waits for its code.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::name::InstallationName;
use crate::plan::action::Action;
use crate::plan::approval::Approval;
use crate::plan::notes::Order;

/// Approvals, each bound to one action, and the order that they were given with.
#[derive(Debug, Clone, Default)]
pub(super) struct Word {
    pub approvals: BTreeSet<Approval>,
    pub order: Option<Order>,
}

impl Word {
    /// The order, if one of `actions` is carried out because of it.
    pub fn order_of(&self, actions: &[Action]) -> Option<Order> {
        let is_one = |action: &Action| is_spent_by(&self.approvals, action);
        self.order.clone().filter(|_| actions.iter().any(is_one))
    }

    /// What is left of it after `actions`, when those that are `put_off` were not carried out.
    pub fn left_for(self, actions: &[Action], put_off: &BTreeSet<InstallationName>) -> Self {
        let waiting: BTreeSet<Digest> =
            actions.iter().filter(|action| put_off.contains(&action.name)).map(Action::digest).collect();
        let mut approvals = self.approvals;
        approvals.retain(|approval| waiting.contains(&approval.action));
        if approvals.is_empty() { Self::default() } else { Self { approvals, order: self.order } }
    }
}

fn is_spent_by(approvals: &BTreeSet<Approval>, action: &Action) -> bool {
    let digest = action.digest();
    approvals.iter().any(|approval| approval.action == digest)
}
