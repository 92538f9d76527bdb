//! Owns a fetch from the host's side: what it found, and the wasm if it is wanted.
//!
//! Counts and bounds; verifies nothing.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use zeroize::Zeroizing;

use super::frame::{Frame, FrameError, Kind};
use super::in_process::InThread;
use super::process::{Process, own_account};
use super::wire::{self, Failure, FoundHead, Progress, Setup, Task};
use super::{FetchLimits, OnProgress};
use crate::remote_url::{RemoteUrl, Transport};
use crate::resolution::Refusal;
use crate::source::remote::{FetchFailure, FetchJob, Found, WasmWanted};

/// Mode of a mirror's directory.
const MIRROR_MODE: u32 = 0o700;
/// Longest word for what a fetch is doing, in characters.
const MAX_STEP_CHARS: usize = 32;
/// Largest job, in bytes: keys and certificates make it long.
const MAX_JOB_BYTES: usize = 1 << 20;

/// A fetch that found something. Dropping it ends the worker.
pub struct Fetching {
    found: Found,
    limits: FetchLimits,
    side: Side,
    on_progress: OnProgress,
}

/// Where the fetch goes on.
enum Side {
    Child(Box<Process>),
    Thread(InThread),
}

impl std::fmt::Debug for Fetching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetching").field("found", &self.found).finish_non_exhaustive()
    }
}

impl Fetching {
    /// What was found. Untrusted; its texts are bounded.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Hands the wasm to `sink`, exactly as many bytes as are signed. Ends the fetch.
    pub fn wasm(mut self, wanted: &WasmWanted, sink: &mut dyn Write) -> Result<(), FetchFailure> {
        if !matches!(self.found, Found::Artifact { .. }) {
            return Err(FetchFailure::new("worker-protocol", "a wasm was asked for where no artifact was found"));
        }
        let (time, on_progress) = (self.limits.wasm_time(wanted.size), &mut self.on_progress);
        match &mut self.side {
            Side::Child(process) => {
                process.extend(time);
                match wasm_of_child(process, wanted, sink, on_progress) {
                    Ok(outcome) => outcome,
                    Err(error) => Err(process.failed(error).into()),
                }
            }
            Side::Thread(thread) => thread.wasm(wanted, time, sink, on_progress),
        }
    }

    pub(super) fn in_child(
        program: &Path,
        job: &FetchJob,
        limits: &FetchLimits,
        stop: &Arc<AtomicBool>,
        mut on_progress: OnProgress,
    ) -> Result<Self, FetchFailure> {
        let message = message(job)?;
        let mut process = Process::start(program, setup(job, limits), limits.time, stop)?;
        process.must_say_something_every(limits.quiet);
        let found = process.send_bytes(Kind::Job, &message).and_then(|()| found(&mut process, &mut on_progress));
        let found = found.map_err(|error| process.failed(error))??;
        Ok(Self { found, limits: limits.clone(), side: Side::Child(Box::new(process)), on_progress })
    }

    pub(super) fn in_thread(
        job: FetchJob,
        limits: &FetchLimits,
        stop: &Arc<AtomicBool>,
        mut on_progress: OnProgress,
    ) -> Result<Self, FetchFailure> {
        let (thread, found) = InThread::start(job, limits, stop, &mut on_progress)?;
        Ok(Self { found, limits: limits.clone(), side: Side::Thread(thread), on_progress })
    }
}

impl From<Refusal> for FetchFailure {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, hint } = refusal;
        Self { code, message, hint, retry_after_ms: None }
    }
}

/// A job as it is sent. It holds secrets: all of it is in one place, which is wiped.
fn message(job: &FetchJob) -> Result<Zeroizing<Vec<u8>>, FetchFailure> {
    let mut message = Zeroizing::new(vec![0; MAX_JOB_BYTES]);
    let mut rest = message.as_mut_slice();
    serde_json::to_writer(&mut rest, job).map_err(|_| {
        let why = "the settings for this source are larger than 1 MiB, or a path in them is not UTF-8";
        FetchFailure::new("worker-failed", why)
    })?;
    let left = rest.len();
    message.truncate(MAX_JOB_BYTES - left);
    Ok(message)
}

/// Makes the directory of a job's mirror: the one place that its worker can write to.
pub(super) fn make_mirror(job: &FetchJob) -> Result<(), FetchFailure> {
    let Some(mirror) = mirror(job) else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(MIRROR_MODE).create(mirror).map_err(|error| {
        FetchFailure::new("not-stored", format!("the directory for a mirror of the repository can't be made: {error}"))
    })
}

