//! What passes do, with installs, updates, moves and failures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{PATIENCE, World, answering, ask, name, pass, until};
use crate::actor::ActorPhase;
use crate::observed::Phase;
use crate::reconcile::{Reconciler, reconciler};
use crate::test_guest::TestGuest;

#[test]
fn a_version_that_crashes_three_times_goes_back_and_is_not_tried_again() {
    let world = World::new();
    world.publish("a", 1, &answering("good"));
    world.desire("a", "", "[supervision]\nbackoff = \"10ms\"\nbackoff-max = \"20ms\"");
    let mut reconciler = world.reconciler();
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"good"[..]));

    world.publish("a", 2, &TestGuest::new().handle("unreachable"));
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    for crashes in 1..=3 {
        let _ = reconciler.actors().send_from_host(&name("a"), b"boom".to_vec());
        until("a crash", || reconciler.actors().status(&name("a")).is_some_and(|s| s.crashes >= crashes));
    }
    let after = pass(&mut reconciler, &world);
    assert!(world.told().contains("1.0.2 -> 1.0.1"), "{}", world.told());
    assert!(world.told().contains("ended 3 times"), "{}", world.told());
    assert_eq!(after.plan.exit_code(), 12, "the failed target is held");
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"good"[..]));
    let generation = reconciler.committed().generation.number;
    assert_eq!(pass(&mut reconciler, &world).summary.done, 0);
    assert_eq!(reconciler.committed().generation.number, generation, "nothing flaps");

    world.publish("a", 3, &answering("better"));
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"better"[..]));
}

#[test]
fn a_disabled_installation_stops_stays_committed_and_comes_back() {
    let world = World::new();
    world.publish("a", 1, &answering("x"));
    world.desire("a", "", "");
    let mut reconciler = world.reconciler();
    pass(&mut reconciler, &world);
    world.desire("a", "enabled = false", "");
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert_eq!(reconciler.actors().phase(&name("a")), None);
    assert!(reconciler.committed().records.contains_key(&name("a")));
    assert_eq!(pass(&mut reconciler, &world).summary.done, 0);
    world.desire("a", "enabled = true", "");
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"x"[..]));
}

#[test]
fn an_actor_that_is_gone_is_drift_and_is_started_again() {
    let world = World::new();
    world.publish("a", 1, &answering("x"));
    world.desire("a", "", "");
    let mut reconciler = world.reconciler();
    pass(&mut reconciler, &world);
    let generation = reconciler.committed().generation.number;
    reconciler.actors().switch(vec![crate::actor::Switch::Stop(name("a"))]);
    assert_eq!(reconciler.observe().installed[&name("a")].phase, Phase::Stopped);
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert_eq!(reconciler.actors().phase(&name("a")), Some(ActorPhase::Running));
    assert_eq!(reconciler.committed().generation.number, generation, "a restart commits nothing");
}

#[test]
fn what_a_steady_pass_keeps_of_its_look_is_what_a_fresh_look_finds() {
    let world = World::new();
    for installation in ["a", "b"] {
        world.publish(installation, 1, &answering("x"));
        world.desire(installation, "", "");
    }
    let mut reconciler = world.reconciler();
    let agrees = |reconciler: &mut Reconciler| {
        let actors = reconciler.actors().clone();
        let kept = std::mem::take(&mut reconciler.observed);
        let after = reconciler.committed().observe_after(kept.clone(), |name| reconciler::phase(&actors, name));
        assert_eq!(after, reconciler.observe());
        reconciler.observed = kept;
        after
    };
    pass(&mut reconciler, &world);
    assert_eq!(agrees(&mut reconciler).installed.len(), 2, "the look before the commit found nothing");
    assert_eq!(pass(&mut reconciler, &world).summary.done, 0);
    reconciler.actors().switch(vec![crate::actor::Switch::Stop(name("a"))]);
    assert_eq!(agrees(&mut reconciler).installed[&name("a")].phase, Phase::Stopped);
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert_eq!(agrees(&mut reconciler).installed[&name("a")].phase, Phase::Running);
    world.desire("b", "enabled = false", "");
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert!(!agrees(&mut reconciler).installed[&name("b")].record.spec.enabled);
}

