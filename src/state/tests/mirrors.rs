//! How long memos and mirrors are kept, and how much of them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::super::*;
use super::fixture::*;
use crate::digest::Digest;
use crate::home::Home;
use crate::remote::memo::Memo;

const HOUR: Duration = Duration::from_secs(3600);
const KIB: u64 = 1024;

fn source(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// What a source was, with objects of its own.
fn remember(store: &Store, text: &str) -> Memo {
    let put = |what: &str| store.objects().put_object(format!("{what} of {text}").as_bytes()).unwrap().digest;
    let memo = Memo {
        revision: None,
        manifest: put("manifest"),
        signature: put("signature"),
        wasm: put("wasm"),
        at_unix_s: 0,
    };
    store.objects().remember(&source(text), &memo).unwrap();
    memo
}

/// A mirror of so many KiB, used so many hours ago.
fn mirror(home: &Home, name: &str, kib: usize, hours_ago: u32) -> PathBuf {
    let top = home.state_dir().join("mirrors").join(name);
    let place = if name.starts_with("desired-") { top.clone() } else { top.join("git") };
    let packs = place.join("snapshot.git/objects/pack");
    fs::create_dir_all(&packs).unwrap();
    fs::write(place.join("lock"), "").unwrap();
    fs::write(place.join("snapshot.git/config"), "").unwrap();
    fs::write(packs.join("pack-1.pack"), vec![0; kib << 10]).unwrap();
    let then = SystemTime::now() - HOUR * hours_ago;
    for path in [place.join("snapshot.git/config"), place.join("lock"), place.clone(), top] {
        File::open(path).unwrap().set_modified(then).unwrap();
    }
    place
}

fn keep(names: &[String], later: Duration) -> Keep {
    let names = names.iter().cloned().collect();
    let sources = SourcesInUse { names, unused_for: HOUR, are_fetched: true };
    Keep { sources, ..Keep::at(SystemTime::now() + later) }
}

#[test]
fn what_a_source_was_is_kept_with_its_objects_while_it_is_in_use_and_goes_with_them_an_hour_after() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let store = open(&home).store;
    let (used, unused) = (remember(&store, "used"), remember(&store, "unused"));
    let names = [source("used").hex()];
    let has =
        |memo: &Memo| [memo.manifest, memo.signature, memo.wasm].map(|digest| store.objects().has_object(&digest));
    store.collect(keep(&names, HOUR / 2)).wait().unwrap();
    assert_eq!((has(&used), has(&unused)), ([true; 3], [true; 3]));
    let collected = store.collect(keep(&names, HOUR * 2)).wait().unwrap();
    assert_eq!((collected.sources, collected.objects), (1, 3), "{collected:?}");
    assert_eq!((has(&used), has(&unused)), ([true; 3], [false; 3]));
    assert!(store.objects().recall(&source("used")).is_some() && store.objects().recall(&source("unused")).is_none());
}

#[test]
fn a_mirror_that_somebody_has_locked_is_never_removed() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let store = open(&home).store;
    let place = mirror(&home, "a", 1, 5);
    let lock = File::open(place.join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let none = Keep { max_mirror_bytes: 0, ..keep(&[], Duration::ZERO) };
    let collected = store.collect(none.clone()).wait().unwrap();
    assert_eq!((collected.sources, collected.mirrors, collected.mirror_bytes), (0, 0, 0), "{collected:?}");
    assert!(collected.kept_mirror_bytes >= KIB && place.join("snapshot.git/objects/pack/pack-1.pack").exists());
    drop(lock);
    assert_eq!(store.collect(none).wait().unwrap().sources, 1);
    assert!(!home.state_dir().join("mirrors/a").exists());
}

