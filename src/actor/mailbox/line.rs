//! Decides what becomes of a message that comes to a full mailbox: the oldest makes room, or it is dropped itself, or it
//! waits outside, in line, for a limited time, and so does who sent it.
//!
//! Nobody is told anything under the lock of a mailbox: what is to be told is handed out, and told by its drop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::super::status::DeadReason;
use super::super::sync::{MutexGuard, Ordering};
use super::super::ticket::Ticket;
use super::room::Amount;
use super::{Envelope, Inner, Item, Mailbox, Put, SentBy};
use crate::limits::Overflow;

/// A message that waits for room.
pub(super) struct Outside {
    envelope: Envelope,
    until: Instant,
    ticket: Arc<Ticket>,
}

/// Who was let in. Dropped, it tells those that waited for it.
#[derive(Default)]
#[must_use = "a worker may have to be told"]
pub(in super::super) struct Freed {
    /// A worker must be told.
    pub(in super::super) wake: bool,
    _tickets: Vec<Arc<Ticket>>,
}

/// Those whose time outside is over.
#[derive(Default)]
pub(in super::super) struct Expired {
    pub(in super::super) envelopes: Vec<Envelope>,
    /// When to look again, if anybody is left.
    pub(in super::super) next: Option<Instant>,
    _tickets: Vec<Arc<Ticket>>,
}

impl<C> Mailbox<C> {
    /// Puts a message that holds a promise and no room.
    pub(super) fn put_promised(
        &self,
        mut inner: MutexGuard<'_, Inner<C>>,
        mut envelope: Envelope,
        ticket: Option<&dyn Fn() -> Arc<Ticket>>,
    ) -> Put {
        // Nobody overtakes those who wait since before the policy changed.
        let policy = if inner.line.is_empty() { self.overflow() } else { Overflow::Wait };
        if inner.line.is_empty() && self.enter(&mut inner, &mut envelope) {
            inner.queue.push_back(Item::Message(envelope));
            return Put { wake: inner.wake(), ..Put::default() };
        }
        match (policy, ticket) {
            (Overflow::Wait, Some(ticket)) => self.wait(inner, envelope, ticket()),
            (Overflow::DropOldest, _) => {
                let mut dead = Vec::new();
                while let Some(oldest) = self.drop_oldest(&mut inner) {
                    dead.push((oldest, DeadReason::Dropped));
                    if self.enter(&mut inner, &mut envelope) {
                        inner.queue.push_back(Item::Message(envelope));
                        return Put { wake: inner.wake(), dead, alarm: None };
                    }
                }
                dead.push((self.refuse(envelope), DeadReason::Dropped));
                Put { dead, ..Put::default() }
            }
            (Overflow::DropNewest | Overflow::Reject | Overflow::Wait, _) => {
                Put::dead(self.refuse(envelope), DeadReason::Dropped)
            }
        }
    }

    /// Exchanges the promise for room, if there is any.
    fn enter(&self, _inner: &mut Inner<C>, envelope: &mut Envelope) -> bool {
        let one = Amount::one(envelope.payload.len());
        let enters = self.room.take(one);
        if enters {
            self.end_promise(envelope);
        }
        enters
    }

    /// Ends the promise of a message that will not come in.
    fn refuse(&self, mut envelope: Envelope) -> Envelope {
        self.end_promise(&mut envelope);
        if let SentBy::Trigger { tick, .. } = &envelope.sent_by {
            tick.taken();
        }
        envelope
    }

    /// What comes in beyond the share of its sender takes none of it up any more: the line is its order.
    fn end_promise(&self, envelope: &mut Envelope) {
        let one = Amount::one(envelope.payload.len());
        self.promised.give_back(one);
        if let SentBy::Installation { share, .. } = &mut envelope.sent_by
            && let Some(share) = share.take()
        {
            share.give_back(one);
        }
    }

    /// The oldest message that is in no worker's hands. What holds an answer to a request is none.
    fn drop_oldest(&self, inner: &mut Inner<C>) -> Option<Envelope> {
        let at = inner.queue.iter().position(|item| matches!(item, Item::Message(_)))?;
        let Some(Item::Message(oldest)) = inner.queue.remove(at) else { return None };
        let one = Amount::one(oldest.payload.len());
        self.room.give_back(one);
        match &oldest.sent_by {
            SentBy::Installation { share: Some(share), .. } => share.give_back(one),
            SentBy::Trigger { tick, .. } => tick.taken(),
            SentBy::Installation { share: None, .. } | SentBy::Host | SentBy::Caller { .. } => {}
        }
        Some(oldest)
    }

    fn wait(&self, mut inner: MutexGuard<'_, Inner<C>>, envelope: Envelope, ticket: Arc<Ticket>) -> Put {
        let until = Instant::now() + self.longest_wait();
        inner.line.push_back(Outside { envelope, until, ticket });
        self.has_line.store(true, Ordering::SeqCst);
        let sets_alarm = !std::mem::replace(&mut inner.alarm, true);
        drop(inner);
        // Room that was given back before the flag was seen let nobody in.
        let freed = self.let_in();
        Put { wake: freed.wake, dead: Vec::new(), alarm: sets_alarm.then_some(until) }
    }

    /// Lets in who waits outside, as long as there is room. Cheap when nobody does.
    pub(super) fn let_in(&self) -> Freed {
        if !self.has_line.load(Ordering::SeqCst) {
            return Freed::default();
        }
        let mut inner = self.inner();
        let mut tickets = Vec::new();
        while let Some(mut first) = inner.line.pop_front() {
            if !self.enter(&mut inner, &mut first.envelope) {
                inner.line.push_front(first);
                break;
            }
            inner.queue.push_back(Item::Message(first.envelope));
            tickets.push(first.ticket);
        }
        self.has_line.store(!inner.line.is_empty(), Ordering::SeqCst);
        let wake = !tickets.is_empty() && inner.wake();
        Freed { wake, _tickets: tickets }
    }

    /// Takes out those whose time outside is over.
    pub(in super::super) fn expire(&self, now: Instant) -> Expired {
        let mut inner = self.inner();
        let mut expired = Expired::default();
        // A limit that was changed may have put a shorter time behind a longer one.
        let all = std::mem::take(&mut inner.line);
        for outside in all {
            if outside.until <= now {
                expired.envelopes.push(self.refuse(outside.envelope));
                expired._tickets.push(outside.ticket);
            } else {
                expired.next = Some(expired.next.map_or(outside.until, |next| next.min(outside.until)));
                inner.line.push_back(outside);
            }
        }
        inner.alarm = expired.next.is_some();
        self.has_line.store(!inner.line.is_empty(), Ordering::SeqCst);
        expired
    }

    /// Empties the mailbox. What waited outside waits no more.
    pub(in super::super) fn take_all(&self) -> VecDeque<Item> {
        let mut inner = self.inner();
        let mut items = std::mem::take(&mut inner.queue);
        let line = std::mem::take(&mut inner.line);
        self.has_line.store(false, Ordering::SeqCst);
        drop(inner);
        for outside in line {
            // The room that a message in the queue has is given back with it, so this one takes it over.
            items.push_back(Item::Message(self.move_in(outside.envelope)));
        }
        items
    }

    /// Exchanges the promise for room, whether there is any or not.
    fn move_in(&self, mut envelope: Envelope) -> Envelope {
        self.room.owe(Amount::one(envelope.payload.len()));
        self.end_promise(&mut envelope);
        envelope
    }
}
