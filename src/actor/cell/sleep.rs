//! Owns the sleep of an actor: without an instance, with its mailbox open, until the next message.
//!
//! Only for components whose manifest says that they keep nothing in memory between messages. To all others it looks
//! like an actor that runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::super::core::{Core, Job, Retired, locked};
use super::super::instance::Instance;
use super::life::not_started;
use super::{ActorCell, Control, Seat};
use crate::logs::{Level, Source};

impl ActorCell {
    /// Lets it sleep when it has taken nothing since this was called last.
    pub(in crate::actor) fn sleep_if_idle(self: &Arc<Self>, core: &Core) {
        let accepted = self.mailbox.accepted();
        let is_idle = self.accepted_before.swap(accepted, Ordering::Relaxed) == accepted;
        let may_sleep = || self.version().is_some_and(|version| version.record.artifact.stateless);
        if is_idle && may_sleep() && locked(&self.news).instance.is_some() {
            self.order(core, Control::Sleep);
        }
    }

    pub(super) fn sleep(self: &Arc<Self>, core: &Core, seat: &mut Seat) {
        let is_busy =
            seat.parked.is_some() || seat.outside.is_some() || seat.stopping.is_some() || !seat.batch.is_empty();
        if is_busy || !self.mailbox.is_empty() {
            return;
        }
        // An answer that is still to come is for this instance and no other; so is what it subscribed to by itself.
        let may_end = |instance: &mut Instance| {
            instance.takes_calls() && instance.requests().is_empty() && instance.topics().is_empty()
        };
        let Some(instance) = seat.instance.take_if(may_end) else { return };
        let Some(version) = seat.version.clone() else { return };
        version.log.for_instance(instance.number).write(Level::Debug, Source::Host, "asleep until the next message");
        let time = version.record.limits.stop.duration();
        core.scheduler().submit(Job::Retire(Box::new(Retired { instance, time, log: version.log.clone() })));
        seat.asleep = true;
        let mut news = locked(&self.news);
        news.instance = None;
        news.asleep = true;
        news.memory = Arc::default();
    }

    /// Makes an instance if it sleeps and something waits. Whether there is one.
    pub(super) fn wakes(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat) -> bool {
        if !seat.asleep || (seat.batch.is_empty() && self.mailbox.is_empty()) {
            return false;
        }
        let Some(version) = seat.version.clone() else { return false };
        seat.asleep = false;
        let started = Instance::start(&version, core);
        let mut news = locked(&self.news);
        news.asleep = false;
        match started {
            Ok(instance) => {
                let migrates_from = instance.migrates_from();
                (news.instance, news.memory) = (Some(instance.number), instance.memory_gauge());
                news.healthy_since.get_or_insert_with(Instant::now);
                drop(news);
                instance.belong_to(self);
                seat.instance = Some(instance);
                self.plan_health(core, seat);
                self.take_over(core, seat, migrates_from, None);
            }
            Err(ended) => {
                drop(news);
                let crash = not_started(ended);
                self.crashed(core, seat, &crash, &format!("did not wake up: {crash}"));
            }
        }
        seat.instance.is_some()
    }
}
