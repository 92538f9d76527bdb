//! The audit log: what it says after crashes, attacks, a full disk and many records.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::*;
use super::fixture::*;
use crate::audit::chain::End;
use crate::audit::query::{Audit, MAX_SHOWN, Query};
use crate::audit::{Entry, Kind};
use crate::home::Home;

fn all() -> Query {
    Query { most: MAX_SHOWN, ..Query::default() }
}

fn read(home: &Home) -> Audit {
    Reader::new(home).audit(&all()).unwrap()
}

fn kinds(audit: &Audit) -> Vec<&'static str> {
    audit.records.iter().map(|record| record.kind.as_str()).collect()
}

fn last_file(home: &Home) -> PathBuf {
    let files = fs::read_dir(home.state_dir().join("audit")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).max().unwrap()
}

/// The log is whole, and what it tells comes to what is committed.
pub fn check_told(home: &Home, snapshot: &Snapshot, context: &str) {
    let audit = read(home);
    assert_eq!(audit.chain.breaks, [""; 0], "{context}");
    let mut names = BTreeSet::new();
    for record in &audit.records {
        let name = || record.installation.clone().unwrap();
        match record.kind {
            Kind::Install => assert!(names.insert(name()), "{context}: installed twice: {record:?}"),
            Kind::Uninstall => assert!(names.remove(&name()), "{context}: gone twice: {record:?}"),
            Kind::Update => assert!(names.contains(&name()), "{context}: {record:?}"),
            Kind::Gap => panic!("{context}: {record:?}"),
            _ => {}
        }
    }
    let committed: BTreeSet<String> = snapshot.generation.entries.keys().map(ToString::to_string).collect();
    assert_eq!(names, committed, "{context}");
}

#[test]
fn every_commit_is_in_the_log_with_whose_signature_was_accepted() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let audit = read(&home);
    assert_eq!(kinds(&audit), ["begin", "install", "install", "install", "update", "update"]);
    let told: Vec<_> = audit.records.iter().map(|record| (record.generation, record.installation.as_deref())).collect();
    let names = [None, Some("alpha"), Some("beta"), Some("gamma"), Some("alpha"), Some("beta")];
    assert_eq!(told, (0..6).zip(names).collect::<Vec<_>>());
    let accepted = audit.records[4].accepted.clone().unwrap();
    assert_eq!((accepted.package.as_str(), accepted.sequence, accepted.publisher.as_str()), ("acme:alpha", 2, "acme"));
    check_told(&home, &open(&home).snapshot, "");
}

#[test]
fn a_torn_line_goes_away_and_what_it_said_of_a_commit_is_written_again_with_the_same_bytes() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let whole = fs::read(last_file(&home)).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for length in [last, last + 1, last + 40, whole.len() - 1] {
        fs::write(last_file(&home), &whole[..length]).unwrap();
        drop(open(&home));
        assert_eq!(fs::read(last_file(&home)).unwrap(), whole, "cut at {length}");
    }
    // Several commits that never reached the disk.
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(last_file(&home), &whole[..first]).unwrap();
    drop(open(&home));
    assert_eq!(fs::read(last_file(&home)).unwrap(), whole);
    assert_eq!(read(&home).chain.breaks, [""; 0]);
}

#[test]
fn records_that_were_taken_off_the_end_show_and_the_log_goes_on_and_says_so() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let opened = open(&home);
    let pause = |what: &str| vec![Entry::new(NOW, Kind::Pause, what).by("me")];
    opened.store.record(pause("one")).wait().unwrap();
    opened.store.record(pause("two")).wait().unwrap();
    drop(opened);
    let text = fs::read_to_string(last_file(&home)).unwrap();
    let cut: Vec<&str> = text.split_inclusive('\n').collect();
    fs::write(last_file(&home), cut[..cut.len() - 1].concat()).unwrap();
    assert_eq!(read(&home).chain.breaks, ["the log ends with record 7, and its head names record 8"]);
    drop(open(&home));
    let audit = read(&home);
    assert_eq!(audit.chain.broken, 0, "what is known to be missing is said in the log");
    let last = audit.records.last().unwrap();
    assert_eq!((last.kind, &*last.what), (Kind::Gap, "the log ended with record 7, and its head names record 8"));
}

