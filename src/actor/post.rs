//! Owns the way of messages that outlive the host: with a commit into the store, from there into the mailbox of whoever
//! has that storage now, and back out of the store when they end.
//!
//! What is written is delivered in the order in which it was written: it goes into the mailbox on the thread that
//! writes, in the answer to its commit. A mailbox that is opened reads first what the store holds for it. Of what comes
//! meanwhile each message is taken once, by its number.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::attempts::{Attempts, Failure, Next, Policy};
use super::cell::ActorCell;
use super::core::{Core, locked};
use super::dead::DeadLetter;
use super::mailbox::{Claim, Envelope, KeptMail, Origin, SentBy};
use super::reply::CallError;
use super::request::{Open, OpenRequests};
use super::status::DeadReason;
use super::trigger::Tick;
use super::version::Version;
use crate::codec::Payload;
use crate::host::contract::Sender;
use crate::permission::Topic;
use crate::storage::{
    Author, Durability, Letter, Mail, MailHead, MailKey, MailSet, Posted, Store, StoreError, WriteSet,
};

/// Messages of a mailbox that nobody has any more which one commit ends.
const ENDED_AT_ONCE: usize = 100;

/// Which mailboxes of the store are open, and where.
#[derive(Default)]
pub(super) struct PostOffice {
    open: Mutex<HashMap<u64, OpenMailbox>>,
    /// Storage ids whose mailbox this host has opened before.
    seen: Mutex<HashSet<u64>>,
    /// What the store kept of an earlier host was taken over.
    is_set_up: Mutex<bool>,
}

struct OpenMailbox {
    cell: Weak<ActorCell>,
    /// The highest number that was given to the mailbox.
    last: Option<u64>,
}

impl PostOffice {
    /// Takes over what an earlier host left: its dead letters, and which numbers of messages it used. Once.
    pub(super) fn set_up(&self, core: &Core, store: &Store) -> Result<(), StoreError> {
        let mut is_set_up = locked(&self.is_set_up);
        if !*is_set_up {
            core.use_ids_from(store.unused_message_id()?);
            let letters =
                store.letters()?.into_iter().filter_map(|(place, letter, mail)| read_letter(place, letter, mail));
            core.dead.found(letters.collect());
            *is_set_up = true;
        }
        Ok(())
    }

    /// Opens the mailbox that the store holds for a version, if it is one whose messages are kept, or if some wait
    /// there from a time when it was.
    pub(super) fn open(&self, core: &Arc<Core>, cell: &Arc<ActorCell>, version: &Version) -> Result<(), StoreError> {
        let Some(id) = version.storage_id.get().copied() else { return Ok(()) };
        let Some(store) = core.storage.opened() else { return Ok(()) };
        let is_here = |open: &OpenMailbox| open.cell.ptr_eq(&Arc::downgrade(cell));
        if locked(&self.open).get(&id).is_some_and(is_here) {
            return Ok(());
        }
        if !version.keeps_messages() && store.first_mail(id)?.is_none() {
            return Ok(());
        }
        let mut mail = store.mail(id, 0, usize::MAX)?;
        let was_in_hand = locked(&self.seen).insert(id) && store.was_open(id)?;
        let mut set = MailSet::default();
        set.mark_open(id, true);
        let mut open = locked(&self.open);
        // What came since; nothing can come while this is locked but into the store.
        mail.extend(store.mail(id, next_after(&mail), usize::MAX)?);
        let last = mail.last().map(|(number, _)| *number);
        let mut envelopes: Vec<Envelope> =
            mail.into_iter().map(|(number, mail)| read(cell, id, number, mail)).collect();
        let died = if was_in_hand { count_host_death(&mut envelopes, &mut set) } else { None };
        cell.mailbox.load(envelopes);
        open.insert(id, OpenMailbox { cell: Arc::downgrade(cell), last });
        drop(open);
        match died {
            Some(envelope) => {
                cell.mailbox.hold(&envelope);
                self.end(core, cell, (envelope, set), DeadReason::Poison, Some(DIED.to_owned()), CallError::Stopped);
            }
            None => store.commit_soon(WriteSet::of_mail(set), Box::new(drop)),
        }
        Ok(())
    }

