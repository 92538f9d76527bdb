//! What must hold of one mailbox, however its senders and its workers meet.

use std::collections::VecDeque;
use std::sync::Arc;

use shuttle::sync::mpsc::{Receiver, channel};
use shuttle::thread;

use super::mailbox::{Ask, Claim, Envelope, Item, Mailbox, NoRoom, SentBy, Share};
use super::sync::{AtomicU64, Ordering};
use super::ticket::Ticket;
use super::{default_limits, in_many_orders};
use crate::limits::{Limits, Overflow};

const ROOM: u64 = 4;

fn limits() -> Limits {
    Limits { mailbox: ROOM, ..default_limits() }
}

fn open(limits: &Limits) -> Arc<Mailbox<()>> {
    let mailbox = Mailbox::new(limits);
    mailbox.open();
    mailbox.set_runnable(true);
    Arc::new(mailbox)
}

fn envelope(id: u64, share: &Arc<Share>) -> Envelope {
    let sent_by = SentBy::Installation { name: Arc::from("a"), share: Some(Arc::clone(share)), topic: None };
    Envelope { id, sent_by, payload: vec![0; 8].into(), hops: 0, expires: None, reply: None, kept: None, outcome: None }
}

#[test]
fn promised_room_is_never_more_than_there_is_and_all_of_it_comes_back() {
    in_many_orders(|| {
        let mailbox = open(&limits());
        let taken = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (mailbox, taken) = (Arc::clone(&mailbox), Arc::clone(&taken));
                thread::spawn(move || {
                    // A quarter of four messages is one: room for one message of each sender at a time.
                    let share = mailbox.share();
                    for _ in 0..2 {
                        match mailbox.claim(8, Some(&share), Ask::Usual) {
                            Ok(claim) => {
                                assert!(mailbox.used().0 <= ROOM);
                                taken.fetch_add(1, Ordering::SeqCst);
                                thread::yield_now();
                                drop(mailbox.give_up(8, Some(&share), claim));
                            }
                            Err(no) => assert_eq!(no, NoRoom::Full),
                        }
                        assert!(mailbox.used().0 <= ROOM);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(mailbox.used(), (0, 0));
        // One message fits whatever the others do, for each sender has a share of its own and there is room for all.
        assert_eq!(taken.load(Ordering::SeqCst), 6);
    });
}

#[test]
fn a_full_mailbox_takes_exactly_as_many_as_it_has_room_for() {
    in_many_orders(|| {
        let mailbox = open(&limits());
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || (0..2).filter(|_| mailbox.claim(8, None, Ask::Usual).is_ok()).count() as u64)
            })
            .collect();
        let taken: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!((taken, mailbox.used()), (ROOM, (ROOM, ROOM * 8)));
    });
}

/// Works off the mailbox whenever it is told to, as a worker does; ends when nobody can tell it any more.
fn work(mailbox: &Mailbox<()>, told: &Receiver<()>) -> Vec<u64> {
    let mut seen = Vec::new();
    while told.recv().is_ok() {
        loop {
            let mut batch = VecDeque::new();
            if let Some(first) = mailbox.take(&mut batch) {
                for item in std::iter::once(first).chain(batch) {
                    let Item::Message(envelope) = item else { panic!("an answer that nobody asked for") };
                    drop(mailbox.settle_sender(&envelope));
                    seen.push(envelope.id);
                }
            }
            if !mailbox.leave(true, false) {
                break;
            }
        }
    }
    seen
}

#[test]
fn no_message_stays_behind_without_a_worker_that_knows_and_the_order_of_each_sender_holds() {
    in_many_orders(|| {
        let mailbox = open(&Limits { mailbox: 64, ..default_limits() });
        let (tell, told) = channel();
        let threads: Vec<_> = (0..2u64)
            .map(|sender| {
                let (mailbox, tell) = (Arc::clone(&mailbox), tell.clone());
                thread::spawn(move || {
                    let share = Arc::new(mailbox.share());
                    for number in 0..3 {
                        let claim = mailbox.claim(8, Some(&share), Ask::Usual).unwrap();
                        let put = mailbox.put(envelope(sender * 10 + number, &share), claim, None);
                        assert!(put.dead.is_empty(), "nobody closed it");
                        if put.wake {
                            tell.send(()).unwrap();
                        }
                    }
                })
            })
            .collect();
        let worker = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || work(&mailbox, &told))
        };
        drop(tell);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let seen = worker.join().unwrap();
        assert_eq!(seen.len(), 6, "{seen:?}");
        for sender in 0..2 {
            let of_one: Vec<u64> = seen.iter().copied().filter(|id| id / 10 == sender).collect();
            assert_eq!(of_one, [sender * 10, sender * 10 + 1, sender * 10 + 2]);
        }
        assert_eq!(mailbox.used(), (0, 0));
    });
}

#[test]
fn what_meets_a_closing_mailbox_is_queued_before_or_comes_back_and_is_counted_either_way() {
    in_many_orders(|| {
        let mailbox = open(&limits());
        let sender = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                let mut back = 0;
                for id in 0..2 {
                    let share = Arc::new(mailbox.share());
                    match mailbox.claim(8, Some(&share), Ask::Usual) {
                        Ok(claim) => back += mailbox.put(envelope(id, &share), claim, None).dead.len() as u64,
                        Err(no) => assert_eq!(no, NoRoom::Closed),
                    }
                }
                back
            })
        };
        mailbox.close();
        let buried = mailbox.take_all();
        buried.iter().for_each(|item| {
            let Item::Message(envelope) = item else { panic!("an answer that nobody asked for") };
            drop(mailbox.settle_sender(envelope));
        });
        let back = sender.join().unwrap();
        assert_eq!(mailbox.accepted(), back + buried.len() as u64);
        assert!(mailbox.is_empty());
        assert_eq!(mailbox.used(), (0, 0));
    });
}

#[test]
fn nobody_stays_outside_a_mailbox_that_has_room() {
    in_many_orders(|| {
        let waits = Limits { mailbox: 1, mailbox_overflow: Overflow::Wait, ..default_limits() };
        let mailbox = open(&waits);
        let (tell, told) = channel();
        let threads: Vec<_> = (0..3u64)
            .map(|id| {
                let (mailbox, tell) = (Arc::clone(&mailbox), tell.clone());
                thread::spawn(move || {
                    let share = Arc::new(mailbox.share());
                    // As much again is promised: of three that call at the same time one may find no room for that.
                    let Ok(claim) = mailbox.claim(8, Some(&share), Ask::Usual) else { return 0 };
                    assert_eq!(claim, Claim::Promise);
                    let put = mailbox.put(envelope(id, &share), claim, Some(&|| Arc::new(Ticket)));
                    assert!(put.dead.is_empty());
                    if put.wake {
                        tell.send(()).unwrap();
                    }
                    1
                })
            })
            .collect();
        let worker = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || work(&mailbox, &told))
        };
        drop(tell);
        let put: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        let seen = worker.join().unwrap();
        assert_eq!(seen.len() as u64, put, "nobody is left outside");
        assert_eq!(mailbox.used(), (0, 0));
    });
}
