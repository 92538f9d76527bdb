//! The main job with the real binary: files follow each other, the running set follows the files.

use std::path::{Path, PathBuf};

use crate::components::{idle, refuses_in_init, spins_in_init, traps_in_init};
use crate::harness::{Release, RunningHost, World, rename_into_place, stderr, stdout};

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

/// The examples: rebuilt ones where CI says so, else the committed ones.
fn examples() -> PathBuf {
    match std::env::var_os("AIRSSYS_TEST_GUESTS") {
        Some(rebuilt) => PathBuf::from(rebuilt),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"),
    }
}

/// A world whose desired directory and components are copies of the examples.
pub fn example_world() -> World {
    let world = World::new();
    for directory in ["desired-state", "components"] {
        let to = world.path().join("examples").join(directory);
        std::fs::create_dir_all(&to).expect("made");
        copy(&examples().join(directory), &to);
    }
    std::fs::copy(examples().join("trust.toml"), world.path().join("examples/trust.toml")).expect("copied");
    world
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("readable") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_file() {
            std::fs::copy(&path, &target).expect("copied");
        } else if path.join("Component.toml").is_file() {
            std::fs::create_dir_all(&target).expect("made");
            copy(&path, &target);
        }
    }
}

fn run_examples(world: &World) -> RunningHost {
    RunningHost::spawn(world.command(&["run", "examples/desired-state", "--trust", "examples/trust.toml"]))
}

fn wait_for_log(world: &World, name: &str, needle: &str) {
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    loop {
        let output = world.output(&["logs", name]);
        if stdout(&output).contains(needle) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "no {needle:?} in the log of {name}: {}", stdout(&output));
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

#[test]
fn the_example_system_runs_talks_and_stops_at_a_signal() {
    let world = example_world();
    let mut host = run_examples(&world);
    host.wait_for(&["converged: 3 of 3 running"]);
    wait_for_log(&world, "sensor", "");
    wait_for_log(&world, "aggregator", "average");
    let list = stdout(&world.output(&["list"]));
    assert_eq!(list.lines().filter(|line| line.contains("running")).count(), 3, "{list}");
    assert!(host.stop().success());
    let list = stdout(&world.output(&["list"]));
    assert_eq!(list.lines().filter(|line| line.contains(" down ")).count(), 3, "{list}");
}

#[test]
fn breaking_each_example_file_in_turn_names_file_line_and_remedy_while_the_rest_runs() {
    let world = example_world();
    let mut host = run_examples(&world);
    host.wait_for(&["converged: 3 of 3 running"]);
    for name in ["sensor", "aggregator", "alerter"] {
        let path = world.path().join(format!("examples/desired-state/{name}.toml"));
        let good = std::fs::read_to_string(&path).expect("readable");
        let line = good.lines().position(|line| line.starts_with("package")).expect("a package") + 1;
        rename_into_place(&path, good.replacen("\npackage", "\npakcage", 1).as_bytes());
        let told = host.wait_for(&["held", name]);
        assert!(told.contains(&format!("{name}.toml:{line}")), "{told}");
        assert!(told.contains("what runs goes on"), "{told}");
        host.wait_for(&["did you mean `package`?"]);
        let list = stdout(&world.output(&["list"]));
        assert_eq!(list.lines().filter(|line| line.contains("running")).count(), 3, "{list}");
        rename_into_place(&path, good.as_bytes());
        host.wait_for(&["no longer held", name]);
    }
    assert!(host.stop().success());
}

#[test]
fn a_file_dropped_in_edited_moved_and_deleted_is_followed_line_by_line() {
    let world = World::new();
    let wasm = idle("1");
    world.publish("idle", &release("1.0.0", 1, &wasm));
    let mut host = world.run();
    host.wait_for(&["converged: 0 of 0"]);

    world.desire("one", "test:idle", "idle", "");
    let told = host.wait_for(&["one", "installed", "1.0.0"]);
    assert!(told.contains("one.toml"), "{told}");

    world.desire("one", "test:idle", "idle", "[config]\nanswer = 42");
    host.wait_for(&["one", "reconfigured"]);

    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    host.wait_for(&["one", "updated", "1.0.0 -> 1.1.0"]);

    let text = std::fs::read_to_string(world.desired().join("one.toml")).expect("readable");
    rename_into_place(&world.desired().join("two.toml"), format!("moved-from = \"one\"\n{text}").as_bytes());
    std::fs::remove_file(world.desired().join("one.toml")).expect("removed");
    host.wait_for(&["two", "moved"]);

    std::fs::remove_file(world.desired().join("two.toml")).expect("removed");
    host.wait_for(&["two", "uninstalled"]);
    assert!(host.stop().success());
}

#[test]
fn p23_a_second_host_on_one_home_is_refused_and_the_first_goes_on() {
    let world = World::new();
    let mut host = world.run();
    host.wait_for(&["converged"]);
    let second = world.on_desired("run", &[]);
    assert!(!second.status.success());
    assert!(stderr(&second).contains(&host.pid().to_string()), "{}", stderr(&second));
    // `apply` is handed to the host; where that can't be reached, the lock still keeps a second reconciler out.
    assert!(world.on_desired("apply", &[]).status.success());
    assert!(world.output(&["status"]).status.success());
    std::fs::remove_file(world.home().join("run/host.sock")).expect("the host's socket");
    let second = world.on_desired("apply", &[]);
    assert!(!second.status.success());
    assert!(stderr(&second).contains(&host.pid().to_string()), "{}", stderr(&second));
    assert!(host.stop().success());
}

#[test]
fn an_update_whose_init_fails_is_held_and_the_old_version_goes_on() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "[limits]\ninit = \"500ms\"");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1"]);
    let broken = [traps_in_init("2"), refuses_in_init("3"), spins_in_init("4")];
    for (sequence, wasm) in (2..).zip(&broken) {
        world.publish("idle", &release(&format!("1.0.{sequence}"), sequence, wasm));
        host.wait_for(&["one", "update failed"]);
        let list = stdout(&world.output(&["list"]));
        assert!(
            list.lines().any(|line| line.starts_with("one ") && line.contains("running") && line.contains("1.0.0")),
            "{list}"
        );
    }
    world.publish("idle", &release("2.0.0", 9, &idle("9")));
    host.wait_for(&["one", "updated", "1.0.0 -> 2.0.0"]);
    assert!(host.stop().success());
}

