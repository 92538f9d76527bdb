//! A message is accepted when it is written, and stays written until its effect is.

use std::num::NonZeroUsize;

use super::super::gate::gated_as;
use super::*;

#[test]
fn a_store_in_memory_and_a_component_without_a_handler_are_refused() {
    let host = Host::new();
    let refused = host.prepare(&durable("a"), &echo()).unwrap_err();
    assert_eq!(refused, PrepareError::ForgetfulStore);
    assert!(refused.to_string().contains("delivery = \"durable\""), "{refused}");
    let (host, _) = Arc::new(Lasting::default()).host();
    let refused = host.prepare(&durable("a"), &TestGuest::new().without_handler()).unwrap_err();
    assert_eq!(refused, PrepareError::NobodyToDeliverTo);
}

#[test]
fn it_needs_no_storage_permission_and_leaves_nothing_behind() {
    let (host, store) = Arc::new(Lasting::default()).host();
    run(&host, &durable("a"), &echo(), 7);
    assert_eq!(host.ask("a", b"hello"), Ok(Some(b"hello".to_vec())));
    assert!(store.mailboxes().unwrap().is_empty());
    assert_eq!(store.usage(7).unwrap(), crate::storage::Usage::default());
    adds_up(&host, "a");
}

#[test]
fn the_host_s_message_is_accepted_when_it_is_written_and_answered_when_its_end_is() {
    let (host, gate) = gated_as(BackendKind::Fjall);
    run(&host, &durable("a"), &echo(), 7);
    assert_eq!(gate.arrives(), 1, "the mark of an open mailbox");
    gate.opens();
    let pending = begin(&host, "a", b"hello");
    assert_eq!(gate.arrives(), 2, "the message, and the numbers that are set aside");
    assert_eq!(host.status("a").counts.accepted, 0);
    gate.opens();
    assert_eq!(gate.arrives(), 1, "its end");
    assert!(!pending.is_there());
    assert_eq!((host.status("a").counts.accepted, host.status("a").counts.handled), (1, 0));
    gate.opens();
    assert_eq!(pending.wait(), Ok(Some(b"hello".to_vec().into())));
}

#[test]
fn what_can_not_be_written_was_never_sent() {
    let (host, gate) = gated_as(BackendKind::Fjall);
    run(&host, &durable("a"), &echo(), 7);
    gate.arrives();
    gate.opens();
    let pending = begin(&host, "a", b"hello");
    gate.arrives();
    gate.fails();
    assert!(matches!(pending.wait(), Err(CallError::NotWritten(why)) if why.contains("no space left on device")));
    host.until("its room is free", || host.status("a").mailbox_messages == 0);
    assert_eq!(host.status("a").counts.accepted, 0);
}

