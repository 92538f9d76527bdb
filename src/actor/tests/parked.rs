//! A call waits for its commit without a thread: others go on, and nothing of it is seen before.

use std::sync::mpsc::{TryRecvError, channel};

use super::gate::{Gate, ONE, gated};
use super::storage::{keeper, with_storage};
use super::*;
use crate::storage::StoreCounts;

/// Runs a keeper with a storage of its own.
fn keep(host: &Host, actor: &Actor, id: u64) {
    let standby = host.prepare_with_storage(actor, &keeper(), Some(id)).unwrap();
    assert_eq!(host.activate(standby), Switched::Done);
}

fn writer(own: &'static str) -> Actor {
    with_storage(own, "read-write")
}

fn begin(host: &Host, actor: &str, payload: &[u8]) -> PendingReply {
    host.system.begin_request(&name(actor), payload.to_vec(), PATIENCE).unwrap()
}

/// Asks through the worker, which lies behind everything that it was given before.
fn passes(host: &Host, actor: &str) {
    assert_eq!(bytes(begin(host, actor, b"?").wait()), Ok(Some(b"?".to_vec())));
}

/// The keeper's answer to a write that the storage took.
fn is_done(reply: Reply) -> bool {
    reply == Ok(Some(vec![0]))
}

#[track_caller]
fn adds_up(host: &Host, actor: &str) {
    let status = host.status(actor);
    let counts = status.counts;
    assert_eq!(counts.accepted, counts.handled + counts.dead() + status.mailbox_messages, "{counts:?}");
}

#[test]
fn others_go_on_on_the_only_worker_and_nothing_is_seen_before_the_commit() {
    let (host, gate) = gated();
    keep(&host, &writer("a"), 1);
    host.run(&Actor::new("next"), &echo());
    let pending = begin(&host, "a", b"m one");
    assert_eq!(gate.arrives(), ONE);
    passes(&host, "next");
    assert!(!pending.is_there());
    assert_eq!(host.status("a").counts.handled, 0);
    assert_eq!(host.status("next").counts.accepted, 1, "its message has not left");
    gate.opens();
    assert!(is_done(bytes(pending.wait())));
    host.until("its message came", || host.status("next").counts.handled == 2);
    assert_eq!(host.system.stuck_threads(), (0, 0));
    adds_up(&host, "a");
}

#[test]
fn the_thread_of_a_host_that_calls_is_given_back_too() {
    let (host, gate) = gated();
    keep(&host, &writer("a"), 1);
    std::thread::scope(|scope| {
        // Runs on the thread of the caller, as the actor is idle.
        let asking = scope.spawn(|| host.ask("a", b"set one"));
        assert_eq!(gate.arrives(), ONE);
        let late = host.system.request_from_host(&name("a"), b"g".to_vec(), Duration::from_millis(1));
        assert_eq!(late, Err(CallError::TimedOut), "it waits for its own time and no longer");
        gate.opens();
        assert!(is_done(asking.join().unwrap()));
    });
}

#[test]
fn the_next_message_is_not_begun_before_and_finds_what_was_kept() {
    let (host, gate) = gated();
    keep(&host, &writer("a"), 1);
    host.run(&Actor::new("b"), &echo());
    let (first, second, value) =
        (begin(&host, "a", b"set one"), begin(&host, "a", b"set two"), begin(&host, "a", b"g"));
    assert_eq!(gate.arrives(), ONE);
    passes(&host, "b");
    assert!(locked(&gate.arrivals).try_recv().is_err(), "one commit of an actor at a time");
    gate.opens();
    assert!(is_done(bytes(first.wait())));
    assert_eq!(gate.arrives(), ONE - 1, "who wrote is known");
    assert!(!second.is_there() && !value.is_there());
    gate.opens();
    assert!(is_done(bytes(second.wait())));
    assert_eq!(bytes(value.wait()), Ok(Some(b"set two".to_vec())));
    assert_eq!(host.status("a").counts.handled, 3);
}

