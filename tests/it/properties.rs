//! Properties of the reconciler that span several files: renames, equal names, dependencies, recovery.

use crate::components::{idle, refuses_in_init, traps_in_init};
use crate::harness::{Release, World, desired_text, rename_into_place, stderr, stdout};

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

fn world_with(names: &[&str]) -> World {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    for name in names {
        world.desire(name, "test:idle", "idle", "");
    }
    world
}

fn rename(world: &World, from: &str, to: &str) {
    let at = |name: &str| world.desired().join(format!("{name}.toml"));
    std::fs::rename(at(from), at(to)).expect("renamed");
}

/// The state and the restarts of a component of a running host.
#[track_caller]
fn component(world: &World, name: &str) -> serde_json::Value {
    let status = world.status();
    let components = status["components"].as_array().expect("an array");
    components.iter().find(|component| component["name"] == name).unwrap_or_else(|| panic!("{status:#}")).clone()
}

#[test]
fn p13_a_file_that_is_renamed_stops_nothing_where_its_name_is_written_in_it() {
    let world = world_with(&["other"]);
    let text = desired_text("test:idle", "idle", "");
    world.desire_text("one", &format!("name = \"steady\"\n{text}"));
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2 running"]);
    rename(&world, "one", "renamed");
    // Something after it that is surely told.
    world.desire("last", "test:idle", "idle", "");
    host.wait_for(&["last", "installed"]);
    host.wait_for(&["converged: 3 of 3 running"]);
    let told = host.told();
    assert!(!told.contains("  uninstalled ") && !told.contains("steady  reconf"), "{told}");
    assert_eq!(component(&world, "steady")["state"], "running");
    assert_eq!(component(&world, "steady")["actor"]["restarts"], 0);
    assert_eq!(world.on_desired("plan", &[]).status.code(), Some(0));
    assert!(host.stop().success());
}

#[test]
fn p13_a_rename_that_says_nothing_is_told_to_look_like_one() {
    let world = world_with(&["one", "two"]);
    assert!(world.on_desired("apply", &[]).status.success());
    rename(&world, "one", "eins");
    let plan = world.on_desired("plan", &[]);
    let told = stdout(&plan);
    assert!(told.contains("moved-from = \"one\""), "{told}");
}

#[test]
fn p14_two_files_with_one_name_replace_nothing_until_one_of_them_gives_way() {
    let world = world_with(&["one", "two"]);
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2 running"]);
    world.publish("other", &Release { package: "test:other", ..release("1.0.0", 1, &idle("2")) });
    world.desire_text("imposter", &format!("name = \"one\"\n{}", desired_text("test:other", "other", "")));
    let told = host.wait_for(&["one", "held"]);
    assert!(told.contains("imposter.toml") && told.contains("one.toml"), "{told}");
    assert_eq!(component(&world, "one")["installed"]["package"], "test:idle");
    assert_eq!(component(&world, "one")["state"], "running");
    std::fs::remove_file(world.desired().join("imposter.toml")).expect("removed");
    host.wait_for(&["one", "no longer held"]);
    assert_eq!(component(&world, "one")["actor"]["restarts"], 0);
    assert!(host.stop().success());
}

#[test]
fn p15_members_of_a_circle_are_held_with_the_circle_and_the_rest_goes_on() {
    let world = world_with(&["free"]);
    for (name, needs) in [("a", "b"), ("b", "c"), ("c", "a"), ("below", "free"), ("above", "a")] {
        world.desire_text(name, &format!("depends-on = [\"{needs}\"]\n{}", desired_text("test:idle", "idle", "")));
    }
    let mut host = world.run();
    for name in ["a", "b", "c"] {
        let told = host.wait_for(&[&format!(" {name}  ")]);
        assert!(told.contains("held") || told.contains("blocked"), "{told}");
    }
    let plan = world.on_desired("plan", &[]);
    assert_eq!(plan.status.code(), Some(12));
    let told = stdout(&plan);
    assert!(told.contains("a -> b -> c -> a"), "{told}");
    let installed: Vec<String> = world.committed().into_keys().collect();
    assert_eq!(installed, ["below", "free"]);
    world.desire("c", "test:idle", "idle", "");
    host.wait_for(&["converged: 6 of 6 running"]);
    assert!(host.stop().success());
}

#[test]
fn p16_what_is_broken_can_be_replaced_and_removed() {
    let world = world_with(&["one", "other"]);
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2 running"]);
    for (sequence, wasm) in (2..).zip([traps_in_init("2"), refuses_in_init("3")]) {
        world.publish("idle", &release(&format!("1.{sequence}.0"), sequence, &wasm));
        host.wait_for(&["one", "update failed"]);
    }
    world.publish("idle", &release("1.9.0", 9, &idle("9")));
    host.wait_for(&["one", "updated", "1.0.0 -> 1.9.0"]);
    // Broken before it ever ran: it can go as well, and come back whole.
    world.publish("new", &release("2.0.0", 10, &traps_in_init("10")));
    world.desire("new", "test:idle", "new", "");
    host.wait_for(&["new", "install failed"]);
    world.publish("new", &release("2.1.0", 11, &idle("11")));
    host.wait_for(&["new", "installed 2.1.0"]);
    std::fs::remove_file(world.desired().join("new.toml")).expect("removed");
    host.wait_for(&["new", "uninstalled"]);
    assert!(host.stop().success());
}

#[test]
fn p16_a_damaged_component_directory_keeps_nobody_from_removing_what_came_from_it() {
    let world = world_with(&["one", "two", "three", "four", "five", "six"]);
    assert!(world.on_desired("apply", &[]).status.success());
    rename_into_place(&world.component("idle").join("Component.toml.sig"), b"rubbish\n");
    std::fs::remove_file(world.desired().join("one.toml")).expect("removed");
    let output = world.on_desired("apply", &[]);
    assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
    assert_eq!(world.committed().len(), 5);
    assert!(!world.committed().contains_key("one"));
}
