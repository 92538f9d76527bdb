//! Measures one changed file among many: from its rename into place to the plan that shows it.
//!
//! Its floor is what a pass without a memory does at the very least: it lists the directory, reads and parses every
//! file, and plans. Nothing is fetched, verified or carried out on either side: the change asks for a version that
//! there is not, which is a plan with one blocked action.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm::desired::{self, DesiredFile, DesiredState, file};
use airssys_wasm::watch::Watcher;
use airssys_wasm::watch::debounce::BURST_GAP;
use airssys_wasm::watch::files::FileTimes;
use anyhow::Context as _;

use super::plan::Scene;
use super::table::{Pairs, Table, median, shown, timed};
use super::world::{World, desired_text, echo, name};

/// Installations.
const COUNT: usize = 10_000;
/// Pairs of a change and its floor.
const PAIRS: usize = 21;
/// The most that a change may take, in floors.
const MOST: f64 = 0.05;
/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let count = super::table::count(COUNT);
    let world = World::new()?;
    let wasm = echo("the same for all")?;
    for number in 0..count {
        world.publish(&world.desired(), &name(number), &wasm)?;
    }
    world.settle();
    let mut reconciler = world.reconciler("home", false)?;
    let first = reconciler.pass_settled(None)?;
    anyhow::ensure!(first.summary.done == count as u64, "{:?}", first.failed.first());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut watcher, mut wake) = Watcher::open(&world.desired(), 0);
    let scene = Scene::new(count).settled();
    let changed = world.desired().join(format!("{}.toml", name(count / 2)));
    let (mut pairs, mut waited) = (Pairs::default(), Vec::new());
    for pair in 0..PAIRS {
        let (planned, floor) = timed(|| plan_without_a_memory(&world.desired(), &scene));
        anyhow::ensure!(planned? == count);
        // What a person at work meets: the burst before is over.
        std::thread::sleep(2 * BURST_GAP);
        let text = format!("{}\n[require]\nversion = \"={}.0.0\"\n", desired_text(&name(count / 2)), pair + 2);
        let waiting = world.waiting().join("changed.toml");
        std::fs::write(&waiting, text)?;
        let begun = Instant::now();
        std::fs::rename(&waiting, &changed)?;
        let next = async { tokio::time::timeout(PATIENCE, wake.next()).await };
        runtime.block_on(next).context("no event came")?;
        waited.push(begun.elapsed());
        watcher.refresh();
        let pass = reconciler.pass("bench", FileTimes::Local, &mut || wake.take_completed())?;
        let measured = begun.elapsed();
        let blocked = pass.plan.actions.first().map(|action| action.name.as_str().to_owned());
        anyhow::ensure!(pass.plan.actions.len() == 1 && !pass.committed, "{blocked:?}");
        anyhow::ensure!(pass.plan.unchanged == count - 1 && blocked == Some(name(count / 2)));
        pairs.add(measured, floor);
    }
    let notes = vec![format!("of it until the event {}", shown(median(waited)))];
    let title = format!("one changed file among {count} to a plan");
    table.ratio(&title, "read and parse all, plan", &pairs, MOST, notes);
    Ok(())
}

/// Lists, reads and parses all files, and plans as many installations. Gives how many there are.
fn plan_without_a_memory(directory: &Path, scene: &Scene) -> anyhow::Result<usize> {
    let state = parse_all(directory)?;
    let planned = black_box(scene.plan());
    anyhow::ensure!(!planned.is_converged());
    Ok(black_box(state).entries.len())
}

fn parse_all(directory: &Path) -> anyhow::Result<DesiredState> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let parsed = file::parse(&name, &std::fs::read(entry.path())?);
        files.insert(name, DesiredFile::Parsed(Arc::new(parsed)));
    }
    Ok(desired::assemble(&files, &BTreeMap::new()))
}
