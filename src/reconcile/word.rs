//! An operator's word that is not spent yet: what it approves waits for its code.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::name::InstallationName;
use crate::plan::action::Action;
use crate::plan::approval::Approval;
use crate::plan::notes::Order;

/// Approvals, each bound to one action, with the order that each was given with: several people may have ordered.
#[derive(Debug, Clone, Default)]
pub(super) struct Word(pub BTreeMap<Approval, Order>);

impl Word {
    /// What is approved.
    pub fn approvals(&self) -> BTreeSet<Approval> {
        self.0.keys().cloned().collect()
    }

    /// The same with what one more order approves.
    pub fn and(mut self, approvals: BTreeSet<Approval>, order: &Order) -> Self {
        for approval in approvals {
            self.0.entry(approval).or_insert_with(|| order.clone());
        }
        self
    }

    /// The order because of which one of `actions` is carried out, if there is one.
    pub fn order_of(&self, actions: &[Action]) -> Option<Order> {
        if self.0.is_empty() {
            return None;
        }
        let carried: BTreeSet<Digest> = actions.iter().map(Action::digest).collect();
        self.0.iter().find(|(approval, _)| carried.contains(&approval.action)).map(|(_, order)| order.clone())
    }

    /// What is left of it after `actions`, when those that are `put_off` were not carried out.
    pub fn left_for(mut self, actions: &[Action], put_off: &BTreeSet<InstallationName>) -> Self {
        if !self.0.is_empty() {
            let waiting = actions.iter().filter(|action| put_off.contains(&action.name));
            let waiting: BTreeSet<Digest> = waiting.map(Action::digest).collect();
            self.0.retain(|approval, _| waiting.contains(&approval.action));
        }
        self
    }
}
