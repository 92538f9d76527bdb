//! Owns how much memory an instance, and all instances together, may take.
//!
//! The engine asks before each memory and table grows. Limiting each memory by itself would be no
//! limit: a component may have many, so everything of an instance counts into one sum.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::quantity::ByteSize;

/// Core instances within one component instance.
pub const MAX_CORE_INSTANCES: usize = 64;
/// Linear memories of one component instance.
pub const MAX_MEMORIES: usize = 16;
/// Tables of one component instance.
pub const MAX_TABLES: usize = 16;
/// Elements of one table.
pub const MAX_TABLE_ELEMENTS: usize = 100_000;
/// What one table element takes, in bytes.
const TABLE_ELEMENT_BYTES: u64 = 8;
/// The budget where the machine does not tell its memory, in bytes.
const UNKNOWN_RAM_BUDGET_BYTES: u64 = 2 << 30;

/// Memory that all instances of a host share, counted as they draw from it.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit_bytes: u64) -> Self {
        Self(Arc::new(Budget { limit: limit_bytes, used: AtomicU64::new(0) }))
    }

    /// Bytes that may be drawn in all.
    pub fn limit_bytes(&self) -> u64 {
        self.0.limit
    }

    /// Bytes drawn now.
    pub fn used_bytes(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    fn draw(&self, bytes: u64) -> bool {
        let within = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Half of this machine's memory, in bytes.
pub(super) fn half_of_ram_bytes() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_ram_bytes(&text));
    total.map_or(UNKNOWN_RAM_BUDGET_BYTES, |bytes| bytes / 2)
}

fn total_ram_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Why an instance was refused memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemoryRefusal {
    /// Its own limit.
    #[error("it asked for {asked} of memory in all and its limit is {limit}", asked = ByteSize(*asked), limit = ByteSize(*limit))]
    Instance {
        /// What it would have had in all, in bytes.
        asked: u64,
        /// Its limit, in bytes.
        limit: u64,
    },
    /// The host's budget.
    #[error(
        "it asked for {more} more of memory and of the host's {limit} for all components {used} are in use",
        more = ByteSize(*more), limit = ByteSize(*limit), used = ByteSize(*used)
    )]
    Host {
        /// What it asked for on top, in bytes.
        more: u64,
        /// The host's budget, in bytes.
        limit: u64,
        /// What all instances held, in bytes.
        used: u64,
    },
    /// One table.
    #[error("it asked for a table of {0} elements and a table may have {MAX_TABLE_ELEMENTS}")]
    Table(usize),
}

/// The limits of one instance, and what it holds. Gives everything back when dropped.
#[derive(Debug)]
pub struct InstanceLimiter {
    budget: MemoryBudget,
    limit: u64,
    used: u64,
    gauge: Arc<AtomicU64>,
    last_grant: u64,
    refusal: Option<MemoryRefusal>,
}

impl InstanceLimiter {
    /// Nothing held yet, at most `limit_bytes`, drawn from `budget`.
    pub fn new(budget: MemoryBudget, limit_bytes: u64) -> Self {
        Self { budget, limit: limit_bytes, used: 0, gauge: Arc::default(), last_grant: 0, refusal: None }
    }

    /// Bytes that the instance holds.
    pub fn used_bytes(&self) -> u64 {
        self.used
    }

    /// The same number, for whoever wants to read it while the instance runs.
    pub fn gauge(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.gauge)
    }

    /// The first refusal so far: what probably lies behind a crash.
    pub fn refusal(&self) -> Option<MemoryRefusal> {
        self.refusal
    }

    fn grow(&mut self, more: u64) -> bool {
        self.last_grant = 0;
        let asked = self.used.saturating_add(more);
        if asked > self.limit {
            self.refusal.get_or_insert(MemoryRefusal::Instance { asked, limit: self.limit });
            return false;
        }
        if !self.budget.draw(more) {
            let (limit, used) = (self.budget.limit_bytes(), self.budget.used_bytes());
            self.refusal.get_or_insert(MemoryRefusal::Host { more, limit, used });
            return false;
        }
        self.used = asked;
        self.gauge.store(asked, Ordering::Relaxed);
        self.last_grant = more;
        true
    }

    /// What was granted last did not come to be.
    fn take_back(&mut self) {
        self.used -= self.last_grant;
        self.gauge.store(self.used, Ordering::Relaxed);
        self.budget.give_back(self.last_grant);
        self.last_grant = 0;
    }
}

