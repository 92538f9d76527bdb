//! What components import and export: compared before an update, checked against the host, shown to people.

use crate::components::{exported, idle, idle_with};
use crate::harness::{Release, World, desired_text, stderr, stdout};

const PLACE: &str = "\"place\" (func $nothing)";
const CANCEL: &str = "\"cancel\" (func $nothing)";
const PLACE_A_NUMBER: &str = "\"place\" (func $number)";

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

fn orders(mark: &str, functions: &[&str]) -> Vec<u8> {
    idle_with(mark, "", &exported("acme:api/orders@1.0.0", functions))
}

fn publish_steady(world: &World, version: &str, sequence: u64) {
    world.publish("steady", &Release { package: "test:steady", ..release(version, sequence, &idle(version)) });
}

/// `one` is installed with two functions; `two` depends on it.
fn world() -> World {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &orders("1", &[PLACE, CANCEL])));
    publish_steady(&world, "1.0.0", 1);
    world.desire("one", "test:idle", "idle", "");
    world.desire_text("two", &format!("depends-on = [\"one\"]\n{}", desired_text("test:steady", "steady", "")));
    let applied = world.on_desired("apply", &[]);
    assert_eq!(applied.status.code(), Some(0), "{}{}", stdout(&applied), stderr(&applied));
    world
}

#[test]
fn a_breaking_change_waits_until_it_is_approved_and_the_approval_is_spent() {
    let world = world();
    world.publish("idle", &release("2.0.0", 2, &orders("2", &[PLACE_A_NUMBER])));
    let plan = world.on_desired("plan", &[]);
    assert_eq!(plan.status.code(), Some(11), "{}", stdout(&plan));
    let text = stdout(&plan);
    for words in [
        "WAITS FOR APPROVAL breaking:one",
        "interface   breaking (- acme:api/orders@1.0.0#cancel, ~ acme:api/orders@1.0.0#place)",
        "breaks      two (depends-on)",
        "1 change needs approval and will not be carried out: 1 breaking",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let command = text.lines().find_map(|line| line.strip_prefix("approve with:  airssys-wasm ")).expect("a command");
    assert!(command.ends_with("--approve breaking:one"), "{command}");
    assert_eq!(world.on_desired("apply", &[]).status.code(), Some(11));
    assert_eq!(world.committed()["one"], "1.0.0");

    let wrong = world.on_desired("apply", &["--approve", "breaking:two"]);
    assert_eq!(wrong.status.code(), Some(7), "{}", stderr(&wrong));
    let words: Vec<&str> = command.split(' ').collect();
    let approved = world.output(&words);
    assert_eq!(approved.status.code(), Some(0), "{}{}", stdout(&approved), stderr(&approved));
    assert_eq!(world.committed()["one"], "2.0.0");
    let kept = world.generation();
    let note = kept.lines().find(|line| line.starts_with("note approval ")).expect("a note");
    assert!(note.contains("breaking:one for one action sha256:") && note.contains("(uid "), "{note}");

    // Spent: the next break asks again. What only adds does not.
    world.publish("idle", &release("3.0.0", 3, &idle("3")));
    assert_eq!(world.on_desired("apply", &[]).status.code(), Some(11));
    world.publish("idle", &release("3.1.0", 4, &orders("4", &[PLACE_A_NUMBER, CANCEL])));
    let plan = stdout(&world.on_desired("plan", &[]));
    assert!(plan.contains("interface   additive (+ acme:api/orders@1.0.0#cancel)"), "{plan}");
    assert_eq!(world.on_desired("apply", &[]).status.code(), Some(0));
    assert_eq!(world.committed()["one"], "3.1.0");
}

#[test]
fn a_running_host_holds_a_breaking_change_goes_on_with_the_rest_and_takes_the_word_over_its_socket() {
    let world = world();
    let mut host = world.run();
    host.wait_for(&["converged"]);
    world.publish("idle", &release("2.0.0", 2, &orders("2", &[PLACE_A_NUMBER])));
    host.wait_for(&["one", "needs an approval"]);
    publish_steady(&world, "1.1.0", 2);
    host.wait_for(&["two", "updated 1.0.0 -> 1.1.0"]);
    assert_eq!(world.committed()["one"], "1.0.0");
    let status = stdout(&world.output(&["status", "one"]));
    assert!(status.contains("airssys-wasm apply --approve breaking:one"), "{status}");

    let approved = world.output(&["apply", "--approve", "breaking:one"]);
    assert_eq!(approved.status.code(), Some(0), "{}{}", stdout(&approved), stderr(&approved));
    host.wait_for(&["one", "updated 1.0.0 -> 2.0.0"]);
    assert_eq!(world.committed()["one"], "2.0.0");
    assert!(world.generation().contains("breaking:one for one action sha256:"));
    let why = stdout(&world.output(&["why", "one"]));
    assert!(why.contains("breaking:one"), "{why}");
    assert!(host.stop().success());
}

#[test]
fn a_missing_import_blocks_the_plan_with_what_there_is() {
    let world = World::new();
    let import = r#"(import "airssys:component/log@0.7.0" (instance (export "log" (func))))
                    (import "acme:db/query@1.0.0" (instance (export "run" (func))))
                    (import "acme:db/types@1.0.0" (instance (type $t u8) (export "t" (type (eq $t)))))"#;
    world.publish("idle", &release("1.0.0", 1, &idle_with("1", import, "")));
    world.desire("one", "test:idle", "idle", "");
    let plan = world.on_desired("plan", &[]);
    assert_eq!(plan.status.code(), Some(12), "{}", stdout(&plan));
    let text = stdout(&plan);
    for words in [
        "it imports what this host does not offer: acme:db/query@1.0.0, airssys:component/log@0.7.0  [missing-import]",
        "airssys:component/log@0.7.0: there is airssys:component/log@0.1.0; did you mean that?",
        "this host offers: airssys:component/config@0.1.0",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(world.on_desired("apply", &[]).status.code(), Some(12));
    assert!(world.committed().is_empty());

    let verified = stdout(&world.output(&["verify", "components/idle", "--trust", "trust.toml"]));
    for line in [
        "imports     acme:db/query@1.0.0  (offered by this host: no)\n",
        "imports     acme:db/types@1.0.0  (offered by this host: yes)\n",
        "exports     airssys:component/lifecycle@0.1.0  (called by this host: yes)\n",
    ] {
        assert!(verified.contains(line), "{line}: {verified}");
    }
}

#[test]
fn the_surface_is_shown_by_verify_and_info() {
    let world = world();
    let line = "exports     acme:api/orders@1.0.0  (called by this host: no)\n";
    let verified = stdout(&world.output(&["verify", "components/idle", "--trust", "trust.toml"]));
    assert!(verified.contains(line), "{verified}");
    let info = stdout(&world.output(&["info", "one"]));
    assert!(info.contains(line), "{info}");
    let json = stdout(&world.output(&["info", "one", "--output", "json"]));
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let items = &document["committed"]["exports"][0]["items"];
    assert_eq!((&items[0]["name"], &items[0]["signature"]), (&"cancel".into(), &"func()".into()));
}
