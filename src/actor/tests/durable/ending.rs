//! What ends leaves its messages where they are; only what is uninstalled has nobody to handle them any more.

use super::*;

/// A host with one that crashed with a message in hand and waits for its restart, and two more that wait.
fn busy(lasting: &Arc<Lasting>) -> (Host, Arc<Store>) {
    let (host, store) = lasting.host();
    let mut waits = durable("a");
    waits.supervision.backoff = Millis(3_600_000);
    waits.supervision.backoff_max = Millis(3_600_000);
    run(&host, &waits, &TestGuest::new().handle("unreachable"), 7);
    for payload in [b"one ", b"duo ", b"san "] {
        send(&host, "a", payload);
    }
    host.until("it crashed", || host.status("a").phase == ActorPhase::Backoff);
    (host, store)
}

#[test]
fn a_stop_leaves_them_and_the_next_start_goes_on_with_them() {
    let lasting = Arc::new(Lasting::default());
    let (host, store) = lasting.host();
    run(&host, &link("a", "nobody"), &logger(), 7);
    send(&host, "a", b"one ");
    host.until("it is handled", || is_idle(&host, "a"));
    assert_eq!(host.stop("a"), Switched::Done);
    assert_eq!(host.system.send_from_host(&name("a"), Vec::new()), Err(CallError::NoSuchTarget));
    drop(host);
    drop(store);

    let (host, store) = busy(&Lasting::after(&lasting.commits()));
    assert_eq!(host.stop("a"), Switched::Done);
    assert_eq!(waiting(&store, 7).len(), 3, "also the one with which it crashed");
    assert_eq!(reasons(&host), []);
    run(&host, &link("a", "nobody"), &logger(), 7);
    assert_eq!(log_of(&host, "a"), "one one duo san ");
    assert!(waiting(&store, 7).is_empty());
}

#[test]
fn the_end_of_the_host_leaves_them_and_the_next_host_goes_on_with_them() {
    let lasting = Arc::new(Lasting::default());
    let (host, store) = busy(&lasting);
    assert!(host.system.stop_all(PATIENCE));
    drop(host);
    assert_eq!(waiting(&store, 7).len(), 3);
    drop(store);
    let (host, _) = lasting.host();
    run(&host, &link("a", "nobody"), &logger(), 7);
    assert_eq!(log_of(&host, "a"), "one duo san ");
    assert_eq!(reasons(&host), []);
}

#[test]
fn a_move_takes_them_along() {
    let lasting = Arc::new(Lasting::default());
    let (host, _) = busy(&lasting);
    let standby = host.prepare_with_storage(&link("b", "nobody"), &logger(), Some(7)).unwrap();
    let moved_from = Some(name("a"));
    assert_eq!(host.system.switch(vec![Switch::Activate { standby, moved_from }]), [Switched::Done]);
    assert_eq!(log_of(&host, "b"), "one duo san ");
}

#[test]
fn what_belongs_to_nobody_becomes_dead_letters_that_outlive_the_host() {
    let lasting = Arc::new(Lasting::default());
    let (host, store) = busy(&lasting);
    assert_eq!(host.stop("a"), Switched::Done);
    assert_eq!(host.system.end_mail_left_behind(&[7].into()).unwrap(), 0, "it is installed still");
    assert_eq!(host.system.end_mail_left_behind(&[8].into()).unwrap(), 3);
    let wanted: Vec<_> = [b"one ", b"duo ", b"san "].map(|payload| (payload.to_vec(), DeadReason::Stopped)).into();
    assert_eq!(reasons(&host), wanted);
    assert!(store.mailboxes().unwrap().is_empty());
    let (host, _) = lasting.killed().host();
    assert_eq!(reasons(&host), wanted);
    let (letters, ..) = host.system.dead_letters(1);
    assert_eq!((letters[0].target.as_str(), letters[0].storage_id), ("a", Some(7)));
}

#[test]
fn an_actor_that_is_given_up_keeps_them_for_its_next_version() {
    let lasting = Arc::new(Lasting::default());
    let (host, store) = lasting.host();
    let mut once = durable("a");
    once.supervision.restart = crate::desired::spec::RestartPolicy::Never;
    run(&host, &once, &TestGuest::new().handle("unreachable"), 7);
    send(&host, "a", b"one ");
    host.until("it failed", || host.status("a").phase == ActorPhase::Failed);
    assert_eq!((waiting(&store, 7).len(), reasons(&host).len()), (1, 0));
    adds_up(&host, "a");
    run(&host, &link("a", "nobody"), &logger(), 7);
    assert_eq!(log_of(&host, "a"), "one ");
    adds_up(&host, "a");
}

#[test]
fn a_request_is_answered_with_the_commit_and_handled_without_its_asker_after_a_kill() {
    let asks = || {
        TestGuest::new()
            .handle(
                r#"(drop (call $request @"target" (local.get $ptr) (local.get $len) (i64.const 300000)))
                   (call $ok_none)"#,
            )
            .callback(r#"(call $log @"answered") (call $ok_unit)"#)
    };
    let lasting = Arc::new(Lasting::default());
    let (host, _) = lasting.host();
    run(&host, &durable("target"), &echo(), 7);
    run(&host, &Actor::new("asker"), &asks(), 8);
    assert_eq!(host.ask("asker", b"x"), Ok(None));
    host.until("the answer came", || host.log_text("asker").contains("answered"));
    host.until("the request is over", || host.status("asker").requests.answered == 1);

    let killed = lasting.killed();
    let (host, store) = killed.host();
    run(&host, &durable("target").limits(|limits| limits.call = Millis(60_000)), &stuck(), 7);
    run(&host, &Actor::new("asker"), &asks(), 8);
    assert_eq!(host.ask("asker", b"later"), Ok(None));
    host.until("it is written", || waiting(&store, 7) == [b"later".to_vec()]);
    let (host, store) = killed.killed().host();
    run(&host, &Actor::new("asker"), &asks(), 8);
    run(&host, &link("target", "nobody"), &logger(), 7);
    assert_eq!(log_of(&host, "target"), "later");
    assert!(waiting(&store, 7).is_empty());
    assert_eq!(host.status("asker").requests.opened, 0, "this one has asked for nothing");
}

#[test]
fn one_whose_time_was_over_before_a_new_host_came_is_a_dead_letter() {
    let lasting = Arc::new(Lasting::default());
    let (host, store) = lasting.host();
    run(&host, &durable("a").limits(|limits| limits.call = Millis(60_000)), &stuck(), 7);
    send(&host, "a", b"in hand");
    let short = host.system.begin_request(&name("a"), b"short".to_vec(), Duration::from_millis(1)).unwrap();
    assert_eq!(short.wait(), Err(CallError::TimedOut));
    let long = begin(&host, "a", b"long ");
    host.until("both are written", || store.contents(7).len() == 3);
    drop(long);
    let (host, _) = lasting.killed().host();
    run(&host, &link("a", "nobody"), &logger(), 7);
    assert_eq!(log_of(&host, "a"), "in handlong ", "handled although nobody waits any more");
    host.until("it is told", || reasons(&host) == [(b"short".to_vec(), DeadReason::Expired)]);
    adds_up(&host, "a");
}
