//! Messages that outlive the host: each one's effect is there exactly once, whatever ends when.

mod dying;
mod ending;
mod keeping;
mod killed;

use super::storage::with_storage;
use super::*;
use crate::storage::{
    BackendError, BackendKind, Changes, Durability, MemoryBackend, Space, Storage, StorageBackend, Store, Visit,
};

/// A backend that lasts as long as the test, and remembers each commit: what a host leaves that is killed between two of
/// them is the commits before.
#[derive(Default)]
pub(super) struct Lasting {
    inner: MemoryBackend,
    commits: Mutex<Vec<Changes>>,
}

impl StorageBackend for Lasting {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Arc<[u8]>>, BackendError> {
        self.inner.get(space, key)
    }
    fn scan(&self, space: Space, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> Result<(), BackendError> {
        self.inner.scan(space, from, until, visit)
    }
    fn commit(&self, changes: &Changes, durability: Durability) -> Result<(), BackendError> {
        let mut commits = locked(&self.commits);
        self.inner.commit(changes, durability)?;
        commits.push(changes.clone());
        Ok(())
    }
    fn sync(&self) -> Result<(), BackendError> {
        Ok(())
    }
    fn kind(&self) -> BackendKind {
        BackendKind::Fjall
    }
}

impl Lasting {
    fn commits(&self) -> Vec<Changes> {
        locked(&self.commits).clone()
    }

    /// The store of a host that was killed after these commits.
    fn after(commits: &[Changes]) -> Arc<Self> {
        let left = Self::default();
        commits.iter().for_each(|changes| left.inner.commit(changes, Durability::Synced).unwrap());
        *locked(&left.commits) = commits.to_vec();
        Arc::new(left)
    }

    /// The store of a host that is killed now.
    pub(super) fn killed(&self) -> Arc<Self> {
        Self::after(&self.commits())
    }

    fn store(self: &Arc<Self>) -> Arc<Store> {
        Arc::new(Store::on(Arc::clone(self) as Arc<dyn StorageBackend>).unwrap())
    }

    /// A host on it, and its store.
    pub(super) fn host(self: &Arc<Self>) -> (Host, Arc<Store>) {
        let store = self.store();
        (Host::with(|config| config.storage = Storage::of(Arc::clone(&store))), store)
    }
}

fn durable(name: &'static str) -> Actor {
    let mut actor = Actor::new(name);
    actor.delivery = Delivery::Durable;
    actor
}

/// One that also stores, and sends to `next`.
fn link(name: &'static str, next: &'static str) -> Actor {
    let mut actor = with_storage(name, "read-write");
    actor.delivery = Delivery::Durable;
    actor.links = vec![("next", next)];
    actor
}

/// Keeps all payloads behind one another under `log`, and sends each to `next`. Answers `g` with what it kept, `f` with
/// an error, and traps at `t`.
fn logger() -> TestGuest {
    TestGuest::new().storage().handle(
        r#"(call $host_load @"log" (i32.const 256))
        (local.set $i (i32.const 0))
        (if (i32.load8_u (i32.const 264)) (then
          (local.set $i (i32.load (i32.const 272)))
          (memory.copy (i32.const 8192) (i32.load (i32.const 268)) (local.get $i))))
        (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 103))
          (then (return (call $ok_some (i32.const 8192) (local.get $i)))))
        (memory.copy (i32.add (i32.const 8192) (local.get $i)) (local.get $ptr) (local.get $len))
        (call $host_store @"log" (i32.const 8192) (i32.add (local.get $i) (local.get $len)) (i32.const 256))
        (if (i32.load8_u (i32.const 256)) (then unreachable))
        (drop (call $send @"next" (local.get $ptr) (local.get $len)))
        (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 102)) (then (return (call $error @"no"))))
        (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 116)) (then unreachable))
        (call $ok_none)"#,
    )
}

fn run(host: &Host, actor: &Actor, guest: &TestGuest, id: u64) {
    let standby = host.prepare_with_storage(actor, guest, Some(id)).unwrap();
    assert_eq!(host.activate(standby), Switched::Done);
}

fn send(host: &Host, actor: &str, payload: &[u8]) -> u64 {
    host.system.send_from_host(&name(actor), payload.to_vec()).unwrap()
}

fn begin(host: &Host, actor: &str, payload: &[u8]) -> PendingReply {
    host.system.begin_request(&name(actor), payload.to_vec(), PATIENCE).unwrap()
}

fn log_of(host: &Host, actor: &str) -> String {
    String::from_utf8(begin(host, actor, b"g").wait().unwrap().unwrap().bytes).unwrap()
}

fn waiting(store: &Store, id: u64) -> Vec<Vec<u8>> {
    store.contents(id).into_iter().map(|(_, payload)| payload).collect()
}

fn is_idle(host: &Host, actor: &str) -> bool {
    let status = host.status(actor);
    status.mailbox_messages == 0 && status.counts.accepted == status.counts.handled + status.counts.dead()
}

#[track_caller]
fn adds_up(host: &Host, actor: &str) {
    let status = host.status(actor);
    let counts = status.counts;
    assert_eq!(counts.accepted, counts.handled + counts.dead() + status.mailbox_messages, "{counts:?}");
}

/// Never comes back from a message, but for `g`.
fn stuck() -> TestGuest {
    TestGuest::new().handle(
        r#"(if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 103)) (then (return (call $ok_none))))
           (loop $for_ever (br $for_ever)) (call $ok_none)"#,
    )
}

fn reasons(host: &Host) -> Vec<(Vec<u8>, DeadReason)> {
    let (letters, ..) = host.system.dead_letters(100);
    letters.iter().map(|letter| (letter.payload.bytes.clone(), letter.reason)).collect()
}
