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
        r#"(if (i32.and (i32.eq (local.get $kind) (i32.const 1)) (i32.eq (local.get $a) (i32.const 0)))
             (then (call $log @"tick")))
           (call $ok_none)"#,
    );
    host.run(&Actor::new("ticker").every(5), &guest);
    host.until("three ticks", || host.status("ticker").counts.handled >= 3);
    assert_eq!(host.stop("ticker"), Switched::Done);
    let ticks = host.log("ticker").iter().filter(|line| line.message == "tick").count();
    assert!(ticks >= 3, "{}", host.log_text("ticker"));
}
