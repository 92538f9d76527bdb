//! Full mailboxes: what becomes of a message that comes to one, and of who sent it.

use super::gate::{Gate, ONE, gated};
use super::messages::{NO_SUCH_TARGET, TAKEN, answers, linked, sender};
use super::storage::{keeper, with_storage};
use super::*;
use crate::limits::{MAX_MAILBOX_WAIT_MS, Overflow};

/// A receiver with room for two messages that stands at the gate with a write in hand.
fn busy(overflow: Overflow, wait_ms: u64) -> (Host, Gate) {
    let (host, gate) = gated();
    let mut receiver = with_storage("b", "read-write");
    receiver.limits.mailbox = 2;
    (receiver.limits.mailbox_overflow, receiver.limits.mailbox_wait) = (overflow, Millis(wait_ms));
    host.activate(host.prepare_with_storage(&receiver, &keeper(), Some(1)).unwrap());
    host.run(&linked("a", "b"), &sender());
    host.run(&Actor::new("other"), &echo());
    host.system.send_from_host(&name("b"), b"set one".to_vec()).unwrap();
    assert_eq!(gate.arrives(), ONE);
    (host, gate)
}

fn begin(host: &Host, actor: &str, payload: &[u8]) -> PendingReply {
    host.system.begin_request(&name(actor), payload.to_vec(), PATIENCE).unwrap()
}

/// Asks through the only worker, which lies behind everything that it was given before.
fn passes(host: &Host) {
    assert_eq!(bytes(begin(host, "other", b"?").wait()), Ok(Some(b"?".to_vec())));
}

#[track_caller]
fn is_worked_off(host: &Host, actor: &str) {
    host.until("all is worked off", || {
        let ActorStatus { counts, mailbox_messages, .. } = host.status(actor);
        mailbox_messages == 0 && counts.accepted == counts.handled + counts.dead()
    });
}

/// Contents of the dead letters, all of one reason.
fn dead(host: &Host, reason: DeadReason) -> Vec<String> {
    let letters = host.system.dead_letters(100).0;
    assert!(letters.iter().all(|letter| letter.reason == reason), "{letters:?}");
    letters.iter().map(|letter| String::from_utf8(letter.payload.bytes.clone()).unwrap()).collect()
}

#[test]
fn the_newest_is_dropped_and_who_asked_is_told() {
    let (host, gate) = busy(Overflow::DropNewest, 1);
    for payload in [b"g1", b"g2", b"g3"] {
        answers(&host, "a", payload, TAKEN);
    }
    let of_the_host = begin(&host, "b", b"g4");
    assert_eq!(of_the_host.wait(), Err(CallError::Dropped));
    assert_eq!(dead(&host, DeadReason::Dropped), ["g3", "g4"]);
    gate.opens();
    is_worked_off(&host, "b");
    let counts = host.status("b").counts;
    assert_eq!((counts.accepted, counts.handled, counts.dropped, counts.rejected), (5, 3, 2, 0));
}

#[test]
fn the_oldest_makes_room_whoever_sent_it() {
    let (host, gate) = busy(Overflow::DropOldest, 1);
    let first = begin(&host, "b", b"g0");
    for payload in [b"g1", b"g2", b"g3"] {
        answers(&host, "a", payload, TAKEN);
    }
    assert_eq!(first.wait(), Err(CallError::Dropped));
    assert_eq!(dead(&host, DeadReason::Dropped), ["g0", "g1"]);
    gate.opens();
    is_worked_off(&host, "b");
    let counts = host.status("b").counts;
    assert_eq!((counts.accepted, counts.handled, counts.dropped), (5, 3, 2));
}

#[test]
fn who_waits_for_room_handles_nothing_else_and_holds_no_thread() {
    let (host, gate) = busy(Overflow::Wait, MAX_MAILBOX_WAIT_MS);
    for payload in [b"g1", b"g2", b"g3"] {
        answers(&host, "a", payload, TAKEN);
    }
    assert_eq!(host.status("b").mailbox_messages, 3, "one of them outside");
    // The call is over and answered; the next one is not begun.
    let next = begin(&host, "a", b"g4");
    passes(&host);
    assert!(!next.is_there());
    assert_eq!(host.system.send_from_host(&name("b"), b"g".to_vec()), Err(CallError::MailboxFull), "nobody waits");
    gate.opens();
    assert_eq!(bytes(next.wait()), Ok(Some(vec![TAKEN])));
    is_worked_off(&host, "b");
    let counts = host.status("b").counts;
    assert_eq!((counts.accepted, counts.handled, counts.rejected), (5, 5, 1));
    assert_eq!(host.system.stuck_threads(), (0, 0));
}

#[test]
fn a_wait_is_over_in_time_and_the_message_dead() {
    let (host, gate) = busy(Overflow::Wait, 20);
    for payload in [b"g1", b"g2", b"g3", b"g4"] {
        answers(&host, "a", payload, TAKEN);
    }
    host.until("the last one is given up", || host.status("b").counts.dropped == 2);
    assert_eq!(dead(&host, DeadReason::Dropped), ["g3", "g4"]);
    gate.opens();
    is_worked_off(&host, "b");
    assert_eq!(host.status("b").counts.handled, 3);
}

