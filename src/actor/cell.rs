//! Owns one actor over its life: messages taken in hand one at a time, versions, crashes, the end.
//!
//! Only the worker that has the actor from the run queue touches its seat; everyone else leaves words in
//! the mailbox. What a crash leads to is `supervisor`'s decision, where messages may go is `outbox`'s.

use std::collections::VecDeque;
use std::sync::mpsc::Sender as Acknowledge;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::core::{Core, Due, Job, Retired, locked};
use super::instance::{Call, Crash, Ended, Instance};
use super::mailbox::{BATCH, Envelope, Mailbox, Put};
use super::reply::CallError;
use super::status::{ActorChange, ActorEvent, ActorPhase, ActorStatus, Counters, DeadReason};
use super::supervisor::{Supervisor, Verdict};
use super::trigger::{self, Triggers};
use super::version::Version;
use crate::engine::EPOCH_TICK;
use crate::host::contract::{Message, Sender};
use crate::limits::Limits;
use crate::logs::{Level, Source};
use crate::name::InstallationName;

/// A word of the system to an actor. It comes before all messages.
pub(super) enum Control {
    /// Go on with another version.
    Activate(Box<Activation>),
    /// Work off what waits, within bounds, and end.
    Stop(StopOrder),
    /// The backoff is over.
    Start {
        /// The start that was meant.
        incarnation: u64,
    },
}

/// A version with an instance that is up.
pub(super) struct Activation {
    pub(super) version: Arc<Version>,
    pub(super) instance: Instance,
    /// Dropped when the instance takes messages, or when it never will.
    pub(super) done: Option<Acknowledge<()>>,
}

/// How an actor is to end.
pub(super) struct StopOrder {
    pub(super) drain: Duration,
    pub(super) stop: Duration,
    /// Dropped when the actor is gone.
    pub(super) done: Option<Acknowledge<()>>,
}

struct Stopping {
    drain_until: Instant,
    stop_until: Instant,
    _done: Vec<Acknowledge<()>>,
}

/// One actor.
pub(super) struct ActorCell {
    pub(super) mailbox: Mailbox<Control>,
    pub(super) counters: Counters,
    face: RwLock<Option<Arc<Version>>>,
    news: Mutex<News>,
    seat: Mutex<Seat>,
}

/// What status shows; kept apart from the seat, which is taken during calls.
struct News {
    phase: ActorPhase,
    since: Instant,
    activated: Instant,
    healthy_since: Option<Instant>,
    next_start: Option<Instant>,
    instance: Option<u64>,
    restarts: u64,
    crashes: u64,
    last_error: Option<String>,
    ticks: Arc<Triggers>,
}

/// What only the worker that has the actor touches.
struct Seat {
    version: Option<Arc<Version>>,
    instance: Option<Instance>,
    /// Taken from the mailbox and not yet in hand.
    batch: VecDeque<Envelope>,
    supervisor: Option<Supervisor>,
    /// Counts starts, so that a late timer starts nothing.
    incarnation: u64,
    stopping: Option<Stopping>,
}

