//! Files of the state that are damaged, swapped, removed, or somebody else's.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;

use super::super::*;
use super::fixture::*;
use crate::audit::Kind;
use crate::audit::query::Query;
use crate::digest::Digest;
use crate::home::HomeError;

fn cache_key() -> CacheKey {
    CacheKey { wasm: record("alpha", 2).artifact.wasm, engine: Digest::of(b"engine") }
}

/// A home with every kind of file in it.
fn full_home(temp: &tempfile::TempDir) -> crate::home::Home {
    let home = lived_in_home(temp);
    let opened = open(&home);
    opened.store.cache().put(&cache_key(), vec![1; 5000]).wait().unwrap();
    opened.store.mark_starting(vec![(name("alpha"), Digest::of(b"alpha"))], Start::Alone).wait().unwrap();
    drop(opened);
    // The second start writes the counts.
    drop(open(&home));
    home
}

/// Writes a file that may be read-only.
fn overwrite(path: &Path, bytes: &[u8]) {
    let mode = fs::metadata(path).unwrap().permissions();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(100)))]

    /// T21: what is damaged at rest is detected; an older generation is taken, or the object is fetched again.
    #[test]
    fn tampering_with_a_byte_of_any_state_file_is_detected(
        file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1..=255u8,
    ) {
        let temp = temp_dir();
        let home = full_home(&temp);
        let before = Reader::new(&home).snapshot().unwrap();
        let files = state_files(&home);
        let path = file.get(&files);
        let mut bytes = fs::read(path).unwrap();
        prop_assume!(!bytes.is_empty());
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        overwrite(path, &bytes);
        let place = path.strip_prefix(home.state_dir()).unwrap().to_str().unwrap();
        let top = place.split('/').next().unwrap();
        match Store::open(&home, options()) {
            Err(error) => {
                prop_assert!(["floors", "format"].contains(&top), "{place}: {error}");
                prop_assert!(error.hint().is_some());
            }
            Ok(opened) => check_tampered(top, place, &before, &opened)?,
        }
    }
}

fn check_tampered(top: &str, place: &str, before: &Snapshot, opened: &Opened) -> Result<(), TestCaseError> {
    let snapshot = &opened.snapshot;
    let is_same = entries(snapshot) == entries(before) && snapshot.records == before.records;
    prop_assert!(snapshot.floors.lower_than(&before.floors).next().is_none(), "{place}");
    match top {
        "gen" => {
            // An older file than the current chain's may be damaged without any effect.
            let is_older = |recovered: &Recovered| recovered.number < before.generation.number;
            let is_noticed = snapshot.recovered.as_ref().is_some_and(is_older);
            prop_assert!(is_noticed || is_same, "{place}");
        }
        "objects" => {
            let damaged = opened.store.reader().verify().unwrap();
            let digest = Digest::from_hex(place.rsplit('/').next().unwrap()).unwrap();
            prop_assert!(damaged.iter().any(|p| p.digest == digest) || !names(before, &digest), "{place}");
            // Fetched again, it is whole again.
            prop_assert!(opened.store.objects().get_object(&digest, 1 << 20).is_err(), "{place}");
            for (text, sequence) in [("alpha", 2), ("beta", 1), ("gamma", 1)] {
                put_release(opened.store.objects(), text, sequence).unwrap();
            }
            let record = carry_out(&opened.store, Step::Reconfigure("beta", 1));
            prop_assert!(record.is_ok(), "{place}");
            prop_assert_eq!(opened.store.reader().verify().unwrap(), []);
        }
        "cache" | "cache-key" => {
            prop_assert!(is_same);
            prop_assert!(matches!(opened.store.cache().get(&cache_key()), CacheLookup::Refused(_)), "{place}");
        }
        "audit" => {
            let audit = opened.store.reader().audit(&Query { most: 100, ..Query::default() }).unwrap();
            let is_told = audit.records.iter().any(|record| record.kind == Kind::Gap);
            prop_assert!(is_same && (audit.chain.broken > 0 || is_told), "{place}");
        }
        // A damaged key is replaced, so that every fingerprint is another one.
        "secret-key" => prop_assert!(is_same && opened.store.reader().secret_key().is_some()),
        // Harmless: a text for people, a mark, a count.
        "lock" | "good" | "deaths" | "starting" => prop_assert!(is_same, "{place}"),
        _ => prop_assert!(false, "{place} opened"),
    }
    Ok(())
}

