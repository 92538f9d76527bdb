//! A refused action leaves its installation exactly as it was, and nothing is committed that rests on it.

use super::{PATIENCE, World, answering, ask, name, pass, until};
use crate::reconcile::{Pass, Reconciler};
use crate::test_guest::TestGuest;

/// Does not start.
fn broken() -> TestGuest {
    TestGuest::new().init("(call $init_error @\"no\")")
}

/// Installs these, each with an answer of its own.
fn installed(world: &World, names: &[&str]) -> Reconciler {
    for who in names {
        world.publish(who, 1, &answering(who));
        world.desire(who, "", "");
    }
    let mut reconciler = world.reconciler();
    assert_eq!(pass(&mut reconciler, world).summary.done as usize, names.len(), "{}", world.told());
    reconciler
}

fn failures(pass: &Pass) -> Vec<(&str, &str)> {
    let mut failures: Vec<_> = pass.failed.iter().map(|f| (f.action.name.as_str(), f.why.code.as_str())).collect();
    failures.sort_unstable();
    failures
}

fn depends_on(reconciler: &Reconciler, who: &str) -> Vec<String> {
    let needs = &reconciler.committed().records[&name(who)].record.spec.depends_on;
    needs.iter().map(ToString::to_string).collect()
}

/// Whether its committed slot and its instance are these ones.
fn as_it_is(reconciler: &Reconciler, who: &str) -> (crate::generation::Slot, Option<u64>) {
    let instance = reconciler.actors().status(&name(who)).unwrap().instance;
    (reconciler.committed().generation.entries[&name(who)], instance)
}

#[test]
fn nothing_starts_while_what_it_depends_on_waits_for_its_next_attempt() {
    let world = World::new();
    world.publish("a", 1, &broken());
    world.publish("b", 1, &answering("b"));
    world.desire("a", "", "");
    let mut reconciler = world.reconciler();
    assert_eq!(failures(&pass(&mut reconciler, &world)), [("a", "init-refused")]);

    world.desire("b", "depends-on = [\"a\"]", "");
    let waits = pass(&mut reconciler, &world);
    assert_eq!((waits.summary.done, failures(&waits)), (0, vec![]), "{}", world.told());
    assert_eq!(waits.waiting[&name("b")].0.code, "dependency-failed");
    assert!(reconciler.committed().records.is_empty(), "{}", world.told());

    world.publish("a", 2, &answering("a"));
    assert_eq!(pass(&mut reconciler, &world).summary.done, 2, "{}", world.told());
    assert_eq!(ask(&reconciler, "b").as_deref(), Some(&b"b"[..]));
}

#[test]
fn a_new_dependency_is_not_committed_when_it_failed() {
    let world = World::new();
    let mut reconciler = installed(&world, &["c"]);
    let before = as_it_is(&reconciler, "c");
    world.publish("a", 1, &broken());
    world.desire("a", "", "");
    world.desire("c", "depends-on = [\"a\"]", "");
    let refused = pass(&mut reconciler, &world);
    assert_eq!(failures(&refused), [("a", "init-refused"), ("c", "dependency-failed")]);
    assert_eq!(as_it_is(&reconciler, "c"), before);
    let again = pass(&mut reconciler, &world);
    assert_eq!((again.summary.done, failures(&again)), (0, vec![]), "both wait: {}", world.told());
    assert!(depends_on(&reconciler, "c").is_empty());

    world.publish("a", 2, &answering("a"));
    assert_eq!(pass(&mut reconciler, &world).summary.done, 2, "{}", world.told());
    assert_eq!(depends_on(&reconciler, "c"), ["a"]);
}

#[test]
fn what_a_refused_update_still_needs_is_not_taken_away_in_the_same_commit() {
    let world = World::new();
    let mut reconciler = installed(&world, &["d", "r"]);
    world.desire("r", "depends-on = [\"d\"]", "");
    pass(&mut reconciler, &world);
    assert_eq!(depends_on(&reconciler, "r"), ["d"]);
    let before = as_it_is(&reconciler, "r");

    world.publish("r", 2, &TestGuest::new().init("unreachable"));
    world.desire("r", "", "");
    world.desire("d", "enabled = false", "");
    let refused = pass(&mut reconciler, &world);
    assert_eq!(failures(&refused), [("d", "still-needed"), ("r", "init-crashed")], "{}", world.told());
    assert_eq!(as_it_is(&reconciler, "r"), before);
    assert_eq!(ask(&reconciler, "d").as_deref(), Some(&b"d"[..]));
    // From here on the plan says that one is held and the other stops.
    let held = pass(&mut reconciler, &world);
    assert_eq!((held.summary.done, held.plan.exit_code()), (1, 12), "{}", held.plan.text());
    assert_eq!(reconciler.actors().phase(&name("d")), None);
    assert_eq!(as_it_is(&reconciler, "r"), before);
}

#[test]
fn of_two_contents_that_change_places_the_one_that_fails_stays_with_its_storage() {
    let world = World::new();
    let mut reconciler = installed(&world, &["a", "b"]);
    let before = as_it_is(&reconciler, "a");
    world.publish("b", 2, &broken());
    let text = |who: &str| std::fs::read_to_string(world.desired().join(format!("{who}.toml"))).unwrap();
    let (a, b) = (text("a"), text("b"));
    std::fs::write(world.desired().join("a.toml"), b).unwrap();
    std::fs::write(world.desired().join("b.toml"), a).unwrap();
    let other = as_it_is(&reconciler, "b");
    let refused = pass(&mut reconciler, &world);
    assert_eq!((refused.summary.done, failures(&refused)), (1, vec![("a", "init-refused")]), "{}", world.told());
    assert_eq!(as_it_is(&reconciler, "a"), before);
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"a"[..]));
    assert_eq!(ask(&reconciler, "b").as_deref(), Some(&b"a"[..]), "its own change was carried out");
    assert_ne!(as_it_is(&reconciler, "b").0.storage_id, other.0.storage_id, "another package, another storage");
}

