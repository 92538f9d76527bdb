//! Messages between actors: who may send, in what order they come, and what becomes of each.

use super::*;
use crate::limits::Overflow;
use crate::test_scale::cases;

/// Sends its payload to `next` and answers with one byte: 0 when it was taken, else one more than the error's case.
pub(super) fn sender() -> TestGuest {
    TestGuest::new().handle(r#"(call $byte (call $send @"next" (local.get $ptr) (local.get $len)))"#)
}

pub(super) const TAKEN: u8 = 0;
const NOT_PERMITTED: u8 = 1;
pub(super) const NO_SUCH_TARGET: u8 = 2;
const REFUSED_BY_TARGET: u8 = 3;
const MAILBOX_FULL: u8 = 4;
const TOO_LARGE: u8 = 5;

#[track_caller]
pub(super) fn answers(host: &Host, actor: &str, payload: &[u8], expected: u8) {
    assert_eq!(host.ask(actor, payload), Ok(Some(vec![expected])));
}

pub(super) fn linked(name: &'static str, to: &'static str) -> Actor {
    let mut actor = Actor::new(name);
    actor.links = vec![("next", to)];
    actor
}

#[test]
fn a_message_goes_to_the_installation_that_the_link_means_with_the_senders_name() {
    let host = Host::new();
    // Logs who sent it; the kind is 0 for an installation, and its name stands at $a with length $b.
    let reader = TestGuest::new().handle(
        r#"(if (i32.eqz (local.get $kind)) (then (call $log (local.get $a) (local.get $b))))
           (call $log (local.get $ptr) (local.get $len)) (call $ok_none)"#,
    );
    host.run(&linked("writer-eu", "reader-eu"), &sender());
    host.run(&Actor::new("reader-eu"), &reader);
    answers(&host, "writer-eu", b"dear reader", TAKEN);
    host.until("it is read", || host.status("reader-eu").counts.handled == 1);
    let lines: Vec<String> = host.log("reader-eu").into_iter().map(|line| line.message).collect();
    assert!(lines.ends_with(&["writer-eu".to_owned(), "dear reader".to_owned()]), "{lines:?}");
}

#[test]
fn an_unbound_link_means_the_installation_of_the_same_word() {
    let host = Host::new();
    host.run(&Actor::new("a"), &sender());
    host.run(&Actor::new("next"), &echo());
    answers(&host, "a", b"x", TAKEN);
}

#[test]
fn what_is_not_granted_not_there_or_not_received_is_refused_and_says_which() {
    let host = Host::new();
    let mut unasked = linked("unasked", "target");
    unasked.send = vec!["other"];
    host.run(&unasked, &sender());
    host.run(&linked("asked", "target"), &sender());
    answers(&host, "unasked", b"x", NOT_PERMITTED);
    answers(&host, "asked", b"x", NO_SUCH_TARGET);

    let mut target = Actor::new("target");
    target.receive = vec!["somebody-else"];
    host.run(&target, &echo());
    answers(&host, "asked", b"x", REFUSED_BY_TARGET);

    target.receive = vec!["asked"];
    host.run(&target, &echo());
    answers(&host, "asked", b"x", TAKEN);

    host.stop("target");
    answers(&host, "asked", b"x", NO_SUCH_TARGET);
    host.run(&Actor::new("target"), &TestGuest::new().without_handler());
    answers(&host, "asked", b"x", NO_SUCH_TARGET);
}

#[test]
fn a_message_larger_than_the_target_takes_is_refused() {
    let host = Host::new();
    host.run(&linked("a", "b"), &sender());
    host.run(&Actor::new("b").limits(|limits| limits.message = ByteSize(8)), &echo());
    answers(&host, "a", b"12345678", TAKEN);
    answers(&host, "a", b"123456789", TOO_LARGE);
    assert_eq!(host.ask("b", b"123456789"), Err(CallError::TooLarge(8)));
}

/// Sends its payload to `next` as often as the first byte says, and answers how many were taken.
fn burster() -> TestGuest {
    TestGuest::new().handle(
        r#"(block $done (loop $again
             (br_if $done (i32.ge_u (local.get $i) (i32.load8_u (local.get $ptr))))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (local.set $j (i32.add (local.get $j)
               (i32.eqz (call $send @"next" (local.get $ptr) (local.get $len)))))
             (br $again)))
           (call $byte (local.get $j))"#,
    )
}

