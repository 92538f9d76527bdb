//! A store whose commits wait until a test lets them go.

use std::sync::mpsc::{Receiver, Sender as Bring, channel};

use super::*;
use crate::storage::{
    BackendError, BackendKind, Changes, Durability, MemoryBackend, Space, Storage, StorageBackend, Store, Visit,
};

/// A backend whose commits say how many entries they have and wait until they may go, or fail.
struct Gated {
    inner: MemoryBackend,
    gate: Mutex<(Bring<usize>, Receiver<bool>)>,
    kind: BackendKind,
}

impl StorageBackend for Gated {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Arc<[u8]>>, BackendError> {
        self.inner.get(space, key)
    }
    fn scan(&self, space: Space, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> Result<(), BackendError> {
        self.inner.scan(space, from, until, visit)
    }
    fn commit(&self, changes: &Changes, durability: Durability) -> Result<(), BackendError> {
        let gate = locked(&self.gate);
        // A test that failed has left the gate open.
        let _ = gate.0.send(changes.len());
        if gate.1.recv().unwrap_or(true) {
            self.inner.commit(changes, durability)
        } else {
            Err(BackendError::new("no space left on device"))
        }
    }
    fn sync(&self) -> Result<(), BackendError> {
        self.inner.sync()
    }
    fn kind(&self) -> BackendKind {
        self.kind
    }
}

/// The test's side of the gate. Dropped, it leaves the gate open.
pub(super) struct Gate {
    pub(super) arrivals: Mutex<Receiver<usize>>,
    pub(super) go: Bring<bool>,
    pub(super) store: Arc<Store>,
}

/// Entries of the commit of the first `set`: the value, the usage, and who wrote.
pub(super) const ONE: usize = 3;

impl Gate {
    /// Waits until a commit stands at the gate, and says how many entries it has.
    pub(super) fn arrives(&self) -> usize {
        locked(&self.arrivals).recv_timeout(PATIENCE).unwrap()
    }

    pub(super) fn opens(&self) {
        self.go.send(true).unwrap();
    }

    /// Nothing waits any more.
    pub(super) fn opens_for_good(self) {
        self.opens();
    }

    pub(super) fn fails(&self) {
        self.go.send(false).unwrap();
    }
}

/// A host with a single worker and the gate of its store.
pub(super) fn gated() -> (Host, Gate) {
    gated_as(BackendKind::Memory)
}

/// The same with a store that says to be of this kind.
pub(super) fn gated_as(kind: BackendKind) -> (Host, Gate) {
    let ((arrived, arrivals), (go, gate)) = (channel(), channel());
    let backend = Gated { inner: MemoryBackend::default(), gate: Mutex::new((arrived, gate)), kind };
    go.send(true).unwrap();
    let store = Arc::new(Store::on(Arc::new(backend)).unwrap());
    arrivals.recv().unwrap();
    let one_worker = Some(std::num::NonZeroUsize::MIN);
    let storage = Storage::of(Arc::clone(&store));
    let host = Host::with(|config| (config.storage, config.workers) = (storage, one_worker));
    (host, Gate { arrivals: Mutex::new(arrivals), go, store })
}
