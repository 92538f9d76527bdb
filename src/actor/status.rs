//! Owns what others may know about an actor: its phase, its numbers, its events.
//!
//! Values only. What they lead to is decided in `supervisor`, and further up by the reconciler.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::breaker::BreakerState;
use super::mailbox::NoRoom;
use super::seen::SeenGrant;
use crate::codec::Codec;
use crate::host::contract::{Answer, CallbackError};
use crate::host::health::HealthStatus;
use crate::name::InstallationName;
use crate::permission::Topic;
use crate::record::Record;

/// What an actor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorPhase {
    /// Takes messages: an instance is there, or made by the next one when it sleeps.
    Running,
    /// Crashed, and a new instance is starting.
    Starting,
    /// Crashed, and waits for its restart. Messages wait in the mailbox.
    Backoff,
    /// Crashed too often. Tried again slowly, unless its file says never; then it takes no messages.
    Failed,
    /// Works off its mailbox and takes no messages.
    Stopping,
    /// Gone; only seen by whoever held on to it.
    Stopped,
}

/// Why an accepted message was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadReason {
    /// The component answered with an error or crashed with it in hand.
    Failed,
    /// Its time was over before it was taken in hand.
    Expired,
    /// The actor stopped first.
    Stopped,
    /// The mailbox was full, and this one had to go, or found no room in time.
    Dropped,
    /// Every delivery that it may have ended badly.
    Poison,
}

impl DeadReason {
    /// The word in lists and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Stopped => "stopped",
            Self::Dropped => "dropped",
            Self::Poison => "poison",
        }
    }

    const ALL: [Self; 5] = [Self::Failed, Self::Expired, Self::Stopped, Self::Dropped, Self::Poison];

    /// The number by which stores know it. It never changes.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Failed => 0,
            Self::Expired => 1,
            Self::Stopped => 2,
            Self::Poison => 3,
            Self::Dropped => 4,
        }
    }

    pub(super) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.number() == number)
    }
}

/// An actor as it is now.
#[derive(Debug, Clone)]
pub struct ActorStatus {
    /// Its name.
    pub name: InstallationName,
    /// What it is doing.
    pub phase: ActorPhase,
    /// Since when it does that.
    pub since: Instant,
    /// What it runs.
    pub record: Arc<Record>,
    /// When this version became active.
    pub activated: Instant,
    /// Since when an instance runs without a crash; none while there is no instance.
    pub healthy_since: Option<Instant>,
    /// When the next start is due, after a crash.
    pub next_start: Option<Instant>,
    /// Whether it has no instance because nothing comes; the next message makes one.
    pub asleep: bool,
    /// The number of the running instance, as in its log.
    pub instance: Option<u64>,
    /// Restarts of this version.
    pub restarts: u64,
    /// Crashes of this version, failed starts included.
    pub crashes: u64,
    /// The last crash or the last error that the component answered with, escaped.
    pub last_error: Option<String>,
    /// What the component said last about itself; none when it has not been asked or can't say.
    pub health: Option<Health>,
    /// Whether the version that was to run did not take over: what another one stored, or its config.
    pub did_not_take_over: bool,
    /// Messages that wait, or have a place promised.
    pub mailbox_messages: u64,
    /// Their payload, in bytes.
    pub mailbox_bytes: u64,
    /// Numbers since the actor came up first; updates and restarts keep them.
    pub counts: Counts,
    /// What became of the requests that it made; kept like `counts`.
    pub requests: RequestCounts,
    /// In which codecs its messages came; kept like `counts`.
    pub codecs: CodecCounts,
    /// What its breakers do, by target; only where its file asks for them.
    pub breakers: Vec<(InstallationName, BreakerState)>,
    /// Ticks of this version's triggers that were skipped.
    pub ticks_skipped: u64,
    /// What calls of this version took of a core; only where its file limits that.
    pub cpu: Option<CpuUse>,
    /// Memory of the instance now, in bytes; 0 while there is none.
    pub memory_bytes: u64,
    /// Log lines that were dropped.
    pub log_lines_lost: u64,
    /// How often it asked for something that it may not do; another version begins anew.
    pub denied: u64,
    /// What it was seen to need, where it observes; another version begins anew.
    pub seen: Option<SeenGrant>,
    /// What its instance subscribed to at run time.
    pub subscribed: BTreeSet<Topic>,
}

/// What calls took of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuUse {
    /// All of them, since the version became active.
    pub total: Duration,
    /// What of a second's worth is used up, in percent of a core; more than the limit while some is owed.
    pub percent: u64,
}

/// What a component said last about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How it is; the text escaped and cut.
    pub status: HealthStatus,
    /// Since when it says so.
    pub since: Instant,
}

/// What became of an actor's messages. `accepted` is the sum of `handled`, the dead ones and those that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken into the mailbox.
    pub accepted: u64,
    /// Not taken: the mailbox was full or closed, the message too large, or in a codec that is not taken.
    pub rejected: u64,
    /// Handled well.
    pub handled: u64,
    /// Ended by an error or a crash.
    pub failed: u64,
    /// Ended by time.
    pub expired: u64,
    /// Not handled because the actor stopped.
    pub stopped: u64,
    /// Dropped by a full mailbox.
    pub dropped: u64,
    /// Delivered as often as they may be, in vain.
    pub poison: u64,
}

