//! `kill -9` anywhere: the next start converges from what is on disk (P6).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::components::idle;
use crate::harness::{Release, World, stderr, stdout};
use crate::scale::{cases, needs_tool};

/// System calls that change what is on disk.
pub const STATE_CHANGING: &[&str] = &[
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "symlink",
    "symlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "fsync",
    "fdatasync",
    "syncfs",
    "link",
    "linkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "ftruncate",
    "write",
    "pwrite64",
    "utimensat",
];
/// More calls of one kind than one pass makes: the enumeration must end by itself before.
const MOST_POINTS: u32 = 500;

pub fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

/// Applies without a fault, and checks that the set is `wanted` and that nothing is left to do.
pub fn converge(world: &World, wanted: &BTreeMap<String, String>, after: &str) {
    let output = world.on_desired("apply", &[]);
    assert!(output.status.success(), "{after}: {}{}", stdout(&output), stderr(&output));
    assert_eq!(&world.committed(), wanted, "{after}");
    let plan = world.on_desired("plan", &[]);
    assert_eq!(plan.status.code(), Some(0), "{after}: {}{}", stdout(&plan), stderr(&plan));
    // No object is torn, whichever the next pass would look at.
    let checked = world.output(&["fsck", "--trust", &world.trust().to_string_lossy()]);
    assert!(checked.status.success(), "{after}: {}{}", stdout(&checked), stderr(&checked));
    let scratch = world.home().join("state/scratch");
    assert_eq!(std::fs::read_dir(scratch).expect("scratch").count(), 0, "{after}: something is left in scratch/");
}

/// Runs `apply` and kills it at its `point`-th call of `call`; each thread counts by itself, and one of
/// them writes the state. `false`: it ended before.
fn apply_killed_at(world: &World, call: &str, point: u32) -> bool {
    let mut paths = Vec::new();
    let arguments = world.arguments("apply", &mut paths);
    killed_at(world, &world.command(&arguments), call, point)
}

/// The same with any command.
fn killed_at(world: &World, plain: &Command, call: &str, point: u32) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={point}")]);
    strace.arg(plain.get_program()).args(plain.get_args()).env_clear().current_dir(world.path());
    for (key, value) in plain.get_envs() {
        strace.env(key, value.expect("set"));
    }
    let output = strace.output().expect("strace runs");
    !output.status.success()
}

pub fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success());
}

/// Kills `apply` at every point of one step, each time from the same state before it.
pub fn kill_everywhere(step: &str, prepare: impl Fn(&World), change: impl Fn(&World), wanted: &[(&str, &str)]) {
    if !needs_tool("strace") {
        return;
    }
    let wanted: BTreeMap<_, _> = wanted.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let world = World::new();
    prepare(&world);
    // Makes the home even where there is nothing to apply, so that every point starts alike.
    assert!(world.on_desired("apply", &[]).status.success());
    change(&world);
    let saved = world.path().join("saved");
    copy_tree(&world.home(), &saved);
    let mut points = 0;
    for call in STATE_CHANGING {
        for point in 1.. {
            assert!(point < MOST_POINTS, "{step} never ends");
            let killed = apply_killed_at(&world, call, point);
            converge(&world, &wanted, &format!("{step} killed at {call} number {point}"));
            std::fs::remove_dir_all(world.home()).expect("removed");
            copy_tree(&saved, &world.home());
            if !killed {
                break;
            }
            points += 1;
        }
    }
    println!("{step}: killed at {points} points");
    assert!(points > 20, "{step} has only {points} points: the injection does not work");
}

#[test]
fn p6_install_killed_at_every_state_changing_call_converges() {
    let wasm = idle("1");
    kill_everywhere(
        "install",
        |_| {},
        |world| {
            world.publish("idle", &release("1.0.0", 1, &wasm));
            world.desire("one", "test:idle", "idle", "");
            world.desire("two", "test:idle", "idle", "[config]\na = 1");
        },
        &[("one", "1.0.0"), ("two", "1.0.0")],
    );
}

