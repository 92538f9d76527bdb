//! What a host does with its state on a good day.

use std::io::Read;

use super::super::*;
use super::fixture::*;
use crate::digest::Digest;
use crate::generation::SuccessionError;

#[test]
fn a_new_home_starts_with_the_empty_generation_and_keeps_what_is_committed() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let before = Reader::new(&home).snapshot().unwrap();
    assert_eq!((before.generation.number, before.digest, before.next_number), (0, None, 1));
    let opened = open(&home);
    assert_eq!((opened.snapshot.generation.number, opened.snapshot.next_number), (0, 1));
    assert!(opened.snapshot.generation.entries.is_empty() && opened.suspects.is_empty() && opened.deaths.is_empty());
    let committed = carry_out(&opened.store, Step::Release("alpha", 7)).unwrap();
    assert_eq!((committed.current.generation.number, committed.next_number), (1, 2));
    opened.store.mark_good(1).wait().unwrap();
    drop(opened);
    let opened = open(&home);
    let snapshot = opened.snapshot;
    assert_eq!(snapshot.generation, committed.current.generation);
    assert_eq!(snapshot.digest, Some(committed.current.digest));
    assert_eq!(*snapshot.records["alpha"], record("alpha", 7));
    assert_eq!((snapshot.floors.of(&package("alpha")).high, snapshot.last_good), (7, Some(1)));
    assert_eq!(snapshot.recovered, None);
}

#[test]
fn a_chain_of_many_commits_opens_again_over_its_rebases() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let opened = open(&home);
    for text in ["alpha", "beta", "gamma"] {
        carry_out(&opened.store, Step::Release(text, 1)).unwrap();
    }
    for sequence in 2..140 {
        carry_out(&opened.store, Step::Release("alpha", sequence)).unwrap();
    }
    drop(opened);
    let opened = open(&home);
    assert_eq!((opened.snapshot.generation.number, opened.snapshot.recovered.clone()), (141, None));
    assert_eq!(opened.snapshot.records["alpha"].artifact.sequence, 139);
    let reader = opened.store.reader();
    let old = reader.generation(60).unwrap().unwrap().generation;
    assert_eq!(reader.record(&old.entries["alpha"].record).unwrap().unwrap(), record("alpha", 58));
    let history = reader.history(5).unwrap();
    assert_eq!(history.iter().map(|past| past.number).collect::<Vec<_>>(), [141, 140, 139, 138, 137]);
    assert_eq!(history[0].entries, 3);
    // Generation n was written at NOW + n.
    assert_eq!(reader.entries_at(NOW + 2).unwrap(), Some(2));
    assert_eq!(reader.entries_at(NOW + 9999).unwrap(), Some(3));
    assert_eq!(reader.entries_at(NOW - 1).unwrap(), None);
}

#[test]
fn objects_are_found_by_their_bytes_and_are_read_only() {
    use std::os::unix::fs::MetadataExt as _;

    let temp = temp_dir();
    let home = home_in(&temp);
    let opened = open(&home);
    let objects = opened.store.objects();
    let stored = objects.put_object(b"abc").unwrap();
    assert_eq!(stored, StoredObject { digest: Digest::of(b"abc"), size: 3 });
    assert!(objects.has_object(&stored.digest) && !objects.has_object(&Digest::of(b"x")));
    assert_eq!(objects.get_object(&stored.digest, 3).unwrap().unwrap(), b"abc");
    let hex = stored.digest.hex();
    let path = home.state_dir().join("objects/sha256").join(&hex[..2]).join(&hex);
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o444);
    // The same bytes again write nothing.
    objects.put_object(b"abc").unwrap();
    objects.put_file(&mut b"abc".as_slice(), 3).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), metadata.ino());
    let big = vec![7u8; (256 << 10) * 3 + 1];
    let stored = objects.put_file(&mut big.as_slice(), big.len() as u64).unwrap();
    assert_eq!((stored.digest, stored.size), (Digest::of(&big), big.len() as u64));
    assert_eq!(objects.get_object(&stored.digest, 1 << 20).unwrap().unwrap(), big);
}

/// Gives zeros for ever and counts them.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        buffer.fill(0);
        self.0 += buffer.len() as u64;
        Ok(buffer.len())
    }
}

#[test]
fn endless_data_is_refused_at_the_cap_and_leaves_nothing() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let opened = open(&home);
    let mut endless = Endless(0);
    let error = opened.store.objects().put_file(&mut endless, 1 << 20).unwrap_err();
    assert_eq!(error.to_string(), "it is larger than 1MiB");
    assert!(endless.0 <= (1 << 20) + (512 << 10), "{} bytes were read", endless.0);
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("stale file handle"))
        }
    }
    let error = opened.store.objects().put_file(&mut Broken, 1 << 20).unwrap_err();
    assert_eq!(error.to_string(), "reading it failed: stale file handle");
    drop(opened);
    assert!(state_files(&home).iter().all(|path| !path.starts_with(home.state_dir().join("scratch"))));
}

