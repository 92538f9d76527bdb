//! Decides which restarts and triggers a file may ask for.
//!
//! It counts no restarts and keeps no time; the actors do.

use std::ops::RangeInclusive;

use crate::desired::spec::{RestartPolicy, Supervision, Trigger};
use crate::document::{Report, Table, Value};
use crate::quantity::Millis;

/// Most restarts within one window.
pub const MAX_RESTARTS: u64 = 1_000;
/// Shortest and longest time over which restarts are counted.
pub const WINDOW: RangeInclusive<Millis> = Millis(1_000)..=Millis(3_600_000);
/// Shortest and longest wait before a restart.
pub const BACKOFF: RangeInclusive<Millis> = Millis(10)..=Millis(3_600_000);
/// Most triggers of one installation.
pub const MAX_TRIGGERS: usize = 16;
/// Shortest and longest period of a trigger.
pub const EVERY: RangeInclusive<Millis> = Millis(10)..=Millis(86_400_000);

/// Kinds of triggers that later versions know.
const LATER: [&str; 5] = ["cron", "schedule", "at", "on", "topic"];

/// Reads the `[supervision]` table.
pub fn read<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Supervision {
    let default = Supervision::default();
    let restart = table.take("restart").and_then(|value| {
        let known = [RestartPolicy::Permanent, RestartPolicy::Never].map(|policy| (policy.as_str(), policy));
        value.word(&known, &["transient", "temporary", "on-failure", "always"], report)
    });
    let max_restarts = table.take("max-restarts").and_then(|value| {
        let count = value.integer(report)?;
        value.within(count, 1..=MAX_RESTARTS, report)
    });
    let window = table.take("window").and_then(|value| value.millis(WINDOW, report));
    let backoff_value = table.take("backoff");
    let backoff = backoff_value.as_ref().and_then(|value| value.millis(BACKOFF, report));
    let backoff_max_value = table.take("backoff-max");
    let backoff_max = backoff_max_value.as_ref().and_then(|value| value.millis(BACKOFF, report));
    table.refuse("strategy", "every component is restarted by itself; remove the line", report);
    table.finish(report);
    let supervision = Supervision {
        restart: restart.unwrap_or(default.restart),
        max_restarts: max_restarts.and_then(|count| count.try_into().ok()).unwrap_or(default.max_restarts),
        window: window.unwrap_or(default.window),
        backoff: backoff.unwrap_or(default.backoff),
        backoff_max: backoff_max.unwrap_or(default.backoff_max),
    };
    if let Some(value) = backoff_value.or(backoff_max_value)
        && supervision.backoff > supervision.backoff_max
    {
        let message =
            format!("the first wait, {}, is longer than the longest, {}", supervision.backoff, supervision.backoff_max);
        report.error_with_hint(value.span, message, "`backoff` must not exceed `backoff-max`");
    }
    supervision
}

/// Reads the `[[trigger]]` tables.
pub fn read_triggers<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Vec<Trigger> {
    if value.is_table() {
        report.error_with_hint(value.key_span.clone(), "`trigger` must be a list of tables", "write `[[trigger]]`");
        return Vec::new();
    }
    let items = value.items(MAX_TRIGGERS, report).unwrap_or_default();
    let mut triggers: Vec<_> = items.iter().filter_map(|item| read_trigger(item.table(report)?, report)).collect();
    // Their order means nothing, so another order must not be another spec.
    triggers.sort_unstable();
    triggers
}

fn read_trigger<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Option<Trigger> {
    for kind in LATER {
        table.refuse(kind, "the only trigger of this version is a period: every = \"1m\"", report);
    }
    for setting in ["payload", "message", "jitter", "name"] {
        table.refuse(setting, "remove the line", report);
    }
    let every = table.take("every");
    if every.is_none() && !table.has_unasked() && !LATER.iter().any(|kind| table.holds(kind)) {
        table.report_missing("every", Some("add a period: every = \"1m\"".to_owned()), report);
    }
    table.finish(report);
    every?.millis(EVERY, report).map(|every| Trigger { every })
}
