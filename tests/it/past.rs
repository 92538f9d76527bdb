//! What is told of the past: `history` and `why`, with no host running.

use crate::components::idle;
use crate::golden_cli::{check, shown};
use crate::harness::{Release, World, stdout};

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8], more: &'a str) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more, wasm }
}

/// A world with a past: an install, an update, a new permission, an uninstall.
fn world_with_a_past() -> World {
    let world = World::new();
    let (first, second) = (idle("1"), idle("2"));
    world.publish("idle", &release("1.0.0", 1, &first, ""));
    world.desire("one", "test:idle", "idle", "");
    world.desire("two", "test:idle", "idle", "");
    let apply = || assert_eq!(world.on_desired("apply", &[]).status.code(), Some(0));
    apply();
    world.desire("one", "test:idle", "idle", "[grant]\nsend = [\n  \"audit\",\n  \"logs\",\n]\n");
    world.publish("idle", &release("1.1.0", 2, &second, "[permissions]\nsend = [\"audit\"]"));
    world.desire("two", "test:idle", "idle", "[grant]\nwithout = [\"send\"]\n");
    apply();
    std::fs::remove_file(world.desired().join("two.toml")).expect("removed");
    apply();
    world
}

#[test]
fn history_tells_what_each_generation_changed() {
    let world = world_with_a_past();
    check("history.txt", &shown(&world, &["history"]));
    check("history-one.txt", &shown(&world, &["history", "two", "-n", "1"]));
    check("history-yaml.txt", &shown(&world, &["history", "-n", "1", "--output", "yaml"]));
    let all: serde_json::Value =
        serde_json::from_str(&stdout(&world.output(&["history", "--output", "json"]))).expect("JSON");
    let generations = all["generations"].as_array().expect("an array");
    let numbers: Vec<u64> = generations.iter().map(|g| g["number"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, [3, 2, 1, 0]);
    // The cut at `-n` knows what the oldest one changed, because one more is looked at.
    let cut: serde_json::Value =
        serde_json::from_str(&stdout(&world.output(&["history", "-n", "2", "--output", "json"]))).expect("JSON");
    assert_eq!(cut["generations"].as_array().expect("an array"), &generations[..2]);
}

#[test]
fn why_names_generation_action_line_signer_and_the_line_of_each_permission() {
    let world = world_with_a_past();
    check("why.txt", &shown(&world, &["why", "one"]));
    check("why-json.txt", &shown(&world, &["why", "one", "--output", "json"]));
    check("why-nobody.txt", &shown(&world, &["why", "two"]));
}

#[test]
fn the_past_of_a_home_that_nobody_used_is_empty() {
    let world = World::new();
    check("history-empty.txt", &shown(&world, &["history"]));
}
