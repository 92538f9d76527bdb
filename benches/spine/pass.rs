//! Measures a pass that finds everything as it should be.
//!
//! Its floor is one list of the directory and one stat of every file that a change could be in.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use airssys_wasm::watch::files::FileTimes;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};

use super::table::{Pairs, Table, timed};
use super::world::{World, echo, name};

/// Installations.
const COUNT: usize = 10_000;
/// Pairs of a pass and its floor.
const PAIRS: usize = 31;
/// The most that a pass may take, in floors.
const MOST: f64 = 1.6;
/// What an artifact consists of.
const ARTIFACT: [&str; 3] = ["Component.toml", "Component.toml.sig", "component.wasm"];

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let world = World::new()?;
    let wasm = echo("the same for all")?;
    for number in 0..COUNT {
        world.publish(&world.desired(), &name(number), &wasm)?;
    }
    world.settle();
    let mut reconciler = world.reconciler("home", false)?;
    let (first, took) = timed(|| reconciler.pass_settled(None));
    let first = first?;
    anyhow::ensure!(first.summary.done == COUNT as u64, "{:?}", first.failed.first());
    let mut pass = || reconciler.pass("bench", FileTimes::Local, &mut BTreeSet::new);
    // The first look back warms what a running host has warm.
    pass()?;
    let mut pairs = Pairs::default();
    for _ in 0..PAIRS {
        let (looked, floor) = timed(|| look_at_all(&world.desired()));
        anyhow::ensure!(looked? == COUNT * (1 + ARTIFACT.len()));
        let (done, measured) = timed(&mut pass);
        let done = done?;
        anyhow::ensure!(done.plan.unchanged == COUNT && done.plan.actions.is_empty() && !done.committed);
        pairs.add(measured, floor);
    }
    let notes = vec![format!("the pass that installed them took {:.1} s", took.as_secs_f64())];
    table.ratio(
        &format!("pass without a change, {COUNT} installations"),
        "readdir + 4 stats each",
        &pairs,
        MOST,
        notes,
    );
    Ok(())
}

/// One list, and one stat of each desired file and of each file of its artifact. Gives how many there were.
fn look_at_all(desired: &Path) -> anyhow::Result<usize> {
    let directory: OwnedFd = rustix::fs::open(desired, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let mut looked = 0;
    let mut path = String::new();
    let mut look = |path: &str| {
        looked += 1;
        rustix::fs::statat(directory.as_fd(), path, AtFlags::SYMLINK_NOFOLLOW).map(drop)
    };
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str()?.strip_suffix(".toml") else { continue };
        path.clear();
        path.extend([name, ".toml"]);
        look(&path)?;
        for file in ARTIFACT {
            path.clear();
            path.extend(["../components/", name, "/", file]);
            look(&path)?;
        }
    }
    Ok(looked)
}