#[test]
fn a_changed_line_a_lost_head_and_a_lost_log_show() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let text = fs::read_to_string(last_file(&home)).unwrap();
    fs::write(last_file(&home), text.replacen("acme:alpha", "acme:omega", 1)).unwrap();
    drop(open(&home));
    let broken = read(&home).chain;
    assert_eq!((broken.broken, broken.breaks[0].starts_with("0000000001.jsonl:3: record 2 was changed")), (1, true));
    fs::write(last_file(&home), text).unwrap();
    fs::remove_file(home.state_dir().join("audit/head")).unwrap();
    assert_eq!(read(&home).chain.breaks, ["the head is missing or damaged"]);
    drop(open(&home));
    assert_eq!(kinds(&read(&home)).last(), Some(&"gap"));
    fs::remove_file(last_file(&home)).unwrap();
    assert_eq!(read(&home).chain.breaks, ["the log ends with record 0, and its head names record 7"]);
    drop(open(&home));
    assert_eq!(kinds(&read(&home)), ["gap", "begin"]);
}

#[test]
fn a_line_of_somebody_elses_neither_stops_a_host_nor_stays_unseen() {
    for line in ["hello\n", "{}\n", "\n", "\u{0}\u{1}\n"] {
        let temp = temp_dir();
        let home = lived_in_home(&temp);
        let text = fs::read_to_string(last_file(&home)).unwrap() + line;
        fs::write(last_file(&home), text).unwrap();
        let opened = open(&home);
        carry_out(&opened.store, Step::Uninstall("beta")).unwrap();
        drop(opened);
        let chain = read(&home).chain;
        assert_eq!(chain.broken, 1, "{line:?}: {:?}", chain.breaks);
        assert!(chain.breaks[0].ends_with("this is no record"), "{:?}", chain.breaks);
    }
}

#[test]
fn a_commit_whose_record_finds_a_full_disk_counts_and_is_recorded_as_soon_as_it_can_be() {
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    let is_full = Arc::new(AtomicBool::new(false));
    let full = Arc::clone(&is_full);
    let hook: FaultHook = Arc::new(move |point| match point {
        FaultPoint::Write(path, _) if full.load(Ordering::SeqCst) && path.to_string_lossy().contains("/audit/") => {
            Err(Fault::Torn(io::ErrorKind::StorageFull.into()))
        }
        _ => Ok(()),
    });
    let opened = Store::open(&home, with_faults(hook)).unwrap_or_else(|e| panic!("{e}"));
    is_full.store(true, Ordering::SeqCst);
    let done = carry_out(&opened.store, Step::Release("delta", 1)).unwrap();
    assert!(done.not_recorded.is_some());
    assert!(carry_out(&opened.store, Step::Uninstall("beta")).unwrap().not_recorded.is_some());
    assert!(opened.store.record(vec![Entry::new(NOW, Kind::Pause, "x")]).wait().is_err());
    is_full.store(false, Ordering::SeqCst);
    opened.store.record(vec![Entry::new(NOW, Kind::Pause, "y")]).wait().unwrap();
    drop(opened);
    let audit = read(&home);
    assert_eq!(kinds(&audit)[6..], ["install", "uninstall", "pause"]);
    check_told(&home, &open(&home).snapshot, "");
}

#[test]
fn a_full_file_makes_room_for_the_next_and_the_oldest_goes_with_a_word() {
    let temp = temp_dir();
    let home = home_in(&temp);
    drop(open(&home));
    // As many files as are kept, with one record each.
    let dir = home.state_dir().join("audit");
    let mut end = End::EMPTY;
    for number in 1..=MAX_AUDIT_FILES {
        let (lines, next) = end.extend(0, &[Entry::new(NOW, Kind::Start, "x")]);
        fs::write(dir.join(format!("{number:010}.jsonl")), lines.concat()).unwrap();
        end = next;
    }
    fs::write(dir.join("head"), end.encode()).unwrap();
    let opened = open(&home);
    let long = Entry::new(NOW, Kind::Failed, "x".repeat(crate::audit::MAX_WHAT_BYTES));
    let files = || fs::read_dir(&dir).unwrap().count() - 1;
    let many = MAX_AUDIT_FILE_BYTES / crate::audit::MAX_WHAT_BYTES;
    opened.store.record(vec![long.clone(); many]).wait().unwrap();
    assert_eq!((files(), dir.join("0000000001.jsonl").exists()), (MAX_AUDIT_FILES, false));
    opened.store.record(vec![long; many]).wait().unwrap();
    drop(opened);
    let audit = read(&home);
    assert_eq!((files(), audit.chain.broken, audit.chain.first), (MAX_AUDIT_FILES, 0, Some(3)));
    let rotated: Vec<_> = audit.records.iter().filter(|record| record.kind == Kind::Rotate).collect();
    assert_eq!(rotated.iter().map(|record| record.count).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(audit.records.iter().filter(|record| record.kind == Kind::Failed).count(), 2 * many);
    drop(open(&home));
    assert_eq!(read(&home).chain.broken, 0);
    fs::remove_file(dir.join("0000000003.jsonl")).unwrap();
    assert_eq!(read(&home).chain.breaks, ["records 3 to 3 are gone, and no record says why"]);
}
