//! What needs an operator's word waits for it, and the word counts for exactly what it was given for.

use airssys_wasm::trust::SigningKey;

use crate::components::idle;
use crate::harness::{Release, World, stderr, stdout};

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

fn other_key() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

/// A world whose publisher has two keys, with `one` and `two` installed.
fn world_of_two_keys(wasm: &[u8]) -> World {
    let world = World::new();
    let keys = [SigningKey::from_seed(&crate::harness::TRUSTED_SEED).public(), other_key().public()];
    world.trust_text(&format!(
        "schema = 1\n\n[publisher.test]\nkeys = [\"{}\", \"{}\"]\nnames = [\"test:*\"]\n",
        keys[0], keys[1]
    ));
    world.publish("idle", &release("1.0.0", 1, wasm));
    world.publish("steady", &Release { package: "test:steady", ..release("1.0.0", 1, wasm) });
    world.desire("one", "test:idle", "idle", "");
    world.desire("two", "test:steady", "steady", "");
    let applied = world.on_desired("apply", &[]);
    assert_eq!(applied.status.code(), Some(0), "{}", stderr(&applied));
    world
}

#[test]
fn a_signer_change_waits_until_it_is_approved_and_the_approval_is_spent() {
    let (first, second) = (idle("1"), idle("2"));
    let world = world_of_two_keys(&first);
    world.publish_signed_by("idle", &release("1.1.0", 2, &second), &other_key());

    let plan = world.on_desired("plan", &[]);
    assert_eq!(plan.status.code(), Some(11), "{}", stdout(&plan));
    let text = stdout(&plan);
    let command = text.lines().find_map(|line| line.strip_prefix("approve with:  airssys-wasm ")).expect("a command");
    assert!(command.ends_with("--approve signer:one"), "{command}");

    let unapproved = world.on_desired("apply", &[]);
    assert_eq!(unapproved.status.code(), Some(11), "{}", stdout(&unapproved));
    assert_eq!(world.committed()["one"], "1.0.0");

    // The printed command is the one that works.
    let words: Vec<&str> = command.split(' ').collect();
    let approved = world.output(&words);
    assert_eq!(approved.status.code(), Some(0), "{}{}", stdout(&approved), stderr(&approved));
    assert_eq!(world.committed()["one"], "1.1.0");
    let kept = world.generation();
    let note = kept.lines().find(|line| line.starts_with("note approval ")).expect("a note");
    assert!(note.contains("signer:one for one action sha256:") && note.contains("(uid "), "{note}");
    assert!(kept.lines().any(|line| line.starts_with("note order \"apply by ")), "{kept}");

    // Spent: the next change of hands asks again.
    world.publish("idle", &release("1.2.0", 3, &first));
    assert_eq!(world.on_desired("apply", &[]).status.code(), Some(11));
    assert_eq!(world.committed()["one"], "1.1.0");
}

#[test]
fn an_approval_that_matches_nothing_is_refused_with_what_is_asked_for() {
    let (first, second) = (idle("1"), idle("2"));
    let world = world_of_two_keys(&first);
    world.publish_signed_by("idle", &release("1.1.0", 2, &second), &other_key());
    world.publish("steady", &Release { package: "test:steady", ..release("1.1.0", 2, &second) });
    for wrong in ["permission:one", "signer:two", "delete", "signer:three"] {
        let refused = world.on_desired("apply", &["--approve", "signer:one", wrong]);
        assert_eq!(refused.status.code(), Some(7), "{wrong}: {}", stderr(&refused));
        let told = stderr(&refused);
        assert!(told.contains(&format!("nothing in the plan asks for {wrong}")), "{told}");
        assert!(told.contains("this plan asks for: signer:one"), "{told}");
    }
    let text = world.on_desired("apply", &["--approve", "everything"]);
    assert_eq!(text.status.code(), Some(2));
    assert_eq!(world.committed()["one"], "1.0.0");
    assert_eq!(world.committed()["two"], "1.0.0", "a refused order does nothing at all");
}

#[test]
fn an_order_for_one_plan_does_not_carry_out_another() {
    let (first, second) = (idle("1"), idle("2"));
    let world = world_of_two_keys(&first);
    world.publish_signed_by("idle", &release("1.1.0", 2, &second), &other_key());
    let document: serde_json::Value =
        serde_json::from_str(&stdout(&world.on_desired("plan", &["--output", "json"]))).expect("JSON");
    let seen = document["plan_digest"].as_str().expect("text").to_owned();
    // What was approved is exchanged before the approval arrives.
    world.publish_signed_by("idle", &release("1.2.0", 3, &first), &other_key());
    let refused = world.on_desired("apply", &["--plan", &seen, "--approve", "signer:one"]);
    assert_eq!(refused.status.code(), Some(7), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("the plan is another one by now"), "{}", stderr(&refused));
    assert_eq!(world.committed()["one"], "1.0.0");

    let text = stdout(&world.on_desired("plan", &[]));
    let digits = text.split(' ').nth(1).expect("the plan's digits");
    let approved = world.on_desired("apply", &["--plan", digits, "--approve", "signer:one"]);
    assert_eq!(approved.status.code(), Some(0), "{}", stderr(&approved));
    assert_eq!(world.committed()["one"], "1.2.0");
}