#[test]
fn what_a_hundred_actors_wrote_meanwhile_is_one_commit() {
    const OTHERS: u64 = 100;
    let (host, gate) = gated();
    let compiled = host.compile(&keeper());
    let names: Vec<&'static str> = (0..=OTHERS).map(|n| &*format!("a{n}").leak()).collect();
    for (own, id) in names.iter().zip(1..) {
        host.activate(host.prepare_as(&writer(own), &compiled, Some(id)).unwrap());
    }
    let first = begin(&host, names[0], b"set one");
    assert_eq!(gate.arrives(), ONE);
    let others: Vec<_> = names[1..].iter().map(|own| begin(&host, own, b"set one")).collect();
    host.until("all have brought theirs", || gate.store.brought() == 1 + OTHERS);
    assert!(others.iter().all(|pending| !pending.is_there()));
    gate.opens();
    assert_eq!(gate.arrives(), ONE * OTHERS as usize);
    gate.opens();
    assert!(is_done(bytes(first.wait())) && others.into_iter().all(|pending| is_done(bytes(pending.wait()))));
    assert_eq!(gate.store.counts(), StoreCounts { sets: 1 + OTHERS, commits: 2 });
    for own in names {
        assert_eq!(host.status(own).counts.handled, 1);
        adds_up(&host, own);
    }
}

#[test]
fn a_commit_that_fails_ends_all_calls_that_wait_for_it_and_sends_nothing() {
    let (host, gate) = gated();
    keep(&host, &writer("a"), 1);
    keep(&host, &writer("b"), 2);
    host.run(&Actor::new("next"), &echo());
    let first = begin(&host, "a", b"m one");
    assert_eq!(gate.arrives(), ONE);
    let second = begin(&host, "b", b"m two");
    host.until("both are on their way", || gate.store.brought() == 2);
    gate.fails();
    for (own, pending) in [("a", first), ("b", second)] {
        let Err(CallError::NotKept(why)) = pending.wait() else { panic!("it must fail") };
        assert!(why.contains("no space left on device"), "{why}");
        let status = host.status(own);
        assert_eq!((status.counts.failed, status.crashes, status.phase), (1, 0, ActorPhase::Running));
        adds_up(&host, own);
    }
    passes(&host, "next");
    assert_eq!(host.status("next").counts.accepted, 1, "no message of a call that failed");
    let (letters, ..) = host.system.dead_letters(10);
    let payloads: Vec<&[u8]> = letters.iter().map(|letter| &*letter.payload.bytes).collect();
    assert_eq!(payloads, [b"m one", b"m two"], "what they were about is not lost");
}

#[test]
fn a_new_version_comes_between_the_commit_and_the_next_message() {
    let (host, gate) = gated();
    keep(&host, &writer("a"), 1);
    let (old, waiting) = (begin(&host, "a", b"set one"), begin(&host, "a", b"g"));
    assert_eq!(gate.arrives(), ONE);
    std::thread::scope(|scope| {
        let new = TestGuest::new().handle(r#"(call $ok_some @"new")"#);
        let standby = host.prepare_with_storage(&writer("a"), &new, Some(1)).unwrap();
        let switching = scope.spawn(|| host.activate(standby));
        let cell = host.system.core.registry.get(&name("a")).unwrap();
        host.until("it is put off", || cell.versions_put_off() == 1);
        assert!(!switching.is_finished() && !old.is_there());
        gate.opens();
        assert_eq!(switching.join().unwrap(), Switched::Done);
    });
    assert!(is_done(bytes(old.wait())));
    assert_eq!(bytes(waiting.wait()), Ok(Some(b"new".to_vec())));
    assert_eq!(host.status("a").counts.handled, 2);
    adds_up(&host, "a");
}

#[test]
fn a_stop_waits_for_the_commit_and_works_off_what_waits() {
    let (host, gate) = gated();
    keep(&host, &writer("a"), 1);
    let (first, waiting) = (begin(&host, "a", b"set one"), begin(&host, "a", b"g"));
    assert_eq!(gate.arrives(), ONE);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| host.stop("a"));
        host.until("it is to end", || host.status("a").phase == ActorPhase::Stopping);
        assert!(!stopping.is_finished());
        gate.opens();
        assert_eq!(stopping.join().unwrap(), Switched::Done);
    });
    assert!(is_done(bytes(first.wait())));
    assert_eq!(bytes(waiting.wait()), Ok(Some(b"set one".to_vec())));
    assert!(host.system.dead_letters(10).0.is_empty());
}

