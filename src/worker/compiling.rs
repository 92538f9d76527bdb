//! Owns a compilation from the host's side: wasm out, code back.
//!
//! One at a time in each lane of this process, however many ask: a second would only make both late.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::frame::{FrameError, Kind};
use super::process::{Process, own_account};
use super::wire::{CodeHead, Failure, MAX_CODE_BYTES, Setup, Task};
use super::{CompileFailure, CompileLimits, Lane};
use crate::engine::{Engine, FreshCode, check_bytes};
use crate::resolution::Refusal;
use crate::trust::VerifiedArtifact;

/// How often the stop flag is looked at while others compile.
const STOP_LOOK: Duration = Duration::from_millis(50);
/// No new descriptor at all: every open file and every socket would be one more than the standard streams.
const OPEN_FILES: u64 = 3;

pub(super) fn in_child(
    program: &Path,
    engine: &Engine,
    artifact: &VerifiedArtifact,
    wasm: &[u8],
    limits: &CompileLimits,
    stop: &Arc<AtomicBool>,
) -> Result<FreshCode, CompileFailure> {
    let digest = check_bytes(artifact, wasm).map_err(CompileFailure::Refused)?;
    let _turn = Turn::take(limits.lane, stop).map_err(CompileFailure::Worker)?;
    let setup = Setup {
        task: Task::Compile,
        memory_bytes: limits.memory_bytes,
        cpu_s: limits.cpu_s,
        file_bytes: 0,
        open_files: OPEN_FILES,
        readable: Vec::new(),
        writable: Vec::new(),
        is_idle: limits.lane == Lane::Beside,
    };
    let mut process = Process::start(program, setup, limits.time, stop).map_err(CompileFailure::Worker)?;
    if process.ready().code_hash != Some(engine.code_hash()) {
        return Err(CompileFailure::Worker(other_version(program)));
    }
    let code = converse(&mut process, wasm).map_err(|error| CompileFailure::Worker(process.failed(error)))??;
    // SAFETY: the bytes come over a pipe that only this child holds, from the program that this host was told to
    // believe as itself, or that it is; its compiler has the engine's own hash, and what it was given to compile is
    // the wasm of this digest. That a component which breaks the compiler could choose them is the risk that
    // compiling bears anywhere; here it bears it without files, network or secrets beside it.
    Ok(unsafe { FreshCode::made_elsewhere(digest, code) })
}

fn converse(process: &mut Process, wasm: &[u8]) -> Result<Result<Vec<u8>, CompileFailure>, FrameError> {
    process.send_pieces(wasm)?;
    process.send_bytes(Kind::Done, b"")?;
    let frame = process.frame()?;
    if frame.kind != Kind::Code {
        return match own_account(&frame)? {
            Failure::Compile(error) => Ok(Err(CompileFailure::Refused(error))),
            Failure::Start(_) | Failure::Fetch(_) => Err(frame.unexpected()),
        };
    }
    let CodeHead { bytes } = frame.json()?;
    if bytes > MAX_CODE_BYTES {
        return Err(FrameError::Protocol(format!("it announced {bytes} bytes of code, and {MAX_CODE_BYTES} may come")));
    }
    let mut code = Vec::new();
    let mut left = bytes;
    while left > 0 {
        let piece = process.piece(left)?;
        left -= piece.len() as u64;
        code.extend_from_slice(&piece);
    }
    let end = process.frame()?;
    if end.kind == Kind::Done { Ok(Ok(code)) } else { Err(end.unexpected()) }
}

fn other_version(program: &Path) -> Refusal {
    let program = crate::escape::escape(&program.to_string_lossy());
    Refusal::new(
        "worker-other-version",
        format!("{program} compiles for another version or other settings than this host"),
    )
    .hint("give the host the program of its own version; after an upgrade, restart the host")
}

/// The turn to compile in a lane.
struct Turn(usize);

/// By lane.
static TAKEN: Mutex<[bool; 2]> = Mutex::new([false; 2]);
static GIVEN_BACK: Condvar = Condvar::new();

impl Turn {
    fn take(lane: Lane, stop: &AtomicBool) -> Result<Self, Refusal> {
        let at = match lane {
            Lane::Waited => 0,
            Lane::Beside => 1,
        };
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        while taken[at] {
            if stop.load(Ordering::Relaxed) {
                return Err(Refusal::new("stopping", "the host is stopping"));
            }
            taken = GIVEN_BACK.wait_timeout(taken, STOP_LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        taken[at] = true;
        Ok(Self(at))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner)[self.0] = false;
        GIVEN_BACK.notify_all();
    }
}
