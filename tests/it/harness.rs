//! A hermetic world for tests of the real binary: its own home, desired directory, keys and components.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use airssys_wasm::trust::{SigningKey, sign_manifest};
use tempfile::TempDir;

/// Longest wait for something that must happen; generous, because machines of tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

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

impl World {
    /// An empty world with a trust policy for `test:*`.
    pub fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().expect("a directory"), key: SigningKey::from_seed(&[7; 32]) };
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
        let Release { package, version, sequence, more, wasm } = release;
        let manifest = format!(
            "schema = 1\n\n[package]\nname = \"{package}\"\nversion = \"{version}\"\nsequence = {sequence}\n\n\
             [wasm]\nfile = \"component.wasm\"\nworld = \"airssys:component/actor@0.1.0\"\n\n{more}\n"
        );
        let signed = sign_manifest(&manifest, wasm, None, key).expect("signed");
        rename_into_place(&to.join("component.wasm"), wasm);
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

    /// Starts the host.
    pub fn run(&self) -> RunningHost {
        let mut paths = Vec::new();
        let arguments = self.arguments("run", &mut paths);
        RunningHost::spawn(self.command(&arguments))
    }
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