fn short(own: &'static str) -> Actor {
    writer(own).limits(|limits| (limits.drain, limits.stop) = (Millis(10), Millis(20)))
}

fn nobody_knows(reply: &Reply) -> bool {
    matches!(reply, Err(CallError::NotKept(why)) if why.contains("before the store had answered"))
}

#[test]
fn a_stop_does_not_wait_for_a_commit_that_does_not_come() {
    let (host, gate) = gated();
    keep(&host, &short("a"), 1);
    host.run(&Actor::new("next"), &echo());
    let (first, waiting) = (begin(&host, "a", b"m one"), begin(&host, "a", b"g"));
    assert_eq!(gate.arrives(), ONE);
    assert_eq!(host.stop("a"), Switched::Done);
    assert!(nobody_knows(&bytes(first.wait())));
    assert_eq!(waiting.wait(), Err(CallError::Stopped));
    assert!(host.system.status(&name("a")).is_none());
    let (letters, ..) = host.system.dead_letters(10);
    assert_eq!(letters.len(), 2);

    // The answer comes late, and is nobody's: not even that of the next actor of this name.
    keep(&host, &writer("a"), 1);
    gate.opens();
    host.until("it was written after all", || gate.store.counts().sets == 1);
    assert_eq!(host.ask("a", b"g"), Ok(Some(b"m one".to_vec())));
    passes(&host, "next");
    assert_eq!(host.status("next").counts.accepted, 1, "what it sent has not left");
    assert_eq!(host.status("a").counts.handled, 1);
}

#[test]
fn a_host_that_ends_lets_go_of_calls_that_wait() {
    let (host, gate) = gated();
    keep(&host, &writer("a"), 1);
    let pending = begin(&host, "a", b"set one");
    assert_eq!(gate.arrives(), ONE);
    let Gate { go, store, .. } = gate;
    drop(store);
    std::thread::scope(|scope| {
        // The call ends first; the store is closed when its last commit is there.
        scope.spawn(|| {
            assert!(nobody_knows(&bytes(pending.wait())));
            go.send(true).unwrap();
        });
        drop(host);
    });
}

#[test]
fn an_ordered_end_of_all_is_bounded_by_their_limits() {
    let (host, gate) = gated();
    keep(&host, &short("a"), 1);
    let pending = begin(&host, "a", b"set one");
    assert_eq!(gate.arrives(), ONE);
    assert!(host.system.stop_all(PATIENCE));
    assert!(nobody_knows(&bytes(pending.wait())));
    gate.opens();
}

#[test]
fn nobody_who_waits_any_more_changes_nothing() {
    let (host, gate) = gated();
    keep(&host, &writer("a"), 1);
    let pending = host.system.begin_request(&name("a"), b"set one".to_vec(), Duration::from_secs(5)).unwrap();
    assert_eq!(gate.arrives(), ONE);
    drop(pending);
    gate.opens();
    host.until("it is handled", || host.status("a").counts.handled == 1);
    assert_eq!(host.ask("a", b"g"), Ok(Some(b"set one".to_vec())));
}