    /// Whether the mailbox of this storage is open.
    pub(super) fn is_open(&self, id: u64) -> bool {
        locked(&self.open).get(&id).is_some_and(|open| open.cell.strong_count() > 0)
    }

    /// The actor has no mailbox any more. What waits stays in the store.
    pub(super) fn close(&self, core: &Core, cell: &ActorCell) {
        let mut set = MailSet::default();
        locked(&self.open).retain(|id, open| {
            let is_its = std::ptr::eq(open.cell.as_ptr(), cell);
            if is_its {
                set.mark_open(*id, false);
            }
            !is_its
        });
        if let (false, Some(store)) = (set.is_empty(), core.storage.opened()) {
            store.commit_soon(WriteSet::of_mail(set).with_durability(Durability::Relaxed), Box::new(drop));
        }
    }

    /// A message is in the store. Gives it to the mailbox of whoever has that storage now; if nobody has, it waits there.
    fn arrived(&self, core: &Core, reserved: &Arc<ActorCell>, mut envelope: Envelope) {
        let Some(key) = envelope.kept.as_ref().map(|kept| kept.key) else { return };
        let mut open = locked(&self.open);
        let found = open.get_mut(&key.id).filter(|open| open.last < Some(key.number));
        let Some((mailbox, cell)) = found.and_then(|mailbox| mailbox.cell.upgrade().map(|cell| (mailbox, cell))) else {
            return reserved.freed(core, reserved.mailbox.settle_sender(&envelope));
        };
        mailbox.last = Some(key.number);
        if !Arc::ptr_eq(&cell, reserved) {
            reserved.freed(core, reserved.mailbox.settle_sender(&envelope));
            cell.adopt(&mut envelope);
        }
        cell.accept_kept(core, envelope);
    }

    /// Sends a message of the host. `then` is told when it is accepted, or why it is not.
    pub(super) fn send(
        &self,
        core: &Arc<Core>,
        posting: Posting,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        let mut set = MailSet::default();
        posting.put(&mut set);
        match core.store_for_mail() {
            Ok(store) => store.commit_then(
                WriteSet::of_mail(set),
                Box::new(move |result| {
                    when_kept(vec![posting])(result.as_ref());
                    then(result.map(drop));
                }),
            ),
            Err(error) => {
                posting.fails(&error);
                then(Err(error));
            }
        }
    }

    /// Ends a message that was not handled: one commit takes it out of its mailbox and makes a dead letter of it.
    pub(super) fn end(
        &self,
        core: &Arc<Core>,
        cell: &Arc<ActorCell>,
        (envelope, mut set): (Envelope, MailSet),
        reason: DeadReason,
        why: Option<String>,
        error: CallError,
    ) {
        let (Some(kept), Ok(store)) = (&envelope.kept, core.store_for_mail()) else { return };
        let at = SystemTime::now();
        let letter = Letter { reason: reason.number(), why: why.clone(), storage_id: kept.key.id, at_ms: millis(at) };
        let author = author(&envelope.sent_by);
        set.take(kept.key);
        set.bury(&letter, head(&envelope, kept, &author), &envelope.payload.bytes);
        let (core, cell) = (Arc::clone(core), Arc::clone(cell));
        store.commit_soon(
            WriteSet::of_mail(set),
            Box::new(move |result| {
                // It stays where it is, and is looked at again when a host opens the mailbox the next time.
                let Ok(of_commit) = result else { return };
                cell.freed(&core, cell.mailbox.settle_sender(&envelope));
                let Envelope { id, sent_by, payload, reply, kept, .. } = envelope;
                if let (Some(kept), Some(place)) = (kept, of_commit.letters.first()) {
                    let (Origin { sender, topic, .. }, storage_id) = (sent_by.origin(), Some(kept.key.id));
                    let (target, place) = (kept.target, Some(*place));
                    core.dead.evicted(&of_commit.evicted);
                    core.dead.add(DeadLetter {
                        id,
                        sender,
                        topic,
                        target,
                        storage_id,
                        reason,
                        why,
                        at,
                        payload,
                        place,
                    });
                }
                cell.counters.dead(reason);
                if let Some(reply) = reply {
                    reply.answer(Err(error));
                }
            }),
        );
    }