#[test]
fn above_the_quota_the_mirrors_used_longest_ago_go_but_none_that_is_only_here() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let store = open(&home).store;
    for (name, hours) in [("old", 3), ("older", 4), ("new", 0), ("desired-x", 9)] {
        mirror(&home, name, 100, hours);
    }
    remember(&store, "older");
    let names = ["old", "older", "new", "desired-x"].map(str::to_owned);
    let limited = |kib: u64| Keep { max_mirror_bytes: kib * KIB, ..keep(&names, Duration::ZERO) };
    let offline = SourcesInUse { are_fetched: false, ..limited(0).sources };
    assert_eq!(store.collect(Keep { sources: offline, ..limited(0) }).wait().unwrap().mirrors, 0);
    let planned = store.collect(Keep { removes: false, ..limited(350) }).wait().unwrap();
    let has = |name: &str| {
        ["git", "snapshot.git"].iter().any(|d| home.state_dir().join("mirrors").join(name).join(d).exists())
    };
    assert!(has("older"));
    let collected = store.collect(limited(350)).wait().unwrap();
    assert_eq!((collected.mirrors, planned.mirrors), (1, 1));
    assert_eq!(names.each_ref().map(|name| has(name)), [true, false, true, true]);
    assert_eq!(store.collect(limited(0)).wait().unwrap().mirrors, 2);
    assert_eq!(names.each_ref().map(|name| has(name)), [false, false, false, true]);
    let left = store.collect(limited(0)).wait().unwrap();
    assert!(left.mirrors == 0 && left.kept_mirror_bytes >= 100 * KIB, "{left:?}");
}

#[test]
fn no_more_is_on_its_way_into_the_store_than_scratch_may_hold_and_what_was_left_behind_is_swept() {
    use std::io::Write as _;
    let temp = temp_dir();
    let home = home_in(&temp);
    let opened = Store::open(&home, Options { scratch_bytes: 3 << 20, ..options() });
    let store = opened.unwrap_or_else(|error| panic!("{error}")).store;
    let (mut first, mut second) = (store.objects().sink(), store.objects().sink());
    first.write_all(&vec![1; 2 << 20]).unwrap();
    let error = second.write_all(&vec![2; 2 << 20]).and_then(|()| second.flush()).unwrap_err();
    assert!(error.to_string().contains("`scratch-max`"), "{error}");
    drop(first);
    drop(second);
    let mut third = store.objects().sink();
    third.write_all(&vec![3; 2 << 20]).unwrap();
    third.keep().unwrap();
    fs::write(home.state_dir().join("scratch/object-0-left"), vec![0; 1000]).unwrap();
    assert_eq!(store.collect(keep(&[], Duration::ZERO)).wait().unwrap().scratch_bytes, 1000);
    assert_eq!(fs::read_dir(home.state_dir().join("scratch")).unwrap().count(), 0);
}

#[test]
fn t21_fsck_finds_a_changed_byte_in_a_pack_and_in_a_memo_and_a_repair_removes_both() {
    use sha1_checked::{Digest as _, Sha1};
    let temp = temp_dir();
    let home = home_in(&temp);
    let store = open(&home).store;
    carry_out(&store, Step::Release("beta", 1)).unwrap();
    remember(&store, "a");
    let place = mirror(&home, "a", 1, 0);
    let pack = place.join("snapshot.git/objects/pack/pack-1.pack");
    let mut bytes = b"PACK and so on".to_vec();
    bytes.extend(Sha1::digest(&bytes));
    fs::write(&pack, &bytes).unwrap();
    let engine = Digest::of(b"engine");
    let codes = |home: &Home| -> Vec<String> {
        let checked = check(&Reader::new(home), &engine).unwrap();
        assert_eq!(checked.mirrors, u64::from(place.join("snapshot.git").exists()));
        checked.findings.into_iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes(&home), Vec::<String>::new());
    let memo = home.state_dir().join("mirrors").join(source("a").hex()).join("resolved");
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        fs::write(&pack, bad).unwrap();
        assert_eq!(codes(&home), ["mirror-damaged"], "{at}");
    }
    fs::write(&memo, "rubbish").unwrap();
    drop(store);
    let findings = check(&Reader::new(&home), &engine).unwrap().findings;
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert_eq!(repair(&Reader::new(&home), &findings, NOW).unwrap(), 2);
    assert!(!memo.exists() && !place.join("snapshot.git").exists());
    assert_eq!(codes(&home), Vec::<String>::new());
}
