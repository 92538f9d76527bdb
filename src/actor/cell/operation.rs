//! Owns the calls from outside: an operation has its place between two messages, and is delivered like one.
//!
//! Nobody but its caller needs to hear how it ended, so it leaves no dead letter; it is counted and logged like a message.

use std::sync::Arc;

use super::super::core::Core;
use super::super::instance::{Circumstances, Said};
use super::super::mailbox::{Envelope, Item};
use super::super::status::DeadReason;
use super::park::InHand;
use super::{ActorCell, Seat, time_left};
use crate::codec::Payload;
use crate::name::OperationName;

impl ActorCell {
    /// Lets the instance carry out an operation, for which the room was given back before.
    pub(super) fn execute(
        self: &Arc<Self>,
        core: &Arc<Core>,
        seat: &mut Seat,
        operation: &OperationName,
        envelope: Envelope,
    ) {
        let Some(instance) = &mut seat.instance else {
            return seat.batch.push_front(Item::Message(envelope));
        };
        let Envelope { id, sent_by, payload, reply, hops, expires, .. } = envelope;
        let (origin, bytes, left) = (sent_by.origin(), payload.len(), time_left(&seat.stopping));
        let circumstances = Circumstances { hops, until: expires, left, mail: None };
        match instance.execute(operation, payload, circumstances) {
            Ok(Said { answer, written: None }) => self.handled(reply, Some(answer), None),
            Ok(Said { answer, written: Some(written) }) => {
                let (answer, held, outcome) = (Some(answer), None, None);
                self.park(core, seat, InHand::Message { id, origin, reply, answer, held, bytes, outcome }, *written);
            }
            Err((ended, refusal)) => {
                let nothing = Payload::from(Vec::new());
                let error = self.failed(core, seat, (id, origin, nothing), DeadReason::Failed, ended);
                if let Some(reply) = reply {
                    reply.answer(Err(refusal.unwrap_or(error)));
                }
            }
        }
    }
}
