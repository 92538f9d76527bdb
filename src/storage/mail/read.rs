//! Owns the reading of messages: one mailbox from a number on, the dead letters, and which mailboxes there are.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::super::backend::Space;
use super::super::error::StoreError;
use super::super::keys::{behind, full, split};
use super::super::store::{OWN_ID, Room, Store};
use super::{Letter, Mail};

/// Where the number stands below which messages have theirs.
pub(super) const MESSAGE_IDS_KEY: &[u8] = b"message-ids";
/// The beginning of the marks of mailboxes that are open.
const OPEN: &[u8] = b"open/";

/// What waits for one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mailbox {
    /// Messages.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// What an entry among the messages is, by its key and its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) enum MailKind {
    /// A message for the owner of this storage id.
    Message(u64),
    /// A dead letter.
    Letter,
    /// None of both, below this id.
    Foreign(u64),
}

/// Judges one entry.
pub(in crate::storage) fn kind_of(key: &[u8], record: &[u8]) -> MailKind {
    match split(key) {
        Some((OWN_ID, rest)) if number_of(rest).is_some() && Letter::decode(record).is_ok() => MailKind::Letter,
        Some((id, rest)) if id != OWN_ID && number_of(rest).is_some() && Mail::decode(record).is_ok() => {
            MailKind::Message(id)
        }
        Some((id, _)) => MailKind::Foreign(id),
        None => MailKind::Foreign(OWN_ID),
    }
}

pub(super) fn number_of(rest: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(rest.try_into().ok()?))
}

pub(in crate::storage) fn open_mark(id: u64) -> Vec<u8> {
    full(OWN_ID, &[OPEN, &id.to_be_bytes()].concat())
}

pub(super) fn message_ids(room: &Room) -> Result<u64, StoreError> {
    match room.backend.get(Space::Meta, &full(OWN_ID, MESSAGE_IDS_KEY)).map_err(StoreError::Read)? {
        Some(record) => number_of(&record).ok_or(StoreError::Damaged { what: "number of messages" }),
        None => Ok(0),
    }
}

impl Store {
    /// At most `most` messages of a mailbox from a number on, in order, each with its number. One that can't be read is
    /// an error.
    pub fn mail(&self, id: u64, from: u64, most: usize) -> Result<Vec<(u64, Mail)>, StoreError> {
        let (mut found, mut damaged) = (Vec::new(), false);
        let first = full(id, &from.to_be_bytes());
        self.room.scan(Space::Mail, &first, &behind(&full(id, b"")), &mut |key, record| {
            let number = split(key).and_then(|(_, rest)| number_of(rest));
            match number.zip(Mail::decode(record).ok()) {
                Some(one) => found.push(one),
                None => damaged = true,
            }
            if damaged || found.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if damaged { Err(StoreError::DamagedMail { id }) } else { Ok(found) }
    }

    /// The first message of a mailbox.
    pub fn first_mail(&self, id: u64) -> Result<Option<u64>, StoreError> {
        let keys = self.room.keys_of(Space::Mail, id, 1)?;
        Ok(keys.first().and_then(|key| split(key)).and_then(|(_, rest)| number_of(rest)))
    }

    /// The dead letters that are kept, oldest first, each with its place. What can't be read is left out, and
    /// [`Store::verify`] tells it.
    pub fn letters(&self) -> Result<Vec<(u64, Letter, Mail)>, StoreError> {
        let mut found = Vec::new();
        let first = full(OWN_ID, b"");
        self.room.scan(Space::Mail, &first, &behind(&first), &mut |key, record| {
            let place = split(key).and_then(|(_, rest)| number_of(rest));
            found.extend(place.zip(Letter::decode(record).ok()).map(|(place, (letter, mail))| (place, letter, mail)));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Which mailboxes hold something, and how much.
    pub fn mailboxes(&self) -> Result<BTreeMap<u64, Mailbox>, StoreError> {
        let mut all: BTreeMap<u64, Mailbox> = BTreeMap::new();
        self.room.scan(Space::Mail, &full(OWN_ID + 1, b""), &[0xff; 17], &mut |key, record| {
            if let Some((id, _)) = split(key) {
                let mailbox = all.entry(id).or_default();
                mailbox.messages += 1;
                mailbox.bytes += record.len() as u64;
            }
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    /// The storage ids that have messages, without reading them all.
    pub fn mail_ids(&self) -> Result<Vec<u64>, StoreError> {
        self.ids_in(Space::Mail)
    }

    /// Whether this mailbox was open when the host that had it ended.
    pub fn was_open(&self, id: u64) -> Result<bool, StoreError> {
        Ok(self.room.backend.get(Space::Meta, &open_mark(id)).map_err(StoreError::Read)?.is_some())
    }

    /// A number that no message of an earlier host has, nor any higher one.
    pub fn unused_message_id(&self) -> Result<u64, StoreError> {
        message_ids(&self.room)
    }

    /// Dead letters that are kept.
    #[cfg(test)]
    pub(in crate::storage) fn letter_places(&self) -> Vec<u64> {
        self.letters().expect("readable").into_iter().map(|(place, ..)| place).collect()
    }

    /// What a mailbox holds, for tests: number and content.
    #[cfg(test)]
    pub(crate) fn contents(&self, id: u64) -> Vec<(u64, Vec<u8>)> {
        self.mail(id, 0, usize::MAX)
            .expect("readable")
            .into_iter()
            .map(|(number, mail)| (number, mail.payload))
            .collect()
    }
}
