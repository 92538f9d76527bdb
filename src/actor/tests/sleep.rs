//! Actors without an instance: who may sleep, what wakes them, and that nobody notices.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Longer than any test.
const NEVER_BY_ITSELF: Duration = Duration::from_secs(86_400);

/// Answers with how many messages its memory has seen, and says when it is shut down.
fn counter() -> TestGuest {
    TestGuest::new()
        .functions("(global $seen (mut i32) (i32.const 0))")
        .handle(
            r"(global.set $seen (i32.add (global.get $seen) (i32.const 1)))
              (call $byte (global.get $seen))",
        )
        .shutdown(r#"(call $log @"shut down")"#)
}

fn host() -> Host {
    Host::with(|config| config.sleep_after = NEVER_BY_ITSELF)
}

/// What the timer does, twice: the first look only sees how many messages there were.
fn look_twice(host: &Host, actor: &str) {
    let cell = host.system.core.registry.get(&name(actor)).unwrap();
    cell.sleep_if_idle(&host.system.core);
    cell.sleep_if_idle(&host.system.core);
}

#[test]
fn a_stateless_actor_goes_without_an_instance_until_the_next_message() {
    let host = host();
    host.run(&Actor::new("a").stateless(), &counter());
    assert_eq!(host.ask("a", b""), Ok(Some(vec![1])));
    assert_eq!(host.ask("a", b""), Ok(Some(vec![2])));
    let before = host.status("a");
    assert!(!before.asleep && before.memory_bytes > 0);

    look_twice(&host, "a");
    host.until("it sleeps", || host.status("a").asleep);
    let asleep = host.status("a");
    assert_eq!((asleep.phase, asleep.instance, asleep.memory_bytes), (ActorPhase::Running, None, 0));
    host.until("it was shut down", || host.log_text("a").contains("shut down"));

    assert_eq!(host.ask("a", b""), Ok(Some(vec![1])), "a new instance");
    let awake = host.status("a");
    assert!(!awake.asleep && awake.instance > before.instance);
    assert_eq!((awake.restarts, awake.crashes, awake.counts.handled), (0, 0, 3));
}

#[test]
fn the_timer_finds_who_is_idle() {
    let host = Host::with(|config| config.sleep_after = Duration::from_millis(1));
    host.run(&Actor::new("a").stateless(), &counter());
    host.until("it sleeps", || host.status("a").asleep);
    assert_eq!(host.ask("a", b""), Ok(Some(vec![1])));
    host.until("it sleeps again", || host.status("a").asleep);
}

#[test]
fn who_keeps_something_in_memory_or_waits_for_an_answer_does_not_sleep() {
    let host = host();
    host.run(&Actor::new("a"), &counter());
    assert_eq!(host.ask("a", b""), Ok(Some(vec![1])));
    look_twice(&host, "a");
    assert_eq!(host.ask("a", b""), Ok(Some(vec![2])), "the same instance");

    let soon = |limits: &mut Limits| limits.call = Millis(500);
    host.run(&Actor::new("slow").limits(soon), &TestGuest::new().handle("(loop $l (br $l)) unreachable"));
    let asker = TestGuest::new()
        .handle(r#"(drop (call $request @"slow" (i32.const 0) (i32.const 0) (i64.const 0))) (call $ok_none)"#)
        .callback(r#"(call $log @"answered") (call $ok_unit)"#);
    host.run(&Actor::new("asker").stateless(), &asker);
    let instance = host.status("asker").instance;
    assert_eq!(host.ask("asker", b""), Ok(None));
    look_twice(&host, "asker");
    host.until("the answer comes", || host.log_text("asker").contains("answered"));
    assert_eq!(host.status("asker").instance, instance);
}

#[test]
fn nothing_is_lost_or_turned_around_while_actors_fall_asleep_all_the_time() {
    let host = host();
    host.run(&Actor::new("a").stateless(), &echo());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                look_twice(&host, "a");
            }
        });
        for round in 0..200u32 {
            let bytes = |n: u32| (round * 10 + n).to_le_bytes().to_vec();
            let pending: Vec<_> =
                (0..10).map(|n| host.system.begin_request(&name("a"), bytes(n), PATIENCE).unwrap()).collect();
            for (n, reply) in (0..).zip(pending) {
                assert_eq!(super::bytes(reply.wait()), Ok(Some(bytes(n))));
            }
            if round % 20 == 0 {
                host.until("it sleeps", || host.status("a").asleep);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let status = host.status("a");
    assert_eq!((status.counts.accepted, status.counts.handled, status.crashes), (2_000, 2_000, 0));
    host.until("it sleeps", || {
        look_twice(&host, "a");
        host.status("a").asleep
    });
    assert_eq!(host.ask("a", b""), Ok(Some(Vec::new())));
    assert!(host.status("a").instance.unwrap() > 10, "an instance for each time that it woke up");
}

#[test]
fn a_sleeping_actor_is_updated_and_stopped_like_any_other() {
    let host = host();
    host.run(&Actor::new("a").stateless(), &counter());
    look_twice(&host, "a");
    host.until("it sleeps", || host.status("a").asleep);
    host.run(&Actor::new("a").stateless(), &echo());
    assert_eq!(host.ask("a", b"new"), Ok(Some(b"new".to_vec())));
    look_twice(&host, "a");
    host.until("it sleeps", || host.status("a").asleep);
    assert_eq!(host.stop("a"), Switched::Done);
    assert!(host.system.status(&name("a")).is_none());
}
