//! What guests keep: with the call, or not at all.

use super::*;
use crate::storage::{
    BackendError, BackendKind, Changes, Durability, MemoryBackend, Space, Storage, StorageBackend, Store, Visit,
};

/// `g` answers with the value of `k`, `c` removes everything; all others put what they got under `k`, and then
/// `t` traps, `f` answers with an error, `m` sends what it got to `next`. Answers with one byte: 0, or one more than
/// the case of the storage's error.
pub(super) fn keeper() -> TestGuest {
    TestGuest::new().storage().handle(
        r#"(local.set $i (i32.load8_u (local.get $ptr)))
        (if (i32.eq (local.get $i) (i32.const 103)) (then
          (call $host_load @"k" (i32.const 256))
          (if (i32.load8_u (i32.const 256))
            (then (return (call $byte (i32.add (i32.const 1) (i32.load8_u (i32.const 264)))))))
          (if (i32.load8_u (i32.const 264))
            (then (return (call $ok_some (i32.load (i32.const 268)) (i32.load (i32.const 272))))))
          (return (call $ok_none))))
        (if (i32.eq (local.get $i) (i32.const 99))
          (then (call $host_clear (i32.const 256)))
          (else (call $host_store @"k" (local.get $ptr) (local.get $len) (i32.const 256))))
        (if (i32.load8_u (i32.const 256))
          (then (return (call $byte (i32.add (i32.const 1) (i32.load8_u (i32.const 264)))))))
        (if (i32.eq (local.get $i) (i32.const 116)) (then unreachable))
        (if (i32.eq (local.get $i) (i32.const 102)) (then (return (call $error @"no"))))
        (if (i32.eq (local.get $i) (i32.const 109))
          (then (drop (call $send @"next" (local.get $ptr) (local.get $len)))))
        (call $byte (i32.const 0))"#,
    )
}

const NOT_PERMITTED: u8 = 1;
const READ_ONLY_NOW: u8 = 2;

pub(super) fn with_storage(name: &'static str, level: &'static str) -> Actor {
    let mut actor = Actor::new(name);
    actor.storage = Some(level);
    actor
}

