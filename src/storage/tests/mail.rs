//! Messages in commits: in order, once, counted by nobody's quota, and judged like everything else.

use super::*;
use crate::name::InstallationName;
use crate::storage::keys::full;

fn target() -> InstallationName {
    "b".parse().unwrap()
}

fn head(message: u64, target: &InstallationName) -> MailHead<'_> {
    MailHead {
        message,
        author: &Author::Host,
        target,
        hops: 0,
        expires_ms: None,
        deliveries: 0,
        crashes: 0,
        codec: crate::codec::Codec::Raw,
    }
}

fn letter() -> Letter {
    Letter { reason: 1, why: None, storage_id: 7, at_ms: 5 }
}

fn send(store: &Arc<Store>, id: u64, payload: &[u8]) -> u64 {
    let mut set = MailSet::default();
    set.put(id, head(1, &target()), payload);
    store.commit_mail(set).unwrap().mail[0]
}

fn bury(store: &Arc<Store>, payload: &[u8]) -> Kept {
    let mut set = MailSet::default();
    set.bury(&letter(), head(1, &target()), payload);
    store.commit_mail(set).unwrap()
}

fn contents(store: &Arc<Store>, id: u64) -> Vec<Vec<u8>> {
    store.contents(id).into_iter().map(|(_, payload)| payload).collect()
}

#[test]
fn what_waits_counts_against_no_quota_and_shows_in_the_list_of_mailboxes() {
    let store = in_memory();
    put(&store, 7, &[("k", b"v")]);
    let before = store.usage(7).unwrap();
    send(&store, 7, &[0; 1_000]);
    assert_eq!(store.usage(7).unwrap(), before);
    let mailbox = store.mailboxes().unwrap()[&7];
    assert!(mailbox.messages == 1 && mailbox.bytes > 1_000, "{mailbox:?}");
    assert_eq!(store.verify().unwrap().differences, []);
    assert_eq!(store.mail_ids().unwrap(), [7]);
}

#[test]
fn a_message_ends_once_and_a_commit_that_ends_it_again_does_nothing_at_all() {
    let store = in_memory();
    let number = send(&store, 7, b"one");
    let call = |value: &[u8]| {
        let mut call = store.begin(7, wide());
        call.set("k", value).unwrap();
        let mut mail = MailSet::default();
        mail.take(MailKey { id: 7, number });
        mail.put(8, head(2, &target()), value);
        call.finish().unwrap().unwrap().with_mail(mail)
    };
    // Both begin before either is committed.
    let (first, second) = (call(b"first"), call(b"second"));
    store.commit(first).unwrap();
    assert_eq!(store.commit(second), Err(StoreError::Ended));
    assert_eq!(get(&store, 7, "k").as_deref(), Some(&b"first"[..]));
    assert_eq!(contents(&store, 8), [b"first".to_vec()]);
    assert_eq!(contents(&store, 7), [b""; 0]);
}

#[test]
fn a_conflict_about_the_data_keeps_the_message() {
    let store = in_memory();
    let number = send(&store, 7, b"one");
    let mut call = store.begin(7, wide());
    call.set("k", b"mine").unwrap();
    put(&store, 7, &[("k", b"theirs")]);
    let mut mail = MailSet::default();
    mail.take(MailKey { id: 7, number });
    let set = call.finish().unwrap().unwrap().with_mail(mail);
    assert_eq!(store.commit(set), Err(StoreError::Conflict));
    assert_eq!(contents(&store, 7), [b"one".to_vec()]);
}

#[test]
fn numbers_rise_while_a_store_is_open_and_behind_what_it_holds_when_it_is_opened() {
    for kind in BackendKind::LASTING {
        let directory = tempfile::tempdir().unwrap();
        let store = open(kind, directory.path());
        assert_eq!((0..3).map(|_| send(&store, 7, b"x")).collect::<Vec<_>>(), [0, 1, 2]);
        let mut all = MailSet::default();
        (0..3).for_each(|number| all.take(MailKey { id: 7, number }));
        store.commit_mail(all).unwrap();
        assert_eq!(send(&store, 7, b"later"), 3, "empty, and a number comes once");
        drop(store);
        let store = open(kind, directory.path());
        assert_eq!(send(&store, 7, b"last"), 4, "{kind}");
        assert_eq!(contents(&store, 7), [b"later".to_vec(), b"last".to_vec()]);
    }
}

