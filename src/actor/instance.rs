//! Owns one running instance: its store, what is called of it, and how a call may end.
//!
//! Does not decide what follows from a crash. A call that does not return leaves the instance unusable;
//! whoever gets [`Ended::Crashed`] drops it.

mod optional;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime::component::TypedFunc;

use super::account::Account;
use super::cell::ActorCell;
use super::core::{Core, locked};
use super::cpu::{CpuShare, thread_time};
use super::mark::during_call;
use super::outbox::{ActorOutbox, LeftOutside};
use super::request::OpenRequests;
use super::ticket::Ticket;
use super::topics::OwnTopics;
use super::version::Version;
use crate::codec::Payload;
use crate::engine::{InstanceLimiter, MAX_WASM_STACK_BYTES, MemoryRefusal, ticks};
use crate::escape::escape;
use crate::host::contract::{
    Answer, Body, CallbackParams, CallbackResults, GuestCodec, HandleParams, HandleResults, InitParams, InitResults,
    Message, Sender,
};
use crate::host::{Guest, HOSTCALL_BYTES, MAX_HANDLES, Outside, Transaction, WaitedTooLong, WouldWait};
use crate::quantity::Millis;
use crate::storage::{MailKey, Written};

pub use optional::HEALTH_CALL;
use optional::{Optional, typed};

/// Longest text of a guest that an error repeats, in bytes.
const MAX_QUOTED_BYTES: usize = 1024;
/// Frames of a guest's stack that an error names.
const MAX_FRAMES: usize = 4;

/// How a call ended without a result.
#[derive(Debug)]
pub(super) enum Ended {
    /// The guest answered with an error; its words, escaped. The instance goes on.
    Refused(String),
    /// It ended well, and the store did not keep what it wrote; why. The instance goes on.
    NotKept(String),
    /// The instance is unusable.
    Crashed(Crash),
}

/// What broke an instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Crash {
    /// What kind of end it was.
    pub kind: CrashKind,
    /// What happened, escaped.
    pub text: String,
}

/// What kind of end a crash was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashKind {
    /// The guest broke a rule of WebAssembly or gave up by itself.
    Trap,
    /// The call took longer than it may.
    Deadline,
    /// The guest ended itself with an exit code.
    Exit,
    /// The guest tried to wait for something.
    Wait,
    /// What it was granted outside of this host can't be had.
    Unavailable,
    /// The host failed in a call of the guest.
    Host,
}

/// What holds for one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// Messages that led to it.
    pub(super) hops: u32,
    /// When nobody waits any more for what it is about.
    pub(super) until: Option<Instant>,
    /// The time that it has, if that is less than usual.
    pub(super) left: Option<Duration>,
    /// The message that it is about, if the store holds it.
    pub(super) mail: Option<MailKey>,
}

/// What a handler answers; none when it gave no answer.
type Answered = Option<Payload>;

/// A call that said ok.
pub(super) struct Said<T> {
    pub(super) answer: T,
    /// What it wrote. Its messages wait until that is kept: [`Instance::kept`] or [`Instance::not_kept`] must follow.
    pub(super) written: Option<Box<Written>>,
}

/// One instance of a version.
pub(super) struct Instance {
    store: Store<Guest>,
    handle: Option<TypedFunc<HandleParams, HandleResults>>,
    callback: Option<TypedFunc<CallbackParams, CallbackResults>>,
    requests: Arc<OpenRequests>,
    outside: Arc<LeftOutside>,
    topics: Arc<OwnTopics>,
    in_hand: Arc<Message>,
    shutdown: Option<TypedFunc<(), ()>>,
    optional: Optional,
    account: Arc<Account>,
    /// Kept here, next to what every call touches anyway.
    call_time: Millis,
    call_ticks: u64,
    sends: u64,
    waits: bool,
    pub(super) number: u64,
}

