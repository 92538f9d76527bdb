//! Owns the settings about the machine: `[host]`.

use crate::document::{Report, Table};
use crate::quantity::ByteSize;

/// Smallest budget, in bytes.
const MIN_MEMORY_BYTES: u64 = 64 << 20;
/// Largest budget, in bytes.
const MAX_MEMORY_BYTES: u64 = 1 << 50;

/// How much memory all instances share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySettings {
    /// What they may hold together; none: half of the machine's memory.
    pub budget: Option<ByteSize>,
    /// Whether their limits may add up to more than that.
    pub overcommit: bool,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { budget: None, overcommit: true }
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
    table.finish(report);
    settings
}
