//! Owns the messages that a handler sends: who may be reached, room for them, and when they leave.
//!
//! A message has its room in the target's mailbox from the call on, and its place from the commit on.

mod directory;
mod publish;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::breaker::{Breaker, End, Outcome};
use super::cell::ActorCell;
use super::core::{Core, IdBlock, locked};
use super::mailbox::{Ask, Claim, Envelope, NoRoom, SentBy, Share};
use super::post::{Posting, when_kept};
use super::reply::ReplySlot;
use super::request::{Open, OpenRequests, until};
use super::ticket::Ticket;
use super::topics::OwnTopics;
use super::version::Version;
use crate::codec::Payload;
use crate::host::{
    Contact, ContactPage, Content, Outbox, PublishError, RequestError, SendError, SubscribeError, Transaction,
};

use crate::name::{InstallationName, MAX_NAME_PART_BYTES};
use crate::permission::{Entry, Peer, Topic};
use crate::storage::{MailSet, Posted};
use publish::Published;

/// Links that are remembered; a guest that asks for more words than this has them looked up again.
const MAX_LINKS: usize = 256;

/// The outbox of one instance.
pub(super) struct ActorOutbox {
    core: Arc<Core>,
    version: Arc<Version>,
    /// Few and short: looking through them is faster than any map.
    links: Vec<Link>,
    pending: Vec<Outgoing>,
    /// Messages that this call sends; what is published counts once.
    sent: u64,
    published: Published,
    requests: Arc<OpenRequests>,
    outside: Arc<LeftOutside>,
    topics: Arc<OwnTopics>,
    /// What it subscribes to when this call ends well, if that changes.
    subscribes: Option<BTreeSet<Topic>>,
    ids: IdBlock,
    transaction: Transaction,
}

/// Where an outbox leaves word that messages of the last call wait outside full mailboxes.
#[derive(Default)]
pub(super) struct LeftOutside {
    any: AtomicBool,
    ticket: Mutex<Weak<Ticket>>,
}

impl LeftOutside {
    fn set(&self, ticket: &Arc<Ticket>) {
        *locked(&self.ticket) = Arc::downgrade(ticket);
        self.any.store(true, Ordering::Relaxed);
    }

    /// What they hold, once. Cheap when there are none.
    pub(super) fn take(&self) -> Option<Weak<Ticket>> {
        let any = self.any.load(Ordering::Relaxed) && self.any.swap(false, Ordering::Relaxed);
        any.then(|| std::mem::take(&mut *locked(&self.ticket)))
    }
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
    breaker: Option<Arc<Mutex<Breaker>>>,
}

/// The same of a target that is there.
struct Found {
    cell: Arc<ActorCell>,
    share: Arc<Share>,
    breaker: Option<Arc<Mutex<Breaker>>>,
}

/// A way that is open to one message.
struct Way {
    cell: Arc<ActorCell>,
    share: Arc<Share>,
    claim: Claim,
    outcome: Option<Box<Outcome>>,
}

struct Outgoing {
    cell: Arc<ActorCell>,
    share: Arc<Share>,
    claim: Claim,
    outcome: Option<Box<Outcome>>,
    payload: Payload,
    /// Number and end of the request that it is.
    request: Option<(u64, Instant)>,
    /// The topic to which it is published.
    topic: Option<Arc<Topic>>,
}

impl ActorOutbox {
    /// Takes nothing before its first transaction.
    pub(super) fn new(
        core: &Arc<Core>,
        version: &Arc<Version>,
        requests: &Arc<OpenRequests>,
        outside: &Arc<LeftOutside>,
        topics: &Arc<OwnTopics>,
    ) -> Self {
        Self {
            core: Arc::clone(core),
            version: Arc::clone(version),
            links: Vec::new(),
            pending: Vec::new(),
            sent: 0,
            published: Published::default(),
            requests: Arc::clone(requests),
            outside: Arc::clone(outside),
            topics: Arc::clone(topics),
            subscribes: None,
            ids: IdBlock::default(),
            transaction: Transaction { hops: 0, sends: 0, until: None, mail: None },
        }
    }

