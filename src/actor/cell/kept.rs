//! Owns what becomes of a message that the store holds: it is delivered again when it was not handled, and its room is
//! free when the store has it no more.
//!
//! Whether it is delivered again is decided in `attempts`, the way out of the store is `post`'s.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::account::MAX_SHARES;
use super::super::attempts::{Attempts, Failure, LONGEST_WAIT, Next, Policy};
use super::super::core::{Core, Due, locked};
use super::super::instance::{CrashKind, Ended};
use super::super::mailbox::{Claim, Envelope, Item, KeptMail, SentBy, Share};
use super::super::reply::{CallError, ReplySlot};
use super::super::status::DeadReason;
use super::super::version::Version;
use super::{ActorCell, Seat, author};
use crate::codec::Payload;
use crate::name::InstallationName;
use crate::storage::MailSet;

/// What is left of an envelope whose message is in hand.
pub(super) struct Held {
    pub(super) sent_by: SentBy,
    pub(super) hops: u32,
    pub(super) expires: Option<Instant>,
    pub(super) kept: Box<KeptMail>,
}

impl Held {
    pub(super) fn envelope(self, id: u64, payload: Payload, reply: Option<ReplySlot>) -> Envelope {
        let Self { sent_by, hops, expires, kept } = self;
        // A sender's breaker has heard of the first delivery.
        Envelope { id, sent_by, payload, hops, expires, reply, kept: Some(kept), outcome: None }
    }
}

impl ActorCell {
    /// The storage id under which its messages are kept, if they are.
    pub(in crate::actor) fn mail_id(&self) -> Option<u64> {
        match self.mail_id.load(Ordering::Relaxed) {
            0 => None,
            id => Some(id),
        }
    }

    /// The same for a message with this claim. What was only promised a place was so by a version that kept none.
    pub(in crate::actor) fn mail_id_for(&self, claim: Claim) -> Option<u64> {
        self.mail_id().filter(|_| claim == Claim::Room)
    }

    /// Its name; that of no installation before it has a version.
    pub(in crate::actor) fn name(&self) -> InstallationName {
        match self.version() {
            Some(version) => version.record.spec.name.clone(),
            None => "none".parse().unwrap_or_else(|_| unreachable!("a name")),
        }
    }

    /// No message can be delivered any more: those that wait end, and operations stay.
    pub(super) fn keep_operations(&self, core: &Core, seat: &mut Seat) {
        self.mail_id.store(0, Ordering::Relaxed);
        self.bury_where(core, seat, |sent_by| !matches!(sent_by, SentBy::Caller { .. }));
    }

