//! Owns the mailbox: what waits for one actor, in order, within bounds, and whether a worker must look.
//!
//! Room is taken before a message comes and given back when it is taken in hand, so that a transaction
//! can promise its messages a place before they leave. Where a full mailbox does not refuse at the call, what
//! is promised beyond its room is bounded by as much again, and `line` decides what becomes of it.
//! Does not decide who may send.

mod line;
mod room;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::attempts::Attempts;
use super::breaker::Outcome;
use super::reply::ReplySlot;
use super::request::Callback;
use super::status::DeadReason;
use super::sync::{AtomicBool, AtomicU8, AtomicU64, Mutex, MutexGuard, Ordering};
use super::ticket::Ticket;
use super::trigger::Tick;
use crate::codec::{Codec, CodecSet, NotTaken, Payload};
use crate::host::contract::Sender;
use crate::limits::{Limits, Overflow};
use crate::name::{InstallationName, OperationName};
use crate::permission::Topic;
use crate::storage::MailKey;

pub(super) use line::Freed;
use line::Outside;
pub(super) use room::Share;
use room::{Amount, Room};

/// Messages that a worker takes out at once.
pub(super) const BATCH: usize = 64;

/// Who sent an envelope, with what has to be told when it is taken in hand.
#[derive(Debug)]
pub(super) enum SentBy {
    Installation {
        name: Arc<str>,
        /// The share that the message takes up while it waits.
        share: Option<Arc<Share>>,
        /// To which it was published; none when it was sent.
        topic: Option<Arc<Topic>>,
    },
    Trigger {
        index: u32,
        tick: Arc<Tick>,
    },
    Host,
    /// Somebody outside who calls an operation.
    Caller {
        operation: OperationName,
    },
}

/// Who wrote a message, and to which topic, if to one; or which operation it is.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) sender: Sender,
    pub(super) topic: Option<Arc<Topic>>,
    pub(super) operation: Option<OperationName>,
}

impl SentBy {
    pub(super) fn origin(&self) -> Origin {
        let (topic, operation) = match self {
            Self::Installation { topic, .. } => (topic.clone(), None),
            Self::Caller { operation } => (None, Some(operation.clone())),
            Self::Trigger { .. } | Self::Host => (None, None),
        };
        Origin { sender: self.sender(), topic, operation }
    }

    pub(super) fn sender(&self) -> Sender {
        match self {
            Self::Installation { name, .. } => Sender::Installation(Arc::clone(name)),
            Self::Trigger { index, .. } => Sender::Trigger(*index),
            Self::Host | Self::Caller { .. } => Sender::Host,
        }
    }
}

/// What waits in a mailbox.
pub(super) enum Item {
    Message(Envelope),
    /// The answer to a request of an instance of this actor.
    Callback(Callback),
}

/// One message on its way.
pub(super) struct Envelope {
    pub(super) id: u64,
    pub(super) sent_by: SentBy,
    pub(super) payload: Payload,
    /// Messages that led to this one.
    pub(super) hops: u32,
    /// Not delivered after this.
    pub(super) expires: Option<Instant>,
    pub(super) reply: Option<ReplySlot>,
    /// The store holds it, too. It keeps its room until it has ended there.
    pub(super) kept: Option<Box<KeptMail>>,
    /// The way back to the breaker that let it through.
    pub(super) outcome: Option<Box<Outcome>>,
}

/// What is known of a message that the store holds.
pub(super) struct KeptMail {
    pub(super) key: MailKey,
    pub(super) attempts: Attempts,
    /// The same as `expires` of its envelope, as other hosts can read it.
    pub(super) expires_ms: Option<u64>,
    /// The installation that it was for, by its name then.
    pub(super) target: InstallationName,
}

/// Why a mailbox has no room for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// It takes no messages now.
    Closed,
    /// It is full, or the sender's share is.
    Full,
    /// Larger than it takes; its limit in bytes.
    TooLarge(u64),
    /// In a codec that it does not take.
    Codec(NotTaken),
    /// It takes no messages, whatever room there is.
    NoHandler,
    /// It has no operations.
    NoOperations,
}

