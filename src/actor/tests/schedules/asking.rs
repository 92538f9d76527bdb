//! What must hold of a request, however its answer, its timeout, a cancel and the end of either side meet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use shuttle::thread;

use super::cell::ActorCell;
use super::core::{Core, locked};
use super::mailbox::Item;
use super::reply::ReplySlot;
use super::request::{Open, OpenRequests};
use super::sync::Ordering;
use super::{default_limits, in_many_orders};
use crate::limits::Limits;

/// An instance that asked once, for an answer whose time is over at once.
struct Scene {
    core: Arc<Core>,
    asker: Arc<ActorCell>,
    requests: Arc<OpenRequests>,
}

const ID: u64 = 7;

impl Scene {
    fn asked() -> (Self, ReplySlot) {
        let core = Arc::new(Core::default());
        let limits = default_limits();
        let asker = ActorCell::new(&limits);
        let requests = OpenRequests::new(Arc::clone(&core), &limits);
        requests.belong_to(&asker);
        requests.promise().unwrap();
        requests.open(ID, Open { until: Instant::now(), hops: 0, parent: None });
        let slot = ReplySlot::of_request(Arc::clone(&requests), ID);
        (Self { core, asker, requests }, slot)
    }

    /// The timer's thread: every alarm that is set goes off.
    fn timer(&self) -> thread::JoinHandle<()> {
        let core = Arc::clone(&self.core);
        thread::spawn(move || {
            let alarms = std::mem::take(&mut *locked(&core.alarms));
            for (at, requests) in alarms {
                if let Some(requests) = requests.upgrade() {
                    requests.expire(at);
                }
            }
        })
    }

    /// The asker's worker, when all is over: how many answers reach the guest.
    fn answers(&self) -> usize {
        let mut batch = VecDeque::new();
        let mut answers = 0;
        while let Some(item) = batch.pop_front().or_else(|| self.asker.mailbox.take(&mut batch)) {
            let Item::Callback(callback) = item else { panic!("a message that nobody sent") };
            answers += usize::from(callback.requests.take(callback.id));
        }
        answers
    }

    fn cancelled(&self) -> u64 {
        self.asker.counters.cancelled.load(Ordering::SeqCst)
    }
}

#[test]
fn of_an_answer_and_the_end_of_the_time_exactly_one_comes() {
    in_many_orders(|| {
        let (scene, slot) = Scene::asked();
        let timer = scene.timer();
        let target = thread::spawn(move || slot.answer(Ok(None)));
        timer.join().unwrap();
        target.join().unwrap();
        assert_eq!((scene.answers(), scene.cancelled()), (1, 0));
        assert_eq!(scene.asker.counters.opened.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_target_that_stops_answers_too_and_never_twice() {
    in_many_orders(|| {
        let (scene, slot) = Scene::asked();
        let timer = scene.timer();
        // What a mailbox that is emptied does with what waits in it.
        let target = thread::spawn(move || drop(slot));
        timer.join().unwrap();
        target.join().unwrap();
        assert_eq!((scene.answers(), scene.cancelled()), (1, 0));
    });
}

#[test]
fn after_a_cancel_that_said_yes_no_answer_comes_and_after_one_that_said_no_one_has_come() {
    in_many_orders(|| {
        let (scene, slot) = Scene::asked();
        let timer = scene.timer();
        let target = thread::spawn(move || slot.answer(Ok(None)));
        let requests = Arc::clone(&scene.requests);
        let guest = thread::spawn(move || (requests.cancel(ID), requests.cancel(ID)));
        timer.join().unwrap();
        target.join().unwrap();
        let (first, second) = guest.join().unwrap();
        // The guest's own thread takes answers in hand, so a request that was not taken can always be given up.
        assert!(first && !second);
        assert_eq!((scene.answers(), scene.cancelled()), (0, 1));
    });
}

#[test]
fn taking_an_answer_in_hand_and_giving_it_up_exclude_each_other() {
    in_many_orders(|| {
        let (scene, slot) = Scene::asked();
        slot.answer(Ok(None));
        let requests = Arc::clone(&scene.requests);
        let other = thread::spawn(move || requests.cancel(ID));
        let answers = scene.answers();
        let cancelled = other.join().unwrap();
        assert_eq!(answers, usize::from(!cancelled));
    });
}

#[test]
fn when_the_asking_instance_ends_nothing_of_it_reaches_anybody_and_all_is_counted_once() {
    in_many_orders(|| {
        let (scene, slot) = Scene::asked();
        let timer = scene.timer();
        let target = thread::spawn(move || slot.answer(Ok(None)));
        scene.requests.end();
        timer.join().unwrap();
        target.join().unwrap();
        assert_eq!((scene.answers(), scene.cancelled()), (0, 1));
        assert!(!scene.requests.cancel(ID));
    });
}

#[test]
fn no_more_is_promised_than_may_be_open_whoever_asks_at_the_same_time() {
    in_many_orders(|| {
        let core = Arc::new(Core::default());
        let limits = Limits { open_requests: 2, ..default_limits() };
        let requests = OpenRequests::new(core, &limits);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let requests = Arc::clone(&requests);
                thread::spawn(move || requests.promise().is_ok())
            })
            .collect();
        let promised = threads.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(promised.filter(|promised| *promised).count(), 2);
        requests.give_back();
        assert!(requests.promise().is_ok() && requests.promise().is_err());
    });
}
