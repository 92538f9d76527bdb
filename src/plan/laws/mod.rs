//! The laws of plans, as properties over random histories of a small world.
//!
//! `world` carries plans out and knows the rules in its own words; here is what must come of it.

mod rollback;
mod steps;
mod wish;
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use steps::{Step, step};
use wish::{NAMES, VERSIONS, Wish, name};
use world::{Broken, Faults, File, World, write};

use super::Plan;
use super::action::{Effect, Instance, Kind, Storage};
use super::approval;
use crate::observed::Phase;
use crate::resolution::{Refusal, Resolution};

/// Sequences of the biggest law in an everyday run.
const SEQUENCES: u32 = 10_000;
/// Most steps of a sequence.
const MAX_STEPS: usize = 40;

fn history(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 0..=most)
}

fn run(steps: &[Step]) -> Result<World, Broken> {
    let mut world = World::default();
    steps.iter().try_for_each(|one| step(&mut world, *one))?;
    Ok(world)
}

fn hold<T>(result: Result<T, Broken>) -> Result<T, TestCaseError> {
    result.map_err(TestCaseError::fail)
}

/// Applies plans until nothing is left, and gives the last one.
fn settle(world: &mut World) -> Result<Plan, Broken> {
    let first = world.pass()?;
    let mut plan = world.plan()?;
    if !plan.is_converged() {
        // The one thing that may come later: a set that has grown has more room for deletes.
        let waited: BTreeSet<_> =
            first.actions.iter().filter(|action| action.waits_for_approval()).map(|action| &action.name).collect();
        let late = plan.effects().find(|action| action.kind != Kind::Uninstall || !waited.contains(&action.name));
        if let Some(late) = late {
            return Err(format!("{:?} {} came a pass too late", late.kind, late.name));
        }
        world.pass()?;
        plan = world.plan()?;
    }
    if !plan.is_converged() || !plan.released.is_empty() {
        return Err("it does not come to rest".to_owned());
    }
    world.check_matches(&plan)?;
    let before = world.observed.clone();
    if world.pass()? != plan || world.observed != before {
        return Err("at rest, and something changes".to_owned());
    }
    Ok(plan)
}

/// All names wanted, with nothing that stands against them.
fn benign(world: &mut World, seed: u64, count: usize) {
    for owner in 0..count {
        write(world, owner, Wish::benign(owner, seed.rotate_left(owner as u32 * 7)));
    }
}

