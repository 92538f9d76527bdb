//! The model test: every backend does what a map in memory does, with quotas, pages, messages and reopening.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::test_scale::cases;

/// Calls of one run.
const CALLS: usize = 60;
/// Few keys of few lengths, so that they meet again.
const KEYS: [&str; 8] = ["a", "a/", "a/b", "a/bb", "b", "é", "é/x", "zzzzzzzzzzzzzzzz"];
const QUOTA: Quota = Quota { bytes: 260, keys: 6 };

/// A generator out of one number, which a failure names.
struct Dice(u64);

impl Dice {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }
}

type Model = BTreeMap<u64, BTreeMap<String, Vec<u8>>>;

fn held(entries: &BTreeMap<String, Vec<u8>>) -> (u64, u64) {
    (entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum(), entries.len() as u64)
}

/// What the rules say to one entry more; the model's own words for the quota.
fn put_in_model(entries: &mut BTreeMap<String, Vec<u8>>, key: &str, value: &[u8]) -> Result<(), StorageError> {
    let before = held(entries);
    let mut after = entries.clone();
    after.insert(key.to_owned(), value.to_vec());
    let (bytes, keys) = held(&after);
    if bytes > QUOTA.bytes && bytes > before.0 {
        return Err(StorageError::QuotaExceeded(QUOTA.bytes));
    }
    if keys > QUOTA.keys && keys > before.1 {
        return Err(StorageError::TooManyKeys(QUOTA.keys));
    }
    *entries = after;
    Ok(())
}

/// One operation on both, with the same answer.
fn step(dice: &mut Dice, transaction: &mut Transaction, entries: &mut BTreeMap<String, Vec<u8>>) {
    let key = dice.one(&KEYS);
    let value = vec![dice.below(256) as u8; dice.below(90)];
    match dice.below(12) {
        0..=3 => assert_eq!(transaction.set(key, &value), put_in_model(entries, key, &value), "set {key}"),
        4 | 5 => assert_eq!(transaction.delete(key).unwrap(), entries.remove(key).is_some(), "delete {key}"),
        6 => {
            let batch: Vec<(&str, Vec<u8>)> =
                (0..dice.below(5)).map(|_| (dice.one(&KEYS), vec![1; dice.below(60)])).collect();
            let mut after = entries.clone();
            let wanted = batch.iter().try_for_each(|(key, value)| put_in_model(&mut after, key, value));
            assert_eq!(transaction.set_many(&batch), wanted, "set-many");
            if wanted.is_ok() {
                *entries = after;
            }
        }
        7 => {
            let values = transaction.get_many(&KEYS).unwrap();
            let values: Vec<_> = values.into_iter().map(|value| value.map(|value| value.to_vec())).collect();
            assert_eq!(values, KEYS.map(|key| entries.get(key).cloned()));
        }
        8 if dice.below(4) == 0 => {
            transaction.clear().unwrap();
            entries.clear();
        }
        9 => {
            let prefix = dice.one(&["", "a", "a/", "é", "zz", "no"]);
            let wanted: Vec<_> = entries.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
            assert_eq!(all_keys(transaction, prefix, 1 + dice.below(4) as u32), wanted, "keys of {prefix:?}");
        }
        10 => {
            let after = dice.one(&KEYS);
            let page = transaction.page(PageOf::Entries, "", Some(after), 1_000).unwrap();
            let page: Vec<_> = page.entries.into_iter().map(|(key, value)| (key, value.to_vec())).collect();
            let wanted = entries.iter().filter(|(key, _)| key.as_str() > after);
            assert_eq!(page, wanted.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>());
        }
        _ => {
            let found = transaction.get(key).unwrap().map(|value| value.to_vec());
            assert_eq!(found.as_ref(), entries.get(key), "get {key}");
        }
    }
    let usage = transaction.usage().unwrap();
    assert_eq!((usage.bytes, usage.keys), held(entries), "the usage is exact");
}

/// The messages of each mailbox by their numbers, and the dead letters, as a map in memory has them.
#[derive(Clone, Default)]
struct MailModel {
    boxes: BTreeMap<u64, BTreeMap<u64, Vec<u8>>>,
    letters: BTreeMap<u64, Vec<u8>>,
    sent: u64,
}

/// Changes among the messages, brought along with what a call wrote.
struct Mailing {
    set: MailSet,
    /// Contents of the new messages and letters, in order; where they stand is said by the commit.
    put: Vec<(u64, Vec<u8>)>,
    buried: Vec<Vec<u8>>,
    /// Whether it ends what had ended before, so that nothing of the commit may happen.
    is_late: bool,
}

impl MailModel {
    /// What a handler does: ends what it had in hand, or puts it back, or lets it die; and sends.
    fn step(&mut self, dice: &mut Dice, id: u64) -> Mailing {
        let mut mailing = Mailing { set: MailSet::default(), put: Vec::new(), buried: Vec::new(), is_late: false };
        let set = &mut mailing.set;
        let first = self.boxes.entry(id).or_default().pop_first();
        let target = "b".parse().unwrap();
        let mut head = MailHead {
            message: self.sent,
            author: &Author::Host,
            target: &target,
            hops: 1,
            expires_ms: None,
            deliveries: 0,
            crashes: 0,
            codec: crate::codec::Codec::Raw,
        };
        if let Some((number, payload)) = first {
            let key = MailKey { id, number };
            match dice.below(4) {
                0 => {
                    head.deliveries = 1;
                    set.change(key, head, &payload);
                    self.boxes.entry(id).or_default().insert(number, payload);
                }
                1 => {
                    set.take(key);
                    set.bury(&Letter { reason: 1, why: None, storage_id: id, at_ms: 1 }, head, &payload);
                    mailing.buried.push(payload);
                }
                _ => set.take(key),
            }
        } else if dice.below(8) == 0 {
            mailing.is_late = true;
            set.take(MailKey { id, number: 1 << 40 });
        }
        if dice.below(6) == 0
            && let Some((place, payload)) = self.letters.pop_first()
        {
            set.raise(place);
            set.put(id, head, &payload);
            mailing.put.push((id, payload));
        }
        for _ in 0..dice.below(4) {
            self.sent += 1;
            head.message = self.sent;
            let (to, payload) = (1 + dice.below(3) as u64, vec![dice.below(256) as u8; dice.below(90)]);
            set.put(to, head, &payload);
            mailing.put.push((to, payload));
        }
        mailing
    }

