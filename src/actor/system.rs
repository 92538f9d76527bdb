//! Owns the actors of a host: the one door through which they are started, replaced, stopped and spoken to.
//!
//! Does not decide which actors there are; the reconciler does. What it is told to do, it does in the order
//! in which it is told.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::cell::{Activation, ActorCell, Control, Reconfiguration, StopOrder, not_started};
use super::core::{Core, locked};
use super::dead::DeadLetter;
use super::denied::Denial;
use super::instance::{Crash, CrashKind, Ended, Instance};
use super::mailbox::{Ask, Claim, Envelope, NoRoom, SentBy};
use super::post::Posting;
use super::reply::{self, CallError, PendingReply, Reply};
use super::status::{ActorPhase, ActorStatus, EventSink};
use super::version::Version;
use crate::codec::{Codec, Payload};
use crate::config::host::DEFAULT_SLEEP_AFTER;
use crate::engine::{CompiledComponent, Engine};
use crate::host::contract::Sender;
use crate::host::health::HealthStatus;
use crate::host::{GuestConfig, LinkError, QuietLinker};
use crate::limits::{MAX_CALL_MS, MAX_STOP_MS, Overflow};
use crate::logs::Logs;
use crate::name::{InstallationName, OperationName};
use crate::record::Record;
use crate::storage::{BackendKind, Storage, StoreError};

/// Longest chain of messages, each sent while the one before was handled.
pub const DEFAULT_MAX_HOPS: u32 = 16;
/// Longest time that a switch waits for actors in the middle of a call or of their end, in milliseconds.
const MAX_SWITCH_MS: u64 = MAX_CALL_MS + MAX_STOP_MS + 5_000;
/// How often a wait looks whether it should be given up.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How an actor system is set up.
pub struct SystemConfig {
    /// Compiles and links what is to run.
    pub engine: Engine,
    /// Takes what components write.
    pub logs: Logs,
    /// Threads that run guests; none means one for each core.
    pub workers: Option<NonZeroUsize>,
    /// Longest chain of messages, each sent while the one before was handled.
    pub max_hops: u32,
    /// Where components keep things.
    pub storage: Storage,
    /// How long a stateless component takes no message, at least, before it goes without an instance.
    pub sleep_after: Duration,
    /// Is told of crashes and recoveries.
    pub events: Option<EventSink>,
    /// Where components find the environment variables that they are granted, at each start of an instance.
    pub environment: Lookup,
    /// Directories that belong to the host: no component is given one of them, nor what is around it.
    pub own: Vec<PathBuf>,
}

/// Finds the value of an environment variable.
pub type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl SystemConfig {
    /// The defaults; what components keep is in memory.
    pub fn new(engine: Engine, logs: Logs) -> Self {
        Self {
            engine,
            logs,
            workers: None,
            max_hops: DEFAULT_MAX_HOPS,
            storage: Storage::in_memory(),
            sleep_after: DEFAULT_SLEEP_AFTER.duration(),
            events: None,
            environment: Arc::new(|name| std::env::var(name).ok()),
            own: Vec::new(),
        }
    }
}

/// What a standby is made of.
pub struct StandbyRequest {
    /// What is to be committed: names, links, permissions, limits, config.
    pub record: Arc<Record>,
    /// The artifact that the record names, as code.
    pub compiled: CompiledComponent,
    /// The record's config as the component gets it.
    pub config: Arc<GuestConfig>,
    /// The storage id, if a generation has given one out already.
    pub storage_id: Option<u64>,
}

/// An instance that is up and takes part in nothing. Dropped, it was never there.
pub struct Standby {
    version: Arc<Version>,
    instance: Box<Instance>,
    health: Option<HealthStatus>,
}

impl Standby {
    /// The installation that it is for.
    pub fn name(&self) -> &InstallationName {
        &self.version.record.spec.name
    }

    /// Says which storage is its own, when that was not known before the commit. It is said once.
    pub fn owns_storage(&self, id: u64) {
        let known = *self.version.storage_id.get_or_init(|| id);
        debug_assert_eq!(known, id, "a storage changes hands only by a new instance");
    }
}

