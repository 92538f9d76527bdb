//! Updates, moves and ends: nothing is lost, nothing is handled twice.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Answers every message with the version's mark.
fn marked(mark: &str) -> TestGuest {
    TestGuest::new().handle(&format!(r#"(call $ok_some @"{mark}")"#))
}

#[test]
fn a_standby_takes_no_messages_and_leaves_nothing_when_dropped() {
    let host = Host::new();
    host.run(&Actor::new("a"), &marked("old"));
    let before = host.engine.memory_budget().used_bytes();
    let standby = host.prepare(&Actor::new("a"), &marked("new")).unwrap();
    assert_eq!(host.ask("a", b"?"), Ok(Some(b"old".to_vec())));
    drop(standby);
    assert_eq!(host.engine.memory_budget().used_bytes(), before);
    assert_eq!(host.ask("a", b"?"), Ok(Some(b"old".to_vec())));
}

#[test]
fn an_update_under_load_loses_nothing_doubles_nothing_and_keeps_the_order() {
    const UPDATES: usize = 20;
    let host = Host::new();
    // Checks that the numbers of the host rise by one: 4 bytes at 512 hold the last one, from the config of its version.
    let guest = TestGuest::new().handle(
        r#"(if (i32.ge_u (i32.load (i32.const 512)) (i32.load (local.get $ptr)))
             (then (call $log @"out of order") unreachable))
           (i32.store (i32.const 512) (i32.load (local.get $ptr)))
           (call $ok_some (local.get $ptr) (local.get $len))"#,
    );
    let compiled = host.compile(&guest);
    let actor = Actor::new("a");
    host.activate(host.prepare_compiled(&actor, &compiled).unwrap());
    let over = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut number, mut pending) = (0u32, std::collections::VecDeque::new());
            while !over.load(Ordering::Relaxed) || !pending.is_empty() {
                if pending.len() < 100 && !over.load(Ordering::Relaxed) {
                    number += 1;
                    let payload = number.to_le_bytes().to_vec();
                    pending.push_back((number, host.system.begin_request(&name("a"), payload, PATIENCE).unwrap()));
                } else if let Some((number, reply)) = pending.pop_front() {
                    assert_eq!(bytes(reply.wait()), Ok(Some(number.to_le_bytes().to_vec())));
                }
            }
            u64::from(number)
        });
        for _ in 0..UPDATES {
            let before = host.status("a").counts.handled;
            let standby = host.prepare_compiled(&actor, &compiled).unwrap();
            assert_eq!(host.activate(standby), Switched::Done);
            host.until("messages flow again", || host.status("a").counts.handled > before + 10);
        }
        over.store(true, Ordering::Relaxed);
        client.join().unwrap()
    });
    let status = host.status("a");
    assert_eq!((status.counts.accepted, status.counts.handled, status.crashes), (sent, sent, 0));
}

#[test]
fn an_update_during_a_call_waits_for_it_and_the_next_message_finds_the_new_version() {
    let host = Host::new();
    let slow = TestGuest::new().handle("(loop $l (br $l)) unreachable");
    host.run(&Actor::new("a").limits(|limits| limits.call = Millis(100)), &slow);
    let in_hand = host.system.begin_request(&name("a"), Vec::new(), PATIENCE).unwrap();
    host.until("it is in hand", || host.status("a").mailbox_messages == 0);
    let waiting = host.system.begin_request(&name("a"), Vec::new(), PATIENCE).unwrap();
    host.run(&Actor::new("a"), &marked("new"));
    assert!(matches!(in_hand.wait(), Err(CallError::Crashed(_))));
    assert_eq!(bytes(waiting.wait()), Ok(Some(b"new".to_vec())));
    let status = host.status("a");
    assert_eq!((status.phase, status.crashes), (ActorPhase::Running, 0), "the crash was the old version's");
}

