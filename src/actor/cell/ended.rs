//! Owns how a call ends for what it was about: counted, answered, told, and kept when it failed.
//!
//! Whether it ended well was known before, with its commit.

use std::sync::Arc;

use super::super::breaker::{End, Outcome};
use super::super::core::{Core, locked};
use super::super::instance::Ended;
use super::super::mailbox::Origin;
use super::super::reply::{CallError, ReplySlot};
use super::super::status::DeadReason;
use super::{ActorCell, Seat, titled};
use crate::codec::Payload;
use crate::logs::{Level, Source};

impl ActorCell {
    /// Ends a message with which the call in hand ended well.
    pub(super) fn handled(&self, reply: Option<ReplySlot>, answer: Option<Payload>, outcome: Option<Box<Outcome>>) {
        if let Some(outcome) = outcome {
            outcome.ended(End::Well);
        }
        self.counters.handled();
        if let Some(reply) = reply {
            reply.answer(Ok(answer));
        }
    }

    /// Ends a message with which the call in hand ended badly.
    pub(super) fn not_handled(
        self: &Arc<Self>,
        core: &Arc<Core>,
        seat: &mut Seat,
        message: (u64, Origin, Payload),
        (reply, reason): (Option<ReplySlot>, DeadReason),
        ended: Ended,
    ) {
        let error = self.failed(core, seat, message, reason, ended);
        if let Some(reply) = reply {
            reply.answer(Err(error));
        }
    }

    /// The same but for the answer, which is to be given after it.
    pub(super) fn failed(
        self: &Arc<Self>,
        core: &Arc<Core>,
        seat: &mut Seat,
        message: (u64, Origin, Payload),
        reason: DeadReason,
        ended: Ended,
    ) -> CallError {
        let author = titled(message.0, &message.1);
        let why = match &ended {
            Ended::Refused(text) | Ended::NotKept(text) => text.clone(),
            Ended::Crashed(crash) => crash.text.clone(),
        };
        if let Some(version) = &seat.version {
            self.keep(message, version, reason, Some(why.clone()));
        }
        let error = match ended {
            Ended::Refused(text) => {
                self.refused(seat, &format!("{author} failed: {text}"), text);
                CallError::Failed(why)
            }
            Ended::NotKept(text) => {
                self.refused(seat, &format!("{author} was not kept: {text}"), text);
                CallError::NotKept(why)
            }
            Ended::Crashed(crash) => {
                self.crashed(core, seat, &crash, &format!("crashed at {author}: {crash}"));
                CallError::Crashed(why)
            }
        };
        // Counted when all that is told of it stands: who sees the number finds the letter, the line and the reason.
        self.counters.dead(reason);
        error
    }

    /// The call in hand ended with an error, and the instance goes on.
    pub(super) fn refused(&self, seat: &Seat, line: &str, text: String) {
        if let (Some(instance), Some(version)) = (&seat.instance, &seat.version) {
            version.log.for_instance(instance.number).write(Level::Warn, Source::Host, line);
        }
        locked(&self.news).last_error = Some(text);
    }
}
