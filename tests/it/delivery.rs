//! What desired files say about mailboxes, through the real binary.

use std::process::{Child, Stdio};
use std::time::Instant;

use crate::harness::{PATIENCE, Release, World, stderr, stdout};
use crate::test_guest::TestGuest;

/// A world with one component whose calls never end by themselves.
fn world_of_one_busy(limits: &str) -> World {
    let world = World::new();
    let wasm = TestGuest::new().handle("(loop $l (br $l)) unreachable").wasm();
    world.publish("busy", &Release { package: "test:busy", version: "1.0.0", sequence: 1, more: "", wasm: &wasm });
    world.desire("busy", "test:busy", "busy", &format!("[limits]\ncall = \"30s\"\n{limits}"));
    world
}

/// Waits until `check` holds, looking again and again.
#[track_caller]
fn until(what: &str, check: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn call(world: &World, payload: &str) -> Child {
    let mut command = world.command(&["call", "busy", payload]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

fn messages(world: &World) -> serde_json::Value {
    world.status()["components"][0]["actor"].clone()
}

#[test]
fn a_desired_file_says_what_a_full_mailbox_does_and_status_counts_it() {
    let world = world_of_one_busy("mailbox = 1\nmailbox-overflow = \"drop-newest\"");
    let mut host = world.run();
    host.wait_for(&["converged", "1 of 1 running"]);
    let info = stdout(&world.output(&["info", "busy"]));
    assert!(info.contains("mailbox-overflow  drop-newest\n"), "{info}");
    // One in hand and one that waits: the third has no place.
    let mut calls = Vec::new();
    for (accepted, waiting) in [(1, 0), (2, 1)] {
        calls.push(call(&world, "in the way"));
        let is_so =
            |counted: &serde_json::Value| counted["messages"]["accepted"] == accepted && counted["waiting"] == waiting;
        until("it is taken", || is_so(&messages(&world)));
    }
    let third = call(&world, "third").wait_with_output().expect("it ends");
    assert_eq!(third.status.code(), Some(21), "{}", stderr(&third));
    assert!(stderr(&third).contains("its mailbox was full, and the message was dropped"), "{}", stderr(&third));
    let counted = messages(&world);
    assert_eq!((&counted["messages"]["dropped"], &counted["dead"]), (&1.into(), &1.into()), "{counted}");
    assert_eq!((&counted["waiting"], &counted["mailbox"]), (&1.into(), &1.into()), "{counted}");
    let dead = stdout(&world.output(&["dead-letters", "list"]));
    assert!(dead.contains("dropped"), "{dead}");
    for mut child in calls {
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
    world.desire("busy", "test:busy", "busy", "[limits]\nmailbox-wait = \"2s\"");
    let line = host.wait_for(&["held", "busy", "mailbox-wait"]);
    assert!(line.contains("busy.toml:7") && line.contains("only beside mailbox-overflow"), "{line}");
    host.kill();
}
