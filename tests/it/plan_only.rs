//! `plan` changes nothing: it writes only below `objects/`, `mirrors/` and `scratch/` (P20).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::components::idle;
use crate::harness::{Release, World, stderr, stdout, tree};
use crate::remote::until;

/// Where a plan may leave something: copies of artifacts under their digests.
const WRITABLE: [&str; 3] = ["home/state/objects", "home/state/mirrors", "home/state/scratch"];

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

/// Everything in the world but what a plan may write.
fn sealed(world: &World) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut tree = tree(world.path());
    tree.retain(|path, _| !WRITABLE.iter().any(|writable| path.starts_with(writable)));
    tree
}

/// Plans in every form, and wants nothing changed by any.
#[track_caller]
fn plan_changes_nothing(world: &World, code: i32) {
    let before = sealed(world);
    for more in [&[][..], &["--output", "json"], &["--output", "yaml"], &["--exit-zero"]] {
        let output = world.on_desired("plan", more);
        let wanted = if more == ["--exit-zero"] { 0 } else { code };
        assert_eq!(output.status.code(), Some(wanted), "{}{}", stdout(&output), stderr(&output));
        let after = sealed(world);
        let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
        let changed: Vec<&PathBuf> = before.keys().chain(after.keys()).filter(differs).collect();
        assert!(changed.is_empty(), "{more:?} changed {changed:?}");
    }
    let scratch = world.home().join("state/scratch");
    assert_eq!(std::fs::read_dir(scratch).map_or(0, Iterator::count), 0, "something is left in scratch/");
}

/// Plans, then applies: what was printed is what is done.
#[track_caller]
fn plan_is_what_apply_does(world: &World) {
    let digest = |command: &str| {
        let output = world.on_desired(command, &["--output", "json"]);
        let plan: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        (plan["plan_digest"].clone(), plan["actions"].clone())
    };
    let planned = digest("plan");
    let applied = digest("apply");
    assert_eq!(planned, applied);
}

/// `one` to `four` installed; then an install, an update, a reconfiguration, a move, an uninstall, a bad file.
fn world_with_everything_to_do() -> World {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.publish("steady", &release("1.0.0", 1, &idle("1")));
    for (name, directory) in [("one", "idle"), ("two", "steady"), ("three", "steady"), ("four", "steady")] {
        world.desire(name, "test:idle", directory, "");
    }
    let output = world.on_desired("apply", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    world.desire("two", "test:idle", "steady", "[config]\na = 1");
    let moved = std::fs::read_to_string(world.desired().join("three.toml")).expect("readable");
    world.desire_text("new-three", &format!("moved-from = \"three\"\n{moved}"));
    for name in ["three", "four"] {
        std::fs::remove_file(world.desired().join(format!("{name}.toml"))).expect("removed");
    }
    world.publish("other", &Release { package: "test:other", ..release("1.0.0", 1, &idle("3")) });
    world.desire("five", "test:other", "other", "");
    world
}

#[test]
fn p20_a_plan_of_a_home_that_is_not_there_makes_no_state() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    // The directories above what it may write have to be there; nothing else has.
    let output = world.on_desired("plan", &[]);
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    let files: Vec<PathBuf> = tree(&world.home())
        .into_keys()
        .filter(|path| world.home().join(path).is_file() && !path.starts_with("state/objects"))
        .collect();
    assert_eq!(files, Vec::<PathBuf>::new());
    plan_changes_nothing(&world, 10);
    plan_is_what_apply_does(&world);
}

#[test]
fn p20_a_plan_of_everything_at_once_leaves_state_trust_and_desired_files_as_they_were() {
    let world = world_with_everything_to_do();
    plan_changes_nothing(&world, 10);
    world.desire_text("bad", "package = \n");
    plan_changes_nothing(&world, 12);
    std::fs::remove_file(world.desired().join("bad.toml")).expect("removed");
    plan_is_what_apply_does(&world);
    plan_changes_nothing(&world, 0);
}

#[test]
fn p20_a_plan_beside_a_running_host_disturbs_neither_it_nor_its_state() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1 running"]);
    // Logs are written by a thread of their own, which may be behind; what they are to say of the start comes first.
    let log = world.home().join("logs/one.log");
    until("the log has the start", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("active: ")));
    plan_changes_nothing(&world, 0);
    assert_eq!(world.status()["components"][0]["state"], "running");
    assert!(host.stop().success());
}

#[test]
fn p20_a_plan_that_can_not_be_made_changes_nothing_either() {
    let world = world_with_everything_to_do();
    let good = std::fs::read_to_string(world.trust()).expect("readable");
    world.trust_text("schema = 2\n");
    plan_fails(&world, 3);
    world.trust_text(&good);
    let away = world.path().join("away");
    std::fs::rename(world.desired(), &away).expect("renamed");
    plan_changes_nothing(&world, 12);
    std::fs::rename(&away, world.desired()).expect("renamed");
    remove_sources(&world.path().join("components"));
    plan_changes_nothing(&world, 12);
}

#[track_caller]
fn plan_fails(world: &World, code: i32) {
    let before = sealed(world);
    let output = world.on_desired("plan", &[]);
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    assert!(sealed(world) == before, "a plan that failed changed something");
}

fn remove_sources(components: &Path) {
    std::fs::remove_dir_all(components).expect("removed");
    std::fs::create_dir(components).expect("made");
}
