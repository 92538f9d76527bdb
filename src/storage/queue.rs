//! Owns the write sets that wait for the thread that writes: in order, within bounds, each answered once.
//!
//! Which of them make one commit is decided here; what a commit is, by `commit`.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::backend::BackendError;
use super::commit::WriteSet;
use super::error::StoreError;
use super::mail::Kept;

/// Write sets that wait at most.
const MAX_WAITING: usize = 65_536;
/// Bytes of write sets that wait at most, unless a single one has more.
const MAX_WAITING_BYTES: usize = 128 << 20;
/// Write sets of one commit at most.
const MAX_GROUP: usize = 1_024;
/// Bytes of one commit at most, unless a single write set has more.
const MAX_GROUP_BYTES: usize = 32 << 20;

/// Is called once, when it is known what became of a write set: on the thread that writes, or at once when there is
/// none any more. It must return soon and not wait for the store.
pub type Then = Box<dyn FnOnce(Result<Kept, StoreError>) + Send>;

/// The answer that is owed. Dropped, it says that the thread has ended.
pub(super) struct Answer(Option<Then>);

impl Answer {
    pub(super) fn new(then: Then) -> Self {
        Self(Some(then))
    }

    pub(super) fn give(mut self, result: Result<Kept, StoreError>) {
        self.tell(result);
    }

    fn tell(&mut self, result: Result<Kept, StoreError>) {
        if let Some(then) = self.0.take() {
            // Whoever is told is not part of the store; its panic was printed and stays its own.
            let _ = catch_unwind(AssertUnwindSafe(|| then(result)));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.tell(Err(StoreError::Stopped(BackendError::new("the thread that writes has ended"))));
    }
}

/// A write set and whom to tell.
pub(super) struct Order {
    pub(super) set: WriteSet,
    pub(super) answer: Answer,
    bytes: usize,
}

impl Order {
    pub(super) fn new(set: WriteSet, then: Then) -> Self {
        Self { bytes: set.bytes(), set, answer: Answer::new(then) }
    }
}

/// What waits.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    came: Condvar,
    left: Condvar,
}

#[derive(Default)]
struct State {
    orders: VecDeque<Order>,
    bytes: usize,
    /// The thread that writes waits for orders.
    idle: bool,
    closed: bool,
    /// Orders that ever came.
    #[cfg(test)]
    brought: u64,
}

impl State {
    fn is_full_for(&self, bytes: usize) -> bool {
        let fits = self.orders.len() < MAX_WAITING && self.bytes + bytes <= MAX_WAITING_BYTES;
        !fits && !self.orders.is_empty() && !self.closed
    }
}

impl Queue {
    /// Puts an order behind all others. Waits while too much waits already. After the close it is answered at once.
    pub(super) fn put(&self, order: Order) {
        let full = |state: &mut State| state.is_full_for(order.bytes);
        let state = self.left.wait_while(self.state(), full).unwrap_or_else(PoisonError::into_inner);
        self.push(state, order);
    }

    /// The same without ever waiting: while too much waits already, the order is refused as [`StoreError::Busy`].
    pub(super) fn offer(&self, order: Order) {
        let state = self.state();
        if state.is_full_for(order.bytes) {
            drop(state);
            return order.answer.give(Err(StoreError::Busy));
        }
        self.push(state, order);
    }

    /// The same without being refused, however much waits.
    pub(super) fn insist(&self, order: Order) {
        self.push(self.state(), order);
    }

