//! Tries one input after the other, and holds each to its bounds.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::mutate::Mutator;
use super::seen::Seen;
use super::targets::{self, Target};
use super::{INPUT, JOURNAL, MOST_MEMORY, SECONDS, SEED, TARGET, seeds};

/// Most processor time of one input, unoptimised as the tests are.
const MOST_TIME: Duration = Duration::from_secs(1);
/// What takes less time can't have touched much memory.
const TIME_OF_MEMORY: Duration = Duration::from_millis(2);
/// Inputs with new answers that are kept to make others of, and their bytes.
const MOST_KEPT: usize = 2_000;
const MOST_KEPT_BYTES: usize = 4 << 20;
/// Longer ones are not kept: everything made of them would be slow.
const MOST_KEPT_LENGTH: usize = 4 << 10;

/// Runs what the environment names.
pub fn run() {
    let name = std::env::var(TARGET).expect("started by a test of this file, or by hand with a target");
    let mut child = Child::new(targets::named(&name));
    if let Some(file) = std::env::var_os(INPUT) {
        child.attempt(&std::fs::read(file).expect("readable"));
    } else {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        child.seeds();
        child.largest();
        child.make(number(SEED), Duration::from_secs(number(SECONDS)));
    }
    child.tell();
}

struct Child {
    target: &'static Target,
    journal: Option<File>,
    attempts: u64,
    kinds: BTreeSet<u64>,
    pool: Vec<Vec<u8>>,
    slowest: (Duration, Vec<u8>),
    memory_before: u64,
}

impl Child {
    fn new(target: &'static Target) -> Self {
        let journal = std::env::var_os(JOURNAL).map(|file| File::create(file).expect("made"));
        let (kinds, pool, slowest) = Default::default();
        Self { target, journal, attempts: 0, kinds, pool, slowest, memory_before: most_memory() }
    }

    /// Tries what is checked in. Some of it is taken and some refused, or the target asks nothing.
    fn seeds(&mut self) {
        let (mut taken, mut refused) = (0, 0);
        for seed in seeds(self.target.name) {
            let seen = self.attempt(&seed);
            taken += u64::from(seen.taken);
            refused += u64::from(seen.refused);
            self.pool.push(seed);
        }
        assert!(taken > 1 && refused > 1, "of the seeds, something is taken of {taken} and refused of {refused}");
    }

    fn largest(&mut self) {
        for input in (self.target.largest)() {
            self.attempt(&input);
        }
    }

    /// Makes new inputs until the time is over; those with a new kind of answer are what later ones are made of.
    fn make(&mut self, seed: u64, time: Duration) {
        let mut mutator = Mutator::new(seed, self.target);
        let until = Instant::now() + time;
        let mut kept_bytes = 0;
        while Instant::now() < until {
            let input = mutator.make(&self.pool);
            let kind = self.attempt(&input).shape();
            let room = self.pool.len() < MOST_KEPT && kept_bytes + input.len() <= MOST_KEPT_BYTES;
            if self.kinds.insert(kind) && room && input.len() <= MOST_KEPT_LENGTH {
                kept_bytes += input.len();
                self.pool.push(input);
            }
        }
    }

    /// Tries one input.
    fn attempt(&mut self, input: &[u8]) -> Seen {
        if let Some(journal) = &self.journal {
            let length = (input.len() as u64).to_le_bytes();
            journal.write_all_at(&[&length, input].concat(), 0).expect("written");
        }
        self.attempts += 1;
        let mut seen = Seen::default();
        let before = processor_time();
        (self.target.run)(input, &mut seen);
        let took = processor_time() - before;
        assert!(took < MOST_TIME, "{} bytes took {took:?} of processor time", input.len());
        if took > self.slowest.0 {
            self.slowest = (took, input.to_vec());
        }
        if took > TIME_OF_MEMORY {
            let rise = most_memory().saturating_sub(self.memory_before);
            assert!(rise < MOST_MEMORY, "with {} bytes it took {rise} bytes of memory", input.len());
        }
        seen
    }

    fn tell(&self) {
        let (took, input) = &self.slowest;
        let start: String = input.iter().take(40).map(|byte| format!("{byte:02x}")).collect();
        let more = if input.len() > 40 { "…" } else { "" };
        eprintln!(
            "{}: {} inputs, {} kinds of answers, memory rose by {} KiB; the slowest took {took:?}, {} bytes: {start}{more}",
            self.target.name,
            self.attempts,
            self.kinds.len(),
            most_memory().saturating_sub(self.memory_before) >> 10,
            input.len(),
        );
    }
}

/// Of all threads: a busy machine makes it no longer.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.expect("not negative"), nanoseconds.expect("below a second"))
}

/// The most that this process ever had in memory, in bytes; 0 where the system does not say.
pub fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    kibibytes.map_or(0, |text| text.trim().parse::<u64>().expect("a number") << 10)
}