#[test]
fn an_install_is_refused_when_the_disk_is_almost_full_and_an_uninstall_is_not() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = Store::open(&home, Options { kept_bytes: u64::MAX, ..options() }).unwrap_or_else(|e| panic!("{e}"));
    let error = carry_out(&opened.store, Step::Release("delta", 1)).unwrap_err();
    assert!(matches!(error, StateError::NoRoom { .. }) && error.is_disk_full_or_read_only(), "{error}");
    assert!(error.hint().is_some());
    carry_out(&opened.store, Step::Uninstall("alpha")).unwrap();
}

#[test]
fn plan_stores_objects_beside_a_running_host_and_the_host_makes_them_durable() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let plan = ObjectStore::open(&home, options()).unwrap_or_else(|e| panic!("{e}"));
    put_release(plan.objects(), "alpha", 1).unwrap();
    // A host may start on what `plan` left in a home that no host ever used.
    let opened = open(&home);
    put_release(plan.objects(), "beta", 1).unwrap();
    let mut generation = opened.snapshot.successor(NOW);
    let mut floors = opened.snapshot.floors.clone();
    for text in ["alpha", "beta"] {
        change(&mut generation, &mut floors, Step::Release(text, 1));
    }
    opened.store.commit(generation, floors).wait().unwrap();
    assert_eq!(opened.store.reader().verify().unwrap(), []);
    // Reading needs no lock.
    assert_eq!(Reader::new(&home).snapshot().unwrap().records.len(), 2);
    let top: Vec<_> = std::fs::read_dir(home.state_dir().join("scratch")).unwrap().collect();
    assert!(top.is_empty());
}

#[test]
fn plan_in_a_new_home_writes_below_objects_mirrors_and_scratch_and_nowhere_else() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let plan = ObjectStore::open(&home, options()).unwrap_or_else(|e| panic!("{e}"));
    put_release(plan.objects(), "alpha", 1).unwrap();
    drop(plan);
    let names = |path: &std::path::Path| {
        let entries = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    assert_eq!(names(home.root()), ["state"]);
    assert_eq!(names(&home.state_dir()), ["mirrors", "objects", "scratch"]);
}

#[test]
fn a_set_made_from_another_generation_is_refused() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let stale = opened.snapshot.successor(NOW);
    carry_out(&opened.store, Step::Uninstall("alpha")).unwrap();
    let error = opened.store.commit(stale, opened.snapshot.floors.clone()).wait().unwrap_err();
    assert!(matches!(error, StateError::Succession { source: SuccessionError::Parent { .. }, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "generation 6 was not committed: it was made from generation 5, and generation 6 is current"
    );
}

#[test]
fn a_set_is_refused_when_the_disk_does_not_hold_its_parent_any_more() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let current = home.state_dir().join("current");
    std::fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink("gen/0000000004", &current).unwrap();
    let error = opened.store.commit(opened.snapshot.successor(NOW), opened.snapshot.floors.clone()).wait().unwrap_err();
    assert!(matches!(error, StateError::ChangedOutside { .. }), "{error}");
    std::fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink("gen/0000000005", &current).unwrap();
    std::fs::copy(home.state_dir().join("gen/0000000004"), home.state_dir().join("gen/0000000005")).unwrap();
    let error = opened.store.commit(opened.snapshot.successor(NOW), opened.snapshot.floors.clone()).wait().unwrap_err();
    assert!(matches!(error, StateError::ChangedOutside { .. }), "{error}");
}

#[test]
fn a_set_that_names_a_missing_or_wrong_object_is_refused() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let commit = |step, other: Option<&str>| {
        let mut generation = opened.snapshot.successor(NOW);
        let mut floors = opened.snapshot.floors.clone();
        change(&mut generation, &mut floors, step);
        if let Some(other) = other {
            let slot = generation.entries.remove("delta").unwrap();
            generation.entries.insert(name(other), slot);
        }
        opened.store.commit(generation, floors).wait().unwrap_err().to_string()
    };
    let step = Step::Release("delta", 1);
    assert!(commit(step, None).contains("is missing"), "the record");
    opened.store.objects().put_object(&record("delta", 1).encode()).unwrap();
    assert!(commit(step, None).contains("is missing"), "the manifest");
    put_release(opened.store.objects(), "delta", 1).unwrap();
    assert!(commit(step, Some("epsilon")).contains("is the record of another installation"));
    let wasm = record("delta", 1).artifact.wasm.hex();
    let path = home.state_dir().join("objects/sha256").join(&wasm[..2]).join(&wasm);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"short").unwrap();
    assert!(commit(step, None).contains("has another size"));
}

