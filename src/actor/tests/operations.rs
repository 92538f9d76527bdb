//! Operations: calls from outside, among the messages and under what holds for them.

use super::storage::with_storage;
use super::*;
use crate::codec::NotTaken;
use crate::name::OperationName;

/// `up` answers with what it gets, in its codec; `no` can't use its input and `bad` fails, both in the words that they get;
/// `trap` crashes, and `spin` does not end; `keep` puts what it gets under `k` and sends it to `next`, and so does
/// `keep-bad`, which fails then; `load` answers with what is under `k`. There are no others.
fn worker() -> TestGuest {
    let named = |name: &str, body: &str| {
        let check: String = name
            .bytes()
            .enumerate()
            .map(|(at, byte)| {
                format!("(br_if $other (i32.ne (i32.load8_u offset={at} (local.get $name)) (i32.const {byte})))")
            })
            .collect();
        let length = format!("(br_if $other (i32.ne (local.get $name_len) (i32.const {})))", name.len());
        format!("(block $other {length} {check} {body})")
    };
    let keep = r#"(call $host_store @"k" (local.get $ptr) (local.get $len) (i32.const 256))
        (if (i32.load8_u (i32.const 256)) (then (return (call $undone (i32.const 2) @"not stored"))))
        (drop (call $send @"next" (local.get $ptr) (local.get $len)))"#;
    let done = "(return (call $done (local.get $codec) (local.get $ptr) (local.get $len)))";
    let body = [
        named("up", done),
        named("no", "(return (call $undone (i32.const 1) (local.get $ptr) (local.get $len)))"),
        named("bad", "(return (call $undone (i32.const 2) (local.get $ptr) (local.get $len)))"),
        named("trap", "unreachable"),
        named("spin", "(loop $l (br $l))"),
        named("keep", &format!("{keep} {done}")),
        named("keep-bad", &format!(r#"{keep} (return (call $undone (i32.const 2) @"as told"))"#)),
        named(
            "load",
            r#"(call $host_load @"k" (i32.const 256))
               (if (i32.eqz (i32.load8_u (i32.const 264))) (then (return (call $done (i32.const 0) @"-"))))
               (return (call $done (i32.const 0) (i32.load (i32.const 268)) (i32.load (i32.const 272))))"#,
        ),
    ];
    TestGuest::new().storage().operations(&format!("{} (call $undone (i32.const 0) @\"\")", body.join("\n")))
}

fn only_operations() -> TestGuest {
    worker().without_handler()
}

fn operation(name: &str) -> OperationName {
    name.parse().unwrap()
}

fn execute(host: &Host, name: &str, input: &[u8]) -> Reply {
    bytes(host.system.execute(&super::name("a"), &operation(name), input.to_vec(), PATIENCE))
}

#[test]
fn an_operation_gives_its_result_or_why_there_is_none() {
    for guest in [worker(), only_operations()] {
        let host = Host::new();
        host.run(&Actor::new("a"), &guest);
        assert_eq!(execute(&host, "up", b"hello"), Ok(Some(b"hello".to_vec())));
        assert_eq!(execute(&host, "down", b"hello"), Err(CallError::UnknownOperation));
        let escaped = "no\\u{1b}[0m".to_owned();
        assert_eq!(execute(&host, "no", b"no\x1b[0m"), Err(CallError::InvalidInput(escaped.clone())));
        assert_eq!(execute(&host, "bad", b"no\x1b[0m"), Err(CallError::Failed(escaped)));
        assert_eq!(execute(&host, "up", b"hello"), Ok(Some(b"hello".to_vec())), "none of that broke it");
        let crash = execute(&host, "trap", b"");
        assert!(matches!(&crash, Err(CallError::Crashed(text)) if text.contains("unreachable")), "{crash:?}");
        host.until("it is up again", || host.status("a").phase == ActorPhase::Running);
        assert_eq!(execute(&host, "up", b"x"), Ok(Some(b"x".to_vec())));
        let counts = host.status("a").counts;
        assert_eq!((counts.accepted, counts.handled, counts.failed), (7, 3, 4));
        assert_eq!(host.system.dead_letters(10).1, 0, "who called was told");
        let log = host.log_text("a");
        assert!(
            log.contains("operation `bad` failed: no\\u{1b}[0m") && log.contains("crashed at operation `trap`"),
            "{log}"
        );
    }
}

#[test]
fn what_an_operation_sends_and_stores_is_kept_when_it_says_ok_and_only_then() {
    let host = Host::new();
    host.run(&with_storage("a", "read-write"), &worker());
    host.run(&Actor::new("next"), &echo());
    assert_eq!(execute(&host, "keep", b"one"), Ok(Some(b"one".to_vec())));
    host.until("what it sent is handled", || host.status("next").counts.handled == 1);
    assert!(matches!(execute(&host, "keep-bad", b"two"), Err(CallError::Failed(_))));
    assert_eq!(execute(&host, "load", b""), Ok(Some(b"one".to_vec())));
    assert_eq!(host.status("next").counts.accepted, 1, "nothing of the one that failed");
}

#[test]
fn who_has_no_operations_or_no_messages_refuses_what_it_has_not() {
    let host = Host::new();
    host.run(&Actor::new("a"), &only_operations());
    assert_eq!(host.ask("a", b"x"), Err(CallError::NoHandler));
    assert_eq!(host.system.send_from_host(&name("a"), b"x".to_vec()), Err(CallError::NoHandler));
    // Another component hears that it takes no messages: 2 is one more than `no-such-target`.
    let sender = TestGuest::new().handle(r#"(call $byte (call $send @"a" (local.get $ptr) (local.get $len)))"#);
    host.run(&Actor::new("b"), &sender);
    assert_eq!(host.ask("b", b"x"), Ok(Some(vec![2])));
    let refused = host.prepare(&Actor::new("c").every(5), &only_operations()).unwrap_err();
    assert_eq!(refused, PrepareError::NobodyToTrigger);
    let mut durable = with_storage("c", "read-write");
    durable.delivery = Delivery::Durable;
    assert_eq!(host.prepare(&durable, &only_operations()).unwrap_err(), PrepareError::NobodyToDeliverTo);
    let up = operation("up");
    let call = |target: &str| host.system.execute(&name(target), &up, b"x".to_vec(), PATIENCE);
    assert_eq!(call("b"), Err(CallError::NoOperations));
    assert_eq!(call("nobody"), Err(CallError::NoSuchTarget));
    assert_eq!(host.status("a").counts.rejected, 3, "two of the host and one of the component");
}

#[test]
fn an_operation_has_the_limits_and_the_codecs_of_a_message() {
    let host = Host::new();
    let actor = Actor { codecs: vec![Codec::Json], ..Actor::new("a") };
    let actor = actor.limits(|limits| (limits.message, limits.call) = (ByteSize(10), Millis(200)));
    host.run(&actor, &worker());
    let call = |codec, bytes: &[u8]| {
        host.system.execute(&name("a"), &operation("up"), Payload::new(codec, bytes.to_vec()), PATIENCE)
    };
    let json = Payload::new(Codec::Json, b"0123456789".to_vec());
    assert_eq!(call(Codec::Json, b"0123456789"), Ok(Some(json)));
    assert_eq!(call(Codec::Json, b"0123456789a"), Err(CallError::TooLarge(10)));
    let taken = host.status("a").record.artifact.codecs.set();
    assert_eq!(call(Codec::Yaml, b""), Err(CallError::CodecNotTaken(NotTaken { codec: Codec::Yaml, taken })));
    let input = Payload::new(Codec::Json, Vec::new());
    let late = host.system.execute(&name("a"), &operation("spin"), input, PATIENCE);
    assert!(matches!(&late, Err(CallError::Crashed(text)) if text.contains("longer than the 200ms")), "{late:?}");
}

#[test]
fn an_operation_waits_its_turn_and_expires_where_it_waits() {
    let host = Host::new();
    let actor = Actor::new("a").limits(|limits| (limits.mailbox, limits.call) = (1, Millis(1_500)));
    host.run(&actor, &worker());
    let input = || Payload::from(b"x".to_vec());
    let begin =
        |operation: &str, time| host.system.begin_execute(&name("a"), &operation.parse().unwrap(), input(), time);
    let spin = begin("spin", PATIENCE).unwrap();
    host.until("it is in hand", || host.status("a").mailbox_messages == 0);
    // The only place is taken by one whose time ends while it waits.
    let late = begin("up", Duration::from_millis(1)).unwrap();
    assert_eq!(begin("up", PATIENCE).unwrap_err(), CallError::MailboxFull);
    assert!(matches!(spin.wait(), Err(CallError::Crashed(_))));
    assert_eq!(late.wait(), Err(CallError::TimedOut));
    host.until("it is counted", || host.status("a").counts.expired == 1);
    assert_eq!(host.system.dead_letters(10).1, 0);
}

#[test]
fn an_update_to_operations_alone_ends_the_messages_that_wait_and_keeps_the_operations() {
    let host = Host::new();
    let slow = worker().handle("(loop $l (br $l)) unreachable");
    let actor = Actor::new("a").limits(|limits| limits.call = Millis(500));
    host.run(&actor, &slow);
    let spin = host.system.begin_request(&name("a"), b"in hand".to_vec(), PATIENCE).unwrap();
    host.until("it is in hand", || host.status("a").mailbox_messages == 0);
    let message = host.system.begin_request(&name("a"), b"waits".to_vec(), PATIENCE).unwrap();
    let waits = host.system.begin_execute(&name("a"), &operation("up"), b"waits, too".to_vec(), PATIENCE).unwrap();
    host.run(&actor, &only_operations());
    assert!(spin.wait().is_err());
    assert_eq!(message.wait(), Err(CallError::Stopped));
    assert_eq!(bytes(waits.wait()), Ok(Some(b"waits, too".to_vec())));
    // And back: what has no operations any more says so, and takes messages again.
    let spin = host.system.begin_execute(&name("a"), &operation("spin"), b"".to_vec(), PATIENCE).unwrap();
    host.until("it is in hand", || host.status("a").mailbox_messages == 0);
    let waits = host.system.begin_execute(&name("a"), &operation("up"), b"waits".to_vec(), PATIENCE).unwrap();
    host.run(&actor, &echo());
    assert!(spin.wait().is_err());
    assert_eq!(waits.wait(), Err(CallError::NoOperations));
    assert_eq!(host.ask("a", b"hello"), Ok(Some(b"hello".to_vec())));
}

#[test]
fn a_stateless_component_with_operations_alone_sleeps_and_wakes_up_for_one() {
    let host = Host::with(|config| config.sleep_after = Duration::from_millis(20));
    host.run(&Actor::new("a").stateless(), &only_operations());
    host.until("it sleeps", || host.status("a").asleep);
    assert_eq!(execute(&host, "up", b"x"), Ok(Some(b"x".to_vec())));
}

#[test]
fn an_operation_that_waits_when_its_actor_stops_is_told_so() {
    let host = Host::new();
    let actor = Actor::new("a").limits(|limits| {
        (limits.call, limits.drain, limits.stop) = (Millis(300), Millis(1), Millis(1_000));
    });
    host.run(&actor, &worker());
    let spin = host.system.begin_execute(&name("a"), &operation("spin"), b"".to_vec(), PATIENCE).unwrap();
    host.until("it is in hand", || host.status("a").mailbox_messages == 0);
    let waits = host.system.begin_execute(&name("a"), &operation("up"), b"".to_vec(), PATIENCE).unwrap();
    host.stop("a");
    assert!(spin.wait().is_err());
    assert_eq!(waits.wait(), Err(CallError::Stopped));
}
