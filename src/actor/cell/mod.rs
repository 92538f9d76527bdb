//! Owns one actor over its life: messages taken in hand one at a time, versions, crashes, the end.
//!
//! Only the worker that has the actor from the run queue touches its seat; everyone else leaves words in
//! the mailbox. What a crash leads to is `supervisor`'s decision, where messages may go is `outbox`'s.

mod again;
mod aside;
mod ended;
mod kept;
mod life;
mod operation;
mod outside;
mod park;
mod reconfigure;
mod sleep;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender as Acknowledge;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::attempts::Attempts;
use super::core::{Core, Due, locked};
use super::dead::{DeadLetter, DeadLetters};
use super::instance::{Circumstances, Crash, CrashKind, Ended, Instance, Said};
use super::mailbox::{BATCH, Claim, Envelope, Freed, Item, Mailbox, Origin, Put, SentBy, Share};
use super::reply::CallError;
use super::request::Callback;
use super::status::{ActorPhase, ActorStatus, CodecCounts, Counters, DeadReason, Health};
use super::supervisor::Supervisor;
use super::ticket::Ticket;
use super::topics::{OwnTopics, Subscription};
use super::trigger::Triggers;
use super::version::Version;
use crate::codec::Payload;
use crate::host::contract::{Message, Sender};
use crate::host::health::HealthStatus;
use crate::limits::Limits;
use crate::name::InstallationName;
use crate::storage::{MailSet, StoreError};

use again::Again;
pub use aside::HEALTH_INTERVAL;
use kept::Held;
pub(in crate::actor) use life::not_started;
use park::{InHand, Parked};
pub(in crate::actor) use reconfigure::Reconfiguration;

/// A word of the system to an actor. It comes before all messages.
pub(in crate::actor) enum Control {
    /// Go on with another version.
    Activate(Box<Activation>),
    /// Go on with another config.
    Reconfigure(Box<Reconfiguration>),
    /// Work off what waits, within bounds, and end.
    Stop(StopOrder),
    /// The backoff is over.
    Start {
        /// The start that was meant.
        incarnation: u64,
    },
    /// It is known whether what a call wrote is kept.
    Committed {
        /// Which commit of this actor it was.
        number: u64,
        result: Result<(), StoreError>,
    },
    /// Look at the time.
    Look,
    /// Go without an instance until the next message, if there is nothing that speaks against it.
    Sleep,
    /// Ask the component how it is.
    CheckHealth {
        /// The start since which it is asked.
        incarnation: u64,
    },
}

/// A version with an instance that is up.
pub(in crate::actor) struct Activation {
    pub(in crate::actor) version: Arc<Version>,
    pub(in crate::actor) instance: Instance,
    /// How it is, as it said when it was made ready.
    pub(in crate::actor) health: Option<HealthStatus>,
    /// Dropped when the instance takes messages, or when it never will.
    pub(in crate::actor) done: Option<Acknowledge<()>>,
}

/// How an actor is to end.
pub(in crate::actor) struct StopOrder {
    pub(in crate::actor) drain: Duration,
    pub(in crate::actor) stop: Duration,
    /// Dropped when the actor is gone.
    pub(in crate::actor) done: Option<Acknowledge<()>>,
}

struct Stopping {
    drain_until: Instant,
    stop_until: Instant,
    /// The instance knows, or there is nothing to tell it.
    has_heard: bool,
    _done: Vec<Acknowledge<()>>,
}

/// One actor.
pub(in crate::actor) struct ActorCell {
    pub(in crate::actor) mailbox: Mailbox<Control>,
    pub(in crate::actor) counters: Counters,
    dead: Arc<DeadLetters>,
    /// The storage id under which its messages are kept; 0 when they are not.
    mail_id: AtomicU64,
    /// Whether a call of its component may wait for something.
    waits: AtomicBool,
    /// Of those whose messages are kept.
    shares: Mutex<BTreeMap<InstallationName, Arc<Share>>>,
    face: RwLock<Option<Arc<Version>>>,
    news: Mutex<News>,
    seat: Mutex<Seat>,
    /// What the running instance subscribes to by itself.
    pub(in crate::actor) own_topics: Mutex<Weak<OwnTopics>>,
    /// Messages accepted ever, when somebody last looked whether it is idle.
    accepted_before: AtomicU64,
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
    asleep: bool,
    /// What the component said last about itself.
    health: Option<Health>,
    /// This version did not take over: what another one stored, or its config.
    did_not_take_over: bool,
    ticks: Arc<Triggers>,
    /// Memory of the running instance, in bytes.
    memory: Arc<AtomicU64>,
}

