//! Owns messages that must outlive the host: what a commit changes among them, and what reading them back gives.
//!
//! ```text
//! Space::Mail   storage id of the receiver, 8 bytes · number, 8 bytes -> a message, in the order of the numbers
//! Space::Mail   0, 8 bytes                          · number, 8 bytes -> a dead letter, likewise
//! Space::Meta   0 · "open/" · storage id                              -> this mailbox was open
//! Space::Meta   0 · "message-ids"                                     -> no message has this number or a higher one
//! ```
//!
//! Numbers are given out by the thread that writes, at the commit: a message has its place with it. Who sends to whom,
//! and when a message has failed for good, is not known here.

mod desk;
mod read;
mod record;

use std::sync::Arc;

pub(super) use desk::Desk;
pub use read::Mailbox;
pub(super) use read::{MailKind, kind_of, open_mark};
pub use record::{Author, DamagedRecord, Letter, Mail, MailHead};

/// Dead letters that a store keeps, at most: the oldest make room.
pub const MAX_LETTERS: usize = 10_000;
/// Bytes of the dead letters that a store keeps, at most.
pub const MAX_LETTER_BYTES: u64 = 64 << 20;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MailKey {
    /// The storage id of its receiver.
    pub id: u64,
    /// Its number in that mailbox.
    pub number: u64,
}

/// What one commit changes among the messages.
#[derive(Default)]
pub struct MailSet {
    /// Messages that end with this commit. One that has ended already refuses the whole of it.
    taken: Vec<MailKey>,
    /// Messages that get another record and keep their place.
    changed: Vec<(MailKey, Arc<[u8]>)>,
    /// New messages: receiver, number of the message, record.
    put: Vec<(u64, u64, Arc<[u8]>)>,
    /// New dead letters: number of the message, record.
    letters: Vec<(u64, Arc<[u8]>)>,
    /// Dead letters that are none any more, by their places.
    raised: Vec<u64>,
    /// Mailboxes that are open from now on, or not any more.
    open: Vec<(u64, bool)>,
}

/// What a commit gave to what was new in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The numbers of the new messages, in the order in which they were put.
    pub mail: Vec<u64>,
    /// The places of the new dead letters, likewise.
    pub letters: Vec<u64>,
    /// The places of dead letters that made room for them.
    pub evicted: Vec<u64>,
}

impl MailSet {
    /// A new message for the owner of this storage id, behind all others.
    pub fn put(&mut self, id: u64, mail: MailHead<'_>, payload: &[u8]) {
        self.put.push((id, mail.message, mail.encode(payload).into()));
    }

    /// The message has ended.
    pub fn take(&mut self, key: MailKey) {
        self.taken.push(key);
    }

    /// The message is another one by now, in the same place.
    pub fn change(&mut self, key: MailKey, mail: MailHead<'_>, payload: &[u8]) {
        self.changed.push((key, mail.encode(payload).into()));
    }

    /// A message has died.
    pub fn bury(&mut self, letter: &Letter, mail: MailHead<'_>, payload: &[u8]) {
        self.letters.push((mail.message, letter.encode(mail, payload).into()));
    }

    /// A dead letter is none any more.
    pub fn raise(&mut self, place: u64) {
        self.raised.push(place);
    }

    /// From now on a host may have the first message of this mailbox in hand; or none has any more.
    pub fn mark_open(&mut self, id: u64, open: bool) {
        self.open.push((id, open));
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        let Self { taken, changed, put, letters, raised, open } = self;
        taken.is_empty()
            && changed.is_empty()
            && put.is_empty()
            && letters.is_empty()
            && raised.is_empty()
            && open.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        let changed = self.changed.iter().map(|(_, record)| record.len());
        let put = self.put.iter().map(|(.., record)| record.len());
        let letters = self.letters.iter().map(|(_, record)| record.len());
        changed.chain(put).chain(letters).sum()
    }
}
