//! Measures what a message costs on its way through actors, with the epoch ticker and every check running.
//!
//! The guest is a real one, in Rust. The floor is what nobody can go below: a channel of tokio with nothing behind it,
//! and the bare engine calling the same guest with nothing around it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use airssys_wasm::actor::System;
use airssys_wasm::engine::{EngineConfig, wasmtime_config};
use airssys_wasm::host::contract::{Body, GuestCodec, HandleResults, MESSAGE_HANDLER, Message, Sender};
use airssys_wasm::host::{BodyInGuest, SendError};
use airssys_wasm::name::InstallationName;
use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{Component, Linker, TypedFunc, WasmStr};
use wasmtime::{Engine, Store, StoreContextMut};

use super::nats::Server;
use super::start::cached_code;
use super::table::{Pairs, Table, percentile};
use super::world::{World, name};

/// What `examples/refresh` builds of `examples/components/relay`.
pub const RELAY: &[u8] = include_bytes!("relay.wasm");
/// Pairs of actors that send one message to and fro.
const PAIRS_OF_ACTORS: usize = 1_000;
/// Threads that run actors, and those of the floor.
const WORKERS: usize = 2;
/// Bytes of a message.
const PAYLOAD_BYTES: usize = 64;
/// Rounds, each of a measurement and its floor.
const ROUNDS: usize = 9;
/// How long a round of throughput looks on.
const WINDOW: Duration = Duration::from_millis(500);
/// Times that a message changes sides before a round ends by itself.
const MAX_HOPS: u32 = 4_000;
/// Messages that results are scaled to.
const SCALE: f64 = 1e6;
/// Calls of a round of the bare engine, on each thread.
const BARE_CALLS: usize = 200_000;
/// Round trips of a round.
const ROUND_TRIPS: usize = 20_000;
/// The most that a message may take, in floors: four fifths of the floor's throughput.
const MOST_THROUGHPUT: f64 = 1.25;
/// The most that a round trip may take, in floors, in the middle and at the 99th percentile.
const MOST_MIDDLE: f64 = 2.0;
const MOST_TAIL: f64 = 2.5;
/// The most that a message may take, in those of a server: a thirtieth.
const MOST_OF_SERVER: f64 = 0.033;

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let world = World::new()?;
    let asks = "\n[permissions]\nsend = [\"next\"]\nreceive = [\"*\"]\n";
    world.sign("relay", RELAY, asks)?;
    for number in 0..2 * PAIRS_OF_ACTORS {
        let (own, other) = (name(number), name(number ^ 1));
        let grants = format!("\n[grant]\nsend = [\"next\"]\nreceive = [\"*\"]\n\n[links]\nnext = \"{other}\"\n");
        write_desired(&world, &own, &grants)?;
    }
    write_desired(&world, "echo", "\n[grant]\nwithout = [\"send\", \"receive\"]\n")?;
    world.settle();
    let count = 2 * PAIRS_OF_ACTORS + 1;
    let installed = world.apply("home")?;
    anyhow::ensure!(installed == count as u64, "{installed} of {count} were installed");
    let code = cached_code(&world.home("home")?.state_dir())?;
    let bare = Bare::new(&code[0]).map_err(|error| anyhow::anyhow!("the bare engine: {error:#}"))?;
    let (mut reconciler, actors) = world.parts("home", true, |config| {
        config.workers = std::num::NonZeroUsize::new(WORKERS);
        config.max_hops = MAX_HOPS;
    })?;
    anyhow::ensure!(reconciler.start_committed() == count, "not all run");
    throughput(table, &actors, &bare)?;
    round_trip(table, &actors)?;
    against_server(table, &actors)
}

/// The same messages by way of a server.
fn against_server(table: &mut Table, actors: &System) -> anyhow::Result<()> {
    let Some(server) = Server::start()? else {
        eprintln!("not run: messages against a server: needs nats-server");
        return Ok(());
    };
    let mut pairs = Pairs::default();
    for _ in 0..ROUNDS {
        let measured = through_actors(actors)?;
        let (messages, took) = server.ping_pong(PAYLOAD_BYTES, WINDOW)?;
        pairs.add(measured, took.mul_f64(SCALE / messages as f64));
    }
    let notes = vec![
        format!("{PAIRS_OF_ACTORS} pairs of actors in one process against one pair of clients of a server, over TCP"),
        "what a user gets by not sending messages through a server; not what each could do alone".to_owned(),
    ];
    table.ratio("1,000,000 messages between actors", "nats-server, ping-pong", &pairs, MOST_OF_SERVER, notes);
    Ok(())
}

