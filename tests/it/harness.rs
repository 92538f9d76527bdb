//! A hermetic world for tests of the real binary: its own home, desired directory, keys and components.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use airssys_wasm::trust::{SigningKey, sign_manifest};
use tempfile::TempDir;

/// Longest wait for something that must happen; generous, because machines of tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The secret of the key that a world's policy trusts.
pub const TRUSTED_SEED: [u8; 32] = [7; 32];
/// Larger files of a tree are sparse ones of the tests: only their names and modes are compared.
const MAX_TREE_FILE_BYTES: u64 = 16 << 20;

/// A home, a desired directory, components and the key that signs them.
pub struct World {
    dir: TempDir,
    key: SigningKey,
}

/// One release of a package.
#[derive(Clone)]
pub struct Release<'a> {
    /// The signed name.
    pub package: &'a str,
    /// The signed version.
    pub version: &'a str,
    /// The signed sequence.
    pub sequence: u64,
    /// Further manifest text, for instance a `[permissions]` table.
    pub more: &'a str,
    /// The component.
    pub wasm: &'a [u8],
}

impl Release<'_> {
    /// The manifest as its author writes it, before it is signed.
    pub fn draft(&self) -> String {
        let Release { package, version, sequence, more, wasm: _ } = self;
        format!(
            "schema = 1\n\n[package]\nname = \"{package}\"\nversion = \"{version}\"\nsequence = {sequence}\n\n\
             [wasm]\nfile = \"component.wasm\"\nworld = \"airssys:component/actor@0.1.0\"\n\n{more}\n"
        )
    }
}

impl World {
    /// An empty world with a trust policy for `test:*`.
    pub fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().expect("a directory"), key: SigningKey::from_seed(&TRUSTED_SEED) };
        std::fs::create_dir(world.desired()).expect("made");
        let key = world.key.public();
        let policy = format!(
            "schema = 1\n\n[publisher.test]\nkeys = [\"{key}\"]\nnames = [\"test:*\"]\n\
             permissions-max = {{ send = [\"*\"], receive = [\"*\"] }}\n"
        );
        write(&world.trust(), policy.as_bytes());
        world
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    pub fn desired(&self) -> PathBuf {
        self.path().join("desired")
    }

    pub fn trust(&self) -> PathBuf {
        self.path().join("trust.toml")
    }

    /// Where `publish` puts a component.
    pub fn component(&self, directory: &str) -> PathBuf {
        self.path().join("components").join(directory)
    }

    /// Writes and signs a release; every file is renamed into place.
    pub fn publish(&self, directory: &str, release: &Release<'_>) {
        self.publish_signed_by(directory, release, &self.key);
    }

    /// The same with another key.
    pub fn publish_signed_by(&self, directory: &str, release: &Release<'_>, key: &SigningKey) {
        let to = self.component(directory);
        std::fs::create_dir_all(&to).expect("made");
        let signed = sign_manifest(&release.draft(), release.wasm, None, key).expect("signed");
        rename_into_place(&to.join("component.wasm"), release.wasm);
        rename_into_place(&to.join("Component.toml"), signed.manifest.as_bytes());
        rename_into_place(&to.join("Component.toml.sig"), signed.signature.as_bytes());
    }

    /// Writes a desired file for a component by rename. `more` is appended.
    pub fn desire(&self, name: &str, package: &str, directory: &str, more: &str) {
        self.desire_text(name, &desired_text(package, directory, more));
    }

    /// Writes any text as a desired file, by rename.
    pub fn desire_text(&self, name: &str, text: &str) {
        rename_into_place(&self.desired().join(format!("{name}.toml")), text.as_bytes());
    }

    /// A command of the real binary in a cleared environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_airssys-wasm"));
        command.env_clear().env("AIRSSYS_HOME", self.home()).env("PATH", "/usr/bin:/bin").env("HOME", self.path());
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary runs")
    }

    /// Arguments of `run`, `plan` and `apply` on this world.
    pub fn arguments<'a>(&self, command: &'a str, paths: &'a mut Vec<String>) -> Vec<&'a str> {
        paths.push(self.desired().to_string_lossy().into_owned());
        paths.push(self.trust().to_string_lossy().into_owned());
        vec![command, &paths[0], "--trust", &paths[1]]
    }

    /// Runs `plan` or `apply` with further arguments.
    pub fn on_desired(&self, command: &str, more: &[&str]) -> Output {
        let mut paths = Vec::new();
        let mut arguments = self.arguments(command, &mut paths);
        arguments.extend(more);
        self.output(&arguments)
    }

    /// Installations and versions that are committed, as `status` tells.
    #[track_caller]
    pub fn committed(&self) -> BTreeMap<String, String> {
        installed(&self.status())
    }

    /// The same; none when the host ends while it is asked.
    pub fn try_committed(&self) -> Option<BTreeMap<String, String>> {
        let output = self.output(&["status", "--output", "json"]);
        output.status.success().then(|| installed(&serde_json::from_str(&stdout(&output)).expect("JSON")))
    }

    /// The text of the current generation's file.
    pub fn generation(&self) -> String {
        let state = self.home().join("state");
        let current = std::fs::read_link(state.join("current")).expect("a link");
        std::fs::read_to_string(state.join(current)).expect("readable")
    }

    /// The status document.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let output = self.output(&["status", "--output", "json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("JSON")
    }

    /// Writes a policy.
    pub fn trust_text(&self, text: &str) {
        rename_into_place(&self.trust(), text.as_bytes());
    }

    /// Starts the host.
    pub fn run(&self) -> RunningHost {
        let mut paths = Vec::new();
        let arguments = self.arguments("run", &mut paths);
        RunningHost::spawn(self.command(&arguments))
    }
}