    /// Finds the way of a message and takes room for it.
    fn take_room(&mut self, link: &str, content: Content<'_>) -> Result<Way, SendError> {
        let Transaction { hops, sends, .. } = self.transaction;
        self.needs(&|| Some(Entry::Send(Peer::Named(link.parse().ok()?))));
        let Found { cell, share, breaker } = self.reach(link).inspect_err(|error| match error {
            SendError::NotPermitted => self.denied("send", link),
            SendError::RefusedByTarget => self.denied("receive", link),
            _ => {}
        })?;
        if self.sent >= sends {
            return Err(SendError::TooManySends(sends));
        }
        if hops >= self.core.max_hops {
            return Err(SendError::TooManyHops(self.core.max_hops));
        }
        // Who waited for room in its own mailbox would keep it from becoming free.
        let is_own = || std::ptr::eq(self.requests.owner().as_ptr(), Arc::as_ptr(&cell));
        let ask = if cell.mailbox.makes_wait() && is_own() { Ask::WithoutWaiting } else { Ask::Usual };
        let outcome = breaker.map(let_through).transpose()?;
        if let Err(wait) = self.take_rate() {
            not_sent(outcome);
            return Err(SendError::RateExceeded(millis(wait)));
        }
        match cell.mailbox.claim_in(content.codec, content.bytes.len(), Some(&share), ask) {
            Ok(claim) => Ok(Way { cell, share, claim, outcome }),
            Err(no) => {
                cell.counters.rejected(&no);
                self.give_rate_back();
                Err(match no {
                    // A target that is full or gone is not well: the outcome is dropped without a word.
                    NoRoom::Closed | NoRoom::NoHandler | NoRoom::NoOperations => SendError::NoSuchTarget,
                    NoRoom::Full => SendError::MailboxFull,
                    NoRoom::TooLarge(limit) => {
                        not_sent(outcome);
                        SendError::TooLarge(limit)
                    }
                    NoRoom::Codec(not_taken) => {
                        not_sent(outcome);
                        SendError::CodecNotTaken(not_taken.into())
                    }
                })
            }
        }
    }

    fn take_rate(&self) -> Result<(), Duration> {
        self.version.account.take_rate()
    }

    fn give_rate_back(&self) {
        self.version.account.give_rate_back();
    }

    /// Forgets a message that has not left.
    fn forget(&self, outgoing: Outgoing) {
        let Outgoing { cell, share, claim, outcome, payload, request, topic } = outgoing;
        cell.freed(&self.core, cell.mailbox.give_up(payload.len(), Some(&share), claim));
        // What is published counts once, whoever takes it.
        if topic.is_none() {
            self.give_rate_back();
        }
        not_sent(outcome);
        if request.is_some() {
            self.requests.give_back();
        }
    }

    fn leaving(&mut self) -> Leaving<'_> {
        let Self { core, version, requests, ids, transaction, .. } = self;
        Leaving { core, version, requests, ids, transaction }
    }

    fn reach(&mut self, word: &str) -> Result<Found, SendError> {
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
        let Reach { cell, share, breaker } = link.reach.as_ref().map_err(Clone::clone)?;
        let cell = cell.upgrade().ok_or(SendError::NoSuchTarget)?;
        Ok(Found { cell, share: Arc::clone(share), breaker: breaker.clone() })
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

/// What makes a message of what a call sent.
struct Leaving<'o> {
    core: &'o Core,
    version: &'o Version,
    requests: &'o Arc<OpenRequests>,
    ids: &'o mut IdBlock,
    transaction: &'o Transaction,
}

/// To whom, with what claimed there, as what, and as which request.
type Left = (Arc<ActorCell>, Claim, Envelope, Option<(u64, Open)>);

impl Leaving<'_> {
    fn message(self, outgoing: Outgoing) -> Left {
        let Transaction { hops, until: parent, .. } = *self.transaction;
        let Outgoing { cell, share, claim, outcome, payload, request, topic } = outgoing;
        let sent_by = SentBy::Installation { name: Arc::clone(&self.version.sender), share: Some(share), topic };
        let (id, expires, reply, asked) = match request {
            Some((id, until)) => {
                let reply = ReplySlot::of_request(Arc::clone(self.requests), id);
                (id, Some(until), Some(reply), Some((id, Open { until, hops, parent })))
            }
            None => (self.ids.next(self.core), None, None, None),
        };
        (cell, claim, Envelope { id, sent_by, payload, hops: hops + 1, expires, reply, kept: None, outcome }, asked)
    }
}

fn find(core: &Core, version: &Version, target: &InstallationName) -> Result<Reach, SendError> {
    let cell = core.registry.get(target).ok_or(SendError::NoSuchTarget)?;
    let receiver = cell.version().ok_or(SendError::NoSuchTarget)?;
    let sender = &version.record.spec.name;
    receiver.account.needs(|| Some(Entry::Receive(Peer::Named(sender.clone()))));
    if !receiver.receives_from(sender) {
        return Err(SendError::RefusedByTarget);
    }
    let share = version.share(target, &cell);
    Ok(Reach { cell: Arc::downgrade(&cell), share, breaker: version.account.breaker(target) })
}

fn let_through(breaker: Arc<Mutex<Breaker>>) -> Result<Box<Outcome>, SendError> {
    let pass = locked(&breaker).pass(Instant::now());
    let pass = pass.map_err(|wait| SendError::TargetUnavailable(millis(wait)))?;
    Ok(Box::new(Outcome::new(breaker, pass)))
}

/// Says that a message did not leave, which says nothing about its target.
fn not_sent(outcome: Option<Box<Outcome>>) {
    if let Some(outcome) = outcome {
        outcome.ended(End::NotSent);
    }
}

/// Whole milliseconds, rather one more than one too few.
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// A copy for the way, which begins when the guest's memory may be another one already.
fn kept(content: Content<'_>) -> Payload {
    Payload::new(content.codec, content.bytes.to_vec())
}

impl Outbox for ActorOutbox {
    fn begin(&mut self, transaction: Transaction) {
        self.abort();
        self.transaction = transaction;
    }

