//! Owns guests that break at the calls around their messages: init, health, another config, another version, the end.

use super::cpu::taking_over;
use super::*;

const UNREACHABLE: &str = "trap: wasm `unreachable` instruction executed";
const JUNK: &str = "invalid expected discriminant";
/// A result whose discriminant is no case.
const JUNK_RESULT: &str = "(i32.store8 (i32.const 16) (i32.const 7)) (i32.const 16)";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = init();
    cases.extend(others());
    cases.extend(failing());
    cases
}

fn init() -> Vec<Case> {
    let none = |name, body: &str, why| Case::guest(name, TestGuest::new().init(body), Ends::NoStandby(why));
    let sends = r#"(if (i32.ne (i32.const 6) (call $send @"next" @"x")) (then unreachable)) (call $init_ok)"#;
    let many = r#"(local $i i32)
        (loop $more (if (i32.ne (i32.const 6) (call $send @"next" @"x")) (then unreachable))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $more (i32.lt_u (local.get $i)
              (i32.const 10000))))
        (call $init_ok)"#;
    vec![
        none("init that says no", r#"(call $init_error @"no database")"#, "init answered with an error: no database"),
        none("init that says no in colours", r#"(call $init_error @"no \1b[31mway")"#, "no \\u{1b}[31mway"),
        none("init that says no at length", "(call $init_error (i32.const 1024) (i32.const 100000))", "[cut]"),
        none("init that says no in no text", r#"(call $init_error @"\ff\fe")"#, "invalid utf-8"),
        none("init with a junk result", JUNK_RESULT, JUNK),
        none("init with a result beyond its memory", "(i32.const -8)", "pointer out of bounds of memory"),
        none("init with a result at an odd place", "(i32.const 17)", "pointer not aligned"),
        Case::guest("init that sends", TestGuest::new().init(sends), Ends::Handled),
        Case::guest("init that sends ten thousand times", TestGuest::new().init(many), Ends::Handled),
    ]
}

fn others() -> Vec<Case> {
    let health = |body: &str| TestGuest::new().health(body);
    let later = |body: &str| {
        health(&format!(
            "(if (i32.load (i32.const 512)) (then {body})) (call $health (i32.const 0) (i32.const 0) (i32.const 0))"
        ))
        .handle("(i32.store (i32.const 512) (i32.const 1)) (call $ok_none)")
    };
    let drains = |body: &str| TestGuest::new().drain(body);
    let flood = r#"(local $i i32)
        (loop $more (drop (call $send @"next" @"x"))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $more (i32.lt_u (local.get $i)
              (i32.const 10000))))"#;
    let keeps =
        |name, body: &str, why| Case::guest(name, TestGuest::new().reconfigure(body), Ends::KeepsItsConfig(why));
    vec![
        Case::guest("health that traps at once", health("unreachable"), Ends::NoStandby(UNREACHABLE)),
        Case::guest(
            "health that is bad at once",
            health(r#"(call $health (i32.const 2) @"ill")"#),
            Ends::NoStandby("it says that it is unhealthy: ill"),
        ),
        Case::guest(
            "health that is no case",
            health("(call $health (i32.const 9) (i32.const 0) (i32.const 0))"),
            Ends::NoStandby("unexpected discriminant: 9"),
        ),
        Case::guest("health that traps later", later("unreachable"), Ends::CrashesWhenAskedHowItIs(UNREACHABLE)),
        Case::guest(
            "shutdown that traps",
            TestGuest::new().shutdown("unreachable"),
            Ends::StopsWith("stopped; shutdown: trap: wasm `unreachable`"),
        ),
        Case::guest(
            "drain that traps",
            drains("unreachable"),
            Ends::StopsWith("crashed at drain: trap: wasm `unreachable`"),
        ),
        Case::guest("drain that sends ten thousand times", drains(flood), Ends::StopsWith("stopped")),
        keeps("reconfigure that traps", "unreachable", UNREACHABLE),
        keeps("reconfigure with a junk result", JUNK_RESULT, JUNK),
        taking_over("migrate that traps", "unreachable", "stored: trap: wasm `unreachable`"),
        taking_over("migrate with a junk result", JUNK_RESULT, "stored: invalid expected discriminant"),
    ]
}

fn failing() -> Vec<Case> {
    let stores = r#"(call $host_store @"k" @"v" (i32.const 256)) (call $ok_none)"#;
    // Stores something, and does not come up when that is there; the second message is the one that crashes.
    let once = TestGuest::new()
        .storage()
        .init(
            r#"(call $host_load @"k" (i32.const 256))
               (if (i32.load8_u (i32.const 264)) (then unreachable)) (call $init_ok)"#,
        )
        .handle(&format!(
            "(if (i32.load (i32.const 512)) (then unreachable)) (i32.store (i32.const 512) (i32.const 1)) {stores}"
        ));
    vec![
        Case::handles("a trap at each message", "unreachable", Ends::FailsAfter(4, UNREACHABLE)),
        Case::guest("an instance that comes up once", once, Ends::FailsAfter(3, UNREACHABLE))
            .actor(|actor| actor.storage = Some("read-write")),
    ]
}
