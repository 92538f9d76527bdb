//! What is not handled is delivered again, in its place, and is poison in the end; dead letters outlive the host.

use super::*;

/// Crashes cost next to nothing.
fn quick(mut actor: Actor) -> Actor {
    let supervision = &mut actor.supervision;
    (supervision.max_restarts, supervision.backoff, supervision.backoff_max) = (1_000, Millis(1), Millis(1));
    actor
}

#[test]
fn an_error_is_tried_five_times_in_its_place_and_nothing_of_it_is_kept_or_sent() {
    let lasting = Arc::new(Lasting::default());
    let (host, store) = lasting.host();
    run(&host, &durable("b"), &TestGuest::new(), 8);
    run(&host, &link("a", "b"), &logger(), 7);
    send(&host, "a", b"one ");
    let failing = begin(&host, "a", b"f");
    send(&host, "a", b"duo ");
    assert_eq!(failing.wait(), Err(CallError::Failed("no".to_owned())), "told when it is given up");
    assert_eq!(log_of(&host, "a"), "one duo ");
    host.until("it is told", || is_idle(&host, "a"));
    assert_eq!(reasons(&host), [(b"f".to_vec(), DeadReason::Poison)]);
    assert_eq!((host.status("a").counts.poison, host.status("a").counts.failed), (1, 0));
    assert_eq!(host.log_text("a").matches("failed: no; it is delivered again").count(), 4);
    host.until("the others came", || host.status("b").counts.handled == 2 && is_idle(&host, "b"));
    assert_eq!(host.status("b").counts.accepted, 2);
    assert!(store.mailboxes().unwrap().is_empty());
}

#[test]
fn the_count_is_written_and_goes_on_in_the_next_host() {
    let lasting = Arc::new(Lasting::default());
    let (host, store) = lasting.host();
    run(&host, &link("a", "nobody"), &logger(), 7);
    send(&host, "a", b"f");
    let count = |store: &Store| store.mail(7, 0, 1).unwrap().first().map(|(_, mail)| mail.deliveries);
    host.until("it failed twice", || count(&store) >= Some(2));
    let killed = lasting.killed();
    let (host, store) = killed.host();
    let found = count(&store).unwrap();
    run(&host, &link("a", "nobody"), &logger(), 7);
    host.until("it is given up", || reasons(&host) == [(b"f".to_vec(), DeadReason::Poison)]);
    // The death of the host is one of the five.
    let again = host.log_text("a").matches("failed: no; it is delivered again").count();
    assert_eq!(again, usize::from(5 - found - 1 - 1));
}

#[test]
fn the_second_crash_is_the_last_and_what_waits_behind_it_goes_on() {
    let lasting = Arc::new(Lasting::default());
    let (host, store) = lasting.host();
    run(&host, &quick(link("a", "nobody")), &logger(), 7);
    let crashing = begin(&host, "a", b"t");
    send(&host, "a", b"one ");
    assert!(matches!(crashing.wait(), Err(CallError::Crashed(_))));
    assert_eq!(log_of(&host, "a"), "one ");
    host.until("both are told", || host.status("a").crashes == 2);
    assert_eq!(reasons(&host), [(b"t".to_vec(), DeadReason::Poison)]);
    assert!(store.contents(7).is_empty());
    adds_up(&host, "a");
}

#[test]
fn a_deadline_counts_as_a_delivery_and_not_as_a_crash() {
    let lasting = Arc::new(Lasting::default());
    let (host, _) = lasting.host();
    run(&host, &quick(durable("a")).limits(|limits| limits.call = Millis(20)), &stuck(), 7);
    send(&host, "a", b"slow");
    host.until("it is given up", || reasons(&host) == [(b"slow".to_vec(), DeadReason::Poison)]);
    host.until("the last crash is told", || host.status("a").crashes == 5);
}

#[test]
fn while_it_rests_a_stop_does_not_wait_and_a_new_version_goes_on_at_once() {
    let lasting = Arc::new(Lasting::default());
    let (host, store) = lasting.host();
    run(&host, &link("a", "nobody"), &logger(), 7);
    let asked = begin(&host, "a", b"f");
    host.until("it failed", || host.status("a").last_error.is_some());
    run(&host, &durable("a"), &echo(), 7);
    assert_eq!(asked.wait(), Ok(Some(b"f".to_vec().into())), "who waited is answered by the new version");
    run(&host, &link("a", "nobody"), &logger(), 7);
    send(&host, "a", b"f");
    host.until("it failed", || host.status("a").last_error.is_some());
    assert_eq!(host.stop("a"), Switched::Done);
    assert_eq!(waiting(&store, 7), [b"f".to_vec()]);
}

