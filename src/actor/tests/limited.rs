//! Senders that are limited: by a rate of their own, and by what became of their messages.

use super::messages::{TAKEN, answers, linked, sender};
use super::*;

const RATE_EXCEEDED: u8 = 9;
const TARGET_UNAVAILABLE: u8 = 10;

/// Fails with `f`, crashes with `t`, and takes all else.
fn fragile() -> TestGuest {
    TestGuest::new().handle(
        r#"(if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 102)) (then (return (call $error @"no"))))
           (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 116)) (then unreachable))
           (call $ok_none)"#,
    )
}

#[test]
fn a_sender_sends_its_burst_at_once_and_no_more() {
    let host = Host::new();
    // One a second: none comes while the test lasts that it does not wait for.
    let slow = |limits: &mut Limits| (limits.send_rate, limits.send_burst) = (Some(1), Some(3));
    // Fails after it has sent, when it is told to.
    let guest = TestGuest::new().handle(
        r#"(local.set $i (call $send @"next" (local.get $ptr) (local.get $len)))
           (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 102)) (then (return (call $error @"no"))))
           (call $byte (local.get $i))"#,
    );
    host.run(&linked("a", "b").limits(slow), &guest);
    host.run(&Actor::new("b"), &echo());
    for _ in 0..5 {
        assert!(matches!(host.ask("a", b"f"), Err(CallError::Failed(_))), "what did not leave costs nothing");
    }
    let answers: Vec<u8> = (0..4).map(|_| host.ask("a", b"x").unwrap().unwrap()[0]).collect();
    assert_eq!(answers[..3], [TAKEN; 3]);
    assert!([RATE_EXCEEDED, TAKEN].contains(&answers[3]), "{answers:?}");
    host.until("what left came", || host.status("b").counts.handled >= 3);
    // A restart or another limit is no new burst for who sends on.
    host.run(&linked("a", "b"), &guest);
    answers_all(&host, 20);
}

/// Calls a guest until it has used more than `percent` of a second, and holds what it has to its share all the time.
fn stays_within(percent: u64, guest: &TestGuest, limits: impl Fn(&mut Limits), payload: &[u8]) {
    let (host, begun) = (Host::new(), Instant::now());
    let share = |time: Duration| time * u32::try_from(percent).unwrap() / 100;
    let mut actor = Actor::new("a").limits(|limits| limits.max_cpu_percent = Some(percent)).limits(limits);
    actor.supervision =
        Supervision { max_restarts: 100, backoff: Millis(1), backoff_max: Millis(1), ..actor.supervision };
    host.run(&actor, guest);
    let mut used = Duration::ZERO;
    while used < share(Duration::from_millis(1_400)) {
        // How it ends makes no difference.
        let _ = host.ask("a", payload);
        let most = share(Duration::from_secs(1) + begun.elapsed());
        assert!(used <= most, "{used:?} before the last call, {most:?} allowed");
        used = host.status("a").cpu.expect("it is counted").total;
    }
}

#[test]
fn calls_get_their_share_of_a_core_and_a_second_of_it_at_once() {
    let burn = TestGuest::new().handle(
        r#"(local.set $i (i32.const 3000000))
           (loop $on (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $on (local.get $i)))
           (call $ok_none)"#,
    );
    stays_within(10, &burn, |_| (), b"x");
}

#[test]
fn a_crash_is_no_new_share_of_a_core() {
    let spin = TestGuest::new().handle("(loop $on (br $on)) (unreachable)");
    stays_within(20, &spin, |limits| limits.call = Millis(30), b"x");
}

#[test]
fn another_config_is_no_new_share_of_a_core() {
    let host = Host::new();
    let spin = TestGuest::new().handle("(loop $on (br $on)) (unreachable)").reconfigure("(call $init_ok)");
    let limits = |limits: &mut Limits| (limits.max_cpu_percent, limits.call) = (Some(100), Millis(30));
    let mut actor = Actor::new("a").limits(limits);
    actor.supervision =
        Supervision { max_restarts: 1_000, backoff: Millis(1), backoff_max: Millis(1), ..actor.supervision };
    host.run(&actor, &spin);
    let used = || host.status("a").cpu.expect("it is counted").total;
    let burns_until = |most: Duration| {
        for _ in 0..200 {
            let _ = host.ask("a", b"x");
            if used() > most {
                return;
            }
        }
        panic!("200 calls and no more than {:?}", used());
    };
    burns_until(Duration::from_millis(50));
    let before = used();
    actor.config = serde_json::json!({ "n": 2 });
    let record = Arc::new(actor.record(host.compile(&spin).wasm()));
    let config = Arc::new(GuestConfig::new(record.spec.config.clone(), Vec::new()));
    host.until("it runs again", || host.status("a").phase == ActorPhase::Running);
    assert_eq!(host.system.reconfigure(vec![NewConfig { record, config }]), [Ok(())]);
    let after = used();
    assert!(after >= before, "{after:?} after {before:?}");
    burns_until(after + Duration::from_millis(20));
}

