//! Owns a worker seen from the host: its streams with a deadline, its end and what that means.
//!
//! Nothing here blocks past the deadline, whatever the worker does or leaves out.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use super::WORKER_COMMAND;
use super::frame::{self, Frame, FrameError, Kind};
use super::in_process::quiet_too_long;
use super::starter;
use super::wire::{self, Failure, Ready, Setup, Task};
use crate::escape::Escaped;
use crate::resolution::Refusal;

/// How often the stop flag is looked at, in milliseconds.
const STOP_LOOK_MS: u64 = 50;
/// How long a worker that closed its streams may take to end.
const END_TIME: Duration = Duration::from_secs(2);
/// What is kept of a worker's standard error, in bytes; the rest is read and dropped.
const MAX_STDERR_BYTES: usize = 4 << 10;
/// The whole environment of a worker: what keeps threads and their memory few on machines with many cores.
const ENVIRONMENT: [(&str, &str); 2] = [("RAYON_NUM_THREADS", "4"), ("MALLOC_ARENA_MAX", "4")];

/// A worker that is confined and waits for its job, or is at it.
pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    told: Vec<u8>,
    setup: Setup,
    ready: Ready,
    time: Duration,
    deadline: Instant,
    /// How long it may say nothing, and when it last said something.
    quiet: Option<(Duration, Instant)>,
    stop: Arc<AtomicBool>,
    /// Reaped: its process id means nothing any more.
    ended: Option<ExitStatus>,
}

/// Why a wait ended without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GaveUp {
    Late,
    Quiet,
    Stopping,
}

impl Process {
    /// Starts a worker and confines it.
    pub(super) fn start(program: &Path, setup: Setup, time: Duration, stop: &Arc<AtomicBool>) -> Result<Self, Refusal> {
        let mut process = Self::spawn(program, setup, time, stop).map_err(|error| {
            let message = format!("no worker could be started: {error}");
            Refusal::new("worker-failed", message).hint(format!(
                "{} must be this version of airssys-wasm, and the system must have room for a process",
                Escaped(&program.to_string_lossy())
            ))
        })?;
        process.ready = process.confined().map_err(|error| process.failed(error))??;
        Ok(process)
    }

    /// Sends the limits and waits until the worker keeps to them.
    fn confined(&mut self) -> Result<Result<Ready, Refusal>, FrameError> {
        let setup = self.setup.clone();
        self.send(Kind::Setup, &setup)?;
        let frame = self.frame()?;
        if frame.kind == Kind::Ready {
            return Ok(Ok(frame.json()?));
        }
        match own_account(&frame)? {
            Failure::Start(why) => {
                let message = format!("the worker could not confine itself: {}", wire::text(&why));
                Ok(Err(Refusal::new("worker-failed", message)))
            }
            _ => Err(frame.unexpected()),
        }
    }

