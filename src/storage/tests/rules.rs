//! What a call may do, and how much.

use super::*;

fn with_level(level: Option<StorageLevel>) -> Rules {
    Rules { level, ..wide() }
}

#[test]
fn each_level_allows_what_it_says_and_no_more() {
    let store = in_memory();
    put(&store, 1, &[("k", b"v")]);
    let none = StorageError::NotPermitted;
    let mut nothing = store.begin(1, with_level(None));
    assert_eq!(nothing.get("k"), Err(none.clone()));
    assert_eq!(nothing.usage(), Err(none.clone()));
    assert_eq!(nothing.set("k", b""), Err(none.clone()));
    assert_eq!(nothing.page(PageOf::Keys, "", None, 1), Err(none.clone()));

    let mut reader = store.begin(1, with_level(Some(StorageLevel::ReadOnly)));
    assert!(reader.has("k").unwrap());
    assert_eq!(reader.set("k", b""), Err(none.clone()));
    assert_eq!(reader.delete("k"), Err(none.clone()));
    assert_eq!(reader.set_many(&[("k", b"")]), Err(none.clone()));

    let mut writer = store.begin(1, with_level(Some(StorageLevel::ReadWrite)));
    writer.set("k", b"w").unwrap();
    assert!(writer.delete("k").unwrap() && !writer.delete("k").unwrap());
    assert_eq!(writer.clear(), Err(none));
    store.begin(1, with_level(Some(StorageLevel::Admin))).clear().unwrap();
}

#[test]
fn a_call_that_only_reads_refuses_to_write() {
    let store = in_memory();
    put(&store, 1, &[("k", b"v")]);
    let mut init = store.begin(1, Rules { writes: false, ..wide() });
    assert_eq!(init.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(init.set("k", b""), Err(StorageError::ReadOnlyNow));
    assert_eq!(init.delete("k"), Err(StorageError::ReadOnlyNow));
    assert_eq!(init.clear(), Err(StorageError::ReadOnlyNow));
    assert!(init.finish().unwrap().is_none());
}

#[test]
fn a_call_sees_its_own_writes_and_dropping_it_forgets_them() {
    let store = in_memory();
    put(&store, 1, &[("k", b"v"), ("l", b"v")]);
    let mut call = store.begin(1, wide());
    call.set("m", b"new").unwrap();
    call.delete("k").unwrap();
    assert_eq!(call.get("m").unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(all_keys(&mut call, "", 1), ["l", "m"]);
    drop(call);
    assert_eq!(get(&store, 1, "k").as_deref(), Some(&b"v"[..]));
    assert_eq!(get(&store, 1, "m"), None);
}

#[test]
fn one_storage_sees_nothing_of_another() {
    let store = in_memory();
    put(&store, 1, &[("k", b"one")]);
    put(&store, 2, &[("k", b"two")]);
    put(&store, 0x0100, &[("k", b"more")]);
    let mut call = store.begin(1, wide());
    assert_eq!(all_keys(&mut call, "", 10), ["k"]);
    call.clear().unwrap();
    commit(&store, call).unwrap();
    assert_eq!((get(&store, 1, "k"), get(&store, 2, "k")), (None, Some(b"two".to_vec())));
}

#[test]
fn values_batches_operations_and_a_calls_bytes_have_an_end() {
    let store = in_memory();
    let mut call = store.begin(1, wide());
    let mib = vec![0; MAX_VALUE_BYTES];
    call.set("k", &mib).unwrap();
    assert_eq!(call.set("l", &vec![0; MAX_VALUE_BYTES + 1]), Err(StorageError::ValueTooLarge(1 << 20)));
    assert_eq!(call.get_many(&vec!["k"; MAX_BATCH + 1]), Err(StorageError::BatchTooLarge(100)));
    for n in 0..14 {
        call.set(&format!("k{n}"), &mib).unwrap();
    }
    assert_eq!(call.set("last", &mib), Err(StorageError::TransactionTooLarge(MAX_TRANSACTION_BYTES)));
    // Writing a key again takes no more room than it had.
    call.set("k", &mib).unwrap();

    let mut call = store.begin(1, wide());
    for _ in 0..MAX_OPERATIONS {
        assert!(!call.has("x").unwrap());
    }
    assert_eq!(call.has("x"), Err(StorageError::TooManyOperations(MAX_OPERATIONS)));
}

#[test]
fn pages_end_at_a_thousand_keys_or_a_mebibyte() {
    let store = in_memory();
    for part in 0..3 {
        let mut call = store.begin(1, wide());
        for n in 0..500 {
            call.set(&format!("{part}/{n:03}"), b"x").unwrap();
        }
        commit(&store, call).unwrap();
    }
    let mut call = store.begin(1, wide());
    let first = call.page(PageOf::Keys, "", None, u32::MAX).unwrap();
    assert_eq!((first.entries.len(), first.next.as_deref()), (1_000, Some("1/499")));
    let second = call.page(PageOf::Keys, "", first.next.as_deref(), u32::MAX).unwrap();
    assert_eq!((second.entries.len(), second.next), (500, None));

    put(&store, 2, &[("a", &vec![0; 600_000]), ("b", &vec![0; 600_000]), ("c", &vec![0; MAX_VALUE_BYTES])]);
    let mut call = store.begin(2, wide());
    for (after, wanted) in [(None, "a"), (Some("a"), "b"), (Some("b"), "c")] {
        let page = call.page(PageOf::Entries, "", after, 10).unwrap();
        assert_eq!(page.entries.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), [wanted]);
    }
    assert_eq!(call.page(PageOf::Keys, "", None, 10).unwrap().entries.len(), 3);
}

#[test]
fn two_calls_on_one_storage_do_not_both_count() {
    let store = in_memory();
    put(&store, 1, &[("k", b"v")]);
    let (mut one, mut other) = (store.begin(1, wide()), store.begin(1, wide()));
    one.set("k", b"one").unwrap();
    other.set("l", b"other").unwrap();
    commit(&store, one).unwrap();
    assert_eq!(commit(&store, other), Err(StoreError::Conflict));
    assert_eq!(store.verify().unwrap().differences, []);
    assert_eq!(get(&store, 1, "l"), None);
}