/// Waits in each message until its deadline; nothing behind it moves for that long.
fn stuck() -> TestGuest {
    TestGuest::new().handle("(loop $l (br $l)) unreachable")
}

#[test]
fn one_call_sends_no_more_than_it_may() {
    let host = Host::new();
    host.run(&linked("a", "b").limits(|limits| limits.sends = 3), &burster());
    host.run(&Actor::new("b"), &echo());
    answers(&host, "a", &[10], 3);
    host.until("they are handled", || host.status("b").counts.handled == 3);
    assert_eq!(host.status("b").counts.accepted, 3);
}

#[test]
fn one_sender_fills_no_more_than_a_quarter_of_a_mailbox() {
    let host = Host::new();
    host.run(&linked("a", "b"), &burster());
    host.run(&linked("c", "b"), &burster());
    host.run(&Actor::new("b").limits(|limits| limits.mailbox = 16), &stuck());
    host.system.send_from_host(&name("b"), b"in hand".to_vec()).unwrap();
    host.until("b has its hands full", || host.status("b").mailbox_messages == 0);
    answers(&host, "a", &[10], 4);
    answers(&host, "a", &[10], 0);
    answers(&host, "c", &[10], 4);
    assert_eq!(host.status("b").counts.rejected, 6 + 10 + 6);
    // The host itself may fill the rest.
    for _ in 0..8 {
        host.system.send_from_host(&name("b"), Vec::new()).unwrap();
    }
    assert_eq!(host.system.send_from_host(&name("b"), Vec::new()), Err(CallError::MailboxFull));
}

#[test]
fn a_mailbox_is_bounded_by_bytes_too() {
    let host = Host::new();
    host.run(&Actor::new("b").limits(|limits| limits.mailbox_bytes = ByteSize(100)), &stuck());
    host.system.send_from_host(&name("b"), b"in hand".to_vec()).unwrap();
    host.until("b has its hands full", || host.status("b").mailbox_messages == 0);
    host.system.send_from_host(&name("b"), vec![0; 60]).unwrap();
    assert_eq!(host.system.send_from_host(&name("b"), vec![0; 60]), Err(CallError::MailboxFull));
    host.system.send_from_host(&name("b"), vec![0; 40]).unwrap();
    assert_eq!(host.status("b").mailbox_bytes, 100);
}

#[test]
fn a_full_mailbox_is_an_error_at_the_call() {
    let host = Host::new();
    host.run(&linked("a", "b"), &sender());
    host.run(&Actor::new("b").limits(|limits| limits.mailbox = 1), &stuck());
    host.system.send_from_host(&name("b"), b"in hand".to_vec()).unwrap();
    host.until("b has its hands full", || host.status("b").mailbox_messages == 0);
    answers(&host, "a", b"x", TAKEN);
    answers(&host, "a", b"x", MAILBOX_FULL);
}

#[test]
fn messages_of_a_call_that_fails_or_crashes_never_leave() {
    let host = Host::new();
    let guest = TestGuest::new().handle(
        r#"(drop (call $send @"next" (local.get $ptr) (local.get $len)))
           (drop (call $send @"next" (local.get $ptr) (local.get $len)))
           (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 116)) (then unreachable))
           (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 102)) (then (return (call $error @"no"))))
           (call $ok_none)"#,
    );
    host.run(&linked("a", "b"), &guest);
    host.run(&Actor::new("b"), &echo());
    assert!(matches!(host.ask("a", b"t"), Err(CallError::Crashed(_))));
    assert!(matches!(host.ask("a", b"f"), Err(CallError::Failed(_))));
    host.ask("a", b"ok").unwrap();
    host.until("b handles", || host.status("b").counts.handled == 2);
    let status = host.status("b");
    assert_eq!((status.counts.accepted, status.mailbox_messages), (2, 0), "room of the others was given back");
}

