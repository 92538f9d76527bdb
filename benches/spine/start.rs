//! Measures a start of many components whose code is cached, to all of them running.
//!
//! Its floor is the engine alone: the same files of code, mapped and instantiated by one thread, with
//! nothing checked, recorded or called.

use std::path::{Path, PathBuf};
use std::time::Duration;

use airssys_wasm::engine::{EngineConfig, wasmtime_config};
use airssys_wasm::reconcile::unix_now_s;
use airssys_wasm::state::{CacheKey, CacheLookup, Options, Start};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use super::table::{Pairs, Table, median, shown, timed};
use super::world::{World, echo, name};

/// Components, each with code of its own.
const COUNT: usize = 1_000;
/// Pairs of a start and its floor.
const PAIRS: usize = 9;
/// The most that a start may take, in floors.
const MOST: f64 = 2.0;

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let world = World::new()?;
    for number in 0..COUNT {
        world.publish(&world.desired(), &name(number), &echo(&name(number))?)?;
    }
    world.settle();
    let (applied, compiled) = timed(|| world.apply("home"));
    anyhow::ensure!(applied? == COUNT as u64);
    let code = cached_code(&world.home("home")?.state_dir())?;
    anyhow::ensure!(code.len() == COUNT);
    let mut pairs = Pairs::default();
    let mut open = Vec::new();
    for _ in 0..PAIRS {
        let floor = bare(&code)?;
        let (reconciler, opened) = timed(|| world.reconciler("home", true));
        let mut reconciler = reconciler?;
        let (running, measured) = timed(|| reconciler.start_committed());
        anyhow::ensure!(running == COUNT);
        pairs.add(measured, floor);
        open.push(opened);
    }
    let notes = vec![
        parts(&world)?,
        format!("before that, lock, state and engine took {}", shown(median(open))),
        format!("the pass that compiled and installed them took {:.1} s", compiled.as_secs_f64()),
    ];
    let title = format!("start of {COUNT} cached components");
    table.ratio(&title, "bare deserialize_file + instantiate", &pairs, MOST, notes);
    Ok(())
}

/// What a start adds to the floor, part by part and on one thread.
fn parts(world: &World) -> anyhow::Result<String> {
    let opened = airssys_wasm::state::Store::open(&world.home("home")?, Options::at(unix_now_s().unsigned_abs()))?;
    let engine = airssys_wasm::engine::Engine::new(&EngineConfig::default())?.code_hash();
    let names: Vec<_> = opened.snapshot.records.keys().cloned().collect();
    let targets = opened.snapshot.records.iter().map(|(name, record)| (name.clone(), record.target_digest()));
    let targets: Vec<_> = targets.collect();
    let (mut marking, mut checking) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let (marked, took) = timed(|| {
            opened.store.mark_starting(targets.clone(), Start::Together).wait()?;
            opened.store.clear_starting(names.clone()).wait()
        });
        marked?;
        marking.push(took);
        let hit = |wasm| matches!(opened.store.cache().get(&CacheKey { wasm, engine }), CacheLookup::Hit(_));
        let (all, took) = timed(|| opened.snapshot.records.values().all(|record| hit(record.artifact.wasm)));
        anyhow::ensure!(all, "an entry of the cache is missing");
        checking.push(took);
    }
    let [marking, checking] = [marking, checking].map(|times| shown(median(times)));
    Ok(format!("of it, by one thread: markers {marking}, finding and checking the code {checking}"))
}

/// Files of compiled code.
pub fn cached_code(state: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(state.join("cache"))?;
    Ok(files.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
}

/// Maps and instantiates each file of code; everything stays up until all are.
pub fn bare(code: &[PathBuf]) -> anyhow::Result<Duration> {
    // The engine's errors are of their own kind.
    bare_engine(code).map_err(|error| anyhow::anyhow!("the bare engine: {error:#}"))
}

fn bare_engine(code: &[PathBuf]) -> wasmtime::Result<Duration> {
    let engine = Engine::new(&wasmtime_config(&EngineConfig::default()))?;
    let mut linker: Linker<()> = Linker::new(&engine);
    // The components import types alone.
    linker.instance("airssys:component/types@0.1.0")?;
    let (up, took) = timed(|| {
        let one = |path| {
            // SAFETY: the file was written by this program's own engine, in a directory of its own.
            let component = unsafe { Component::deserialize_file(&engine, path) }?;
            let pre = linker.instantiate_pre(&component)?;
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(u64::MAX / 2);
            let instance = pre.instantiate(&mut store)?;
            Ok((pre, store, instance))
        };
        code.iter().map(one).collect::<wasmtime::Result<Vec<_>>>()
    });
    up?;
    Ok(took)
}