#[test]
fn an_update_of_a_crashed_actor_brings_it_back_at_once_with_its_messages() {
    let host = Host::new();
    let mut actor = Actor::new("a");
    actor.supervision.backoff = Millis(60_000);
    host.run(&actor, &TestGuest::new().handle("unreachable"));
    assert!(matches!(host.ask("a", b"x"), Err(CallError::Crashed(_))));
    assert_eq!(host.status("a").phase, ActorPhase::Backoff);
    let waiting = host.system.begin_request(&name("a"), Vec::new(), PATIENCE).unwrap();
    host.run(&actor, &marked("new"));
    assert_eq!(bytes(waiting.wait()), Ok(Some(b"new".to_vec())));
}

#[test]
fn a_replaced_instance_hears_that_it_ends() {
    let host = Host::new();
    host.run(&Actor::new("a"), &TestGuest::new().shutdown(r#"(call $log @"goodbye")"#));
    host.run(&Actor::new("a"), &marked("new"));
    host.until("it says goodbye", || host.log_text("a").contains("goodbye"));
}

#[test]
fn an_update_changes_limits_triggers_and_receivers() {
    let host = Host::new();
    host.run(&Actor::new("a").every(1), &marked("old"));
    host.until("it ticks", || host.status("a").counts.handled > 0);
    host.run(&Actor::new("a").limits(|limits| limits.message = ByteSize(1)), &marked("new"));
    let handled = host.status("a").counts.accepted;
    assert_eq!(host.ask("a", b"xx"), Err(CallError::TooLarge(1)));
    // A round trip lies behind every tick that came before it.
    host.ask("a", b"x").unwrap();
    assert_eq!(host.status("a").counts.accepted, handled + 1, "no tick came from the old version");
}

#[test]
fn a_move_keeps_mailbox_and_counts_under_the_new_name() {
    let host = Host::new();
    host.run(&Actor::new("old-name"), &marked("old"));
    host.ask("old-name", b"x").unwrap();
    let standby = host.prepare(&Actor::new("new-name"), &marked("new")).unwrap();
    let moved_from = Some(name("old-name"));
    assert_eq!(host.system.switch(vec![Switch::Activate { standby, moved_from }]), [Switched::Done]);
    assert_eq!(host.ask("old-name", b"x"), Err(CallError::NoSuchTarget));
    assert_eq!(host.ask("new-name", b"x"), Ok(Some(b"new".to_vec())));
    assert_eq!(host.status("new-name").counts.handled, 2);
    let phases = host.system.phases();
    assert_eq!(phases, [(name("new-name"), ActorPhase::Running)]);
}

#[test]
fn a_stop_works_off_what_waits_and_takes_nothing_more() {
    let host = Host::new();
    host.run(&Actor::new("a"), &echo());
    let pending: Vec<PendingReply> =
        (0..500).map(|_| host.system.begin_request(&name("a"), b"x".to_vec(), PATIENCE).unwrap()).collect();
    assert_eq!(host.stop("a"), Switched::Done);
    for reply in pending {
        assert_eq!(bytes(reply.wait()), Ok(Some(b"x".to_vec())));
    }
    assert_eq!(host.stop("a"), Switched::NotThere);
}

#[test]
fn what_is_not_worked_off_in_time_is_dead_with_a_reason() {
    let host = Host::new();
    let slow = TestGuest::new().handle("(loop $l (br $l)) unreachable");
    let mut actor = Actor::new("a").limits(|limits| {
        limits.call = Millis(30_000);
        limits.drain = Millis(20);
        limits.stop = Millis(100);
    });
    actor.supervision.max_restarts = 1000;
    host.run(&actor, &slow);
    let pending: Vec<PendingReply> =
        (0..3).map(|_| host.system.begin_request(&name("a"), Vec::new(), PATIENCE).unwrap()).collect();
    host.until("one is in hand", || host.status("a").mailbox_messages == 2);
    // The call in hand began before the stop and has its own time; a host that cannot wait for it ends it.
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| host.stop("a"));
        host.until("it takes nothing more", || {
            host.system.status(&name("a")).is_none_or(|status| status.phase == ActorPhase::Stopping)
        });
        host.engine.expire_running_calls();
        assert_eq!(stop.join().unwrap(), Switched::Done);
    });
    let replies: Vec<Reply> = pending.into_iter().map(|pending| bytes(pending.wait())).collect();
    assert!(
        matches!(&replies[..], [Err(CallError::Crashed(_)), Err(CallError::Stopped), Err(CallError::Stopped)]),
        "{replies:?}"
    );
}