impl Drop for InstanceLimiter {
    fn drop(&mut self) {
        self.gauge.store(0, Ordering::Relaxed);
        self.budget.give_back(self.used);
    }
}

impl wasmtime::ResourceLimiter for InstanceLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            self.last_grant = 0;
            self.refusal.get_or_insert(MemoryRefusal::Table(desired));
            return Ok(false);
        }
        Ok(self.grow((desired.saturating_sub(current) as u64).saturating_mul(TABLE_ELEMENT_BYTES)))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::ResourceLimiter;

    use super::*;

    const MIB: usize = 1 << 20;

    fn grow(limiter: &mut InstanceLimiter, from: usize, to: usize) -> bool {
        limiter.memory_growing(from, to, None).unwrap()
    }

    #[test]
    fn many_memories_count_into_one_sum() {
        let mut limiter = InstanceLimiter::new(MemoryBudget::new(1 << 40), 10 * MIB as u64);
        assert!(grow(&mut limiter, 0, 4 * MIB));
        assert!(grow(&mut limiter, 0, 4 * MIB));
        assert!(!grow(&mut limiter, 0, 4 * MIB));
        assert!(limiter.table_growing(0, 1000, None).unwrap());
        assert_eq!(limiter.used_bytes(), 8 * MIB as u64 + 8000);
        assert_eq!(limiter.refusal(), Some(MemoryRefusal::Instance { asked: 12 * MIB as u64, limit: 10 * MIB as u64 }));
    }

    #[test]
    fn a_growth_that_fails_later_is_given_back() {
        let budget = MemoryBudget::new(1 << 40);
        let mut limiter = InstanceLimiter::new(budget.clone(), 10 * MIB as u64);
        assert!(grow(&mut limiter, 0, 4 * MIB));
        assert!(grow(&mut limiter, 4 * MIB, 8 * MIB));
        limiter.memory_grow_failed(wasmtime::Error::msg("no address space")).unwrap();
        assert_eq!((limiter.used_bytes(), budget.used_bytes()), (4 * MIB as u64, 4 * MIB as u64));
        // A refusal is reported as a failure too; it took nothing.
        assert!(!grow(&mut limiter, 4 * MIB, 80 * MIB));
        limiter.memory_grow_failed(wasmtime::Error::msg("refused")).unwrap();
        assert_eq!((limiter.used_bytes(), budget.used_bytes()), (4 * MIB as u64, 4 * MIB as u64));
    }

    #[test]
    fn all_instances_together_stay_within_the_hosts_budget_and_a_dropped_one_makes_room() {
        let budget = MemoryBudget::new(10 * MIB as u64);
        let mut first = InstanceLimiter::new(budget.clone(), 8 * MIB as u64);
        let mut second = InstanceLimiter::new(budget.clone(), 8 * MIB as u64);
        assert!(grow(&mut first, 0, 6 * MIB));
        assert!(!grow(&mut second, 0, 6 * MIB));
        assert!(matches!(second.refusal(), Some(MemoryRefusal::Host { .. })));
        drop(first);
        assert!(grow(&mut second, 0, 6 * MIB));
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn a_table_of_ten_million_elements_is_refused() {
        let mut limiter = InstanceLimiter::new(MemoryBudget::new(1 << 40), 1 << 40);
        assert!(!limiter.table_growing(0, 10_000_000, None).unwrap());
        assert_eq!(limiter.used_bytes(), 0);
    }

    #[test]
    fn the_machines_memory_is_read_from_meminfo() {
        assert_eq!(total_ram_bytes("MemTotal:       24689764 kB\nMemFree: 1 kB\n"), Some(24_689_764 * 1024));
        assert_eq!(total_ram_bytes("MemFree: 1 kB\n"), None);
    }
}