#[test]
fn p11_one_bad_file_among_many_holds_only_itself_and_needs_no_restart() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    for name in ["a", "b", "c", "d"] {
        world.desire(name, "test:idle", "idle", "");
    }
    world.desire_text("bad", "package = 3\n");
    let mut host = world.run();
    host.wait_for(&["bad.toml:1", "package"]);
    host.wait_for(&["4 of 4 running"]);
    world.desire("bad", "test:idle", "idle", "");
    host.wait_for(&["bad", "installed"]);
    assert!(host.stop().success());
}

#[test]
fn p12_an_emptied_or_vanished_directory_uninstalls_nothing() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    for name in ["a", "b"] {
        world.desire(name, "test:idle", "idle", "");
    }
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2"]);
    std::fs::rename(world.desired(), world.path().join("elsewhere")).expect("renamed");
    host.wait_for(&["does not exist"]);
    std::fs::create_dir(world.desired()).expect("made");
    host.wait_for(&["approv"]);
    let list = stdout(&world.output(&["list"]));
    assert_eq!(list.lines().filter(|line| line.contains("running")).count(), 2, "{list}");
    std::fs::remove_dir(world.desired()).expect("removed");
    std::fs::rename(world.path().join("elsewhere"), world.desired()).expect("renamed");
    host.wait_for(&["no longer held", "b"]);
    assert!(host.stop().success());
}

#[test]
fn a_second_signal_ends_at_once() {
    let world = World::new();
    let mut host = world.run();
    host.wait_for(&["converged"]);
    // Stopped by the first while it is frozen, so that both signals are there when it goes on.
    host.signal("STOP");
    host.signal("INT");
    host.signal("TERM");
    host.signal("CONT");
    let code = host.wait().code();
    assert!(matches!(code, Some(0 | 130 | 143)), "{code:?}");
}