/// How somebody asks for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// As the mailbox is set up.
    Usual,
    /// The same, but nobody is there who could wait.
    WithoutWaiting,
    /// Only for room that is free.
    Free,
}

/// What a message holds until it comes: it must be put or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Its room.
    Room,
    /// Nothing but the promise that it will not be forgotten without a word.
    Promise,
}

/// What became of messages when one came.
#[derive(Default)]
pub(super) struct Put {
    /// A worker must be told.
    pub(super) wake: bool,
    /// Messages that have no place, and why not.
    pub(super) dead: Vec<(Envelope, DeadReason)>,
    /// When to look for those whose time outside is over, if nobody does yet.
    pub(super) alarm: Option<Instant>,
}

impl Put {
    fn dead(envelope: Envelope, reason: DeadReason) -> Self {
        Self { dead: vec![(envelope, reason)], ..Self::default() }
    }
}

/// The mailbox of one actor.
pub(super) struct Mailbox<C> {
    room: Room,
    /// What is promised beyond the room.
    promised: Room,
    max_message: AtomicU64,
    overflow: AtomicU8,
    /// Longest time outside, in milliseconds.
    wait_ms: AtomicU64,
    /// The codecs that it takes, as [`CodecSet::bits`].
    codecs: AtomicU8,
    open: AtomicBool,
    /// Whether messages can be delivered, and whether operations can.
    messages: AtomicBool,
    operations: AtomicBool,
    has_controls: AtomicBool,
    /// Whether anybody waits outside.
    has_line: AtomicBool,
    inner: Mutex<Inner<C>>,
}

struct Inner<C> {
    queue: VecDeque<Item>,
    /// What waits for room, first come, first in.
    line: VecDeque<Outside>,
    /// Whether somebody will look for those outside whose time is over.
    alarm: bool,
    controls: VecDeque<C>,
    /// A worker has the actor, or it is in a run queue.
    scheduled: bool,
    /// There is an instance that could take messages.
    runnable: bool,
    accepted: u64,
    /// How many of those came in which codec; a trigger's come in none.
    received: [u64; Codec::COUNT],
}

impl<C> Inner<C> {
    /// Whether a worker must be told that something came.
    fn wake(&mut self) -> bool {
        let wake = self.runnable && !self.scheduled;
        self.scheduled |= wake;
        wake
    }
}