impl Counts {
    /// Messages that were accepted and not handled.
    pub fn dead(&self) -> u64 {
        self.failed + self.expired + self.stopped + self.dropped + self.poison
    }
}

/// What became of the requests that an actor made. `opened` is the sum of the others but `late`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Sent.
    pub opened: u64,
    /// Answered with a reply.
    pub answered: u64,
    /// Answered with an error of the target.
    pub failed: u64,
    /// Ended by time.
    pub timed_out: u64,
    /// Given up, or ended with the instance that made them.
    pub cancelled: u64,
    /// Not answered yet, or with the answer waiting in the mailbox.
    pub open: u64,
    /// Answers that came when nobody waited for them any more; no part of the sum.
    pub late: u64,
}

/// In which codecs messages came, in the order of [`Codec::ALL`]. Those of triggers come in none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CodecCounts {
    /// Taken into the mailbox.
    pub received: [u64; Codec::COUNT],
    /// Not taken, because the component does not take the codec.
    pub refused: [u64; Codec::COUNT],
}

/// Something that happened to an actor by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorEvent {
    /// To which.
    pub name: InstallationName,
    /// What.
    pub what: ActorChange,
}

/// What happened to an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActorChange {
    /// It crashed, and will be started again.
    Crashed(String),
    /// It crashed too often.
    Failed(String),
    /// A new instance is up after a crash.
    Recovered,
    /// The component says that it does its work again.
    Healthy,
    /// The component says that it does part of its work; what is missing, escaped.
    Degraded(String),
    /// The component says that it does not do its work; why, escaped.
    Unhealthy(String),
}

/// Takes events, on a worker's thread: returns at once and asks nothing of the system that waits.
pub type EventSink = Arc<dyn Fn(&ActorEvent) + Send + Sync>;

/// The counters of one actor.
#[derive(Debug, Default)]
pub(super) struct Counters {
    rejected: AtomicU64,
    handled: AtomicU64,
    failed: AtomicU64,
    expired: AtomicU64,
    stopped: AtomicU64,
    dropped: AtomicU64,
    poison: AtomicU64,
    requests: [AtomicU64; 6],
    codecs_refused: [AtomicU64; Codec::COUNT],
}

/// Places in [`Counters::requests`].
const OPENED: usize = 0;
const ANSWERED: usize = 1;
const ANSWER_FAILED: usize = 2;
const TIMED_OUT: usize = 3;
const CANCELLED: usize = 4;
const LATE: usize = 5;

impl Counters {
    pub(super) fn request_opened(&self) {
        self.requests[OPENED].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn request_answered(&self, answer: &Answer) {
        let place = match answer {
            Ok(_) => ANSWERED,
            Err(CallbackError::TimedOut) => TIMED_OUT,
            Err(_) => ANSWER_FAILED,
        };
        self.requests[place].fetch_add(1, Ordering::Release);
    }

    pub(super) fn requests_cancelled(&self, requests: u64) {
        self.requests[CANCELLED].fetch_add(requests, Ordering::Release);
    }

    pub(super) fn answered_late(&self) {
        self.requests[LATE].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn requests(&self) -> RequestCounts {
        // What ended before it began is read first, so that no sum is ever larger than what was opened.
        let read = |place: usize| self.requests[place].load(Ordering::Acquire);
        let (answered, failed, timed_out, cancelled) =
            (read(ANSWERED), read(ANSWER_FAILED), read(TIMED_OUT), read(CANCELLED));
        let opened = read(OPENED);
        let open = opened.saturating_sub(answered + failed + timed_out + cancelled);
        RequestCounts { opened, answered, failed, timed_out, cancelled, open, late: read(LATE) }
    }

    pub(super) fn rejected(&self, no: &NoRoom) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        self.not_taken(no);
    }

    /// Counts what is counted of a message that can't come in, however it ends.
    pub(super) fn not_taken(&self, no: &NoRoom) {
        if let NoRoom::Codec(not_taken) = no {
            self.codecs_refused[not_taken.codec as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn codecs_refused(&self) -> [u64; Codec::COUNT] {
        std::array::from_fn(|place| self.codecs_refused[place].load(Ordering::Relaxed))
    }

    pub(super) fn handled(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dead(&self, reason: DeadReason) {
        let counter = match reason {
            DeadReason::Failed => &self.failed,
            DeadReason::Expired => &self.expired,
            DeadReason::Stopped => &self.stopped,
            DeadReason::Dropped => &self.dropped,
            DeadReason::Poison => &self.poison,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self, accepted: u64) -> Counts {
        Counts {
            accepted,
            rejected: self.rejected.load(Ordering::Relaxed),
            handled: self.handled.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            stopped: self.stopped.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            poison: self.poison.load(Ordering::Relaxed),
        }
    }
}
