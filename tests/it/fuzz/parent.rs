//! Starts a target in a process of its own, and says which input ended it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{INPUT, JOURNAL, SECONDS, SEED, TARGET};

/// Longest time of a run beyond the time for new inputs: seeds, the largest inputs, and a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Bytes of an input that a report shows; all of it is in a file.
const MOST_SHOWN: usize = 1 << 10;

/// How a run went.
pub struct Run {
    /// `None`: it had to be ended.
    status: Option<ExitStatus>,
    /// What the child said.
    pub told: String,
    /// The last input that it tried.
    tried: Vec<u8>,
}

/// Runs a target's seeds and largest inputs, and new ones for so long.
pub fn run(target: &str, seconds: u64, seed: u64) -> Run {
    let new = [(SECONDS, seconds.to_string()), (SEED, seed.to_string())];
    start(target, PATIENCE + Duration::from_secs(seconds), |command| command.env_remove(INPUT).envs(new))
}

/// Runs a target on one input.
pub fn run_one(target: &str, input: &Path, patience: Duration) -> Run {
    start(target, patience, |command| command.env(INPUT, input))
}

fn start(target: &str, patience: Duration, prepare: impl FnOnce(&mut Command) -> &mut Command) -> Run {
    // In memory, where there is such a place: each input is written there.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let directory = tempfile::tempdir_in(place).expect("a directory");
    let (journal, told) = (directory.path().join("tried"), directory.path().join("told"));
    let output = File::create(&told).expect("made");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([
        "--exact",
        "fuzz::the_target_that_is_named_is_tried",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env(TARGET, target).env(JOURNAL, &journal).env_remove("RUST_BACKTRACE");
    command.stdin(Stdio::null()).stdout(output.try_clone().expect("copied")).stderr(output);
    let status = wait(prepare(&mut command).spawn().expect("started"), patience);
    let told = String::from_utf8_lossy(&std::fs::read(&told).expect("readable")).into_owned();
    Run { status, told, tried: last_of(&journal) }
}

fn wait(mut child: Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("waited") {
            return Some(status);
        }
        if Instant::now() > deadline {
            child.kill().expect("killed");
            child.wait().expect("gone");
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The input in a journal: its length in eight bytes, then itself; what an earlier, longer one left follows.
fn last_of(journal: &Path) -> Vec<u8> {
    let bytes = std::fs::read(journal).unwrap_or_default();
    let Some((length, rest)) = bytes.split_first_chunk() else { return Vec::new() };
    let length = usize::try_from(u64::from_le_bytes(*length)).expect("a length").min(rest.len());
    rest[..length].to_vec()
}

impl Run {
    /// Whether everything held.
    pub fn is_good(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// What happened, with the input, which is kept in a file as well.
    pub fn report(&self, target: &str) -> String {
        let ended = match self.status {
            Some(status) => format!("it ended by itself: {status}"),
            None => "it had to be ended".to_owned(),
        };
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
        let kept = match std::fs::write(&file, &self.tried) {
            Ok(()) => format!("all of it is in {}", file.display()),
            Err(error) => format!("it could not be kept: {error}"),
        };
        let shown = &self.tried[..self.tried.len().min(MOST_SHOWN)];
        let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{target}: {ended}\n{}\nthe last input, {} bytes, {kept}:\n{hex}\n", self.told, self.tried.len())
    }
}