fn names(snapshot: &Snapshot, digest: &Digest) -> bool {
    let of_record = |record: &crate::record::Record| {
        let artifact = &record.artifact;
        [artifact.manifest, artifact.signature, artifact.wasm].contains(digest)
    };
    snapshot.generation.entries.values().any(|slot| slot.record == *digest)
        || snapshot.records.values().any(|record| of_record(record))
}

#[test]
fn a_current_that_is_missing_garbled_or_points_elsewhere_gives_way_to_the_newest_generation() {
    let targets = [
        None,
        Some(""),
        Some("gen/0000000099"),
        Some("gen/5"),
        Some("../gen/0000000005"),
        Some("gen/0000000005/"),
        Some("/etc/passwd"),
        Some("gen/0000000001"),
        Some("gen/0000000003"),
        Some("gen/0000000004"),
    ];
    for target in targets {
        let temp = temp_dir();
        let home = lived_in_home(&temp);
        let before = Reader::new(&home).snapshot().unwrap();
        let current = home.state_dir().join("current");
        fs::remove_file(&current).unwrap();
        match target {
            Some("") => fs::write(&current, "gen/0000000005").unwrap(),
            Some(target) => symlink(target, &current).unwrap(),
            None => {}
        }
        let snapshot = open(&home).snapshot;
        assert_eq!(snapshot.recovered.as_ref().unwrap().number, 5, "{target:?}");
        assert_eq!(entries(&snapshot), entries(&before), "{target:?}");
        let again = open(&home).snapshot;
        assert_eq!((again.generation, again.recovered), (snapshot.generation, None), "{target:?}");
        assert_eq!(fs::read_link(&current).unwrap(), Path::new("gen/0000000006"));
    }
}

#[test]
fn damaged_generations_are_skipped_set_aside_and_their_numbers_not_used_again() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    for number in [4, 5] {
        let path = home.state_dir().join(format!("gen/000000000{number}"));
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() / 2);
        fs::write(&path, bytes).unwrap();
    }
    let opened = open(&home);
    let recovered = opened.snapshot.recovered.clone().unwrap();
    assert_eq!((recovered.number, opened.snapshot.generation.number, opened.snapshot.next_number), (3, 6, 7));
    assert_eq!(opened.snapshot.generation.notes[0].kind, "recovered");
    assert!(recovered.why.starts_with("generation 5 is damaged"), "{}", recovered.why);
    assert_eq!(opened.snapshot.floors.of(&package("alpha")).high, 2, "floors are newer than the set, and stay");
    assert!(home.state_dir().join("gen/0000000005.damaged").exists());
    drop(opened);
    let opened = open(&home);
    assert_eq!((opened.snapshot.recovered.clone(), opened.snapshot.next_number), (None, 7));
    let committed = carry_out(&opened.store, Step::Release("alpha", 2)).unwrap();
    assert_eq!(committed.current.generation.number, 7);
    drop(opened);
    assert_eq!(open(&home).snapshot.records["alpha"].artifact.sequence, 2);
}