fn clear(world: &mut World) {
    world.files.clear();
    world.unknown = false;
    world.complete = true;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(SEQUENCES)))]

    /// Whatever happened, with actions failing and plans cut off anywhere: one more pass brings everything
    /// that can be brought, and then nothing changes any more. On the way no rule was broken.
    #[test]
    fn any_history_comes_to_rest_and_breaks_no_rule(steps in history(MAX_STEPS)) {
        let mut world = hold(run(&steps))?;
        hold(settle(&mut world))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(1_000)))]

    #[test]
    fn every_prefix_of_a_plan_leads_to_the_same_end_with_every_effect_once(
        steps in history(20), then in prop::collection::vec((0..NAMES, any::<u64>()), 2..12),
    ) {
        let mut world = hold(run(&steps))?;
        clear(&mut world);
        then.iter().for_each(|(owner, bits)| write(&mut world, *owner, Wish::from_bits(*owner, *bits)));
        world.removed = 0;
        let plan = hold(world.plan())?;
        // Of two releases of one package that are new in one plan, the older one is below the other once that
        // is accepted: what comes of it depends on which comes first.
        let releases: BTreeSet<_> =
            plan.effects().filter_map(|action| action.after.as_ref()).map(|after| (&after.package, after.sequence)).collect();
        let packages: BTreeSet<_> = releases.iter().map(|(package, _)| package).collect();
        if releases.len() != packages.len() {
            return Ok(());
        }
        let mut whole = world.clone();
        whole.trace.clear();
        hold(whole.apply(&plan, Faults::default()))?;
        let printed: Vec<_> = plan.effects().map(|action| (action.kind, action.name.clone())).collect();
        prop_assert_eq!(&whole.trace, &printed, "what is carried out is what was planned, in its order");
        // A set that has grown may have room for deletes that had to wait.
        hold(whole.pass())?;
        for cut in 0..printed.len() {
            let mut part = world.clone();
            part.trace.clear();
            hold(part.apply(&plan, Faults { stops_after: Some(cut), ..Faults::default() }))?;
            part.approvals = world.approvals.clone();
            hold(part.pass())?;
            hold(part.pass())?;
            prop_assert_eq!(part.essence(), whole.essence());
            let (mut once, mut reference) = (part.trace.clone(), whole.trace.clone());
            once.sort();
            reference.sort();
            prop_assert_eq!(once, reference, "no effect is repeated and none is lost");
        }
    }

    #[test]
    fn the_same_files_lead_to_the_same_set_from_anywhere(steps in history(30), seed in any::<u64>(), count in 0..=NAMES) {
        let mut from_nothing = World::default();
        benign(&mut from_nothing, seed, count);
        hold(settle(&mut from_nothing))?;
        prop_assert_eq!(from_nothing.observed.installed.len(), count);

        let mut world = hold(run(&steps))?;
        clear(&mut world);
        benign(&mut world, seed, count);
        world.removed = 0;
        hold(world.approve_all())?;
        hold(settle(&mut world))?;
        prop_assert_eq!(world.essence(), from_nothing.essence());
        prop_assert!(world.observed.held.is_empty());
    }

    #[test]
    fn a_step_back_from_a_failed_update_leaves_no_trace(
        steps in history(20), seed in any::<u64>(), owner in 0..NAMES, in_hand in any::<bool>(),
    ) {
        let mut world = hold(run(&steps))?;
        clear(&mut world);
        benign(&mut world, seed, NAMES);
        hold(world.approve_all())?;
        prop_assert!(hold(settle(&mut world))?.actions.is_empty());
        let before = world.clone();
        write(&mut world, owner, Wish::benign(owner, !seed).at_version(VERSIONS + 2));
        hold(world.approve_all())?;
        let plan = hold(world.plan())?;
        prop_assert_eq!(plan.effects().count(), 1);
        hold(world.apply(&plan, Faults { fails: u64::MAX, ..Faults::default() }))?;
        prop_assert_eq!(hold(world.plan())?.actions[0].kind, Kind::Hold, "it is not tried again by itself");
        if in_hand {
            hold(world.pass())?;
        }
        world.files = before.files.clone();
        hold(settle(&mut world))?;
        prop_assert_eq!(&world.observed.installed, &before.observed.installed);
        prop_assert_eq!(&world.observed.held, &before.observed.held);
        // Asked for once more, it is tried once more.
        write(&mut world, owner, Wish::benign(owner, !seed).at_version(VERSIONS + 2));
        hold(world.approve_all())?;
        prop_assert_eq!(hold(world.plan())?.effects().count(), 1);
    }

    #[test]
    fn events_may_come_in_any_order_and_twice(
        seeds in prop::collection::vec((0..NAMES, any::<u64>()), 0..12), shuffle in any::<u64>(), passes in any::<u16>(),
    ) {
        // The last write of a name counts; what matters is only where each name ends up.
        let last: std::collections::BTreeMap<usize, u64> = seeds.iter().copied().collect();
        let mut orderly = World::default();
        last.iter().for_each(|(owner, bits)| write(&mut orderly, *owner, Wish::from_bits(*owner, *bits)));
        let mut events: Vec<(usize, u64)> = last.into_iter().chain(seeds.iter().copied().take(3)).collect();
        events.sort_by_key(|(owner, bits)| (bits ^ shuffle).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(*owner as u32));
        let mut shuffled = World::default();
        for (owner, bits) in events.iter().chain(&seeds) {
            write(&mut shuffled, *owner, Wish::from_bits(*owner, *bits));
        }
        let (a, b) = (hold(orderly.plan())?, hold(shuffled.plan())?);
        prop_assert_eq!(a.text(), b.text());
        prop_assert_eq!(serde_json::to_string(&a.document()).unwrap(), serde_json::to_string(&b.document()).unwrap());
        prop_assert_eq!(a.digest(), b.digest());

        // Passes in between change how it gets there, not where.
        let (mut benign_end, mut with_passes) = (World::default(), World::default());
        for (index, (owner, bits)) in seeds.iter().enumerate() {
            write(&mut with_passes, *owner, Wish::benign(*owner, *bits));
            write(&mut benign_end, *owner, Wish::benign(*owner, *bits));
            if passes >> (index % 16) & 1 == 1 {
                hold(with_passes.approve_all())?;
                hold(with_passes.pass())?;
            }
        }
        hold(benign_end.pass())?;
        hold(with_passes.approve_all())?;
        hold(with_passes.pass())?;
        prop_assert_eq!(with_passes.essence(), benign_end.essence());
    }

    #[test]
    fn an_old_view_never_uninstalls_or_goes_back(steps in history(20), more in history(20)) {
        let mut world = hold(run(&steps))?;
        let old_view = world.observed.clone();
        let old_files = world.files.clone();
        more.iter().try_for_each(|one| step(&mut world, *one)).map_err(TestCaseError::fail)?;
        hold(settle(&mut world))?;
        // An old inventory: its plan is for another generation.
        if old_view.generation != world.observed.generation {
            let before = world.observed.clone();
            let plan = world.plan_against(&old_view);
            prop_assert!(!hold(world.apply(&plan, Faults::default()))?);
            prop_assert_eq!(&world.observed, &before);
        }
        // Old files: nothing goes back but by an exact pin, which `carry_out` checks against the highest sequence.
        world.files = old_files;
        hold(world.pass())?;
    }

    #[test]
    fn what_is_approved_by_name_is_carried_out_as_it_was_printed(steps in history(20)) {
        let mut world = hold(run(&steps))?;
        world.approvals.clear();
        let printed = hold(world.plan())?;
        world.approvals = approval::bind(&printed, &printed.asked_approvals()).expect("all of it is asked for");
        let approved = hold(world.plan())?;
        for action in printed.actions.iter().filter(|action| action.waits_for_approval()) {
            let now = approved.actions.iter().find(|now| now.name == action.name);
            prop_assert!(now.is_some_and(|now| now.is_ready() && now.digest() == action.digest()), "{}", action.name);
        }
        hold(world.apply(&approved, Faults::default()))?;
        prop_assert!(world.approvals.is_empty(), "spent");
    }

    #[test]
    fn one_bad_file_keeps_only_its_own_installation(steps in history(20), seed in any::<u64>(), bad in 0..NAMES) {
        let mut world = hold(run(&steps))?;
        clear(&mut world);
        benign(&mut world, seed, NAMES);
        hold(world.approve_all())?;
        hold(settle(&mut world))?;
        let before = world.observed.installed[&name(bad)].clone();
        benign(&mut world, !seed, NAMES);
        let mended = world.files.insert(name(bad), File::Bad);
        hold(world.approve_all())?;
        let plan = hold(settle(&mut world))?;
        prop_assert_eq!(plan.actions.len(), 1);
        prop_assert_eq!(&world.observed.installed[&name(bad)], &before);
        world.files.extend(mended.map(|file| (name(bad), file)));
        hold(world.approve_all())?;
        prop_assert!(hold(settle(&mut world))?.actions.is_empty());
    }

    #[test]
    fn nothing_goes_while_the_files_cannot_be_seen(steps in history(30), gone in any::<u8>(), how in 0..3u8) {
        let mut world = hold(run(&steps))?;
        world.removed = 0;
        hold(settle(&mut world))?;
        let before: BTreeSet<_> = world.observed.installed.keys().cloned().collect();
        match how {
            // The mount is away: no file, and the list may be wrong.
            0 => {
                world.files.clear();
                world.complete = false;
            }
            // Some files are away, and some name is not known.
            1 => {
                world.files.retain(|name, _| gone >> (name.as_str().as_bytes()[0] - b'a') & 1 == 0);
                world.unknown = true;
            }
            // All files are away and the list seems right.
            _ => {
                world.files.clear();
                if before.len() < 2 {
                    return Ok(());
                }
            }
        }
        world.approvals.clear();
        hold(world.pass())?;
        let after: BTreeSet<_> = world.observed.installed.keys().cloned().collect();
        prop_assert!(after.is_superset(&before));
        let code = hold(world.plan())?.exit_code();
        prop_assert!(code == 12 || (code == 11 && how == 2), "exit code {}", code);
        prop_assert_eq!(before.iter().filter(|name| !world.files.contains_key(*name)).count(),
            hold(world.plan())?.actions.iter().filter(|action| action.before.is_some() && !world.files.contains_key(&action.name)).count(),
            "deletes are listed all the same");
    }

    #[test]
    fn a_rename_that_says_so_stops_nothing_and_one_that_does_not_is_told(
        seed in any::<u64>(), old in 0..NAMES, away in 1..NAMES, says_so in any::<bool>(),
    ) {
        let new = (old + away) % NAMES;
        let mut world = World::default();
        benign(&mut world, seed, NAMES);
        world.files.remove(&name(new));
        hold(settle(&mut world))?;
        let Some(File::Good(wish)) = world.files.remove(&name(old)) else { panic!("it was written") };
        write(&mut world, new, wish.with(|spec| {
            spec.name = name(new);
            spec.moved_from = says_so.then(|| name(old));
        }));
        let plan = hold(world.plan())?;
        let action = plan.actions.iter().find(|action| action.name == name(new)).expect("it is new");
        if says_so {
            let Some(Effect::Commit(commit)) = &action.effect else { panic!("it moves") };
            prop_assert_eq!(plan.actions.len(), 1);
            prop_assert_ne!(commit.instance, Instance::Stop);
            prop_assert!(matches!(commit.storage, Storage::Keep(_)));
        } else {
            prop_assert_eq!(plan.actions.len(), 2);
            let text = plan.text();
            let line = format!("moved-from = \"{}\"", name(old));
            prop_assert_eq!(text.matches(line.as_str()).count(), 2);
        }
    }

    #[test]
    fn circles_are_blocked_and_the_rest_starts_in_order(edges in prop::collection::vec((0..NAMES, 0..NAMES), 0..14)) {
        let mut world = World::default();
        benign(&mut world, 0, NAMES);
        for (from, to) in &edges {
            let Some(File::Good(wish)) = world.files.get(&name(*from)).cloned() else { panic!("it was written") };
            write(&mut world, *from, wish.with(|spec| {
                spec.enabled = true;
                spec.depends_on.insert(name(*to));
            }));
        }
        (0..NAMES).for_each(|owner| {
            if let Some(File::Good(wish)) = world.files.get(&name(owner)).cloned() {
                write(&mut world, owner, wish.with(|spec| spec.enabled = true));
            }
        });
        // By hand: a circle blocks its members, and each blocked name what needs it.
        let mut blocked: BTreeSet<_> = (0..NAMES).map(name).filter(|name| world.is_in_a_circle(name)).collect();
        let in_circles = blocked.len();
        loop {
            let more: Vec<_> = edges.iter().filter(|(_, to)| blocked.contains(&name(*to))).map(|(from, _)| name(*from)).collect();
            let before = blocked.len();
            blocked.extend(more);
            if blocked.len() == before {
                break;
            }
        }
        let plan = hold(settle(&mut world))?;
        let left: BTreeSet<_> = plan.actions.iter().map(|action| action.name.clone()).collect();
        prop_assert_eq!(&left, &blocked);
        prop_assert_eq!(world.observed.installed.len(), NAMES - blocked.len());
        let circles = plan.actions.iter().filter(|action| action.reason.code == "dependency-cycle");
        prop_assert_eq!(circles.clone().count(), in_circles);
        for action in circles {
            let shown = action.reason.message.rsplit(": ").next().unwrap_or_default();
            let way: Vec<&str> = shown.split(" -> ").collect();
            prop_assert!(way.len() >= 2 && way.first() == way.last(), "{}", shown);
            for pair in way.windows(2) {
                let index = |text: &str| (0..NAMES).find(|n| name(*n).as_str() == text).expect("a name");
                prop_assert!(edges.contains(&(index(pair[0]), index(pair[1]))), "{}", shown);
            }
        }
    }

    #[test]
    fn what_is_broken_can_always_be_replaced_and_removed(steps in history(20), phases in any::<u64>()) {
        let world = hold(run(&steps))?;
        let mut sick = world.clone();
        for (index, installed) in sick.observed.installed.values_mut().enumerate() {
            let all = [Phase::Running, Phase::Starting, Phase::Backoff, Phase::Failed];
            if installed.record.spec.enabled && installed.phase != Phase::Stopped {
                installed.phase = all[(phases >> (2 * index)) as usize % 4];
            }
        }
        let what = |plan: &Plan| {
            let actions = plan.actions.iter().map(|action| (action.kind, action.name.clone(), action.is_ready()));
            actions.collect::<Vec<_>>()
        };
        prop_assert_eq!(what(&hold(world.plan())?), what(&hold(sick.plan())?));
    }

    #[test]
    fn what_is_printed_is_what_is_planned(steps in history(20)) {
        let world = hold(run(&steps))?;
        let plan = hold(world.plan())?;
        let text = plan.text();
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        // Headlines are the lines that start with a symbol and a name.
        let headlines: Vec<&str> = text.lines().filter(|line| {
            let word = line.get(4..).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            line.starts_with(['+', '~', '-', '>', '!']) && plan.actions.iter().any(|action| action.name.as_str() == word)
        }).collect();
        prop_assert_eq!(headlines.len(), plan.actions.len());
        for (line, action) in headlines.iter().zip(&plan.actions) {
            let symbol = line.split(' ').next().unwrap_or_default();
            let expected: &[&str] = match action.kind {
                Kind::Install => &["+"],
                Kind::Update => &["~", "-/+"],
                Kind::Reconfigure => &["~"],
                Kind::Restart => &["-/+"],
                Kind::Move => &[">"],
                Kind::Uninstall => &["-"],
                Kind::Hold | Kind::Blocked => &["!"],
            };
            prop_assert!(expected.contains(&symbol), "{} for {:?}", symbol, action.kind);
            prop_assert_eq!(line.contains("WAITS FOR APPROVAL"), action.waits_for_approval());
        }
        let document = serde_json::to_value(plan.document()).expect("JSON");
        let runs = document["actions"].as_array().expect("a list").iter().filter(|action| action["will_run"] == true);
        let runs: Vec<&str> = runs.filter_map(|action| action["name"].as_str()).collect();
        prop_assert_eq!(runs, plan.effects().map(|action| action.name.as_str()).collect::<Vec<_>>());
        prop_assert_eq!(&document["exit_code"], plan.exit_code());
    }

    #[test]
    fn two_files_for_one_name_hold_it_and_replace_nothing(steps in history(20), twice in 0..NAMES) {
        let mut world = hold(run(&steps))?;
        world.files.insert(name(twice), File::Bad);
        let before = world.observed.installed.get(&name(twice)).cloned();
        let plan = hold(world.pass())?;
        prop_assert!(plan.actions.iter().any(|action| action.name == name(twice) && action.kind == Kind::Hold));
        prop_assert_eq!(world.observed.installed.get(&name(twice)).cloned(), before);
    }

    #[test]
    fn a_new_wish_overtakes_one_that_is_stuck(seed in any::<u64>(), owner in 0..NAMES) {
        let mut world = World::default();
        write(&mut world, owner, Wish::from_bits(owner, seed).with(|spec| {
            spec.moved_from = None;
            spec.depends_on.clear();
        }));
        let plan = hold(world.plan())?;
        hold(world.apply(&plan, Faults { fails: u64::MAX, ..Faults::default() }))?;
        if let Some(File::Good(wish)) = world.files.get_mut(&name(owner)) {
            wish.resolution = Resolution::Unavailable(Refusal::new("source-missing", "it is not there"));
        }
        hold(settle(&mut world))?;
        write(&mut world, owner, Wish::benign(owner, seed));
        hold(world.approve_all())?;
        prop_assert!(hold(settle(&mut world))?.actions.is_empty());
    }
}