#[test]
fn an_install_that_fails_waits_longer_each_time_and_a_new_release_is_tried_at_once() {
    let world = World::new();
    world.publish("a", 1, &TestGuest::new().init("(call $init_error @\"no\")"));
    world.desire("a", "", "");
    let mut reconciler = world.reconciler();
    let first = pass(&mut reconciler, &world);
    assert_eq!((first.failed.len(), first.committed), (1, false), "{}", world.told());
    assert!(first.look_again_in.is_some_and(|wait| wait <= Duration::from_secs(1)));
    assert!(first.waiting.contains_key(&name("a")));
    assert_eq!(pass(&mut reconciler, &world).failed.len(), 0, "it waits for its next attempt");
    world.publish("a", 2, &answering("x"));
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
}

#[test]
fn a_source_that_is_away_is_waited_for_also_when_nothing_changed_since_the_last_look() {
    let world = World::new();
    world.desire("a", "", "");
    let mut reconciler = world.reconciler();
    for look in 0..3 {
        let looked = pass(&mut reconciler, &world);
        assert!(looked.look_again_in.is_some() && reconciler.resolver.lacks_file(), "look {look}: {}", world.told());
    }
    world.publish("a", 1, &answering("x"));
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert!(!reconciler.resolver.lacks_file());
}

#[test]
fn t14_what_a_revoked_key_signed_does_not_start_again() {
    let world = World::new();
    world.publish("a", 1, &answering("x"));
    world.desire("a", "", "");
    let mut reconciler = world.reconciler();
    pass(&mut reconciler, &world);
    drop(reconciler);

    let key = world.key.public();
    world.trust(&format!("keys = [\"{key}\"]"), &format!("[[revoked]]\nkey = \"{key}\"\n"));
    let mut reconciler = world.reconciler();
    assert_eq!(reconciler.start_committed(), 0);
    assert!(world.told().contains("revoked"), "{}", world.told());
    let after = pass(&mut reconciler, &world);
    assert_eq!((after.summary.done, after.plan.exit_code()), (0, 12));
    assert!(reconciler.committed().records.contains_key(&name("a")), "it stays committed");
}

#[test]
fn a_restart_runs_what_was_committed_though_its_files_are_gone() {
    let world = World::new();
    world.publish("a", 1, &answering("x"));
    world.desire("a", "", "");
    let mut reconciler = world.reconciler();
    pass(&mut reconciler, &world);
    drop(reconciler);
    std::fs::remove_dir_all(world.dir.path().join("components")).unwrap();
    let mut reconciler = world.reconciler();
    assert_eq!(reconciler.start_committed(), 1, "{}", world.told());
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"x"[..]));
    let after = pass(&mut reconciler, &world);
    assert_eq!((after.summary.done, after.plan.exit_code()), (0, 12), "its source is missing: held");
}

#[test]
fn an_update_under_load_loses_no_accepted_message_and_keeps_their_order() {
    let world = World::new();
    world.publish("a", 1, &answering("one"));
    world.desire("a", "", "");
    let mut reconciler = world.reconciler();
    pass(&mut reconciler, &world);
    let actors = reconciler.actors().clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asker = std::thread::spawn({
        let (actors, stop) = (actors.clone(), stop.clone());
        move || {
            let mut answers = Vec::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let answer = actors.request_from_host(&name("a"), b"?".to_vec(), PATIENCE);
                answers.push(String::from_utf8(answer.unwrap().unwrap().bytes).unwrap());
            }
            answers
        }
    });
    for sequence in 2..6 {
        world.publish("a", sequence, &answering(&format!("{sequence}")));
        assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let answers = asker.join().unwrap();
    let versions: Vec<&String> = answers.iter().collect::<BTreeSet<_>>().into_iter().collect();
    let mut order: Vec<&String> = answers.iter().collect();
    order.dedup();
    assert_eq!(order.len(), versions.len(), "no answer of an old version after one of a newer: {order:?}");
    let counts = actors.status(&name("a")).unwrap().counts;
    assert_eq!((counts.accepted, counts.dead()), (answers.len() as u64, 0));
}