/// Data lies under storage ids: an id of a lost installation must not reach another one.
#[test]
fn storage_ids_of_lost_generations_are_not_given_out_again() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let committed = carry_out(&opened.store, Step::Release("delta", 1)).unwrap();
    let lost = committed.current.generation.entries["delta"].storage_id;
    drop(opened);
    fs::write(home.state_dir().join("gen/0000000006"), b"damaged").unwrap();
    drop(open(&home));
    let opened = open(&home);
    assert!(!opened.snapshot.generation.entries.contains_key("delta"));
    let committed = carry_out(&opened.store, Step::Release("epsilon", 1)).unwrap();
    assert!(committed.current.generation.entries["epsilon"].storage_id > lost);
    drop(opened);
    // The same when all but the data was removed by hand.
    for name in ["objects", "gen"] {
        fs::remove_dir_all(home.state_dir().join(name)).unwrap();
    }
    fs::remove_file(home.state_dir().join("format")).unwrap();
    fs::remove_file(home.state_dir().join("current")).unwrap();
    fs::create_dir_all(home.state_dir().join("kv/data")).unwrap();
    let next = open(&home).snapshot.generation.next_storage_id;
    assert!(next > committed.current.generation.next_storage_id, "{next}");
}

#[test]
fn a_state_without_any_intact_generation_is_refused_and_nothing_is_removed() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let files = state_files(&home);
    for path in files.iter().filter(|path| path.parent().unwrap().ends_with("gen")) {
        fs::write(path, b"damaged").unwrap();
    }
    let error = open_error(&home, options());
    assert!(matches!(error, StateError::Damaged { .. }) && error.hint().is_some(), "{error}");
    assert_eq!(state_files(&home), files);
}

/// T3.
#[test]
fn erased_floors_stop_the_host_until_the_operator_says_otherwise() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let floors = home.state_dir().join("floors");
    fs::remove_file(&floors).unwrap();
    for error in [open_error(&home, options()), Reader::new(&home).snapshot().unwrap_err()] {
        assert!(matches!(error, StateError::Missing { .. }), "{error}");
        assert!(error.hint().unwrap().contains("--rebuild-floors"), "{error}");
    }
    assert!(!floors.exists());
    let rebuild = Options { rebuild_floors: true, ..options() };
    let opened = Store::open(&home, rebuild).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(opened.snapshot.floors.of(&package("alpha")).high, 2);
    carry_out(&opened.store, Step::Uninstall("alpha")).unwrap();
    drop(opened);
    assert_eq!(open(&home).snapshot.floors.of(&package("alpha")).high, 2);
}

#[test]
fn floors_put_back_to_an_older_file_stop_the_host() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let floors = home.state_dir().join("floors");
    let older = fs::read(&floors).unwrap();
    let opened = open(&home);
    carry_out(&opened.store, Step::Release("alpha", 9)).unwrap();
    drop(opened);
    overwrite(&floors, &older);
    let error = open_error(&home, options());
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
    // As if nothing was ever accepted.
    overwrite(&floors, Floors::default().encode(0).text.as_bytes());
    assert!(matches!(open_error(&home, options()), StateError::Damaged { .. }));
}

#[test]
fn floors_survive_the_removal_of_everything_else() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    for name in ["format", "current"] {
        fs::remove_file(home.state_dir().join(name)).unwrap();
    }
    for name in ["objects", "gen"] {
        fs::remove_dir_all(home.state_dir().join(name)).unwrap();
    }
    let opened = open(&home);
    assert!(opened.snapshot.generation.entries.is_empty());
    assert_eq!(opened.snapshot.floors.of(&package("alpha")).high, 2);
}

#[test]
fn a_newer_or_missing_format_is_refused_and_nothing_is_changed() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let format = home.state_dir().join("format");
    fs::write(&format, "airssys-state 2\n").unwrap();
    let files = state_files(&home);
    let error = open_error(&home, options());
    assert!(
        error.to_string().ends_with("says \"airssys-state 2\", and this version knows \"airssys-state 1\""),
        "{error}"
    );
    assert!(matches!(Reader::new(&home).snapshot(), Err(StateError::Format { .. })));
    fs::write(&format, "\u{1b}[2Jairssys").unwrap();
    assert!(!open_error(&home, options()).to_string().contains('\u{1b}'));
    assert_eq!(state_files(&home), files);
    fs::remove_file(&format).unwrap();
    assert!(matches!(open_error(&home, options()), StateError::Missing { .. }));
}

