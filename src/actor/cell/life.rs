//! Owns the turns in an actor's life: a version becomes active, an instance crashes, the actor ends.
//!
//! What follows from a crash is `supervisor`'s decision; the messages between the turns are the parent's.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender as Acknowledge;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::super::core::{Core, Due, Job, Retired, locked};
use super::super::instance::{Crash, CrashKind, Ended, Instance};
use super::super::status::{ActorChange, ActorEvent, ActorPhase, Health};
use super::super::supervisor::{Supervisor, Verdict};
use super::super::trigger;
use super::super::version::Version;
use super::{Activation, ActorCell, News, Seat, StopOrder, Stopping};
use crate::engine::EPOCH_TICK;
use crate::logs::{Level, Source};

impl ActorCell {
    pub(super) fn activate(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, activation: Activation) {
        let Activation { version, instance, health, done } = activation;
        let now = Instant::now();
        let before = seat.version.replace(Arc::clone(&version));
        if before.as_ref().is_some_and(|before| before.storage_id.get() != version.storage_id.get()) {
            self.leave_kept(core, seat);
        }
        if let (Some(old), Some(before)) = (seat.instance.take(), before) {
            old.topics().end();
            let time = before.record.limits.stop.duration();
            let retired = Retired { instance: old, time, log: before.log.clone() };
            core.scheduler().submit(Job::Retire(Box::new(retired)));
        }
        seat.asleep = false;
        seat.incarnation += 1;
        let mut supervisor = Supervisor::new(version.record.spec.supervision.clone());
        supervisor.started(core.elapsed());
        seat.supervisor = Some(supervisor);
        let (triggers, ticking) = trigger::begin(self, &version.record.spec.triggers, now);
        let migrates_from = instance.migrates_from();
        let is_ready = matches!(migrates_from, Ok(None));
        seat.is_health_due = false;
        *locked(&self.news) = News {
            phase: if is_ready { ActorPhase::Running } else { ActorPhase::Starting },
            since: now,
            activated: now,
            healthy_since: Some(now),
            next_start: None,
            instance: Some(instance.number),
            restarts: 0,
            crashes: 0,
            last_error: None,
            asleep: false,
            health: health.map(|status| Health { status, since: now }),
            did_not_take_over: false,
            ticks: Arc::new(triggers),
            memory: instance.memory_gauge(),
        };
        let (messages, operations) = (version.linked.takes_messages(), version.linked.takes_operations());
        let subscriptions = version.record.spec.subscriptions.clone();
        instance.belong_to(self);
        version.log.for_instance(instance.number).write(Level::Info, Source::Host, &activated_text(&version));
        seat.instance = Some(instance);
        let freed = self.mailbox.set_limits(&version.record.limits);
        self.mailbox.set_codecs(version.record.artifact.codecs.set());
        self.mailbox.set_takes(messages, operations);
        if version.record.artifact.stateless {
            core.watch_for_idle();
        }
        seat.rest = None;
        self.waits.store(version.record.effective.waits(), Ordering::Relaxed);
        *self.face.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&version));
        let opens = if messages {
            self.open_mailbox(core, &version)
        } else {
            self.keep_operations(core, seat);
            operations
        };
        if opens {
            self.mailbox.open();
            self.mailbox.set_runnable(is_ready);
        } else {
            self.mailbox.close();
            self.mailbox.set_runnable(false);
            self.bury_all(core, seat);
        }
        self.freed(core, freed);
        // The new subscription is there before the old one goes.
        seat.declared = core.topics.subscribe(self, subscriptions);
        core.registry.changed();
        for (at, ticking) in ticking {
            core.set_timer(at, Due::Tick(ticking));
        }
        self.plan_health(core, seat);
        self.take_over(core, seat, migrates_from, done);
    }

    /// Lets a new instance take over what another version stored, if there is such.
    pub(super) fn take_over(
        self: &Arc<Self>,
        core: &Arc<Core>,
        seat: &mut Seat,
        migrates_from: Result<Option<Arc<str>>, String>,
        done: Option<Acknowledge<()>>,
    ) {
        match migrates_from {
            Ok(None) => drop(done),
            Ok(Some(from)) => self.migrate(core, seat, from, done),
            Err(why) => self.not_migrated(core, seat, "?", Ended::NotKept(why)),
        }
    }

    pub(super) fn start(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat) {
        let Some(version) = seat.version.clone() else { return };
        self.enter(ActorPhase::Starting, None);
        match Instance::start(&version, core) {
            Ok(instance) => {
                let now = Instant::now();
                let migrates_from = instance.migrates_from();
                let is_ready = matches!(migrates_from, Ok(None));
                seat.is_health_due = false;
                let mut news = locked(&self.news);
                news.restarts += 1;
                news.health = None;
                news.did_not_take_over = false;
                news.healthy_since = Some(now);
                news.instance = Some(instance.number);
                news.memory = instance.memory_gauge();
                drop(news);
                if is_ready {
                    self.enter(ActorPhase::Running, None);
                }
                version.log.for_instance(instance.number).write(Level::Info, Source::Host, "started again");
                if let Some(supervisor) = &mut seat.supervisor {
                    supervisor.started(core.elapsed());
                }
                // A rest that began before the restart goes on.
                self.mailbox.set_runnable(is_ready && instance.takes_calls() && seat.rest.is_none());
                instance.belong_to(self);
                seat.instance = Some(instance);
                self.take_over(core, seat, migrates_from, None);
                if seat.instance.is_none() {
                    return;
                }
                core.tell(&ActorEvent { name: version.record.spec.name.clone(), what: ActorChange::Recovered });
                // It has not said yet how it is, as a standby has.
                self.check_health(core, seat, seat.incarnation);
            }
            Err(ended) => {
                let crash = not_started(ended);
                self.crashed(core, seat, &crash, &format!("did not start again: {crash}"));
            }
        }
    }

    pub(super) fn crashed(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, crash: &Crash, line: &str) {
        for control in self.abandon(seat) {
            self.order(core, control);
        }
        let number = seat.instance.take().map_or(0, |instance| instance.number);
        let Some(version) = seat.version.clone() else { return };
        self.mailbox.set_runnable(false);
        let log = version.log.for_instance(number);
        log.write(Level::Error, Source::Host, line);
        {
            let mut news = locked(&self.news);
            news.crashes += 1;
            news.healthy_since = None;
            news.health = None;
            news.instance = None;
            news.last_error = Some(crash.text.clone());
        }
        if seat.stopping.is_some() {
            return;
        }
        let Some(supervisor) = &mut seat.supervisor else { return };
        let verdict = supervisor.crashed(core.elapsed(), core.random());
        let (phase, wait) = match verdict {
            Verdict::Restart(wait) => (ActorPhase::Backoff, Some(wait)),
            Verdict::Failed(wait) => (ActorPhase::Failed, wait),
        };
        let next_start = wait.map(|wait| Instant::now() + wait);
        self.enter(phase, next_start);
        match next_start {
            Some(at) => {
                seat.incarnation += 1;
                let (cell, incarnation) = (Arc::downgrade(self), seat.incarnation);
                core.set_timer(at, Due::Restart { cell, incarnation });
            }
            None => {
                log.write(Level::Error, Source::Host, "it is not started again: its file says so");
                self.mailbox.close();
                self.bury_all(core, seat);
                core.registry.changed();
            }
        }
        let what = match phase {
            ActorPhase::Failed => ActorChange::Failed(crash.text.clone()),
            _ => ActorChange::Crashed(crash.text.clone()),
        };
        core.tell(&ActorEvent { name: version.record.spec.name.clone(), what });
    }

    pub(super) fn begin_stop(&self, seat: &mut Seat, order: StopOrder) {
        // A crash or a start between the order and now may have said something else.
        self.mailbox.close();
        self.enter(ActorPhase::Stopping, None);
        let now = Instant::now();
        let (drain_until, stop_until) = (now + order.drain.min(order.stop), now + order.stop);
        match &mut seat.stopping {
            // Who asks twice gets the shorter time.
            Some(stopping) => {
                stopping.drain_until = stopping.drain_until.min(drain_until);
                stopping.stop_until = stopping.stop_until.min(stop_until);
                stopping._done.extend(order.done);
            }
            None => {
                let done = order.done.into_iter().collect();
                seat.stopping = Some(Stopping { drain_until, stop_until, has_heard: false, _done: done });
            }
        }
    }

    pub(super) fn is_over(&self, seat: &Seat) -> bool {
        let Some(stopping) = &seat.stopping else { return false };
        // What the store holds stays there: nothing has to be worked off.
        if self.mail_id().is_some() || seat.rest.is_some() {
            return true;
        }
        if (seat.instance.is_none() && !seat.asleep) || stopping.drain_until <= Instant::now() {
            return true;
        }
        let has_heard = stopping.has_heard || seat.instance.is_none();
        has_heard && seat.batch.is_empty() && self.mailbox.is_empty()
    }

    pub(super) fn end(self: &Arc<Self>, core: &Core, seat: &mut Seat) {
        let Some(stopping) = seat.stopping.take() else { return };
        self.mailbox.set_runnable(false);
        seat.declared = None;
        self.bury_all(core, seat);
        if let (Some(instance), Some(version)) = (seat.instance.take(), &seat.version) {
            let log = version.log.for_instance(instance.number);
            let left = stopping.stop_until.saturating_duration_since(Instant::now()).max(EPOCH_TICK);
            instance.topics().end();
            match instance.shut_down(left) {
                Ok(()) => log.write(Level::Info, Source::Host, "stopped"),
                Err(crash) => log.write(Level::Warn, Source::Host, &format!("stopped; shutdown: {crash}")),
            }
        }
        {
            let mut news = locked(&self.news);
            news.healthy_since = None;
            news.health = None;
            news.instance = None;
            news.ticks = Arc::default();
        }
        self.enter(ActorPhase::Stopped, None);
        if let Some(version) = &seat.version {
            core.registry.remove(&version.record.spec.name, self);
        }
        // Whoever waits for the end is told by the drop of `stopping`.
    }

    /// Drops the instance and all messages, when the threads are gone.
    pub(in crate::actor) fn vacate(&self, core: &Core) {
        let mut seat = locked(&self.seat);
        self.mailbox.close();
        drop(self.abandon(&mut seat));
        seat.instance = None;
        seat.declared = None;
        seat.stopping = None;
        self.bury_all(core, &mut seat);
        drop(self.mailbox.controls());
        locked(&self.news).ticks = Arc::default();
        self.enter(ActorPhase::Stopped, None);
    }
}

fn activated_text(version: &Version) -> String {
    let artifact = &version.record.artifact;
    format!("active: {} {} ({})", artifact.package, artifact.version, artifact.wasm.short())
}

/// A start that failed, as a crash.
pub(in crate::actor) fn not_started(ended: Ended) -> Crash {
    match ended {
        Ended::Refused(text) | Ended::NotKept(text) => {
            Crash { kind: CrashKind::Trap, text: format!("init answered with an error: {text}") }
        }
        Ended::Crashed(crash) => crash,
    }
}
