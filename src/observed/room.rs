//! Decides whether one more instance fits: into the memory of the host's budget, and into the maps of the kernel.
//!
//! Pure: whoever looked at the machine passes the numbers. A start that does not fit is refused before anything is
//! tried, as a process that runs out of maps is ended and takes every component with it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::digest::Digest;
use crate::quantity::ByteSize;
use crate::record::Record;
use crate::resolution::Refusal;

/// Memory maps that one instance may take: memory, its image, its guard, a stack.
pub const MAPS_PER_INSTANCE: u64 = 4;
/// Memory maps that the code of one wasm takes, however many instances share it.
pub const MAPS_PER_CODE: u64 = 3;
/// Memory maps that no component is given: threads, libraries, what the host allocates.
pub const SPARE_MAPS: u64 = 2_048;

/// What the machine has room for; by default nothing is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Memory of all instances together.
    pub memory: Option<MemoryRoom>,
    /// Memory maps of the process; none where the kernel has no such limit.
    pub maps: Option<MapRoom>,
}

/// The budget that all instances draw from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRoom {
    /// Bytes that they may hold together.
    pub budget: u64,
    /// Whether the limits of all instances may add up to more than the budget. What they really hold never does.
    pub overcommits: bool,
}

/// The maps of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRoom {
    /// Most that the kernel gives one process.
    pub max: u64,
    /// How many it has.
    pub used: u64,
}

/// What the starts that were let in may take, and of how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Asked {
    /// How many start.
    pub starts: u64,
    /// The memory that their limits allow them, in bytes.
    pub memory_bytes: u64,
    /// The memory that all instances may hold together, in bytes; absent where it was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_budget_bytes: Option<u64>,
    /// The memory maps that they may take.
    pub maps: u64,
    /// Maps that are in use or promised without them; absent where the kernel has no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maps_used: Option<u64>,
    /// Most maps that the kernel gives the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maps_max: Option<u64>,
}

impl Asked {
    /// All of it in one line; none when nothing starts or nothing was looked at.
    pub fn text(&self) -> Option<String> {
        let Self { starts, memory_bytes, memory_budget_bytes, maps: _, maps_used, maps_max } = self;
        let memory = memory_budget_bytes
            .map(|budget| format!("memory up to {} of {} for all", mebibytes(*memory_bytes), mebibytes(budget)));
        let maps = maps_used.zip(*maps_max);
        let maps = maps.map(|(used, max)| format!("maps up to {} of {max} ({used} in use or promised)", self.maps));
        let parts: Vec<String> = memory.into_iter().chain(maps).collect();
        let starts = if *starts == 1 { "1 start".to_owned() } else { format!("{starts} starts") };
        (self.starts > 0 && !parts.is_empty()).then(|| format!("for {starts}: {}", parts.join(", ")))
    }
}

/// Counts what was let in.
#[derive(Debug, Clone)]
pub struct Tally {
    room: Room,
    asked: Asked,
    instances: u64,
    promised: u64,
    codes: BTreeSet<Digest>,
}

impl Room {
    /// Nothing was let in yet.
    pub fn tally(self) -> Tally {
        Tally { room: self, asked: Asked::default(), instances: 0, promised: 0, codes: BTreeSet::new() }
    }

    /// Whether what is there already must be counted in: only then its limits, or its maps, matter.
    pub fn counts_all(&self, is_live: bool) -> bool {
        self.memory.is_some_and(|memory| !memory.overcommits) || self.maps.is_some() && !is_live
    }
}

impl Tally {
    /// An instance that is there: its limit is promised, its maps are among those in use.
    pub fn holds(&mut self, record: &Record) {
        self.instances += 1;
        self.promised = self.promised.saturating_add(record.limits.memory.0);
    }

    /// An instance that is not there now and comes back without being asked for: when the host starts.
    pub fn will_hold(&mut self, record: &Record) {
        let maps = self.maps_of(record);
        self.holds(record);
        self.take(record, maps);
    }

    /// One more instance, in the place of `replaced` if there is one.
    pub fn start(&mut self, record: &Record, replaced: Option<&Record>) -> Result<(), Refusal> {
        let limit = record.limits.memory;
        let freed = replaced.filter(|record| record.spec.enabled).map_or(0, |record| record.limits.memory.0);
        if let Some(MemoryRoom { budget, overcommits }) = self.room.memory {
            let shown = mebibytes(budget);
            if limit.0 > budget {
                let message =
                    format!("its limit of {limit} is more than the {shown} that all components may hold together");
                return Err(
                    Refusal::new("no-memory", message).hint(format!("lower `limits.memory`, or {RAISE_MEMORY}"))
                );
            }
            let promised = self.promised.saturating_sub(freed);
            if !overcommits && promised.saturating_add(limit.0) > budget {
                let message = format!(
                    "its limit of {limit} does not fit: {} of {shown} are promised to {} others",
                    mebibytes(promised),
                    self.instances - u64::from(freed > 0)
                );
                let hint = format!("lower limits, or {RAISE_MEMORY}, or set `overcommit = true` there");
                return Err(Refusal::new("no-memory", message).hint(hint));
            }
        }
        let maps = self.maps_of(record);
        if let Some(MapRoom { max, used }) = self.room.maps
            && used.saturating_add(maps).saturating_add(SPARE_MAPS) > max
        {
            let message = format!(
                "it may take {maps} memory maps, and {used} of {max} are in use or promised ({SPARE_MAPS} are kept free)"
            );
            let hint = format!("let the kernel give more: sysctl -w vm.max_map_count={}", more_maps(max));
            return Err(Refusal::new("no-maps", message).hint(hint));
        }
        if freed == 0 {
            self.instances += 1;
        }
        self.promised = self.promised.saturating_sub(freed).saturating_add(limit.0);
        self.take(record, maps);
        self.asked.starts += 1;
        self.asked.memory_bytes = self.asked.memory_bytes.saturating_add(limit.0);
        self.asked.maps = self.asked.maps.saturating_add(maps);
        Ok(())
    }

    /// What was let in by [`Tally::start`], and of how much.
    pub fn asked(&self) -> Asked {
        let maps = self.room.maps;
        Asked {
            memory_budget_bytes: self.room.memory.map(|memory| memory.budget),
            maps_used: maps.map(|room| room.used.saturating_sub(self.asked.maps)),
            maps_max: maps.map(|room| room.max),
            ..self.asked
        }
    }

    fn maps_of(&self, record: &Record) -> u64 {
        let code = if self.codes.contains(&record.artifact.wasm) { 0 } else { MAPS_PER_CODE };
        MAPS_PER_INSTANCE + code
    }

    fn take(&mut self, record: &Record, maps: u64) {
        self.codes.insert(record.artifact.wasm);
        if let Some(room) = &mut self.room.maps {
            room.used = room.used.saturating_add(maps);
        }
    }
}

const RAISE_MEMORY: &str = "raise `memory` in [host] of config.toml and restart the host";

/// In whole MiB, so that half of an odd number of pages reads well.
pub fn mebibytes(bytes: u64) -> ByteSize {
    ByteSize(bytes >> 20 << 20)
}

/// Twice as many, at least what a large host takes.
fn more_maps(max: u64) -> u64 {
    max.saturating_mul(2).max(262_144)
}