/// A law over histories in which something never happens says nothing about it.
#[test]
fn histories_meet_every_kind_of_action_and_every_rule() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met: BTreeSet<String> = BTreeSet::new();
    for _ in 0..crate::test_scale::cases(1_000) {
        let steps = history(MAX_STEPS).new_tree(&mut runner).expect("a history").current();
        let mut world = World::default();
        for one in steps {
            step(&mut world, one).expect("no rule is broken");
            let plan = world.plan().expect("no rule is broken");
            for action in &plan.actions {
                met.insert(format!("{} {}", action.kind.as_str(), action.reason.code));
                for approval in &action.approvals {
                    let kind = approval.name.to_string();
                    let kind = kind.split(':').next().unwrap_or_default();
                    met.insert(format!("{kind} {}", if approval.given { "given" } else { "missing" }));
                }
            }
            met.extend(plan.guards.iter().map(|guard| format!("guard {}", guard.ok)));
            met.extend(plan.released.first().map(|_| "released".to_owned()));
        }
    }
    let expected = [
        "install not-installed",
        "breaking given",
        "breaking missing",
        "update new-artifact",
        "update pinned-older",
        "update other-package",
        "reconfigure spec-changed",
        "reconfigure disabled",
        "reconfigure enabled",
        "reconfigure not-stopped",
        "restart not-running",
        "move moved",
        "uninstall file-removed",
        "hold invalid-file",
        "hold source-missing",
        "hold held-target",
        "hold moves-later",
        "hold moved-from-occupied",
        "hold moved-from-other-package",
        "blocked unknown-signer",
        "blocked rollback",
        "blocked same-version-other-bytes",
        "blocked permission-withheld",
        "blocked permission-over-cap",
        "blocked dependency-cycle",
        "blocked dependency-missing",
        "blocked dependency-not-installed",
        "blocked dependency-disabled",
        "blocked moved-from-in-use",
        "blocked moved-from-occupied",
        "blocked moved-from-twice",
        "blocked moved-from-other-package",
        "blocked directory-incomplete",
        "blocked unreadable-files",
        "permission missing",
        "permission given",
        "signer missing",
        "signer given",
        "delete missing",
        "delete given",
        "guard true",
        "guard false",
        "released",
    ];
    let missing: Vec<_> = expected.iter().filter(|what| !met.contains(**what)).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}

#[test]
fn the_planner_knows_no_clock_no_files_and_no_chance() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan");
    let mut open = vec![directory];
    let mut files = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let is_test = path.ends_with("laws") || path.ends_with("tests");
            let entries = std::fs::read_dir(&path).expect("the sources are there");
            open.extend(entries.filter(|_| !is_test).map(|entry| entry.expect("an entry").path()));
            continue;
        }
        files += 1;
        let text = std::fs::read_to_string(&path).expect("a source");
        for word in [
            "Instant",
            "SystemTime",
            "std::fs",
            "std::net",
            "std::env",
            "rand::",
            "tokio",
            "anyhow",
            "HashMap",
            "HashSet",
        ] {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
    assert!(files > 10, "only {files} sources were looked at");
}
