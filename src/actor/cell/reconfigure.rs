//! Owns the way of a new config into a running instance: between two messages, and all of it or nothing.

use std::sync::Arc;
use std::sync::mpsc::Sender as Acknowledge;
use std::time::Instant;

use super::super::core::{Core, locked};
use super::super::instance::Ended;
use super::super::version::Version;
use super::{ActorCell, Control, PoisonError, Seat};
use crate::logs::{Level, Source};

/// A version that differs from the active one by its config alone.
pub(in crate::actor) struct Reconfiguration {
    pub(in crate::actor) version: Arc<Version>,
    /// Is told how it ended; dropped when the actor ends first.
    pub(in crate::actor) answer: Acknowledge<Result<(), String>>,
}

impl ActorCell {
    pub(super) fn reconfigure(
        self: &Arc<Self>,
        core: &Arc<Core>,
        seat: &mut Seat,
        reconfiguration: Box<Reconfiguration>,
    ) {
        if seat.stopping.is_some() {
            return;
        }
        if let Some(parked) = &mut seat.parked {
            return parked.put_off(Control::Reconfigure(reconfiguration));
        }
        let Reconfiguration { version, answer } = *reconfiguration;
        let told = match &mut seat.instance {
            Some(instance) => instance.reconfigure(&version),
            // The next one starts with it.
            None => Ok(()),
        };
        let result = match told {
            Ok(()) => {
                self.has_config(seat, version);
                Ok(())
            }
            Err(Ended::Refused(text) | Ended::NotKept(text)) => {
                // Who does not wait any more for the answer finds out in this way.
                locked(&self.news).did_not_take_over = true;
                self.refused(seat, &format!("keeps its old config: {text}"), text.clone());
                Err(text)
            }
            Err(Ended::Crashed(crash)) => {
                self.crashed(core, seat, &crash, &format!("crashed at reconfigure: {crash}"));
                Err(crash.text)
            }
        };
        // Nobody may wait any more.
        let _ = answer.send(result);
    }

    /// Who gave the config has heard that it was refused, and takes it back.
    pub(in crate::actor) fn refusal_is_known(&self) {
        locked(&self.news).did_not_take_over = false;
    }

    fn has_config(&self, seat: &mut Seat, version: Arc<Version>) {
        {
            let mut news = locked(&self.news);
            news.activated = Instant::now();
            news.did_not_take_over = false;
            (news.restarts, news.crashes, news.last_error) = (0, 0, None);
        }
        if let Some(instance) = &seat.instance {
            version.log.for_instance(instance.number).write(Level::Info, Source::Host, "has its new config");
        }
        seat.version = Some(Arc::clone(&version));
        *self.face.write().unwrap_or_else(PoisonError::into_inner) = Some(version);
    }
}