impl Instance {
    /// Makes an instance and lets it start up, all within the init time. It takes part in nothing yet.
    pub(super) fn start(version: &Arc<Version>, core: &Arc<Core>) -> Result<Self, Ended> {
        let number = core.next_instance();
        let limits = &version.record.limits;
        let limiter = InstanceLimiter::new(core.engine.memory_budget().clone(), limits.memory.0);
        let requests = OpenRequests::new(Arc::clone(core), limits);
        let outside = Arc::new(LeftOutside::default());
        let topics = OwnTopics::new(Arc::clone(&core.topics));
        let outbox = ActorOutbox::new(core, version, &requests, &outside, &topics);
        let log = version.log.for_instance(number);
        let mut guest = Guest::new(limiter, log, Arc::clone(&version.config), Box::new(outbox));
        // Reads only until the first message is begun.
        guest.storage = version.handler_storage(&core.storage);
        guest.post = Some(Arc::clone(&core.storage));
        guest.environment = version.environment(&core.environment, &guest.log);
        let effective = &version.record.effective;
        let reached = Outside::open(effective, &core.own, core.hurry()).map_err(|error| unavailable(&error))?;
        let waits = reached.is_some();
        if let Some(mut reached) = reached {
            core.start_waiting().map_err(|error| unavailable(&error))?;
            reached.begin(limits.init.duration());
            guest.give(reached).map_err(|error| unavailable(&format_args!("{error:#}")))?;
        }
        let mut store = Store::new(version.linked.pre.engine(), guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(MAX_HANDLES);
        store.set_epoch_deadline(ticks(limits.init.duration()));

        let exports = &version.linked.exports;
        let called = metered(version.account.cpu(), || -> wasmtime::Result<_> {
            let instance = version.linked.pre.instantiate(&mut store)?;
            let init = typed::<InitParams, InitResults>(&instance, &mut store, exports.init.as_ref())?;
            let shutdown = typed(&instance, &mut store, exports.shutdown.as_ref())?;
            let handle = typed(&instance, &mut store, exports.handle.as_ref())?;
            let callback = typed(&instance, &mut store, exports.callback.as_ref())?;
            let optional = Optional::find(&instance, &mut store, exports)?;
            let answer = match init {
                Some(init) => init.call(&mut store, (version.config.text(),))?.0,
                None => Ok(()),
            };
            if answer.is_ok() {
                // It may send nothing; what it subscribed to holds from the moment it takes part.
                store.data_mut().outbox.commit();
            }
            Ok((handle, callback, shutdown, optional, answer))
        });
        match called {
            Ok((handle, callback, shutdown, optional, Ok(()))) => Ok(Self {
                store,
                handle,
                callback,
                requests,
                outside,
                topics,
                in_hand: Arc::new(nothing_in_hand()),
                shutdown,
                optional,
                account: Arc::clone(&version.account),
                call_time: limits.call,
                call_ticks: ticks(limits.call.duration()),
                sends: limits.sends,
                waits,
                number,
            }),
            Ok((_, _, _, _, Err(text))) => Err(Ended::Refused(quote(&version.config.redactions().apply(&text)))),
            Err(failure) => Err(Ended::Crashed(failure.describe(&store, limits.init))),
        }
    }

    /// Lets the guest handle a message. Gives its payload back when it did not, and holds it until what it wrote is kept.
    pub(super) fn handle(
        &mut self,
        message: Message,
        circumstances: Circumstances,
    ) -> Result<Said<Answered>, (Ended, Payload)> {
        let Some(handle) = self.handle else {
            return Err((Ended::Refused("it exports no message handler".to_owned()), message.body.into()));
        };
        // The same place each time: a call takes what it is given, and this is to come back without a copy.
        match Arc::get_mut(&mut self.in_hand) {
            Some(place) => *place = message,
            None => self.in_hand = Arc::new(message),
        }
        let in_hand = Arc::clone(&self.in_hand);
        let call =
            |store: &mut Store<Guest>| Ok(handle.call(store, (in_hand,))?.0.map(|answer| answer.map(Payload::from)));
        match self.transaction(circumstances, call) {
            Ok(said) => {
                if said.written.is_none() {
                    drop(self.take_payload());
                }
                Ok(said)
            }
            Err(ended) => Err((ended, self.take_payload())),
        }
    }

    fn take_payload(&mut self) -> Payload {
        let message = Arc::get_mut(&mut self.in_hand);
        message.map_or_else(nothing, |message| std::mem::replace(&mut message.body, nothing())).into()
    }

    /// Lets the guest handle the answer to a request.
    pub(super) fn handle_callback(
        &mut self,
        id: u64,
        answer: Answer,
        circumstances: Circumstances,
    ) -> Result<Said<()>, Ended> {
        let Some(callback) = self.callback else {
            return Err(Ended::Refused("it exports no callback handler".to_owned()));
        };
        self.transaction(circumstances, |store| Ok(callback.call(store, (id, answer))?.0))
    }

    /// One call. What it sent leaves if it says ok, and is forgotten otherwise.
    fn transaction<T>(
        &mut self,
        circumstances: Circumstances,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<Result<T, String>>,
    ) -> Result<Said<T>, Ended> {
        let Circumstances { hops, until, left, mail } = circumstances;
        let usual = (self.call_time, self.call_ticks);
        let (time, call_ticks) = left.map_or(usual, |left| (millis(left), ticks(left))).min(usual);
        self.store.data_mut().begin(Transaction { hops, sends: self.sends, until, mail });
        self.store.set_epoch_deadline(call_ticks);
        if self.waits {
            self.store.data_mut().may_take(time.duration());
        }
        match metered(self.account.cpu(), || call(&mut self.store)) {
            Ok(Ok(answer)) => match self.store.data_mut().finish() {
                Ok(written) => Ok(Said { answer, written }),
                Err(error) => Err(Ended::NotKept(error.to_string())),
            },
            Ok(Err(text)) => {
                self.store.data_mut().abort();
                Err(Ended::Refused(quote(&self.store.data().config.redactions().apply(&text))))
            }
            Err(failure) => Err(Ended::Crashed(failure.describe(&self.store, time))),
        }
    }

    /// What the last call wrote is kept: its messages leave.
    pub(super) fn kept(&mut self) {
        self.store.data_mut().kept();
        drop(self.take_payload());
    }

    /// What the last call wrote is not kept, or nobody knows: its messages are forgotten. Gives the payload of the
    /// message that it handled.
    pub(super) fn not_kept(&mut self) -> Payload {
        self.store.data_mut().abort();
        self.take_payload()
    }

    /// Tells the guest that it ends, within `time`, and drops it.
    pub(super) fn shut_down(mut self, time: Duration) -> Result<(), Crash> {
        let Some(shutdown) = self.shutdown else { return Ok(()) };
        self.begin_aside(time);
        metered(self.account.cpu(), || shutdown.call(&mut self.store, ()))
            .map_err(|failure| failure.describe(&self.store, millis(time)))
    }

    /// A call begins that is no transaction and may take `time`.
    fn begin_aside(&mut self, time: Duration) {
        let guest = self.store.data_mut();
        guest.begin_aside();
        guest.may_take(time);
        self.store.set_epoch_deadline(ticks(time));
    }

    /// Whether its calls may wait for something.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// What messages of the last call hold that wait outside full mailboxes, once.
    pub(super) fn left_outside(&self) -> Option<Weak<Ticket>> {
        self.outside.take()
    }

    /// It takes part from now on, as this actor's.
    pub(super) fn belong_to(&self, owner: &Arc<ActorCell>) {
        self.requests.belong_to(owner);
        self.topics.belong_to(owner);
        *locked(&owner.own_topics) = Arc::downgrade(&self.topics);
    }

    /// What it subscribes to by itself.
    pub(super) fn topics(&self) -> &OwnTopics {
        &self.topics
    }

    /// The requests that it makes.
    pub(super) fn requests(&self) -> &Arc<OpenRequests> {
        &self.requests
    }

    /// Whether there is anything for which a message or an operation can be delivered to it.
    pub(super) fn takes_calls(&self) -> bool {
        self.handle.is_some() || self.has_operations()
    }

    /// Shows the memory that the instance holds, in bytes.
    pub(super) fn memory_gauge(&self) -> Arc<AtomicU64> {
        self.store.data().limiter.gauge()
    }
}

fn unavailable(why: &dyn std::fmt::Display) -> Ended {
    Ended::Crashed(Crash { kind: CrashKind::Unavailable, text: quote(&why.to_string()) })
}

fn nothing() -> Body {
    Body { codec: GuestCodec::Raw, data: Vec::new() }
}

fn nothing_in_hand() -> Message {
    Message { id: 0, sender: Sender::Host, wants_reply: false, topic: None, body: nothing() }
}

/// Why a guest call did not return.
enum Failure {
    Wasm(wasmtime::Error),
    Panic(Box<dyn Any + Send>),
}

/// Calls into a guest. A panic of a host function ends this call and no more: the store is not used again.
fn guarded<T>(call: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(|| during_call(call))) {
        Ok(result) => result.map_err(Failure::Wasm),
        Err(panic) => Err(Failure::Panic(panic)),
    }
}

