//! Owns the time in which an actor does nothing because messages that it sent wait outside full mailboxes.
//!
//! It holds no thread meanwhile and takes words of the system as ever. The time of each message outside is bounded, so
//! two that wait for one another come free, whoever is first.

use std::sync::Arc;

use super::super::core::{Core, Due};
use super::{ActorCell, Seat};

impl ActorCell {
    /// Takes note of messages of the last call that wait outside.
    pub(super) fn look_outside(self: &Arc<Self>, core: &Core, seat: &mut Seat) {
        if let Some(ticket) = seat.instance.as_ref().and_then(|instance| instance.left_outside()) {
            seat.outside = Some(ticket);
            self.bound_outside(core, seat);
        }
    }

    /// Whether messages of the last call still wait outside. They do not end with their instance.
    pub(super) fn waits_for_room(&self, seat: &mut Seat) -> bool {
        let Some(ticket) = &seat.outside else { return false };
        if ticket.strong_count() > 0 {
            // Their end is a word of the system; until then nothing else is one to look for.
            self.mailbox.set_runnable(false);
            return true;
        }
        seat.outside = None;
        self.mailbox.set_runnable(seat.instance.as_ref().is_some_and(|instance| instance.takes_calls()));
        false
    }

    /// An actor that is to end works off its mailbox for its drain time and no longer, whatever it waits for.
    pub(super) fn bound_outside(self: &Arc<Self>, core: &Core, seat: &Seat) {
        if let (Some(_), Some(stopping)) = (&seat.outside, &seat.stopping) {
            core.set_timer(stopping.drain_until, Due::Look(Arc::downgrade(self)));
        }
    }
}
