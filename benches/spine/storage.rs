//! Measures what a component pays to keep a value: a set through a guest, on disk before its call ends.
//!
//! The floors are the bare store, in the version that the host uses: many sets in one commit with one sync, which
//! nobody who keeps each of them can go below, and a commit with a sync for each set, which is what a component would
//! get without a common commit.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::actor::System;
use airssys_wasm::storage::{BackendKind, Storage, Store};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::table::{Pairs, Table, count, timed};
use super::world::{World, name};

/// Components that keep something at the same time.
const ACTORS: usize = 64;
/// Sets of each of them in a round.
const SETS: usize = 100;
/// Bytes of a key and of a value.
const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 100;
/// Rounds, each of a measurement and its floors.
const ROUNDS: usize = 7;
/// Threads that run actors.
const WORKERS: usize = 2;
/// How long a round may take before something is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that the sets may take, in floors: three fifths of the bare store's throughput.
const MOST_GROUPED: f64 = 1.67;
/// The most against a sync for each: twenty times its throughput.
const MOST_SINGLE: f64 = 0.05;

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let world = World::new()?;
    world.sign("keeper", &keeper()?, "\n[permissions]\nstorage = \"read-write\"\n")?;
    for number in 0..ACTORS {
        let text = "package = \"bench:keeper\"\n\n[source.file]\npath = \"../components/keeper\"\n\n[grant]\n\
                    storage = \"read-write\"\n";
        std::fs::write(world.desired().join(format!("{}.toml", name(number))), text)?;
    }
    world.settle();
    let installed = world.apply("home")?;
    anyhow::ensure!(installed == ACTORS as u64, "{installed} of {ACTORS} were installed");
    let directory = world.path().join("kv");
    std::fs::create_dir(&directory)?;
    let store = Arc::new(Store::open(BackendKind::Fjall, &directory)?);
    let (mut reconciler, actors) = world.parts("home", true, |config| {
        config.workers = std::num::NonZeroUsize::new(WORKERS);
        config.storage = Storage::of(Arc::clone(&store));
    })?;
    anyhow::ensure!(reconciler.start_committed() == ACTORS, "not all run");
    let bare = Bare::open(&world.path().join("bare"))?;
    let sets = count(SETS);
    let (mut grouped, mut single) = (Pairs::default(), Pairs::default());
    let before = store.counts();
    for _ in 0..ROUNDS {
        let measured = through_guests(&actors, &store, sets)?;
        grouped.add(measured, bare.sets(sets, ACTORS)?);
        single.add(measured, bare.sets(sets * ACTORS, 1)?);
    }
    let counts = store.counts();
    let per_commit = (counts.sets - before.sets) as f64 / (counts.commits - before.commits) as f64;
    let what = format!("{} durable sets through {ACTORS} guests", sets * ACTORS);
    let notes = || {
        vec![format!(
            "{WORKERS} workers, values of {VALUE_BYTES} bytes; a commit had {per_commit:.1} sets on average, each with its \
             usage"
        )]
    };
    let floor = format!("raw fjall, {ACTORS} sets with one sync");
    table.ratio(&what, &floor, &grouped, MOST_GROUPED, notes());
    table.ratio(&what, "raw fjall, a sync for each set", &single, MOST_SINGLE, notes());
    Ok(())
}

/// The time until `sets` of each actor are on disk.
fn through_guests(actors: &System, store: &Store, sets: usize) -> anyhow::Result<Duration> {
    let wanted = store.counts().sets + (sets * ACTORS) as u64;
    let names = (0..ACTORS).map(|number| name(number).parse()).collect::<Result<Vec<_>, _>>()?;
    let (done, time) = timed(|| -> anyhow::Result<()> {
        for set in 0..sets {
            for own in &names {
                actors.send_from_host(own, payload(set))?;
            }
        }
        let begun = std::time::Instant::now();
        while store.counts().sets < wanted {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "not all sets were kept");
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    });
    done.map(|()| time)
}

/// The key and, behind it, the rest of the value.
fn payload(set: usize) -> Vec<u8> {
    let mut payload = format!("{set:0KEY_BYTES$}").into_bytes();
    payload.resize(VALUE_BYTES, b'v');
    payload
}

/// The store without a host.
struct Bare {
    database: Database,
    keyspace: Keyspace,
}

impl Bare {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let database = Database::builder(path).open()?;
        let keyspace = database.keyspace("data", KeyspaceCreateOptions::default)?;
        Ok(Self { database, keyspace })
    }

    /// The time of so many commits with so many sets each, each with a sync.
    fn sets(&self, commits: usize, sets: usize) -> anyhow::Result<Duration> {
        let (done, time) = timed(|| -> anyhow::Result<()> {
            for commit in 0..commits {
                let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
                for set in 0..sets {
                    let key = format!("{set:08}{commit:0KEY_BYTES$}");
                    batch.insert(&self.keyspace, key.as_bytes(), payload(commit));
                }
                batch.commit()?;
            }
            Ok(())
        });
        done.map(|()| time)
    }
}

/// A component that keeps each message under its first bytes, and fails when it may not.
fn keeper() -> anyhow::Result<Vec<u8>> {
    let text = format!(
        r#"(component
  (import "airssys:component/types@0.1.0" (instance $types
    (type $s (variant (case "installation" string) (case "trigger" u32) (case "host")))
    (export "sender" (type $sender (eq $s)))
    (type $m (record (field "id" u64) (field "sender" $sender) (field "payload" (list u8))))
    (export "message" (type (eq $m)))))
  (import "airssys:component/storage@0.1.0" (instance $storage
    (type $e (variant (case "not-permitted") (case "read-only-now") (case "invalid-key" string)
      (case "value-too-large" u64) (case "quota-exceeded" u64) (case "too-many-keys" u64)
      (case "batch-too-large" u64) (case "too-many-operations" u64) (case "transaction-too-large" u64)
      (case "unavailable")))
    (export "storage-error" (type $error (eq $e)))
    (export "set" (func (param "key" string) (param "value" (list u8)) (result (result (error $error)))))))
  (alias export $types "message" (type $message))
  (core module $heap
    (memory (export "memory") 1)
    (global $next (export "next") (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      global.get $next
      global.get $next local.get 3 i32.add i32.const 15 i32.add i32.const -16 i32.and global.set $next))
  (core instance $h (instantiate $heap))
  (core func $set (canon lower (func $storage "set") (memory (core memory $h "memory"))
    (realloc (core func $h "realloc"))))
  (core module $m
    (import "heap" "memory" (memory 1))
    (import "heap" "next" (global $next (mut i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32)))
    (func (export "handle") (param i64 i32 i32 i32 i32 i32) (result i32)
      (call $set (local.get 4) (i32.const {KEY_BYTES}) (local.get 4) (local.get 5) (i32.const 64))
      (global.set $next (i32.const 4096))
      ;; Ok without an answer, or a trap.
      (if (i32.load8_u (i32.const 64)) (then unreachable))
      (i32.store (i32.const 32) (i32.const 0)) (i32.store (i32.const 36) (i32.const 0))
      i32.const 32))
  (core instance $i (instantiate $m
    (with "heap" (instance $h)) (with "host" (instance (export "set" (func $set))))))
  (func $handle (param "message" $message) (result (result (option (list u8)) (error string)))
    (canon lift (core func $i "handle") (memory (core memory $h "memory")) (realloc (core func $h "realloc"))))
  (instance $handler (export "message" (type $message)) (export "handle" (func $handle)))
  (export "airssys:component/message-handler@0.1.0" (instance $handler)))"#
    );
    Ok(wat::parse_str(&text)?)
}
