//! Owns what a worker may use up. Each limit has a name and a unit; the defaults are the host's.

use std::time::Duration;

use crate::source::remote::FetchJob;

/// Slowest rate at which a wasm may arrive, in bytes a second: its size makes the time that it has.
pub const WASM_BYTES_A_SECOND: u64 = 16 << 10;
/// Files that a fetch may have open, the standard streams included.
pub const FETCH_OPEN_FILES: u64 = 64;
/// Largest file that a fetch may write, in bytes: a pack, and its index.
pub const FETCH_FILE_BYTES: u64 = 2 << 30;
/// Address space of a fetch, in bytes.
pub const FETCH_MEMORY_BYTES: u64 = 512 << 20;
/// Processor time of a fetch, in seconds.
pub const FETCH_CPU_S: u64 = 120;
/// Time until a fetch from a repository has found its artifact.
pub const GIT_TIME: Duration = Duration::from_secs(300);
/// Time until a fetch from behind a URL has its manifest and signature.
pub const URL_TIME: Duration = Duration::from_secs(60);
/// Time of a fetch without a word of progress: longer than the wait for another one that uses the same mirror.
pub const FETCH_QUIET: Duration = Duration::from_secs(90);
/// Address space of a compilation, in bytes.
pub const COMPILE_MEMORY_BYTES: u64 = 2 << 30;
/// Processor time of a compilation on all cores together, in seconds.
pub const COMPILE_CPU_S: u64 = 60;
/// Time of a compilation.
pub const COMPILE_TIME: Duration = Duration::from_secs(120);
/// Time for which a pass waits for a compilation.
pub const COMPILE_FIRST_TURN: Duration = Duration::from_secs(5);

/// What one fetch may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchLimits {
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// Processor time, in seconds.
    pub cpu_s: u64,
    /// Size of any file it writes, in bytes.
    pub file_bytes: u64,
    /// Open files, the standard streams included.
    pub open_files: u64,
    /// Time from the start until it says what it found. For the wasm it has the same time once more, and what
    /// [`WASM_BYTES_A_SECOND`] makes of its size.
    pub time: Duration,
    /// Time without a word of progress until it says what it found. A server that sends a byte now and then keeps a
    /// connection busy and brings nothing.
    pub quiet: Duration,
}

impl FetchLimits {
    /// The limits of a host.
    pub fn of(job: &FetchJob) -> Self {
        Self {
            memory_bytes: FETCH_MEMORY_BYTES,
            cpu_s: FETCH_CPU_S,
            file_bytes: FETCH_FILE_BYTES,
            open_files: FETCH_OPEN_FILES,
            quiet: FETCH_QUIET,
            time: match job {
                FetchJob::Git(_) | FetchJob::Tree(_) => GIT_TIME,
                FetchJob::Url(_) => URL_TIME,
            },
        }
    }

    /// Time for a wasm of this size, in bytes.
    pub(super) fn wasm_time(&self, size: u64) -> Duration {
        self.time + Duration::from_secs(size / WASM_BYTES_A_SECOND)
    }
}

/// Which of the two turns a compilation takes. In each there is one at a time in a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// Somebody waits for it.
    #[default]
    Waited,
    /// It goes on beside everything else, at the lowest priority.
    Beside,
}

/// What one compilation may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// Processor time on all cores together, in seconds.
    pub cpu_s: u64,
    /// Time from the start to the last byte of code.
    pub time: Duration,
    /// Time for which a pass of a running host waits for it. What takes longer goes on beside the passes.
    pub first_turn: Duration,
    /// Whose turn it takes.
    pub lane: Lane,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory_bytes: COMPILE_MEMORY_BYTES,
            cpu_s: COMPILE_CPU_S,
            time: COMPILE_TIME,
            first_turn: COMPILE_FIRST_TURN,
            lane: Lane::Waited,
        }
    }
}
