//! Requests between actors: each gets one answer, nothing waits, and nothing is left behind.

use super::*;

/// Asks `next` with its payload after the first byte, which is the time in units of 100 ms, and answers nothing; says
/// in its log what was answered: `reply`, its bytes, `no reply`, or the place of the error as a letter from `A`.
/// `!` gives up at once what it asked, `t` traps after asking, `f` fails after asking.
fn asker() -> TestGuest {
    TestGuest::new()
        .functions(
            r#"(global $last (mut i64) (i64.const -1))
               (func $letter (param $n i32)
                 (i32.store8 (i32.const 300) (i32.add (i32.const 65) (local.get $n)))
                 (call $log (i32.const 300) (i32.const 1)))"#,
        )
        .handle(
            r#"(local.set $i (i32.load8_u (local.get $ptr)))
               (if (i32.eq (local.get $i) (i32.const 99)) ;; c
                 (then (return (call $byte (call $cancel (global.get $last))))))
               (global.set $last (call $request @"next"
                 (i32.add (local.get $ptr) (i32.const 1)) (i32.sub (local.get $len) (i32.const 1))
                 (i64.mul (i64.const 100) (i64.extend_i32_u (i32.and (local.get $i) (i32.const 15))))))
               (if (i64.eq (global.get $last) (i64.const -100)) (then (return (call $byte (i32.const 100)))))
               (if (i64.lt_s (global.get $last) (i64.const 0))
                 (then (return (call $byte (i32.wrap_i64 (i64.sub (i64.const 0) (global.get $last)))))))
               (if (i32.eq (local.get $i) (i32.const 33)) (then (return (call $byte (call $cancel (global.get $last))))))
               (if (i32.eq (local.get $i) (i32.const 116)) (then unreachable))
               (if (i32.eq (local.get $i) (i32.const 102)) (then (return (call $error @"no"))))
               (call $ok_none)"#,
        )
        .callback(
            r#"(if (local.get $failed) (then (call $letter (local.get $kind)) (return (call $ok_unit))))
               (if (i32.eqz (local.get $kind)) (then (call $log @"no reply") (return (call $ok_unit))))
               (call $log @"reply")
               (call $log (i32.wrap_i64 (local.get $ptr)) (local.get $len))
               (call $ok_unit)"#,
        )
}

fn asking(own: &'static str, of: &'static str) -> Actor {
    let mut actor = Actor::new(own);
    actor.links = vec![("next", of)];
    actor
}

/// Never answers.
fn stuck() -> TestGuest {
    TestGuest::new().handle("(loop $l (br $l)) unreachable")
}

fn said(host: &Host, actor: &str) -> Vec<String> {
    let own = |line: &LogLine| line.source == crate::logs::Source::Guest;
    host.log(actor).iter().filter(|line| own(line)).map(|line| line.message.clone()).collect()
}

#[track_caller]
fn says(host: &Host, actor: &str, expected: &[&str]) {
    host.until("the answer comes", || said(host, actor).len() >= expected.len());
    assert_eq!(said(host, actor), expected);
}

const FAILED: &str = "A";
const CRASHED: &str = "B";
const STOPPED: &str = "C";
const TIMED_OUT: &str = "D";
const TOO_LARGE: &str = "E";
/// `0` as a time: the usual one.
const USUAL: &[u8] = b"0";

#[track_caller]
fn adds_up(host: &Host, actor: &str) -> RequestCounts {
    let counts = host.status(actor).requests;
    let ended = counts.answered + counts.failed + counts.timed_out + counts.cancelled;
    assert_eq!(counts.opened, ended + counts.open, "{counts:?}");
    counts
}

#[test]
fn an_answer_comes_to_the_callback_handler() {
    let host = Host::new();
    host.run(&asking("a", "echo"), &asker());
    host.run(&Actor::new("echo"), &echo());
    assert_eq!(host.ask("a", b"0hello"), Ok(None));
    says(&host, "a", &["reply", "hello"]);
    let counts = adds_up(&host, "a");
    assert_eq!((counts.opened, counts.answered, counts.open), (1, 1, 0));
    assert_eq!(host.status("a").counts.accepted, 1, "an answer is no message");
}

