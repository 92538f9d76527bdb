//! Owns loops without end, wherever a guest is called.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = in_a_handler();
    cases.extend(elsewhere());
    cases
}

fn in_a_handler() -> Vec<Case> {
    let deadline = |name, body: &str| Case::handles(name, body, Ends::EndedAtTheDeadline);
    let calls = TestGuest::new().functions("(func $nothing)").handle(&for_ever("(call $nothing)"));
    let tail = TestGuest::new()
        .functions("(func $on (param i32) (result i32) (return_call $on (local.get 0)))")
        .handle("(call $on (i32.const 0))");
    let operation = TestGuest::new().operations(FOR_EVER).handle(FOR_EVER);
    vec![
        deadline("a loop", FOR_EVER),
        deadline("a loop around a loop that ends", &for_ever(&times(1_000_000, "").replace("(call $ok_none)", ""))),
        deadline("a loop that sends to nobody", &for_ever(r#"(drop (call $send @"nobody" @"x"))"#)),
        deadline("a loop that reads its config", &for_ever(r#"(call $host_get @"n" (i32.const 256))"#)),
        deadline(
            "a loop that fills its memory",
            &for_ever("(memory.fill (i32.const 4096) (i32.const 1) (i32.const 61440))"),
        ),
        deadline(
            "a loop that copies sixty mebibytes at once",
            &for_ever(
                "(drop (memory.grow (i32.const 960)))
                 (memory.copy (i32.const 65536) (i32.const 131072) (i32.const 62000000))",
            ),
        ),
        Case::guest("a loop of calls", calls, Ends::EndedAtTheDeadline),
        Case::guest("tail calls without end", tail, Ends::EndedAtTheDeadline),
        Case::guest("a loop beside an operation", operation, Ends::EndedAtTheDeadline),
        Case::handles("a loop at each message", FOR_EVER, Ends::FailsAfter(3, TOO_LONG))
            .limits(|limits| limits.call = SHORT),
    ]
}

fn elsewhere() -> Vec<Case> {
    let answered = TestGuest::new()
        .handle(r#"(drop (call $request @"next" @"x" (i64.const 0))) (call $ok_none)"#)
        .callback(FOR_EVER);
    let moody = TestGuest::new().handle("(i32.store (i32.const 512) (i32.const 1)) (call $ok_none)").health(&format!(
        "(if (i32.load (i32.const 512)) (then {FOR_EVER})) (call $health (i32.const 0) (i32.const 0) (i32.const 0))"
    ));
    vec![
        Case::guest("a loop in start", TestGuest::new().start("(loop $ever (br $ever))"), Ends::NoStandby(TOO_LONG))
            .limits(starts_shortly),
        Case::guest("a loop in init", TestGuest::new().init(FOR_EVER), Ends::NoStandby(TOO_LONG))
            .limits(starts_shortly),
        Case::guest("a loop in the callback", answered, Ends::CrashesLater(TOO_LONG))
            .limits(|limits| limits.call = SHORT),
        Case::guest(
            "a loop in shutdown",
            TestGuest::new().shutdown("(loop $ever (br $ever))"),
            Ends::StopsWith("stopped; shutdown: it took longer"),
        )
        .limits(|limits| limits.stop = SHORT),
        Case::guest(
            "a loop in drain",
            TestGuest::new().drain("(loop $ever (br $ever))"),
            Ends::StopsWith("crashed at drain: it took longer"),
        )
        .limits(|limits| limits.drain = SHORT),
        Case::guest("a loop in reconfigure", TestGuest::new().reconfigure(FOR_EVER), Ends::KeepsItsConfig(TOO_LONG))
            .limits(starts_shortly),
        Case::guest(
            "a loop in the first health",
            TestGuest::new().health(FOR_EVER),
            Ends::NoStandby("crashed when it was asked how it is: it took longer than the 1s it may"),
        ),
        Case::guest(
            "a loop in a later health",
            moody,
            Ends::CrashesWhenAskedHowItIs("it took longer than the 1s it may"),
        ),
        taking_over("a loop in migrate", FOR_EVER, "stored: it took longer than the 50ms it may"),
    ]
}

/// Stores something at its message, and has this in `migrate`.
pub(super) fn taking_over(name: &'static str, migrate: &str, why: &'static str) -> Case {
    let stores = r#"(call $host_store @"k" @"v" (i32.const 256)) (call $ok_none)"#;
    let guest = TestGuest::new().storage().handle(stores).migrate(migrate);
    let migrates = |actor: &mut Actor| {
        actor.storage = Some("read-write");
        // What the store takes for its commit counts into it no more than what another one computes.
        actor.limits.call = SHORT;
    };
    Case::guest(name, guest, Ends::TakesNothingOver(why)).actor(migrates)
}