#[test]
fn a_chain_of_messages_ends_after_sixteen_hops() {
    let host = Host::new();
    // Sends to itself and says in its log how that went.
    let guest = TestGuest::new().handle(
        r#"(if (call $send @"next" (local.get $ptr) (local.get $len)) (then (call $log @"the end")))
           (call $ok_none)"#,
    );
    host.run(&linked("echo-storm", "echo-storm"), &guest);
    host.system.send_from_host(&name("echo-storm"), b"x".to_vec()).unwrap();
    host.until("the storm is over", || host.log_text("echo-storm").contains("the end"));
    assert_eq!(host.status("echo-storm").counts.accepted, 17);
}

#[test]
fn a_message_whose_time_is_over_is_not_delivered() {
    let host = Host::new();
    host.run(&Actor::new("b").limits(|limits| limits.call = Millis(100)), &stuck());
    let in_hand = host.system.begin_request(&name("b"), Vec::new(), PATIENCE).unwrap();
    let late = host.system.begin_request(&name("b"), Vec::new(), Duration::from_millis(1)).unwrap();
    assert_eq!(late.wait(), Err(CallError::TimedOut));
    assert!(matches!(in_hand.wait(), Err(CallError::Crashed(_))));
    host.until("it expires", || host.status("b").counts.expired == 1);
    assert_eq!(host.status("b").counts.failed, 1);
}

#[test]
fn a_tick_that_finds_the_last_one_waiting_is_skipped_and_counted() {
    let host = Host::new();
    host.run(&Actor::new("slow").every(1).limits(|limits| limits.call = Millis(200)), &stuck());
    host.until("ticks are skipped", || host.status("slow").ticks_skipped >= 20);
    assert!(host.status("slow").mailbox_messages <= 1);
}

#[test]
fn a_reply_can_be_awaited_without_a_runtime_of_its_own() {
    let host = Host::new();
    host.run(&Actor::new("echo"), &echo());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let reply = runtime.block_on(host.system.begin_request(&name("echo"), b"x".to_vec(), PATIENCE).unwrap());
    assert_eq!(bytes(reply), Ok(Some(b"x".to_vec())));
}

/// One of many: `[b'B', target's number, count, base:u32]` sends `count` ordered messages to a target and answers
/// how many were taken; `[b'O', sender, number:u32]` checks that numbers of each sender rise; `t` and `f` end badly.
fn one_of_many(own: u8) -> TestGuest {
    TestGuest::new().handle(&format!(
        r#"(local.set $i (i32.load8_u (local.get $ptr)))
           (if (i32.eq (local.get $i) (i32.const 116)) (then unreachable)) ;; t
           (if (i32.eq (local.get $i) (i32.const 102)) (then (return (call $error @"no")))) ;; f
           (if (i32.eq (local.get $i) (i32.const 79)) (then ;; O
             (local.set $j (i32.add (i32.const 2048)
               (i32.mul (i32.const 4) (i32.load8_u (i32.add (local.get $ptr) (i32.const 1))))))
             (if (i32.le_u (i32.load (i32.add (local.get $ptr) (i32.const 2))) (i32.load (local.get $j)))
               (then (call $log @"out of order") (return (call $error @"out of order"))))
             (i32.store (local.get $j) (i32.load (i32.add (local.get $ptr) (i32.const 2))))
             (return (call $ok_none))))
           (local.set $i (i32.load8_u (i32.add (local.get $ptr) (i32.const 1))))
           (i32.store8 (i32.const 512) (i32.add (i32.const 97) (i32.div_u (local.get $i) (i32.const 10))))
           (i32.store8 (i32.const 513) (i32.add (i32.const 97) (i32.rem_u (local.get $i) (i32.const 10))))
           (i32.store8 (i32.const 520) (i32.const 79))
           (i32.store8 (i32.const 521) (i32.const {own}))
           (local.set $i (i32.const 0))
           (block $done (loop $again
             (br_if $done (i32.ge_u (local.get $i) (i32.load8_u (i32.add (local.get $ptr) (i32.const 2)))))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (i32.store (i32.const 522) (i32.add (local.get $i) (i32.load (i32.add (local.get $ptr) (i32.const 3)))))
             (local.set $j (i32.add (local.get $j)
               (i32.eqz (call $send (i32.const 512) (i32.const 2) (i32.const 520) (i32.const 6)))))
             (br $again)))
           (call $byte (local.get $j))"#
    ))
}

