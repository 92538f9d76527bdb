//! Owns the cases of the corpus, by what they overdo or break.

use super::corpus::{Case, Ends, SHORT, TOO_LONG};
use super::*;

mod canonical;
mod cpu;
mod handles;
mod lifecycle;
mod logs;
mod memory;
mod messages;
mod stack;
mod storage;
mod streams;
mod structure;
mod tables;
mod traps;

pub(super) fn all() -> Vec<Case> {
    [
        canonical::cases(),
        cpu::cases(),
        handles::cases(),
        lifecycle::cases(),
        logs::cases(),
        memory::cases(),
        messages::cases(),
        stack::cases(),
        storage::cases(),
        streams::cases(),
        structure::cases(),
        tables::cases(),
        traps::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The end of a body of which nothing returns.
const FOR_EVER: &str = "(loop $ever (br $ever)) unreachable";

/// A loop without end around this.
fn for_ever(body: &str) -> String {
    format!("(loop $ever {body} (br $ever)) unreachable")
}

/// This so many times, counted in `$i`; and then it is handled.
fn times(many: u32, body: &str) -> String {
    format!(
        "(loop $more {body}
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $i) (i32.const {many}))))
         (call $ok_none)"
    )
}

/// Sees to it that an instance may start for a short time only.
fn starts_shortly(limits: &mut Limits) {
    limits.init = SHORT;
}