/// A host with one dead letter of a message to `a`.
fn with_letter() -> (Arc<Lasting>, u64) {
    let lasting = Arc::new(Lasting::default());
    let (host, _) = lasting.host();
    run(&host, &quick(link("a", "nobody")), &logger(), 7);
    let id = send(&host, "a", b"t");
    host.until("it is given up", || is_idle(&host, "a"));
    (lasting, id)
}

#[test]
fn a_letter_outlives_a_kill_and_is_listed_shown_and_sent_again_under_another_number() {
    let (lasting, id) = with_letter();
    let (host, store) = lasting.killed().host();
    let (letters, kept, total) = host.system.dead_letters(10);
    assert_eq!((letters.len(), kept, total), (1, 1, 0), "none died in this host");
    assert_eq!(letters[0].id, id);
    let shown = host.system.dead_letter(id).unwrap();
    assert_eq!((&*shown.payload.bytes, shown.reason, shown.storage_id), (&b"t"[..], DeadReason::Poison, Some(7)));
    assert!(shown.why.as_ref().is_some_and(|why| why.contains("unreachable")), "{:?}", shown.why);
    assert_eq!(host.system.replay(id), Err(ReplayError::NotTaken(CallError::NoSuchTarget)));
    run(&host, &durable("a"), &echo(), 7);
    let again = host.system.replay(id).unwrap();
    assert!(again > id);
    host.until("it is handled", || host.status("a").counts.handled == 1 && is_idle(&host, "a"));
    assert_eq!(host.system.replay(id), Err(ReplayError::Unknown));
    assert_eq!((reasons(&host), store.letters().unwrap().len()), (vec![], 0));
}

#[test]
fn a_letter_that_is_sent_again_is_in_one_place_whichever_commit_was_the_last() {
    let (lasting, id) = with_letter();
    let killed = lasting.killed();
    let (host, _) = killed.host();
    run(&host, &durable("a").limits(|limits| limits.call = Millis(60_000)), &stuck(), 7);
    let before = killed.commits().len();
    host.system.replay(id).unwrap();
    let commits = killed.commits();
    for end in before..=commits.len() {
        let store = Lasting::after(&commits[..end]).store();
        assert_eq!(store.letters().unwrap().len() + store.contents(7).len(), 1, "after {end}");
    }
}

#[test]
fn of_two_who_send_a_letter_again_one_does() {
    let (lasting, id) = with_letter();
    let (host, _) = lasting.killed().host();
    run(&host, &durable("a"), &echo(), 7);
    let sent: Vec<_> = std::thread::scope(|scope| {
        let both = [(), ()].map(|()| scope.spawn(|| host.system.replay(id)));
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(sent.iter().filter(|sent| sent.is_ok()).count(), 1, "{sent:?}");
    host.until("it is handled", || is_idle(&host, "a"));
    assert_eq!(host.status("a").counts.accepted, 1);
}

#[test]
fn a_letter_goes_to_one_that_keeps_its_messages_in_memory_by_now_and_the_other_way_round() {
    let (lasting, id) = with_letter();
    let (host, store) = lasting.killed().host();
    run(&host, &Actor::new("a"), &echo(), 7);
    host.system.replay(id).unwrap();
    host.until("it is handled", || host.status("a").counts.handled == 1);
    assert!(store.letters().unwrap().is_empty());

    let fails = TestGuest::new().handle(r#"(call $error @"no")"#);
    run(&host, &Actor::new("a"), &fails, 7);
    let id = send(&host, "a", b"volatile");
    host.until("it died", || reasons(&host) == [(b"volatile".to_vec(), DeadReason::Failed)]);
    run(&host, &durable("a"), &echo(), 7);
    let sets = store.counts().sets;
    host.system.replay(id).unwrap();
    host.until("it is handled", || is_idle(&host, "a"));
    assert!(store.counts().sets > sets && reasons(&host).is_empty());
}
