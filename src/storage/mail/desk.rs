//! Owns what the thread that writes knows of the messages: which number is next, and which dead letters there are.
//!
//! Used by that thread alone, in the order of the commits.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::super::backend::{Changes, Space};
use super::super::error::StoreError;
use super::super::keys::{behind, full, split};
use super::super::store::{OWN_ID, Room};
use super::read::{MESSAGE_IDS_KEY, message_ids, number_of, open_mark};
use super::{Kept, MAX_LETTER_BYTES, MAX_LETTERS, MailKey, MailSet};

/// Numbers of messages that are set aside at a time, so that this is written once in so many messages.
const IDS_AHEAD: u64 = 1 << 20;

/// See the module's head.
#[derive(Default)]
pub(in crate::storage) struct Desk {
    /// The next number of each mailbox that got a message since the store was opened.
    next: HashMap<u64, u64>,
    ring: Option<Ring>,
    /// Messages have numbers below this one.
    ids_until: Option<u64>,
}

/// The dead letters: place and bytes of each.
#[derive(Default)]
struct Ring {
    letters: VecDeque<(u64, u64)>,
    bytes: u64,
    next: u64,
}

impl Desk {
    /// Whether a set fits what is there and what this commit has changed already. Reads what adding it needs, so that
    /// nothing is added by half.
    pub(in crate::storage) fn check(&mut self, room: &Room, all: &Changes, set: &MailSet) -> Result<(), StoreError> {
        for key in set.taken.iter().chain(set.changed.iter().map(|(key, _)| key)) {
            if !is_there(room, all, entry(*key))? {
                return Err(StoreError::Ended);
            }
        }
        for place in &set.raised {
            if !is_there(room, all, entry(letter(*place)))? {
                return Err(StoreError::Ended);
            }
        }
        // Also where messages only end: the number of one that was there is not given out again.
        for id in set.put.iter().map(|(id, ..)| id).chain(set.taken.iter().map(|key| &key.id)) {
            if !self.next.contains_key(id) {
                self.next.insert(*id, next_number(room, *id)?);
            }
        }
        if self.ids_until.is_none() && !(set.put.is_empty() && set.letters.is_empty()) {
            self.ids_until = Some(message_ids(room)?);
        }
        if self.ring.is_none() && !(set.letters.is_empty() && set.raised.is_empty()) {
            self.ring = Some(Ring::load(room)?);
        }
        Ok(())
    }

    /// Adds a set that was checked.
    pub(in crate::storage) fn add(&mut self, all: &mut Changes, set: MailSet) -> Kept {
        let MailSet { taken, changed, put, letters, raised, open } = set;
        let mut kept = Kept::default();
        let newest =
            put.iter().map(|(_, message, _)| *message).chain(letters.iter().map(|(message, _)| *message)).max();
        all.extend(changed.into_iter().map(|(key, record)| (entry(key), Some(record))));
        all.extend(taken.into_iter().map(|key| (entry(key), None)));
        for (id, _, record) in put {
            let next = self.next.entry(id).or_default();
            all.insert(entry(MailKey { id, number: *next }), Some(record));
            kept.mail.push(*next);
            *next += 1;
        }
        if let Some(ring) = &mut self.ring {
            for place in raised {
                ring.remove(place);
                all.insert(entry(letter(place)), None);
            }
            for (_, record) in letters {
                kept.letters.push(ring.push(record.len() as u64));
                all.insert(entry(letter(ring.next - 1)), Some(record));
            }
            kept.evicted = ring.make_room();
            all.extend(kept.evicted.iter().map(|place| (entry(letter(*place)), None)));
        }
        for (id, open) in open {
            all.insert((Space::Meta, open_mark(id)), open.then(|| [].into()));
        }
        self.set_ids_aside(all, newest);
        kept
    }

    fn set_ids_aside(&mut self, all: &mut Changes, newest: Option<u64>) {
        if let (Some(newest), Some(until)) = (newest, &mut self.ids_until)
            && newest >= *until
        {
            *until = newest.saturating_add(IDS_AHEAD);
            let record: Arc<[u8]> = until.to_be_bytes().as_slice().into();
            all.insert((Space::Meta, full(OWN_ID, MESSAGE_IDS_KEY)), Some(record));
        }
    }
}

impl Ring {
    fn load(room: &Room) -> Result<Self, StoreError> {
        let mut ring = Self::default();
        let first = full(OWN_ID, b"");
        room.scan(Space::Mail, &first, &behind(&first), &mut |key, record| {
            // What is no letter is for `storage verify` to tell.
            if let Some(place) = split(key).and_then(|(_, rest)| number_of(rest)) {
                ring.letters.push_back((place, record.len() as u64));
                ring.bytes += record.len() as u64;
                ring.next = place + 1;
            }
            ControlFlow::Continue(())
        })?;
        Ok(ring)
    }

    fn push(&mut self, bytes: u64) -> u64 {
        self.letters.push_back((self.next, bytes));
        self.bytes += bytes;
        self.next += 1;
        self.next - 1
    }

    fn remove(&mut self, place: u64) {
        if let Ok(at) = self.letters.binary_search_by_key(&place, |(place, _)| *place)
            && let Some((_, bytes)) = self.letters.remove(at)
        {
            self.bytes -= bytes;
        }
    }

    fn make_room(&mut self) -> Vec<u64> {
        let mut evicted = Vec::new();
        while self.letters.len() > MAX_LETTERS || self.bytes > MAX_LETTER_BYTES {
            let Some((place, bytes)) = self.letters.pop_front() else { break };
            self.bytes -= bytes;
            evicted.push(place);
        }
        evicted
    }
}

fn letter(place: u64) -> MailKey {
    MailKey { id: OWN_ID, number: place }
}

fn entry(key: MailKey) -> (Space, Vec<u8>) {
    (Space::Mail, full(key.id, &key.number.to_be_bytes()))
}

fn is_there(room: &Room, all: &Changes, key: (Space, Vec<u8>)) -> Result<bool, StoreError> {
    match all.get(&key) {
        Some(changed) => Ok(changed.is_some()),
        None => Ok(room.backend.get(key.0, &key.1).map_err(StoreError::Read)?.is_some()),
    }
}

/// The number behind all that are there.
fn next_number(room: &Room, id: u64) -> Result<u64, StoreError> {
    let keys = room.keys_of(Space::Mail, id, usize::MAX)?;
    let last = keys.last().and_then(|key| split(key)).and_then(|(_, rest)| number_of(rest));
    Ok(last.map_or(0, |last| last.saturating_add(1)))
}
