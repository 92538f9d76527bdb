//! Owns floods and storms of messages, requests and publications, and messages that are none.

use super::*;

const TAKEN: u8 = 0;
const NOT_PERMITTED: u8 = 1;
const NO_SUCH_TARGET: u8 = 2;
const TOO_LARGE: u8 = 5;
const TOO_MANY_SENDS: u8 = 6;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = sent();
    cases.extend(storms());
    cases.extend(requests());
    cases.extend(published());
    cases
}

/// Sends until it is refused, and answers with why.
fn until_refused(link: &str) -> String {
    format!(
        r#"(loop $more (local.set $i (call $send @"{link}" @"x")) (br_if $more (i32.eqz (local.get $i))))
           (call $byte (local.get $i))"#
    )
}

/// Sends this many bytes.
fn large(bytes: u32) -> String {
    format!(
        r#"(drop (memory.grow (i32.const 100)))
           (call $byte (call $send @"next" (i32.const 65536) (i32.const {bytes})))"#
    )
}

fn sent() -> Vec<Case> {
    let told = |name, body: &str, case| Case::handles(name, body, Ends::Told(case));
    let huge = r#"(drop (memory.grow (i32.const 2200)))
        (call $byte (call $send (i32.const 0) (i32.const 0x8000000) @"x"))"#;
    vec![
        told("a flood of messages", &until_refused("next"), TOO_MANY_SENDS),
        told("a flood of messages to itself", &until_refused("self"), TOO_MANY_SENDS).also(comes_to_rest),
        Case::handles("a flood of messages at each message", &until_refused("next"), Ends::Told(TOO_MANY_SENDS))
            .actor(|actor| actor.triggers.push(Trigger { every: Millis(1) })),
        told("a message to nobody", r#"(call $byte (call $send @"nobody" @"x"))"#, NO_SUCH_TARGET),
        told("a message to whom it may not", r#"(call $byte (call $send @"next" @"x"))"#, NOT_PERMITTED)
            .actor(|actor| actor.send = vec!["other"]),
        told("a message to no name", r#"(call $byte (call $send @"\00../.." @"x"))"#, NOT_PERMITTED)
            .actor(|actor| actor.send = vec!["next"]),
        told("a message of a mebibyte", &large(1 << 20), TAKEN).beside(echo()),
        told("a message that is too large", &large((1 << 20) + 1), TOO_LARGE),
        Case::handles("a message of four mebibytes", &large(4 << 20), Ends::Crashes("fuel")),
        Case::handles("a link of 128 mebibytes", huge, Ends::Crashes("fuel"))
            .limits(|limits| limits.memory = ByteSize(256 << 20)),
        Case::handles("a link beyond its memory", huge, Ends::Crashes("out of bounds of memory")),
        Case::handles(
            "a link that is no text",
            r#"(call $byte (call $send @"\c3\28" @"x"))"#,
            Ends::Crashes("invalid utf-8"),
        ),
        Case::handles(
            "a codec that is none",
            r#"(call $byte (call $send_in (i32.const 99) @"next" @"x"))"#,
            Ends::Crashes("unexpected discriminant: 99"),
        ),
        Case::handles(
            "an answer of four mebibytes",
            "(drop (memory.grow (i32.const 100))) (call $ok_some (i32.const 0) (i32.const 0x400000))",
            Ends::Crashes("fuel"),
        ),
        Case::handles(
            "an error of a mebibyte",
            "(drop (memory.grow (i32.const 100))) (call $error (i32.const 65536) (i32.const 0x100000))",
            Ends::SaysNo("[cut]"),
        ),
    ]
}

/// What follows from a message ends, and not in a crash.
fn comes_to_rest(host: &Host, actor: &str) {
    let rests = |own: &str| {
        let Some(status) = host.system.status(&name(own)) else { return true };
        assert_eq!(status.crashes, 0);
        status.mailbox_messages == 0 && status.counts.accepted == status.counts.handled + status.counts.dead()
    };
    let other = format!("{actor}-other");
    host.until("the storm is over", || rests(actor) && rests(&other));
}

/// A chain of one message is as long as the hops that a message may have, and no longer.
fn is_a_chain(host: &Host, actor: &str) {
    comes_to_rest(host, actor);
    let accepted = |own: &str| host.system.status(&name(own)).map_or(0, |status| status.counts.accepted);
    let length = accepted(actor) + accepted(&format!("{actor}-other"));
    assert_eq!(length, u64::from(DEFAULT_MAX_HOPS) + 1);
}

fn storms() -> Vec<Case> {
    let on = r#"(drop (call $send @"next" (local.get $ptr) (local.get $len))) (call $ok_none)"#;
    let to_itself = r#"(drop (call $send @"self" (local.get $ptr) (local.get $len))) (call $ok_none)"#;
    let thrice = format!(
        r#"(drop (call $send @"self" (local.get $ptr) (local.get $len)))
           (drop (call $send @"next" (local.get $ptr) (local.get $len))) {on}"#
    );
    vec![
        Case::handles("a message to itself and so on", to_itself, Ends::Handled).also(is_a_chain),
        Case::handles("an echo of an echo", on, Ends::Handled).beside(TestGuest::new().handle(on)).also(is_a_chain),
        Case::handles("an echo storm that trebles", &thrice, Ends::Handled)
            .beside(TestGuest::new().handle(on))
            .also(comes_to_rest),
    ]
}

fn requests() -> Vec<Case> {
    // -100: too many of them; a smaller number is a byte of its own.
    let flood = TestGuest::new()
        .handle(
            r#"(loop $more
                 (br_if $more (i64.ge_s (call $request @"next" @"x" (i64.const 60000)) (i64.const 0))))
               (call $byte (i32.const 64))"#,
        )
        .callback("(call $ok_unit)");
    let asks = |ms: &str, callback: &str| {
        TestGuest::new()
            .handle(&format!(r#"(drop (call $request @"next" @"x" (i64.const {ms}))) (call $ok_none)"#))
            .callback(callback)
    };
    let asks_again = r#"(drop (call $request @"next" @"x" (i64.const 0))) (call $ok_unit)"#;
    let cancels = TestGuest::new()
        .handle(&times(100_000, "(drop (call $cancel (i64.extend_i32_u (local.get $i))))"))
        .callback("unreachable");
    let stuck = || TestGuest::new().handle(FOR_EVER);
    vec![
        Case::guest("a flood of requests", flood, Ends::Told(64)).also(has_no_open_request),
        Case::guest("a flood of cancellations", cancels, Ends::Handled),
        Case::guest("a request that is never answered", asks("50", "(call $ok_unit)"), Ends::Handled)
            .beside(stuck())
            .also(has_no_open_request),
        Case::guest("a request with all the time in the world", asks("-1", "(call $ok_unit)"), Ends::Handled)
            .beside(stuck())
            .also(has_no_open_request),
        Case::guest("a request at each answer", asks("0", asks_again), Ends::Handled).also(has_no_open_request),
        Case::guest("a trap at an answer", asks("0", "unreachable"), Ends::CrashesLater("trap: wasm `unreachable`")),
        Case::guest(
            "a junk result at an answer",
            asks("0", "(i32.store8 (i32.const 16) (i32.const 3)) (i32.const 16)"),
            Ends::CrashesLater("invalid expected discriminant"),
        ),
    ]
}

fn has_no_open_request(host: &Host, actor: &str) {
    host.until("each has an answer", || host.status(actor).requests.open == 0);
    let requests = host.status(actor).requests;
    assert_eq!(requests.opened, requests.answered + requests.failed + requests.timed_out + requests.cancelled);
}

fn published() -> Vec<Case> {
    const INVALID_TOPIC: u8 = 101;
    const TOO_MANY_PUBLISHED: u8 = 105;
    const TOO_MANY_SUBSCRIPTIONS: u8 = 3;
    let may = |actor: &mut Actor| {
        actor.publish = vec!["storm.*"];
        actor.subscribe = vec!["storm.*"];
        actor.subscriptions = vec!["storm.*"];
    };
    let publish = r#"(call $publish (i32.const 0) @"storm.now" @"x")"#;
    let flood = format!(
        "(if (local.get $topic) (then (return (call $ok_none))))
         (loop $more (local.set $i {publish}) (br_if $more (i32.lt_u (local.get $i) (i32.const 100))))
         (call $byte (local.get $i))"
    );
    let patterns = r#"(loop $more
          (i32.store8 (i32.const 600) (i32.add (i32.const 97) (i32.rem_u (local.get $j) (i32.const 26))))
          (i32.store8 (i32.const 601) (i32.add (i32.const 97) (i32.div_u (local.get $j) (i32.const 26))))
          (memory.copy (i32.const 594) @"storm.")
          (local.set $i (call $subscribe (i32.const 594) (i32.const 8)))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br_if $more (i32.eqz (local.get $i))))
        (call $byte (local.get $i))"#;
    let invalid = r#"(call $byte (call $publish (i32.const 0) @"storm.\1b[2J" @"x"))"#;
    let guest = |body: &str| TestGuest::new().topics().handle(body);
    vec![
        Case::guest("a flood of publications", guest(&flood), Ends::Told(TOO_MANY_PUBLISHED))
            .actor(may)
            .also(comes_to_rest),
        Case::guest(
            "a publication at each publication",
            guest(&format!("(drop {publish}) (call $ok_none)")),
            Ends::Handled,
        )
        .actor(may)
        .also(is_a_chain),
        Case::guest(
            "a publication that trebles",
            guest(&format!("(drop {publish}) (drop {publish}) (drop {publish}) (call $ok_none)")),
            Ends::Handled,
        )
        .actor(may)
        .also(comes_to_rest),
        Case::guest("a flood of subscriptions", guest(patterns), Ends::Told(TOO_MANY_SUBSCRIPTIONS)).actor(may),
        Case::guest("a topic that is none", guest(invalid), Ends::Told(INVALID_TOPIC)).actor(may),
    ]
}
