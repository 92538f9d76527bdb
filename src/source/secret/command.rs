//! Owns how a program is run for what it prints: no shell, a small environment, bounded time and output.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use crate::escape::escape;
use crate::resolution::Refusal;
use crate::secret::MAX_SECRET_BYTES;

/// Longest time that a command may take.
pub const COMMAND_TIME: Duration = Duration::from_secs(10);
/// Most bytes that a command may print: a secret with its line end.
pub const MAX_COMMAND_OUTPUT_BYTES: usize = MAX_SECRET_BYTES + 2;
/// The variables that a command gets; what else the host's environment holds is none of its business.
const PASSED_ON: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "XDG_RUNTIME_DIR", "GNUPGHOME"];
/// How often a command that printed everything is looked at until it ends.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A child with all its descendants in its process group. Dropped, none of them is left.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// What the program prints to its standard output. What it says on standard error is not kept: it may be the secret.
pub(super) fn run(argv: &[String]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let program = argv.first().map_or("", String::as_str);
    let failed = |why: String| {
        Refusal::new("secret-command-failed", format!("{} gave no secret: {why}", escape(program)))
            .hint("run it by hand as the host's user, without a terminal")
    };
    let mut command = Command::new(program);
    command.args(argv.get(1..).unwrap_or_default()).env_clear().current_dir("/").process_group(0);
    command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| failed(format!("it can't be started: {error}")))?;
    let mut running = Running(child);
    let deadline = Instant::now() + COMMAND_TIME;
    let output = read_until(&mut running.0, deadline).map_err(&failed)?;
    loop {
        match running.0.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(output),
            Ok(Some(status)) => return Err(failed(format!("it ended with {status}"))),
            Ok(None) if Instant::now() >= deadline => return Err(failed(too_slow())),
            Ok(None) => std::thread::sleep(LOOK_EVERY),
            Err(error) => return Err(failed(error.to_string())),
        }
    }
}

fn too_slow() -> String {
    format!("it took longer than {} s", COMMAND_TIME.as_secs())
}

fn read_until(child: &mut Child, deadline: Instant) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut stdout = child.stdout.take().ok_or("it has no output")?;
    // All the room from the start, so that growing leaves no copies behind.
    let mut output = Zeroizing::new(vec![0; MAX_COMMAND_OUTPUT_BYTES + 1]);
    let mut filled = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(too_slow());
        }
        let timeout = Timespec { tv_sec: 1.min(i64::try_from(left.as_secs()).unwrap_or(1)), tv_nsec: 50_000_000 };
        let fd = stdout.as_fd();
        let mut wanted = [PollFd::new(&fd, PollFlags::IN)];
        let ready = poll(&mut wanted, Some(&timeout));
        match ready {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        match stdout.read(&mut output[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
        if filled > MAX_COMMAND_OUTPUT_BYTES {
            return Err(format!("it printed more than {MAX_COMMAND_OUTPUT_BYTES} bytes"));
        }
    }
    output.truncate(filled);
    Ok(output)
}
