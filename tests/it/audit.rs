//! The audit log and quarantine with the real binary.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::components::{idle, spins_in_init};
use crate::harness::{PATIENCE, Release, RunningHost, World, stderr, stdout};
use crate::test_guest::TestGuest;

fn release<'a>(package: &'a str, sequence: u64, more: &'a str, wasm: &'a [u8]) -> Release<'a> {
    let version = ["0.0.0", "1.0.0", "2.0.0", "3.0.0"][sequence as usize];
    Release { package, version, sequence, more, wasm }
}

#[track_caller]
fn audit(world: &World, more: &[&str]) -> Value {
    let output = world.output(&[&["audit", "--output", "json", "-n", "1000"], more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

/// One word a record: its kind, and whom it is about.
fn told(audit: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let records = audit["records"].as_array().expect("records");
    records.iter().map(|record| format!("{} {}", word(&record["kind"]), word(&record["installation"]))).collect()
}

#[test]
fn the_log_tells_who_ordered_what_was_done_and_refused_and_whose_signature_was_accepted() {
    let world = World::new();
    world.publish("idle", &release("test:idle", 1, "", &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1"]);
    world.publish("asks", &release("test:asks", 1, "[permissions]\nsend = [\"one\"]\n", &idle("2")));
    world.desire("two", "test:asks", "asks", "");
    host.wait_for(&["two", "blocked"]);
    assert!(world.output(&["pause", "one"]).status.success());
    assert!(world.output(&["resume", "one"]).status.success());
    world.publish("idle", &release("test:idle", 2, "", &idle("3")));
    host.wait_for(&["one", "updated"]);
    assert!(world.output(&["rollback", "one", "--yes"]).status.success());
    host.wait_for(&["one", "held"]);
    assert!(host.stop().success());
    let audit = audit(&world, &[]);
    assert_eq!(
        told(&audit),
        [
            "begin -",
            "start -",
            "install one",
            "refused two",
            "pause one",
            "resume one",
            "update one",
            "rollback -",
            "update one",
            "hold one",
            "refused one",
            "stop -",
        ]
    );
    assert_eq!(audit["chain"]["broken"], 0);
    let record = |at: usize| &audit["records"][at];
    assert_eq!(record(2)["accepted"]["publisher"], "test");
    assert_eq!(record(2)["accepted"]["signers"].as_array().map(Vec::len), Some(1));
    assert!(record(3)["what"].as_str().is_some_and(|what| what.contains("blocked: two.toml")), "{}", record(3));
    let user = record(4)["by"].as_str().expect("who");
    assert!(!user.is_empty() && record(7)["by"].as_str().is_some_and(|by| by.contains("uid ")), "{}", record(7));
    assert_eq!(record(6)["generation"], 2);
}

#[test]
fn a_record_is_found_by_installation_kind_and_time_and_a_changed_line_shows() {
    let world = World::new();
    world.publish("idle", &release("test:idle", 1, "", &idle("1")));
    for name in ["one", "two"] {
        world.desire(name, "test:idle", "idle", "");
    }
    assert!(world.on_desired("apply", &[]).status.success());
    assert_eq!(told(&audit(&world, &["two"])), ["install two"]);
    assert_eq!(told(&audit(&world, &["--kind", "order", "--kind", "begin"])), ["begin -", "order -"]);
    assert_eq!(told(&audit(&world, &["--since", "1h", "--kind", "install"])), ["install one", "install two"]);
    assert_eq!(told(&audit(&world, &["--until", "2026-01-01T00:00:00Z"])), [""; 0]);
    let wrong = world.output(&["audit", "--kind", "denial"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("the kinds are begin, start,"), "{}", stderr(&wrong));

    let whole = world.output(&["audit", "--verify"]);
    assert!(whole.status.success() && stdout(&whole).contains("are whole"), "{}", stdout(&whole));
    let file = world.home().join("state/audit/0000000001.jsonl");
    let text = std::fs::read_to_string(&file).expect("readable");
    std::fs::write(&file, text.replacen("\"installation\":\"one\"", "\"installation\":\"won\"", 1)).expect("written");
    let changed = world.output(&["audit", "--verify"]);
    assert_eq!(changed.status.code(), Some(7), "{}", stdout(&changed));
    assert!(stdout(&changed).contains("was changed"), "{}", stdout(&changed));
    let fsck = world.output(&["fsck", "--trust", &world.trust().to_string_lossy()]);
    assert!(stdout(&fsck).contains("[audit-broken]"), "{}", stdout(&fsck));
}

#[test]
fn what_a_component_is_denied_is_in_the_log_within_seconds_and_in_its_status() {
    let world = World::new();
    let greedy = TestGuest::new().handle(r#"(drop (call $send @"bank" @"all of it")) (call $ok_none)"#);
    let receives = "[permissions]\nreceive = [\"*\"]\n";
    world.publish("greedy", &release("test:greedy", 1, receives, &greedy.wasm()));
    world.desire("greedy", "test:greedy", "greedy", "[grant]\nreceive = [\"*\"]\n");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1"]);
    for _ in 0..3 {
        let called = world.output(&["call", "greedy", "now"]);
        assert!(called.status.success(), "{}", stderr(&called));
    }
    let status = stdout(&world.output(&["status", "greedy"]));
    assert!(status.contains("  denied      3; "), "{status}");
    let until = Instant::now() + PATIENCE;
    while told(&audit(&world, &["--kind", "denied"])).is_empty() {
        assert!(Instant::now() < until, "no denial was recorded");
    }
    assert!(host.stop().success());
    let audit = audit(&world, &["--kind", "denied"]);
    let records = audit["records"].as_array().expect("records");
    let count: u64 = records.iter().filter_map(|record| record["count"].as_u64()).sum();
    assert_eq!((count, &records[0]["what"], &records[0]["installation"]), (3, &"send: bank".into(), &"greedy".into()));
}

/// Kills the host while `name` is in hand: its marker is there, and its `init` spins.
fn die_with(world: &World, mut host: RunningHost, name: &str) {
    let markers = world.home().join("state/starting/markers");
    let until = Instant::now() + PATIENCE;
    let is_marked = || std::fs::read_to_string(&markers).is_ok_and(|text| text.contains(&format!("\n{name} alone ")));
    while !is_marked() {
        assert!(Instant::now() < until, "{name} is not in hand:\n{}", host.told());
        std::thread::park_timeout(Duration::from_millis(1));
    }
    // Its code is made first; a host that dies while it compiles dies with the marker, too.
    host.wait_for(&[name, "compiling"]);
    host.kill();
}

#[test]
fn a_component_that_takes_the_host_down_three_times_is_quarantined_and_everything_else_comes_up() {
    let world = World::new();
    world.publish("idle", &release("test:idle", 1, "", &idle("1")));
    world.publish("killer", &release("test:killer", 1, "", &spins_in_init("2")));
    world.desire("good", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1"]);
    world.desire("killer", "test:killer", "killer", "[limits]\ninit = \"60s\"\n");
    for _ in 0..3 {
        die_with(&world, host, "killer");
        // What the worker compiled is not kept by a host that died.
        host = world.run();
    }
    host.wait_for(&["killer", "held", "quarantined"]);
    // What was told is on the board when the pass has ended.
    assert_eq!(world.output(&["sync"]).status.code(), Some(12));
    let status = world.status();
    let state = |name: &str| {
        let components = status["components"].as_array().expect("components");
        components.iter().find(|component| component["name"] == name).expect("there")["state"].clone()
    };
    assert_eq!((state("good"), state("killer")), ("running".into(), "missing".into()));
    assert!(told(&audit(&world, &[])).contains(&"quarantined killer".to_owned()));
    let plan = world.on_desired("plan", &[]);
    assert_eq!(plan.status.code(), Some(12));
    assert!(stdout(&plan).contains("it is quarantined: the host died 3 times"), "{}", stdout(&plan));

    // Another target is tried.
    world.publish("killer", &release("test:killer", 2, "", &idle("3")));
    host.wait_for(&["killer", "installed", "2.0.0"]);
    assert!(host.stop().success());
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2"]);
    assert!(host.stop().success());
}

#[test]
fn a_quarantine_ends_when_an_operator_says_so() {
    let world = World::new();
    world.publish("killer", &release("test:killer", 1, "", &spins_in_init("1")));
    world.desire("killer", "test:killer", "killer", "[limits]\ninit = \"60s\"\n");
    for _ in 0..3 {
        die_with(&world, world.run(), "killer");
    }
    let mut host = world.run();
    host.wait_for(&["killer", "held", "quarantined"]);
    let resumed = world.output(&["resume", "killer"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    die_with(&world, host, "killer");
    assert!(told(&audit(&world, &["--kind", "resume"])).contains(&"resume killer".to_owned()));
}
