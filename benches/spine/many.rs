//! Measures how many different components one process takes, and whether all that it takes answer.
//!
//! Each has code of its own, so each takes memory maps of its own, of which the kernel gives a process so many and no more.
//! What does not fit is refused by name; nothing is ever ended for want of memory.

use std::time::{Duration, Instant};

use airssys_wasm::engine::maps;
use airssys_wasm::name::InstallationName;

use super::memory::{kib, resident_bytes};
use super::table::{Row, Table, count};
use super::world::{World, echo, name};

/// Components.
const COMPONENTS: usize = 10_000;
/// Passes until everything is installed that fits: what was started is counted before more is.
const MAX_PASSES: usize = 8;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let wanted = count(COMPONENTS);
    let world = World::new()?;
    for number in 0..wanted {
        world.publish(&world.desired(), &name(number), &echo(&name(number))?)?;
    }
    world.settle();
    let (resident, begun) = (resident_bytes()?, Instant::now());
    let (mut reconciler, system) = world.parts("home", true, |_| ())?;
    let mut passes = 0;
    let mut left = None;
    while passes < MAX_PASSES {
        passes += 1;
        let pass = reconciler.pass_settled(None)?;
        anyhow::ensure!(pass.failed.is_empty(), "{:?}", pass.failed[0].why);
        left =
            pass.plan.actions.iter().find(|action| action.effect.is_none()).map(|action| action.reason.message.clone());
        if left.is_none() || pass.summary.done == 0 {
            break;
        }
    }
    let took = begun.elapsed();
    let (used, max) = (maps::maps_in_use().unwrap_or(0), maps::max_maps().unwrap_or(0));
    let each = resident_bytes()?.saturating_sub(resident) / wanted as u64;
    let running = system.phases().len();
    let mut answered = 0;
    for number in 0..wanted {
        let name: InstallationName = name(number).parse()?;
        let answer = system.request_from_host(&name, b"hello".to_vec(), PATIENCE);
        answered += usize::from(matches!(&answer, Ok(Some(reply)) if reply.bytes == b"hello"));
    }
    let mut notes = vec![
        format!(
            "from no code to all running: {:.0} s in {passes} passes; {} of memory each",
            took.as_secs_f64(),
            kib(each)
        ),
        "each compiled in this process, one after the other as a pass does it".to_owned(),
    ];
    notes.extend(left.map(|why| format!("the first that was left out: {why}")));
    table.add(Row {
        what: format!("{wanted} components with code of their own"),
        measured: format!("{running} run, {answered} answer"),
        floor: format!("{used} of {max} maps in use"),
        result: format!("{:.1} %", answered as f64 * 100.0 / wanted as f64),
        target: "100 %".to_owned(),
        met: answered == wanted,
        notes,
    });
    Ok(())
}