impl std::fmt::Debug for Standby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standby").field("name", self.name()).finish_non_exhaustive()
    }
}

/// Why there is no standby.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The code is that of another artifact than the record's.
    #[error("the compiled code is not that of the record's artifact")]
    OtherArtifact,
    /// It does not fit this host.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Its file has triggers and it takes no messages.
    #[error("its file has a [[trigger]], and the component exports no `airssys:component/message-handler`")]
    NobodyToTrigger,
    /// Its file has subscriptions and it takes no messages.
    #[error("its file has `subscriptions`, and the component exports no `airssys:component/message-handler`")]
    NobodyToSubscribe,
    /// Its file has `delivery = "durable"` and it takes no messages.
    #[error("its file says delivery = \"durable\", and the component exports no `airssys:component/message-handler`")]
    NobodyToDeliverTo,
    /// Its file has `delivery = "durable"` and its limits let a full mailbox do something else than refuse.
    #[error(
        "its file says delivery = \"durable\", and its limits mailbox-overflow = \"{0}\": a full mailbox in the store \
         refuses messages, and does not drop them or let them wait outside"
    )]
    OverflowOfTheStore(Overflow),
    /// Its file has `delivery = "durable"`, and its limits say otherwise how often a message is delivered.
    #[error(
        "its file says delivery = \"durable\", and its limits have retries: a message in the store has five deliveries"
    )]
    RetriesOfTheStore,
    /// Its file has `delivery = "durable"` and the store of this host is in memory.
    #[error("its file says delivery = \"durable\", and what this host stores is in memory and ends with it")]
    ForgetfulStore,
    /// It needs the store, and the store can't be used.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// Its `init` said no; its words, escaped.
    #[error("init answered with an error: {0}")]
    Refused(String),
    /// What it was granted outside of this host can't be had.
    #[error("{0}")]
    Unavailable(String),
    /// It did not come up.
    #[error("it did not start: {0}")]
    Crashed(Crash),
    /// It came up and says that it is not well; its words, escaped.
    #[error("it says that it is unhealthy: {0}")]
    Unhealthy(String),
    /// It came up and did not say how it is.
    #[error("it came up, and crashed when it was asked how it is: {0}")]
    HealthCrashed(Crash),
}

/// One step of a switch.
#[derive(Debug)]
pub enum Switch {
    /// The standby takes over its installation's mailbox, or becomes a new actor.
    Activate {
        /// What becomes active.
        standby: Standby,
        /// The name that the actor has now, if it is another.
        moved_from: Option<InstallationName>,
    },
    /// The actor works off its mailbox within its limits, and ends.
    Stop(InstallationName),
}

/// Another config for an actor that goes on.
pub struct NewConfig {
    /// Differs by its config from what the actor runs, and by nothing else that an instance sees.
    pub record: Arc<Record>,
    /// The record's config as the component gets it.
    pub config: Arc<GuestConfig>,
}

/// Why an actor keeps its old config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    /// It ended meanwhile, or runs something else.
    #[error("it does not run any more")]
    NotThere,
    /// It is still in a call that began before. It follows as soon as the call ends.
    #[error("it is still in a call that began before")]
    Late,
    /// It said no or crashed; its words, escaped.
    #[error("it keeps its old config: {0}")]
    Refused(String),
}

/// Where it is told what became of another config.
type Answered = Receiver<Result<(), String>>;

/// How a step of a switch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    /// It is done.
    Done,
    /// There is no actor of this name; for a stop, that is as good as done.
    NotThere,
    /// The actor is still in a call that began before. It follows as soon as the call ends.
    Late,
}

/// The actors of a host. Dropped, all of them end at once, without a goodbye.
pub struct System {
    pub(super) core: Arc<Core>,
    logs: Logs,
    /// One switch at a time, so that two cannot overtake one another on one actor.
    switching: Mutex<()>,
    stopping: AtomicBool,
    hurry: AtomicBool,
}

