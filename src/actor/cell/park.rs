//! Owns the time between the end of a call and the commit of what it wrote: the actor is parked, and the thread that
//! ran it goes on with other actors.
//!
//! The answer of the store comes as a word of the system, like any other. Until then nothing of the call is visible:
//! no reply, no message; no other call of the actor begins, and no other version of it.

use std::sync::Arc;
use std::sync::mpsc::Sender as Acknowledge;
use std::time::Instant;

use super::super::breaker::Outcome;
use super::super::core::{Core, Due, Job};
use super::super::instance::Ended;
use super::super::mailbox::Origin;
use super::super::reply::{CallError, ReplySlot};
use super::super::status::DeadReason;
use super::kept::Held;
use super::{ActorCell, Control, Seat};
use crate::codec::Payload;
use crate::storage::{StoreError, Written};

/// Said when the actor ends before the store has answered.
const NOBODY_KNOWS: &str = "it was stopped before the store had answered; what this call wrote may be kept, and what it \
                            sent is not";

/// A call that is over but for its commit.
pub(super) struct Parked {
    in_hand: InHand,
    /// Which of the actor's commits it is.
    number: u64,
    /// Versions and configs that are to come after it.
    put_off: Vec<Control>,
}

/// What the call was for.
pub(super) enum InHand {
    Message {
        id: u64,
        origin: Origin,
        reply: Option<ReplySlot>,
        answer: Option<Payload>,
        /// The store holds it: with the commit it has ended there.
        held: Option<Box<Held>>,
        /// Length of its payload.
        bytes: usize,
        outcome: Option<Box<Outcome>>,
    },
    Callback {
        id: u64,
    },
    Migration {
        from: Arc<str>,
        done: Option<Acknowledge<()>>,
    },
    Drain,
}

impl Parked {
    pub(super) fn put_off(&mut self, control: Control) {
        self.put_off.push(control);
    }
}

impl ActorCell {
    /// Brings what the call in hand wrote to the store. The actor does nothing until the store has answered.
    pub(super) fn park(self: &Arc<Self>, core: &Core, seat: &mut Seat, in_hand: InHand, written: Written) {
        seat.commits += 1;
        let number = seat.commits;
        seat.parked = Some(Box::new(Parked { in_hand, number, put_off: Vec::new() }));
        self.mailbox.set_runnable(false);
        self.bound_commit(core, seat);
        let (cell, jobs) = (Arc::downgrade(self), core.scheduler().entrance());
        written.keep(Box::new(move |result| {
            let result = result.map(drop);
            let Some(cell) = cell.upgrade() else { return };
            if cell.mailbox.control(Control::Committed { number, result }) {
                jobs.submit(Job::Actor(cell));
            }
        }));
    }

    /// An actor that is to end does not wait for a commit beyond its time.
    pub(super) fn bound_commit(self: &Arc<Self>, core: &Core, seat: &Seat) {
        if let (Some(_), Some(stopping)) = (&seat.parked, &seat.stopping) {
            core.set_timer(stopping.stop_until, Due::Look(Arc::downgrade(self)));
        }
    }