    /// The share of a sender in a mailbox whose messages are kept. It outlives versions of the sender.
    pub(in crate::actor) fn share_of(&self, sender: &InstallationName) -> Arc<Share> {
        let mut shares = locked(&self.shares);
        if shares.len() >= MAX_SHARES {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        Arc::clone(shares.entry(sender.clone()).or_insert_with(|| Arc::new(self.mailbox.share())))
    }

    /// Takes a message for which another actor had room.
    pub(in crate::actor) fn adopt(&self, envelope: &mut Envelope) {
        if let SentBy::Installation { name, share: Some(share), .. } = &mut envelope.sent_by
            && let Ok(name) = name.parse()
        {
            *share = self.share_of(&name);
        }
        self.mailbox.adopt(envelope);
    }

    /// Takes a message that is in the store, for which room was taken.
    pub(in crate::actor) fn accept_kept(self: &Arc<Self>, core: &Core, envelope: Envelope) {
        // When the mailbox is closed, it stays in the store.
        if self.mailbox.put_kept(envelope) {
            core.schedule(Arc::clone(self));
        }
    }

    /// Goes on with the messages that the store holds for a version, and keeps new ones there if it says so.
    pub(super) fn open_mailbox(self: &Arc<Self>, core: &Arc<Core>, version: &Version) -> bool {
        let id = version.storage_id.get().copied().filter(|_| version.keeps_messages());
        self.mail_id.store(id.unwrap_or_default(), Ordering::Relaxed);
        let limit = self.mailbox.share();
        locked(&self.shares).values().for_each(|share| share.follow(&limit));
        let opened = core.post.open(core, self, version);
        if let Err(error) = &opened {
            let text = format!("it takes no messages: {error}");
            version.log.for_instance(0).write(crate::logs::Level::Error, crate::logs::Source::Host, &text);
            locked(&self.news).last_error = Some(text);
        }
        opened.is_ok()
    }

    /// Leaves what the store holds to whoever has the storage; another one is this actor's from now on.
    pub(super) fn leave_kept(&self, core: &Core, seat: &mut Seat) {
        core.post.close(core, self);
        for item in seat.batch.drain(..).chain(self.mailbox.take_all()).collect::<Vec<_>>() {
            match item {
                Item::Message(envelope) if envelope.kept.is_some() => self.mailbox.leave_in_store(&envelope),
                other => seat.batch.push_back(other),
            }
        }
    }

    /// A message of the store ended badly in the instance's hands.
    pub(super) fn not_handled_yet(
        self: &Arc<Self>,
        core: &Arc<Core>,
        seat: &mut Seat,
        mut envelope: Envelope,
        ended: Ended,
    ) {
        let message = format!("message {} from {}", envelope.id, author(&envelope.sent_by.sender()));
        let next = match (&mut envelope.kept, failure(&ended)) {
            (Some(kept), Some(failure)) => {
                let next;
                (kept.attempts, next) = kept.attempts.after(failure, &Policy::DURABLE);
                next
            }
            // The store is behind or has stopped, and the message has no part in that.
            _ => Next::Again(LONGEST_WAIT),
        };
        let attempts = envelope.kept.as_ref().map_or_else(Attempts::default, |kept| kept.attempts);
        let (what, wait) = match next {
            Next::Again(wait) => {
                if failure(&ended).is_some() {
                    core.post.write_attempts(core, &envelope);
                }
                seat.batch.push_front(Item::Message(envelope));
                (delivered_again(attempts, &Policy::DURABLE), Some(wait))
            }
            Next::Poison => {
                let (why, error) = told(&ended);
                core.post.end(core, self, (envelope, MailSet::default()), DeadReason::Poison, Some(why), error);
                (format!("; it is poison, after {} deliveries", attempts.deliveries), None)
            }
        };
        match ended {
            Ended::Refused(text) => self.refused(seat, &format!("{message} failed: {text}{what}"), text),
            Ended::NotKept(text) => self.refused(seat, &format!("{message} was not kept: {text}{what}"), text),
            // The wait before the restart is the wait before the next delivery.
            Ended::Crashed(crash) => {
                return self.crashed(core, seat, &crash, &format!("crashed at {message}: {crash}{what}"));
            }
        }
        if let Some(wait) = wait {
            self.rest(core, seat, wait);
        }
    }

    /// Delivers nothing for a while.
    pub(super) fn rest(self: &Arc<Self>, core: &Core, seat: &mut Seat, wait: Duration) {
        let until = Instant::now() + wait;
        seat.rest = Some(until);
        self.mailbox.set_runnable(false);
        core.set_timer(until, Due::Look(Arc::downgrade(self)));
    }

    /// Goes on when the rest is over.
    pub(super) fn wake_up(&self, seat: &mut Seat) {
        if seat.rest.take_if(|until| *until <= Instant::now()).is_some()
            && let Some(instance) = &seat.instance
        {
            self.mailbox.set_runnable(instance.takes_calls());
        }
    }

    /// The store has a message no more that was handled.
    pub(super) fn let_go(&self, held: Held, bytes: usize) {
        let Held { sent_by, .. } = held;
        // Who is let in is seen by this worker.
        drop(self.mailbox.settle(&sent_by, bytes, Claim::Room));
    }
}

/// What a line of the log adds.
pub(super) fn delivered_again(attempts: Attempts, policy: &Policy) -> String {
    format!("; it is delivered again, {} of {} were in vain", attempts.deliveries, policy.deliveries)
}

/// How a delivery ended for the message; none when it has no part in that.
pub(super) fn failure(ended: &Ended) -> Option<Failure> {
    match ended {
        Ended::Refused(_) => Some(Failure::Error),
        Ended::NotKept(_) => None,
        Ended::Crashed(crash) if crash.kind == CrashKind::Deadline => Some(Failure::Deadline),
        Ended::Crashed(_) => Some(Failure::Crash),
    }
}

fn told(ended: &Ended) -> (String, CallError) {
    match ended {
        Ended::Refused(text) => (text.clone(), CallError::Failed(text.clone())),
        Ended::NotKept(text) => (text.clone(), CallError::NotKept(text.clone())),
        Ended::Crashed(crash) => (crash.text.clone(), CallError::Crashed(crash.text.clone())),
    }
}