#[test]
fn every_message_among_a_hundred_actors_is_accounted_for_and_in_order_through_crashes_and_updates() {
    // With those of the host, a million and a tenth of it in a full run.
    many_actors(100, cases(100), |_| ());
}

/// Small mailboxes, so that they are full most of the time.
fn busy_actors(overflow: Overflow) -> u64 {
    many_actors(20, cases(300), |limits| {
        limits.mailbox = 48;
        (limits.mailbox_overflow, limits.mailbox_wait) = (overflow, Millis(5));
    })
}

#[test]
fn every_message_is_accounted_for_and_in_order_where_the_oldest_makes_room() {
    assert!(busy_actors(Overflow::DropOldest) > 0);
}

#[test]
fn every_message_is_accounted_for_and_in_order_where_the_newest_is_dropped() {
    assert!(busy_actors(Overflow::DropNewest) > 0);
}

#[test]
fn every_message_is_accounted_for_and_in_order_where_senders_wait() {
    busy_actors(Overflow::Wait);
}

/// Each of so many actors is told so often to send a burst of messages to another one. Gives how many were dropped.
fn many_actors(actors: u8, bursts: u32, change: impl Fn(&mut Limits)) -> u64 {
    const BURST: u8 = 10;
    let letters = |i: u8| [b'a' + i / 10, b'a' + i % 10].map(char::from).iter().collect::<String>();
    let names: Vec<&'static str> = (0..actors).map(|i| &*String::leak(letters(i))).collect();
    let host = Host::new();
    let actor = |i: u8| {
        let mut actor = Actor::new(names[usize::from(i)]).limits(&change);
        actor.supervision = Supervision {
            max_restarts: u32::MAX,
            backoff: Millis(1),
            backoff_max: Millis(2),
            ..Supervision::default()
        };
        actor
    };
    let guests: Vec<CompiledComponent> = (0..actors).map(|i| host.compile(&one_of_many(i))).collect();
    let start = |i: u8| {
        let standby = host.prepare_compiled(&actor(i), &guests[usize::from(i)]).unwrap();
        assert_eq!(host.activate(standby), Switched::Done);
    };
    (0..actors).for_each(start);

    // A fixed seed: the schedule of the host's messages is the same in every run, that of the threads is not.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let (mut accepted_from_host, mut taken) = (0u64, 0u64);
    let mut pending = Vec::new();
    for round in 0..bursts {
        for from in 0..actors {
            let to = u8::try_from(next(u64::from(actors))).unwrap();
            let mut order = vec![b'B', to, BURST];
            order.extend_from_slice(&(round * u32::from(BURST)).to_le_bytes());
            let order = match next(200) {
                0 => vec![b't'],
                1 => vec![b'f'],
                _ => order,
            };
            match host.system.begin_request(&name(names[usize::from(from)]), order, PATIENCE) {
                Ok(reply) => {
                    accepted_from_host += 1;
                    pending.push(reply);
                }
                Err(error) => assert_eq!(error, CallError::MailboxFull),
            }
        }
        if round % 20 == 10 {
            start(u8::try_from(next(u64::from(actors))).unwrap());
        }
        // A limited lead, so that mailboxes fill up now and then and not always.
        let lead = 10 * usize::from(actors);
        if pending.len() > 2 * lead {
            for reply in pending.drain(..lead) {
                if let Ok(Some(count)) = bytes(reply.wait()) {
                    taken += u64::from(count[0]);
                }
            }
        }
    }
    for reply in pending {
        if let Ok(Some(count)) = bytes(reply.wait()) {
            taken += u64::from(count[0]);
        }
    }
    let statuses = || host.system.statuses();
    host.until("everything is worked off", || {
        statuses().iter().all(|s| s.mailbox_messages == 0 && s.counts.accepted == s.counts.handled + s.counts.dead())
    });
    let sum = |count: fn(&ActorStatus) -> u64| statuses().iter().map(count).sum::<u64>();
    assert_eq!(sum(|s| s.counts.accepted), accepted_from_host + taken);
    assert!(taken > u64::from(bursts), "many went through: {taken}");
    assert!(sum(|s| s.crashes) > 0 && sum(|s| s.counts.failed) > 0);
    for own in names {
        assert!(!host.log_text(own).contains("out of order"), "{own}");
    }
    assert!(statuses().iter().all(|s| s.mailbox_bytes == 0), "no room is lost");
    sum(|s| s.counts.dropped)
}