#[test]
fn names_that_change_places_by_moved_from_are_refused_and_stay() {
    let world = World::new();
    let mut reconciler = installed(&world, &["a", "b"]);
    let before = (as_it_is(&reconciler, "a"), as_it_is(&reconciler, "b"));
    let text = |who: &str| std::fs::read_to_string(world.desired().join(format!("{who}.toml"))).unwrap();
    let (a, b) = (text("a"), text("b"));
    std::fs::write(world.desired().join("a.toml"), format!("moved-from = \"b\"\n{b}")).unwrap();
    std::fs::write(world.desired().join("b.toml"), format!("moved-from = \"a\"\n{a}")).unwrap();
    let refused = pass(&mut reconciler, &world);
    assert_eq!((refused.summary.done, refused.plan.exit_code()), (0, 12), "{}", refused.plan.text());
    assert_eq!((as_it_is(&reconciler, "a"), as_it_is(&reconciler, "b")), before);
}

#[test]
fn a_move_that_fails_takes_nobody_along_who_wants_the_new_name() {
    let world = World::new();
    let mut reconciler = installed(&world, &["a", "c"]);
    world.desire("c", "depends-on = [\"a\"]", "");
    pass(&mut reconciler, &world);
    let before = (as_it_is(&reconciler, "a"), as_it_is(&reconciler, "c"));

    world.publish("a", 2, &broken());
    let text = std::fs::read_to_string(world.desired().join("a.toml")).unwrap();
    std::fs::write(world.desired().join("b.toml"), format!("moved-from = \"a\"\n{text}")).unwrap();
    std::fs::remove_file(world.desired().join("a.toml")).unwrap();
    world.desire("c", "depends-on = [\"b\"]", "");
    let mut refused = pass(&mut reconciler, &world);
    until("the attempt to move", || {
        if refused.failed.is_empty() {
            refused = pass(&mut reconciler, &world);
        }
        !refused.failed.is_empty()
    });
    assert_eq!(failures(&refused), [("b", "init-refused"), ("c", "dependency-failed")], "{}", world.told());
    assert_eq!((as_it_is(&reconciler, "a"), as_it_is(&reconciler, "c")), before);
    assert_eq!(depends_on(&reconciler, "c"), ["a"]);
    assert!(!reconciler.committed().records.contains_key(&name("b")));

    world.publish("a", 3, &answering("moved"));
    until("the move", || {
        pass(&mut reconciler, &world);
        depends_on(&reconciler, "c") == ["b"]
    });
    assert_eq!(ask(&reconciler, "b").as_deref(), Some(&b"moved"[..]));
}

/// Lets it crash three times.
fn crash(reconciler: &Reconciler, who: &str) {
    for crashes in 1..=3 {
        let _ = reconciler.actors().send_from_host(&name(who), b"boom".to_vec());
        until("a crash", || reconciler.actors().status(&name(who)).is_some_and(|s| s.crashes >= crashes));
    }
}

const SOON: &str = "[supervision]\nbackoff = \"10ms\"\nbackoff-max = \"20ms\"";

#[test]
fn a_way_back_that_fails_holds_nothing() {
    let world = World::new();
    world.publish("a", 1, &answering("good"));
    world.desire("a", "", SOON);
    let mut reconciler = world.reconciler();
    pass(&mut reconciler, &world);
    world.publish("a", 2, &TestGuest::new().handle("unreachable"));
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());

    let keys = format!("keys = [\"{}\"]", world.key.public());
    world.trust(&keys, "[[revoked]]\npackage = \"test:a\"\nversion = \"=1.0.1\"\n");
    crash(&reconciler, "a");
    pass(&mut reconciler, &world);
    assert!(world.told().contains("revoked"), "it may not go back: {}", world.told());
    let generation = &reconciler.committed().generation;
    assert!(generation.holds.is_empty(), "what is installed is not held: {:?}", generation.holds);
    assert_eq!(reconciler.committed().records[&name("a")].record.artifact.sequence, 2);
}

#[test]
fn a_refused_config_leaves_the_update_before_it_under_watch() {
    let world = World::new();
    world.publish("a", 1, &answering("good"));
    let config = |n: u8| world.desire("a", "", &format!("[config]\nn = {n}\n{SOON}"));
    config(1);
    let mut reconciler = world.reconciler();
    pass(&mut reconciler, &world);
    let refuses = TestGuest::new().handle("unreachable").reconfigure("(call $init_error @\"never\")");
    world.publish("a", 2, &refuses);
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());

    config(7);
    assert_eq!(failures(&pass(&mut reconciler, &world)), [("a", "reconfigure-refused")], "{}", world.told());
    config(1);
    assert_eq!(pass(&mut reconciler, &world).summary.done, 0, "it goes on as it was: {}", world.told());
    crash(&reconciler, "a");
    let back = pass(&mut reconciler, &world);
    assert!(world.told().contains("1.0.2 -> 1.0.1"), "{}", world.told());
    assert_eq!(back.plan.exit_code(), 12, "what failed is held");
    let answer = reconciler.actors().request_from_host(&name("a"), b"?".to_vec(), PATIENCE).unwrap();
    assert_eq!(answer.map(|reply| reply.bytes).as_deref(), Some(&b"good"[..]));
}
