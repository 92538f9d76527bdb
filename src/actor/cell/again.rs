//! Owns what becomes of a message that the store does not hold and that was not handled: it is delivered again if the
//! file of the component asks for that.
//!
//! Whether and when is decided in `attempts`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::attempts::{Attempts, Next};
use super::super::core::Core;
use super::super::instance::Ended;
use super::super::mailbox::{Envelope, Item, Origin, SentBy};
use super::super::reply::ReplySlot;
use super::super::status::DeadReason;
use super::kept::{delivered_again, failure};
use super::{ActorCell, Seat, author};
use crate::codec::Payload;

/// What makes a message whole again.
pub(super) struct Again {
    pub(super) sent_by: SentBy,
    pub(super) hops: u32,
    pub(super) expires: Option<Instant>,
}

impl Again {
    fn envelope(self, id: u64, payload: Payload, reply: Option<ReplySlot>) -> Envelope {
        let Self { sent_by, hops, expires } = self;
        // Whoever sent it was told when it was taken in hand the first time, and a breaker has heard of the end of that.
        let sent_by = match sent_by {
            SentBy::Installation { name, share: _, topic } => SentBy::Installation { name, share: None, topic },
            SentBy::Trigger { index, tick: _ } => SentBy::Trigger { index, tick: Arc::default() },
            SentBy::Host => SentBy::Host,
            // An operation is not delivered again: its caller is told.
            SentBy::Caller { operation } => SentBy::Caller { operation },
        };
        Envelope { id, sent_by, payload, hops, expires, reply, kept: None, outcome: None }
    }
}

impl ActorCell {
    /// A message ended badly in the instance's hands.
    pub(super) fn fails(
        self: &Arc<Self>,
        core: &Arc<Core>,
        seat: &mut Seat,
        (id, origin, payload): (u64, Origin, Payload),
        (reply, again): (Option<ReplySlot>, Option<Again>),
        ended: Ended,
    ) {
        let policy = seat.version.as_ref().and_then(|version| version.retry);
        let (Some(policy), Some(failure), Some(again)) = (policy, failure(&ended), again) else {
            return self.not_handled(core, seat, (id, origin, payload), (reply, DeadReason::Failed), ended);
        };
        let before = seat.again.take().filter(|(number, _)| *number == id);
        let (attempts, next) = before.map_or_else(Attempts::default, |(_, attempts)| attempts).after(failure, &policy);
        let Next::Again(wait) = next else {
            return self.not_handled(core, seat, (id, origin, payload), (reply, DeadReason::Poison), ended);
        };
        seat.again = Some((id, attempts));
        let envelope = again.envelope(id, payload, reply);
        // It waits, and has room like all that wait.
        self.mailbox.adopt(&envelope);
        seat.batch.push_front(Item::Message(envelope));
        let message = format!("message {id} from {}", author(&origin.sender));
        self.tell_again(core, seat, (&message, &delivered_again(attempts, &policy)), wait, ended);
    }

    fn tell_again(
        self: &Arc<Self>,
        core: &Arc<Core>,
        seat: &mut Seat,
        (message, what): (&str, &str),
        wait: Duration,
        ended: Ended,
    ) {
        match ended {
            Ended::Refused(text) => {
                self.refused(seat, &format!("{message} failed: {text}{what}"), text);
                self.rest(core, seat, wait);
            }
            Ended::NotKept(text) => self.refused(seat, &format!("{message} was not kept: {text}{what}"), text),
            // The wait before the restart is the wait before the next delivery.
            Ended::Crashed(crash) => {
                self.crashed(core, seat, &crash, &format!("crashed at {message}: {crash}{what}"));
            }
        }
    }
}