#[test]
fn two_that_wait_for_one_another_come_free() {
    let (host, gate) = gated();
    // `m` is kept, and then something goes to the other; all else is only taken.
    let guest = TestGuest::new().storage().handle(
        r#"(if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 109)) (then
             (call $host_store @"k" (local.get $ptr) (local.get $len) (i32.const 256))
             (drop (call $send @"next" @"from the other"))))
           (call $ok_none)"#,
    );
    for (own, other, id) in [("x", "y", 1), ("y", "x", 2)] {
        let mut actor = with_storage(own, "read-write");
        actor.links = vec![("next", other)];
        actor.limits.mailbox = 1;
        (actor.limits.mailbox_overflow, actor.limits.mailbox_wait) = (Overflow::Wait, Millis(50));
        host.activate(host.prepare_with_storage(&actor, &guest, Some(id)).unwrap());
    }
    // Each has a call in hand whose message finds the other's mailbox full, and the other in the same place.
    let begin = |own| {
        host.system.send_from_host(&name(own), b"m".to_vec()).unwrap();
        let brought = if own == "x" { 1 } else { 2 };
        host.until("it is in hand", || gate.store.brought() == brought);
        host.system.send_from_host(&name(own), b"waits".to_vec()).unwrap();
    };
    begin("x");
    assert_eq!(gate.arrives(), ONE);
    begin("y");
    gate.opens();
    assert_eq!(gate.arrives(), ONE);
    gate.opens();
    let counts = |own: &str| host.status(own).counts;
    host.until("both have gone on", || {
        ["x", "y"].iter().all(|own| counts(own).accepted == 3 && counts(own).handled + counts(own).dropped == 3)
    });
    assert!(counts("x").dropped + counts("y").dropped >= 1, "the first to go on gave up its wait");
    assert!(counts("x").handled >= 2 && counts("y").handled >= 2);
}

#[test]
fn a_call_sends_itself_no_more_than_it_has_room_for() {
    let host = Host::new();
    let mut actor = linked("a", "a").limits(|limits| limits.mailbox = 4);
    (actor.limits.mailbox_overflow, actor.limits.mailbox_wait) = (Overflow::Wait, Millis(MAX_MAILBOX_WAIT_MS));
    // Sends to itself until it is told to stop.
    let guest = TestGuest::new().handle(
        r#"(block $done (loop $again
             (br_if $done (call $send @"next" @"x"))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (br_if $again (i32.load8_u (local.get $ptr)))))
           (call $byte (local.get $i))"#,
    );
    host.run(&actor, &guest);
    assert_eq!(host.ask("a", b"more"), Ok(Some(vec![1])), "its share, and no wait for itself");
    host.until("it ends", || host.status("a").mailbox_messages == 0);
}

#[test]
fn a_sender_that_waits_can_be_replaced_and_stopped_and_what_waits_outside_comes_all_the_same() {
    let (host, gate) = busy(Overflow::Wait, MAX_MAILBOX_WAIT_MS);
    for payload in [b"g1", b"g2", b"g3"] {
        answers(&host, "a", payload, TAKEN);
    }
    let next = begin(&host, "a", b"g4");
    host.run(&linked("a", "b").limits(|limits| limits.drain = Millis(20)), &sender());
    passes(&host);
    assert!(!next.is_there(), "the new version waits, too");
    assert_eq!(host.stop("a"), Switched::Done, "not longer than it may drain");
    assert_eq!(next.wait(), Err(CallError::Stopped));
    gate.opens();
    host.until("what was sent comes", || host.status("b").counts.handled == 4);
    is_worked_off(&host, "b");
}

#[test]
fn a_receiver_that_ends_lets_go_of_who_waits_for_it() {
    let (host, gate) = busy(Overflow::Wait, MAX_MAILBOX_WAIT_MS);
    for payload in [b"g1", b"g2", b"g3"] {
        answers(&host, "a", payload, TAKEN);
    }
    let next = begin(&host, "a", b"g4");
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| host.stop("b"));
        host.until("it takes no more", || host.status("b").phase == ActorPhase::Stopping);
        gate.opens();
        assert_eq!(stopping.join().unwrap(), Switched::Done);
    });
    assert_eq!(bytes(next.wait()), Ok(Some(vec![NO_SUCH_TARGET])), "the sender goes on");
}

#[test]
fn ticks_push_nobody_out_and_wait_for_nobody() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Wait] {
        let (host, gate) = gated();
        let mut actor = with_storage("b", "read-write").every(1);
        actor.limits.mailbox = 2;
        actor.limits.mailbox_overflow = overflow;
        // Only what is no tick stores something.
        let guest = TestGuest::new().storage().handle(
            r#"(if (local.get $len) (then (call $host_store @"k" (local.get $ptr) (local.get $len) (i32.const 256))))
               (call $ok_none)"#,
        );
        host.activate(host.prepare_with_storage(&actor, &guest, Some(1)).unwrap());
        // At most one tick waits, so there is room.
        host.system.send_from_host(&name("b"), b"set".to_vec()).unwrap();
        assert_eq!(gate.arrives(), ONE);
        for _ in 0..2 {
            // Fills what is left, and may push a tick out; a tick must not do the same.
            let _ = host.system.send_from_host(&name("b"), b"set".to_vec());
        }
        let (dropped, skipped) = (host.status("b").counts.dropped, host.status("b").ticks_skipped);
        host.until("ticks find no room", || host.status("b").ticks_skipped > skipped + 3);
        let status = host.status("b");
        assert_eq!((status.counts.dropped, status.mailbox_messages), (dropped, 2), "{overflow}");
    }
}