#[test]
fn an_answer_may_be_none_or_an_error_or_the_end_of_the_target() {
    let host = Host::new();
    host.run(&asking("a", "b"), &asker());
    let b = Actor::new("b");
    host.run(&b, &TestGuest::new());
    host.ask("a", USUAL).unwrap();
    says(&host, "a", &["no reply"]);
    host.run(&b, &TestGuest::new().handle(r#"(call $error @"not today")"#));
    host.ask("a", USUAL).unwrap();
    says(&host, "a", &["no reply", FAILED]);
    host.run(&b, &TestGuest::new().handle("unreachable"));
    host.ask("a", USUAL).unwrap();
    says(&host, "a", &["no reply", FAILED, CRASHED]);
    assert_eq!(adds_up(&host, "a").failed, 2);
}

#[test]
fn what_waits_in_a_target_that_is_stopped_is_answered_with_that() {
    let host = Host::new();
    let soon = |limits: &mut Limits| (limits.drain, limits.stop, limits.call) = (Millis(1), Millis(50), Millis(300));
    host.run(&asking("a", "b"), &asker());
    host.run(&Actor::new("b").limits(soon), &stuck());
    host.system.send_from_host(&name("b"), Vec::new()).unwrap();
    host.until("b has its hands full", || host.status("b").mailbox_messages == 0);
    host.ask("a", b"?").unwrap();
    assert_eq!(host.status("b").mailbox_messages, 1);
    host.stop("b");
    says(&host, "a", &[STOPPED]);
}

#[test]
fn the_host_ends_a_request_in_time_and_the_late_answer_is_nobodys() {
    let host = Host::new();
    host.run(&asking("a", "b"), &asker());
    host.run(&Actor::new("b").limits(|limits| limits.call = Millis(400)), &stuck());
    // `1`: a tenth of a second.
    host.ask("a", b"1").unwrap();
    host.ask("a", b"1").unwrap();
    says(&host, "a", &[TIMED_OUT, TIMED_OUT]);
    host.until("the second one expires in the mailbox", || host.status("b").counts.expired == 1);
    host.until("both answers came late", || host.status("a").requests.late == 2);
    assert_eq!(said(&host, "a").len(), 2);
    let counts = adds_up(&host, "a");
    assert_eq!((counts.timed_out, counts.open), (2, 0));
}

#[test]
fn an_answer_larger_than_the_asker_takes_is_an_error() {
    let host = Host::new();
    host.run(&asking("a", "echo").limits(|limits| limits.message = ByteSize(8)), &asker());
    let long = TestGuest::new().handle(r#"(call $ok_some @"123456789")"#);
    host.run(&Actor::new("echo"), &long);
    host.ask("a", USUAL).unwrap();
    says(&host, "a", &[TOO_LARGE]);
}

#[test]
fn a_request_leaves_only_when_its_call_ends_well() {
    let host = Host::new();
    host.run(&asking("a", "echo"), &asker());
    host.run(&Actor::new("echo"), &echo());
    assert!(matches!(host.ask("a", b"f"), Err(CallError::Failed(_))));
    assert!(matches!(host.ask("a", b"t"), Err(CallError::Crashed(_))));
    host.until("a is back", || host.status("a").phase == ActorPhase::Running);
    host.ask("a", b"0x").unwrap();
    says(&host, "a", &["reply", "x"]);
    assert_eq!(host.status("echo").counts.accepted, 1);
    assert_eq!(host.status("echo").mailbox_messages, 0);
}

#[test]
fn a_request_is_given_up_before_and_after_it_left() {
    let host = Host::new();
    host.run(&asking("a", "b"), &asker());
    host.run(&Actor::new("b").limits(|limits| limits.call = Millis(300)), &stuck());
    assert_eq!(host.ask("a", b"!"), Ok(Some(vec![1])), "it was pending");
    assert_eq!(host.ask("a", b"c"), Ok(Some(vec![0])), "it is gone");
    assert_eq!(host.status("b").counts.accepted, 0);
    host.ask("a", USUAL).unwrap();
    assert_eq!(host.ask("a", b"c"), Ok(Some(vec![1])), "it was open");
    host.until("b has its end", || host.status("b").counts.failed == 1);
    host.ask("a", b"c").unwrap();
    assert_eq!(said(&host, "a"), Vec::<String>::new());
    let counts = adds_up(&host, "a");
    assert_eq!((counts.opened, counts.cancelled), (1, 1));
}

#[test]
fn one_instance_has_no_more_open_requests_than_it_may() {
    let host = Host::new();
    host.run(&asking("a", "b").limits(|limits| limits.open_requests = 3), &asker());
    host.run(&Actor::new("b").limits(|limits| limits.call = Millis(500)), &stuck());
    for _ in 0..3 {
        assert_eq!(host.ask("a", b"1"), Ok(None));
    }
    assert_eq!(host.ask("a", b"1"), Ok(Some(vec![100])));
    says(&host, "a", &[TIMED_OUT; 3]);
    assert_eq!(host.ask("a", b"1"), Ok(None), "there is room again");
    assert!(host.status("b").counts.accepted == 4);
}

#[test]
fn a_mailbox_that_is_full_when_the_request_leaves_blocks_no_answer() {
    let host = Host::new();
    // An empty message: fills the only place in its own mailbox, and asks. What fills it asks nothing.
    let guest = asker().handle(
        r#"(if (local.get $len) (then (return (call $ok_none))))
           (if (call $send @"self" @"x") (then unreachable))
           (if (i32.eqz (call $send @"self" @"x")) (then unreachable))
           (drop (call $request @"next" @"hello" (i64.const 0)))
           (call $ok_none)"#,
    );
    let mut actor = asking("a", "echo").limits(|limits| limits.mailbox = 1);
    actor.links.push(("self", "a"));
    host.run(&actor, &guest);
    host.run(&Actor::new("echo"), &echo());
    host.ask("a", b"").unwrap();
    says(&host, "a", &["reply", "hello"]);
    assert_eq!(adds_up(&host, "a").answered, 1);
}

#[test]
fn an_actor_that_asks_itself_does_not_wait_for_itself() {
    let host = Host::new();
    let guest = asker().handle(
        r#"(if (i32.eqz (local.get $kind)) (then (return (call $ok_some (local.get $ptr) (local.get $len)))))
           (drop (call $request @"next" (local.get $ptr) (local.get $len) (i64.const 0)))
           (call $ok_none)"#,
    );
    host.run(&asking("a", "a"), &guest);
    host.ask("a", b"me").unwrap();
    says(&host, "a", &["reply", "me"]);
}

#[test]
fn answers_end_with_the_instance_that_asked() {
    let host = Host::new();
    host.run(&asking("a", "b"), &asker());
    host.run(&Actor::new("b").limits(|limits| limits.call = Millis(200)), &stuck());
    host.ask("a", USUAL).unwrap();
    // An update of the asker: the new instance never asked.
    host.run(&asking("a", "b"), &asker());
    host.until("b has its end", || host.status("b").counts.failed == 1);
    host.until("it is counted", || adds_up(&host, "a").cancelled == 1);
    host.ask("a", b"c").unwrap();
    assert_eq!(said(&host, "a"), Vec::<String>::new());
}

#[test]
fn a_component_that_asks_and_takes_no_answers_is_refused() {
    let host = Host::new();
    let error = host.prepare(&Actor::new("a"), &asker().without_callback_handler()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the component imports `airssys:component/requests@0.1.0` and does not export \
         `airssys:component/callback-handler@0.1.0`, so no answer would reach it"
    );
}