fn installed(status: &serde_json::Value) -> BTreeMap<String, String> {
    let components = status["components"].as_array().expect("an array");
    let installed = components.iter().filter(|component| component["installed"].is_object());
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    installed.map(|c| (text(&c["name"]), text(&c["installed"]["version"]))).collect()
}

/// A desired file's text.
pub fn desired_text(package: &str, directory: &str, more: &str) -> String {
    format!("package = \"{package}\"\n\n[source.file]\npath = \"../components/{directory}\"\n\n{more}\n")
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("written");
}

/// Writes beside the target, then renames: what careful tools do.
pub fn rename_into_place(path: &Path, bytes: &[u8]) {
    let temporary = path.with_extension("new~");
    write(&temporary, bytes);
    std::fs::rename(&temporary, path).expect("renamed");
}

/// Standard output as text, normalised for golden files.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A host in the foreground of its own process.
pub struct RunningHost {
    child: Child,
    lines: Receiver<String>,
    recent: VecDeque<String>,
}

impl RunningHost {
    /// Starts `command` and collects its standard error by lines.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let (sender, lines) = channel();
        let stderr = child.stderr.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, recent: VecDeque::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that contains all of `needles`; lines before it are passed over.
    #[track_caller]
    pub fn wait_for(&mut self, needles: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.recent.push_back(line.clone());
                    if self.recent.len() > 200 {
                        self.recent.pop_front();
                    }
                    if needles.iter().all(|needle| line.contains(needle)) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no line with {needles:?} came:\n{}", self.told()),
                Err(RecvTimeoutError::Disconnected) => panic!("ended before a line with {needles:?}:\n{}", self.told()),
            }
        }
    }

    /// Whether a line with all of `needles` came before it ended; lines before it are passed over.
    #[track_caller]
    pub fn comes_to(&mut self, needles: &[&str]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if needles.iter().all(|needle| line.contains(needle)) => return true,
                Ok(line) => self.recent.push_back(line),
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("no line with {needles:?} and no end:\n{}", self.told()),
            }
        }
    }

    /// The lines so far, for messages.
    pub fn told(&self) -> String {
        self.recent.iter().map(|line| format!("  {line}\n")).collect()
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the end by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status;
            }
            assert!(Instant::now() < deadline, "the host does not end:\n{}", self.told());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for RunningHost {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a tree holds: path below it, kind, mode and bytes of everything, links not followed.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        let bytes = if metadata.is_dir() {
            left.extend(std::fs::read_dir(&path).expect("listed").map(|entry| entry.expect("an entry").path()));
            Vec::new()
        } else if metadata.is_symlink() {
            std::fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
        } else if metadata.is_file() && metadata.len() <= MAX_TREE_FILE_BYTES {
            std::fs::read(&path).expect("readable")
        } else {
            Vec::new()
        };
        found.insert(path.strip_prefix(root).expect("below").to_owned(), (metadata.mode(), bytes));
    }
    found
}