/// Why a dead letter was not sent again. It is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is none of this number.
    #[error("there is no such dead letter")]
    Unknown,
    /// Another installation has the target's name by now.
    #[error("another installation has this name by now; the message was not for it")]
    OtherInstallation,
    /// The target does not receive from who sent it; their name.
    #[error("it does not receive from {0}")]
    NotReceived(String),
    /// The target does not take it.
    #[error(transparent)]
    NotTaken(#[from] CallError),
}

/// The system could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No threads.
    #[error("could not start the threads that run components: {0}")]
    Threads(#[from] std::io::Error),
    /// The interfaces of this host do not fit its engine.
    #[error("could not set up what components may import: {0}")]
    Interfaces(String),
}

impl System {
    /// Starts the threads. There are no actors yet.
    pub fn start(config: SystemConfig) -> Result<Self, StartError> {
        let SystemConfig { engine, logs, workers, max_hops, storage, sleep_after, events, environment, own } = config;
        let linker = QuietLinker::new(&engine).map_err(|e| StartError::Interfaces(format!("{e:#}")))?;
        let core =
            Arc::new(Core::new(engine, linker, max_hops, Arc::new(storage), sleep_after, (events, environment, own)));
        let one = NonZeroUsize::MIN;
        // Dead letters of an earlier host are shown, and its messages have their numbers. A store that can't be opened
        // is told to whoever needs it.
        if let Ok(Some(store)) = core.storage.kept() {
            let _ = core.post.set_up(&core, &store);
        }
        core.start(workers.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(one)))?;
        let (stopping, hurry) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { core, logs, switching: Mutex::new(()), stopping, hurry })
    }

    /// The imports of a component that this host cannot satisfy, in the order of their names, escaped.
    pub fn missing_imports(&self, compiled: &CompiledComponent) -> Vec<String> {
        self.core.linker.missing_imports(compiled)
    }

    /// Makes an instance and lets it start up, within its init time. Blocks for that long.
    ///
    /// Nothing of it is visible: it takes no messages, and whatever it tries to send is refused.
    pub fn prepare(&self, request: StandbyRequest) -> Result<Standby, PrepareError> {
        let StandbyRequest { record, compiled, config, storage_id } = request;
        if compiled.wasm() != record.artifact.wasm {
            return Err(PrepareError::OtherArtifact);
        }
        let linked = self.core.linker.link(&compiled)?;
        if !linked.takes_messages() && !record.spec.triggers.is_empty() {
            return Err(PrepareError::NobodyToTrigger);
        }
        if !linked.takes_messages() && !record.spec.subscriptions.is_empty() {
            return Err(PrepareError::NobodyToSubscribe);
        }
        let log = self.logs.component(&record.spec.name);
        let version = Arc::new(Version::new(record, linked, &log, config));
        if let Some(id) = storage_id {
            version.storage_id.get_or_init(|| id);
        }
        let keeps = version.keeps_messages();
        let overflow = version.record.limits.mailbox_overflow;
        if keeps && overflow != Overflow::Reject {
            return Err(PrepareError::OverflowOfTheStore(overflow));
        }
        if keeps && version.retry.is_some() {
            return Err(PrepareError::RetriesOfTheStore);
        }
        if keeps && !version.linked.takes_messages() {
            return Err(PrepareError::NobodyToDeliverTo);
        }
        if keeps || version.record.effective.storage().is_some() {
            self.core.storage.store()?.check()?;
        }
        if keeps {
            self.check_mail(storage_id)?;
        }
        match Instance::start(&version, &self.core) {
            Ok(mut instance) => match instance.check_health() {
                Ok(Some(HealthStatus::Unhealthy(text))) => Err(PrepareError::Unhealthy(text)),
                Ok(health) => Ok(Standby { version, instance: Box::new(instance), health }),
                Err(crash) => Err(PrepareError::HealthCrashed(crash)),
            },
            Err(Ended::Refused(text) | Ended::NotKept(text)) => Err(PrepareError::Refused(text)),
            Err(Ended::Crashed(Crash { kind: CrashKind::Unavailable, text })) => Err(PrepareError::Unavailable(text)),
            Err(ended) => Err(PrepareError::Crashed(not_started(ended))),
        }
    }

    /// Whether the store keeps messages, and those that it has for this storage can be read.
    fn check_mail(&self, storage_id: Option<u64>) -> Result<(), PrepareError> {
        let store = self.core.storage.store()?;
        if store.kind() == BackendKind::Memory {
            return Err(PrepareError::ForgetfulStore);
        }
        self.core.post.set_up(&self.core, &store)?;
        match storage_id {
            Some(id) if !self.core.post.is_open(id) => Ok(store.mail(id, 0, usize::MAX).map(drop)?),
            _ => Ok(()),
        }
    }

    /// Does the steps, and returns when all are done, in the same order.
    ///
    /// Each actor switches between two messages: what waits in its mailbox stays there, in order. Blocks
    /// while an actor is in the middle of a call, for as long as that call may take.
    pub fn switch(&self, steps: Vec<Switch>) -> Vec<Switched> {
        let _one = locked(&self.switching);
        let until = Instant::now() + Duration::from_millis(MAX_SWITCH_MS);
        let begun: Vec<Begun> = steps.into_iter().map(|step| self.begin(step)).collect();
        // Messages that the store held are handled when all are there to whom they may lead.
        for cell in begun.iter().filter_map(Begun::started) {
            cell.look(&self.core);
        }
        begun.into_iter().map(|begun| self.finish(begun, until)).collect()
    }

    /// Gives running actors another config, each between two messages, and says what became of it. Blocks while an actor
    /// is in the middle of a call. An actor without an instance starts its next one with it.
    pub fn reconfigure(&self, configs: Vec<NewConfig>) -> Vec<Result<(), ReconfigureError>> {
        let _one = locked(&self.switching);
        let until = Instant::now() + Duration::from_millis(MAX_SWITCH_MS);
        let begun: Vec<_> = configs.into_iter().map(|config| self.begin_reconfiguration(config)).collect();
        let end = |(cell, answer): (Arc<ActorCell>, Answered)| match self.wait(&answer, until) {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(text))) => {
                cell.refusal_is_known();
                Err(ReconfigureError::Refused(text))
            }
            Some(Err(_gone)) => Err(ReconfigureError::NotThere),
            None => Err(ReconfigureError::Late),
        };
        begun.into_iter().map(|begun| begun.and_then(end)).collect()
    }

    fn begin_reconfiguration(&self, new: NewConfig) -> Result<(Arc<ActorCell>, Answered), ReconfigureError> {
        let NewConfig { record, config } = new;
        let cell = self.core.registry.get(&record.spec.name).ok_or(ReconfigureError::NotThere)?;
        let old = cell.version().filter(|old| old.record.artifact.wasm == record.artifact.wasm);
        let old = old.ok_or(ReconfigureError::NotThere)?;
        let log = self.logs.component(&record.spec.name);
        let version = Arc::new(old.with_config(record, &log, config));
        let (answer, answered) = mpsc::channel();
        cell.order(&self.core, Control::Reconfigure(Box::new(Reconfiguration { version, answer })));
        Ok((cell, answered))
    }

    fn begin(&self, step: Switch) -> Begun {
        match step {
            Switch::Activate { standby, moved_from } => self.begin_activation(standby, moved_from.as_ref()),
            Switch::Stop(name) => {
                let Some(cell) = self.core.registry.get(&name) else { return Begun::NotThere };
                let Some(version) = cell.version() else { return Begun::NotThere };
                let limits = &version.record.limits;
                self.order_stop(&cell, limits.drain.duration(), limits.stop.duration())
            }
        }
    }

    fn begin_activation(&self, standby: Standby, moved_from: Option<&InstallationName>) -> Begun {
        let name = standby.name().clone();
        if let Some(from) = moved_from {
            self.core.registry.rename(from, &name);
        }
        let Standby { version, instance, health } = standby;
        let instance = *instance;
        let limits = version.record.limits;
        match self.core.registry.get(&name).filter(|cell| !is_ending(cell)) {
            Some(cell) => {
                let (done, wait) = mpsc::channel();
                let activation = Activation { version, instance, health, done: Some(done) };
                cell.order(&self.core, Control::Activate(Box::new(activation)));
                Begun::Waits(wait)
            }
            None => {
                let cell = ActorCell::new(&limits, Arc::clone(&self.core.dead));
                cell.activate_first(&self.core, Activation { version, instance, health, done: None });
                self.core.registry.insert(name, Arc::clone(&cell));
                Begun::Started(cell)
            }
        }
    }

    fn order_stop(&self, cell: &Arc<ActorCell>, drain: Duration, stop: Duration) -> Begun {
        let (done, wait) = mpsc::channel();
        cell.order_stop(&self.core, StopOrder { drain, stop, done: Some(done) });
        self.core.registry.changed();
        Begun::Waits(wait)
    }

    fn finish(&self, begun: Begun, until: Instant) -> Switched {
        match begun {
            Begun::Started(_) => Switched::Done,
            Begun::NotThere => Switched::NotThere,
            Begun::Waits(wait) => self.wait(&wait, until).map_or(Switched::Late, |_over| Switched::Done),
        }
    }

    /// Waits until the other side answers or drops its end; none when time is over, or a second stop is asked for.
    fn wait<T>(&self, wait: &Receiver<T>, until: Instant) -> Option<Result<T, RecvTimeoutError>> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.hurry.load(Ordering::Relaxed) {
                return None;
            }
            match wait.recv_timeout(left.min(LOOK_EVERY)) {
                Err(RecvTimeoutError::Timeout) => {}
                over => return Some(over),
            }
        }
    }

    /// Sends a message in the host's name; bytes alone are raw. Returns the message's number.
    pub fn send_from_host(&self, name: &InstallationName, payload: impl Into<Payload>) -> Result<u64, CallError> {
        let (cell, envelope, claim) = self.envelope(name, payload.into(), None)?;
        let id = envelope.id;
        let Some(mail) = cell.mail_id_for(claim) else {
            cell.accept(&self.core, envelope, claim, None);
            return Ok(id);
        };
        let (answer, answered) = mpsc::sync_channel(1);
        let then = move |written| drop(answer.send(written));
        self.core.post.send(&self.core, Posting::new(&self.core, cell, mail, envelope), then);
        match answered.recv() {
            Ok(Ok(())) => Ok(id),
            Ok(Err(error)) => Err(CallError::NotWritten(error.to_string())),
            Err(_gone) => Err(CallError::NotWritten(StoreError::Closed.to_string())),
        }
    }

    /// Sends a message and waits for the answer, at most `timeout`. Bytes alone are raw.
    ///
    /// An idle actor is called on this very thread, which saves two changes of threads and needs 1 MiB of stack.
    pub fn request_from_host(&self, name: &InstallationName, payload: impl Into<Payload>, timeout: Duration) -> Reply {
        let (slot, pending) = reply::slot(timeout);
        let (cell, envelope, claim) = self.envelope(name, payload.into(), Some((slot, pending.until())))?;
        // A call cannot be given up half-way, so whoever waits for less than a call may take lets a worker do it.
        if let Some(mail) = cell.mail_id_for(claim) {
            self.core.post.send(&self.core, Posting::new(&self.core, cell, mail, envelope), drop);
        } else if cell.version().is_some_and(|version| version.record.limits.call.duration() <= timeout) {
            cell.accept_here(&self.core, envelope, claim, || pending.is_there());
        } else {
            cell.accept(&self.core, envelope, claim, None);
        }
        pending.wait()
    }

    /// Sends a message, and bytes alone are raw; the answer can be waited for or awaited. The message expires after `timeout`.
    pub fn begin_request(
        &self,
        name: &InstallationName,
        payload: impl Into<Payload>,
        timeout: Duration,
    ) -> Result<PendingReply, CallError> {
        let (slot, pending) = reply::slot(timeout);
        let (cell, envelope, claim) = self.envelope(name, payload.into(), Some((slot, pending.until())))?;
        match cell.mail_id_for(claim) {
            Some(mail) => self.core.post.send(&self.core, Posting::new(&self.core, cell, mail, envelope), drop),
            None => cell.accept(&self.core, envelope, claim, None),
        }
        Ok(pending)
    }

    /// Calls an operation and waits for its result, at most `timeout`. Bytes alone are raw.
    pub fn execute(
        &self,
        name: &InstallationName,
        operation: &OperationName,
        input: impl Into<Payload>,
        timeout: Duration,
    ) -> Reply {
        self.begin_execute(name, operation, input, timeout)?.wait()
    }

    /// Calls an operation; its result can be waited for or awaited. What it did not begin after `timeout`, it never does.
    ///
    /// It waits in the mailbox among the messages, and is nowhere but in memory.
    pub fn begin_execute(
        &self,
        name: &InstallationName,
        operation: &OperationName,
        input: impl Into<Payload>,
        timeout: Duration,
    ) -> Result<PendingReply, CallError> {
        let payload = input.into();
        let cell = self.core.registry.get(name).ok_or(CallError::NoSuchTarget)?;
        let claim = cell.mailbox.claim_operation(payload.codec, payload.len()).map_err(|no| refused(&cell, no))?;
        let (slot, pending) = reply::slot(timeout);
        let (id, sent_by) = (self.core.next_id(), SentBy::Caller { operation: operation.clone() });
        let (expires, reply) = (Some(pending.until()), Some(slot));
        let envelope = Envelope { id, sent_by, payload, hops: 0, expires, reply, kept: None, outcome: None };
        cell.accept(&self.core, envelope, claim, None);
        Ok(pending)
    }

    /// A message of the host for which the actor has room. Nobody waits for room on behalf of the host.
    fn envelope(
        &self,
        name: &InstallationName,
        payload: Payload,
        reply: Option<(reply::ReplySlot, Instant)>,
    ) -> Result<(Arc<ActorCell>, Envelope, Claim), CallError> {
        let cell = self.core.registry.get(name).ok_or(CallError::NoSuchTarget)?;
        let (codec, bytes) = (payload.codec, payload.len());
        let claim = cell.mailbox.claim_in(codec, bytes, None, Ask::WithoutWaiting);
        let claim = claim.map_err(|no| refused(&cell, no))?;
        let id = self.core.next_id();
        let (reply, expires) = reply.unzip();
        Ok((
            cell,
            Envelope { id, sent_by: SentBy::Host, payload, hops: 0, expires, reply, kept: None, outcome: None },
            claim,
        ))
    }

    /// What components asked for and may not do, as far as it is due to be told, or all of it.
    pub fn take_denials(&self, all: bool) -> Vec<Denial> {
        self.core.denials.take(Instant::now(), all)
    }

    /// Where components keep things.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.core.storage
    }

    /// Whether an actor is there whose storage has this id.
    pub fn uses_storage(&self, id: u64) -> bool {
        let has = |cell: Arc<ActorCell>| cell.version().is_some_and(|version| version.storage_id.get() == Some(&id));
        self.core.registry.all().into_iter().any(|(_, cell)| has(cell))
    }

    /// In which codec to write to the actor of this name when nothing else is said: the first that its manifest declares.
    pub fn preferred_codec(&self, name: &InstallationName) -> Option<Codec> {
        Some(self.core.registry.get(name)?.version()?.record.artifact.codecs.preferred())
    }

    /// The newest `most` dead letters, oldest first; how many are kept, and how many there were ever.
    pub fn dead_letters(&self, most: usize) -> (Vec<Arc<DeadLetter>>, usize, u64) {
        self.find_kept_letters();
        self.core.dead.newest(most)
    }

    /// The dead letter of this message.
    pub fn dead_letter(&self, id: u64) -> Option<Arc<DeadLetter>> {
        self.find_kept_letters();
        self.core.dead.get(id)
    }

    /// Sends a dead letter again, as a new message in the name of who sent the old one. Gives the new one's number.
    ///
    /// It leaves the list when its target takes it; whether that ends better is another matter.
    pub fn replay(&self, id: u64) -> Result<u64, ReplayError> {
        let letter = self.dead_letter(id).ok_or(ReplayError::Unknown)?;
        let cell = self.core.registry.get(&letter.target).ok_or(CallError::NoSuchTarget)?;
        let version = cell.version().ok_or(CallError::NoSuchTarget)?;
        if version.storage_id.get().copied() != letter.storage_id {
            return Err(ReplayError::OtherInstallation);
        }
        let own_share = |name: &InstallationName| match cell.mail_id() {
            Some(_) => cell.share_of(name),
            None => Arc::new(cell.mailbox.share()),
        };
        let (sent_by, share) = match &letter.sender {
            Sender::Installation(name) => {
                let topic = letter.topic.clone();
                let takes = |name: &InstallationName| match &topic {
                    Some(topic) => version.record.effective.may_subscribe(topic),
                    None => version.receives_from(name),
                };
                let parsed = name.parse().ok().filter(takes);
                let Some(share) = parsed.as_ref().map(own_share) else {
                    return Err(ReplayError::NotReceived(name.to_string()));
                };
                let name = Arc::clone(name);
                (SentBy::Installation { name, share: Some(Arc::clone(&share)), topic }, Some(share))
            }
            Sender::Trigger(index) => (SentBy::Trigger { index: *index, tick: Arc::default() }, None),
            Sender::Host => (SentBy::Host, None),
        };
        let bytes = letter.payload.len();
        let share = share.as_deref();
        let claim = match letter.sender {
            // A trigger's message has no content, so it has no codec that could be refused.
            Sender::Trigger(_) => cell.mailbox.claim(bytes, share, Ask::WithoutWaiting),
            _ => cell.mailbox.claim_in(letter.payload.codec, bytes, share, Ask::WithoutWaiting),
        };
        let claim = claim.map_err(|no| refused(&cell, no))?;
        // Of two who replay one letter, one gets it.
        let Some(letter) = self.core.dead.claim(&letter) else {
            cell.freed(&self.core, cell.mailbox.give_up(bytes, share, claim));
            return Err(ReplayError::Unknown);
        };
        let payload = letter.payload.clone();
        let id = self.core.next_id();
        let envelope =
            Envelope { id, sent_by, payload, hops: 0, expires: None, reply: None, kept: None, outcome: None };
        if letter.place.is_none() && cell.mail_id_for(claim).is_none() {
            cell.accept(&self.core, envelope, claim, None);
            return Ok(id);
        }
        self.core.post.raise(&self.core, &letter, cell, (envelope, claim)).map_err(|error| {
            self.core.dead.give_back(&letter);
            ReplayError::NotTaken(CallError::NotWritten(error.to_string()))
        })?;
        Ok(id)
    }

    /// What an earlier host left in the store is listed as soon as the store is open.
    fn find_kept_letters(&self) {
        if let Some(store) = self.core.storage.opened() {
            // What can't be read is told to whoever starts a component that needs it, and by `storage verify`.
            let _ = self.core.post.set_up(&self.core, &store);
        }
    }

    /// Makes dead letters of the messages that the store holds for storages which belong to nobody: `live` are those
    /// that do. Gives how many there were.
    pub fn end_mail_left_behind(&self, live: &BTreeSet<u64>) -> Result<usize, StoreError> {
        match self.core.storage.kept()? {
            Some(store) => self.core.post.end_left(&self.core, &store, live),
            None => Ok(0),
        }
    }

    /// The actor of this name as it is now.
    pub fn status(&self, name: &InstallationName) -> Option<ActorStatus> {
        self.core.registry.get(name)?.status(name.clone())
    }

    /// What the actor of this name is doing.
    pub fn phase(&self, name: &InstallationName) -> Option<ActorPhase> {
        Some(self.core.registry.get(name)?.phase())
    }

    /// All actors and what they are doing, in the order of their names.
    pub fn phases(&self) -> Vec<(InstallationName, ActorPhase)> {
        self.core.registry.all().into_iter().map(|(name, cell)| (name, cell.phase())).collect()
    }

    /// All actors as they are now, in the order of their names.
    pub fn statuses(&self) -> Vec<ActorStatus> {
        self.core.registry.all().into_iter().filter_map(|(name, cell)| cell.status(name)).collect()
    }

    /// Threads that are stuck in a guest's call and were replaced, now and ever.
    pub fn stuck_threads(&self) -> (usize, u64) {
        self.core.scheduler().stuck()
    }

    /// Ends all actors within `within`: no new messages, what waits is worked off, then shut down. What others
    /// depend on ends after them.
    ///
    /// Returns whether all ended in time; those that did not are cut off when the system is dropped. When
    /// it is asked for a second time, neither waits any longer.
    pub fn stop_all(&self, within: Duration) -> bool {
        if self.stopping.swap(true, Ordering::SeqCst) {
            self.hurry.store(true, Ordering::SeqCst);
            self.core.end_calls();
            return self.core.registry.all().is_empty();
        }
        let _one = locked(&self.switching);
        let until = Instant::now() + within;
        let mut left: Vec<_> =
            self.core.registry.all().into_iter().filter_map(|(_, cell)| Some((cell.version()?, cell))).collect();
        let mut all_ended = true;
        while !left.is_empty() {
            let needed: BTreeSet<InstallationName> =
                left.iter().flat_map(|(version, _)| version.record.spec.depends_on.clone()).collect();
            let (mut last, mut first): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|(version, _)| needed.contains(&version.record.spec.name));
            if first.is_empty() {
                // They depend on one another in a circle; nobody can be last.
                first = std::mem::take(&mut last);
            }
            all_ended &= self.stop_wave(&first, until);
            left = last;
        }
        all_ended
    }

    fn stop_wave(&self, actors: &[(Arc<Version>, Arc<ActorCell>)], until: Instant) -> bool {
        let time = until.saturating_duration_since(Instant::now());
        let begin = |(version, cell): &(Arc<Version>, Arc<ActorCell>)| {
            let limits = &version.record.limits;
            self.order_stop(cell, limits.drain.duration().min(time), limits.stop.duration().min(time))
        };
        let begun: Vec<Begun> = actors.iter().map(begin).collect();
        begun.into_iter().all(|begun| self.finish(begun, until) == Switched::Done)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.core.stop();
    }
}

/// A step that was begun.
enum Begun {
    /// A new actor, which takes messages.
    Started(Arc<ActorCell>),
    NotThere,
    Waits(Receiver<()>),
}

impl Begun {
    /// A new actor for which something waits already.
    fn started(&self) -> Option<&Arc<ActorCell>> {
        match self {
            Self::Started(cell) if !cell.mailbox.is_empty() => Some(cell),
            _ => None,
        }
    }
}

/// Counts a message for which an actor has no room.
fn refused(cell: &ActorCell, no: NoRoom) -> CallError {
    cell.counters.rejected(&no);
    match no {
        NoRoom::Closed => CallError::NoSuchTarget,
        NoRoom::Full => CallError::MailboxFull,
        NoRoom::TooLarge(limit) => CallError::TooLarge(limit),
        NoRoom::Codec(not_taken) => CallError::CodecNotTaken(not_taken),
        NoRoom::NoHandler => CallError::NoHandler,
        NoRoom::NoOperations => CallError::NoOperations,
    }
}

fn is_ending(cell: &ActorCell) -> bool {
    matches!(cell.phase(), ActorPhase::Stopping | ActorPhase::Stopped)
}
