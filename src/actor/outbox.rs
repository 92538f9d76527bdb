//! Owns the messages that a handler sends: who may be reached, room for them, and when they leave.
//!
//! A message has its room in the target's mailbox from the call on, and its place from the commit on.

use std::sync::{Arc, Weak};

use super::cell::ActorCell;
use super::core::{Core, IdBlock};
use super::mailbox::{Envelope, NoRoom, SentBy, Share};
use super::version::Version;
use crate::host::{Outbox, SendError};
use crate::name::{InstallationName, MAX_NAME_PART_BYTES};

/// Links that are remembered; a guest that asks for more words than this has them looked up again.
const MAX_LINKS: usize = 256;

/// The outbox of one instance.
pub(super) struct ActorOutbox {
    core: Arc<Core>,
    version: Arc<Version>,
    /// Few and short: looking through them is faster than any map.
    links: Vec<Link>,
    pending: Vec<Outgoing>,
    ids: IdBlock,
    hops: u32,
    sends: u64,
}

struct Link {
    word: Box<str>,
    target: Option<InstallationName>,
    /// The state of the registry for which `reach` was found out.
    seen: u64,
    reach: Result<Reach, SendError>,
}

#[derive(Clone)]
struct Reach {
    cell: Weak<ActorCell>,
    share: Arc<Share>,
}

struct Outgoing {
    cell: Arc<ActorCell>,
    share: Arc<Share>,
    payload: Vec<u8>,
}

impl ActorOutbox {
    /// Takes nothing before its first transaction.
    pub(super) fn new(core: Arc<Core>, version: Arc<Version>) -> Self {
        Self { core, version, links: Vec::new(), pending: Vec::new(), ids: IdBlock::default(), hops: 0, sends: 0 }
    }

    fn reach(&mut self, word: &str) -> Result<(Arc<ActorCell>, Arc<Share>), SendError> {
        // A word that is no name leads nowhere, and is not remembered however often it is asked for.
        if word.len() > MAX_NAME_PART_BYTES {
            return Err(SendError::NotPermitted);
        }
        let at = self.links.iter().position(|link| *link.word == *word).unwrap_or_else(|| self.remember(word));
        let link = &mut self.links[at];
        let Some(target) = &link.target else { return Err(SendError::NotPermitted) };
        let now = self.core.registry.state();
        if link.seen != now {
            link.reach = find(&self.core, &self.version, target);
            link.seen = now;
        }
        let Reach { cell, share } = link.reach.as_ref().map_err(|e| *e)?;
        let cell = cell.upgrade().ok_or(SendError::NoSuchTarget)?;
        Ok((cell, Arc::clone(share)))
    }

    /// Where the word's link stands from now on.
    fn remember(&mut self, word: &str) -> usize {
        if self.links.len() >= MAX_LINKS {
            self.links.clear();
        }
        let target = self.version.target(word);
        self.links.push(Link { word: word.into(), target, seen: 0, reach: Err(SendError::NotPermitted) });
        self.links.len() - 1
    }
}

fn find(core: &Core, version: &Version, target: &InstallationName) -> Result<Reach, SendError> {
    let cell = core.registry.get(target).ok_or(SendError::NoSuchTarget)?;
    let receiver = cell.version().ok_or(SendError::NoSuchTarget)?;
    if !receiver.receives_from(&version.record.spec.name) {
        return Err(SendError::RefusedByTarget);
    }
    let share = version.share(target, &cell);
    Ok(Reach { cell: Arc::downgrade(&cell), share })
}

impl Outbox for ActorOutbox {
    fn begin(&mut self, hops: u32, sends: u64) {
        self.abort();
        self.hops = hops;
        self.sends = sends;
    }

    fn send(&mut self, link: &str, payload: &[u8]) -> Result<(), SendError> {
        #[cfg(test)]
        if link == "panic-in-the-host" {
            panic!("meant for a test");
        }
        let (cell, share) = self.reach(link)?;
        if self.pending.len() as u64 >= self.sends {
            return Err(SendError::TooManySends(self.sends));
        }
        if self.hops >= self.core.max_hops {
            return Err(SendError::TooManyHops(self.core.max_hops));
        }
        cell.mailbox.take_room(payload.len(), Some(&share)).map_err(|no| {
            cell.counters.rejected();
            match no {
                NoRoom::Closed => SendError::NoSuchTarget,
                NoRoom::Full => SendError::MailboxFull,
                NoRoom::TooLarge(limit) => SendError::TooLarge(limit),
            }
        })?;
        self.pending.push(Outgoing { cell, share, payload: payload.to_vec() });
        Ok(())
    }

    fn commit(&mut self) {
        for Outgoing { cell, share, payload } in self.pending.drain(..) {
            let sent_by = SentBy::Installation { name: Arc::clone(&self.version.sender), share };
            let id = self.ids.next(&self.core);
            let envelope = Envelope { id, sent_by, payload, hops: self.hops + 1, expires: None, reply: None };
            cell.accept(&self.core, envelope);
        }
    }

    fn abort(&mut self) {
        for Outgoing { cell, share, payload } in self.pending.drain(..) {
            cell.mailbox.give_back(payload.len(), Some(&share));
        }
    }
}

impl Drop for ActorOutbox {
    fn drop(&mut self) {
        self.abort();
    }
}