fn value(host: &Host, actor: &str) -> Option<String> {
    host.ask(actor, b"g").unwrap().map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn what_a_call_wrote_is_kept_when_it_says_ok_and_only_then() {
    let host = Host::new();
    host.run(&with_storage("a", "read-write"), &keeper());
    assert_eq!(host.ask("a", b"set one"), Ok(Some(vec![0])));
    assert_eq!(value(&host, "a").as_deref(), Some("set one"));
    assert!(matches!(host.ask("a", b"f two"), Err(CallError::Failed(_))));
    assert_eq!(value(&host, "a").as_deref(), Some("set one"));
    assert!(matches!(host.ask("a", b"t three"), Err(CallError::Crashed(_))));
    host.until("it is up again", || host.status("a").phase == ActorPhase::Running);
    assert_eq!(value(&host, "a").as_deref(), Some("set one"), "kept over the crash, without what crashed");
}

#[test]
fn it_stays_over_a_new_version_and_over_a_restart_of_the_host() {
    let directory = tempfile::tempdir().unwrap();
    for kind in BackendKind::LASTING {
        let storage =
            |config: &mut SystemConfig| config.storage = Storage::at(kind, &directory.path().join(kind.to_string()));
        let host = Host::with(storage);
        host.run(&with_storage("a", "read-write"), &keeper());
        assert_eq!(host.ask("a", b"set one"), Ok(Some(vec![0])));
        host.run(&with_storage("a", "read-only"), &keeper());
        assert_eq!(value(&host, "a").as_deref(), Some("set one"));
        drop(host);
        let host = Host::with(storage);
        host.run(&with_storage("a", "read-only"), &keeper());
        assert_eq!(value(&host, "a").as_deref(), Some("set one"), "{kind}");
    }
}

#[test]
fn the_permission_says_how_far_it_goes() {
    let host = Host::new();
    host.run(&Actor::new("none"), &keeper());
    assert_eq!(host.ask("none", b"g"), Ok(Some(vec![NOT_PERMITTED])));
    assert_eq!(host.ask("none", b"set"), Ok(Some(vec![NOT_PERMITTED])));
    host.run(&with_storage("reader", "read-only"), &keeper());
    assert_eq!(host.ask("reader", b"g"), Ok(None));
    assert_eq!(host.ask("reader", b"set"), Ok(Some(vec![NOT_PERMITTED])));
    host.run(&with_storage("writer", "read-write"), &keeper());
    assert_eq!(host.ask("writer", b"set"), Ok(Some(vec![0])));
    assert_eq!(host.ask("writer", b"clear"), Ok(Some(vec![NOT_PERMITTED])));
    host.run(&with_storage("admin", "admin"), &keeper());
    assert_eq!(host.ask("admin", b"clear"), Ok(Some(vec![0])));
}

#[test]
fn init_of_a_standby_reads_what_is_there_and_does_not_write() {
    let host = Host::new();
    host.run(&with_storage("a", "read-write"), &keeper());
    assert_eq!(host.ask("a", b"set one"), Ok(Some(vec![0])));
    // Says what it read, and fails with it.
    let reads = keeper().init(
        r#"(call $host_load @"k" (i32.const 256))
           (call $init_error (i32.load (i32.const 268)) (i32.load (i32.const 272)))"#,
    );
    let refused = host.prepare(&with_storage("a", "read-write"), &reads).unwrap_err();
    assert_eq!(refused, PrepareError::Refused("set one".to_owned()));
    // Tries to write, and says the case of the error, as a character that can be read.
    let writes = keeper().init(
        r#"(call $host_store @"k" @"new" (i32.const 256))
           (i32.store8 (i32.const 300) (i32.add (i32.const 49) (i32.load8_u (i32.const 264))))
           (call $init_error (i32.const 300) (i32.load8_u (i32.const 256)))"#,
    );
    let refused = host.prepare(&with_storage("a", "read-write"), &writes).unwrap_err();
    assert_eq!(refused, PrepareError::Refused(READ_ONLY_NOW.to_string()));
    assert_eq!(value(&host, "a").as_deref(), Some("set one"));
}

#[test]
fn a_new_installation_gets_its_storage_with_the_commit() {
    let host = Host::new();
    let actor = with_storage("a", "read-write");
    let standby = host.prepare_with_storage(&actor, &keeper(), None).unwrap();
    standby.owns_storage(7);
    host.activate(standby);
    assert_eq!(host.ask("a", b"set one"), Ok(Some(vec![0])));
    let other = with_storage("b", "read-write");
    let standby = host.prepare_with_storage(&other, &keeper(), Some(8)).unwrap();
    host.activate(standby);
    assert_eq!(value(&host, "b"), None, "another storage id is another storage");
    let shared = host.prepare_with_storage(&with_storage("c", "read-only"), &keeper(), Some(7)).unwrap();
    host.activate(shared);
    assert_eq!(value(&host, "c").as_deref(), Some("set one"));
}

/// A backend whose disk is full from some moment on.
#[derive(Default)]
struct Full {
    inner: MemoryBackend,
    now: std::sync::atomic::AtomicBool,
}

impl StorageBackend for Full {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Arc<[u8]>>, BackendError> {
        self.inner.get(space, key)
    }
    fn scan(&self, space: Space, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> Result<(), BackendError> {
        self.inner.scan(space, from, until, visit)
    }
    fn commit(&self, changes: &Changes, durability: Durability) -> Result<(), BackendError> {
        if self.now.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(BackendError::new("no space left on device"));
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

#[test]
fn a_failed_write_ends_the_message_and_nothing_leaves_while_others_go_on() {
    let backend = Arc::new(Full::default());
    let store = Arc::new(Store::on(Arc::clone(&backend) as Arc<dyn StorageBackend>).unwrap());
    let host = Host::with(|config| config.storage = Storage::of(store));
    host.run(&with_storage("a", "read-write"), &keeper());
    host.run(&Actor::new("next"), &echo());
    assert_eq!(host.ask("a", b"m one"), Ok(Some(vec![0])));
    host.until("it came", || host.status("next").counts.handled == 1);

    backend.now.store(true, std::sync::atomic::Ordering::SeqCst);
    let Err(CallError::NotKept(why)) = host.ask("a", b"m two") else { panic!("it must fail") };
    assert!(why.contains("no space left on device") && why.contains("restart the host"), "{why}");
    assert!(matches!(host.ask("a", b"m three"), Err(CallError::NotKept(_))));
    assert_eq!(host.ask("next", b"still here"), Ok(Some(b"still here".to_vec())));
    assert_eq!(host.status("next").counts.accepted, 2, "no message of a call that failed");
    // A component with storage does not start any more, and says why; one without does.
    let refused = host.prepare(&with_storage("b", "read-only"), &keeper()).unwrap_err();
    assert!(refused.to_string().contains("no space left on device"), "{refused}");
    host.run(&Actor::new("c"), &echo());
}

#[test]
fn a_quota_that_was_lowered_refuses_what_grows_and_lets_read_shrink_and_remove() {
    const QUOTA_EXCEEDED: u8 = 5;
    let host = Host::new();
    let with_quota = |bytes| {
        let mut actor = with_storage("a", "admin");
        actor.limits.storage = ByteSize(bytes);
        actor
    };
    let text = |bytes| vec![b'x'; bytes];
    let length = |host: &Host| value(host, "a").map(|text| text.len());
    host.run(&with_quota(21), &keeper());
    assert_eq!(host.ask("a", &text(20)), Ok(Some(vec![0])), "with its key it fits exactly");
    assert_eq!(host.ask("a", &text(21)), Ok(Some(vec![QUOTA_EXCEEDED])));
    host.run(&with_quota(10), &keeper());
    assert_eq!(length(&host), Some(20), "what is there can be read");
    assert_eq!(host.ask("a", &text(21)), Ok(Some(vec![QUOTA_EXCEEDED])));
    assert_eq!(host.ask("a", &text(15)), Ok(Some(vec![0])), "what shrinks is taken, be it too much still");
    assert_eq!(host.ask("a", b"clear"), Ok(Some(vec![0])));
    assert_eq!(host.ask("a", &text(10)), Ok(Some(vec![QUOTA_EXCEEDED])));
    assert_eq!(host.ask("a", &text(9)), Ok(Some(vec![0])));
    host.run(&with_quota(11), &keeper());
    assert_eq!(host.ask("a", &text(10)), Ok(Some(vec![0])));
}