    fn push(&self, mut state: MutexGuard<'_, State>, order: Order) {
        if state.closed {
            // The answer is not for this lock to wait for.
            drop(state);
            return drop(order);
        }
        state.bytes += order.bytes;
        state.orders.push_back(order);
        #[cfg(test)]
        {
            state.brought += 1;
        }
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.came.notify_one();
        }
    }

    /// What makes the next commit, waiting for it; none when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Order>> {
        let mut state = self.state();
        while state.orders.is_empty() && !state.closed {
            state.idle = true;
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        let first = state.orders.pop_front()?;
        let mut bytes = first.bytes;
        let mut group = vec![first];
        // Clearing looks at what is there, so it comes after what is on its way has arrived.
        while group.len() < MAX_GROUP
            && let Some(next) = state.orders.front()
            && !next.set.clears()
            && bytes + next.bytes <= MAX_GROUP_BYTES
        {
            bytes += next.bytes;
            group.extend(state.orders.pop_front());
        }
        state.bytes -= bytes;
        drop(state);
        self.left.notify_all();
        Some(group)
    }

    /// Takes no more orders. What waits can still be taken.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.came.notify_all();
        self.left.notify_all();
    }

    /// Takes no more orders, and answers those that wait: nobody writes them any more.
    pub(super) fn abandon(&self) {
        self.close();
        let mut state = self.state();
        state.bytes = 0;
        let orders = std::mem::take(&mut state.orders);
        drop(state);
        drop(orders);
    }

    /// Orders that ever came.
    #[cfg(test)]
    pub(super) fn brought(&self) -> u64 {
        self.state().brought
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::super::backend::{Changes, Durability, Space};
    use super::super::commit::DataSet;
    use super::super::usage::Usage;
    use super::*;

    fn set(bytes: usize, clears: bool) -> WriteSet {
        let changes = Changes::from([((Space::Data, Vec::new()), Some(vec![0; bytes].into()))]);
        let (before, after, durability) = (Usage::default(), Usage::default(), Durability::Synced);
        WriteSet::of_data(DataSet { id: 1, before, after, clears, changes, forgets: false }, durability)
    }

    fn order(bytes: usize, clears: bool) -> Order {
        Order::new(set(bytes, clears), Box::new(drop))
    }

    fn groups(queue: &Queue) -> Vec<usize> {
        queue.close();
        std::iter::from_fn(|| queue.take()).map(|group| group.len()).collect()
    }

    #[test]
    fn what_waits_makes_one_group_and_clearing_begins_another() {
        let queue = Queue::default();
        for clears in [false, false, true, false, true] {
            queue.put(order(1, clears));
        }
        assert_eq!(groups(&queue), [2, 2, 1]);
    }

    #[test]
    fn a_group_is_bounded_in_sets_and_in_bytes() {
        let queue = Queue::default();
        for _ in 0..=MAX_GROUP {
            queue.put(order(1, false));
        }
        queue.put(order(MAX_GROUP_BYTES, false));
        queue.put(order(MAX_GROUP_BYTES + 1, false));
        queue.put(order(1, false));
        assert_eq!(groups(&queue), [MAX_GROUP, 1, 1, 1, 1]);
        assert_eq!(queue.state().bytes, 0);
    }

    #[test]
    fn whoever_brings_too_much_waits_until_there_is_room() {
        let queue = Arc::new(Queue::default());
        queue.put(order(MAX_WAITING_BYTES, false));
        let (done, is_done) = channel();
        let bringing = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                queue.put(order(1, false));
                done.send(()).unwrap();
            }
        });
        assert!(queue.state().is_full_for(1));
        assert!(is_done.try_recv().is_err());
        assert_eq!(queue.take().unwrap().len(), 1);
        is_done.recv().unwrap();
        bringing.join().unwrap();
        assert_eq!(queue.take().unwrap().len(), 1);
    }

    #[test]
    fn what_is_offered_while_too_much_waits_is_refused_at_once() {
        let queue = Queue::default();
        let (answer, answers) = channel();
        queue.offer(order(MAX_WAITING_BYTES, false));
        queue.offer(Order::new(set(1, false), Box::new(move |result| answer.send(result).unwrap())));
        assert_eq!(answers.recv().unwrap(), Err(StoreError::Busy));
        assert_eq!(groups(&queue), [1]);
    }

    #[test]
    fn every_order_is_answered_once_also_when_nobody_writes_it() {
        let queue = Queue::default();
        let (answer, answers) = channel();
        let put = || {
            let answer = answer.clone();
            queue.put(Order::new(set(1, false), Box::new(move |result| answer.send(result).unwrap())));
        };
        put();
        put();
        queue.take().unwrap().into_iter().for_each(|order| order.answer.give(Ok(Kept::default())));
        assert_eq!(answers.try_iter().collect::<Vec<_>>(), [Ok(Kept::default()), Ok(Kept::default())]);
        put();
        queue.abandon();
        put();
        let told: Vec<_> = answers.try_iter().collect();
        assert!(matches!(told[..], [Err(StoreError::Stopped(_)), Err(StoreError::Stopped(_))]), "{told:?}");
    }
}
