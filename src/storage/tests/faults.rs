//! A store whose disk fails: what was acknowledged stays, nothing else is written, and it says so.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A backend that can be told to fail.
#[derive(Default)]
struct Failing {
    inner: MemoryBackend,
    commits_fail: AtomicBool,
    commits_panic: AtomicBool,
    reads_fail: AtomicBool,
}

impl StorageBackend for Failing {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Arc<[u8]>>, BackendError> {
        if self.reads_fail.load(Ordering::SeqCst) {
            return Err(BackendError::new("a bad\u{1b}sector"));
        }
        self.inner.get(space, key)
    }
    fn scan(&self, space: Space, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> Result<(), BackendError> {
        self.inner.scan(space, from, until, visit)
    }
    fn commit(&self, changes: &Changes, durability: Durability) -> Result<(), BackendError> {
        assert!(!self.commits_panic.load(Ordering::SeqCst), "meant for a test");
        if self.commits_fail.load(Ordering::SeqCst) {
            return Err(BackendError::new("no space left"));
        }
        self.inner.commit(changes, durability)
    }
    fn sync(&self) -> Result<(), BackendError> {
        Ok(())
    }
    fn kind(&self) -> BackendKind {
        BackendKind::Memory
    }
}

fn failing() -> (Arc<Failing>, Arc<Store>) {
    let backend = Arc::new(Failing::default());
    let store = Store::on(Arc::clone(&backend) as Arc<dyn StorageBackend>).unwrap();
    (backend, Arc::new(store))
}

fn try_put(store: &Arc<Store>) -> Result<(), StoreError> {
    let mut call = store.begin(1, wide());
    match call.set("k", b"new") {
        Ok(()) => commit(store, call),
        Err(StorageError::Unavailable(error)) => Err((*error).clone()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn after_a_failed_write_nothing_is_written_or_read_and_the_reason_is_said() {
    let (backend, store) = failing();
    put(&store, 1, &[("k", b"old")]);
    backend.commits_fail.store(true, Ordering::SeqCst);
    let stopped = StoreError::Stopped(BackendError::new("no space left"));
    assert_eq!(try_put(&store), Err(stopped.clone()));
    backend.commits_fail.store(false, Ordering::SeqCst);
    assert_eq!(try_put(&store), Err(stopped.clone()), "the disk recovered, and what it has is not known");
    assert!(stopped.to_string().contains("no space left") && stopped.to_string().contains("restart the host"));
    drop(store);
    let again = Arc::new(Store::on(backend).unwrap());
    assert_eq!(get(&again, 1, "k").as_deref(), Some(&b"old"[..]));
}

#[test]
fn a_backend_that_panics_stops_the_store_and_not_the_host() {
    let (backend, store) = failing();
    backend.commits_panic.store(true, Ordering::SeqCst);
    assert!(matches!(try_put(&store), Err(StoreError::Stopped(_))));
    assert!(matches!(try_put(&store), Err(StoreError::Stopped(_))));
}

#[test]
fn a_call_whose_read_failed_is_not_committed_even_if_the_guest_goes_on() {
    let (backend, store) = failing();
    let mut call = store.begin(1, wide());
    call.set("k", b"v").unwrap();
    backend.reads_fail.store(true, Ordering::SeqCst);
    assert!(matches!(call.get("other"), Err(StorageError::Unavailable(_))));
    backend.reads_fail.store(false, Ordering::SeqCst);
    call.set("l", b"v").unwrap();
    let error = commit(&store, call).unwrap_err();
    assert_eq!(error.to_string(), "the store can't be read: a bad\\u{1b}sector");
    assert_eq!(get(&store, 1, "k"), None);
}