#[test]
fn where_no_share_is_set_nothing_is_counted() {
    let host = Host::new();
    host.run(&Actor::new("a"), &echo());
    host.ask("a", b"x").unwrap();
    assert_eq!(host.status("a").cpu, None);
}

/// Fails, traps or runs for ever as often as its storage does not know, and then handles what it gets: `f`, `t` or `l` and
/// the number of times. What it tried is counted in the log.
fn reluctant() -> TestGuest {
    TestGuest::new().handle(
        r#"(call $log (local.get $ptr) (local.get $len))
           (if (i32.eq (local.get $len) (i32.const 1)) (then (return (call $ok_none))))
           (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 116)) (then unreachable))
           (i32.store (i32.const 900) (i32.add (i32.const 1) (i32.load (i32.const 900))))
           (if (i32.lt_u (i32.load (i32.const 900)) (i32.load8_u (i32.add (local.get $ptr) (i32.const 1))))
             (then (return (call $error @"not yet"))))
           (i32.store (i32.const 900) (i32.const 0))
           (call $ok_some (local.get $ptr) (local.get $len))"#,
    )
}

fn retrying(name: &'static str) -> Actor {
    let retries = |limits: &mut Limits| (limits.retries, limits.retry_wait) = (Some(3), Some(Millis(10)));
    let mut actor = Actor::new(name).limits(retries);
    actor.supervision =
        Supervision { max_restarts: 100, backoff: Millis(1), backoff_max: Millis(1), ..actor.supervision };
    actor
}

/// What its guest logged.
fn tried(host: &Host, actor: &str) -> Vec<String> {
    let own = |line: &LogLine| line.source == crate::logs::Source::Guest;
    host.log(actor).into_iter().filter(own).map(|line| line.message).collect()
}

#[test]
fn a_message_is_delivered_again_as_often_as_its_receivers_file_says_and_before_all_others() {
    let host = Host::new();
    host.run(&retrying("a"), &reluctant());
    let first = host.system.begin_request(&name("a"), b"f\x03".to_vec(), PATIENCE).unwrap();
    let second = host.system.begin_request(&name("a"), b"x".to_vec(), PATIENCE).unwrap();
    assert_eq!(bytes(first.wait()), Ok(Some(b"f\x03".to_vec())), "the third delivery is answered");
    assert_eq!(bytes(second.wait()), Ok(None));
    host.until("all is logged", || tried(&host, "a").len() == 4);
    assert_eq!(tried(&host, "a")[3], "x", "nothing overtakes it");
    let counts = host.status("a").counts;
    assert_eq!((counts.accepted, counts.handled, counts.dead()), (2, 2, 0));
    assert!(host.log_text("a").contains("it is delivered again, 2 of 4 were in vain"), "{}", host.log_text("a"));
}

#[test]
fn after_the_last_delivery_or_the_second_crash_it_is_poison_and_all_is_counted_once() {
    let host = Host::new();
    host.run(&retrying("a"), &reluctant());
    assert!(matches!(host.ask("a", b"f\x20"), Err(CallError::Failed(_))));
    assert!(matches!(host.ask("a", b"t."), Err(CallError::Crashed(_))));
    let letters = host.system.dead_letters(10).0;
    let found: Vec<_> = letters.iter().map(|letter| (letter.payload.bytes[0], letter.reason)).collect();
    assert_eq!(found, [(b'f', DeadReason::Poison), (b't', DeadReason::Poison)]);
    host.until("all is logged", || tried(&host, "a").len() == 6);
    assert_eq!(host.ask("a", b"x"), Ok(None), "it goes on");
    let status = host.status("a");
    assert_eq!((status.counts.accepted, status.counts.handled, status.counts.poison), (3, 1, 2));
    assert_eq!((status.mailbox_messages, status.mailbox_bytes, status.crashes), (0, 0, 2));
}