fn mirror(job: &FetchJob) -> Option<&PathBuf> {
    match job {
        FetchJob::Git(job) => Some(&job.mirror),
        FetchJob::Tree(job) => Some(&job.mirror),
        FetchJob::Url(_) => None,
    }
}

fn setup(job: &FetchJob, limits: &FetchLimits) -> Setup {
    let url = match job {
        FetchJob::Git(job) => &job.url,
        FetchJob::Url(job) => &job.url,
        FetchJob::Tree(job) => &job.url,
    };
    Setup {
        task: Task::Fetch,
        memory_bytes: limits.memory_bytes,
        cpu_s: limits.cpu_s,
        file_bytes: limits.file_bytes,
        open_files: limits.open_files,
        readable: repository(url).into_iter().collect(),
        writable: mirror(job).into_iter().cloned().collect(),
        is_idle: false,
    }
}

/// The directory of a repository on this machine.
fn repository(url: &RemoteUrl) -> Option<PathBuf> {
    if url.transport() != Transport::File {
        return None;
    }
    url::Url::parse(url.as_str()).ok()?.to_file_path().ok()
}

/// Waits for what is found; the inner error is the worker's own account.
fn found(process: &mut Process, on_progress: &mut OnProgress) -> Result<Result<Found, FetchFailure>, FrameError> {
    let head: FoundHead = loop {
        let frame = process.frame()?;
        match frame.kind {
            Kind::Progress => tell(&frame, on_progress)?,
            Kind::Found => break frame.json()?,
            _ => return failure(&frame).map(Err),
        }
    };
    let mut left = head.body_bytes()?;
    let mut body = Vec::new();
    while left > 0 {
        let piece = process.piece(left)?;
        left -= piece.len() as u64;
        body.extend_from_slice(&piece);
    }
    head.put_together(&body).map(Ok)
}

fn wasm_of_child(
    process: &mut Process,
    wanted: &WasmWanted,
    sink: &mut dyn Write,
    on_progress: &mut OnProgress,
) -> Result<Result<(), FetchFailure>, FrameError> {
    process.send(Kind::Wanted, wanted)?;
    let mut count = Count::new(wanted);
    loop {
        let frame = process.frame()?;
        match frame.kind {
            Kind::Progress => tell(&frame, on_progress)?,
            Kind::Piece => {
                if let Err(failure) = count.piece(&frame.bytes, sink) {
                    return Ok(Err(failure));
                }
            }
            Kind::Done => return Ok(count.done()),
            _ => return failure(&frame).map(Err),
        }
    }
}

/// Counts the bytes of a wasm against its signed size.
pub(super) struct Count<'a> {
    wanted: &'a WasmWanted,
    left: u64,
}

impl<'a> Count<'a> {
    pub(super) fn new(wanted: &'a WasmWanted) -> Self {
        Self { wanted, left: wanted.size }
    }

    pub(super) fn piece(&mut self, piece: &[u8], sink: &mut dyn Write) -> Result<(), FetchFailure> {
        self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(|| self.wrong("more than"))?;
        sink.write_all(piece).map_err(|error| {
            let message = format!("the artifact could not be copied into the content store: {error}");
            FetchFailure::new("not-stored", message).hint("the next pass tries again; what runs goes on")
        })
    }

    pub(super) fn done(&self) -> Result<(), FetchFailure> {
        if self.left == 0 { Ok(()) } else { Err(self.wrong("fewer than")) }
    }

    fn wrong(&self, how: &str) -> FetchFailure {
        let WasmWanted { file, size } = self.wanted;
        FetchFailure::new("wrong-size", format!("`{file}` has {how} the {size} bytes that are signed"))
            .hint("it may be half-written, or of another release than the manifest")
    }
}

fn tell(frame: &Frame, on_progress: &mut OnProgress) -> Result<(), FrameError> {
    let Progress { step, bytes } = frame.json()?;
    on_progress(&step_text(&step), bytes);
    Ok(())
}

/// A step's word, escaped and cut.
pub(super) fn step_text(step: &str) -> String {
    wire::text(&step.chars().take(MAX_STEP_CHARS).collect::<String>())
}

fn failure(frame: &Frame) -> Result<FetchFailure, FrameError> {
    match own_account(frame)? {
        Failure::Fetch(failure) => wire::checked(failure),
        _ => Err(frame.unexpected()),
    }
}
