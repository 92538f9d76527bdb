//! What is kept of the past, and what is not.

use std::time::{Duration, SystemTime};

use super::super::*;
use super::fixture::*;
use crate::digest::Digest;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn later(by: Duration) -> Keep {
    Keep::at(SystemTime::now() + by)
}

fn numbers(home: &crate::home::Home) -> Vec<u64> {
    let names = std::fs::read_dir(home.state_dir().join("gen")).unwrap();
    let mut numbers: Vec<u64> = names.filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Thirty updates of one component beside another that stays.
fn home_with_history(temp: &tempfile::TempDir) -> (crate::home::Home, Opened) {
    let home = home_in(temp);
    let opened = open(&home);
    carry_out(&opened.store, Step::Release("beta", 1)).unwrap();
    carry_out(&opened.store, Step::Release("gamma", 1)).unwrap();
    for sequence in 1..=30 {
        carry_out(&opened.store, Step::Release("alpha", sequence)).unwrap();
    }
    (home, opened)
}

#[test]
fn generations_are_kept_for_seven_days_and_the_last_ten_for_ever() {
    let temp = temp_dir();
    let (home, opened) = home_with_history(&temp);
    assert_eq!(opened.store.collect(later(6 * DAY)).wait().unwrap().generations, 0);
    assert_eq!(numbers(&home).len(), 33);
    let collected = opened.store.collect(later(8 * DAY)).wait().unwrap();
    assert!(collected.generations > 0, "{collected:?}");
    for number in 23..=32 {
        assert!(opened.store.reader().generation(number).unwrap().is_some(), "{number}");
    }
    assert_eq!(opened.store.reader().verify().unwrap(), []);
    // Objects of the ten are there, so that each can be gone back to; older ones are gone.
    let objects = opened.store.objects();
    let has = |sequence| objects.has_object(&record("alpha", sequence).artifact.wasm);
    assert!((21..=30).all(has));
    let opened_again = {
        drop(opened);
        open(&home)
    };
    assert_eq!(opened_again.snapshot.generation.number, 32);
    assert_eq!(opened_again.store.reader().verify().unwrap(), []);
}

#[test]
fn the_last_good_generation_is_kept_with_its_objects_however_old() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let opened = open(&home);
    carry_out(&opened.store, Step::Release("beta", 1)).unwrap();
    for sequence in 1..=100 {
        let committed = carry_out(&opened.store, Step::Release("alpha", sequence)).unwrap();
        if sequence == 5 {
            opened.store.mark_good(committed.current.generation.number).wait().unwrap();
        }
    }
    opened.store.collect(later(30 * DAY)).wait().unwrap();
    let good = opened.store.reader().generation(6).unwrap().unwrap().generation;
    let record = opened.store.reader().record(&good.entries["alpha"].record).unwrap().unwrap();
    assert_eq!(record.artifact.sequence, 5);
    assert!(opened.store.objects().has_object(&record.artifact.wasm));
    assert_eq!(opened.store.reader().generation(40).unwrap(), None);
}

#[test]
fn objects_that_nothing_names_go_after_an_hour_and_not_before() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let objects = opened.store.objects();
    let stored = objects.put_object(b"nobody names it").unwrap();
    opened.store.collect(later(HOUR - Duration::from_secs(60))).wait().unwrap();
    assert!(objects.has_object(&stored.digest));
    let collected = opened.store.collect(later(HOUR + Duration::from_secs(60))).wait().unwrap();
    assert_eq!((collected.objects, collected.object_bytes), (1, 15));
    assert!(!objects.has_object(&stored.digest));
    // A clock that went back makes nothing look old.
    let stored = objects.put_object(b"nobody names it either").unwrap();
    opened.store.collect(Keep::at(SystemTime::UNIX_EPOCH)).wait().unwrap();
    assert!(objects.has_object(&stored.digest));
}

#[test]
fn an_old_object_that_is_stored_again_counts_as_new() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let opened = open(&home);
    let objects = opened.store.objects();
    let stored = objects.put_object(b"resolved long ago").unwrap();
    let hex = stored.digest.hex();
    let path = home.state_dir().join("objects/sha256").join(&hex[..2]).join(&hex);
    std::fs::File::open(&path).unwrap().set_modified(SystemTime::now() - 2 * HOUR).unwrap();
    objects.put_object(b"resolved long ago").unwrap();
    assert_eq!(opened.store.collect(later(Duration::ZERO)).wait().unwrap().objects, 0);
    assert!(objects.has_object(&stored.digest));
}

#[test]
fn a_size_limit_drops_the_oldest_generations_first_and_never_the_last_ten() {
    let temp = temp_dir();
    let (home, opened) = home_with_history(&temp);
    let keep = Keep { max_object_bytes: 0, ..later(2 * HOUR) };
    let collected = opened.store.collect(keep).wait().unwrap();
    assert!(collected.generations > 0 && collected.objects > 0, "{collected:?}");
    assert!((23..=32).all(|number| numbers(&home).contains(&number)));
    assert_eq!(opened.store.reader().verify().unwrap(), []);
}

#[test]
fn cached_code_goes_with_its_wasm() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let key = |wasm| CacheKey { wasm, engine: Digest::of(b"engine") };
    let wanted = key(record("alpha", 2).artifact.wasm);
    let unwanted = key(Digest::of(b"of nobody"));
    for key in [&wanted, &unwanted] {
        opened.store.cache().put(key, vec![0; 100]).wait().unwrap();
    }
    assert_eq!(opened.store.collect(later(HOUR / 2)).wait().unwrap().cache_entries, 0);
    assert_eq!(opened.store.collect(later(2 * HOUR)).wait().unwrap().cache_entries, 1);
    assert!(matches!(opened.store.cache().get(&wanted), CacheLookup::Hit(_)));
    assert!(matches!(opened.store.cache().get(&unwanted), CacheLookup::Miss));
}

#[test]
fn a_damaged_record_does_not_make_other_objects_look_unused() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let digest = Digest::of(&record("gamma", 1).encode()).hex();
    let path = home.state_dir().join("objects/sha256").join(&digest[..2]).join(&digest);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"damaged").unwrap();
    let opened = open(&home);
    assert_eq!(opened.snapshot.damaged.keys().map(|n| n.as_str()).collect::<Vec<_>>(), ["gamma"]);
    opened.store.collect(later(30 * DAY)).wait().unwrap();
    for (text, sequence) in [("alpha", 2), ("beta", 1)] {
        assert!(opened.store.objects().has_object(&record(text, sequence).artifact.wasm), "{text}");
    }
}