#[test]
fn what_waits_for_its_next_delivery_ends_with_its_time_or_its_actor_and_goes_to_the_next_version() {
    let host = Host::new();
    let slow = |limits: &mut Limits| limits.retry_wait = Some(Millis(60_000));
    let soon = |limits: &mut Limits| (limits.drain, limits.stop) = (Millis(1), Millis(50));
    let waits = |host: &Host| host.until("it waits", || host.status("a").mailbox_messages == 1);
    host.run(&retrying("a").limits(slow), &reluctant());
    let reply = host.system.begin_request(&name("a"), b"f\x20".to_vec(), PATIENCE).unwrap();
    waits(&host);
    host.run(&retrying("a").limits(slow), &echo());
    assert_eq!(bytes(reply.wait()), Ok(Some(b"f\x20".to_vec())), "another version does not wait");
    host.run(&retrying("a").limits(slow).limits(soon), &reluctant());
    let reply = host.system.begin_request(&name("a"), b"f\x20".to_vec(), PATIENCE).unwrap();
    waits(&host);
    host.stop("a");
    assert_eq!(bytes(reply.wait()), Err(CallError::Stopped));
    assert_eq!(host.system.dead_letters(10).0[0].reason, DeadReason::Stopped);
}

#[test]
fn what_messages_in_the_store_do_not_do_is_refused_where_a_file_asks_for_it() {
    let host = Host::new();
    let durable = |change: fn(&mut Limits)| {
        let actor = Actor { delivery: Delivery::Durable, ..Actor::new("a").limits(change) };
        host.prepare(&actor, &echo()).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let again = durable(|limits| (limits.retries, limits.retry_wait) = (Some(1), Some(Millis(10))));
    assert!(again.contains("have retries"), "{again}");
    let dropping = durable(|limits| limits.mailbox_overflow = crate::limits::Overflow::DropOldest);
    assert!(dropping.contains("mailbox-overflow = \"drop-oldest\""), "{dropping}");
    let none = durable(|limits| (limits.retries, limits.retry_wait) = (Some(0), Some(Millis(10))));
    assert!(!none.contains("retries"), "{none}");
}

/// Without a rate everything goes.
fn answers_all(host: &Host, times: u32) {
    for _ in 0..times {
        answers(host, "a", b"x", TAKEN);
    }
}

fn state(host: &Host) -> BreakerState {
    let [(target, state)] = &host.status("a").breakers[..] else { panic!("one breaker") };
    assert_eq!(target.as_str(), "b");
    *state
}

#[test]
fn a_breaker_opens_at_its_threshold_and_closes_when_the_target_is_well_again() {
    let host = Host::new();
    let mut actor = linked("a", "b");
    actor.breaker = Some(Breaker { failure_threshold: 3, success_threshold: 2, open_time: Millis(50) });
    host.run(&actor, &sender());
    let mut target = Actor::new("b");
    target.supervision = Supervision { backoff: Millis(1), backoff_max: Millis(1), ..Supervision::default() };
    host.run(&target, &fragile());
    // One that ends well between those that do not: they are not in a row.
    for (payload, failed) in [(b"f", 1), (b"f", 2), (b"x", 2), (b"f", 3), (b"t", 4)] {
        answers(&host, "a", payload, TAKEN);
        host.until("it ended", || host.status("b").counts.failed == failed);
    }
    host.until("the good one ended", || host.status("b").counts.handled == 1);
    assert_eq!(state(&host), BreakerState::Closed);
    answers(&host, "a", b"f", TAKEN);
    host.until("it opens", || state(&host) != BreakerState::Closed);
    let before = host.status("b").counts.accepted;
    assert_eq!(before, 6);
    host.until("it lets one through", || match host.ask("a", b"x").unwrap().unwrap()[0] {
        TAKEN => true,
        refused => {
            assert_eq!(refused, TARGET_UNAVAILABLE);
            false
        }
    });
    host.until("and one more", || host.ask("a", b"x").unwrap().unwrap()[0] == TAKEN);
    host.until("it closes", || state(&host) == BreakerState::Closed);
    assert_eq!(host.status("b").counts.rejected, 0, "what the breaker stops never comes near the mailbox");
}

#[test]
fn other_targets_and_other_senders_have_their_own() {
    let host = Host::new();
    let mut actor = linked("a", "b");
    actor.links.push(("other", "c"));
    actor.breaker = Some(Breaker { failure_threshold: 1, success_threshold: 1, open_time: Millis(3_600_000) });
    let guest = TestGuest::new().handle(
        r#"(if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 120))
             (then (return (call $byte (call $send @"other" (local.get $ptr) (local.get $len))))))
           (call $byte (call $send @"next" (local.get $ptr) (local.get $len)))"#,
    );
    host.run(&actor, &guest);
    host.run(&linked("d", "b"), &sender());
    host.run(&Actor::new("b"), &fragile());
    host.run(&Actor::new("c"), &echo());
    answers(&host, "a", b"f", TAKEN);
    host.until("it opens", || host.status("a").breakers.iter().any(|(_, state)| *state == BreakerState::Open));
    answers(&host, "a", b"y", TARGET_UNAVAILABLE);
    answers(&host, "a", b"x", TAKEN);
    answers(&host, "d", b"y", TAKEN);
}
