//! Owns the settings about the machine: `[host]`.

use crate::document::{Report, Table};
use crate::quantity::{ByteSize, Millis};

/// Smallest budget, in bytes.
const MIN_MEMORY_BYTES: u64 = 64 << 20;
/// Largest budget, in bytes.
const MAX_MEMORY_BYTES: u64 = 1 << 50;
/// How long a stateless component is idle before it goes without an instance, unless the file says otherwise.
pub const DEFAULT_SLEEP_AFTER: Millis = Millis(60_000);
/// The shortest and the longest time that the file may say.
const SLEEP_AFTER: std::ops::RangeInclusive<Millis> = Millis(100)..=Millis(86_400_000);

/// How much memory all instances share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySettings {
    /// What they may hold together; none: half of the machine's memory.
    pub budget: Option<ByteSize>,
    /// Whether their limits may add up to more than that.
    pub overcommit: bool,
    /// How long a stateless component takes no message before it goes without an instance.
    pub sleep_after: Millis,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { budget: None, overcommit: true, sleep_after: DEFAULT_SLEEP_AFTER }
    }
}

/// Reads the table.
pub(super) fn read<'t>(root: &mut Table<'_, 't>, report: &mut Report<'t>) -> MemorySettings {
    let mut settings = MemorySettings::default();
    let Some(mut table) = root.table("host", report) else { return settings };
    let range = ByteSize(MIN_MEMORY_BYTES)..=ByteSize(MAX_MEMORY_BYTES);
    settings.budget = table.take("memory").and_then(|value| value.bytes(range, report));
    if let Some(value) = table.take("overcommit") {
        settings.overcommit = value.boolean(report).unwrap_or(true);
    }
    if let Some(value) = table.take("sleep-after") {
        settings.sleep_after = value.millis(SLEEP_AFTER, report).unwrap_or(DEFAULT_SLEEP_AFTER);
    }
    table.finish(report);
    settings
}