fn write_desired(world: &World, name: &str, grants: &str) -> anyhow::Result<()> {
    let text = format!("package = \"bench:relay\"\n\n[source.file]\npath = \"../components/relay\"\n{grants}");
    Ok(std::fs::write(world.desired().join(format!("{name}.toml")), text)?)
}

fn throughput(table: &mut Table, actors: &System, bare: &Bare) -> anyhow::Result<()> {
    let mut pairs = Pairs::default();
    let (mut channels, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let measured = through_actors(actors)?;
        let (channel, call) = (through_channels()?, bare.one_call()?);
        pairs.add(measured, channel + call / WORKERS as u32);
        channels.push(channel);
        calls.push(call);
    }
    let parts = [channels, calls].map(|times| percentile(times, 50).as_secs_f64() * 1e9 / SCALE);
    let notes = vec![
        format!("floor of one message: channel {:.0} ns and call {:.0} ns / {WORKERS} threads", parts[0], parts[1]),
        format!("{WORKERS} workers, {PAYLOAD_BYTES} bytes, epoch ticker, permissions, limits and counters on"),
    ];
    let title = format!("1,000,000 messages between {PAIRS_OF_ACTORS} pairs of actors");
    table.ratio(&title, "bare tokio mpsc + bare engine call", &pairs, MOST_THROUGHPUT, notes);
    Ok(())
}

/// The time of [`SCALE`] messages, while all pairs are busy.
fn through_actors(actors: &System) -> anyhow::Result<Duration> {
    let handled = || actors.statuses().iter().map(|status| status.counts.handled).sum::<u64>();
    for number in (0..2 * PAIRS_OF_ACTORS).step_by(2) {
        actors.send_from_host(&name(number).parse()?, vec![7; PAYLOAD_BYTES])?;
    }
    let (before, begun) = (handled(), Instant::now());
    std::thread::sleep(WINDOW);
    let (messages, took) = (handled() - before, begun.elapsed());
    let all = PAIRS_OF_ACTORS as u64 * u64::from(MAX_HOPS);
    anyhow::ensure!(messages < all, "the messages were through before the window was");
    // The messages die of their age; the next round, and the floor, begin on a quiet machine.
    loop {
        let now = handled();
        std::thread::sleep(Duration::from_millis(20));
        if handled() == now {
            break;
        }
    }
    anyhow::ensure!(messages > 0, "no message went through");
    Ok(took.mul_f64(SCALE / messages as f64))
}

