//! How many syncs a commit takes, and how long; on the disk of the temporary directory, not in memory.

use std::time::Instant;

use super::super::*;
use super::fixture::*;

fn names(count: u32) -> Vec<&'static str> {
    // Leaked on purpose: a handful of names in one test process.
    (0..count).map(|n| &*Box::leak(format!("n{n}").into_boxed_str())).collect()
}

fn install_all(
    store: &Store,
    snapshot: &Snapshot,
    names: &[&'static str],
    sequence: u64,
) -> (u64, std::time::Duration) {
    let mut generation = snapshot.successor(NOW);
    let mut floors = snapshot.floors.clone();
    for text in names {
        put_release(store.objects(), text, sequence).unwrap();
        change(&mut generation, &mut floors, Step::Release(text, sequence));
    }
    let (syncs, start) = (store.syncs(), Instant::now());
    store.commit(generation, floors).wait().unwrap();
    (store.syncs() - syncs, start.elapsed())
}

#[test]
fn a_thousand_installs_take_at_most_five_syncs_and_few_ones_a_handful() {
    let temp = tempfile::tempdir().unwrap();
    let home = home_in(&temp);
    let opened = open(&home);
    let start = Instant::now();
    let (syncs, commit) = install_all(&opened.store, &opened.snapshot, &names(1000), 1);
    eprintln!("1,000 installs: {syncs} syncs, commit {commit:?}, with storing 4,000 objects {:?}", start.elapsed());
    assert!(syncs <= 5, "{syncs} syncs");
    let measure = |what: &str, step| {
        let (syncs, start) = (opened.store.syncs(), Instant::now());
        let (_, commit) = carry_out_timed(&opened.store, step).unwrap();
        let syncs = opened.store.syncs() - syncs;
        eprintln!(
            "{what} beside 1,000: {syncs} syncs, commit {commit:?}, with reading all and storing {:?}",
            start.elapsed()
        );
        syncs
    };
    assert!(measure("1 install", Step::Release("alpha", 1)) <= 3);
    assert!(measure("1 reconfigure", Step::Reconfigure("alpha", 1)) <= 8);
    assert!(measure("1 uninstall", Step::Uninstall("alpha")) <= 3);
    // Objects that are durable already are not synced again.
    assert!(measure("1 install of what is there", Step::Release("alpha", 1)) <= 4);
    let syncs = opened.store.syncs();
    let start = Instant::now();
    drop(opened);
    let opened = open(&home);
    eprintln!("opening 1,000: {:?}", start.elapsed());
    assert_eq!(opened.snapshot.records.len(), 1001);
    assert_eq!(opened.store.syncs(), 0, "a start without anything to repair syncs nothing; {syncs} before");
}