#[test]
fn floors_never_fall_whatever_is_handed_in() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let before = opened.snapshot.floors.clone();
    let committed = opened.store.commit(opened.snapshot.successor(NOW), Floors::default()).wait().unwrap();
    assert_eq!(committed.floors, before);
    for text in ["alpha", "beta", "gamma"] {
        carry_out(&opened.store, Step::Uninstall(text)).unwrap();
    }
    drop(opened);
    assert_eq!(open(&home).snapshot.floors, before, "they survive uninstalls");
}

#[test]
fn a_component_that_was_starting_alone_when_the_host_ended_is_counted_once() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let target = |text: &str| (name(text), Digest::of(text.as_bytes()));
    let three = vec![target("alpha"), target("beta"), target("gamma")];
    opened.store.mark_starting(three, Start::Together).wait().unwrap();
    opened.store.clear_starting(vec![name("gamma")]).wait().unwrap();
    drop(opened);
    let opened = open(&home);
    let suspects: Vec<_> = opened.suspects.iter().map(|(name, suspect)| (name.as_str(), suspect.start)).collect();
    assert_eq!(suspects, [("alpha", Start::Together), ("beta", Start::Together)]);
    assert!(opened.deaths.is_empty());
    opened.store.mark_starting(vec![target("alpha")], Start::Alone).wait().unwrap();
    drop(opened);
    let death = |count, text: &str| Some(Death { count, target: target(text).1 });
    for _ in 0..2 {
        let opened = open(&home);
        assert_eq!(opened.deaths.get("alpha").copied(), death(1, "alpha"));
        assert_eq!(opened.suspects.len(), 2, "beta is still a suspect");
    }
    // Another target of the same name, and one that is not committed.
    let opened = open(&home);
    opened.store.mark_starting(vec![(name("alpha"), target("other").1)], Start::Alone).wait().unwrap();
    opened.store.mark_starting(vec![target("new")], Start::Alone).wait().unwrap();
    drop(opened);
    let opened = open(&home);
    assert_eq!(opened.deaths.get("alpha").copied(), death(1, "other"), "it counts from zero");
    assert_eq!(opened.deaths.get("new").copied(), death(1, "new"));
    opened.store.forgive(name("new")).wait().unwrap();
    opened.store.clear_starting(vec![name("new")]).wait().unwrap();
    drop(opened);
    let opened = open(&home);
    opened.store.forgive(name("alpha")).wait().unwrap();
    opened.store.clear_starting(vec![name("alpha"), name("beta")]).wait().unwrap();
    drop(opened);
    let opened = open(&home);
    assert!(opened.deaths.is_empty() && opened.suspects.is_empty());
}

#[test]
fn reading_beside_a_host_that_commits_and_collects_never_sees_anything_between_two_sets() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let reader = Reader::new(&home);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let (mut last, mut seen) = (0, 0);
            while !done.load(Ordering::SeqCst) {
                let snapshot = reader.snapshot().unwrap();
                assert!(snapshot.recovered.is_none() && snapshot.damaged.is_empty());
                assert!(snapshot.generation.number >= last, "{} after {last}", snapshot.generation.number);
                last = snapshot.generation.number;
                seen += 1;
            }
            seen
        });
        for sequence in 3..150 {
            let committed = carry_out(&opened.store, Step::Release("alpha", sequence)).unwrap();
            opened.store.mark_good(committed.current.generation.number).wait().unwrap();
            let now = std::time::SystemTime::now();
            let keep = Keep { generation_age: std::time::Duration::ZERO, ..Keep::at(now) };
            opened.store.collect(keep).wait().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        assert!(seen.join().unwrap() > 10);
    });
}

#[test]
fn a_store_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Store>();
    shared::<Objects>();
    shared::<CodeCache>();
}

#[test]
fn replies_work_for_asynchronous_callers() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let committed = runtime.block_on(async {
        let generation = opened.snapshot.successor(NOW);
        opened.store.commit(generation, opened.snapshot.floors.clone()).await
    });
    assert_eq!(committed.unwrap().current.generation.number, 6);
}

#[test]
fn all_writes_happen_on_the_thread_of_the_name_that_tests_look_for() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let faults: FaultHook = Arc::new(|_| {
        assert_eq!(std::thread::current().name(), Some(WRITER_THREAD));
        Ok(())
    });
    let opened = Store::open(&home, with_faults(Arc::clone(&faults))).unwrap_or_else(|e| panic!("{e}"));
    carry_out(&opened.store, Step::Release("delta", 1)).unwrap();
    let plan = ObjectStore::open(&home, with_faults(faults)).unwrap_or_else(|e| panic!("{e}"));
    put_release(plan.objects(), "epsilon", 1).unwrap();
}
