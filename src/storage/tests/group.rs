//! Many calls that end at once are one commit, and those that may not join it are refused alone.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use super::*;

/// A backend whose commits wait until they may go.
struct Gated {
    inner: MemoryBackend,
    gate: Mutex<(Sender<usize>, Receiver<()>)>,
}

impl StorageBackend for Gated {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Arc<[u8]>>, BackendError> {
        self.inner.get(space, key)
    }
    fn scan(&self, space: Space, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> Result<(), BackendError> {
        self.inner.scan(space, from, until, &mut |key, value| -> ControlFlow<()> { visit(key, value) })
    }
    fn commit(&self, changes: &Changes, durability: Durability) -> Result<(), BackendError> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.0.send(changes.len()).unwrap();
        gate.1.recv().unwrap();
        self.inner.commit(changes, durability)
    }
    fn sync(&self) -> Result<(), BackendError> {
        self.inner.sync()
    }
    fn kind(&self) -> BackendKind {
        BackendKind::Memory
    }
}

#[test]
fn what_waits_while_a_commit_runs_becomes_one_commit() {
    const OTHERS: u64 = 20;
    let (arrived, arrivals) = channel();
    let (go, gate) = channel();
    let gated = Gated { inner: MemoryBackend::default(), gate: Mutex::new((arrived, gate)) };
    go.send(()).unwrap();
    let store = Arc::new(Store::on(Arc::new(gated)).unwrap());
    assert_eq!(arrivals.recv().unwrap(), 1, "the format");

    std::thread::scope(|scope| {
        scope.spawn(|| put(&store, 1, &[("k", b"v")]));
        assert_eq!(arrivals.recv().unwrap(), 2, "one entry and its usage");
        for id in 0..OTHERS {
            let store = &store;
            scope.spawn(move || put(store, 2 + id, &[("k", b"v")]));
        }
        // The gate is closed until all of them wait in the committer's queue.
        while store.brought() < 1 + OTHERS {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
        assert_eq!(arrivals.recv().unwrap(), 2 * OTHERS as usize);
        go.send(()).unwrap();
    });
    assert_eq!(store.counts(), StoreCounts { sets: OTHERS + 1, commits: 2 });
}
