//! Owns the mailbox: what waits for one actor, in order, within bounds, and whether a worker must look.
//!
//! Room is taken before a message comes and given back when it is taken in hand, so that a transaction
//! can promise its messages a place before they leave. Does not decide who may send.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::reply::ReplySlot;
use super::request::Callback;
use super::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use super::trigger::Tick;
use crate::host::contract::Sender;
use crate::limits::Limits;

/// Messages that a worker takes out at once.
pub(super) const BATCH: usize = 64;
/// Part of a mailbox that messages of one sender may fill.
const SENDER_SHARE: u64 = 4;
/// Bits of a [`Room`] that count bytes: 256 GiB, far above every mailbox.
const BYTE_BITS: u32 = 38;

/// So many messages with so many bytes of payload, in one word so that both change together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Amount(u64);

impl Amount {
    fn new(messages: u64, bytes: u64) -> Self {
        let most_messages = (1 << (u64::BITS - BYTE_BITS)) - 1;
        Self(messages.min(most_messages) << BYTE_BITS | bytes.min((1 << BYTE_BITS) - 1))
    }

    fn one(bytes: usize) -> Self {
        Self::new(1, bytes as u64)
    }

    fn messages(self) -> u64 {
        self.0 >> BYTE_BITS
    }

    fn bytes(self) -> u64 {
        self.0 & ((1 << BYTE_BITS) - 1)
    }

    fn is_within(self, limit: Self) -> bool {
        self.messages() <= limit.messages() && self.bytes() <= limit.bytes()
    }
}

/// A bounded amount of messages and bytes, changed without a lock.
#[derive(Debug)]
pub(super) struct Room {
    used: AtomicU64,
    limit: AtomicU64,
}

impl Room {
    fn new(limit: Amount) -> Self {
        Self { used: AtomicU64::new(0), limit: AtomicU64::new(limit.0) }
    }

    fn take(&self, one: Amount) -> bool {
        let limit = Amount(self.limit.load(Ordering::Relaxed));
        let added = |used: u64| {
            let sum = Amount(used).bytes() + one.bytes();
            let sum = Amount::new(Amount(used).messages() + one.messages(), sum);
            sum.is_within(limit).then_some(sum.0)
        };
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added).is_ok()
    }

    fn give_back(&self, one: Amount) {
        self.used.fetch_sub(one.0, Ordering::Relaxed);
    }

    fn used(&self) -> Amount {
        Amount(self.used.load(Ordering::Relaxed))
    }
}

/// What one sender may have waiting in one mailbox: a quarter of it, and always one message.
#[derive(Debug)]
pub(super) struct Share(Room);

impl Share {
    fn of(limit: Amount) -> Self {
        // One message must fit whatever its size; the mailbox itself bounds that.
        let bytes = (limit.bytes() / SENDER_SHARE).max(1);
        Self(Room::new(Amount::new((limit.messages() / SENDER_SHARE).max(1), bytes)))
    }

    fn take(&self, one: Amount) -> bool {
        self.0.take(one) || (self.0.used().messages() == 0 && self.0.force(one))
    }
}

