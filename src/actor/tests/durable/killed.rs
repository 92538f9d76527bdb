//! A host that is killed at any moment: between any two commits of the store, the next one goes on exactly there.

use super::*;

const MESSAGES: usize = 6;

fn payload(n: usize) -> String {
    format!("{n:03} ")
}

fn all() -> String {
    (0..MESSAGES).map(payload).collect()
}

fn run_chain(host: &Host) {
    run(host, &link("c", "nobody"), &logger(), 3);
    run(host, &link("b", "c"), &logger(), 2);
    run(host, &link("a", "b"), &logger(), 1);
}

/// From each commit on a new host finds what was accepted, and brings it through the chain: once, and in order.
#[test]
fn each_accepted_message_has_its_effect_once_and_in_order_whichever_commit_was_the_last() {
    let lasting = Arc::new(Lasting::default());
    let (host, _) = lasting.host();
    run_chain(&host);
    for n in 0..MESSAGES {
        send(&host, "a", payload(n).as_bytes());
    }
    for actor in ["a", "b", "c"] {
        host.until("it came through", || host.status(actor).counts.handled == MESSAGES as u64 && is_idle(&host, actor));
    }
    let commits = lasting.commits();
    drop(host);
    for end in 1..=commits.len() {
        let left = Lasting::after(&commits[..end]);
        let (host, store) = left.host();
        // What was accepted is written somewhere: where it waits, or in what it led to.
        run_chain(&host);
        for actor in ["a", "b", "c"] {
            host.until("it came through", || is_idle(&host, actor));
        }
        let logs = ["a", "b", "c"].map(|actor| log_of(&host, actor));
        let accepted = commits[..end].iter().flat_map(|changes| changes.iter()).filter(|((space, key), value)| {
            *space == Space::Mail && key.starts_with(&1u64.to_be_bytes()) && value.is_some()
        });
        // The first message may have been counted; that is a record of the same place.
        let accepted: BTreeSet<Vec<u8>> = accepted.map(|((_, key), _)| key.clone()).collect();
        let wanted: String = (0..accepted.len()).map(payload).collect();
        assert_eq!(logs, [wanted.clone(), wanted.clone(), wanted.clone()], "killed after {end} of {}", commits.len());
        assert!(all().starts_with(&wanted));
        assert_eq!(reasons(&host), [], "killed after {end}");
        drop(host);
        assert_eq!(store.verify().unwrap().differences, []);
    }
}

/// The same a second time, while the first is being made up for.
#[test]
fn a_host_that_is_killed_again_and_again_gets_there_in_the_end() {
    let mut lasting = Arc::new(Lasting::default());
    let (host, _) = lasting.host();
    run_chain(&host);
    for n in 0..MESSAGES {
        send(&host, "a", payload(n).as_bytes());
    }
    // Each host is killed once the store has seen two more commits with messages in them than the one before.
    let mut handled = 0;
    let mut hosts = vec![host];
    for _ in 0..40 {
        let is_through = |host: &Host| ["a", "b", "c"].iter().all(|actor| is_idle(host, actor));
        let host = hosts.last().unwrap();
        host.until("it goes on", || is_through(host) || lasting.commits().len() > handled + 8);
        handled = lasting.commits().len();
        let through = is_through(host);
        lasting = lasting.killed();
        let (host, _) = lasting.host();
        run_chain(&host);
        hosts.push(host);
        if through {
            break;
        }
    }
    let host = hosts.last().unwrap();
    for actor in ["a", "b", "c"] {
        host.until("it came through", || is_idle(host, actor));
        assert_eq!(log_of(host, actor), all(), "{actor}");
    }
}

#[test]
fn a_new_host_gives_no_message_a_number_that_an_earlier_one_gave() {
    let lasting = Arc::new(Lasting::default());
    let (host, _) = lasting.host();
    run(&host, &durable("a"), &echo(), 7);
    let last = (0..10).map(|_| send(&host, "a", b"x")).last().unwrap();
    let (host, _) = lasting.killed().host();
    run(&host, &durable("a"), &echo(), 7);
    assert!(send(&host, "a", b"x") > last);
}

#[test]
fn the_first_message_counts_as_in_hand_when_the_host_was_killed_and_not_when_it_ended() {
    let lasting = Arc::new(Lasting::default());
    let patient = || durable("a").limits(|limits| (limits.call, limits.stop) = (Millis(60_000), Millis(20)));
    let deliveries = |store: &Store| -> Vec<u8> {
        store.mail(7, 0, usize::MAX).unwrap().into_iter().map(|(_, mail)| mail.deliveries).collect()
    };
    let (host, store) = lasting.host();
    run(&host, &patient(), &stuck(), 7);
    send(&host, "a", b"one");
    send(&host, "a", b"duo");
    assert_eq!(deliveries(&store), [0, 0]);
    let mut left = lasting.killed();
    for died in 1..5 {
        let (host, store) = left.host();
        run(&host, &patient(), &stuck(), 7);
        host.until("it is written", || deliveries(&store) == [died, 0]);
        left = left.killed();
    }
    let (host, store) = left.host();
    run(&host, &patient(), &stuck(), 7);
    host.until("it is given up", || reasons(&host) == [(b"one".to_vec(), DeadReason::Poison)]);
    assert_eq!(waiting(&store, 7), [b"duo".to_vec()]);
    adds_up(&host, "a");
    // An orderly end: the next host finds no mark, and counts nothing in the commit in which it makes its own.
    assert!(store.was_open(7).unwrap());
    drop((host, store));
    let (host, store) = left.host();
    assert!(!store.was_open(7).unwrap());
    let counted = deliveries(&store);
    run(&host, &patient(), &stuck(), 7);
    host.until("its mailbox is open", || store.was_open(7).unwrap());
    assert_eq!(deliveries(&store), counted);
}