#[test]
fn a_name_can_be_used_again_after_a_stop() {
    let host = Host::new();
    host.run(&Actor::new("a"), &marked("first"));
    host.stop("a");
    host.run(&Actor::new("a"), &marked("second"));
    assert_eq!(host.ask("a", b"x"), Ok(Some(b"second".to_vec())));
    assert_eq!(host.status("a").counts.accepted, 1);
}

#[test]
fn all_actors_stop_within_the_bound() {
    let host = Host::new();
    let names = ["a", "b", "c", "d"];
    for own in names {
        host.run(&Actor::new(own), &TestGuest::new().shutdown(r#"(call $log @"goodbye")"#));
    }
    assert!(host.system.stop_all(Duration::from_secs(30)));
    assert_eq!(host.system.phases(), []);
    for own in names {
        assert!(host.log_text(own).contains("goodbye"), "{own}");
    }
}

#[test]
fn what_others_depend_on_stops_after_them() {
    let host = Host::new();
    let mut first = Actor::new("first");
    first.depends_on = vec!["second"];
    let mut second = Actor::new("second");
    second.depends_on = vec!["third"];
    let mut circle = Actor::new("circle");
    circle.depends_on = vec!["circle"];
    let said = |mark: &str| TestGuest::new().shutdown(&format!(r#"(call $log @"{mark}")"#));
    for actor in [Actor::new("third"), second, first, circle] {
        host.run(&actor, &said("goodbye"));
    }
    assert!(host.system.stop_all(Duration::from_secs(30)));
    let ended = |own: &str| host.log(own).iter().find(|line| line.message == "stopped").unwrap().ts_ms;
    assert!(ended("first") <= ended("second") && ended("second") <= ended("third"));
    assert!(host.log_text("circle").contains("goodbye"));
}

#[test]
fn a_second_stop_ends_at_once_even_if_guests_will_not() {
    let host = Host::new();
    let stubborn = TestGuest::new().handle("(loop $l (br $l)) unreachable").shutdown("(loop $l (br $l))");
    for own in ["a", "b"] {
        let actor = Actor::new(own).limits(|limits| {
            limits.call = Millis(30_000);
            limits.stop = Millis(30_000);
        });
        host.run(&actor, &stubborn);
        host.system.send_from_host(&name(own), Vec::new()).unwrap();
    }
    let start = Instant::now();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| host.system.stop_all(Duration::from_secs(60)));
        host.until("the first has begun", || {
            host.system.phases().iter().all(|(_, phase)| *phase == ActorPhase::Stopping)
        });
        host.system.stop_all(Duration::from_secs(60));
        first.join().unwrap();
    });
    drop(host);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn a_dropped_system_ends_its_threads_and_gives_all_memory_back() {
    let host = Host::new();
    host.run(&Actor::new("a").every(1), &echo());
    let mut looped = Actor::new("b");
    looped.links = vec![("next", "b")];
    host.run(&looped, &TestGuest::new().handle("(loop $l (br $l)) unreachable"));
    host.system.send_from_host(&name("b"), Vec::new()).unwrap();
    let Host { system, engine, .. } = host;
    let core = Arc::downgrade(&system.core);
    drop(system);
    assert_eq!(core.strong_count(), 0, "nothing holds on to the actors");
    assert_eq!(engine.memory_budget().used_bytes(), 0);
}

#[test]
fn an_actor_that_makes_place_for_others_after_its_last_message_still_ends() {
    let host = Host::with(|config| config.workers = Some(std::num::NonZeroUsize::MIN));
    // Far longer than an actor holds a thread while others wait.
    let slow = TestGuest::new().handle(
        r#"(local.set $i (i32.const 100000000))
           (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
           (call $ok_none)"#,
    );
    host.run(&Actor::new("a"), &slow);
    let asked = [(); 2].map(|()| host.system.begin_request(&name("a"), Vec::new(), PATIENCE).unwrap());
    host.until("the first is in hand", || host.status("a").mailbox_messages == 1);
    assert_eq!(host.stop("a"), Switched::Done);
    assert_eq!(asked.map(PendingReply::wait), [Ok(None), Ok(None)]);
}
