//! `rollback` and `resume`: back to what was, held there, and on again; with a host and without one.

use std::path::PathBuf;
use std::process::{Command, Output};

use airssys_wasm::digest::Digest;

use crate::components::idle;
use crate::golden_cli::{check, shown};
use crate::harness::{Release, World, stderr, stdout};
use crate::test_guest::TestGuest;

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

/// Generation 1 has `one` and `two` at 1.0.0, generation 2 has both at 1.1.0.
pub fn world_at_second() -> World {
    let (first, second) = (idle("1"), idle("2"));
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &first));
    world.desire("one", "test:idle", "idle", "");
    world.desire("two", "test:idle", "idle", "");
    apply(&world, 0);
    world.publish("idle", &release("1.1.0", 2, &second));
    apply(&world, 0);
    world
}

#[track_caller]
fn apply(world: &World, code: i32) {
    let output = world.on_desired("apply", &[]);
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(&output), stderr(&output));
}

#[track_caller]
fn plan(world: &World, code: i32) -> String {
    let output = world.on_desired("plan", &[]);
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// A command of rollbacks with the world's policy.
pub fn command(world: &World, more: &[&str]) -> Command {
    let trust = world.trust().to_string_lossy().into_owned();
    world.command(&[&["rollback", "--trust", &trust], more].concat())
}

fn rollback(world: &World, more: &[&str]) -> Output {
    command(world, more).output().expect("the binary runs")
}

#[track_caller]
fn rolled_back(world: &World, more: &[&str]) -> String {
    let output = rollback(world, &[&["--yes"], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

#[track_caller]
fn resumed(world: &World, name: &str) {
    let output = world.output(&["resume", name]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

#[track_caller]
fn versions(world: &World, wanted: &[(&str, &str)]) {
    let committed = world.committed();
    let committed: Vec<(&str, &str)> = committed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(committed, wanted);
}

#[test]
fn p4_a_rollback_is_shown_asked_for_carried_out_held_and_resumed() {
    let world = world_at_second();
    let trust = ["--trust", "trust.toml"];
    check("rollback-dry-run.txt", &shown(&world, &[&["rollback", "--dry-run"], &trust[..]].concat()));
    check("rollback-nobody-asked.txt", &shown(&world, &[&["rollback"], &trust[..]].concat()));
    versions(&world, &[("one", "1.1.0"), ("two", "1.1.0")]);
    check("rollback.txt", &shown(&world, &[&["rollback", "one", "--yes", "--quiet"], &trust[..]].concat()));
    versions(&world, &[("one", "1.0.0"), ("two", "1.1.0")]);

    let told = plan(&world, 12);
    assert!(
        told.contains("held as in generation 1 by a rollback of") && told.contains("airssys-wasm resume one"),
        "{told}"
    );
    apply(&world, 12);
    versions(&world, &[("one", "1.0.0"), ("two", "1.1.0")]);
    let why = stdout(&world.output(&["why", "one"]));
    assert!(why.contains("[rolled-back]") && why.contains("order       rollback to generation 1 by"), "{why}");
    assert!(why.contains("held        held as in generation 1 by a rollback of"), "{why}");
    let status = stdout(&world.output(&["status", "one"]));
    assert!(status.contains("held as in generation 1 by a rollback of"), "{status}");
    let history = stdout(&world.output(&["history", "-n", "1"]));
    assert!(history.contains("rollback to generation 1 by") && history.contains("hold"), "{history}");

    resumed(&world, "one");
    let history = stdout(&world.output(&["history", "-n", "1"]));
    assert!(history.contains("resume of one by"), "{history}");
    apply(&world, 0);
    versions(&world, &[("one", "1.1.0"), ("two", "1.1.0")]);
    plan(&world, 0);
}

#[test]
fn a_hold_of_a_rollback_ends_when_the_file_or_the_artifact_changes() {
    let world = world_at_second();
    rolled_back(&world, &[]);
    versions(&world, &[("one", "1.0.0"), ("two", "1.0.0")]);
    world.desire("two", "test:idle", "idle", "[config]\na = 1");
    apply(&world, 12);
    versions(&world, &[("one", "1.0.0"), ("two", "1.1.0")]);
    world.publish("idle", &release("1.2.0", 3, &idle("3")));
    apply(&world, 0);
    versions(&world, &[("one", "1.2.0"), ("two", "1.2.0")]);
    // Not back to what was rolled back from, and not further than there is anything.
    rolled_back(&world, &["--to", "1"]);
    versions(&world, &[("one", "1.0.0"), ("two", "1.0.0")]);
    let nothing = rollback(&world, &["--yes"]);
    assert_eq!(nothing.status.code(), Some(7), "{}", stdout(&nothing));
    assert!(stderr(&nothing).contains("[nothing-earlier]"), "{}", stderr(&nothing));
}

#[test]
fn what_came_since_goes_and_what_went_since_comes_back_and_both_are_held() {
    let world = world_at_second();
    std::fs::remove_file(world.desired().join("two.toml")).expect("removed");
    world.desire("three", "test:idle", "idle", "");
    apply(&world, 0);
    let told = rolled_back(&world, &["--to", "1"]);
    assert!(told.contains("it starts with empty storage"), "{told}");
    versions(&world, &[("one", "1.0.0"), ("two", "1.0.0")]);
    let told = plan(&world, 12);
    assert!(told.contains("`airssys-wasm resume two` lets it go"), "{told}");
    apply(&world, 12);
    versions(&world, &[("one", "1.0.0"), ("two", "1.0.0")]);
    let nobody = stderr(&world.output(&["why", "three"]));
    assert!(nobody.contains("held as in generation 1 by a rollback of"), "{nobody}");
    let listed = stdout(&world.output(&["list"]));
    assert!(listed.contains("three"), "{listed}");

    for name in ["one", "two", "three"] {
        resumed(&world, name);
    }
    apply(&world, 0);
    versions(&world, &[("one", "1.1.0"), ("three", "1.1.0")]);
}

#[test]
fn what_was_moved_since_goes_back_to_its_old_name() {
    let world = world_at_second();
    std::fs::remove_file(world.desired().join("two.toml")).expect("removed");
    world.desire_text(
        "new",
        &format!("moved-from = \"two\"\n{}", crate::harness::desired_text("test:idle", "idle", "")),
    );
    apply(&world, 0);
    versions(&world, &[("new", "1.1.0"), ("one", "1.1.0")]);
    let told = rolled_back(&world, &["new", "--to", "1"]);
    assert!(told.contains("move 1.1.0 -> 1.0.0, now new"), "{told}");
    versions(&world, &[("one", "1.1.0"), ("two", "1.0.0")]);
    apply(&world, 12);
    versions(&world, &[("one", "1.1.0"), ("two", "1.0.0")]);
    resumed(&world, "new");
    apply(&world, 0);
    versions(&world, &[("new", "1.1.0"), ("one", "1.1.0")]);
    plan(&world, 0);
}

#[test]
fn what_is_revoked_missing_paused_or_unknown_is_refused_and_nothing_is_done() {
    let world = world_at_second();
    for (arguments, code) in [
        (&["--to", "2"][..], "is-current"),
        (&["--to", "9"], "no-such-generation"),
        (&["nobody"], "nothing-earlier"),
        (&["nobody", "--to", "1"], "no-such-installation"),
    ] {
        let refused = rollback(&world, &[&["--yes"], arguments].concat());
        assert_eq!(refused.status.code(), Some(7), "{arguments:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(code), "{arguments:?}: {}", stderr(&refused));
    }
    let policy = std::fs::read_to_string(world.trust()).expect("readable");
    let wasm = Digest::of(&idle("1")).hex();
    for revoked in [format!("digest = \"sha256:{wasm}\""), "package = \"test:idle\"\nsequence-below = 2".to_owned()] {
        world.trust_text(&format!("{policy}\n[[revoked]]\n{revoked}\n"));
        let refused = rollback(&world, &["one", "--yes"]);
        assert_eq!(refused.status.code(), Some(12), "{}{}", stdout(&refused), stderr(&refused));
        assert!(stdout(&refused).contains("revoked"), "{}", stdout(&refused));
        assert!(stdout(&refused).contains("nothing is rolled back"), "{}", stdout(&refused));
    }
    world.trust_text(&policy);
    let object: PathBuf = world.home().join("state/objects/sha256").join(&wasm[..2]).join(&wasm);
    let kept = object.with_extension("kept");
    std::fs::rename(&object, &kept).expect("moved away");
    let refused = rollback(&world, &["--yes"]);
    assert_eq!(refused.status.code(), Some(12), "{}{}", stdout(&refused), stderr(&refused));
    assert!(stdout(&refused).contains(&wasm) && stdout(&refused).contains("[object-missing]"), "{}", stdout(&refused));
    versions(&world, &[("one", "1.1.0"), ("two", "1.1.0")]);
    std::fs::rename(&kept, &object).expect("moved back");
    rolled_back(&world, &["one"]);
}

/// `one` and `two` of packages of their own, at 1.1.0 in generation 2 after 1.0.0 in generation 1.
fn world_of_two_packages() -> World {
    let world = World::new();
    let publish = |version, sequence, one: &str, two: &str| {
        world.publish("idle", &release(version, sequence, &idle(one)));
        world.publish("other", &Release { package: "test:other", ..release(version, sequence, &idle(two)) });
    };
    publish("1.0.0", 1, "1", "2");
    world.desire("one", "test:idle", "idle", "");
    world.desire("two", "test:other", "other", "");
    apply(&world, 0);
    publish("1.1.0", 2, "3", "4");
    apply(&world, 0);
    world
}

#[test]
fn one_that_does_not_start_keeps_all_from_going_back() {
    let world = world_of_two_packages();
    // Its wasm was damaged, which shows only when it is compiled anew.
    let wasm = Digest::of(&idle("2")).hex();
    let object: PathBuf = world.home().join("state/objects/sha256").join(&wasm[..2]).join(&wasm);
    std::fs::remove_file(&object).expect("removed");
    std::fs::write(&object, idle("x")).expect("written");
    for entry in std::fs::read_dir(world.home().join("state/cache")).expect("listed") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
    let refused = rollback(&world, &["--yes"]);
    assert_eq!(refused.status.code(), Some(7), "{}{}", stdout(&refused), stderr(&refused));
    assert!(stderr(&refused).contains("two can't go back"), "{}", stderr(&refused));
    versions(&world, &[("one", "1.1.0"), ("two", "1.1.0")]);
    plan(&world, 0);
    rolled_back(&world, &["one"]);
    versions(&world, &[("one", "1.0.0"), ("two", "1.1.0")]);
}

#[test]
fn a_config_with_a_secret_goes_back_to_the_secret_of_now_or_not_at_all() {
    let world = world_of_two_packages();
    let token = world.path().join("token");
    let write = |text: &str| {
        std::fs::write(&token, text).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&token, mode).expect("mode set");
    };
    write("first");
    world.desire("two", "test:other", "other", "[config]\ntoken = { secret-file = \"../token\" }");
    apply(&world, 0);
    let with_secret = world.status()["generation"].as_u64().expect("a number").to_string();
    world.desire("two", "test:other", "other", "");
    apply(&world, 0);
    std::fs::remove_file(&token).expect("removed");
    let desired = world.desired().to_string_lossy().into_owned();
    let arguments = ["two", "--to", &with_secret, "--desired", &desired];
    let refused = rollback(&world, &[&["--yes"], &arguments[..]].concat());
    assert_eq!(refused.status.code(), Some(12), "{}{}", stdout(&refused), stderr(&refused));
    assert!(stdout(&refused).contains("!   two"), "{}", stdout(&refused));
    write("second");
    let told = rolled_back(&world, &arguments);
    assert!(told.contains("the content of a secret is another than then"), "{told}");
    apply(&world, 12);
    assert_eq!(world.status()["components"][1]["held"]["code"], "held-target");
}

/// A guest that answers with one letter.
fn says(letter: char) -> Vec<u8> {
    TestGuest::new().handle(&format!("(call $byte (i32.const {}))", u32::from(letter))).wasm()
}

#[test]
fn a_running_host_rolls_back_without_losing_a_message_and_holds_over_a_restart() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &says('a')));
    world.desire("one", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1"]);
    world.publish("idle", &release("1.1.0", 2, &says('b')));
    host.wait_for(&["one", "updated 1.0.0 -> 1.1.0"]);
    let call = || {
        let output = world.output(&["call", "one", "x"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(call(), "b");
    let unasked = rollback(&world, &[]);
    assert_eq!(unasked.status.code(), Some(2), "{}", stderr(&unasked));
    assert!(stdout(&unasked).contains("1.1.0 -> 1.0.0"), "{}", stdout(&unasked));
    let digest: String = stdout(&unasked).split(' ').nth(1).expect("digits").to_owned();
    // Calls go on all the time: each is answered by the one or the other.
    let heard: String = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..3).map(|_| scope.spawn(|| (0..10).map(|_| call()).collect::<String>())).collect();
        let told = rolled_back(&world, &[]);
        assert!(told.contains(&digest) && told.contains("done: generation 3"), "{told}");
        callers.into_iter().map(|caller| caller.join().expect("answered")).collect()
    });
    assert!(heard.len() == 30 && heard.chars().all(|c| c == 'a' || c == 'b'), "{heard}");
    assert_eq!(call(), "a");
    host.wait_for(&["rolled back to generation 1 by"]);
    host.wait_for(&["settled: 1 of 1 running, 1 held or blocked"]);
    let status = stdout(&world.output(&["status", "one"]));
    assert!(status.contains("held as in generation 1 by a rollback of"), "{status}");
    // The same over the socket: nothing is left to do, and an old digest is none.
    assert_eq!(rollback(&world, &["--to", "1", "--yes"]).status.code(), Some(0));
    assert!(host.stop().success());

    let mut host = world.run();
    host.wait_for(&["settled: 1 of 1 running, 1 held or blocked, generation 3"]);
    assert_eq!(call(), "a");
    resumed(&world, "one");
    host.wait_for(&["one", "updated 1.0.0 -> 1.1.0"]);
    assert_eq!(call(), "b");
    // Paused is paused, for rollbacks too.
    assert!(world.output(&["pause", "one"]).status.success());
    let refused = rollback(&world, &["one", "--yes"]);
    assert_eq!(refused.status.code(), Some(12), "{}", stderr(&refused));
    assert!(stdout(&refused).contains("[paused]"), "{}", stdout(&refused));
    assert!(host.stop().success());
}
