//! The laws of rollbacks: back is what was, held until it is resumed or the file changes, and resumed is what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::hold;
use super::wish::{NAMES, VERSIONS, Wish, name};
use super::world::{Broken, World, write};
use crate::name::InstallationName;
use crate::plan::rollback::{Asked, Rollback, Then, ThenEntry, propose, substance};
use crate::surface::HostSurface;

/// A version that is newer than all of a wish, so that nothing stands against it.
const NEWER: u64 = VERSIONS + 2;

/// Which names there are and what each of them is; a missing one has no file.
type Files = Vec<Option<u64>>;

fn files() -> impl Strategy<Value = Files> {
    prop::collection::vec(prop::option::weighted(0.8, any::<u64>()), NAMES)
}

/// Exchanges all files, and applies them with whatever approvals that takes.
fn apply(world: &mut World, files: &Files, version: u64) -> Result<(), Broken> {
    world.files.clear();
    for (owner, bits) in files.iter().enumerate() {
        bits.iter().for_each(|bits| write(world, owner, Wish::benign(owner, *bits).at_version(version)));
    }
    settle(world)
}

fn settle(world: &mut World) -> Result<(), Broken> {
    for _ in 0..3 {
        world.approve_all()?;
        world.pass()?;
    }
    Ok(())
}

fn then(world: &World) -> Then {
    let entries = world.observed.installed.iter().map(|(name, have)| {
        let record = Some(have.record.clone());
        (name.clone(), ThenEntry { digest: have.target, record, storage_id: have.storage_id })
    });
    Then { number: world.observed.generation, written_unix_s: 5, entries: entries.collect() }
}

fn proposed(world: &World, then: &Then, names: &[InstallationName]) -> Result<Rollback, Broken> {
    let names: BTreeSet<_> = names.iter().cloned().collect();
    let asked = Asked { observed: &world.observed, then, names: &names, host: HostSurface::default() };
    propose(&asked, &mut |record| Ok(record.secrets.clone())).map_err(|refusal| refusal.message)
}

/// A world at `second`, with what it was at `first`.
fn at_second(first: &Files, second: &Files, newer: bool) -> Result<(World, Then), Broken> {
    let mut world = World::default();
    apply(&mut world, first, VERSIONS + 1)?;
    let then = then(&world);
    apply(&mut world, second, if newer { NEWER } else { VERSIONS + 1 })?;
    Ok((world, then))
}

fn substances(then: &Then) -> BTreeMap<InstallationName, crate::digest::Digest> {
    then.entries.iter().filter_map(|(name, entry)| Some((name.clone(), substance(entry.record.as_ref()?)))).collect()
}

fn resume(world: &mut World, names: impl IntoIterator<Item = InstallationName>) {
    names.into_iter().for_each(|name| drop(world.observed.held.remove(&name)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(300)))]

    #[test]
    fn p4_rolled_back_is_what_was_and_stays_and_resumed_is_what_is_wanted(
        first in files(), second in files(), newer in any::<bool>(),
    ) {
        let (mut world, then) = hold(at_second(&first, &second, newer))?;
        let wanted = world.essence();
        let before = world.observed.installed.clone();
        let rollback = hold(proposed(&world, &then, &[]))?;
        hold(world.go_back(&rollback))?;
        let now = self::then(&world);
        prop_assert_eq!(substances(&now), substances(&then));

        // It stays as long as no file changes, and going back once more is nothing to do.
        let rolled_back = world.observed.installed.clone();
        hold(settle(&mut world))?;
        prop_assert_eq!(&world.observed.installed, &rolled_back);
        prop_assert!(hold(proposed(&world, &then, &[]))?.is_empty());

        resume(&mut world, rollback.holds.keys().cloned());
        hold(settle(&mut world))?;
        prop_assert_eq!(world.essence(), wanted);
        prop_assert!(world.observed.held.is_empty(), "{:?}", world.observed.held);
        // What was there all the time under one package kept its storage.
        for (name, have) in &before {
            let package = &have.record.artifact.package;
            let was = then.entries.get(name).and_then(|entry| entry.record.as_ref());
            if was.is_some_and(|record| record.artifact.package == *package) {
                prop_assert_eq!(world.observed.installed[name].storage_id, have.storage_id);
            }
        }
    }

    #[test]
    fn p4_one_name_goes_back_alone_and_is_held_until_its_file_changes(
        first in files(), second in files(), owner in 0..NAMES, bits in any::<u64>(),
    ) {
        let (mut world, then) = hold(at_second(&first, &second, true))?;
        let one = name(owner);
        let before = world.observed.installed.clone();
        if !before.contains_key(&one) && !then.entries.contains_key(&one) {
            prop_assert!(proposed(&world, &then, &[one]).is_err());
            return Ok(());
        }
        let rollback = hold(proposed(&world, &then, std::slice::from_ref(&one)))?;
        hold(world.go_back(&rollback))?;
        hold(settle(&mut world))?;
        for (other, have) in before.iter().filter(|(other, _)| **other != one) {
            prop_assert_eq!(&world.observed.installed[other], have);
        }
        let now = world.observed.installed.get(&one).map(|have| substance(&have.record));
        prop_assert_eq!(now, substances(&then).get(&one).copied());

        // Another wish ends the hold.
        write(&mut world, owner, Wish::benign(owner, bits).at_version(NEWER + 1));
        hold(settle(&mut world))?;
        let spec = match &world.files[&one] { super::File::Good(wish) => wish.spec.clone(), super::File::Bad => unreachable!() };
        prop_assert_eq!(&*spec, &world.observed.installed[&one].record.spec);
        prop_assert!(!world.observed.held.contains_key(&one));
    }

    #[test]
    fn p4_two_rollbacks_end_where_the_second_goes_and_resume_leads_to_what_is_wanted(
        first in files(), second in files(), third in files(),
    ) {
        let mut world = World::default();
        hold(apply(&mut world, &first, VERSIONS + 1))?;
        let at_first = then(&world);
        hold(apply(&mut world, &second, NEWER))?;
        let at_second = then(&world);
        hold(apply(&mut world, &third, NEWER + 1))?;
        let wanted = world.essence();
        let mut held = BTreeSet::new();
        for then in [&at_second, &at_first, &at_second] {
            let rollback = hold(proposed(&world, then, &[]))?;
            hold(world.go_back(&rollback))?;
            hold(settle(&mut world))?;
            prop_assert_eq!(substances(&self::then(&world)), substances(then));
            held.extend(world.observed.held.keys().cloned());
        }
        resume(&mut world, held);
        hold(settle(&mut world))?;
        prop_assert_eq!(world.essence(), wanted);
    }
}
