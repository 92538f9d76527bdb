//! Exports come back as they went, damaged ones are refused chunk by chunk, and a change of backend loses nothing.

use super::*;

fn exported(store: &Arc<Store>) -> Vec<u8> {
    let mut out = Vec::new();
    store.export(None, &mut out).unwrap();
    out
}

fn import(store: &Arc<Store>, mut bytes: &[u8]) -> Result<Copied, DumpError> {
    store.import(&mut bytes, |id| (id < 100).then(Quota::default))
}

fn filled() -> Arc<Store> {
    let store = in_memory();
    for part in 0..3 {
        let entries: Vec<_> = (0..60).map(|n| (format!("{part}/{n}"), vec![n; 10_000])).collect();
        let mut call = store.begin(3, wide());
        call.set_many(&entries).unwrap();
        commit(&store, call).unwrap();
    }
    put(&store, 5, &[("empty", b""), ("é", &vec![1; MAX_VALUE_BYTES])]);
    store
}

#[test]
fn an_export_comes_back_as_it_was_also_a_second_time() {
    let store = filled();
    let bytes = exported(&store);
    let again = in_memory();
    let copied = import(&again, &bytes).unwrap();
    assert_eq!(copied.entries, 182);
    assert!(copied.chunks > 2, "the first storage alone has more than a page");
    assert_eq!(import(&again, &bytes).unwrap(), copied);
    assert_eq!(exported(&again), bytes);
    assert_eq!(again.verify().unwrap().differences, []);

    let mut one = Vec::new();
    store.export(Some(&[5].into()), &mut one).unwrap();
    let only = in_memory();
    assert_eq!(import(&only, &one).unwrap().entries, 2);
    assert_eq!(only.ids().unwrap().len(), 1);
}

#[test]
fn what_is_cut_off_damaged_or_for_an_unknown_storage_is_refused() {
    let bytes = exported(&filled());
    for end in [0, 5, 30, 1_000, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(import(&in_memory(), &bytes[..end]), Err(DumpError::Format { .. })), "{end}");
    }
    for at in (0..bytes.len()).step_by(bytes.len() / 50) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        import(&in_memory(), &damaged).unwrap_err();
    }
    let store = in_memory();
    put(&store, 100, &[("k", b"v")]);
    let error = import(&in_memory(), &exported(&store)).unwrap_err();
    assert!(matches!(error, DumpError::UnknownId(100)), "{error}");
    let huge = b"airssys-storage 1\nchunk 1 99999999999 00\n";
    let error = import(&in_memory(), huge).unwrap_err();
    assert_eq!(
        error.to_string(),
        "chunk 0 of the export is larger than any export writes; the 0 chunks before it were stored"
    );
}

#[test]
fn a_chunk_that_counts_wrong_is_not_stored() {
    let store = in_memory();
    put(&store, 3, &[("k", b"v")]);
    let bytes = exported(&store);
    let at = bytes.windows(8).position(|window| window == b"chunk 1 ").unwrap() + 6;
    let mut wrong = bytes.clone();
    wrong[at] = b'2';
    let into = in_memory();
    let error = import(&into, &wrong).unwrap_err();
    assert!(error.to_string().contains("another number of entries"), "{error}");
    assert!(into.held_ids().unwrap().is_empty());
}

#[test]
fn what_a_component_could_not_hold_is_not_imported() {
    let store = in_memory();
    for part in 0..65 {
        let everything = Rules { quota: Quota { bytes: u64::MAX, keys: u64::MAX }, ..wide() };
        let mut call = store.begin(3, everything);
        call.set(&part.to_string(), &vec![0; MAX_VALUE_BYTES]).unwrap();
        commit(&store, call).unwrap();
    }
    let error = import(&in_memory(), &exported(&store)).unwrap_err();
    assert!(matches!(error, DumpError::Refused { id: 3, why: StorageError::QuotaExceeded(_) }), "{error}");
}

#[test]
fn records_that_are_damaged_or_missing_are_told_and_hide_no_entries() {
    let backend = Arc::new(MemoryBackend::default());
    let store = Arc::new(Store::on(Arc::clone(&backend) as Arc<dyn StorageBackend>).unwrap());
    for id in [3, 4, 5] {
        put(&store, id, &[("k", b"value")]);
    }
    let whole = exported(&store);
    let record = |id| (Space::Meta, crate::storage::keys::full(id, b""));
    let damage = Changes::from([(record(3), Some(b"short"[..].into())), (record(4), None)]);
    backend.commit(&damage, Durability::Synced).unwrap();

    assert_eq!(exported(&store), whole);
    let differences = store.verify().unwrap().differences;
    assert!(matches!(differences[..], [Difference::Record { id: 3, .. }, Difference::Usage { id: 4, .. }]));
    assert!(matches!(store.ids(), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_change_of_backend_keeps_everything_and_can_be_taken_up_again() {
    for (from, to) in [(BackendKind::Fjall, BackendKind::Redb), (BackendKind::Redb, BackendKind::Fjall)] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(from, directory.path());
        import(&store, &exported(&filled())).unwrap();
        let wanted = exported(&store);
        drop(store);

        let error = Storage::at(to, directory.path()).store().err().unwrap();
        assert!(matches!(error, StoreError::OtherBackend { .. }), "{error}");
        // Cut off after the mark and one entry.
        let target = to.open(directory.path()).unwrap();
        let mark = (Space::Meta, crate::storage::keys::full(0, b"unfinished"));
        let first = (Space::Data, crate::storage::keys::full(3, b"0/0"));
        let arrived = Changes::from([(mark, Some([].into())), (first, Some(vec![0; 10_000].into()))]);
        target.commit(&arrived, Durability::Synced).unwrap();
        drop(target);
        assert_eq!(Store::open(to, directory.path()).err().unwrap(), StoreError::Unfinished { kind: to });

        let (_, aside) = migrate(directory.path(), from, to).unwrap();
        assert!(aside.exists() && !from.path(directory.path()).exists());
        let store = Storage::at(to, directory.path()).store().unwrap();
        assert_eq!(exported(&store), wanted);
        assert_eq!(store.verify().unwrap().differences, []);
        drop(store);
        assert!(matches!(migrate(directory.path(), from, to), Err(MigrateError::NoSource(_))));
        assert!(matches!(migrate(directory.path(), to, to), Err(MigrateError::Same(_))));
    }
}

#[test]
fn a_copy_does_not_go_over_a_store_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    put(&open(BackendKind::Fjall, directory.path()), 1, &[("k", b"v")]);
    put(&open(BackendKind::Redb, directory.path()), 1, &[("k", b"w")]);
    let error = migrate(directory.path(), BackendKind::Fjall, BackendKind::Redb).unwrap_err();
    assert!(matches!(error, MigrateError::TargetInUse(BackendKind::Redb)), "{error}");
}
