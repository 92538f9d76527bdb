//! Owns a fetch in a thread of this process, and what is common to both kinds: which function does a job.
//!
//! A thread can't be ended from outside: one that is past its deadline ends at its next word.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::fetching::{Count, step_text};
use super::wire;
use super::{FetchLimits, OnProgress};
use crate::source;
use crate::source::remote::{FetchFailure, FetchJob, Found, Port, WasmWanted};

/// Words of a fetch that may wait for the host.
const MAX_WAITING_WORDS: usize = 16;
/// How often the stop flag is looked at.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// Does a job. Runs where nothing is trusted.
pub(super) fn run(job: &FetchJob, port: &mut dyn Port) -> Result<(), FetchFailure> {
    match job {
        FetchJob::Git(job) => source::git::fetch(job, port),
        FetchJob::Url(job) => source::url::fetch(job, port),
        FetchJob::Tree(job) => source::git::fetch_tree(job, port),
    }
}

/// What the thread says.
enum Word {
    Progress(String, u64),
    Found(Found),
    Piece(Vec<u8>),
    Ended(Result<(), FetchFailure>),
}

/// The host's end of a fetch in a thread.
pub(super) struct InThread {
    words: Receiver<Word>,
    wanted: SyncSender<WasmWanted>,
    stop: Arc<AtomicBool>,
}

impl InThread {
    /// Starts the fetch and waits for what it finds.
    pub(super) fn start(
        job: FetchJob,
        limits: &FetchLimits,
        stop: &Arc<AtomicBool>,
        on_progress: &mut OnProgress,
    ) -> Result<(Self, Found), FetchFailure> {
        let (sender, words) = sync_channel(MAX_WAITING_WORDS);
        let (wanted, wishes) = sync_channel(1);
        let mut port = ThreadPort { words: sender, wishes };
        let fetch = move || {
            let ended = catch_unwind(AssertUnwindSafe(|| run(&job, &mut port)))
                .unwrap_or_else(|_| Err(FetchFailure::new("panicked", "the fetch panicked")));
            let _ = port.words.send(Word::Ended(ended));
        };
        let started = std::thread::Builder::new().name("fetch".to_owned()).spawn(fetch);
        started.map_err(|error| FetchFailure::new("worker-failed", format!("no thread for the fetch: {error}")))?;
        let this = Self { words, wanted, stop: stop.clone() };
        let FetchLimits { time, quiet, .. } = *limits;
        let deadline = Instant::now() + time;
        loop {
            let quiet_until = Instant::now() + quiet;
            let word = if quiet_until < deadline {
                this.word(quiet_until, quiet).map_err(|failure| match failure.code.as_str() {
                    "timeout" => quiet_too_long(quiet),
                    _ => failure,
                })?
            } else {
                this.word(deadline, time)?
            };
            match word {
                Word::Progress(step, bytes) => on_progress(&step_text(&step), bytes),
                Word::Found(found) => return Ok((this, found)),
                Word::Ended(Err(failure)) => return Err(checked(failure)),
                Word::Piece(_) | Word::Ended(Ok(())) => return Err(out_of_order()),
            }
        }
    }

    /// As [`super::Fetching::wasm`].
    pub(super) fn wasm(
        &self,
        wanted: &WasmWanted,
        time: Duration,
        sink: &mut dyn Write,
        on_progress: &mut OnProgress,
    ) -> Result<(), FetchFailure> {
        let deadline = Instant::now() + time;
        self.wanted.try_send(wanted.clone()).map_err(|_| out_of_order())?;
        let mut count = Count::new(wanted);
        loop {
            match self.word(deadline, time)? {
                Word::Progress(step, bytes) => on_progress(&step_text(&step), bytes),
                Word::Piece(piece) => count.piece(&piece, sink)?,
                Word::Ended(ended) => return ended.map_err(checked).and_then(|()| count.done()),
                Word::Found(_) => return Err(out_of_order()),
            }
        }
    }

    fn word(&self, deadline: Instant, time: Duration) -> Result<Word, FetchFailure> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(FetchFailure::new("stopping", "the host is stopping"));
            }
            let late = || FetchFailure::new("timeout", format!("the fetch took longer than {} ms", time.as_millis()));
            let left = deadline.checked_duration_since(Instant::now()).ok_or_else(late)?;
            match self.words.recv_timeout(left.min(STOP_LOOK)) {
                Ok(word) => return Ok(word),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(out_of_order()),
            }
        }
    }
}

/// As for a process: see [`super::FetchLimits::quiet`].
pub(super) fn quiet_too_long(quiet: Duration) -> FetchFailure {
    let ms = quiet.as_millis();
    FetchFailure::new("fetch-timeout", format!("the fetch went on for {ms} ms without any progress and was ended"))
}

fn checked(failure: FetchFailure) -> FetchFailure {
    wire::checked(failure).unwrap_or_else(|_| out_of_order())
}

fn out_of_order() -> FetchFailure {
    FetchFailure::new("worker-protocol", "the fetch did not keep to the order of its words").hint("report this")
}

/// The thread's end.
struct ThreadPort {
    words: SyncSender<Word>,
    wishes: Receiver<WasmWanted>,
}

impl ThreadPort {
    fn say(&self, word: Word) -> Result<(), FetchFailure> {
        self.words.send(word).map_err(|_| FetchFailure::new("stopping", "nobody waits for the fetch any more"))
    }
}

impl Port for ThreadPort {
    fn progress(&mut self, step: &str, bytes: u64) -> Result<(), FetchFailure> {
        self.say(Word::Progress(step.to_owned(), bytes))
    }

    fn found(&mut self, found: Found) -> Result<Option<WasmWanted>, FetchFailure> {
        self.say(Word::Found(found))?;
        // Whoever asked and wants no wasm is gone.
        Ok(self.wishes.recv().ok())
    }

    fn wasm(&mut self, piece: &[u8]) -> Result<(), FetchFailure> {
        self.say(Word::Piece(piece.to_vec()))
    }
}
