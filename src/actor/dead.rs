//! Owns the dead letters: messages that were accepted and not handled, as long as there is room for them.
//!
//! A ring: the oldest make room. The counters of the actors are exact, whatever the ring has forgotten. Those of messages
//! that outlive the host are in the store, with bounds of their own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::core::locked;
use super::status::DeadReason;
use crate::codec::Payload;
use crate::host::contract::Sender;
use crate::name::InstallationName;
use crate::permission::Topic;

/// Dead letters that are kept, at most.
pub const MAX_DEAD_LETTERS: usize = 10_000;
/// Bytes of payloads and reasons that are kept, at most.
pub const MAX_DEAD_LETTER_BYTES: usize = 64 << 20;

/// A message that was accepted and not handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message's number.
    pub id: u64,
    /// Who sent it.
    pub sender: Sender,
    /// The topic to which it was published; none when it was sent.
    pub topic: Option<Arc<Topic>>,
    /// The installation that it was for, by its name then.
    pub target: InstallationName,
    /// Which installation that was: names are given again, storage ids never.
    pub storage_id: Option<u64>,
    /// Why it was not handled.
    pub reason: DeadReason,
    /// The error or the crash, escaped, if there was one.
    pub why: Option<String>,
    /// When it died.
    pub at: SystemTime,
    /// Its content.
    pub payload: Payload,
    /// Where it stands in the store, if it outlives the host.
    pub(super) place: Option<u64>,
}

impl DeadLetter {
    fn bytes(&self) -> usize {
        self.payload.len() + self.why.as_ref().map_or(0, String::len)
    }
}

#[derive(Debug, Default)]
struct Ring {
    letters: VecDeque<Arc<DeadLetter>>,
    bytes: usize,
    /// Letters ever.
    total: u64,
}

impl Ring {
    fn push(&mut self, letter: DeadLetter, most: usize, most_bytes: usize) {
        self.total += 1;
        self.bytes += letter.bytes();
        self.letters.push_back(Arc::new(letter));
        while self.letters.len() > most || self.bytes > most_bytes {
            let Some(oldest) = self.letters.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.letters.iter().rposition(|letter| letter.id == id)
    }

    fn remove(&mut self, id: u64) -> Option<Arc<DeadLetter>> {
        let letter = self.letters.remove(self.position(id)?)?;
        self.bytes -= letter.bytes();
        Some(letter)
    }
}

/// Those that the store keeps, by their places. What makes room for what is the store's decision.
#[derive(Debug, Default)]
struct Kept {
    letters: BTreeMap<u64, Arc<DeadLetter>>,
    /// Being sent again.
    claimed: BTreeSet<u64>,
    /// Letters since the host started.
    total: u64,
}

/// The dead letters of a host.
#[derive(Debug, Default)]
pub(super) struct DeadLetters(Mutex<(Ring, Kept)>);

impl DeadLetters {
    pub(super) fn add(&self, letter: DeadLetter) {
        let (ring, kept) = &mut *locked(&self.0);
        match letter.place {
            Some(place) => {
                kept.total += 1;
                kept.letters.insert(place, Arc::new(letter));
            }
            None => ring.push(letter, MAX_DEAD_LETTERS, MAX_DEAD_LETTER_BYTES),
        }
    }

    /// Letters that an earlier host left in the store.
    pub(super) fn found(&self, letters: Vec<DeadLetter>) {
        let (_, kept) = &mut *locked(&self.0);
        kept.letters.extend(letters.into_iter().filter_map(|letter| Some((letter.place?, Arc::new(letter)))));
    }

    /// Letters that the store keeps no more.
    pub(super) fn evicted(&self, places: &[u64]) {
        let (_, kept) = &mut *locked(&self.0);
        for place in places {
            kept.letters.remove(place);
            kept.claimed.remove(place);
        }
    }

    /// The newest `most`, oldest first, how many are kept, and how many there were ever.
    pub(super) fn newest(&self, most: usize) -> (Vec<Arc<DeadLetter>>, usize, u64) {
        let (ring, kept) = &*locked(&self.0);
        let mut all: Vec<_> = ring.letters.iter().chain(kept.letters.values()).cloned().collect();
        all.sort_by_key(|letter| letter.at);
        let count = all.len();
        (all.split_off(count.saturating_sub(most)), count, ring.total + kept.total)
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<DeadLetter>> {
        let (ring, kept) = &*locked(&self.0);
        match ring.position(id) {
            Some(at) => ring.letters.get(at).cloned(),
            None => kept.letters.values().rfind(|letter| letter.id == id).cloned(),
        }
    }

    /// Takes a letter to send it again. None when it is not there (any more): of two who try, one gets it. One that the
    /// store keeps stays in the list until it is written that it is none any more.
    pub(super) fn claim(&self, letter: &DeadLetter) -> Option<Arc<DeadLetter>> {
        let (ring, kept) = &mut *locked(&self.0);
        match letter.place {
            Some(place) => kept.letters.get(&place).filter(|_| kept.claimed.insert(place)).cloned(),
            None => ring.remove(letter.id),
        }
    }

    /// It could not be sent again.
    pub(super) fn give_back(&self, letter: &DeadLetter) {
        let (ring, kept) = &mut *locked(&self.0);
        match letter.place {
            Some(place) => drop(kept.claimed.remove(&place)),
            None => {
                ring.push(letter.clone(), MAX_DEAD_LETTERS, MAX_DEAD_LETTER_BYTES);
                // It was counted when it died.
                ring.total -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: u64, bytes: usize) -> DeadLetter {
        DeadLetter {
            id,
            sender: Sender::Host,
            target: "a".parse().unwrap(),
            storage_id: None,
            reason: DeadReason::Stopped,
            why: None,
            at: SystemTime::UNIX_EPOCH,
            topic: None,
            payload: vec![0; bytes].into(),
            place: None,
        }
    }

    fn ids(ring: &Ring) -> Vec<u64> {
        ring.letters.iter().map(|letter| letter.id).collect()
    }

    #[test]
    fn the_oldest_make_room_by_count_and_by_bytes_and_all_are_counted() {
        let mut ring = Ring::default();
        for id in 0..5 {
            ring.push(letter(id, 10), 3, 1_000);
        }
        assert_eq!((ids(&ring), ring.bytes, ring.total), (vec![2, 3, 4], 30, 5));
        ring.push(letter(5, 35), 3, 50);
        assert_eq!((ids(&ring), ring.bytes, ring.total), (vec![4, 5], 45, 6));
        ring.push(letter(6, 51), 3, 50);
        assert_eq!((ids(&ring), ring.bytes, ring.total), (vec![], 0, 7), "larger than all of the room");
    }

    #[test]
    fn a_letter_is_taken_out_once_and_its_room_is_free_again() {
        let mut ring = Ring::default();
        for id in 0..3 {
            ring.push(letter(id, 10), 10, 100);
        }
        assert_eq!(ring.remove(1).map(|letter| letter.id), Some(1));
        assert_eq!(ring.remove(1), None);
        assert_eq!((ids(&ring), ring.bytes, ring.total), (vec![0, 2], 20, 3));
    }
}
