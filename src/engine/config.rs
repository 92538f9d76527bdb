//! Owns the engine's settings and its clock.
//!
//! The settings are chosen for hostile guests first and for the price of a call second. Nothing here
//! is configurable from a file: code that was compiled under other settings would not load.

use std::time::{Duration, Instant};

use super::EngineConfig;

/// How often a running guest can be looked at: the unit of every deadline.
pub const EPOCH_TICK: Duration = Duration::from_millis(EPOCH_TICK_MS);
const EPOCH_TICK_MS: u64 = 10;
/// Stack that a guest may use, in bytes. A thread that calls guests needs more than this.
pub const MAX_WASM_STACK_BYTES: usize = 512 * 1024;
/// How far the clock is moved to end all running calls; longer than any deadline.
const EXPIRY_TICKS: u64 = 60 * 60 * 100;
/// Most ticks that the clock catches up at once, so that a machine that slept does not kill every call.
const MAX_CATCH_UP_TICKS: u128 = 3;

/// The deadline of a call that may take `time`, in ticks. Rounded up, and one more for the tick that has begun.
pub fn ticks(time: Duration) -> u64 {
    // Whole milliseconds are exact enough, and cheap: this is asked before every call.
    let ms = time.as_secs().saturating_mul(1_000).saturating_add(u64::from(time.subsec_nanos().div_ceil(1_000_000)));
    ms.div_ceil(EPOCH_TICK_MS) + 1
}

/// The settings of the engine, for whoever measures against a bare one.
pub fn wasmtime_config(config: &EngineConfig) -> wasmtime::Config {
    use wasmtime::WasmFeatures;

    let mut c = wasmtime::Config::new();
    c.wasm_component_model(true);
    // The default costs 2.4 to 4 times per call, and nothing here uses the asynchronous component ABI.
    c.concurrency_support(false);
    c.epoch_interruption(true);
    c.consume_fuel(false);
    c.max_wasm_stack(MAX_WASM_STACK_BYTES);
    c.memory_init_cow(true);
    c.parallel_compilation(config.parallel_compilation);
    // Traps are shown with a few frames; file and line would need debug sections that nobody signs for a reason.
    c.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8));
    c.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
    c.native_unwind_info(false);
    // What no guest of this host needs is attack surface.
    let off = WasmFeatures::THREADS
        | WasmFeatures::SHARED_EVERYTHING_THREADS
        | WasmFeatures::GC
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::LEGACY_EXCEPTIONS
        | WasmFeatures::MEMORY64
        | WasmFeatures::STACK_SWITCHING
        | WasmFeatures::CUSTOM_PAGE_SIZES
        | WasmFeatures::WIDE_ARITHMETIC
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::CM_ASYNC
        | WasmFeatures::CM_THREADING
        | WasmFeatures::CM_GC
        | WasmFeatures::CM64;
    c.wasm_features(off, false);
    c
}

/// Starts the thread that moves the epoch on. It holds the engine weakly and ends with it.
pub(super) fn start_clock(engine: &wasmtime::Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let run = move || {
        let start = Instant::now();
        let mut ticked = 0u128;
        loop {
            std::thread::sleep(EPOCH_TICK);
            let Some(engine) = engine.upgrade() else { return };
            // A late thread catches up, so that a deadline does not stretch on a busy machine.
            let due = start.elapsed().as_nanos() / EPOCH_TICK.as_nanos();
            for _ in 0..(due - ticked).min(MAX_CATCH_UP_TICKS) {
                engine.increment_epoch();
            }
            ticked = due;
        }
    };
    std::thread::Builder::new().name("epoch-clock".to_owned()).spawn(run).map(drop)
}

pub(super) fn expire_running_calls(engine: &wasmtime::Engine) {
    for _ in 0..EXPIRY_TICKS {
        engine.increment_epoch();
    }
}