#[test]
fn a_mass_delete_is_carried_out_when_it_is_approved() {
    let wasm = idle("1");
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &wasm));
    for name in ["a", "b", "c", "d", "e", "f"] {
        world.desire(name, "test:idle", "idle", "");
    }
    assert!(world.on_desired("apply", &[]).status.success());
    for name in ["a", "b", "c", "d", "e"] {
        std::fs::remove_file(world.desired().join(format!("{name}.toml"))).expect("removed");
    }
    assert_eq!(world.on_desired("apply", &[]).status.code(), Some(11));
    assert_eq!(world.committed().len(), 6);
    let approved = world.on_desired("apply", &["--approve", "delete"]);
    assert_eq!(approved.status.code(), Some(0), "{}", stderr(&approved));
    assert_eq!(world.committed().into_keys().collect::<Vec<_>>(), ["f"]);
    assert_eq!(world.generation().matches("note approval \"delete for ").count(), 5);
}

#[test]
fn a_host_never_approves_by_itself_and_says_which_command_does() {
    let (first, second) = (idle("1"), idle("2"));
    let world = world_of_two_keys(&first);
    world.publish_signed_by("idle", &release("1.1.0", 2, &second), &other_key());
    world.publish("steady", &Release { package: "test:steady", ..release("1.1.0", 2, &second) });
    let mut host = world.run();
    host.wait_for(&["one", "needs an approval"]);
    host.wait_for(&["settled"]);
    let status = world.status();
    let one = status["components"].as_array().expect("an array").iter().find(|c| c["name"] == "one").expect("one");
    assert_eq!(one["held"]["kind"], "needs-approval");
    assert_eq!(one["held"]["hint"], "to approve it: airssys-wasm apply --approve signer:one");
    assert_eq!((one["state"].as_str(), one["installed"]["version"].as_str()), (Some("running"), Some("1.0.0")));
    assert_eq!(world.committed()["two"], "1.1.0", "the rest goes on");
    assert!(host.stop().success());
}

#[test]
fn a_running_host_holds_what_needs_a_word_and_takes_it_over_its_socket() {
    let (first, second) = (idle("1"), idle("2"));
    let world = world_of_two_keys(&first);
    let mut host = world.run();
    host.wait_for(&["converged"]);
    world.publish_signed_by("idle", &release("1.1.0", 2, &second), &other_key());
    let told = host.wait_for(&["one", "needs an approval"]);
    assert!(told.contains("needs-approval"), "{told}");
    // What needs none goes on meanwhile.
    world.publish("steady", &Release { package: "test:steady", ..release("1.1.0", 2, &second) });
    host.wait_for(&["two", "updated 1.0.0 -> 1.1.0"]);
    assert_eq!(world.committed()["one"], "1.0.0");
    let status = stdout(&world.output(&["status", "one"]));
    assert!(status.contains("airssys-wasm apply --approve signer:one"), "{status}");

    for (arguments, code, words) in [
        (&["apply", "--approve", "signer:two"][..], 7, "this plan asks for: signer:one"),
        (&["apply", "--plan", "00000000", "--approve", "signer:one"][..], 7, "the plan is another one by now"),
        (&["apply", "elsewhere", "--approve", "signer:one"][..], 3, "the running host works with"),
        (&["apply", "--offline"][..], 3, "--offline is for a host that starts"),
    ] {
        let refused = world.output(arguments);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(words), "{arguments:?}: {}", stderr(&refused));
    }
    assert_eq!(world.committed()["one"], "1.0.0");

    let approved = world.output(&["apply", "--approve", "signer:one"]);
    assert_eq!(approved.status.code(), Some(0), "{}{}", stdout(&approved), stderr(&approved));
    host.wait_for(&["one", "updated 1.0.0 -> 1.1.0"]);
    assert_eq!(world.committed()["one"], "1.1.0");
    let kept = world.generation();
    let uid = rustix::process::geteuid().as_raw();
    let note = kept.lines().find(|line| line.starts_with("note approval ")).expect("a note");
    assert!(note.contains("signer:one for one action sha256:") && note.contains(&format!("(uid {uid})")), "{note}");
    assert!(host.stop().success());
}

#[test]
fn a_mass_delete_waits_for_its_word_and_the_word_is_spent_with_it() {
    let wasm = idle("1");
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &wasm));
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    names.iter().for_each(|name| world.desire(name, "test:idle", "idle", ""));
    let applied = world.on_desired("apply", &[]);
    assert_eq!(applied.status.code(), Some(0), "{}", stderr(&applied));
    let remove = |name: &str| std::fs::remove_file(world.desired().join(format!("{name}.toml"))).expect("removed");
    names[..4].iter().for_each(|name| remove(name));
    assert_eq!(world.on_desired("apply", &[]).status.code(), Some(11));
    let approved = world.on_desired("apply", &["--approve", "delete"]);
    assert_eq!(approved.status.code(), Some(0), "{}{}", stdout(&approved), stderr(&approved));
    assert_eq!(world.committed().len(), 3);
    // The word was for those four.
    let spent = world.on_desired("apply", &["--approve", "delete"]);
    assert_eq!(spent.status.code(), Some(7), "{}{}", stdout(&spent), stderr(&spent));
    ["e", "f", "g"].iter().for_each(|name| remove(name));
    assert_eq!(world.on_desired("apply", &[]).status.code(), Some(11));
    assert_eq!(world.committed().len(), 3);
}