    /// Writes down how often a message was delivered in vain.
    pub(super) fn write_attempts(&self, core: &Core, envelope: &Envelope) {
        let (Some(kept), Ok(store)) = (&envelope.kept, core.store_for_mail()) else { return };
        let mut set = MailSet::default();
        change(&mut set, envelope, kept);
        store.commit_soon(WriteSet::of_mail(set), Box::new(drop));
    }

    /// Sends a dead letter again; see [`super::System::replay`]. Waits for the commit.
    pub(super) fn raise(
        &self,
        core: &Arc<Core>,
        letter: &Arc<DeadLetter>,
        cell: Arc<ActorCell>,
        (envelope, claim): (Envelope, Claim),
    ) -> Result<(), StoreError> {
        let (mut set, place) = (MailSet::default(), letter.place);
        if let Some(place) = place {
            set.raise(place);
        }
        let mut sent = Sent::Here(cell, envelope, claim);
        if let Sent::Here(cell, _, Claim::Room) = &sent
            && let Some(id) = cell.mail_id()
        {
            sent = sent.posted(core, id);
        }
        if let Sent::Posted(posting) = &sent {
            posting.put(&mut set);
        }
        let (answer, answered) = sync_channel(1);
        let in_commit = Arc::clone(core);
        core.store_for_mail()?.commit_then(
            WriteSet::of_mail(set),
            Box::new(move |result| {
                if result.is_ok()
                    && let Some(place) = place
                {
                    in_commit.dead.evicted(&[place]);
                }
                match (sent, &result) {
                    (Sent::Posted(posting), result) => when_kept(vec![posting])(result.as_ref()),
                    (Sent::Here(cell, envelope, claim), Ok(_)) => cell.accept(&in_commit, envelope, claim, None),
                    (Sent::Here(cell, envelope, claim), Err(_)) => {
                        let freed = cell.mailbox.settle(&envelope.sent_by, envelope.payload.len(), claim);
                        cell.freed(&in_commit, freed);
                    }
                }
                let _ = answer.send(result.map(drop));
            }),
        );
        answered.recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Ends what waits in mailboxes whose storage belongs to nobody. Gives how many messages that were.
    pub(super) fn end_left(&self, core: &Arc<Core>, store: &Store, live: &BTreeSet<u64>) -> Result<usize, StoreError> {
        let mut ended = 0;
        for id in store.mail_ids()?.into_iter().filter(|id| !live.contains(id)) {
            loop {
                let some = store.mail(id, 0, ENDED_AT_ONCE)?;
                if some.is_empty() {
                    break;
                }
                ended += some.len();
                end_some(core, store, id, some)?;
            }
        }
        Ok(ended)
    }
}

/// Said of a message that was in hand whenever the host died.
const DIED: &str = "the host died each time that it was the first of its mailbox";

fn end_some(core: &Arc<Core>, store: &Store, id: u64, some: Vec<(u64, Mail)>) -> Result<(), StoreError> {
    let at = SystemTime::now();
    let mut set = MailSet::default();
    let letter = move || Letter { reason: DeadReason::Stopped.number(), why: None, storage_id: id, at_ms: millis(at) };
    for (number, mail) in &some {
        set.take(MailKey { id, number: *number });
        set.bury(&letter(), mail.head(), &mail.payload);
    }
    let (answer, answered) = sync_channel(1);
    let core = Arc::clone(core);
    store.commit_soon(
        WriteSet::of_mail(set),
        Box::new(move |result| {
            if let Ok(kept) = &result {
                core.dead.evicted(&kept.evicted);
                let with_place = kept.letters.iter().copied().zip(some);
                with_place.filter_map(|(place, (_, mail))| read_letter(place, letter(), mail)).for_each(|letter| {
                    core.dead.add(letter);
                });
            }
            let _ = answer.send(result.map(drop));
        }),
    );
    answered.recv().unwrap_or(Err(StoreError::Closed))
}

/// A message for which the receiver has room, on its way into the store. Dropped, it was never sent.
pub(super) struct Posting {
    core: Arc<Core>,
    cell: Arc<ActorCell>,
    author: Author,
    envelope: Option<Envelope>,
    request: Option<(Arc<OpenRequests>, u64, Open)>,
}

impl Posting {
    /// A message to the owner of storage `id`, which `cell` is.
    pub(super) fn new(core: &Arc<Core>, cell: Arc<ActorCell>, id: u64, mut envelope: Envelope) -> Self {
        let target = cell.name();
        let expires_ms = envelope.expires.map(wall_clock);
        // The number is not known yet.
        let key = MailKey { id, number: 0 };
        envelope.kept = Some(Box::new(KeptMail { key, attempts: Attempts::default(), expires_ms, target }));
        let author = author(&envelope.sent_by);
        Self { core: Arc::clone(core), cell, author, envelope: Some(envelope), request: None }
    }