impl Room {
    /// Takes room beyond the bytes if nothing else is there.
    fn force(&self, one: Amount) -> bool {
        self.used.compare_exchange(0, one.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Who sent an envelope, with what has to be told when it is taken in hand.
#[derive(Debug)]
pub(super) enum SentBy {
    Installation { name: Arc<str>, share: Arc<Share> },
    Trigger { index: u32, tick: Arc<Tick> },
    Host,
}

impl SentBy {
    pub(super) fn sender(&self) -> Sender {
        match self {
            Self::Installation { name, .. } => Sender::Installation(Arc::clone(name)),
            Self::Trigger { index, .. } => Sender::Trigger(*index),
            Self::Host => Sender::Host,
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
    pub(super) payload: Vec<u8>,
    /// Messages that led to this one.
    pub(super) hops: u32,
    /// Not delivered after this.
    pub(super) expires: Option<Instant>,
    pub(super) reply: Option<ReplySlot>,
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
}

/// What became of a message that came with room taken.
pub(super) enum Put {
    /// It waits. True: a worker must be told.
    Waits(bool),
    /// The mailbox closed meanwhile; room and share are given back already.
    Closed(Envelope),
}

impl<C> Inner<C> {
    /// Whether a worker must be told that something came.
    fn wake(&mut self) -> bool {
        let wake = self.runnable && !self.scheduled;
        self.scheduled |= wake;
        wake
    }
}

/// The mailbox of one actor.
pub(super) struct Mailbox<C> {
    room: Room,
    max_message: AtomicU64,
    open: AtomicBool,
    has_controls: AtomicBool,
    inner: Mutex<Inner<C>>,
}

struct Inner<C> {
    queue: VecDeque<Item>,
    controls: VecDeque<C>,
    /// A worker has the actor, or it is in a run queue.
    scheduled: bool,
    /// There is an instance that could take messages.
    runnable: bool,
    accepted: u64,
}

impl<C> Mailbox<C> {
    /// Closed, empty, with nobody to take messages.
    pub(super) fn new(limits: &Limits) -> Self {
        let mailbox = Self {
            room: Room::new(Amount(0)),
            max_message: AtomicU64::new(0),
            open: AtomicBool::new(false),
            has_controls: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                controls: VecDeque::new(),
                scheduled: false,
                runnable: false,
                accepted: 0,
            }),
        };
        mailbox.set_limits(limits);
        mailbox
    }

    /// New bounds. What waits beyond them stays.
    pub(super) fn set_limits(&self, limits: &Limits) {
        self.room.limit.store(Amount::new(limits.mailbox, limits.mailbox_bytes.0).0, Ordering::Relaxed);
        self.max_message.store(limits.message.0, Ordering::Relaxed);
    }

    /// A share for one sender under the bounds of now.
    pub(super) fn share(&self) -> Share {
        Share::of(Amount(self.room.limit.load(Ordering::Relaxed)))
    }

    /// Takes room for a message of `bytes`, which then must be given to [`Mailbox::put`] or [`Mailbox::give_back`].
    pub(super) fn take_room(&self, bytes: usize, share: Option<&Share>) -> Result<(), NoRoom> {
        if !self.open.load(Ordering::Relaxed) {
            return Err(NoRoom::Closed);
        }
        let max_message = self.max_message.load(Ordering::Relaxed);
        if bytes as u64 > max_message {
            return Err(NoRoom::TooLarge(max_message));
        }
        let one = Amount::one(bytes);
        if !self.room.take(one) {
            return Err(NoRoom::Full);
        }
        if share.is_some_and(|share| !share.take(one)) {
            self.room.give_back(one);
            return Err(NoRoom::Full);
        }
        Ok(())
    }

    /// Gives back the room of a message that did not come, or is taken in hand.
    pub(super) fn give_back(&self, bytes: usize, share: Option<&Share>) {
        self.room.give_back(Amount::one(bytes));
        if let Some(share) = share {
            share.0.give_back(Amount::one(bytes));
        }
    }

    /// Puts a message for which room was taken. From here on it counts as accepted.
    pub(super) fn put(&self, envelope: Envelope) -> Put {
        let mut inner = self.inner();
        inner.accepted += 1;
        if !self.open.load(Ordering::Relaxed) {
            drop(inner);
            self.settle_sender(&envelope);
            return Put::Closed(envelope);
        }
        inner.queue.push_back(Item::Message(envelope));
        Put::Waits(inner.wake())
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

    /// The next one; when several wait, up to [`BATCH`] others move into the empty `batch`.
    ///
    /// A mailbox with one message, the most common of all, touches no second buffer.
    pub(super) fn take(&self, batch: &mut VecDeque<Item>) -> Option<Item> {
        let mut inner = self.inner();
        let first = inner.queue.pop_front()?;
        match inner.queue.len() {
            // Starts the ring at its first place again, which is in the cache.
            0 => inner.queue.clear(),
            1..=BATCH => std::mem::swap(&mut inner.queue, batch),
            _ => batch.extend(inner.queue.drain(..BATCH)),
        }
        Some(first)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.inner().queue.is_empty()
    }

    /// Gives back the room of a message that is taken in hand, and tells its sender.
    pub(super) fn settle_sender(&self, envelope: &Envelope) {
        let bytes = envelope.payload.len();
        match &envelope.sent_by {
            SentBy::Installation { share, .. } => self.give_back(bytes, Some(share)),
            SentBy::Trigger { tick, .. } => {
                tick.taken();
                self.give_back(bytes, None);
            }
            SentBy::Host => self.give_back(bytes, None),
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

    /// Takes no more messages. What waits stays.
    pub(super) fn close(&self) {
        let _inner = self.inner();
        self.open.store(false, Ordering::Relaxed);
    }

    /// Empties the queue.
    pub(super) fn take_all(&self) -> VecDeque<Item> {
        std::mem::take(&mut self.inner().queue)
    }

    /// Messages and bytes that wait or have a place promised.
    pub(super) fn used(&self) -> (u64, u64) {
        let used = self.room.used();
        (used.messages(), used.bytes())
    }

    /// Messages accepted ever.
    pub(super) fn accepted(&self) -> u64 {
        self.inner().accepted
    }

    fn inner(&self) -> MutexGuard<'_, Inner<C>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