    fn spawn(program: &Path, setup: Setup, time: Duration, stop: &Arc<AtomicBool>) -> io::Result<Self> {
        let deadline = Instant::now() + time;
        let mut command = Command::new(program);
        // A group of its own, so that a signal from the terminal reaches the host only, and that all of it can be ended.
        command
            .arg0("airssys-wasm")
            .arg(WORKER_COMMAND)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = starter::start(command)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("it has no streams"));
        };
        let ready = Ready { landlock: String::new(), code_hash: None };
        let process = Self {
            child,
            stdin: Some(stdin),
            stdout,
            stderr: Some(stderr),
            told: Vec::new(),
            setup,
            ready,
            time,
            deadline,
            quiet: None,
            stop: stop.clone(),
            ended: None,
        };
        for stream in [process.stdin.as_ref().map(|s| s.as_fd()), Some(process.stdout.as_fd())] {
            stream.map(|stream| rustix::io::ioctl_fionbio(stream, true)).transpose()?;
        }
        process.stderr.as_ref().map(|stream| rustix::io::ioctl_fionbio(stream, true)).transpose()?;
        Ok(process)
    }

    /// What it said when it was confined.
    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Sets a new deadline from now on.
    pub(super) fn extend(&mut self, time: Duration) {
        self.time = time;
        self.quiet = None;
        self.deadline = Instant::now() + time;
    }

    /// From now on, until the deadline is extended, a frame must come this often.
    pub(super) fn must_say_something_every(&mut self, quiet: Duration) {
        self.quiet = Some((quiet, Instant::now()));
    }

    /// The next frame.
    pub(super) fn frame(&mut self) -> Result<Frame, FrameError> {
        let frame = frame::read(self)?;
        if let Some((_, heard)) = &mut self.quiet {
            *heard = Instant::now();
        }
        Ok(frame)
    }

    /// Sends a frame of JSON.
    pub(super) fn send(&mut self, kind: Kind, value: &impl serde::Serialize) -> Result<(), FrameError> {
        Ok(frame::write_json(self, kind, value)?)
    }

    /// Sends a frame of bytes.
    pub(super) fn send_bytes(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), FrameError> {
        Ok(frame::write(self, kind, bytes)?)
    }

    /// Sends a body in pieces.
    pub(super) fn send_pieces(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        Ok(frame::write_pieces(self, bytes)?)
    }

    /// The next piece of a body of which `left` bytes are to come.
    pub(super) fn piece(&mut self, left: u64) -> Result<Vec<u8>, FrameError> {
        let frame = self.frame()?;
        let length = frame.bytes.len() as u64;
        if frame.kind == Kind::Piece && length > 0 && length <= left {
            Ok(frame.bytes)
        } else {
            Err(frame.unexpected())
        }
    }

    /// Ends it and says why it did not do its job: `error` is what was noticed first.
    pub(super) fn failed(&mut self, error: FrameError) -> Refusal {
        let gave_up = match &error {
            FrameError::Io(error) => error.get_ref().and_then(|e| e.downcast_ref::<GaveUp>()).copied(),
            FrameError::Protocol(_) => None,
        };
        let status = match (&error, gave_up) {
            // Its streams are closed: it ended, or is about to, and its end says more than the stream.
            (FrameError::Io(_), None) => self.wait_for_end(END_TIME),
            _ => None,
        };
        self.kill();
        let does = self.does();
        match (gave_up, status) {
            (Some(GaveUp::Stopping), _) => Refusal::new("stopping", "the host is stopping"),
            (Some(GaveUp::Late), _) => {
                let message = format!("{does} took longer than {} ms and was ended", self.time.as_millis());
                Refusal::new(if self.setup.task == Task::Fetch { "timeout" } else { "worker-timeout" }, message)
            }
            (Some(GaveUp::Quiet), _) => quiet_too_long(self.quiet.map_or(Duration::ZERO, |(quiet, _)| quiet)).refusal(),
            (None, Some(status)) => self.ended_badly(status),
            (None, None) => {
                let message =
                    format!("the worker for {does} did not keep to the protocol: {}", Escaped(&error.to_string()));
                Refusal::new("worker-protocol", message)
                    .hint("report this; a worker of another version does it too, where the program was exchanged")
            }
        }
    }

    fn does(&self) -> &'static str {
        match self.setup.task {
            Task::Fetch => "the fetch",
            Task::Compile => "the compilation",
        }
    }

    fn ended_badly(&self, status: ExitStatus) -> Refusal {
        let (does, setup) = (self.does(), &self.setup);
        let killed = |why: String| Refusal::new("worker-killed", format!("{does} was ended: {why}"));
        let told = wire::text(String::from_utf8_lossy(&self.told).trim());
        let mib = setup.memory_bytes >> 20;
        let signal = status.signal().and_then(Signal::from_named_raw);
        // Rust aborts where memory is refused; C code reports it or crashes.
        if told.contains("memory allocation of") {
            return killed(format!("it needed more than {mib} MiB of memory"));
        }
        match signal {
            Some(Signal::XCPU) => killed(format!("it used more than {} s of processor time", setup.cpu_s)),
            Some(Signal::XFSZ) => killed(format!("it wrote a file of more than {} MiB", setup.file_bytes >> 20)),
            Some(Signal::KILL) => {
                killed("something else killed it, as the system does when memory is short".to_owned())
            }
            _ => {
                let end = match (status.signal(), status.code()) {
                    (Some(signal), _) => format!("signal {signal} ({})", signal_name(signal)),
                    (None, Some(code)) => format!("exit code {code}"),
                    (None, None) => "no reason".to_owned(),
                };
                let said = if told.is_empty() { String::new() } else { format!("; it said: {told}") };
                Refusal::new("worker-crashed", format!("the worker for {does} ended with {end}{said}"))
            }
        }
    }

    /// Reads what is on standard error and waits for the end.
    fn wait_for_end(&mut self, time: Duration) -> Option<ExitStatus> {
        self.stdin = None;
        let until = Instant::now() + time;
        loop {
            if let Some(status) = self.reap() {
                self.read_stderr();
                return Some(status);
            }
            let left = until.checked_duration_since(Instant::now())?;
            let mut streams: Vec<PollFd<'_>> = Vec::new();
            streams.extend(self.stderr.as_ref().map(|stream| PollFd::new(stream, PollFlags::IN)));
            let wait = if streams.is_empty() {
                left.min(Duration::from_millis(2))
            } else {
                left.min(Duration::from_millis(20))
            };
            let _ = poll(&mut streams, Some(&timespec(wait)));
            self.read_stderr();
        }
    }

    fn reap(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Ends the worker and whatever it started, and waits for that.
    fn kill(&mut self) {
        if self.reap().is_some() {
            return;
        }
        // Not reaped: the id, and the group of that id, are still this worker's.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.child.kill();
        if self.wait_for_end(END_TIME).is_some() {
            return;
        }
        // The kernel holds it, in a file system that does not answer for instance. Somebody has to wait for it.
        let id = self.child.id();
        let wait = move || {
            let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
            let _ = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty());
        };
        let _ = std::thread::Builder::new().name("worker-reaper".to_owned()).spawn(wait);
    }

    fn read_stderr(&mut self) {
        let Some(stream) = self.stderr.as_mut() else { return };
        let mut chunk = [0; 4 << 10];
        match stream.read(&mut chunk) {
            Ok(0) => self.stderr = None,
            Ok(count) => {
                let room = MAX_STDERR_BYTES.saturating_sub(self.told.len());
                self.told.extend_from_slice(&chunk[..count.min(room)]);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.stderr = None,
        }
    }

    /// Waits until the stream has something, or room; reads what comes on standard error meanwhile.
    fn wait(&mut self, writes: bool) -> io::Result<()> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other(GaveUp::Stopping));
            }
            let Some(left) = self.deadline.checked_duration_since(Instant::now()) else {
                return Err(io::Error::new(io::ErrorKind::TimedOut, GaveUp::Late));
            };
            if self.quiet.is_some_and(|(quiet, heard)| heard.elapsed() > quiet) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, GaveUp::Quiet));
            }
            let (stream, flags): (BorrowedFd<'_>, _) = match (&self.stdin, writes) {
                (Some(stdin), true) => (stdin.as_fd(), PollFlags::OUT),
                (None, true) => return Err(io::ErrorKind::BrokenPipe.into()),
                (_, false) => (self.stdout.as_fd(), PollFlags::IN),
            };
            let mut streams = vec![PollFd::from_borrowed_fd(stream, flags)];
            streams.extend(self.stderr.as_ref().map(|stream| PollFd::new(stream, PollFlags::IN)));
            let look = left.min(Duration::from_millis(STOP_LOOK_MS));
            match poll(&mut streams, Some(&timespec(look))) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let is_there = !streams[0].revents().is_empty();
            let told = streams.get(1).is_some_and(|stderr| !stderr.revents().is_empty());
            if told {
                self.read_stderr();
            }
            if is_there {
                return Ok(());
            }
        }
    }
}