/// What only the worker that has the actor touches.
struct Seat {
    version: Option<Arc<Version>>,
    instance: Option<Instance>,
    /// Taken from the mailbox and not yet in hand.
    batch: VecDeque<Item>,
    supervisor: Option<Supervisor>,
    /// Counts starts, so that a late timer starts nothing.
    incarnation: u64,
    stopping: Option<Stopping>,
    /// The call that is over but for its commit. Until then no other one begins.
    parked: Option<Box<Parked>>,
    /// Counts commits, so that a late answer is nobody else's.
    commits: u64,
    /// There is no instance because nothing happens; the next message makes one.
    asleep: bool,
    /// What messages of the last call hold that wait outside full mailboxes. Until they are in no other call begins.
    outside: Option<Weak<Ticket>>,
    /// Nothing is delivered before.
    rest: Option<Instant>,
    /// The component is to be asked how it is as soon as nothing is parked.
    is_health_due: bool,
    /// The start for which there is a timer that asks how it is.
    health_timer: Option<u64>,
    /// What its version subscribes to by its desired file.
    declared: Option<Subscription>,
    /// How often the message of this number was delivered in vain, which is the first of the batch, or was.
    again: Option<(u64, Attempts)>,
}

impl ActorCell {
    /// An actor without a version: it takes no messages.
    pub(in crate::actor) fn new(limits: &Limits, dead: Arc<DeadLetters>) -> Arc<Self> {
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
            asleep: false,
            health: None,
            did_not_take_over: false,
            ticks: Arc::default(),
            memory: Arc::default(),
        };
        let seat = Seat {
            version: None,
            instance: None,
            batch: VecDeque::new(),
            supervisor: None,
            incarnation: 0,
            stopping: None,
            parked: None,
            commits: 0,
            asleep: false,
            outside: None,
            rest: None,
            is_health_due: false,
            health_timer: None,
            declared: None,
            again: None,
        };
        Arc::new(Self {
            mailbox: Mailbox::new(limits),
            counters: Counters::default(),
            dead,
            mail_id: AtomicU64::new(0),
            waits: AtomicBool::new(false),
            shares: Mutex::default(),
            face: RwLock::new(None),
            news: Mutex::new(news),
            seat: Mutex::new(seat),
            own_topics: Mutex::default(),
            accepted_before: AtomicU64::new(0),
        })
    }

    /// The active version.
    pub(in crate::actor) fn version(&self) -> Option<Arc<Version>> {
        self.face.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a call of its component may wait for something, so that it needs a thread for that.
    pub(in crate::actor) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Takes a message with what was claimed for it.
    pub(in crate::actor) fn accept(
        self: &Arc<Self>,
        core: &Core,
        envelope: Envelope,
        claim: Claim,
        ticket: Option<&dyn Fn() -> Arc<Ticket>>,
    ) {
        let put = self.mailbox.put(envelope, claim, ticket);
        if self.note(core, put) {
            core.schedule(Arc::clone(self));
        }
    }

    /// Sees to what became of messages when one came. True: a worker must be told.
    fn note(self: &Arc<Self>, core: &Core, put: Put) -> bool {
        let Put { wake, dead, alarm } = put;
        for (envelope, reason) in dead {
            self.bury(envelope, reason);
        }
        if let Some(at) = alarm {
            core.set_timer(at, Due::Line(Arc::downgrade(self)));
        }
        wake
    }

    /// Sees to it that those who were let in are handled.
    pub(in crate::actor) fn freed(self: &Arc<Self>, core: &Core, freed: Freed) {
        if freed.wake {
            core.schedule(Arc::clone(self));
        }
    }

    /// The timer says that the time of some outside is over. Gives when the next one's is.
    pub(in crate::actor) fn expire_line(&self) -> Option<Instant> {
        let mut expired = self.mailbox.expire(Instant::now());
        for envelope in expired.envelopes.drain(..) {
            self.bury(envelope, DeadReason::Dropped);
        }
        expired.next
    }

    /// Takes an answer to a request of its instance.
    pub(in crate::actor) fn take_callback(self: &Arc<Self>, core: &Core, callback: Callback) {
        if self.mailbox.put_callback(callback) {
            core.schedule(Arc::clone(self));
        }
    }

    /// Leaves a word of the system.
    pub(in crate::actor) fn order(self: &Arc<Self>, core: &Core, control: Control) {
        if self.mailbox.control(control) {
            core.schedule(Arc::clone(self));
        }
    }

    /// Stops taking messages now, and ends when what waits is worked off or the time is over.
    pub(in crate::actor) fn order_stop(self: &Arc<Self>, core: &Core, order: StopOrder) {
        self.mailbox.close();
        self.enter(ActorPhase::Stopping, None);
        self.order(core, Control::Stop(order));
    }

    /// The timer says that a time is over.
    pub(in crate::actor) fn look(self: &Arc<Self>, core: &Core) {
        self.order(core, Control::Look);
    }

    /// The timer says that the backoff is over.
    pub(in crate::actor) fn start_again(self: &Arc<Self>, core: &Core, incarnation: u64) {
        self.order(core, Control::Start { incarnation });
    }

    /// Puts the first version in place, before anyone else knows the actor.
    pub(in crate::actor) fn activate_first(self: &Arc<Self>, core: &Arc<Core>, activation: Activation) {
        self.activate(core, &mut locked(&self.seat), activation);
    }

    /// Takes a message with what was claimed for it, and works on this thread until `done` if no worker has the actor.
    pub(in crate::actor) fn accept_here(
        self: &Arc<Self>,
        core: &Arc<Core>,
        envelope: Envelope,
        claim: Claim,
        done: impl Fn() -> bool,
    ) {
        let put = self.mailbox.put(envelope, claim, None);
        match self.note(core, put) {
            // Nobody knows what the caller's thread may wait for.
            true if self.waits() => core.schedule(Arc::clone(self)),
            true => self.run_until(core, done),
            false => {}
        }
    }

    /// Works off the mailbox until it is empty or others should have their turn. Called by workers alone.
    pub(in crate::actor) fn run(self: &Arc<Self>, core: &Arc<Core>) {
        self.run_until(core, || core.scheduler().should_leave());
    }

    fn run_until(self: &Arc<Self>, core: &Arc<Core>, enough: impl Fn() -> bool) {
        let mut seat = locked(&self.seat);
        // A bug of this host must cost one instance, not leave an actor for ever in nobody's queue.
        let work = std::panic::AssertUnwindSafe(|| self.work(core, &mut seat, enough));
        if let Err(_printed) = std::panic::catch_unwind(work) {
            let crash = Crash { kind: CrashKind::Host, text: "the host failed while it ran this actor".to_owned() };
            self.crashed(core, &mut seat, &crash, &crash.text);
        }
        let batch_is_empty = seat.batch.is_empty();
        // An actor that made place for others with its last message, or crashed with it, has still to end.
        let has_to_end = seat.stopping.is_some() && seat.parked.is_none() && seat.outside.is_none();
        drop(seat);
        if self.mailbox.leave(batch_is_empty, has_to_end) {
            core.schedule(Arc::clone(self));
        }
    }

    fn work(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, enough: impl Fn() -> bool) {
        for _ in 0..BATCH {
            for control in self.mailbox.controls() {
                self.obey(core, seat, control);
            }
            if seat.parked.is_some() && !self.gives_up(seat) {
                return;
            }
            if let Some(time) = self.drain_is_due(seat) {
                self.drain(core, seat, time);
                continue;
            }
            if self.is_over(seat) {
                return self.end(core, seat);
            }
            if seat.rest.is_some() {
                // Whatever said meanwhile that it could go on.
                self.mailbox.set_runnable(false);
                return;
            }
            if self.waits_for_room(seat) {
                return;
            }
            if seat.instance.is_none() {
                match self.wakes(core, seat) {
                    true => continue,
                    false => return,
                }
            }
            if let Some(wait) = seat.version.as_ref().and_then(|version| version.account.rest()) {
                return self.rest(core, seat, wait);
            }
            match self.next_item(seat) {
                Some(Item::Message(envelope)) => self.deliver(core, seat, envelope),
                Some(Item::Callback(callback)) => self.call_back(core, seat, callback),
                None => return,
            }
            self.look_outside(core, seat);
            if enough() {
                return;
            }
        }
    }

    fn next_item(&self, seat: &mut Seat) -> Option<Item> {
        match seat.batch.pop_front() {
            Some(item) => Some(item),
            None => self.mailbox.take(&mut seat.batch),
        }
    }

    fn deliver(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, envelope: Envelope) {
        let is_over = envelope.expires.is_some_and(|at| at <= Instant::now());
        if envelope.kept.is_some() {
            if is_over {
                let (end, error) = (DeadReason::Expired, CallError::TimedOut);
                return core.post.end(core, self, (envelope, MailSet::default()), end, None, error);
            }
        } else {
            // Who is let in is seen by this worker.
            drop(self.mailbox.settle_sender(&envelope));
            if is_over {
                return self.bury(envelope, DeadReason::Expired);
            }
        }
        if let SentBy::Caller { operation } = &envelope.sent_by {
            let operation = operation.clone();
            return self.execute(core, seat, &operation, envelope);
        }
        let Some(instance) = &mut seat.instance else {
            return seat.batch.push_front(Item::Message(envelope));
        };
        let left = time_left(&seat.stopping);
        let Envelope { id, sent_by, payload, reply, hops, expires, kept, outcome } = envelope;
        let (origin, bytes) = (sent_by.origin(), payload.len());
        let circumstances = Circumstances { hops, until: expires, left, mail: kept.as_ref().map(|kept| kept.key) };
        let (held, sent_by) = match kept {
            Some(kept) => (Some(Box::new(Held { sent_by, hops, expires, kept })), None),
            None => (None, Some(sent_by)),
        };
        let wants_reply = reply.is_some();
        let topic = origin.topic.as_ref().map(|topic| Arc::from(topic.as_str()));
        let message = Message { id, sender: origin.sender.clone(), wants_reply, topic, body: payload.into() };
        match instance.handle(message, circumstances) {
            Ok(Said { answer, written: None }) => self.handled(reply, answer, outcome),
            Ok(Said { answer, written: Some(written) }) => {
                self.park(core, seat, InHand::Message { id, origin, reply, answer, held, bytes, outcome }, *written);
            }
            Err((ended, payload)) => match held {
                Some(held) => self.not_handled_yet(core, seat, held.envelope(id, payload, reply), ended),
                None => {
                    let again = sent_by.map(|sent_by| Again { sent_by, hops, expires });
                    self.fails(core, seat, (id, origin, payload), (reply, again), ended);
                }
            },
        }
    }

    /// Gives the instance the answer to a request, if it is the one that asked and still wants to know.
    fn call_back(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, callback: Callback) {
        let Callback { id, requests, answer, hops, parent } = callback;
        let Some(instance) = &mut seat.instance else { return };
        if !Arc::ptr_eq(instance.requests(), &requests) || !requests.take(id) {
            return;
        }
        self.counters.request_answered(&answer);
        let circumstances = Circumstances { hops, until: parent, left: time_left(&seat.stopping), mail: None };
        match instance.handle_callback(id, answer, circumstances) {
            Ok(Said { written: None, .. }) => {}
            Ok(Said { written: Some(written), .. }) => self.park(core, seat, InHand::Callback { id }, *written),
            Err(Ended::Refused(text)) => {
                self.refused(seat, &format!("the answer to request {id} failed: {text}"), text)
            }
            Err(Ended::NotKept(text)) => {
                self.refused(seat, &format!("the answer to request {id} was not kept: {text}"), text)
            }
            Err(Ended::Crashed(crash)) => {
                self.crashed(core, seat, &crash, &format!("crashed at the answer to request {id}: {crash}"));
            }
        }
    }

    fn obey(self: &Arc<Self>, core: &Arc<Core>, seat: &mut Seat, control: Control) {
        match control {
            // The system gives the name to another actor when this one is ending.
            Control::Activate(_) if seat.stopping.is_some() => {}
            Control::Activate(activation) => match &mut seat.parked {
                Some(parked) => parked.put_off(Control::Activate(activation)),
                None => self.activate(core, seat, *activation),
            },
            Control::Reconfigure(reconfiguration) => self.reconfigure(core, seat, reconfiguration),
            Control::Stop(order) => {
                self.begin_stop(seat, order);
                self.bound_commit(core, seat);
                self.bound_outside(core, seat);
            }
            Control::Committed { number, result } => self.unpark(core, seat, number, result),
            Control::Look => self.wake_up(seat),
            Control::Sleep => self.sleep(core, seat),
            Control::CheckHealth { incarnation } => self.check_health(core, seat, incarnation),
            Control::Start { incarnation } => {
                if seat.incarnation == incarnation && seat.instance.is_none() && seat.stopping.is_none() {
                    self.start(core, seat);
                }
            }
        }
    }

    /// The mailbox ends. What the store holds stays there; all else is not handled any more.
    fn bury_all(&self, core: &Core, seat: &mut Seat) {
        self.bury_where(core, seat, |_| true);
    }

    /// The same for those of whose authors that is true.
    fn bury_where(&self, core: &Core, seat: &mut Seat, ends: impl Fn(&SentBy) -> bool) {
        core.post.close(core, self);
        for item in seat.batch.drain(..).chain(self.mailbox.take_all()).collect::<Vec<_>>() {
            // An answer is nobody's when its instance is gone.
            let Item::Message(envelope) = item else { continue };
            if !ends(&envelope.sent_by) {
                seat.batch.push_back(Item::Message(envelope));
                continue;
            }
            if envelope.kept.is_some() {
                self.mailbox.leave_in_store(&envelope);
                continue;
            }
            // Nobody is left outside.
            drop(self.mailbox.settle_sender(&envelope));
            self.bury(envelope, DeadReason::Stopped);
        }
    }

    /// Ends a message that is not handled. Its room was given back before.
    fn bury(&self, envelope: Envelope, reason: DeadReason) {
        let Envelope { id, sent_by, payload, reply, .. } = envelope;
        if let Some(version) = self.version() {
            self.keep((id, sent_by.origin(), payload), &version, reason, None);
        }
        self.counters.dead(reason);
        if let Some(reply) = reply {
            reply.answer(Err(match reason {
                DeadReason::Expired => CallError::TimedOut,
                DeadReason::Dropped => CallError::Dropped,
                DeadReason::Failed | DeadReason::Stopped | DeadReason::Poison => CallError::Stopped,
            }));
        }
    }

    /// Ends a message that was published and can't come in.
    pub(in crate::actor) fn drop_published(&self, message: (u64, Origin, Payload), why: String) {
        let Some(version) = self.version() else { return };
        self.keep(message, &version, DeadReason::Dropped, Some(why));
        self.mailbox.count_dropped();
        self.counters.dead(DeadReason::Dropped);
    }

    /// Keeps a message that died, for the operator.
    fn keep(
        &self,
        (id, origin, payload): (u64, Origin, Payload),
        version: &Version,
        reason: DeadReason,
        why: Option<String>,
    ) {
        let (target, storage_id) = (version.record.spec.name.clone(), version.storage_id.get().copied());
        let (Origin { sender, topic, operation }, at) = (origin, SystemTime::now());
        if operation.is_some() {
            // Whoever called was told, and calls again.
            return;
        }
        self.dead.add(DeadLetter { id, sender, topic, target, storage_id, reason, why, at, payload, place: None });
    }

    fn enter(&self, phase: ActorPhase, next_start: Option<Instant>) {
        let mut news = locked(&self.news);
        news.phase = phase;
        news.since = Instant::now();
        news.next_start = next_start;
    }

    /// What the actor is doing.
    pub(in crate::actor) fn phase(&self) -> ActorPhase {
        locked(&self.news).phase
    }

    /// Everything that others may know.
    pub(in crate::actor) fn status(&self, name: InstallationName) -> Option<ActorStatus> {
        let version = self.version()?;
        let (mailbox_messages, mailbox_bytes) = self.mailbox.used();
        let counts = self.counters.counts(self.mailbox.accepted());
        let own_topics = locked(&self.own_topics).upgrade();
        let news = locked(&self.news);
        Some(ActorStatus {
            name,
            phase: news.phase,
            since: news.since,
            record: Arc::clone(&version.record),
            activated: news.activated,
            healthy_since: news.healthy_since,
            next_start: news.next_start,
            asleep: news.asleep,
            instance: news.instance,
            restarts: news.restarts,
            crashes: news.crashes,
            last_error: news.last_error.clone(),
            health: news.health.clone(),
            did_not_take_over: news.did_not_take_over,
            mailbox_messages,
            mailbox_bytes,
            counts,
            requests: self.counters.requests(),
            codecs: CodecCounts { received: self.mailbox.received(), refused: self.counters.codecs_refused() },
            breakers: version.account.breaker_states(),
            ticks_skipped: news.ticks.skipped(),
            cpu: version.account.cpu_use(),
            memory_bytes: news.memory.load(Ordering::Relaxed),
            log_lines_lost: version.log.lost(),
            denied: version.account.times_denied(),
            seen: version.account.seen(),
            subscribed: own_topics.map(|topics| topics.patterns()).unwrap_or_default(),
        })
    }
}

/// The time that an actor has left that is to end.
fn time_left(stopping: &Option<Stopping>) -> Option<Duration> {
    stopping.as_ref().map(|stop| stop.stop_until.saturating_duration_since(Instant::now()))
}

/// What a message is, in a line of the log.
fn titled(id: u64, origin: &Origin) -> String {
    match &origin.operation {
        Some(operation) => format!("operation `{operation}`"),
        None => format!("message {id} from {}", author(&origin.sender)),
    }
}

fn author(sender: &Sender) -> String {
    match sender {
        Sender::Installation(name) => format!("`{name}`"),
        Sender::Trigger(index) => format!("trigger {index}"),
        Sender::Host => "the host".to_owned(),
    }
}
