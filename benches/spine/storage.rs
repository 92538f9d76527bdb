//! Measures what a component pays to keep a value, a set through a guest that is on disk before its call ends, and to
//! read it.
//!
//! The floors are the bare store, in the version that the host uses: many sets in one commit with one sync, which
//! nobody who keeps each of them can go below; a commit with a sync for each set, which is what a component would
//! get without a common commit; and as many reads on as many threads. The guest is a real one, in Rust.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm::actor::{ActorStatus, System};
use airssys_wasm::storage::{BackendKind, Storage, Store};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::table::{Pairs, Table, count, timed};
use super::world::{World, name};

/// What `examples/refresh` builds of `examples/components/keeper`.
const KEEPER: &[u8] = include_bytes!("keeper.wasm");
/// Components that keep something at the same time.
const ACTORS: usize = 64;
/// Sets of each of them in a round.
const SETS: usize = 100;
/// Bytes of a key and of a value.
const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 100;
/// Reads of each of them in a round, in one call of the guest; the host allows 10,000.
const GETS: usize = 5_000;
/// Rounds, each of a measurement and its floors.
const ROUNDS: usize = 7;
/// Threads that run actors.
const WORKERS: usize = 2;
/// How long a round may take before something is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that the sets may take, in floors: three fifths of the bare store's throughput.
const MOST_GROUPED: f64 = 1.67;
/// The most that the reads may take, in floors: likewise.
const MOST_READS: f64 = 1.67;
/// The most against a sync for each: twenty times its throughput.
const MOST_SINGLE: f64 = 0.05;

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let world = World::new()?;
    world.sign("keeper", KEEPER, "\n[permissions]\nstorage = \"read-write\"\n")?;
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
    reads(table, &actors, &bare, sets)
}

fn reads(table: &mut Table, actors: &System, bare: &Bare, keys: usize) -> anyhow::Result<()> {
    let gets = count(GETS);
    let mut pairs = Pairs::default();
    for _ in 0..ROUNDS {
        let measured = gets_through_guests(actors, gets, keys)?;
        pairs.add(measured, bare.gets(gets, keys)?);
    }
    let what = format!("{} gets through {ACTORS} guests", gets * ACTORS);
    let floor = format!("raw fjall, on {WORKERS} threads");
    let notes = format!("{WORKERS} workers, {gets} gets a call, of {keys} keys each; the host reads through its cache");
    table.ratio(&what, &floor, &pairs, MOST_READS, vec![notes]);
    Ok(())
}

/// The time until each actor has read so often.
fn gets_through_guests(actors: &System, gets: usize, keys: usize) -> anyhow::Result<Duration> {
    let counts = || {
        let statuses = actors.statuses();
        let count = |count: fn(&ActorStatus) -> u64| statuses.iter().map(count).sum::<u64>();
        (count(|status| status.counts.handled), count(|status| status.counts.failed))
    };
    let (before, failed) = counts();
    let mut order = vec![b'g'];
    order.extend([gets, keys].into_iter().flat_map(|number| (number as u32).to_le_bytes()));
    let (done, time) = timed(|| -> anyhow::Result<()> {
        for number in 0..ACTORS {
            actors.send_from_host(&name(number).parse()?, order.clone())?;
        }
        let begun = Instant::now();
        while counts().0 < before + ACTORS as u64 {
            anyhow::ensure!(counts().1 == failed, "a guest did not find what it keeps");
            anyhow::ensure!(begun.elapsed() < PATIENCE, "not all was read");
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    });
    done.map(|()| time)
}

/// The time until `sets` of each actor are on disk.
fn through_guests(actors: &System, store: &Store, sets: usize) -> anyhow::Result<Duration> {
    let wanted = store.counts().sets + (sets * ACTORS) as u64;
    let names = (0..ACTORS).map(|number| name(number).parse()).collect::<Result<Vec<_>, _>>()?;
    let (done, time) = timed(|| -> anyhow::Result<()> {
        for set in 0..sets {
            for own in &names {
                actors.send_from_host(own, order(set))?;
            }
        }
        let begun = Instant::now();
        while store.counts().sets < wanted {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "not all sets were kept");
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    });
    done.map(|()| time)
}

/// What makes the guest store a value.
fn order(set: usize) -> Vec<u8> {
    let mut order = format!("s{set:0KEY_BYTES$}").into_bytes();
    order.extend([b'v'; VALUE_BYTES]);
    order
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
                    batch.insert(&self.keyspace, key.as_bytes(), [b'v'; VALUE_BYTES]);
                }
                batch.commit()?;
            }
            Ok(())
        });
        done.map(|()| time)
    }

    /// The time of so many reads for each actor, on as many threads as actors have.
    fn gets(&self, gets: usize, keys: usize) -> anyhow::Result<Duration> {
        let (done, time) = timed(|| {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..WORKERS)
                    .map(|worker| scope.spawn(move || self.some_gets((worker..ACTORS).step_by(WORKERS), gets, keys)))
                    .collect();
                threads.into_iter().try_for_each(|thread| thread.join().expect("the thread of the floor"))
            })
        });
        done.map(|()| time)
    }

    fn some_gets(&self, owners: impl Iterator<Item = usize>, gets: usize, keys: usize) -> anyhow::Result<()> {
        for owner in owners {
            for get in 0..gets {
                let key = format!("{owner:08}{:0KEY_BYTES$}", get % keys);
                let value = self.keyspace.get(key.as_bytes())?;
                anyhow::ensure!(value.is_some_and(|value| value.len() == VALUE_BYTES), "{key} is not kept");
            }
        }
        Ok(())
    }
}
