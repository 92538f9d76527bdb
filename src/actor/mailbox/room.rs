//! Owns amounts of messages and bytes that are bounded: how much is in use, and whether one more fits.
//!
//! Does not decide who asks, nor what becomes of a message that does not fit.

use super::super::sync::{AtomicU64, Ordering};

/// Part of a mailbox that messages of one sender may fill.
const SENDER_SHARE: u64 = 4;
/// Bits of a [`Room`] that count bytes: 256 GiB, far above every mailbox.
const BYTE_BITS: u32 = 38;

/// So many messages with so many bytes of payload, in one word so that both change together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount(u64);

impl Amount {
    pub(super) fn new(messages: u64, bytes: u64) -> Self {
        let most_messages = (1 << (u64::BITS - BYTE_BITS)) - 1;
        Self(messages.min(most_messages) << BYTE_BITS | bytes.min((1 << BYTE_BITS) - 1))
    }

    pub(super) fn one(bytes: usize) -> Self {
        Self::new(1, bytes as u64)
    }

    pub(super) fn messages(self) -> u64 {
        self.0 >> BYTE_BITS
    }

    pub(super) fn bytes(self) -> u64 {
        self.0 & ((1 << BYTE_BITS) - 1)
    }

    fn is_within(self, limit: Self) -> bool {
        self.messages() <= limit.messages() && self.bytes() <= limit.bytes()
    }
}

/// A bounded amount of messages and bytes, changed without a lock.
///
/// Its changes and the flag of a mailbox that says whether anybody waits for room are seen by all threads in one order:
/// whoever gives back sees who waits, or whoever is about to wait sees what was given back.
#[derive(Debug)]
pub(super) struct Room {
    used: AtomicU64,
    limit: AtomicU64,
}

impl Room {
    pub(super) fn new(limit: Amount) -> Self {
        Self { used: AtomicU64::new(0), limit: AtomicU64::new(limit.0) }
    }

    pub(super) fn take(&self, one: Amount) -> bool {
        let limit = self.limit();
        let added = |used: u64| {
            let sum = Amount(used).bytes() + one.bytes();
            let sum = Amount::new(Amount(used).messages() + one.messages(), sum);
            sum.is_within(limit).then_some(sum.0)
        };
        self.used.fetch_update(Ordering::SeqCst, Ordering::Relaxed, added).is_ok()
    }

    /// Takes room beyond the bytes if nothing else is there.
    fn force(&self, one: Amount) -> bool {
        self.used.compare_exchange(0, one.0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    pub(super) fn give_back(&self, one: Amount) {
        self.used.fetch_sub(one.0, Ordering::SeqCst);
    }

    /// Takes room whether there is any or not.
    pub(super) fn owe(&self, one: Amount) {
        self.used.fetch_add(one.0, Ordering::SeqCst);
    }

    pub(super) fn used(&self) -> Amount {
        Amount(self.used.load(Ordering::Relaxed))
    }

    pub(super) fn limit(&self) -> Amount {
        Amount(self.limit.load(Ordering::Relaxed))
    }

    /// What is in use beyond a new limit stays.
    pub(super) fn set_limit(&self, limit: Amount) {
        self.limit.store(limit.0, Ordering::Relaxed);
    }
}

/// What one sender may have waiting in one mailbox: a quarter of it, and always one message.
#[derive(Debug)]
pub(in super::super) struct Share(Room);

impl Share {
    pub(super) fn of(limit: Amount) -> Self {
        // One message must fit whatever its size; the mailbox itself bounds that.
        let bytes = (limit.bytes() / SENDER_SHARE).max(1);
        Self(Room::new(Amount::new((limit.messages() / SENDER_SHARE).max(1), bytes)))
    }

    /// The same for other bounds of the mailbox.
    pub(in super::super) fn follow(&self, other: &Self) {
        self.0.set_limit(other.0.limit());
    }

    /// Takes room whether there is any or not.
    pub(super) fn owe(&self, one: Amount) {
        self.0.owe(one);
    }

    pub(super) fn take(&self, one: Amount) -> bool {
        self.0.take(one) || (self.0.used().messages() == 0 && self.0.force(one))
    }

    pub(super) fn give_back(&self, one: Amount) {
        self.0.give_back(one);
    }

    /// Messages and bytes that it counts.
    #[cfg(test)]
    pub(in super::super) fn used(&self) -> (u64, u64) {
        (self.0.used().messages(), self.0.used().bytes())
    }
}
