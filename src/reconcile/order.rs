//! What an operator orders, and whether it fits what is there now.
//!
//! An order is checked against the plan that is made when it arrives: what it was given for must be what
//! is carried out.

use std::collections::BTreeSet;
use std::fmt;

use crate::digest::Digest;
use crate::plan::Plan;
use crate::plan::approval::{self, Approval, ApprovalName, Operator};
use crate::plan::notes::Order;
use crate::resolution::Refusal;
use crate::saved::{Inputs, SavedPlan};

/// Fewest hexadecimal digits by which a plan is named.
pub const MIN_PLAN_DIGITS: usize = 8;

/// An order to carry out a plan now, with what the operator approves in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyOrder {
    /// What it approves; each must be asked for by the plan.
    pub approve: BTreeSet<ApprovalName>,
    /// The digest of the plan that it is for, or the first digits of it; any plan without.
    pub plan: Option<String>,
    /// The saved plan that it is for, every input of which must still be the same.
    pub saved: Option<SavedPlan>,
    /// Who gives it.
    pub by: Operator,
}

/// An order that does not fit what is there. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub Refusal);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Refused {}

impl ApplyOrder {
    /// The approvals that it gives, each bound to the action of `plan` that asks for it. `inputs` are those of the plan.
    pub fn approvals_for(&self, plan: &Plan, inputs: impl FnOnce() -> Inputs) -> Result<BTreeSet<Approval>, Refusal> {
        if let Some(saved) = &self.saved {
            saved.check(plan, &inputs())?;
        }
        if let Some(wanted) = &self.plan {
            check_plan(plan, wanted)?;
        }
        approval::bind(plan, &self.approve)
    }

    /// What the generation remembers of it.
    pub fn note(&self) -> Order {
        let what = self.saved.as_ref().map_or_else(
            || "apply".to_owned(),
            |saved| format!("apply of the saved plan {}", saved.plan_digest.short()),
        );
        Order { what, by: self.by.clone() }
    }
}

fn check_plan(plan: &Plan, wanted: &str) -> Result<(), Refusal> {
    check_digits("plan", &plan.digest(), wanted)
}

/// Whether `wanted` names what is there `now`: a `what`, by the first digits of its digest.
pub(super) fn check_digits(what: &'static str, now: &Digest, wanted: &str) -> Result<(), Refusal> {
    let digits = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let is_name = digits.len() >= MIN_PLAN_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_name {
        let message = format!("a {what} is named by at least {MIN_PLAN_DIGITS} hexadecimal digits of its digest");
        return Err(Refusal::new("not-a-plan-digest", message));
    }
    if now.hex().starts_with(&digits.to_ascii_lowercase()) {
        return Ok(());
    }
    let message = format!("the {what} is another one by now: {}, and not {digits}", now.short());
    Err(Refusal::new("plan-moved", message).hint(format!("look at it with `airssys-wasm {what}`, then apply that")))
}
