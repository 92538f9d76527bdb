//! An actor from its start to its end, when all goes well.

use super::*;

#[test]
fn a_component_starts_answers_and_stops() {
    let host = Host::new();
    host.run(&Actor::new("echo"), &echo());
    assert_eq!(host.ask("echo", b"hello"), Ok(Some(b"hello".to_vec())));
    assert_eq!(host.status("echo").phase, ActorPhase::Running);
    assert_eq!(host.stop("echo"), Switched::Done);
    assert_eq!(host.ask("echo", b"hello"), Err(CallError::NoSuchTarget));
    assert!(host.system.status(&name("echo")).is_none());
}

#[test]
fn a_trigger_ticks_and_the_component_logs() {
    let host = Host::new();
    let guest = TestGuest::new().handle(
        r#"(if (i32.and (i32.eq (local.get $kind) (i32.const 1)) (i32.eq (local.get $a) (i32.const 1)))
             (then (call $log @"tick")))
           (call $ok_none)"#,
    );
    host.run(&Actor::new("ticker").every(60_000).every(5), &guest);
    host.until("three ticks", || host.status("ticker").counts.handled >= 3);
    assert_eq!(host.stop("ticker"), Switched::Done);
    let ticks = host.log("ticker").iter().filter(|line| line.message == "tick").count();
    assert!(ticks >= 3, "{}", host.log_text("ticker"));
}

#[test]
fn the_first_tick_comes_after_one_period() {
    let host = Host::new();
    host.run(&Actor::new("ticker").every(60_000), &echo());
    host.ask("ticker", b"x").unwrap();
    assert_eq!(host.status("ticker").counts.accepted, 1);
}

#[test]
fn init_gets_the_config_and_single_values_can_be_asked_for() {
    let host = Host::new();
    let mut actor = Actor::new("a");
    actor.config = serde_json::json!({ "limits": { "high": 30.5 }, "names": ["a"] });
    // Asks for the key that the message names. The answer is an option at 256: a tag, a pointer, a length.
    let guest = TestGuest::new().init("(call $log (local.get $ptr) (local.get $len)) (call $init_ok)").handle(
        r#"(call $host_get (local.get $ptr) (local.get $len) (i32.const 256))
               (if (i32.eqz (i32.load8_u (i32.const 256))) (then (return (call $ok_none))))
               (call $ok_some (i32.load (i32.const 260)) (i32.load (i32.const 264)))"#,
    );
    host.run(&actor, &guest);
    assert!(host.log_text("a").contains(r#"{"limits":{"high":30.5},"names":["a"]}"#), "{}", host.log_text("a"));
    assert_eq!(host.ask("a", b"limits.high"), Ok(Some(b"30.5".to_vec())));
    assert_eq!(host.ask("a", b"names"), Ok(Some(br#"["a"]"#.to_vec())));
    assert_eq!(host.ask("a", b"nothing"), Ok(None));
    assert_eq!(host.ask("a", &[b'.'; 2000]), Ok(None));
}

#[test]
fn any_part_of_the_contract_is_enough() {
    let host = Host::new();
    host.run(&Actor::new("no-lifecycle"), &echo().without_lifecycle());
    assert_eq!(host.ask("no-lifecycle", b"x"), Ok(Some(b"x".to_vec())));
    host.run(
        &Actor::new("no-handler"),
        &TestGuest::new().without_handler().init("(call $log @\"up\") (call $init_ok)"),
    );
    assert_eq!(host.ask("no-handler", b"x"), Err(CallError::NoSuchTarget));
    assert_eq!(host.status("no-handler").phase, ActorPhase::Running);
    assert!(host.log_text("no-handler").contains("up"));
    for actor in ["no-lifecycle", "no-handler"] {
        assert_eq!(host.stop(actor), Switched::Done);
    }
}

#[test]
fn a_trigger_needs_someone_to_handle_it() {
    let host = Host::new();
    let refused = host.prepare(&Actor::new("a").every(5), &TestGuest::new().without_handler()).unwrap_err();
    assert_eq!(refused, PrepareError::NobodyToTrigger);
}

#[test]
fn code_of_another_artifact_than_the_records_is_refused() {
    let host = Host::new();
    let compiled = host.compile(&echo());
    let record = Arc::new(Actor::new("a").record(Digest::of(b"another")));
    let config = Arc::new(GuestConfig::new(record.spec.config.clone(), Vec::new()));
    let refused = host.system.prepare(StandbyRequest { record, compiled, config, storage_id: None }).unwrap_err();
    assert_eq!(refused, PrepareError::OtherArtifact);
}

#[test]
fn message_numbers_are_never_used_twice() {
    let host = Host::new();
    let guest = TestGuest::new()
        .handle("(i64.store (i32.const 512) (local.get $id)) (call $ok_some (i32.const 512) (i32.const 8))");
    host.run(&Actor::new("a"), &guest);
    let ids: BTreeSet<Vec<u8>> = (0..100).map(|_| host.ask("a", b"x").unwrap().unwrap()).collect();
    assert_eq!(ids.len(), 100);
}

#[test]
fn an_idle_actor_shows_its_memory_and_gives_it_back() {
    let host = Host::new();
    host.run(&Actor::new("a"), &echo());
    host.ask("a", b"x").unwrap();
    // Two pages of memory; the guest has no table.
    assert_eq!(host.status("a").memory_bytes, 2 * 65536);
    assert_eq!(host.engine.memory_budget().used_bytes(), 2 * 65536);
    host.stop("a");
    assert_eq!(host.engine.memory_budget().used_bytes(), 0);
}

/// The three example components, as their publishers built them with a standard library and signed them.
#[test]
fn the_example_components_work_together() {
    let host = Host::new();
    let run = |actor: &Actor, storage_id| {
        let path = format!("{}/examples/components/{1}/{1}.wasm", env!("CARGO_MANIFEST_DIR"), actor.name);
        let compiled = host.engine.compile_for_test(&std::fs::read(path).unwrap()).unwrap();
        host.activate(host.prepare_as(actor, &compiled, Some(storage_id)).unwrap());
    };
    let keeping = |name| Actor { storage: Some("read-write"), ..Actor::new(name) };
    let mut alerter = keeping("alerter");
    alerter.config = serde_json::json!({ "low": 0.0, "high": 1.0 });
    let mut aggregator = keeping("aggregator");
    (aggregator.subscribe, aggregator.subscriptions) = (vec!["readings.*"], vec!["readings.temperature"]);
    aggregator.config = serde_json::json!({ "window": 5, "report-every": 5 });
    run(&alerter, 1);
    run(&aggregator, 2);
    run(&Actor { publish: vec!["readings.*"], ..Actor::new("sensor").every(1) }, 3);
    host.until("the alerter hears of averages", || host.status("alerter").counts.handled >= 3);
    for own in ["sensor", "aggregator", "alerter"] {
        let status = host.status(own);
        assert_eq!((status.crashes, status.counts.dead()), (0, 0), "{own}: {}", host.log_text(own));
        assert_eq!(host.stop(own), Switched::Done);
    }
}
