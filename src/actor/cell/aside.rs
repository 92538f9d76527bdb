//! Owns the calls of an actor that are about no message: how it is, what another version stored, that it is to stop.
//!
//! Each has its place between two messages, and none begins while a call waits for its commit.

use std::sync::Arc;
use std::sync::mpsc::Sender as Acknowledge;
use std::time::{Duration, Instant};

use super::super::core::{Core, Due, locked};
use super::super::instance::{Crash, CrashKind, Ended, Said};
use super::super::status::{ActorChange, ActorEvent, ActorPhase, Health};
use super::park::InHand;
use super::{ActorCell, Control, Seat};
use crate::host::health::HealthStatus;
use crate::logs::{Level, Source};

/// How often a component is asked how it is.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(10);

impl ActorCell {
    /// The timer says that the component is to be asked how it is.
    pub(in crate::actor) fn ask_health(self: &Arc<Self>, core: &Core, incarnation: u64) {
        self.order(core, Control::CheckHealth { incarnation });
    }

    /// Asks the instance how it is, now or when its call is over, and again after a while.
    pub(super) fn check_health(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, incarnation: u64) {
        if seat.incarnation != incarnation || seat.stopping.is_some() {
            return;
        }
        seat.health_timer = None;
        if seat.parked.is_some() {
            seat.is_health_due = true;
            return;
        }
        let Some(instance) = &mut seat.instance else { return };
        match instance.check_health() {
            Ok(None) => {}
            Ok(Some(health)) => {
                self.note_health(core, seat, health);
                self.plan_health(core, seat);
            }
            Err(crash) => self.crashed(core, seat, &crash, &format!("crashed when it was asked how it is: {crash}")),
        }
    }

    /// Sets the time at which the instance is asked next, if it can say how it is.
    pub(super) fn plan_health(self: &Arc<Self>, core: &Core, seat: &mut Seat) {
        let can_say = seat.instance.as_ref().is_some_and(|instance| instance.has_health());
        if can_say && seat.health_timer != Some(seat.incarnation) {
            let (cell, incarnation) = (Arc::downgrade(self), seat.incarnation);
            seat.health_timer = Some(incarnation);
            core.set_timer(Instant::now() + HEALTH_INTERVAL, Due::Health { cell, incarnation });
        }
    }

    fn note_health(&self, core: &Core, seat: &Seat, status: HealthStatus) {
        let (Some(instance), Some(version)) = (&seat.instance, &seat.version) else { return };
        let what = {
            let mut news = locked(&self.news);
            let before = news.health.take();
            let was = before.as_ref().map_or("healthy", |before| before.status.word());
            let what = (was != status.word()).then(|| match &status {
                HealthStatus::Healthy => ActorChange::Healthy,
                HealthStatus::Degraded(text) => ActorChange::Degraded(text.clone()),
                HealthStatus::Unhealthy(text) => ActorChange::Unhealthy(text.clone()),
            });
            let since = before.filter(|_| what.is_none()).map_or_else(Instant::now, |before| before.since);
            news.health = Some(Health { status: status.clone(), since });
            what
        };
        let Some(what) = what else { return };
        let level = if status == HealthStatus::Healthy { Level::Info } else { Level::Warn };
        let text = status.text().map_or_else(String::new, |text| format!(": {text}"));
        let line = format!("it says that it is {}{text}", status.word());
        version.log.for_instance(instance.number).write(level, Source::Host, &line);
        core.tell(&ActorEvent { name: version.record.spec.name.clone(), what });
    }

    /// Lets a new instance take over what `from` stored; before that it takes no message. `done` is dropped when it does,
    /// or never will.
    pub(super) fn migrate(
        self: &Arc<Self>,
        core: &Arc<Core>,
        seat: &mut Seat,
        from: Arc<str>,
        done: Option<Acknowledge<()>>,
    ) {
        let Some(instance) = &mut seat.instance else { return };
        match instance.migrate(Arc::clone(&from)) {
            Ok(Said { written: None, .. }) => {
                self.migrated(seat, &from);
                self.look_outside(core, seat);
            }
            Ok(Said { written: Some(written), .. }) => {
                self.park(core, seat, InHand::Migration { from, done }, *written);
            }
            Err(ended) => self.not_migrated(core, seat, &from, ended),
        }
    }

    /// What another version stored is its own now: it takes messages.
    pub(super) fn migrated(&self, seat: &Seat, from: &str) {
        let (Some(instance), Some(version)) = (&seat.instance, &seat.version) else { return };
        let line = format!("took over what version {from} stored");
        version.log.for_instance(instance.number).write(Level::Info, Source::Host, &line);
        self.enter(ActorPhase::Running, None);
        self.mailbox.set_runnable(instance.takes_calls());
    }

    /// It did not, so it is as good as crashed: it must take no message.
    pub(super) fn not_migrated(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, from: &str, ended: Ended) {
        let (kind, why) = match ended {
            Ended::Refused(text) | Ended::NotKept(text) => (CrashKind::Trap, text),
            Ended::Crashed(crash) => (crash.kind, crash.text),
        };
        let text = format!("it did not take over what version {from} stored: {why}");
        locked(&self.news).did_not_take_over = true;
        self.crashed(core, seat, &Crash { kind, text: text.clone() }, &text);
    }

    /// Whether the instance has yet to hear that it is to stop.
    pub(super) fn drain_is_due(&self, seat: &mut Seat) -> Option<Duration> {
        // Messages of the call before it that wait for room leave before its own.
        let may_hear = seat.instance.is_some() && seat.outside.as_ref().is_none_or(|ticket| ticket.strong_count() == 0);
        let stopping = seat.stopping.as_mut().filter(|_| may_hear)?;
        if std::mem::replace(&mut stopping.has_heard, true) {
            return None;
        }
        Some(stopping.drain_until.saturating_duration_since(Instant::now())).filter(|time| !time.is_zero())
    }

    /// Tells the instance that it is to stop.
    pub(super) fn drain(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, time: Duration) {
        let Some(instance) = &mut seat.instance else { return };
        match instance.drain(time) {
            None => {}
            Some(Ok(Said { written: None, .. })) => self.look_outside(core, seat),
            Some(Ok(Said { written: Some(written), .. })) => self.park(core, seat, InHand::Drain, *written),
            Some(Err(Ended::Refused(text) | Ended::NotKept(text))) => {
                self.refused(seat, &format!("what drain wrote was not kept: {text}"), text);
            }
            Some(Err(Ended::Crashed(crash))) => {
                self.crashed(core, seat, &crash, &format!("crashed at drain: {crash}"));
            }
        }
    }

    /// Asks how the component is, whenever that is due.
    #[cfg(test)]
    pub(in crate::actor) fn ask_health_now(self: &Arc<Self>, core: &Core) {
        let incarnation = locked(&self.seat).incarnation;
        self.ask_health(core, incarnation);
    }

    /// Whether that waits for a commit.
    #[cfg(test)]
    pub(in crate::actor) fn health_is_put_off(&self) -> bool {
        locked(&self.seat).is_health_due
    }
}
