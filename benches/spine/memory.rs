//! Measures what an actor holds that does nothing: with its instance, and asleep without one; and what waking costs.
//!
//! The floor is the engine alone: the same code, as many instances, `init` called on each, nothing around them. Page
//! tables count, for they are memory like any other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm::actor::System;
use airssys_wasm::engine::{EngineConfig, wasmtime_config};
use airssys_wasm::host::contract::{InitParams, InitResults, LIFECYCLE};
use airssys_wasm::name::InstallationName;
use anyhow::Context as _;
use wasmtime::component::{Component, Instance, InstancePre, Linker};
use wasmtime::{Engine, Store};

use super::messages::RELAY;
use super::start::cached_code;
use super::table::{Pairs, Row, Table, count, percentile};
use super::world::{World, name};

/// Actors.
const ACTORS: usize = 2_000;
/// How long one takes no message before it sleeps.
const SLEEP_AFTER: Duration = Duration::from_millis(500);
/// How long all may take to fall asleep.
const ALL_ASLEEP: Duration = Duration::from_secs(60);
/// The most that an actor with its instance may hold, in floors.
const MOST_AWAKE: f64 = 1.15;
/// The most that one without may hold, in bytes.
const MOST_ASLEEP_BYTES: u64 = 1_024;
/// The most that the first answer of one that sleeps may take, in floors.
const MOST_WAKING: f64 = 1.5;

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let actors = count(ACTORS);
    let world = World::new()?;
    world.sign_with("relay", RELAY, "stateless = true\n", "\n[permissions]\nsend = [\"next\"]\nreceive = [\"*\"]\n")?;
    for number in 0..actors {
        let text = "package = \"bench:relay\"\n\n[source.file]\npath = \"../components/relay\"\n\n\
                    [grant]\nwithout = [\"send\", \"receive\"]\n";
        std::fs::write(world.desired().join(format!("{}.toml", name(number))), text)?;
    }
    world.settle();
    let installed = world.apply("home")?;
    anyhow::ensure!(installed == actors as u64, "{installed} of {actors} were installed");
    let code = cached_code(&world.home("home")?.state_dir())?;
    let bare = Bare::new(&code[0]).map_err(|error| anyhow::anyhow!("the bare engine: {error:#}"))?;

    let (before, heap_before) = (resident_bytes()?, heap_bytes());
    let floor = bare.instances(actors).map_err(|error| anyhow::anyhow!("the bare engine: {error:#}"))?;
    let of_floor = (resident_bytes()? - before) / actors as u64;
    let heap_of_floor = heap_bytes().saturating_sub(heap_before) / actors as u64;
    let (resident, heap) = (resident_bytes()?, heap_bytes());
    let (mut reconciler, system) = world.parts("home", true, |config| config.sleep_after = SLEEP_AFTER)?;
    let started = reconciler.start_committed();
    anyhow::ensure!(started == actors, "not all run");
    let awake = (resident_bytes()? - resident) / actors as u64;
    let of_heap = heap_bytes().saturating_sub(heap) / actors as u64;
    table.add(Row {
        what: format!("memory of each of {actors} idle actors"),
        measured: kib(awake),
        floor: format!("{} bare instance", kib(of_floor)),
        result: format!("{:.2}x", awake as f64 / of_floor as f64),
        target: format!("<= {MOST_AWAKE}x"),
        met: awake as f64 <= of_floor as f64 * MOST_AWAKE,
        notes: vec![
            "resident memory and page tables; the same Rust guest, started and never called".to_owned(),
            format!("of it, {} from the allocator, against {}", kib(of_heap), kib(heap_of_floor)),
        ],
    });

    all_sleep(&system)?;
    let asleep = heap_bytes().saturating_sub(heap) / actors as u64;
    // Until now, for what it gives back would be taken for what the actors do not hold.
    drop(floor);
    table.add(Row {
        what: format!("memory of each of {actors} sleeping actors"),
        measured: format!("{asleep} bytes"),
        floor: format!("{} with an instance", kib(awake)),
        result: format!("{:.3}x", asleep as f64 / awake as f64),
        target: format!("<= {MOST_ASLEEP_BYTES} bytes"),
        met: asleep <= MOST_ASLEEP_BYTES,
        notes: vec![
            "what the allocator has handed out since before the host was opened; records and logs are in it".to_owned(),
        ],
    });
    waking(table, &system, &bare, actors)
}

/// Each actor is woken by one message and gets another one at once.
fn waking(table: &mut Table, system: &System, bare: &Bare, actors: usize) -> anyhow::Result<()> {
    let (mut first, mut second, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..actors {
        let name: InstallationName = name(number).parse()?;
        first.push(one_answer(system, &name)?);
        second.push(one_answer(system, &name)?);
        let begun = Instant::now();
        drop(bare.instances(1).map_err(|error| anyhow::anyhow!("the bare engine: {error:#}"))?);
        floor.push(begun.elapsed());
    }
    let [first, second, floor] = [first, second, floor].map(|times| percentile(times, 50));
    let mut pairs = Pairs::default();
    pairs.add(first, floor + second);
    let notes = vec![format!("of it, {:.1} us for one that is awake", second.as_secs_f64() * 1e6)];
    table.ratio(
        "first answer of a sleeping actor: p50",
        "bare instance + answer of one awake",
        &pairs,
        MOST_WAKING,
        notes,
    );
    Ok(())
}

fn one_answer(system: &System, name: &InstallationName) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    system.request_from_host(name, b"wake".to_vec(), Duration::from_secs(30))?;
    Ok(begun.elapsed())
}

fn all_sleep(system: &System) -> anyhow::Result<()> {
    let until = Instant::now() + ALL_ASLEEP;
    while system.statuses().iter().any(|status| !status.asleep) {
        anyhow::ensure!(Instant::now() < until, "not all fall asleep");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The guest alone in the engine.
struct Bare {
    engine: Engine,
    pre: InstancePre<()>,
}

impl Bare {
    fn new(code: &std::path::Path) -> wasmtime::Result<Self> {
        let engine = Engine::new(&wasmtime_config(&EngineConfig::default()))?;
        // SAFETY: the file was written by this program's own engine, in a directory of its own.
        let component = unsafe { Component::deserialize_file(&engine, code) }?;
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        Ok(Self { engine, pre })
    }

    fn instances(&self, count: usize) -> wasmtime::Result<Vec<(Store<()>, Instance)>> {
        let config: Arc<str> = "{}".into();
        let one = |_| {
            let mut store = Store::new(&self.engine, ());
            store.set_epoch_deadline(u64::MAX / 2);
            let instance = self.pre.instantiate(&mut store)?;
            let lifecycle = instance.get_export_index(&mut store, None, LIFECYCLE);
            let init = instance
                .get_export_index(&mut store, lifecycle.as_ref(), "init")
                .ok_or_else(|| wasmtime::format_err!("the relay exports no init"))?;
            let init = instance.get_typed_func::<InitParams, InitResults>(&mut store, init)?;
            init.call(&mut store, (Arc::clone(&config),))?.0.map_err(wasmtime::Error::msg)?;
            Ok((store, instance))
        };
        (0..count).map(one).collect()
    }
}

/// What this process holds, page tables included.
pub(super) fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.trim_end_matches(" kB").trim().parse::<u64>().ok())
            .with_context(|| format!("the kernel does not say {key}"))
    };
    Ok((kib("VmRSS:")? + kib("VmPTE:")?) * 1_024)
}

/// What the allocator has handed out and not got back.
fn heap_bytes() -> u64 {
    // SAFETY: the function only reads the allocator's own counters.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as u64
}

pub(super) fn kib(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1_024.0)
}
