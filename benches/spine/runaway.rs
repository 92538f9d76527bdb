//! Measures what a component that never returns costs its neighbours: how long another one's answers take while it
//! holds a worker, against the same without it.

use std::time::{Duration, Instant};

use airssys_wasm::actor::System;
use airssys_wasm::name::InstallationName;

use super::messages::RELAY;
use super::table::{Pairs, Table, percentile};
use super::world::{World, echo, name};

/// Threads that run actors.
const WORKERS: usize = 2;
/// Rounds, each with and without the runaway.
const ROUNDS: usize = 5;
/// Answers of the neighbour in each half of a round.
const ANSWERS: usize = 2_000;
/// From one question to the next, so that the threads are not always awake.
const PAUSE: Duration = Duration::from_micros(100);
/// How long a call may take; the whole of a half round fits in.
const CALL: &str = "2s";
/// From the message that makes it run away to the first answer that counts: the host notices at the next tick.
const NOTICED: Duration = Duration::from_millis(100);
/// How long it may take until the runaway is back.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that an answer may take, in those without a runaway, at the 99th percentile.
const MOST: f64 = 2.0;
/// What makes the echo run away.
const NEVER: &[u8] = b"!";

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let world = World::new()?;
    world.sign("runaway", &echo("runs away")?, "")?;
    world.sign("relay", RELAY, "\n[permissions]\nsend = [\"next\"]\nreceive = [\"*\"]\n")?;
    let write = |name: &str, text: String| std::fs::write(world.desired().join(format!("{name}.toml")), text);
    write(
        "runaway",
        desired("runaway", &format!("\n[limits]\ncall = \"{CALL}\"\n\n[supervision]\nmax-restarts = 100\n")),
    )?;
    write(&name(0), desired("relay", "\n[grant]\nwithout = [\"send\", \"receive\"]\n"))?;
    world.settle();
    let installed = world.apply("home")?;
    anyhow::ensure!(installed == 2, "{installed} of 2 were installed");
    let (mut reconciler, actors) =
        world.parts("home", true, |config| config.workers = std::num::NonZeroUsize::new(WORKERS))?;
    anyhow::ensure!(reconciler.start_committed() == 2, "not all run");
    let (runaway, neighbour) = ("runaway".parse()?, name(0).parse()?);
    let (mut middle, mut tail) = (Pairs::default(), Pairs::default());
    for _ in 0..ROUNDS {
        let quiet = answers(&actors, &neighbour)?;
        let before = failed(&actors, &runaway);
        actors.send_from_host(&runaway, NEVER.to_vec())?;
        std::thread::sleep(NOTICED);
        let beside = answers(&actors, &neighbour)?;
        anyhow::ensure!(failed(&actors, &runaway) == before, "it was stopped before the round was over");
        for (pairs, percent) in [(&mut middle, 50), (&mut tail, 99)] {
            let [beside, quiet] = [&beside, &quiet].map(|times| percentile(times.iter().copied(), percent));
            pairs.add(beside, quiet);
        }
        let since = Instant::now();
        while failed(&actors, &runaway) == before || actors.request_from_host(&runaway, Vec::new(), PATIENCE).is_err() {
            anyhow::ensure!(since.elapsed() < PATIENCE, "the runaway was not stopped");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let note = || vec![format!("{WORKERS} workers, {ANSWERS} answers a round, one every {} us", PAUSE.as_micros())];
    table.ratio("answer beside a runaway: p50", "the same without it", &middle, MOST, note());
    table.ratio("answer beside a runaway: p99", "the same without it", &tail, MOST, note());
    Ok(())
}

fn desired(component: &str, more: &str) -> String {
    format!("package = \"bench:{component}\"\n\n[source.file]\npath = \"../components/{component}\"\n{more}")
}

fn failed(actors: &System, name: &InstallationName) -> u64 {
    actors.status(name).map_or(0, |status| status.counts.failed)
}

/// How long each answer takes, by way of the workers.
fn answers(actors: &System, name: &InstallationName) -> anyhow::Result<Vec<Duration>> {
    let one = |_| {
        std::thread::sleep(PAUSE);
        let begun = Instant::now();
        let answer = actors.begin_request(name, vec![7; 64], Duration::from_secs(30))?.wait()?;
        anyhow::ensure!(answer.is_some(), "the neighbour does not answer");
        Ok(begun.elapsed())
    };
    (0..ANSWERS).map(one).collect()
}
