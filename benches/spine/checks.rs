//! Measures what the checks that an operator can ask for add to a message: rates, retries, a share of the processor, and a
//! breaker for each target, all at once, against the same messages without any of them.
//!
//! What can't be turned off (permissions, reservations, deadlines, memory, counters) is in both.

use std::time::{Duration, Instant};

use airssys_wasm::actor::System;

use super::messages::RELAY;
use super::table::{Pairs, Table};
use super::world::{World, name};

/// Pairs of actors on either side that send one message to and fro.
const PAIRS_OF_ACTORS: usize = 500;
/// Rounds, each of both sides.
const ROUNDS: usize = 9;
/// How long a round looks on.
const WINDOW: Duration = Duration::from_millis(500);
/// Times that a message changes sides before a round ends by itself.
const MAX_HOPS: u32 = 4_000;
/// Bytes of a message.
const PAYLOAD_BYTES: usize = 64;
/// The most that a message with the checks may take, in those without.
const MOST: f64 = 1.25;
/// All of them, none of which comes to its limit.
const CHECKS: &str = "\n[limits]\nsend-rate = 1000000\nsend-burst = 1000000\nretries = 3\nmax-cpu-percent = 100\n\n\
                      [breaker]\nfailure-threshold = 5\n";

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let world = World::new()?;
    world.sign("relay", RELAY, "\n[permissions]\nsend = [\"next\"]\nreceive = [\"*\"]\n")?;
    for number in 0..4 * PAIRS_OF_ACTORS {
        let more = if is_checked(number) { CHECKS } else { "" };
        let text = format!(
            "package = \"bench:relay\"\n\n[source.file]\npath = \"../components/relay\"\n\n\
             [grant]\nsend = [\"next\"]\nreceive = [\"*\"]\n\n[links]\nnext = \"{}\"\n{more}",
            name(number ^ 1)
        );
        std::fs::write(world.desired().join(format!("{}.toml", name(number))), text)?;
    }
    world.settle();
    let installed = world.apply("home")?;
    anyhow::ensure!(installed == 4 * PAIRS_OF_ACTORS as u64, "{installed} were installed");
    let (mut reconciler, actors) = world.parts("home", true, |config| {
        config.workers = std::num::NonZeroUsize::new(2);
        config.max_hops = MAX_HOPS;
    })?;
    anyhow::ensure!(reconciler.start_committed() == 4 * PAIRS_OF_ACTORS, "not all run");
    let mut pairs = Pairs::default();
    for _ in 0..ROUNDS {
        pairs.add(round(&actors, true)?, round(&actors, false)?);
    }
    let notes = vec!["send-rate, retries, max-cpu-percent and a breaker, none of which comes to its limit".to_owned()];
    table.ratio(
        "1,000,000 messages with every check on",
        "the same without those that are asked for",
        &pairs,
        MOST,
        notes,
    );
    Ok(())
}

/// The second half of the actors.
fn is_checked(number: usize) -> bool {
    number >= 2 * PAIRS_OF_ACTORS
}

/// The time of a million messages, while all pairs of one side are busy.
fn round(actors: &System, checked: bool) -> anyhow::Result<Duration> {
    let handled = || actors.statuses().iter().map(|status| status.counts.handled).sum::<u64>();
    for number in (0..4 * PAIRS_OF_ACTORS).step_by(2).filter(|number| is_checked(*number) == checked) {
        actors.send_from_host(&name(number).parse()?, vec![7; PAYLOAD_BYTES])?;
    }
    let (before, begun) = (handled(), Instant::now());
    std::thread::sleep(WINDOW);
    let (messages, took) = (handled() - before, begun.elapsed());
    anyhow::ensure!(messages > 0, "no message went through");
    anyhow::ensure!(
        messages < PAIRS_OF_ACTORS as u64 * u64::from(MAX_HOPS),
        "the messages were through before the window"
    );
    // The messages die of their age; the other side begins on a quiet machine.
    loop {
        let now = handled();
        std::thread::sleep(Duration::from_millis(20));
        if handled() == now {
            return Ok(took.mul_f64(1e6 / messages as f64));
        }
    }
}