#[test]
fn p6_update_killed_at_every_state_changing_call_converges() {
    let (first, second) = (idle("1"), idle("2"));
    kill_everywhere(
        "update",
        |world| {
            world.publish("idle", &release("1.0.0", 1, &first));
            world.desire("one", "test:idle", "idle", "");
        },
        |world| world.publish("idle", &release("1.1.0", 2, &second)),
        &[("one", "1.1.0")],
    );
}

#[test]
fn p6_uninstall_killed_at_every_state_changing_call_converges() {
    let wasm = idle("1");
    kill_everywhere(
        "uninstall",
        |world| {
            world.publish("idle", &release("1.0.0", 1, &wasm));
            world.desire("one", "test:idle", "idle", "");
            world.desire("two", "test:idle", "idle", "");
        },
        |world| std::fs::remove_file(world.desired().join("two.toml")).expect("removed"),
        &[("one", "1.0.0")],
    );
}

#[test]
fn p6_a_host_killed_at_random_times_converges_at_its_next_start() {
    let seed = crate::scale::seed("p6 random kills");
    let mut random = crate::scale::Random::new(seed);
    let wasm: Vec<Vec<u8>> = (0..4).map(|i| idle(&i.to_string())).collect();
    let world = World::new();
    let mut sequence = 0;
    let mut publish = |world: &World| {
        sequence += 1;
        let version = format!("1.0.{sequence}");
        let wasm = &wasm[usize::try_from(sequence % 4).expect("small")];
        world.publish("idle", &release(&version, sequence, wasm));
    };
    publish(&world);
    for name in ["keep", "a", "b"] {
        world.desire(name, "test:idle", "idle", "");
    }
    for round in 0..cases(100) {
        let host = world.run();
        match random.below(3) {
            0 => publish(&world),
            1 => world.desire("a", "test:idle", "idle", &format!("[config]\nround = {round}")),
            _ => drop(std::fs::remove_file(world.desired().join("b.toml"))),
        }
        std::thread::sleep(std::time::Duration::from_micros(random.below(60_000)));
        host.kill();
        if round % 10 == 9 {
            let mut host = world.run();
            host.wait_for(&["converged"]);
            assert!(host.stop().success());
            let left = world.on_desired("plan", &[]);
            assert_eq!(left.status.code(), Some(0), "round {round}: {}{}", stdout(&left), stderr(&left));
            world.desire("b", "test:idle", "idle", "");
        }
    }
}

#[test]
fn p6_a_rollback_killed_at_every_state_changing_call_leaves_the_old_set_or_the_new_one() {
    if !needs_tool("strace") {
        return;
    }
    let world = crate::rollback::world_at_second();
    let saved = world.path().join("saved");
    copy_tree(&world.home(), &saved);
    let set = |version: &str| ["one", "two"].map(|name| (name.to_owned(), version.to_owned())).into();
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = (set("1.1.0"), set("1.0.0"));
    let (mut points, mut olds, mut news) = (0, 0, 0);
    for call in STATE_CHANGING {
        for point in 1.. {
            assert!(point < MOST_POINTS, "it never ends");
            let killed = killed_at(&world, &crate::rollback::command(&world, &["--yes"]), call, point);
            let after = format!("killed at {call} number {point}");
            let left = world.committed();
            if left == new {
                news += 1;
            } else {
                olds += 1;
                assert_eq!(left, old, "{after}: a mix");
                let again = crate::rollback::command(&world, &["--yes"]).output().expect("it runs");
                assert!(again.status.success(), "{after}: {}{}", stdout(&again), stderr(&again));
            }
            assert_eq!(world.committed(), new, "{after}");
            // What is held came with the same commit.
            let applied = world.on_desired("apply", &[]);
            assert_eq!(applied.status.code(), Some(12), "{after}: {}{}", stdout(&applied), stderr(&applied));
            assert_eq!(world.committed(), new, "{after}");
            std::fs::remove_dir_all(world.home()).expect("removed");
            copy_tree(&saved, &world.home());
            if !killed {
                break;
            }
            points += 1;
        }
    }
    println!("rollback: killed at {points} points, {olds} left the old set and {news} the new one");
    assert!(points > 20 && olds > 5 && news > 5, "{points} points, {olds} old, {news} new");
}