impl Read for Process {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.wait(false)?;
            match self.stdout.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}

impl Write for Process {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.wait(true)?;
            let Some(stdin) = self.stdin.as_mut() else { return Err(io::ErrorKind::BrokenPipe.into()) };
            match stdin.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl std::fmt::Display for GaveUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Late => "its time is over",
            Self::Quiet => "it says nothing",
            Self::Stopping => "the host is stopping",
        })
    }
}

impl std::error::Error for GaveUp {}

/// What the worker says of its own failure.
pub(super) fn own_account(frame: &Frame) -> Result<Failure, FrameError> {
    if frame.kind == Kind::Failed { frame.json() } else { Err(frame.unexpected()) }
}

fn timespec(time: Duration) -> Timespec {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() }
}

fn signal_name(signal: i32) -> &'static str {
    match Signal::from_named_raw(signal) {
        Some(Signal::ABORT) => "SIGABRT",
        Some(Signal::SEGV) => "SIGSEGV",
        Some(Signal::BUS) => "SIGBUS",
        Some(Signal::ILL) => "SIGILL",
        Some(Signal::FPE) => "SIGFPE",
        Some(Signal::SYS) => "SIGSYS",
        Some(Signal::TERM) => "SIGTERM",
        Some(Signal::INT) => "SIGINT",
        Some(Signal::PIPE) => "SIGPIPE",
        Some(Signal::TRAP) => "SIGTRAP",
        _ => "see signal(7)",
    }
}