#[test]
fn a_move_leaves_no_actor_under_the_old_name() {
    let world = World::new();
    world.publish("a", 1, &answering("x"));
    world.desire("a", "", "");
    let mut reconciler = world.reconciler();
    pass(&mut reconciler, &world);
    let storage = reconciler.committed().generation.entries[&name("a")].storage_id;
    let text = std::fs::read_to_string(world.desired().join("a.toml")).unwrap();
    std::fs::write(world.desired().join("b.toml"), format!("moved-from = \"a\"\n{text}")).unwrap();
    std::fs::remove_file(world.desired().join("a.toml")).unwrap();
    until("the move", || {
        pass(&mut reconciler, &world);
        reconciler.committed().records.contains_key(&name("b"))
    });
    assert_eq!(reconciler.actors().phase(&name("a")), None, "{}", world.told());
    assert_eq!(ask(&reconciler, "b").as_deref(), Some(&b"x"[..]));
    assert_eq!(reconciler.committed().generation.entries[&name("b")].storage_id, storage);
    assert_eq!(pass(&mut reconciler, &world).summary.done, 0, "{}", world.told());
}

#[test]
fn what_waits_for_a_dependency_that_failed_is_not_held_against_it() {
    let world = World::new();
    for who in ["a", "b"] {
        world.publish(who, 1, &answering("x"));
    }
    world.desire("a", "", "");
    world.desire("b", "depends-on = [\"a\"]", "");
    let mut reconciler = world.reconciler();
    assert_eq!(pass(&mut reconciler, &world).summary.done, 2, "{}", world.told());
    world.publish("a", 2, &TestGuest::new().init("unreachable"));
    world.publish("b", 2, &answering("y"));
    assert_eq!(pass(&mut reconciler, &world).failed.len(), 2, "{}", world.told());
    let held: Vec<_> = reconciler.committed().generation.holds.keys().cloned().collect();
    assert_eq!(held, [name("a")], "only the one to blame is held");
    until("the update of b", || {
        pass(&mut reconciler, &world);
        ask(&reconciler, "b").as_deref() == Some(b"y")
    });
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"x"[..]));
}

#[test]
fn an_update_that_is_unhealthy_is_never_switched_to_and_is_held() {
    let world = World::new();
    world.publish("a", 1, &answering("good"));
    world.desire("a", "", "");
    let mut reconciler = world.reconciler();
    pass(&mut reconciler, &world);
    world.publish("a", 2, &answering("bad").health(r#"(call $health (i32.const 2) @"no disk")"#));
    let after = pass(&mut reconciler, &world);
    assert_eq!((after.failed.len(), after.failed[0].why.code.as_str()), (1, "unhealthy"), "{}", world.told());
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"good"[..]));
    assert!(reconciler.committed().generation.holds[&name("a")].reason.contains("no disk"));
    world.publish("a", 3, &answering("better").health(r#"(call $health (i32.const 1) @"slow")"#));
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"better"[..]), "a degraded one does part of its work");
}