/// The same pairs as bare tasks that hand one another a buffer.
fn through_channels() -> anyhow::Result<Duration> {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).build()?;
    let count = Arc::new(AtomicU64::new(0));
    let mut ends = Vec::new();
    for _ in 0..PAIRS_OF_ACTORS {
        let ((to_a, at_a), (to_b, at_b)) = (mpsc::channel::<Vec<u8>>(1024), mpsc::channel(1024));
        to_a.try_send(vec![7; PAYLOAD_BYTES])?;
        ends.push(to_a.clone());
        for (mut at, to) in [(at_a, to_b), (at_b, to_a)] {
            let count = Arc::clone(&count);
            runtime.spawn(async move {
                while let Some(payload) = at.recv().await {
                    count.fetch_add(1, Ordering::Relaxed);
                    if to.send(payload).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
    let (before, begun) = (count.load(Ordering::Relaxed), Instant::now());
    std::thread::sleep(WINDOW);
    let (messages, took) = (count.load(Ordering::Relaxed) - before, begun.elapsed());
    runtime.shutdown_timeout(Duration::from_secs(10));
    anyhow::ensure!(messages > 0, "no message went through");
    Ok(took.mul_f64(SCALE / messages as f64))
}

/// The guest alone in the engine: its only import that it calls does nothing.
struct Bare {
    engine: Engine,
    pre: wasmtime::component::InstancePre<()>,
}

impl Bare {
    fn new(code: &Path) -> wasmtime::Result<Self> {
        let engine = Engine::new(&wasmtime_config(&EngineConfig::default()))?;
        // SAFETY: the file was written by this program's own engine, in a directory of its own.
        let component = unsafe { Component::deserialize_file(&engine, code) }?;
        let mut linker: Linker<()> = Linker::new(&engine);
        let send = |_: StoreContextMut<'_, ()>, (_, _): (WasmStr, BodyInGuest)| Ok((Ok::<(), SendError>(()),));
        linker.instance("airssys:component/messaging@0.1.0")?.func_wrap("send", send)?;
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        Ok(Self { engine, pre })
    }

    /// The time of [`SCALE`] calls on one of as many threads as there are workers.
    fn one_call(&self) -> anyhow::Result<Duration> {
        let times = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| self.calls())).collect();
            threads.into_iter().map(|thread| thread.join().expect("the thread of the floor")).collect::<Vec<_>>()
        });
        let times = times.into_iter().collect::<wasmtime::Result<Vec<_>>>();
        let times = times.map_err(|error| anyhow::anyhow!("the bare engine: {error:#}"))?;
        Ok((times.iter().sum::<Duration>() / WORKERS as u32).mul_f64(SCALE / BARE_CALLS as f64))
    }

    /// Calls as many instances in turn as a worker has actors.
    fn calls(&self) -> wasmtime::Result<Duration> {
        let mut ring = Vec::new();
        for _ in 0..2 * PAIRS_OF_ACTORS / WORKERS {
            let mut store = Store::new(&self.engine, ());
            store.set_epoch_deadline(u64::MAX / 2);
            let instance = self.pre.instantiate(&mut store)?;
            let exports = instance.get_export_index(&mut store, None, MESSAGE_HANDLER);
            let handle = instance
                .get_export_index(&mut store, exports.as_ref(), "handle")
                .ok_or_else(|| wasmtime::format_err!("the relay exports no handler"))?;
            let handle: TypedFunc<(Message,), HandleResults> = instance.get_typed_func(&mut store, handle)?;
            ring.push((store, handle));
        }
        let sender: Arc<str> = name(0).into();
        let mut body = Body { codec: GuestCodec::Raw, data: vec![7; PAYLOAD_BYTES] };
        let begun = Instant::now();
        for id in 0..BARE_CALLS {
            let (store, handle) = &mut ring[id % (2 * PAIRS_OF_ACTORS / WORKERS)];
            let sender = Sender::Installation(Arc::clone(&sender));
            let message = Message { id: id as u64, sender, wants_reply: false, topic: None, body };
            let (answer,) = handle.call(store, (message,))?;
            body = answer.ok().flatten().ok_or_else(|| wasmtime::format_err!("the relay does not answer"))?;
        }
        Ok(begun.elapsed())
    }
}

fn round_trip(table: &mut Table, actors: &System) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().build()?;
    let echo: InstallationName = "echo".parse()?;
    let (mut middle, mut tail) = (Pairs::default(), Pairs::default());
    for _ in 0..ROUNDS {
        let (measured, floor) = (trips_to_actor(actors, &echo)?, trips_to_task(&runtime)?);
        let at = |percent| [&measured, &floor].map(|times| percentile(times.iter().copied(), percent));
        for (pairs, [measured, floor]) in [(&mut middle, at(50)), (&mut tail, at(99))] {
            pairs.add(measured, floor);
        }
    }
    let notes = || vec![format!("the median of {ROUND_TRIPS} each; one actor, called from a thread of the host")];
    table.ratio("round trip host, actor, host: p50", "tokio task, mpsc + oneshot", &middle, MOST_MIDDLE, notes());
    table.ratio("round trip host, actor, host: p99", "tokio task, mpsc + oneshot", &tail, MOST_TAIL, notes());
    Ok(())
}

fn trips_to_actor(actors: &System, echo: &InstallationName) -> anyhow::Result<Vec<Duration>> {
    let one = || {
        let begun = Instant::now();
        let answer = actors.request_from_host(echo, vec![7; PAYLOAD_BYTES], Duration::from_secs(30))?;
        let took = begun.elapsed();
        anyhow::ensure!(answer.is_some(), "the echo does not answer");
        Ok(took)
    };
    (0..ROUND_TRIPS).map(|_| one()).collect()
}

/// A task that answers with what it gets, on the thread that asks.
fn trips_to_task(runtime: &Runtime) -> anyhow::Result<Vec<Duration>> {
    let (to, mut at) = mpsc::channel::<(Vec<u8>, oneshot::Sender<Vec<u8>>)>(1024);
    runtime.spawn(async move {
        while let Some((payload, answer)) = at.recv().await {
            // Whoever asked has gone at the end of the measurement.
            let _ = answer.send(payload);
        }
    });
    runtime.block_on(async {
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            let begun = Instant::now();
            let (answer, came) = oneshot::channel();
            to.send((vec![7; PAYLOAD_BYTES], answer)).await.context("the task is gone")?;
            came.await?;
            times.push(begun.elapsed());
        }
        Ok(times)
    })
}