#[test]
fn what_dies_is_kept_with_its_reason_and_its_content_and_can_be_sent_again_once() {
    let host = Host::new();
    let soon = |limits: &mut Limits| (limits.drain, limits.stop, limits.call) = (Millis(1), Millis(50), Millis(300));
    host.run(&linked("a", "b"), &sender());
    host.run(&Actor::new("b"), &TestGuest::new().handle(r#"(call $error @"not today")"#));
    answers(&host, "a", b"hello", TAKEN);
    host.until("it fails", || host.status("b").counts.failed == 1);
    let (letters, kept, total) = host.system.dead_letters(10);
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((kept, total, &*letter.payload.bytes, letter.reason), (1, 1, &b"hello"[..], DeadReason::Failed));
    assert_eq!((letter.sender.clone(), letter.target.as_str()), (Sender::Installation("a".into()), "b"));
    assert_eq!(letter.why.as_deref(), Some("not today"));

    // The repaired version gets it in the name of who sent it.
    let reader = TestGuest::new().handle(
        "(call $log (local.get $a) (local.get $b)) (call $log (local.get $ptr) (local.get $len)) (call $ok_none)",
    );
    host.run(&Actor::new("b"), &reader);
    let id = letter.id;
    host.system.replay(id).unwrap();
    assert_eq!(host.system.replay(id), Err(ReplayError::Unknown));
    host.until("it is read", || host.status("b").counts.handled == 1);
    let lines: Vec<String> = host.log("b").into_iter().map(|line| line.message).collect();
    assert!(lines.ends_with(&["a".to_owned(), "hello".to_owned()]), "{lines:?}");

    // A crash, and what waits behind it when the actor stops.
    host.run(&Actor::new("b").limits(soon), &stuck());
    host.system.send_from_host(&name("b"), b"in hand".to_vec()).unwrap();
    host.until("b has its hands full", || host.status("b").mailbox_messages == 0);
    answers(&host, "a", b"waits", TAKEN);
    host.stop("b");
    let (letters, kept, total) = host.system.dead_letters(10);
    let found: Vec<_> = letters.iter().map(|letter| (&*letter.payload.bytes, letter.reason)).collect();
    assert_eq!(found, [(&b"in hand"[..], DeadReason::Failed), (&b"waits"[..], DeadReason::Stopped)]);
    assert_eq!((kept, total), (2, 3));
    assert_eq!(host.system.replay(letters[1].id), Err(ReplayError::NotTaken(CallError::NoSuchTarget)));
    assert!(host.system.dead_letter(letters[1].id).is_some(), "what is not taken stays");

    let mut deaf = Actor::new("b");
    deaf.receive = vec!["somebody-else"];
    host.run(&deaf, &echo());
    assert_eq!(host.system.replay(letters[1].id), Err(ReplayError::NotReceived("a".to_owned())));

    // Removed and installed again it is another one, whatever its name.
    host.stop("b");
    let standby = host.prepare_with_storage(&Actor::new("b"), &echo(), Some(2)).unwrap();
    host.activate(standby);
    assert_eq!(host.system.replay(letters[1].id), Err(ReplayError::OtherInstallation));
}
