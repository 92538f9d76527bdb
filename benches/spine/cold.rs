//! Measures the real program from the start of its process to the first answer of its one component, whose code is in
//! the cache.
//!
//! The floor is what no such program can leave out: this binary started for nothing (`--version`: the loader, its
//! relocations, the command line), and the engine made, the code mapped, instantiated. A component's call takes
//! microseconds and is left out of the floor; what opening the state, the markers, the socket and HTTP add is not.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::start::{bare, cached_code};
use super::table::{Pairs, Table, median, shown, timed};
use super::world::{World, echo, name};

/// Pairs of a start and its floor.
const PAIRS: usize = 15;
/// The most that a start may take, in floors.
const MOST: f64 = 4.0;
/// Between two attempts to be answered.
const LOOK: Duration = Duration::from_micros(100);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// This version's program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_airssys-wasm");

/// A host's process, ended with the measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let world = World::new()?;
    world.publish(&world.desired(), &name(0), &echo("the only one")?)?;
    world.settle();
    anyhow::ensure!(world.apply("home")? == 1);
    let code = cached_code(&world.home("home")?.state_dir())?;
    let (mut pairs, mut bare_start) = (Pairs::default(), Vec::new());
    for pair in 0..=PAIRS {
        let process = version()?;
        let (engine, all) = timed(|| bare(&code));
        engine?;
        let measured = first_answer(&world)?;
        // The first pair warms the page cache for both.
        if pair > 0 {
            pairs.add(measured, process + all);
            bare_start.push(process);
        }
    }
    let notes = vec![format!("of the floor the bare start of the process is {}", shown(median(bare_start)))];
    table.ratio("process start to first answer, code cached", "bare process, then bare engine", &pairs, MOST, notes);
    Ok(())
}

/// The same binary, started for nothing.
fn version() -> anyhow::Result<Duration> {
    let (status, took) = timed(|| Command::new(PROGRAM).arg("--version").env_clear().stdout(Stdio::null()).status());
    anyhow::ensure!(status?.success());
    Ok(took)
}

fn first_answer(world: &World) -> anyhow::Result<Duration> {
    let home = world.path().join("home");
    let socket = home.join("run/host.sock");
    // One that a killed host left would be refused by the system, and slower than none.
    let _ = std::fs::remove_file(&socket);
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("AIRSSYS_HOME", &home).env("HOME", world.path());
    command.arg("run").arg(world.desired()).arg("--trust").arg(world.path().join("trust.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut running = Running(command.spawn()?);
    while !is_answered(&socket) {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "no answer came");
        anyhow::ensure!(running.0.try_wait()?.is_none(), "the host ended");
        std::thread::sleep(LOOK);
    }
    Ok(begun.elapsed())
}

/// Whether the component answers a message with its payload.
fn is_answered(socket: &Path) -> bool {
    let request = format!(
        "POST /v1/call/{}?timeout_ms=1000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        name(0)
    );
    let mut answer = Vec::new();
    let asked = UnixStream::connect(socket)
        .and_then(|mut stream| stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer)));
    asked.is_ok() && answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"\r\n\r\nhello")
}