/// Puts what it gets under `k` and answers with it; `migrate` puts something else there and ends as `then` says.
fn keeping(migrate: Option<&str>) -> TestGuest {
    let guest = TestGuest::new().storage().handle(
        r#"(if (i32.ne (i32.load8_u (local.get $ptr)) (i32.const 63))
             (then (call $host_store @"k" (local.get $ptr) (local.get $len) (i32.const 256))))
           (call $host_load @"k" (i32.const 256))
           (call $ok_some (i32.load (i32.const 268)) (i32.load (i32.const 272)))"#,
    );
    match migrate {
        Some(then) => guest.migrate(&format!(r#"(call $host_store @"k" @"migrated" (i32.const 256)) {then}"#)),
        None => guest,
    }
}

#[test]
fn an_update_that_does_not_take_over_what_is_stored_goes_back_at_once_and_keeps_nothing() {
    let world = World::new();
    let grant = "storage = \"read-write\"";
    world.publish_asking("a", 1, &keeping(None), grant);
    world.desire("a", "", grant);
    let mut reconciler = world.reconciler();
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    reconciler.actors().request_from_host(&name("a"), b"kept".to_vec(), PATIENCE).unwrap();

    world.publish_asking("a", 2, &keeping(Some("(call $init_error @\"too old\")")), grant);
    pass(&mut reconciler, &world);
    let after = pass(&mut reconciler, &world);
    assert!(world.told().contains("1.0.2 -> 1.0.1"), "{}", world.told());
    let held = &reconciler.committed().generation.holds[&name("a")].reason;
    assert!(held.contains("it did not take over what version 1.0.1 stored: too old"), "{held}");
    assert_eq!(after.plan.exit_code(), 12);
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"kept"[..]));

    world.publish_asking("a", 3, &keeping(Some("(call $init_ok)")), grant);
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"migrated"[..]));
}

#[test]
fn a_change_of_the_config_alone_is_told_to_the_running_instance_and_a_refused_one_is_held() {
    let world = World::new();
    let guest = TestGuest::new()
        .handle(
            r#"(call $host_get @"n" (i32.const 256))
               (call $ok_some (i32.load (i32.const 260)) (i32.load (i32.const 264)))"#,
        )
        .reconfigure(
            r#"(if (i32.eq (i32.load8_u (i32.add (local.get $ptr) (i32.const 5))) (i32.const 55))
                 (then (return (call $init_error @"not seven"))))
               (call $init_ok)"#,
        );
    world.publish("a", 1, &guest);
    world.desire("a", "", "[config]\nn = 1");
    let mut reconciler = world.reconciler();
    pass(&mut reconciler, &world);
    let instance = |reconciler: &Reconciler| reconciler.actors().status(&name("a")).unwrap().instance;
    let first = instance(&reconciler);

    world.desire("a", "", "[config]\nn = 2");
    let told = pass(&mut reconciler, &world);
    assert_eq!(told.summary.done, 1, "{}", world.told());
    assert!(told.plan.text().contains("the running instance is told"), "{}", told.plan.text());
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"2"[..]));
    assert_eq!(instance(&reconciler), first);

    world.desire("a", "", "[config]\nn = 7");
    let refused = pass(&mut reconciler, &world);
    assert_eq!((refused.failed.len(), refused.failed[0].why.code.as_str()), (1, "reconfigure-refused"));
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"2"[..]));
    assert_eq!(instance(&reconciler), first, "it goes on as it was");
    assert_eq!(reconciler.committed().records[&name("a")].record.spec.config["n"], 2);
    let again = pass(&mut reconciler, &world);
    assert_eq!((again.summary.done, again.failed.len(), again.plan.exit_code()), (0, 0, 12), "held");

    world.desire("a", "", "[config]\nn = 3\n[limits]\nmailbox = 9");
    assert_eq!(pass(&mut reconciler, &world).summary.done, 1, "{}", world.told());
    assert_ne!(instance(&reconciler), first, "more than the config changed");
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"3"[..]));
    drop(reconciler);
    let mut reconciler = world.reconciler();
    assert_eq!(reconciler.start_committed(), 1);
    assert_eq!(ask(&reconciler, "a").as_deref(), Some(&b"3"[..]));
}