    /// The commit was made.
    fn arrive(&mut self, put: Vec<(u64, Vec<u8>)>, buried: Vec<Vec<u8>>, kept: &Kept) {
        assert_eq!((kept.mail.len(), kept.letters.len()), (put.len(), buried.len()));
        for ((to, payload), number) in put.into_iter().zip(&kept.mail) {
            let mailbox = self.boxes.entry(to).or_default();
            assert!(mailbox.last_key_value().is_none_or(|(last, _)| last < number), "behind all others");
            mailbox.insert(*number, payload);
        }
        self.letters.extend(kept.letters.iter().copied().zip(buried));
    }

    fn is_in(&self, store: &Arc<Store>) {
        for (id, mailbox) in &self.boxes {
            let found: Vec<_> =
                store.mail(*id, 0, usize::MAX).unwrap().into_iter().map(|(at, mail)| (at, mail.payload)).collect();
            assert_eq!(found, mailbox.clone().into_iter().collect::<Vec<_>>(), "mailbox {id}");
        }
        let letters = store.letters().unwrap().into_iter().map(|(place, _, mail)| (place, mail.payload));
        assert!(letters.eq(self.letters.clone()));
        assert!(store.unused_message_id().unwrap() > self.sent || self.sent == 0);
    }
}

/// Commits what a call wrote together with its messages, and follows it if it was made.
fn commit_with_mail(store: &Arc<Store>, call: Transaction, dice: &mut Dice, mails: &mut MailModel, id: u64) -> bool {
    let mut after = mails.clone();
    let Mailing { set, put, buried, is_late } = after.step(dice, id);
    let (answer, answered) = std::sync::mpsc::channel();
    let then: Then = Box::new(move |result| answer.send(result).unwrap());
    match call.finish().unwrap() {
        Some(written) => store.commit_then(written.with_mail(set), then),
        None => store.commit_then(WriteSet::of_mail(set), then),
    }
    match answered.recv().unwrap() {
        Ok(kept) => {
            assert!(!is_late);
            after.arrive(put, buried, &kept);
            *mails = after;
            true
        }
        Err(error) => {
            assert_eq!((error, is_late), (StoreError::Ended, true));
            false
        }
    }
}

fn run(seed: u64, mut store: Arc<Store>, reopen: &dyn Fn(Arc<Store>) -> Arc<Store>) {
    let mut dice = Dice(seed);
    let mut model = Model::new();
    let mut mails = MailModel::default();
    for _ in 0..CALLS {
        let id = 1 + dice.below(3) as u64;
        let mut entries = model.get(&id).cloned().unwrap_or_default();
        let rules = rules(QUOTA.bytes, QUOTA.keys);
        let mut transaction = store.begin(id, rules);
        for _ in 0..dice.below(8) {
            step(&mut dice, &mut transaction, &mut entries);
        }
        match dice.below(6) {
            0 => drop(transaction),
            1 | 2 => {
                commit(&store, transaction).unwrap();
                model.insert(id, entries);
            }
            _ => {
                if commit_with_mail(&store, transaction, &mut dice, &mut mails, id) {
                    model.insert(id, entries);
                }
            }
        }
        if dice.below(12) == 0 {
            store = reopen(store);
            mails.is_in(&store);
        }
        let usage = store.usage(id).unwrap();
        assert_eq!((usage.bytes, usage.keys), held(&model.get(&id).cloned().unwrap_or_default()));
    }
    mails.is_in(&store);
    let verified = store.verify().unwrap();
    let waiting: usize = mails.boxes.values().map(BTreeMap::len).sum();
    assert_eq!((verified.messages, verified.letters), (waiting as u64, mails.letters.len() as u64));
    assert_eq!(verified.differences, []);
    assert_eq!(verified.keys, model.values().map(|entries| entries.len() as u64).sum::<u64>());
}

fn runs(runs: u32, one: impl Fn(u64)) {
    for seed in 0..u64::from(cases(runs)) {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one(seed)));
        if let Err(panic) = result {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn on_disk(kind: BackendKind, seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    run(seed, open(kind, directory.path()), &|store| {
        drop(store);
        open(kind, directory.path())
    });
}

#[test]
fn memory_does_what_the_model_does() {
    runs(100, |seed| {
        let backend: Arc<dyn StorageBackend> = Arc::new(MemoryBackend::default());
        let again = || Arc::new(Store::on(Arc::clone(&backend)).unwrap());
        run(seed, again(), &|store| {
            drop(store);
            again()
        });
    });
}

#[test]
fn fjall_does_what_the_model_does() {
    runs(10, |seed| on_disk(BackendKind::Fjall, seed));
}

#[test]
fn redb_does_what_the_model_does() {
    runs(10, |seed| on_disk(BackendKind::Redb, seed));
}