#[test]
fn the_answer_to_a_request_is_kept_in_the_same_way() {
    let (host, gate) = gated();
    let asks = TestGuest::new()
        .storage()
        .handle(
            r#"(if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 63))
                 (then (return (call $ok_some (local.get $ptr) (local.get $len)))))
               (drop (call $request @"next" (local.get $ptr) (local.get $len) (i64.const 0)))
               (call $ok_none)"#,
        )
        .callback(r#"(call $host_store @"k" @"answered" (i32.const 256)) (call $ok_unit)"#);
    host.activate(host.prepare_with_storage(&writer("a"), &asks, Some(1)).unwrap());
    host.run(&Actor::new("next"), &echo());
    assert_eq!(host.ask("a", b"x"), Ok(None));
    assert_eq!(gate.arrives(), ONE);
    let waiting = begin(&host, "a", b"?");
    passes(&host, "next");
    assert!(!waiting.is_there());
    gate.opens();
    assert_eq!(bytes(waiting.wait()), Ok(Some(b"?".to_vec())));
    let requests = host.status("a").requests;
    assert_eq!((requests.opened, requests.answered, requests.open), (1, 1, 0));
    keep(&host, &writer("a"), 1);
    assert_eq!(host.ask("a", b"g"), Ok(Some(b"answered".to_vec())));
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Writes, errors, crashes, updates and restarts in any order, while commits come when they like.
#[test]
fn whatever_happens_meanwhile_every_call_ends_once_and_what_was_answered_is_kept() {
    for seed in 0..u64::from(crate::test_scale::cases(4)) {
        let (host, gate) = gated();
        let compiled = host.compile(&keeper());
        let names = ["a", "b", "c"];
        let actor = |which: usize| {
            let mut actor = writer(names[which]);
            let supervision = &mut actor.supervision;
            (supervision.max_restarts, supervision.backoff, supervision.backoff_max) = (1_000, Millis(1), Millis(1));
            actor
        };
        let up = |which: usize| {
            let standby = host.prepare_as(&actor(which), &compiled, Some(which as u64 + 1)).unwrap();
            assert_eq!(host.activate(standby), Switched::Done);
        };
        (0..names.len()).for_each(up);
        host.run(&Actor::new("next"), &echo());
        // Dropped at the end, however that comes.
        let (asking, is_asking) = channel::<()>();
        let at_gate = &gate;
        std::thread::scope(|scope| {
            let _asking = asking;
            scope.spawn(move || {
                let gate = at_gate;
                let mut random = Random(!seed);
                while is_asking.try_recv() == Err(TryRecvError::Empty) {
                    if locked(&gate.arrivals).recv_timeout(Duration::from_millis(5)).is_ok() {
                        (0..random.below(200)).for_each(|_| std::thread::yield_now());
                        gate.opens();
                    }
                }
            });
            let mut random = Random(seed);
            let mut asked: [Vec<(String, PendingReply)>; 3] = Default::default();
            for step in 0..150 {
                let which = random.below(3) as usize;
                match random.below(12) {
                    0 => up(which),
                    1 => {
                        assert_eq!(host.stop(names[which]), Switched::Done);
                        up(which);
                    }
                    kind => {
                        let kind = ["f", "t", "m", "m", "set"][(kind % 5) as usize];
                        let payload = format!("{kind} {step}");
                        let pending = begin(&host, names[which], payload.as_bytes());
                        asked[which].push((payload, pending));
                    }
                }
            }
            let mut sent = 0;
            for (which, asked) in asked.into_iter().enumerate() {
                let mut last = None;
                for (payload, pending) in asked {
                    match bytes(pending.wait()) {
                        Ok(Some(answer)) if answer == [0] && !payload.starts_with(['f', 't']) => {
                            sent += u64::from(payload.starts_with('m'));
                            last = Some(payload.into_bytes());
                        }
                        Err(CallError::Failed(_)) if payload.starts_with('f') => {}
                        Err(CallError::Crashed(_)) if payload.starts_with('t') => {}
                        // It was stopped while the actor was not up.
                        Err(CallError::Stopped) => {}
                        other => panic!("seed {seed}: {payload}: {other:?}"),
                    }
                }
                assert_eq!(bytes(begin(&host, names[which], b"g").wait()), Ok(last), "seed {seed}");
                adds_up(&host, names[which]);
            }
            host.until("all that was sent came", || host.status("next").counts.handled == sent);
        });
    }
}
