//! Measures what installing many at once costs the disk: how many syncs, and the time of the whole pass.
//!
//! The floor of the time is what a store without a common sync does: a file of the size of a record for each
//! installation, each written, renamed and synced by itself.

use std::path::Path;

use super::install::write_durably;
use super::table::{Pairs, Row, Table, timed};
use super::world::{World, echo, name};

/// Installations.
const COUNT: usize = 1_000;
/// Pairs of a pass and its floor.
const PAIRS: usize = 5;
/// The most syncs that a pass may ask for.
const MOST_SYNCS: u64 = 5;
/// The most that a pass may take, in floors.
const MOST: f64 = 1.0;

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let count = super::table::count(COUNT);
    let world = World::new()?;
    let wasm = echo("the same for all")?;
    for number in 0..count {
        world.publish(&world.desired(), &name(number), &wasm)?;
    }
    world.settle();
    let (mut pairs, mut most) = (Pairs::default(), 0);
    for pair in 0..PAIRS {
        let floor_directory = world.path().join(format!("floor-{pair}"));
        std::fs::create_dir(&floor_directory)?;
        let (written, floor) = timed(|| sync_each(&floor_directory, count));
        written?;
        let mut reconciler = world.reconciler(&format!("home-{pair}"), false)?;
        let before = reconciler.syncs();
        let (pass, measured) = timed(|| reconciler.pass_settled(None));
        let pass = pass?;
        anyhow::ensure!(pass.summary.done == count as u64, "{:?}", pass.failed.first());
        most = most.max(reconciler.syncs() - before);
        pairs.add(measured, floor);
    }
    table.add(Row {
        what: format!("syncs of {count} first installs in one pass"),
        measured: most.to_string(),
        floor: "1 for all, 1 for the switch".to_owned(),
        result: format!("{most} syncs"),
        target: format!("<= {MOST_SYNCS}"),
        met: most <= MOST_SYNCS,
        notes: vec![format!("the most of {PAIRS} passes; files, directories and file systems counted alike")],
    });
    let notes =
        vec!["the pass also reads, verifies, compiles once, instantiates each and keeps all artifacts".to_owned()];
    table.ratio(&format!("pass of {count} first installs"), "a file written and synced for each", &pairs, MOST, notes);
    Ok(())
}

fn sync_each(directory: &Path, count: usize) -> anyhow::Result<()> {
    for number in 0..count {
        write_durably(&directory.join("new"), &directory.join(name(number)), directory)?;
    }
    Ok(())
}
