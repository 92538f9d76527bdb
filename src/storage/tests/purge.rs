//! A purge goes in steps, survives a stop between them, and touches nothing else.

use super::*;
use crate::storage::purge::KEYS_PER_STEP;

#[test]
fn a_purge_that_was_cut_off_goes_on_where_it_was() {
    for kind in BackendKind::LASTING {
        let directory = tempfile::tempdir().unwrap();
        let store = open(kind, directory.path());
        let keys: Vec<String> = (0..2 * KEYS_PER_STEP + 10).map(|n| format!("{n:05}")).collect();
        for part in keys.chunks(MAX_BATCH) {
            let entries: Vec<_> = part.iter().map(|key| (key, b"v")).collect();
            let mut call = store.begin(7, wide());
            call.set_many(&entries).unwrap();
            commit(&store, call).unwrap();
        }
        put(&store, 6, &[("k", b"before")]);
        put(&store, 8, &[("k", b"behind")]);
        store.note_purge(&[7, 9]).unwrap();
        assert!(!store.purge_step(7).unwrap());
        drop(store);

        let store = open(kind, directory.path());
        assert_eq!(store.noted_purges().unwrap(), [7, 9], "{kind}");
        assert_eq!(store.verify().unwrap().differences, []);
        assert_eq!(store.purge_noted(|_| false).unwrap(), 2);
        assert_eq!(store.noted_purges().unwrap(), [0; 0]);
        let left: Vec<u64> = store.ids().unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(left, [6, 8], "{kind}");
        assert_eq!(all_keys(&mut store.begin(7, wide()), "", 10), [""; 0]);
        assert_eq!(get(&store, 6, "k").as_deref(), Some(&b"before"[..]));
        assert_eq!(get(&store, 8, "k").as_deref(), Some(&b"behind"[..]));
    }
}

#[test]
fn a_note_about_what_is_in_use_is_taken_back() {
    let store = in_memory();
    put(&store, 7, &[("k", b"seven")]);
    put(&store, 8, &[("k", b"eight")]);
    store.note_purge(&[7, 8]).unwrap();
    assert_eq!(store.purge_noted(|id| id == 7).unwrap(), 1);
    assert_eq!(store.noted_purges().unwrap(), [0; 0]);
    assert_eq!(get(&store, 7, "k").as_deref(), Some(&b"seven"[..]));
    assert_eq!(get(&store, 8, "k"), None);
}

#[test]
fn the_stores_own_records_are_not_purged() {
    let store = in_memory();
    store.note_purge(&[0]).unwrap();
    assert_eq!(store.noted_purges().unwrap(), [0; 0]);
}
