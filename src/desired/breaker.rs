//! Decides which circuit breaker a file may ask for.
//!
//! It keeps no state and no time; the actors do.

use std::ops::RangeInclusive;

use crate::desired::spec::Breaker;
use crate::document::{Report, Table, Value};
use crate::quantity::Millis;

/// Most messages that a threshold counts.
pub const MAX_THRESHOLD: u64 = 1_000;
/// Shortest and longest time for which nothing goes.
pub const OPEN_TIME: RangeInclusive<Millis> = Millis(10)..=Millis(3_600_000);

/// Reads the `[breaker]` table.
pub fn read<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Breaker {
    let default = Breaker::default();
    let failure_threshold = threshold(table.take("failure-threshold"), report);
    let success_threshold = threshold(table.take("success-threshold"), report);
    let open_time = table.take("open-time").and_then(|value| value.millis(OPEN_TIME, report));
    table.finish(report);
    Breaker {
        failure_threshold: failure_threshold.unwrap_or(default.failure_threshold),
        success_threshold: success_threshold.unwrap_or(default.success_threshold),
        open_time: open_time.unwrap_or(default.open_time),
    }
}

fn threshold<'t>(value: Option<Value<'_, 't>>, report: &mut Report<'t>) -> Option<u32> {
    let value = value?;
    let count = value.integer(report)?;
    value.within(count, 1..=MAX_THRESHOLD, report)?.try_into().ok()
}
