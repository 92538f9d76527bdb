//! What components are called for besides messages: their health, what another version stored, that they are to stop.

use super::gate::gated;
use super::storage::{keeper, with_storage};
use super::*;
use crate::host::health::HealthStatus;

/// Is what the word at 512 says: 0 is healthy, 1 degraded, 2 unhealthy, 3 traps. A message's first byte sets it.
fn moody() -> TestGuest {
    TestGuest::new().handle("(i32.store (i32.const 512) (i32.load8_u (local.get $ptr))) (call $ok_none)").health(
        r#"(if (i32.eq (i32.load (i32.const 512)) (i32.const 3)) (then unreachable))
            (call $health (i32.load (i32.const 512)) @"no\09way")"#,
    )
}

fn health(host: &Host, actor: &str) -> Option<HealthStatus> {
    host.status(actor).health.map(|health| health.status)
}

/// Asks now, and not only when it is due.
fn check(host: &Host, actor: &str) {
    let cell = host.system.core.registry.get(&name(actor)).unwrap();
    cell.ask_health_now(&host.system.core);
}

#[test]
fn a_standby_that_is_unhealthy_or_traps_when_asked_is_never_used() {
    let host = Host::new();
    host.run(&Actor::new("a"), &echo());
    let unhealthy = TestGuest::new().health(r#"(call $health (i32.const 2) @"no \1b[31mdisk")"#);
    match host.prepare(&Actor::new("a"), &unhealthy).unwrap_err() {
        PrepareError::Unhealthy(text) => assert_eq!(text, "no \\u{1b}[31mdisk"),
        other => panic!("{other}"),
    }
    let traps = host.prepare(&Actor::new("a"), &TestGuest::new().health("unreachable")).unwrap_err();
    assert!(matches!(traps, PrepareError::HealthCrashed(_)), "{traps}");
    let slow = host.prepare(&Actor::new("a"), &TestGuest::new().health("(loop $l (br $l)) unreachable")).unwrap_err();
    assert!(matches!(&slow, PrepareError::HealthCrashed(crash) if crash.kind == CrashKind::Deadline), "{slow}");
    assert_eq!(host.ask("a", b"x"), Ok(Some(b"x".to_vec())), "the old one goes on");
}

#[test]
fn what_it_says_of_itself_is_known_from_the_standby_on_and_told_when_it_changes() {
    let host = Host::new();
    host.run(&Actor::new("a"), &TestGuest::new().health(r#"(call $health (i32.const 1) @"slow")"#));
    assert_eq!(health(&host, "a"), Some(HealthStatus::Degraded("slow".to_owned())));
    host.run(&Actor::new("a"), &moody());
    assert_eq!(health(&host, "a"), Some(HealthStatus::Healthy));
    host.ask("a", &[2]).unwrap();
    check(&host, "a");
    host.events.wait(|event| event.what == ActorChange::Unhealthy("no\\tway".to_owned()));
    assert_eq!(health(&host, "a"), Some(HealthStatus::Unhealthy("no\\tway".to_owned())));
    let since = host.status("a").health.unwrap().since;
    check(&host, "a");
    host.ask("a", &[0]).unwrap();
    assert_eq!(host.status("a").health.unwrap().since, since, "it says the same still");
    check(&host, "a");
    host.events.wait(|event| event.what == ActorChange::Healthy);
    assert!(host.log_text("a").contains("it says that it is unhealthy: no\\tway"), "{}", host.log_text("a"));
    host.run(&Actor::new("a"), &echo());
    assert_eq!(health(&host, "a"), None, "this one can't say");
}

#[test]
fn a_trap_when_it_is_asked_is_a_crash_like_any_and_what_waits_stays() {
    let host = Host::new();
    host.run(&Actor::new("a"), &moody());
    host.ask("a", &[3]).unwrap();
    check(&host, "a");
    host.events.wait(|event| matches!(event.what, ActorChange::Crashed(_)));
    assert_eq!(host.ask("a", &[1]), Ok(None), "it is started again and takes what waits");
    assert_eq!(host.status("a").crashes, 1);
    host.events.wait(|event| event.what == ActorChange::Recovered);
}

#[test]
fn nothing_is_asked_of_it_while_a_call_waits_for_its_commit() {
    let (host, gate) = gated();
    let guest = keeper().health(r#"(call $health (i32.const 1) @"slow") (call $log @"asked")"#);
    host.run(&with_storage("a", "read-write"), &guest);
    let asked = || host.log_text("a").matches("asked").count();
    assert_eq!(asked(), 1, "as a standby");
    let set = host.system.begin_request(&name("a"), b"set one".to_vec(), PATIENCE).unwrap();
    gate.arrives();
    check(&host, "a");
    host.until("it has heard", || host.system.core.registry.get(&name("a")).unwrap().health_is_put_off());
    assert_eq!(asked(), 1);
    gate.opens();
    assert_eq!(bytes(set.wait()), Ok(Some(vec![0])));
    host.until("it is asked after the commit", || asked() == 2);
}

/// Puts the version that it takes over from under `k`, and asks nobody.
fn taker() -> TestGuest {
    keeper().migrate(
        r#"(call $host_store @"k" (local.get $ptr) (local.get $len) (i32.const 256))
           (i32.store8 (i32.const 16) (i32.load8_u (i32.const 256))) (call $log @"migrates") (i32.const 16)"#,
    )
}

fn version(version: &'static str) -> Actor {
    let mut actor = with_storage("a", "read-write");
    actor.version = version;
    actor
}

fn value(host: &Host) -> Option<String> {
    host.ask("a", b"g").unwrap().map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn a_new_version_takes_over_what_the_old_one_stored_before_its_first_message_and_once() {
    let host = Host::new();
    host.run(&version("1.0.0"), &taker());
    assert_eq!(value(&host), None, "nobody wrote before");
    assert_eq!(host.ask("a", b"set one"), Ok(Some(vec![0])));
    host.run(&version("1.0.0"), &taker());
    assert_eq!(value(&host).as_deref(), Some("set one"), "the same version has nothing to take over");
    host.run(&version("2.0.0"), &taker());
    assert_eq!(value(&host).as_deref(), Some("1.0.0"));
    assert_eq!(host.status("a").phase, ActorPhase::Running);
    assert_eq!(host.ask("a", b"set two"), Ok(Some(vec![0])));
    host.run(&version("2.0.0"), &taker());
    assert_eq!(value(&host).as_deref(), Some("set two"), "it is done");
    host.run(&version("1.0.0"), &taker());
    assert_eq!(value(&host).as_deref(), Some("2.0.0"), "the way back is a way, too");
    assert_eq!(host.log_text("a").matches("migrates").count(), 2);
    assert!(host.log_text("a").contains("took over what version 2.0.0 stored"));
}

#[test]
fn a_version_without_the_export_and_one_that_may_not_write_take_nothing_over() {
    let host = Host::new();
    host.run(&version("1.0.0"), &keeper());
    assert_eq!(host.ask("a", b"set one"), Ok(Some(vec![0])));
    host.run(&version("2.0.0"), &keeper());
    assert_eq!(value(&host).as_deref(), Some("set one"));
    let mut reader = version("3.0.0");
    reader.storage = Some("read-only");
    host.run(&reader, &taker());
    assert_eq!(value(&host).as_deref(), Some("set one"));
    host.run(&version("3.0.0"), &taker());
    assert_eq!(value(&host).as_deref(), Some("1.0.0"), "2.0.0 wrote nothing");
}

#[test]
fn of_a_take_over_that_fails_nothing_is_kept_and_no_message_reaches_it() {
    for fails in ["(drop (call $init_error @\"no \\1b way\"))", "unreachable"] {
        let host = Host::new();
        host.run(&version("1.0.0"), &taker());
        assert_eq!(host.ask("a", b"set one"), Ok(Some(vec![0])));
        let bad = keeper().migrate(&format!(
            r#"(call $host_store @"k" (local.get $ptr) (local.get $len) (i32.const 256)) {fails} (i32.const 16)"#
        ));
        let mut second = version("2.0.0");
        second.supervision.backoff = Millis(60_000);
        host.run(&second, &bad);
        let status = host.status("a");
        assert!(status.did_not_take_over);
        assert_eq!((status.phase, status.crashes, status.counts.handled), (ActorPhase::Backoff, 1, 1), "{fails}");
        assert!(status.last_error.unwrap().starts_with("it did not take over what version 1.0.0 stored: "));
        let waiting = host.system.begin_request(&name("a"), b"g".to_vec(), PATIENCE).unwrap();
        host.run(&version("1.0.0"), &taker());
        assert_eq!(bytes(waiting.wait()), Ok(Some(b"set one".to_vec())), "the old version finds its own");
        assert!(!host.status("a").did_not_take_over);
    }
}

#[test]
fn a_message_waits_until_what_was_taken_over_is_on_the_disk() {
    let (host, gate) = gated();
    host.run(&version("1.0.0"), &taker());
    gate.opens();
    assert_eq!(host.ask("a", b"set one"), Ok(Some(vec![0])));
    gate.arrives();
    let standby = host.prepare(&version("2.0.0"), &taker()).unwrap();
    std::thread::scope(|scope| {
        let switch = scope.spawn(|| host.activate(standby));
        gate.arrives();
        let waiting = host.system.begin_request(&name("a"), b"g".to_vec(), PATIENCE).unwrap();
        assert_eq!(host.status("a").phase, ActorPhase::Starting);
        assert_eq!(host.status("a").mailbox_messages, 1);
        gate.opens();
        assert_eq!(bytes(waiting.wait()), Ok(Some(b"1.0.0".to_vec())));
        assert_eq!(switch.join().unwrap(), Switched::Done);
    });
    assert_eq!(host.status("a").phase, ActorPhase::Running);
}

#[test]
fn it_hears_once_that_it_is_to_stop_before_what_waits_and_what_it_does_then_counts() {
    let (host, gate) = gated();
    host.run(&Actor::new("next"), &echo());
    let drains = r#"(call $log @"drain") (drop (call $send @"next" (i32.const 0) (i32.const 1)))
        (call $host_store @"k" @"drained" (i32.const 256))"#;
    host.run(&version("1.0.0"), &keeper().drain(drains).shutdown(r#"(call $log @"shutdown")"#));
    let set = host.system.begin_request(&name("a"), b"set one".to_vec(), PATIENCE).unwrap();
    gate.arrives();
    let waiting = host.system.begin_request(&name("a"), b"g".to_vec(), PATIENCE).unwrap();
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| host.stop("a"));
        host.until("it is to stop", || host.status("a").phase == ActorPhase::Stopping);
        gate.opens();
        assert_eq!(bytes(set.wait()), Ok(Some(vec![0])));
        gate.arrives();
        assert_eq!(host.status("next").counts.accepted, 0, "what drain sent waits for its commit");
        gate.opens();
        assert_eq!(bytes(waiting.wait()), Ok(Some(b"drained".to_vec())), "what waits comes after");
        assert_eq!(stop.join().unwrap(), Switched::Done);
    });
    let said = host.log_text("a");
    assert!(said.find("drain") < said.find("shutdown"), "{said}");
    assert_eq!(said.matches("drain").count(), 1);
    host.until("its message came", || host.status("next").counts.handled == 1);
}

#[test]
fn what_drain_stores_is_kept_and_a_drain_that_traps_or_takes_too_long_ends_the_actor() {
    let host = Host::new();
    let drains = r#"(call $host_store @"k" (i32.const 0) (i32.const 1) (i32.const 256))"#;
    host.run(&version("1.0.0"), &keeper().drain(drains));
    assert_eq!(host.stop("a"), Switched::Done);
    host.run(&version("1.0.0"), &keeper());
    assert_eq!(value(&host).as_deref(), Some("\0"));
    for bad in ["unreachable", "(loop $l (br $l))"] {
        let actor = Actor::new("b").limits(|limits| limits.drain = Millis(100));
        host.run(&actor, &TestGuest::new().drain(bad));
        assert_eq!(host.stop("b"), Switched::Done);
        assert!(host.log_text("b").contains("crashed at drain: "), "{}", host.log_text("b"));
    }
    host.run(&Actor::new("c"), &TestGuest::new().drain(r#"(call $log @"drain")"#));
    host.run(&Actor::new("c"), &echo());
    host.ask("c", b"x").unwrap();
    assert!(!host.log_text("c").contains("drain"), "an update is not the end");
}

/// Answers with the config's `n`, and says no to a config that says so.
fn configured() -> TestGuest {
    TestGuest::new()
        .handle(
            r#"(call $host_get @"n" (i32.const 256))
               (call $ok_some (i32.load (i32.const 260)) (i32.load (i32.const 264)))"#,
        )
        .reconfigure(
            r#"(local $at i32)
               (call $log (local.get $ptr) (local.get $len))
               (call $host_get @"n" (i32.const 256))
               (call $log (i32.load (i32.const 260)) (i32.load (i32.const 264)))
               (local.set $at (i32.load8_u (i32.add (local.get $ptr) (i32.const 5))))
               (if (i32.eq (local.get $at) (i32.const 55)) (then (return (call $init_error @"not \1b seven"))))
               (if (i32.eq (local.get $at) (i32.const 56)) (then unreachable))
               (call $init_ok)"#,
        )
}

fn with_config(n: u32) -> Actor {
    let mut actor = Actor::new("a");
    actor.config = serde_json::json!({ "n": n });
    actor.supervision.backoff = Millis(10);
    actor
}

fn reconfigure(host: &Host, guest: &TestGuest, n: u32) -> Result<(), ReconfigureError> {
    let record = Arc::new(with_config(n).record(host.compile(guest).wasm()));
    let config = Arc::new(GuestConfig::new(record.spec.config.clone(), Vec::new()));
    host.system.reconfigure(vec![NewConfig { record, config }]).remove(0)
}

#[test]
fn a_running_instance_is_told_its_new_config_and_has_it_from_ok_on() {
    let host = Host::new();
    host.run(&with_config(1), &configured());
    let instance = host.status("a").instance;
    assert_eq!(host.ask("a", b"?"), Ok(Some(b"1".to_vec())));
    assert_eq!(reconfigure(&host, &configured(), 2), Ok(()));
    assert_eq!(host.ask("a", b"?"), Ok(Some(b"2".to_vec())));
    let said: Vec<_> = host.log("a").into_iter().map(|line| line.message).collect();
    assert!(said.ends_with(&["{\"n\":2}".to_owned(), "1".to_owned(), "has its new config".to_owned()]), "{said:?}");
    assert_eq!(host.status("a").instance, instance);
    assert_eq!(host.status("a").record.spec.config["n"], 2);
}

#[test]
fn an_instance_that_refuses_a_config_or_crashes_at_it_keeps_the_old_one() {
    let host = Host::new();
    host.run(&with_config(1), &configured());
    assert_eq!(reconfigure(&host, &configured(), 7), Err(ReconfigureError::Refused("not \\u{1b} seven".to_owned())));
    assert_eq!(host.ask("a", b"?"), Ok(Some(b"1".to_vec())));
    assert!(!host.status("a").did_not_take_over, "who gave it has heard of that");
    let crashed = reconfigure(&host, &configured(), 8);
    assert!(matches!(&crashed, Err(ReconfigureError::Refused(why)) if why.contains("unreachable")), "{crashed:?}");
    host.events.wait(|event| event.what == ActorChange::Recovered);
    assert_eq!(host.ask("a", b"?"), Ok(Some(b"1".to_vec())), "it starts again with what it had");
    assert_eq!(reconfigure(&host, &configured(), 2), Ok(()));
    host.ask("a", b"?").unwrap();
    let standby = host.prepare(&with_config(2), &configured()).unwrap();
    host.activate(standby);
    assert_eq!(host.ask("a", b"?"), Ok(Some(b"2".to_vec())));
}

#[test]
fn a_config_comes_after_the_commit_of_the_call_before_it_and_before_the_next_message() {
    let (host, gate) = gated();
    let guest = keeper().reconfigure(r#"(call $log @"told") (call $init_ok)"#);
    let mut actor = with_storage("a", "read-write");
    host.run(&actor, &guest);
    let set = host.system.begin_request(&name("a"), b"set one".to_vec(), PATIENCE).unwrap();
    gate.arrives();
    actor.config = serde_json::json!({ "n": 2 });
    let record = Arc::new(actor.record(host.compile(&guest).wasm()));
    let config = Arc::new(GuestConfig::new(record.spec.config.clone(), Vec::new()));
    std::thread::scope(|scope| {
        let told = scope.spawn(|| host.system.reconfigure(vec![NewConfig { record, config }]).remove(0));
        let cell = host.system.core.registry.get(&name("a")).unwrap();
        host.until("it waits for the commit", || cell.versions_put_off() == 1);
        assert!(!host.log_text("a").contains("told"));
        gate.opens();
        assert_eq!(told.join().unwrap(), Ok(()));
    });
    assert_eq!(bytes(set.wait()), Ok(Some(vec![0])));
    assert!(host.log_text("a").contains("told"));
}

#[test]
fn secrets_of_both_configs_are_taken_out_of_what_it_says_on_the_way() {
    let host = Host::new();
    let guest = TestGuest::new().reconfigure(
        r#"(call $log (local.get $ptr) (local.get $len)) (call $init_error (local.get $ptr) (local.get $len))"#,
    );
    host.run(&with_config(1), &guest);
    let record = Arc::new(with_config(2).record(host.compile(&guest).wasm()));
    let table = serde_json::json!({ "key": "hunter22" }).as_object().unwrap().clone();
    let config = Arc::new(GuestConfig::new(table, vec![crate::secret::Secret::new("hunter22".to_owned()).unwrap()]));
    let refused = host.system.reconfigure(vec![NewConfig { record, config }]).remove(0);
    assert_eq!(refused, Err(ReconfigureError::Refused("{\"key\":\"***\"}".to_owned())));
    assert!(!host.log_text("a").contains("hunter22"), "{}", host.log_text("a"));
}

#[test]
fn an_actor_that_sleeps_is_not_asked_and_is_again_when_it_is_awake() {
    let host = Host::new();
    let guest = echo().health(r#"(call $log @"asked") (call $health (i32.const 0) @"")"#);
    host.run(&Actor::new("a").stateless(), &guest);
    let cell = host.system.core.registry.get(&name("a")).unwrap();
    (0..2).for_each(|_| cell.sleep_if_idle(&host.system.core));
    host.until("it sleeps", || host.status("a").asleep);
    check(&host, "a");
    assert_eq!(host.ask("a", b"x"), Ok(Some(b"x".to_vec())), "it wakes up for a message");
    assert_eq!(host.log_text("a").matches("asked").count(), 1, "as a standby alone");
    assert_eq!(health(&host, "a"), Some(HealthStatus::Healthy));
    check(&host, "a");
    host.ask("a", b"x").unwrap();
    assert_eq!(host.log_text("a").matches("asked").count(), 2);
}