#[test]
fn a_lock_that_a_killed_host_left_to_what_it_began_is_waited_for_and_not_for_ever() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let path = home.state_dir().join("lock");
    let left = fs::File::options().write(true).open(&path).unwrap();
    left.lock().unwrap();
    // No process has so high a number. None is begun here: it would hold copies of the locks of other tests.
    fs::write(&path, format!("process {} since 1\n", i32::MAX)).unwrap();
    assert!(matches!(open_error(&home, options()), StateError::Locked { .. }));
    std::thread::scope(|scope| {
        let (begins, begun) = std::sync::mpsc::channel();
        let home = &home;
        let opened = scope.spawn(move || {
            begins.send(()).unwrap();
            open(home).snapshot.records.len()
        });
        begun.recv().unwrap();
        // Long enough for it to have tried; it succeeds whenever this ends.
        std::thread::park_timeout(std::time::Duration::from_millis(50));
        drop(left);
        assert_eq!(opened.join().unwrap(), 3);
    });
}

/// P23.
#[test]
fn a_second_host_on_one_state_is_refused_and_told_who_has_it() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let error = open_error(&home, options());
    assert!(error.to_string().ends_with(&format!("is in use by process {}", std::process::id())), "{error}");
    // A lock file of the same name made anew is another file; the directory is still locked.
    fs::remove_file(home.state_dir().join("lock")).unwrap();
    assert!(matches!(open_error(&home, options()), StateError::Locked { .. }));
    carry_out(&opened.store, Step::Release("delta", 1)).unwrap();
    drop(opened);
    assert_eq!(open(&home).snapshot.records.len(), 4);
    assert!(home.state_dir().join("lock").exists(), "the lock file is never removed");
}

#[test]
fn directories_of_the_state_that_others_can_enter_or_that_are_symlinks_are_refused() {
    for directory in ["objects", "objects/sha256", "gen", "starting", "cache", "scratch", "mirrors"] {
        let temp = temp_dir();
        let home = lived_in_home(&temp);
        let path = home.state_dir().join(directory);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        let error = open_error(&home, options());
        assert!(matches!(error, StateError::Home(HomeError::Mode { .. })), "{directory}: {error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let elsewhere = temp.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let error = open_error(&home, options());
        assert!(matches!(error, StateError::Home(HomeError::NotADirectory(_))), "{directory}: {error}");
    }
}

#[test]
fn symlinks_and_pipes_in_place_of_state_files_are_not_followed_and_do_not_block() {
    for place in ["format", "floors", "gen/0000000005", "good"] {
        let temp = temp_dir();
        let home = lived_in_home(&temp);
        let path = home.state_dir().join(place);
        let copy = temp.path().join("copy");
        fs::rename(&path, &copy).unwrap();
        symlink(&copy, &path).unwrap();
        assert!(matches!(open_error(&home, options()), StateError::Io { .. }), "{place}");
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(open_error(&home, options()), StateError::Io { .. }), "{place}");
    }
}

#[test]
fn scratch_files_of_dead_processes_are_swept_and_those_of_living_ones_are_not() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let scratch = home.state_dir().join("scratch");
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero();
    let living = format!("object-{parent}-0000000000000000-1");
    let own_before = format!("object-{}-0000000000000000-1", std::process::id());
    fs::create_dir_all(scratch.join("git/deep/er")).unwrap();
    symlink("/etc", scratch.join("git/link")).unwrap();
    for name in
        [living.as_str(), own_before.as_str(), "object-4194304-0000000000000000-1", "object-", "git/deep/file", "x.tmp"]
    {
        fs::write(scratch.join(name), b"half").unwrap();
    }
    drop(open(&home));
    let left: Vec<_> = fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [living.as_str()]);
    assert!(Path::new("/etc/passwd").exists());
}
