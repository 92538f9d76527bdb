//! Owns the one thread that waits for times: ticks of triggers and restarts of crashed actors.
//!
//! Does not run guests; what is due is handed on and must return at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// What is due at a time; equal times in the order in which they were set.
struct Due<D> {
    at: Instant,
    order: u64,
    what: D,
}

impl<D> PartialEq for Due<D> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<D> Eq for Due<D> {}

impl<D> PartialOrd for Due<D> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<D> Ord for Due<D> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

struct Shared<D> {
    heap: Mutex<Heap<D>>,
    changed: Condvar,
}

struct Heap<D> {
    due: BinaryHeap<Reverse<Due<D>>>,
    order: u64,
    over: bool,
}

/// A heap of things to do at a time, and its thread. The thread ends when this is dropped.
pub(super) struct Timer<D: Send + 'static> {
    shared: Arc<Shared<D>>,
    thread: Option<JoinHandle<()>>,
}

impl<D: Send + 'static> Timer<D> {
    /// Starts the thread. `fire` does what is due, and says when to do it again, if ever.
    pub(super) fn start(fire: impl Fn(&D, Instant) -> Option<Instant> + Send + 'static) -> io::Result<Self> {
        let heap = Heap { due: BinaryHeap::new(), order: 0, over: false };
        let shared = Arc::new(Shared { heap: Mutex::new(heap), changed: Condvar::new() });
        let in_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("actor-timer".to_owned()).spawn(move || in_thread.run(&fire))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Does `what` at `at`, or at once when that has passed.
    pub(super) fn set(&self, at: Instant, what: D) {
        let mut heap = self.shared.heap();
        heap.push(at, what);
        // Waking the thread is only needed when this is what it must do next.
        if heap.due.peek().is_some_and(|Reverse(due)| due.at == at) {
            self.shared.changed.notify_one();
        }
    }
}

impl<D> Heap<D> {
    fn push(&mut self, at: Instant, what: D) {
        self.order += 1;
        self.due.push(Reverse(Due { at, order: self.order, what }));
    }
}

impl<D> Shared<D> {
    fn heap(&self) -> MutexGuard<'_, Heap<D>> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, fire: &impl Fn(&D, Instant) -> Option<Instant>) {
        let mut heap = self.heap();
        while !heap.over {
            let now = Instant::now();
            match heap.due.peek().map(|Reverse(due)| due.at) {
                Some(at) if at <= now => {
                    let Some(Reverse(due)) = heap.due.pop() else { continue };
                    drop(heap);
                    let again = fire(&due.what, due.at);
                    heap = self.heap();
                    if let Some(at) = again {
                        heap.push(at, due.what);
                    }
                }
                Some(at) => {
                    heap = self.changed.wait_timeout(heap, at - now).unwrap_or_else(PoisonError::into_inner).0;
                }
                None => heap = self.changed.wait(heap).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl<D: Send + 'static> Drop for Timer<D> {
    fn drop(&mut self) {
        self.shared.heap().over = true;
        self.shared.changed.notify_one();
        let Some(thread) = self.thread.take() else { return };
        if thread.thread().id() != std::thread::current().id() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_first_is_done_first_whatever_the_order_of_setting() {
        let (done, results) = mpsc::channel();
        let timer = Timer::start(move |what: &u32, _| {
            done.send(*what).unwrap();
            None
        })
        .unwrap();
        let now = Instant::now();
        for (after_ms, what) in [(30, 3), (10, 1), (20, 2), (0, 0)] {
            timer.set(now + Duration::from_millis(after_ms), what);
        }
        let order: Vec<u32> = results.iter().take(4).collect();
        assert_eq!(order, [0, 1, 2, 3]);
    }

    #[test]
    fn what_wants_to_be_done_again_is_done_again() {
        let (done, results) = mpsc::channel();
        let timer = Timer::start(move |_: &(), at| {
            done.send(at).unwrap();
            Some(at + Duration::from_millis(1))
        })
        .unwrap();
        let start = Instant::now();
        timer.set(start, ());
        let times: Vec<Instant> = results.iter().take(5).collect();
        let expected: Vec<Instant> = (0..5).map(|ms| start + Duration::from_millis(ms)).collect();
        assert_eq!(times, expected);
    }
}