impl<C> Mailbox<C> {
    /// Closed, empty, with nobody to take messages.
    pub(super) fn new(limits: &Limits) -> Self {
        let nothing = || Room::new(Amount::new(0, 0));
        let mailbox = Self {
            room: nothing(),
            promised: nothing(),
            max_message: AtomicU64::new(0),
            overflow: AtomicU8::new(0),
            wait_ms: AtomicU64::new(0),
            codecs: AtomicU8::new(CodecSet::ALL.bits()),
            open: AtomicBool::new(false),
            messages: AtomicBool::new(true),
            operations: AtomicBool::new(false),
            has_controls: AtomicBool::new(false),
            has_line: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                line: VecDeque::new(),
                alarm: false,
                controls: VecDeque::new(),
                scheduled: false,
                runnable: false,
                accepted: 0,
                received: [0; Codec::COUNT],
            }),
        };
        drop(mailbox.set_limits(limits));
        mailbox
    }

    /// New bounds. What waits beyond them stays.
    pub(super) fn set_limits(&self, limits: &Limits) -> Freed {
        let limit = Amount::new(limits.mailbox, limits.mailbox_bytes.0);
        self.room.set_limit(limit);
        self.promised.set_limit(limit);
        self.max_message.store(limits.message.0, Ordering::Relaxed);
        self.overflow.store(limits.mailbox_overflow as u8, Ordering::Relaxed);
        self.wait_ms.store(limits.mailbox_wait.0, Ordering::Relaxed);
        self.let_in()
    }

    fn overflow(&self) -> Overflow {
        let overflow = self.overflow.load(Ordering::Relaxed);
        Overflow::ALL.into_iter().find(|it| *it as u8 == overflow).unwrap_or_default()
    }

    /// Whether senders wait for room.
    pub(super) fn makes_wait(&self) -> bool {
        self.overflow() == Overflow::Wait
    }

    fn longest_wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms.load(Ordering::Relaxed))
    }

    /// Takes only these codecs from now on. What waits in another one stays.
    pub(super) fn set_codecs(&self, codecs: CodecSet) {
        self.codecs.store(codecs.bits(), Ordering::Relaxed);
    }

    /// A share for one sender under the bounds of now.
    pub(super) fn share(&self) -> Share {
        Share::of(self.room.limit())
    }

    /// Takes what a message with a content in `codec` needs: as [`Mailbox::claim`], and only in a codec that is taken.
    pub(super) fn claim_in(
        &self,
        codec: Codec,
        bytes: usize,
        share: Option<&Share>,
        ask: Ask,
    ) -> Result<Claim, NoRoom> {
        self.check(&self.messages, NoRoom::NoHandler)?;
        self.check_codec(codec)?;
        self.claim_room(bytes, share, ask)
    }

    /// The same for an operation, whose caller does not wait for room.
    pub(super) fn claim_operation(&self, codec: Codec, bytes: usize) -> Result<Claim, NoRoom> {
        self.check(&self.operations, NoRoom::NoOperations)?;
        self.check_codec(codec)?;
        self.claim_room(bytes, None, Ask::WithoutWaiting)
    }

    fn check(&self, takes: &AtomicBool, no: NoRoom) -> Result<(), NoRoom> {
        match (self.open.load(Ordering::Relaxed), takes.load(Ordering::Relaxed)) {
            (false, _) => Err(NoRoom::Closed),
            (true, false) => Err(no),
            (true, true) => Ok(()),
        }
    }

    fn check_codec(&self, codec: Codec) -> Result<(), NoRoom> {
        let taken = CodecSet::of_bits(self.codecs.load(Ordering::Relaxed));
        if taken.takes(codec) { Ok(()) } else { Err(NoRoom::Codec(NotTaken { codec, taken })) }
    }

    /// Takes what a message of `bytes` needs, which then must be given to [`Mailbox::put`] or [`Mailbox::give_up`].
    pub(super) fn claim(&self, bytes: usize, share: Option<&Share>, ask: Ask) -> Result<Claim, NoRoom> {
        self.check(&self.messages, NoRoom::NoHandler)?;
        self.claim_room(bytes, share, ask)
    }

    fn claim_room(&self, bytes: usize, share: Option<&Share>, ask: Ask) -> Result<Claim, NoRoom> {
        let max_message = self.max_message.load(Ordering::Relaxed);
        if bytes as u64 > max_message {
            return Err(NoRoom::TooLarge(max_message));
        }
        let claim = match (self.overflow(), ask) {
            (Overflow::Reject, _) | (_, Ask::Free) | (Overflow::Wait, Ask::WithoutWaiting) => Claim::Room,
            (Overflow::DropOldest | Overflow::DropNewest | Overflow::Wait, _) => Claim::Promise,
        };
        let one = Amount::one(bytes);
        // The share first: room that is taken and given back at once could have been somebody's who waits.
        if share.is_some_and(|share| !share.take(one)) {
            return Err(NoRoom::Full);
        }
        if !self.room_of(claim).take(one) {
            if let Some(share) = share {
                share.give_back(one);
            }
            return Err(NoRoom::Full);
        }
        Ok(claim)
    }

    fn room_of(&self, claim: Claim) -> &Room {
        match claim {
            Claim::Room => &self.room,
            Claim::Promise => &self.promised,
        }
    }

    /// Gives back what a message holds that will not come.
    pub(super) fn give_up(&self, bytes: usize, share: Option<&Share>, claim: Claim) -> Freed {
        let one = Amount::one(bytes);
        if let Some(share) = share {
            share.give_back(one);
        }
        self.room_of(claim).give_back(one);
        match claim {
            Claim::Room => self.let_in(),
            Claim::Promise => Freed::default(),
        }
    }

    /// Puts a message with what was claimed for it. From here on it counts as accepted.
    ///
    /// Whoever can wait for room says how to tell it.
    pub(super) fn put(&self, envelope: Envelope, claim: Claim, ticket: Option<&dyn Fn() -> Arc<Ticket>>) -> Put {
        let mut inner = self.inner();
        inner.accepted += 1;
        if !matches!(envelope.sent_by, SentBy::Trigger { .. }) {
            inner.received[envelope.payload.codec as usize] += 1;
        }
        if !self.open.load(Ordering::Relaxed) {
            drop(inner);
            // Whoever is let in now ends with the actor.
            drop(self.settle_claim(&envelope, claim));
            return Put::dead(envelope, DeadReason::Stopped);
        }
        match claim {
            Claim::Room => {
                inner.queue.push_back(Item::Message(envelope));
                Put { wake: inner.wake(), ..Put::default() }
            }
            Claim::Promise => self.put_promised(inner, envelope, ticket),
        }
    }

    /// Puts a message that the store holds. When the mailbox is closed, the store has it still, and here it never was.
    /// True: a worker must be told.
    pub(super) fn put_kept(&self, envelope: Envelope) -> bool {
        let mut inner = self.inner();
        if !self.open.load(Ordering::Relaxed) {
            drop(inner);
            // Whoever is let in now ends with the actor.
            drop(self.settle_sender(&envelope));
            return false;
        }
        inner.accepted += 1;
        inner.queue.push_back(Item::Message(envelope));
        inner.wake()
    }

    /// Puts messages that the store held before, behind what is there.
    pub(super) fn load(&self, envelopes: Vec<Envelope>) {
        envelopes.iter().for_each(|envelope| self.hold(envelope));
        self.inner().queue.extend(envelopes.into_iter().map(Item::Message));
    }

    /// Takes room for a message that was accepted by an earlier host, whatever the bounds are.
    pub(super) fn hold(&self, envelope: &Envelope) {
        self.adopt(envelope);
        self.inner().accepted += 1;
    }

    /// Takes room for a message, whatever the bounds are.
    pub(super) fn adopt(&self, envelope: &Envelope) {
        let one = Amount::one(envelope.payload.len());
        self.room.owe(one);
        if let SentBy::Installation { share: Some(share), .. } = &envelope.sent_by {
            share.owe(one);
        }
    }

    /// A message goes back into the store alone, as if it had not been accepted here.
    pub(super) fn leave_in_store(&self, envelope: &Envelope) {
        // Whoever is let in now ends with the actor.
        drop(self.settle_sender(envelope));
        self.inner().accepted -= 1;
    }

    /// Puts an answer, for which the instance that asked keeps room. It comes after what waits already, and also when
    /// no messages are taken. True: a worker must be told.
    pub(super) fn put_callback(&self, callback: Callback) -> bool {
        let mut inner = self.inner();
        inner.queue.push_back(Item::Callback(callback));
        inner.wake()
    }

    /// Puts a word of the system, ahead of all messages. True: a worker must be told.
    pub(super) fn control(&self, control: C) -> bool {
        let mut inner = self.inner();
        inner.controls.push_back(control);
        self.has_controls.store(true, Ordering::Relaxed);
        let wake = !inner.scheduled;
        inner.scheduled = true;
        wake
    }

    /// Takes the words of the system. Cheap when there are none.
    pub(super) fn controls(&self) -> VecDeque<C> {
        if !self.has_controls.load(Ordering::Relaxed) {
            return VecDeque::new();
        }
        let mut inner = self.inner();
        self.has_controls.store(false, Ordering::Relaxed);
        std::mem::take(&mut inner.controls)
    }

    /// The next one; when several wait, up to [`BATCH`] others move into the empty `batch`, unless the oldest of them
    /// may have to make room yet.
    ///
    /// A mailbox with one message, the most common of all, touches no second buffer.
    pub(super) fn take(&self, batch: &mut VecDeque<Item>) -> Option<Item> {
        let mut inner = self.inner();
        let first = inner.queue.pop_front()?;
        match inner.queue.len() {
            // Starts the ring at its first place again, which is in the cache.
            0 => inner.queue.clear(),
            _ if self.overflow() == Overflow::DropOldest => {}
            1..=BATCH => std::mem::swap(&mut inner.queue, batch),
            _ => batch.extend(inner.queue.drain(..BATCH)),
        }
        Some(first)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        let inner = self.inner();
        inner.queue.is_empty() && inner.line.is_empty()
    }

    /// Gives back the room of a message that is taken in hand, and tells its sender.
    pub(super) fn settle_sender(&self, envelope: &Envelope) -> Freed {
        self.settle_claim(envelope, Claim::Room)
    }

    fn settle_claim(&self, envelope: &Envelope, claim: Claim) -> Freed {
        self.settle(&envelope.sent_by, envelope.payload.len(), claim)
    }

    /// The same for a message that is not whole any more.
    pub(super) fn settle(&self, sent_by: &SentBy, bytes: usize, claim: Claim) -> Freed {
        match sent_by {
            SentBy::Installation { share, .. } => self.give_up(bytes, share.as_deref(), claim),
            SentBy::Trigger { tick, .. } => {
                tick.taken();
                self.give_up(bytes, None, claim)
            }
            SentBy::Host | SentBy::Caller { .. } => self.give_up(bytes, None, claim),
        }
    }

    /// The worker is done for now. True: there is more to do and the actor stays scheduled, as it does when it `returns`
    /// in any case.
    pub(super) fn leave(&self, batch_is_empty: bool, returns: bool) -> bool {
        let mut inner = self.inner();
        let has_messages = !batch_is_empty || !inner.queue.is_empty();
        inner.scheduled = returns || !inner.controls.is_empty() || (inner.runnable && has_messages);
        inner.scheduled
    }

    /// Whether there is someone to take messages. The next put or control wakes a worker.
    pub(super) fn set_runnable(&self, runnable: bool) {
        self.inner().runnable = runnable;
    }

    /// Takes messages from now on.
    pub(super) fn open(&self) {
        let _inner = self.inner();
        self.open.store(true, Ordering::Relaxed);
    }

    /// Whether it takes messages now, if there is room.
    pub(super) fn takes_messages(&self) -> bool {
        self.open.load(Ordering::Relaxed) && self.messages.load(Ordering::Relaxed)
    }

    /// What can be delivered from now on. What waits stays.
    pub(super) fn set_takes(&self, messages: bool, operations: bool) {
        self.messages.store(messages, Ordering::Relaxed);
        self.operations.store(operations, Ordering::Relaxed);
    }

    /// Takes no more messages. What waits stays.
    pub(super) fn close(&self) {
        let _inner = self.inner();
        self.open.store(false, Ordering::Relaxed);
    }

    /// Messages and bytes that wait, inside or outside, or have a place promised.
    pub(super) fn used(&self) -> (u64, u64) {
        let (room, promised) = (self.room.used(), self.promised.used());
        (room.messages() + promised.messages(), room.bytes() + promised.bytes())
    }

    /// Counts a message that could not come in and becomes a dead letter all the same, so that the sums are right.
    pub(super) fn count_dropped(&self) {
        self.inner().accepted += 1;
    }

    /// Messages accepted ever.
    pub(super) fn accepted(&self) -> u64 {
        self.inner().accepted
    }

    /// How many of those came in which codec, in the order of [`Codec::ALL`].
    pub(super) fn received(&self) -> [u64; Codec::COUNT] {
        self.inner().received
    }

    fn inner(&self) -> MutexGuard<'_, Inner<C>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
