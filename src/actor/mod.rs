//! Owns running components: each is an actor with a mailbox, handled one message at a time.
//!
//! Does not decide which components run, in which version or with which rights; it is handed records and
//! compiled code, and does as it is told. The rules that guests can rely on:
//!
//! * Messages from one sender to one receiver arrive in the order of the calls. A handler's call is a
//!   transaction over the messages it sends.
//! * A request gets exactly one answer, at the latest when its time is over, as long as the instance that asked lives.
//! * Every accepted message is handled once, or ends as a dead one with a reason; never both. Only of a call that a stop
//!   gave up before the store answered nobody knows: its letter says that what it wrote may be kept.
//! * A crash takes the instance and the message in hand, and nothing else: the mailbox stays.
//! * An update replaces the instance between two messages.

mod account;
mod attempts;
mod breaker;
mod cell;
mod core;
mod cpu;
mod dead;
mod denied;
mod instance;
mod mailbox;
mod mark;
mod outbox;
mod post;
mod rate;
mod reply;
mod request;
mod scheduler;
mod seen;
mod status;
mod supervisor;
mod sync;
mod system;
#[cfg(test)]
mod tests;
mod ticket;
mod timer;
mod topics;
mod trigger;
mod version;

pub use breaker::BreakerState;
pub use cell::HEALTH_INTERVAL;
pub use dead::{DeadLetter, MAX_DEAD_LETTER_BYTES, MAX_DEAD_LETTERS};
pub use denied::{DENIALS_GATHERED_MS, Denial, MAX_DENIALS_TOLD_APART};
pub use instance::{Crash, CrashKind, HEALTH_CALL};
pub use reply::{CallError, PendingReply, Reply};
pub use scheduler::MAX_STUCK_THREADS;
pub use seen::{MAX_SEEN, SeenGrant};
pub use status::{
    ActorChange, ActorEvent, ActorPhase, ActorStatus, CodecCounts, Counts, CpuUse, DeadReason, EventSink, Health,
    RequestCounts,
};
pub use supervisor::{HEALTHY_RUN, SLOW_RETRY};
pub use system::{
    DEFAULT_MAX_HOPS, Lookup, NewConfig, PrepareError, ReconfigureError, ReplayError, Standby, StandbyRequest,
    StartError, Switch, Switched, System, SystemConfig,
};

/// Who sent a message, as its receiver sees it.
pub type Sender = crate::host::contract::Sender;