#[test]
fn one_that_only_sends_to_it_waits_for_its_commit_and_many_share_one() {
    const SENDERS: usize = 20;
    let (host, gate) = gated_as(BackendKind::Fjall);
    run(&host, &durable("target"), &TestGuest::new(), 7);
    gate.arrives();
    gate.opens();
    let guest = host.compile(
        &TestGuest::new().handle(r#"(drop (call $send @"target" (local.get $ptr) (local.get $len))) (call $ok_none)"#),
    );
    let names: Vec<&'static str> = (0..=SENDERS).map(|n| &*format!("s{n}").leak()).collect();
    for own in &names {
        host.activate(host.prepare_as(&Actor::new(own), &guest, Some(100)).unwrap());
    }
    let first = begin(&host, names[0], b"x");
    gate.arrives();
    let others: Vec<_> = names[1..].iter().map(|own| begin(&host, own, b"x")).collect();
    let brought = gate.store.brought();
    host.until("all have brought theirs", || gate.store.brought() >= 2 + SENDERS as u64);
    assert!(brought <= gate.store.brought() && !first.is_there() && others.iter().all(|other| !other.is_there()));
    assert_eq!(host.status("target").counts.accepted, 0);
    gate.opens();
    assert_eq!(first.wait(), Ok(None));
    // All that waited are one commit, together with what became of the first message by then.
    assert!(gate.arrives() >= SENDERS);
    gate.opens_for_good();
    assert!(others.into_iter().all(|other| other.wait() == Ok(None)));
    host.until("all came", || host.status("target").counts.handled == 1 + SENDERS as u64);
}

#[test]
fn its_bounds_hold_for_what_is_in_the_store_also_after_a_restart() {
    let lasting = Arc::new(Lasting::default());
    let small = || durable("a").limits(|limits| (limits.mailbox, limits.call) = (3, Millis(60_000)));
    let (host, _) = lasting.host();
    run(&host, &small(), &stuck(), 7);
    for _ in 0..3 {
        send(&host, "a", b"x");
    }
    assert_eq!(host.system.send_from_host(&name("a"), b"x".to_vec()), Err(CallError::MailboxFull));
    assert_eq!(host.status("a").mailbox_messages, 3, "the one in hand is in the store as well");
    let killed = lasting.killed();
    let (host, store) = killed.host();
    run(&host, &small(), &stuck(), 7);
    assert_eq!(host.system.send_from_host(&name("a"), b"x".to_vec()), Err(CallError::MailboxFull));
    assert_eq!((host.status("a").mailbox_messages, store.contents(7).len()), (3, 3));
    adds_up(&host, "a");
}

#[test]
fn a_sender_s_share_holds_over_versions_and_restarts() {
    const TAKEN: Reply = Ok(Some(Vec::new()));
    let sends = || {
        TestGuest::new().handle(
            r#"(if (call $send @"a" (local.get $ptr) (local.get $len)) (then (return (call $error @"full"))))
               (call $ok_some (local.get $ptr) (i32.const 0))"#,
        )
    };
    let lasting = Arc::new(Lasting::default());
    let small = || durable("a").limits(|limits| (limits.mailbox, limits.call) = (8, Millis(60_000)));
    let is_full = |host: &Host| matches!(host.ask("sender", b"x"), Err(CallError::Failed(why)) if why == "full");
    let (host, _) = lasting.host();
    run(&host, &small(), &stuck(), 7);
    run(&host, &Actor::new("sender"), &sends(), 8);
    assert_eq!([host.ask("sender", b"x"), host.ask("sender", b"x")], [TAKEN, TAKEN]);
    assert!(is_full(&host), "a quarter of eight");
    run(&host, &Actor::new("sender"), &sends(), 8);
    assert!(is_full(&host), "a new version has no new share");
    let (host, _) = lasting.killed().host();
    run(&host, &small(), &stuck(), 7);
    run(&host, &Actor::new("sender"), &sends(), 8);
    assert!(is_full(&host));
    assert_eq!(host.status("a").mailbox_messages, 2);
}

#[test]
fn ticks_are_written_like_all_others() {
    let lasting = Arc::new(Lasting::default());
    let (host, store) = lasting.host();
    run(&host, &durable("a").every(1), &TestGuest::new(), 7);
    host.until("ticks come", || host.status("a").counts.handled >= 5);
    assert!(store.counts().sets >= 10, "each was written, and its end");
}

/// What the mailbox holds is worked off by the new version, in order, and what comes meanwhile behind it.
#[test]
fn what_waits_at_the_time_of_an_update_goes_to_the_new_version_in_order_and_once() {
    let lasting = Arc::new(Lasting::default());
    let store = lasting.store();
    let storage = Storage::of(Arc::clone(&store));
    let host = Host::with(|config| (config.storage, config.workers) = (storage, Some(NonZeroUsize::MIN)));
    run(&host, &link("a", "nobody"), &logger(), 7);
    let mut all = String::new();
    for round in 0..20 {
        for n in 0..5 {
            let payload = format!("{round:02}{n} ");
            send(&host, "a", payload.as_bytes());
            all += &payload;
        }
        run(&host, &link("a", "nobody"), &logger(), 7);
    }
    assert_eq!(log_of(&host, "a"), all);
    host.until("nothing is left", || is_idle(&host, "a"));
    assert!(store.mailboxes().unwrap().is_empty() && reasons(&host).is_empty());
}

#[test]
fn whoever_gives_durable_up_keeps_what_was_accepted() {
    let lasting = Arc::new(Lasting::default());
    let (host, _) = lasting.host();
    run(&host, &durable("a").limits(|limits| limits.call = Millis(60_000)), &stuck(), 7);
    send(&host, "a", b"one");
    send(&host, "a", b"duo");
    let killed = lasting.killed();
    let (host, store) = killed.host();
    let mut forgetful = link("a", "nobody");
    forgetful.delivery = Delivery::Memory;
    run(&host, &forgetful, &logger(), 7);
    assert_eq!(log_of(&host, "a"), "oneduo");
    host.until("nothing is left", || store.mailboxes().unwrap().is_empty());
    let commits = killed.commits().len();
    begin(&host, "a", b"g").wait().unwrap();
    assert_eq!(killed.commits().len(), commits, "a new message is in memory alone");
}