    fn send(&mut self, link: &str, content: Content<'_>) -> Result<(), SendError> {
        #[cfg(test)]
        if link == "panic-in-the-host" {
            panic!("meant for a test");
        }
        let Way { cell, share, claim, outcome } = self.take_room(link, content)?;
        let (payload, request, topic) = (kept(content), None, None);
        self.sent += 1;
        self.pending.push(Outgoing { cell, share, claim, outcome, payload, request, topic });
        Ok(())
    }

    fn request(&mut self, link: &str, content: Content<'_>, timeout_ms: u64) -> Result<u64, RequestError> {
        let Way { cell, share, claim, outcome } = self.take_room(link, content)?;
        if let Err(limit) = self.requests.promise() {
            cell.freed(&self.core, cell.mailbox.give_up(content.bytes.len(), Some(&share), claim));
            self.give_rate_back();
            not_sent(outcome);
            return Err(RequestError::TooManyRequests(limit));
        }
        let id = self.ids.next(&self.core);
        let until = until(Instant::now(), timeout_ms, self.transaction.until);
        let (payload, request, topic) = (kept(content), Some((id, until)), None);
        self.sent += 1;
        self.pending.push(Outgoing { cell, share, claim, outcome, payload, request, topic });
        Ok(id)
    }

    fn denied(&self, permission: &'static str, what: &str) {
        self.version.account.denied();
        self.core.denials.add(&self.version.record.spec.name, permission, what);
    }

    fn needs(&self, entry: &dyn Fn() -> Option<Entry>) {
        self.version.account.needs(entry);
    }

    fn observes(&self) -> bool {
        self.version.account.observes()
    }

    fn cancel(&mut self, id: u64) -> bool {
        let is_it = |outgoing: &Outgoing| outgoing.request.is_some_and(|(pending, _)| pending == id);
        match self.pending.iter().position(is_it) {
            // It has not left, and will not. The others keep their order.
            Some(at) => {
                let outgoing = self.pending.remove(at);
                self.sent -= 1;
                self.forget(outgoing);
                true
            }
            None => self.requests.cancel(id),
        }
    }

    fn publish(&mut self, topic: &str, content: Content<'_>) -> Result<u32, PublishError> {
        self.publish_to(topic, content)
    }

    fn subscribe(&mut self, pattern: &str) -> Result<(), SubscribeError> {
        self.subscribe_to(pattern)
    }

    fn unsubscribe(&mut self, pattern: &str) -> bool {
        let Ok(pattern) = pattern.parse() else { return false };
        self.subscribes.get_or_insert_with(|| self.topics.patterns()).remove(&pattern)
    }

    fn contacts(&self, after: Option<&str>, limit: u32) -> ContactPage {
        self.contacts_after(after, limit)
    }

    fn contact(&self, link: &str) -> Option<Contact> {
        self.contact_of(link)
    }

    fn post(&mut self, mail: &mut MailSet) -> Option<Posted> {
        let mail_id = |outgoing: &Outgoing| outgoing.cell.mail_id_for(outgoing.claim);
        if self.pending.iter().all(|outgoing| mail_id(outgoing).is_none()) {
            return None;
        }
        let mut postings = Vec::new();
        for outgoing in std::mem::take(&mut self.pending) {
            match mail_id(&outgoing) {
                Some(id) => {
                    let (cell, _, envelope, asked) = self.leaving().message(outgoing);
                    let posting = Posting::new(&self.core, cell, id, envelope);
                    let posting = match asked {
                        Some((id, open)) => posting.asking(Arc::clone(&self.requests), id, open),
                        None => posting,
                    };
                    posting.put(mail);
                    postings.push(posting);
                }
                None => self.pending.push(outgoing),
            }
        }
        Some(when_kept(postings))
    }

    fn commit(&mut self) {
        let tickets = OnceCell::new();
        let (requests, core) = (Arc::clone(&self.requests), Arc::clone(&self.core));
        let ticket = || {
            let new = || Arc::new(Ticket::new(requests.owner(), core.scheduler().entrance()));
            Arc::clone(tickets.get_or_init(new))
        };
        let mut pending = std::mem::take(&mut self.pending);
        for outgoing in pending.drain(..) {
            let (cell, claim, envelope, asked) = self.leaving().message(outgoing);
            if let Some((id, open)) = asked {
                self.requests.open(id, open);
            }
            // Nobody waits for a subscriber.
            let is_published = matches!(envelope.sent_by, SentBy::Installation { topic: Some(_), .. });
            cell.accept(&self.core, envelope, claim, if is_published { None } else { Some(&ticket) });
        }
        // Its room is used again by the next call.
        self.pending = pending;
        if let Some(ticket) = tickets.get() {
            self.outside.set(ticket);
        }
        self.commit_topics();
        self.sent = 0;
    }

    fn abort(&mut self) {
        while let Some(outgoing) = self.pending.pop() {
            self.forget(outgoing);
        }
        self.abort_topics();
        self.sent = 0;
    }
}

impl Drop for ActorOutbox {
    fn drop(&mut self) {
        self.abort();
        self.requests.end();
        self.topics.end();
    }
}