    /// The store has answered: the call ends, well or not.
    pub(super) fn unpark(
        self: &Arc<Self>,
        core: &Arc<Core>,
        seat: &mut Seat,
        number: u64,
        result: Result<(), StoreError>,
    ) {
        let Some(parked) = seat.parked.take_if(|parked| parked.number == number) else { return };
        let Parked { in_hand, put_off, .. } = *parked;
        let Some(instance) = &mut seat.instance else { return };
        self.mailbox.set_runnable(instance.takes_calls());
        match result {
            Ok(()) => {
                instance.kept();
                // Told before anything else may begin.
                let outside = instance.left_outside();
                match in_hand {
                    InHand::Message { reply, answer, held, bytes, outcome, .. } => {
                        if let Some(held) = held {
                            self.let_go(*held, bytes);
                        }
                        self.handled(reply, answer, outcome);
                    }
                    InHand::Migration { from, done } => {
                        self.migrated(seat, &from);
                        drop(done);
                    }
                    InHand::Callback { .. } | InHand::Drain => {}
                }
                if outside.is_some() {
                    seat.outside = outside;
                    self.bound_outside(core, seat);
                }
            }
            Err(error) => {
                let (payload, text) = (instance.not_kept(), error.to_string());
                match in_hand {
                    // Somebody else ended it: another actor with this storage, or a purge.
                    InHand::Message { held: Some(held), id, reply, .. } if error == StoreError::Ended => {
                        self.mailbox.leave_in_store(&held.envelope(id, payload, None));
                        drop(reply);
                    }
                    InHand::Message { held: Some(held), id, reply, .. } => {
                        self.not_handled_yet(core, seat, held.envelope(id, payload, reply), Ended::NotKept(text));
                    }
                    InHand::Message { id, origin, reply, .. } => {
                        let end = (reply, DeadReason::Failed);
                        self.not_handled(core, seat, (id, origin, payload), end, Ended::NotKept(text));
                    }
                    InHand::Callback { id } => {
                        self.refused(seat, &format!("the answer to request {id} was not kept: {text}"), text);
                    }
                    InHand::Migration { from, done } => {
                        self.not_migrated(core, seat, &from, Ended::NotKept(text));
                        drop(done);
                    }
                    InHand::Drain => self.refused(seat, &format!("what drain wrote was not kept: {text}"), text),
                }
            }
        }
        if std::mem::take(&mut seat.is_health_due) {
            self.check_health(core, seat, seat.incarnation);
        }
        for control in put_off {
            self.obey(core, seat, control);
        }
    }

    /// Whether the time of an actor that is to end is over; then its parked call is given up.
    pub(super) fn gives_up(&self, seat: &mut Seat) -> bool {
        let over = seat.stopping.as_ref().is_some_and(|stopping| stopping.stop_until <= Instant::now());
        if over {
            // A version that was to follow has nothing to follow any more.
            drop(self.abandon(seat));
        }
        over
    }

    /// Gives the parked call up, if there is one: it failed, as far as anybody can know. Gives the versions and
    /// configs that were to come after it.
    pub(super) fn abandon(&self, seat: &mut Seat) -> Vec<Control> {
        let Some(parked) = seat.parked.take() else { return Vec::new() };
        let payload = seat.instance.as_mut().map(|instance| instance.not_kept());
        // Whatever is parked has its instance.
        let payload = payload.unwrap_or_else(|| Payload::from(Vec::new()));
        let Parked { in_hand, put_off, .. } = *parked;
        match in_hand {
            // The store has it still, or has what the call wrote.
            InHand::Message { held: Some(held), id, reply, .. } => {
                self.mailbox.leave_in_store(&held.envelope(id, payload, None));
                if let Some(reply) = reply {
                    reply.answer(Err(CallError::NotKept(NOBODY_KNOWS.to_owned())));
                }
            }
            InHand::Message { id, origin, reply, .. } => {
                if let Some(version) = &seat.version {
                    self.keep((id, origin, payload), version, DeadReason::Failed, Some(NOBODY_KNOWS.to_owned()));
                }
                self.counters.dead(DeadReason::Failed);
                if let Some(reply) = reply {
                    reply.answer(Err(CallError::NotKept(NOBODY_KNOWS.to_owned())));
                }
            }
            InHand::Callback { id } => {
                self.refused(seat, &format!("the answer to request {id}: {NOBODY_KNOWS}"), NOBODY_KNOWS.to_owned());
            }
            InHand::Migration { from, done } => {
                let line = format!("what version {from} stored: {NOBODY_KNOWS}");
                self.refused(seat, &line, NOBODY_KNOWS.to_owned());
                drop(done);
            }
            InHand::Drain => self.refused(seat, &format!("drain: {NOBODY_KNOWS}"), NOBODY_KNOWS.to_owned()),
        }
        put_off
    }

    /// Versions that wait for the commit of the call that is parked.
    #[cfg(test)]
    pub(in crate::actor) fn versions_put_off(&self) -> usize {
        super::locked(&self.seat).parked.as_ref().map_or(0, |parked| parked.put_off.len())
    }
}