/// The same, and what the call takes of a core is charged to the share of it that there is.
fn metered<T>(share: Option<&Mutex<CpuShare>>, call: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, Failure> {
    let Some(share) = share else { return guarded(call) };
    let before = thread_time();
    let result = guarded(call);
    locked(share).charge(thread_time().saturating_sub(before), Instant::now());
    result
}

impl Failure {
    fn describe(self, store: &Store<Guest>, time: Millis) -> Crash {
        let (kind, mut text) = match self {
            Self::Wasm(error) => describe_error(&error, time),
            Self::Panic(panic) => {
                let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
                (CrashKind::Host, format!("the host failed in a call: {}", quote(text.unwrap_or("no reason given"))))
            }
        };
        if let Some(refusal) = store.data().limiter.refusal() {
            text.push_str(&refused_before(&refusal));
        }
        let text = store.data().config.redactions().apply(&text).into_owned();
        Crash { kind, text }
    }
}

fn refused_before(refusal: &MemoryRefusal) -> String {
    format!("; before that it was refused memory: {refusal}")
}

fn describe_error(error: &wasmtime::Error, time: Millis) -> (CrashKind, String) {
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return (CrashKind::Exit, format!("it ended itself with exit code {}", exit.0));
    }
    if let Some(waited) = error.downcast_ref::<WaitedTooLong>() {
        return (CrashKind::Deadline, format!("it took longer than the {time} it may: {waited}{}", frames(error)));
    }
    if let Some(wait) = error.downcast_ref::<WouldWait>() {
        return (CrashKind::Wait, format!("{wait}{}", frames(error)));
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::Interrupt) => {
            (CrashKind::Deadline, format!("it took longer than the {time} it may{}", frames(error)))
        }
        Some(wasmtime::Trap::StackOverflow) => {
            let kib = MAX_WASM_STACK_BYTES / 1024;
            (CrashKind::Trap, format!("it used up its stack of {kib} KiB{}", frames(error)))
        }
        Some(trap) => {
            let text = trap.to_string();
            let text = text.strip_prefix("wasm trap: ").unwrap_or(&text);
            (CrashKind::Trap, format!("trap: {text}{}", frames(error)))
        }
        None => (CrashKind::Trap, format!("{}{}", quote(&error.root_cause().to_string()), frames(error))),
    }
}

/// The innermost functions of the guest, by names that the guest chose.
fn frames(error: &wasmtime::Error) -> String {
    let Some(trace) = error.downcast_ref::<wasmtime::WasmBacktrace>() else { return String::new() };
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => quote(name),
        None => format!("function {}", frame.func_index()),
    };
    let names: Vec<String> = trace.frames().iter().take(MAX_FRAMES).map(name).collect();
    if names.is_empty() { String::new() } else { format!(", in {}", names.join(", called by ")) }
}

/// Foreign text, cut and escaped.
fn quote(text: &str) -> String {
    let kept = &text[..text.floor_char_boundary(MAX_QUOTED_BYTES)];
    let cut = if kept.len() < text.len() { " [cut]" } else { "" };
    format!("{}{cut}", escape(kept))
}

fn millis(time: Duration) -> Millis {
    Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