    /// The same as the request of an instance, which is open when it arrives.
    pub(super) fn asking(mut self, requests: Arc<OpenRequests>, id: u64, open: Open) -> Self {
        self.request = Some((requests, id, open));
        self
    }

    /// Adds it to what a commit changes.
    pub(super) fn put(&self, set: &mut MailSet) {
        if let Some(envelope) = &self.envelope
            && let Some(kept) = &envelope.kept
        {
            set.put(kept.key.id, head(envelope, kept, &self.author), &envelope.payload.bytes);
        }
    }

    fn arrives(mut self, number: u64) {
        let Some(mut envelope) = self.envelope.take() else { return };
        if let Some((requests, id, open)) = self.request.take() {
            requests.open(id, open);
        }
        if let Some(kept) = &mut envelope.kept {
            kept.key.number = number;
        }
        self.core.post.arrived(&self.core, &self.cell, envelope);
    }

    /// It could not be written: whoever waits for an answer is told.
    pub(super) fn fails(mut self, error: &StoreError) {
        if let Some(reply) = self.envelope.as_mut().and_then(|envelope| envelope.reply.take()) {
            reply.answer(Err(CallError::NotWritten(error.to_string())));
        }
    }
}

impl Drop for Posting {
    fn drop(&mut self) {
        if let Some(envelope) = self.envelope.take() {
            self.cell.freed(&self.core, self.cell.mailbox.settle_sender(&envelope));
            if let Some((requests, ..)) = self.request.take() {
                requests.give_back();
            }
        }
    }
}

/// Lets messages go into their mailboxes when they are written.
pub(super) fn when_kept(postings: Vec<Posting>) -> Posted {
    Box::new(move |result| match result {
        Ok(kept) => {
            for (posting, number) in postings.into_iter().zip(&kept.mail) {
                posting.arrives(*number);
            }
        }
        Err(error) => postings.into_iter().for_each(|posting| posting.fails(error)),
    })
}

/// A message on one of the two ways.
enum Sent {
    Here(Arc<ActorCell>, Envelope, Claim),
    Posted(Posting),
}

impl Sent {
    fn posted(self, core: &Arc<Core>, id: u64) -> Self {
        match self {
            Self::Here(cell, envelope, _) => Self::Posted(Posting::new(core, cell, id, envelope)),
            posted => posted,
        }
    }
}

fn next_after(mail: &[(u64, Mail)]) -> u64 {
    mail.last().map_or(0, |(number, _)| number.saturating_add(1))
}

/// Counts that the host died while the first message may have been in hand. Gives it when that makes it poison.
fn count_host_death(envelopes: &mut Vec<Envelope>, set: &mut MailSet) -> Option<Envelope> {
    let first = envelopes.first_mut()?;
    let kept = first.kept.as_mut()?;
    let (attempts, next) = kept.attempts.after(Failure::HostDeath, &Policy::DURABLE);
    kept.attempts = attempts;
    if next == Next::Poison {
        return Some(envelopes.remove(0));
    }
    let first = &envelopes[0];
    if let Some(kept) = &first.kept {
        change(set, first, kept);
    }
    None
}

fn change(set: &mut MailSet, envelope: &Envelope, kept: &KeptMail) {
    let author = author(&envelope.sent_by);
    set.change(kept.key, head(envelope, kept, &author), &envelope.payload.bytes);
}

fn head<'m>(envelope: &Envelope, kept: &'m KeptMail, author: &'m Author) -> MailHead<'m> {
    MailHead {
        message: envelope.id,
        author,
        target: &kept.target,
        hops: envelope.hops,
        expires_ms: kept.expires_ms,
        deliveries: kept.attempts.deliveries,
        crashes: kept.attempts.crashes,
        codec: envelope.payload.codec,
    }
}

fn author(sent_by: &SentBy) -> Author {
    match sent_by {
        // The name of an installation is what its sender has.
        SentBy::Installation { name, topic, .. } => match (name.parse(), topic) {
            (Ok(name), Some(topic)) => Author::Publisher(name, Topic::clone(topic)),
            (Ok(name), None) => Author::Installation(name),
            (Err(_), _) => Author::Host,
        },
        SentBy::Trigger { index, .. } => Author::Trigger(*index),
        // An operation is never kept.
        SentBy::Host | SentBy::Caller { .. } => Author::Host,
    }
}

/// A message of the store as it waits in a mailbox, with room taken.
fn read(cell: &ActorCell, id: u64, number: u64, mail: Mail) -> Envelope {
    let Mail { message, author, target, hops, expires_ms, deliveries, crashes, codec, payload } = mail;
    let sent_by = match author {
        Author::Installation(name) => {
            SentBy::Installation { share: Some(cell.share_of(&name)), name: name.as_str().into(), topic: None }
        }
        Author::Publisher(name, topic) => {
            let topic = Some(Arc::new(topic));
            SentBy::Installation { share: Some(cell.share_of(&name)), name: name.as_str().into(), topic }
        }
        Author::Trigger(index) => SentBy::Trigger { index, tick: Arc::<Tick>::default() },
        Author::Host => SentBy::Host,
    };
    let kept = KeptMail { key: MailKey { id, number }, attempts: Attempts { deliveries, crashes }, expires_ms, target };
    let expires = expires_ms.map(instant);
    let payload = Payload::new(codec, payload);
    Envelope { id: message, sent_by, payload, hops, expires, reply: None, kept: Some(Box::new(kept)), outcome: None }
}

fn read_letter(place: u64, letter: Letter, mail: Mail) -> Option<DeadLetter> {
    let Letter { reason, why, storage_id, at_ms } = letter;
    let Mail { message, author, target, codec, payload, .. } = mail;
    let (sender, topic) = match author {
        Author::Installation(name) => (Sender::Installation(name.as_str().into()), None),
        Author::Publisher(name, topic) => (Sender::Installation(name.as_str().into()), Some(Arc::new(topic))),
        Author::Trigger(index) => (Sender::Trigger(index), None),
        Author::Host => (Sender::Host, None),
    };
    Some(DeadLetter {
        id: message,
        sender,
        topic,
        target,
        storage_id: Some(storage_id),
        reason: DeadReason::of_number(reason)?,
        why,
        at: UNIX_EPOCH.checked_add(Duration::from_millis(at_ms))?,
        payload: Payload::new(codec, payload),
        place: Some(place),
    })
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment as other hosts can read it.
fn wall_clock(at: Instant) -> u64 {
    millis(SystemTime::now() + at.saturating_duration_since(Instant::now()))
}

/// The other way round. What is over is over now, and a clock that was set does not make a message live longer than it
/// could at most.
fn instant(at_ms: u64) -> Instant {
    let left = Duration::from_millis(at_ms.saturating_sub(millis(SystemTime::now())));
    Instant::now() + left.min(MAX_LEFT)
}

/// Longest time that a message of the store can have left: a day, as long as any call lives.
const MAX_LEFT: Duration = Duration::from_secs(24 * 60 * 60);