impl ActorCell {
    /// An actor without a version: it takes no messages.
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let now = Instant::now();
        let news = News {
            phase: ActorPhase::Starting,
            since: now,
            activated: now,
            healthy_since: None,
            next_start: None,
            instance: None,
            restarts: 0,
            crashes: 0,
            last_error: None,
            ticks: Arc::default(),
        };
        let seat = Seat {
            version: None,
            instance: None,
            batch: VecDeque::new(),
            supervisor: None,
            incarnation: 0,
            stopping: None,
        };
        Arc::new(Self {
            mailbox: Mailbox::new(limits),
            counters: Counters::default(),
            face: RwLock::new(None),
            news: Mutex::new(news),
            seat: Mutex::new(seat),
        })
    }

    /// The active version.
    pub(super) fn version(&self) -> Option<Arc<Version>> {
        self.face.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a message for which room was taken.
    pub(super) fn accept(self: &Arc<Self>, core: &Core, envelope: Envelope) {
        match self.mailbox.put(envelope) {
            Put::Waits(true) => core.schedule(Arc::clone(self)),
            Put::Waits(false) => {}
            Put::Closed(envelope) => self.bury(envelope, DeadReason::Stopped),
        }
    }

    /// Leaves a word of the system.
    pub(super) fn order(self: &Arc<Self>, core: &Core, control: Control) {
        if self.mailbox.control(control) {
            core.schedule(Arc::clone(self));
        }
    }

    /// Stops taking messages now, and ends when what waits is worked off or the time is over.
    pub(super) fn order_stop(self: &Arc<Self>, core: &Core, order: StopOrder) {
        self.mailbox.close();
        self.enter(ActorPhase::Stopping, None);
        self.order(core, Control::Stop(order));
    }

    /// Puts the first version in place, before anyone else knows the actor.
    pub(super) fn activate_first(self: &Arc<Self>, core: &Arc<Core>, activation: Activation) {
        self.activate(core, &mut locked(&self.seat), activation);
    }

    /// Works off the mailbox until it is empty or others should have their turn. Called by workers alone.
    pub(super) fn run(self: &Arc<Self>, core: &Arc<Core>) {
        let mut seat = locked(&self.seat);
        for _ in 0..BATCH {
            for control in self.mailbox.controls() {
                self.obey(core, &mut seat, control);
            }
            if self.is_over(&mut seat) {
                self.end(core, &mut seat);
                break;
            }
            if seat.instance.is_none() {
                break;
            }
            let Some(envelope) = self.next_message(&mut seat) else { break };
            self.deliver(core, &mut seat, envelope);
            if core.scheduler().should_leave() {
                break;
            }
        }
        self.counters.set_memory(seat.instance.as_ref().map_or(0, Instance::memory_bytes));
        let batch_is_empty = seat.batch.is_empty();
        drop(seat);
        if self.mailbox.leave(batch_is_empty) {
            core.schedule(Arc::clone(self));
        }
    }

    fn next_message(&self, seat: &mut Seat) -> Option<Envelope> {
        if seat.batch.is_empty() {
            self.mailbox.take(&mut seat.batch);
        }
        seat.batch.pop_front()
    }

    fn deliver(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, envelope: Envelope) {
        self.mailbox.settle_sender(&envelope);
        if envelope.expires.is_some_and(|at| at <= Instant::now()) {
            return self.bury(envelope, DeadReason::Expired);
        }
        let (Some(instance), Some(version)) = (&mut seat.instance, &seat.version) else {
            return self.bury(envelope, DeadReason::Stopped);
        };
        let call = call_terms(&version.record.limits, envelope.hops, seat.stopping.as_ref());
        let Envelope { id, sent_by, payload, reply, .. } = envelope;
        let sender = sent_by.sender();
        match instance.handle(Message { id, sender: sender.clone(), payload }, &call) {
            Ok(answer) => {
                self.counters.handled();
                if let Some(reply) = reply {
                    reply.answer(Ok(answer));
                }
            }
            Err(Ended::Refused(text)) => {
                self.counters.dead(DeadReason::Failed);
                let line = format!("message {id} from {} failed: {text}", author(&sender));
                version.log.for_instance(instance.number).write(Level::Warn, Source::Host, &line);
                locked(&self.news).last_error = Some(text.clone());
                if let Some(reply) = reply {
                    reply.answer(Err(CallError::Failed(text)));
                }
            }
            Err(Ended::Crashed(crash)) => {
                self.counters.dead(DeadReason::Failed);
                let line = format!("crashed at message {id} from {}: {crash}", author(&sender));
                self.crashed(core, seat, &crash, &line);
                if let Some(reply) = reply {
                    reply.answer(Err(CallError::Crashed(crash.text)));
                }
            }
        }
    }

    fn obey(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, control: Control) {
        match control {
            // The system gives the name to another actor when this one is ending.
            Control::Activate(_) if seat.stopping.is_some() => {}
            Control::Activate(activation) => self.activate(core, seat, *activation),
            Control::Stop(order) => self.begin_stop(seat, order),
            Control::Start { incarnation } => {
                if seat.incarnation == incarnation && seat.instance.is_none() && seat.stopping.is_none() {
                    self.start(core, seat);
                }
            }
        }
    }

    fn activate(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, activation: Activation) {
        let Activation { version, instance, done } = activation;
        let now = Instant::now();
        let before = seat.version.replace(Arc::clone(&version));
        if let (Some(old), Some(before)) = (seat.instance.take(), before) {
            let time = before.record.limits.stop.duration();
            let retired = Retired { instance: old, time, log: before.log.clone() };
            core.scheduler().submit(Job::Retire(Box::new(retired)));
        }
        seat.incarnation += 1;
        let mut supervisor = Supervisor::new(version.record.spec.supervision.clone());
        supervisor.started(core.elapsed());
        seat.supervisor = Some(supervisor);
        let (triggers, ticking) = trigger::begin(self, &version.record.spec.triggers, now);
        *locked(&self.news) = News {
            phase: ActorPhase::Running,
            since: now,
            activated: now,
            healthy_since: Some(now),
            next_start: None,
            instance: Some(instance.number),
            restarts: 0,
            crashes: 0,
            last_error: None,
            ticks: Arc::new(triggers),
        };
        let takes_messages = instance.takes_messages();
        version.log.for_instance(instance.number).write(Level::Info, Source::Host, &activated_text(&version));
        seat.instance = Some(instance);
        self.mailbox.set_limits(&version.record.limits);
        *self.face.write().unwrap_or_else(PoisonError::into_inner) = Some(version);
        if takes_messages {
            self.mailbox.open();
            self.mailbox.set_runnable(true);
        } else {
            self.mailbox.close();
            self.mailbox.set_runnable(false);
            self.bury_all(seat);
        }
        core.registry.changed();
        for (at, ticking) in ticking {
            core.set_timer(at, Due::Tick(ticking));
        }
        drop(done);
    }

    fn start(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat) {
        let Some(version) = seat.version.clone() else { return };
        self.enter(ActorPhase::Starting, None);
        match Instance::start(&version, core) {
            Ok(instance) => {
                let now = Instant::now();
                let mut news = locked(&self.news);
                news.restarts += 1;
                news.healthy_since = Some(now);
                news.instance = Some(instance.number);
                drop(news);
                self.enter(ActorPhase::Running, None);
                version.log.for_instance(instance.number).write(Level::Info, Source::Host, "started again");
                if let Some(supervisor) = &mut seat.supervisor {
                    supervisor.started(core.elapsed());
                }
                self.mailbox.set_runnable(instance.takes_messages());
                seat.instance = Some(instance);
                core.tell(&ActorEvent { name: version.record.spec.name.clone(), what: ActorChange::Recovered });
            }
            Err(ended) => {
                let crash = not_started(ended);
                self.crashed(core, seat, &crash, &format!("did not start again: {crash}"));
            }
        }
    }

    fn crashed(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, crash: &Crash, line: &str) {
        let number = seat.instance.take().map_or(0, |instance| instance.number);
        let Some(version) = seat.version.clone() else { return };
        self.mailbox.set_runnable(false);
        let log = version.log.for_instance(number);
        log.write(Level::Error, Source::Host, line);
        {
            let mut news = locked(&self.news);
            news.crashes += 1;
            news.healthy_since = None;
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
                self.bury_all(seat);
                core.registry.changed();
            }
        }
        let what = match phase {
            ActorPhase::Failed => ActorChange::Failed(crash.text.clone()),
            _ => ActorChange::Crashed(crash.text.clone()),
        };
        core.tell(&ActorEvent { name: version.record.spec.name.clone(), what });
    }

    /// The timer says that the backoff is over.
    pub(super) fn start_again(self: &Arc<Self>, core: &Core, incarnation: u64) {
        self.order(core, Control::Start { incarnation });
    }

    fn begin_stop(&self, seat: &mut Seat, order: StopOrder) {
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
                seat.stopping = Some(Stopping { drain_until, stop_until, _done: order.done.into_iter().collect() });
            }
        }
    }

    fn is_over(&self, seat: &mut Seat) -> bool {
        let Some(stopping) = &seat.stopping else { return false };
        if seat.instance.is_none() || stopping.drain_until <= Instant::now() {
            return true;
        }
        if seat.batch.is_empty() {
            self.mailbox.take(&mut seat.batch);
        }
        seat.batch.is_empty()
    }

    fn end(self: &Arc<Self>, core: &Core, seat: &mut Seat) {
        let Some(stopping) = seat.stopping.take() else { return };
        self.mailbox.set_runnable(false);
        self.bury_all(seat);
        if let (Some(instance), Some(version)) = (seat.instance.take(), &seat.version) {
            let log = version.log.for_instance(instance.number);
            let left = stopping.stop_until.saturating_duration_since(Instant::now()).max(EPOCH_TICK);
            match instance.shut_down(left) {
                Ok(()) => log.write(Level::Info, Source::Host, "stopped"),
                Err(crash) => log.write(Level::Warn, Source::Host, &format!("stopped; shutdown: {crash}")),
            }
        }
        {
            let mut news = locked(&self.news);
            news.healthy_since = None;
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
    pub(super) fn vacate(&self) {
        let mut seat = locked(&self.seat);
        self.mailbox.close();
        seat.instance = None;
        seat.stopping = None;
        self.bury_all(&mut seat);
        drop(self.mailbox.controls());
        locked(&self.news).ticks = Arc::default();
        self.enter(ActorPhase::Stopped, None);
    }

    fn bury_all(&self, seat: &mut Seat) {
        for envelope in seat.batch.drain(..).chain(self.mailbox.take_all()) {
            self.mailbox.settle_sender(&envelope);
            self.bury(envelope, DeadReason::Stopped);
        }
    }

    /// Ends a message that is not handled. Its room was given back before.
    fn bury(&self, envelope: Envelope, reason: DeadReason) {
        self.counters.dead(reason);
        if let Some(reply) = envelope.reply {
            reply.answer(Err(match reason {
                DeadReason::Expired => CallError::TimedOut,
                DeadReason::Failed | DeadReason::Stopped => CallError::Stopped,
            }));
        }
    }

    fn enter(&self, phase: ActorPhase, next_start: Option<Instant>) {
        let mut news = locked(&self.news);
        news.phase = phase;
        news.since = Instant::now();
        news.next_start = next_start;
    }

    /// What the actor is doing.
    pub(super) fn phase(&self) -> ActorPhase {
        locked(&self.news).phase
    }

    /// Everything that others may know.
    pub(super) fn status(&self, name: InstallationName) -> Option<ActorStatus> {
        let version = self.version()?;
        let (mailbox_messages, mailbox_bytes) = self.mailbox.used();
        let counts = self.counters.counts(self.mailbox.accepted());
        let news = locked(&self.news);
        Some(ActorStatus {
            name,
            phase: news.phase,
            since: news.since,
            record: Arc::clone(&version.record),
            activated: news.activated,
            healthy_since: news.healthy_since,
            next_start: news.next_start,
            instance: news.instance,
            restarts: news.restarts,
            crashes: news.crashes,
            last_error: news.last_error.clone(),
            mailbox_messages,
            mailbox_bytes,
            counts,
            ticks_skipped: news.ticks.skipped(),
            memory_bytes: self.counters.memory(),
            log_lines_lost: version.log.lost(),
        })
    }
}

fn call_terms(limits: &Limits, hops: u32, stopping: Option<&Stopping>) -> Call {
    let mut time = limits.call.duration();
    if let Some(stopping) = stopping {
        time = time.min(stopping.stop_until.saturating_duration_since(Instant::now()));
    }
    Call { time, hops, sends: limits.sends }
}

fn author(sender: &Sender) -> String {
    match sender {
        Sender::Installation(name) => format!("`{name}`"),
        Sender::Trigger(index) => format!("trigger {index}"),
        Sender::Host => "the host".to_owned(),
    }
}

fn activated_text(version: &Version) -> String {
    let artifact = &version.record.artifact;
    format!("active: {} {} ({})", artifact.package, artifact.version, artifact.wasm.short())
}

/// A start that failed, as a crash.
pub(super) fn not_started(ended: Ended) -> Crash {
    match ended {
        Ended::Refused(text) => {
            Crash { kind: super::instance::CrashKind::Trap, text: format!("init answered with an error: {text}") }
        }
        Ended::Crashed(crash) => crash,
    }
}