#[test]
fn numbers_of_messages_are_set_aside_before_they_are_used_up() {
    let store = in_memory();
    assert_eq!(store.unused_message_id(), Ok(0));
    let mut set = MailSet::default();
    set.put(7, head(41, &target()), b"x");
    set.bury(&letter(), head(2_000_000, &target()), b"x");
    store.commit_mail(set).unwrap();
    let unused = store.unused_message_id().unwrap();
    assert!(unused > 2_000_000);
    send(&store, 7, b"a lower one");
    assert_eq!(store.unused_message_id(), Ok(unused));
}

#[test]
fn the_oldest_dead_letters_make_room_in_the_commit_that_needs_it() {
    let store = in_memory();
    let mut many = MailSet::default();
    (0..MAX_LETTERS).for_each(|_| many.bury(&letter(), head(1, &target()), b""));
    assert_eq!(store.commit_mail(many).unwrap().evicted, [0; 0]);
    let kept = bury(&store, b"one more");
    assert_eq!((kept.letters[0], &kept.evicted[..]), (MAX_LETTERS as u64, &[0][..]));
    // By bytes, too: a letter as large as all of the room leaves none of the others.
    let kept = bury(&store, &vec![0; MAX_LETTER_BYTES as usize - 200]);
    assert!(kept.evicted.len() > MAX_LETTERS - 5, "{}", kept.evicted.len());
    let places = store.letter_places();
    assert_eq!(places.last(), kept.letters.last());
    assert_eq!(places.len() + kept.evicted.len(), MAX_LETTERS + 1);
}

#[test]
fn a_letter_is_raised_once() {
    let store = in_memory();
    let place = bury(&store, b"x").letters[0];
    let raise = || {
        let mut set = MailSet::default();
        set.raise(place);
        set.put(7, head(2, &target()), b"x");
        store.commit_mail(set)
    };
    raise().unwrap();
    assert_eq!(raise(), Err(StoreError::Ended));
    assert_eq!((store.letter_places(), contents(&store, 7).len()), (vec![], 1));
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_counted() {
    let backend = Arc::new(MemoryBackend::default());
    let store = Arc::new(Store::on(Arc::clone(&backend) as Arc<dyn StorageBackend>).unwrap());
    send(&store, 7, b"whole");
    send(&store, 8, b"whole");
    bury(&store, b"whole");
    let mail = |id, number: u64| (Space::Mail, full(id, &number.to_be_bytes()));
    let damage = Changes::from([
        (mail(7, 1), Some(b"none"[..].into())),
        (mail(0, 9), Some(b"none"[..].into())),
        ((Space::Mail, full(9, b"no number")), Some(b"none"[..].into())),
    ]);
    backend.commit(&damage, Durability::Synced).unwrap();
    let verified = store.verify().unwrap();
    assert_eq!((verified.messages, verified.letters), (2, 1));
    let told: Vec<_> = verified.differences.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "1 entries in the dead letters are no messages",
            "1 entries in the mailbox of storage 7 are no messages",
            "1 entries in the mailbox of storage 9 are no messages"
        ]
    );
    assert_eq!(store.mail(7, 0, usize::MAX), Err(StoreError::DamagedMail { id: 7 }));
    assert_eq!(contents(&store, 8), [b"whole".to_vec()]);
    assert_eq!(store.letter_places(), [0]);
}

#[test]
fn a_purge_takes_the_mailbox_and_its_mark_along_and_an_export_takes_neither() {
    let store = in_memory();
    put(&store, 7, &[("k", b"v")]);
    send(&store, 7, b"one");
    send(&store, 9, b"two");
    let mut set = MailSet::default();
    set.mark_open(7, true);
    store.commit_mail(set).unwrap();
    assert!(store.was_open(7).unwrap());
    let mut out = Vec::new();
    assert_eq!(store.export(None, &mut out).unwrap().entries, 1);
    store.note_purge(&[7, 9]).unwrap();
    store.purge_noted(|_| false).unwrap();
    assert!(store.mailboxes().unwrap().is_empty() && !store.was_open(7).unwrap());
    assert_eq!(store.verify().unwrap(), Verified::default());
}

#[test]
fn messages_and_dead_letters_go_along_to_another_backend() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(BackendKind::Fjall, directory.path());
    for n in 0..3 {
        send(&store, 7, &[n]);
    }
    bury(&store, b"dead");
    let (mail, letters) = (store.mail(7, 0, usize::MAX).unwrap(), store.letters().unwrap());
    drop(store);
    migrate(directory.path(), BackendKind::Fjall, BackendKind::Redb).unwrap();
    let store = open(BackendKind::Redb, directory.path());
    assert_eq!((store.mail(7, 0, usize::MAX).unwrap(), store.letters().unwrap()), (mail, letters));
    assert_eq!(send(&store, 7, b"next"), 3);
}
