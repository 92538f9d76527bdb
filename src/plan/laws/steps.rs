//! Owns what may happen to the model, decoded from plain numbers so that a failing case shrinks well.

use super::wish::{Bits, NAMES, Wish, name};
use super::world::{Broken, Faults, File, World, write};
use crate::observed::Phase;

/// What happens, to whom, and in which way.
pub type Step = (u8, u8, u64);

/// Lets one thing happen.
pub fn step(world: &mut World, (what, whom, how): Step) -> Result<(), Broken> {
    let owner = whom as usize % NAMES;
    let mut bits = Bits(how);
    match what % 24 {
        0..=6 => write(world, owner, Wish::from_bits(owner, how)),
        7 if bits.pick(4) == 0 => {
            // Many files at once: what an unmounted directory or a wrong branch looks like.
            let mut owners = (0..NAMES).filter(|owner| how >> (8 + owner) & 1 == 1);
            owners.by_ref().for_each(|owner| drop(world.files.remove(&name(owner))));
            if bits.pick(2) == 0 {
                world.approve_all()?;
            }
        }
        7 => drop(world.files.remove(&name(owner))),
        8 => drop(world.files.insert(name(owner), File::Bad)),
        9 => rename(world, owner, bits),
        10 => world.unknown = bits.pick(2) == 1,
        11 => world.complete = bits.pick(2) == 1,
        12 | 13 => {
            if let Some(File::Good(wish)) = world.files.get(&name(owner)).cloned() {
                write(world, owner, wish.at_source(how));
            }
        }
        14 => {
            if let Some(installed) = world.observed.installed.get_mut(&name(owner)) {
                let phases = [Phase::Running, Phase::Starting, Phase::Backoff, Phase::Failed, Phase::Stopped];
                installed.phase = phases[bits.pick(5) as usize];
            }
        }
        15 | 18 => world.approve_all()?,
        16 => {
            // A plan that is overtaken by another must do nothing.
            let old = world.plan()?;
            world.pass()?;
            let before = world.observed.clone();
            let is_overtaken = old.generation != before.generation;
            if world.apply(&old, Faults::default())? && is_overtaken {
                return Err("an overtaken plan was carried out".to_owned());
            }
        }
        17 if bits.pick(2) == 0 => {
            // Ten minutes pass.
            world.removed = 0;
        }
        17 => {
            if let Some(File::Good(wish)) = world.files.get(&name(owner)).cloned() {
                write(world, owner, wish.with(|spec| spec.enabled = !spec.enabled));
            }
        }
        _ => {
            let plan = world.plan()?;
            let stops_after = (bits.pick(2) == 0).then(|| bits.pick(4) as usize);
            let fails = if bits.pick(3) == 0 { bits.pick(16) } else { 0 };
            let fails_for_now = if bits.pick(3) == 0 { bits.pick(16) } else { 0 };
            world.apply(&plan, Faults { stops_after, fails, fails_for_now })?;
        }
    }
    Ok(())
}

/// A file gets another name, and what it defines with it; half of the time it says so.
fn rename(world: &mut World, owner: usize, mut bits: Bits) {
    let other = bits.pick(NAMES as u64) as usize;
    if other == owner {
        return;
    }
    if let Some(File::Good(wish)) = world.files.remove(&name(owner)) {
        let says_so = bits.pick(2) == 0;
        // A careless copy says so once more.
        let copies = if bits.pick(4) == 0 { 2 } else { 1 };
        for other in (other..other + copies).map(|other| other % NAMES).filter(|other| *other != owner) {
            let mut copy = wish.clone().with(|spec| {
                spec.name = name(other);
                spec.moved_from = says_so.then(|| name(owner));
            });
            std::sync::Arc::make_mut(&mut copy.origin).file = format!("{}.toml", name(other));
            write(world, other, copy);
        }
    }
}
