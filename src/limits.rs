//! Owns the limits of one component: their names, defaults, ceilings and where they may be set.
//!
//! A manifest and a desired file may both set a limit. The desired file decides, up to the ceiling;
//! without it the manifest's value holds, and without that the default. Whatever this host does not
//! enforce is refused by name where the file is read, so a limit that is accepted is a limit that holds.

use serde::{Deserialize, Serialize};

use crate::document::{Report, Table, Value};
use crate::quantity::{ByteSize, Millis};

/// Longest time one call into a guest may take by default, in milliseconds.
pub const DEFAULT_CALL_MS: u64 = 5_000;
/// Ceiling of the call deadline, in milliseconds.
pub const MAX_CALL_MS: u64 = 30_000;
/// Longest time instantiation and `init` may take together by default, in milliseconds.
pub const DEFAULT_INIT_MS: u64 = 5_000;
/// Ceiling of the init deadline, in milliseconds.
pub const MAX_INIT_MS: u64 = 60_000;
/// How long a stopping component may work off its mailbox by default, in milliseconds.
pub const DEFAULT_DRAIN_MS: u64 = 5_000;
/// How long stopping may take in all by default, in milliseconds.
pub const DEFAULT_STOP_MS: u64 = 10_000;
/// Ceiling of both stop times, in milliseconds.
pub const MAX_STOP_MS: u64 = 30_000;
/// Memory of one instance, all its memories and tables together, by default, in bytes.
pub const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;
/// Ceiling of an instance's memory as far as a file can tell, in bytes; the host's budget may be lower.
pub const MAX_MEMORY_BYTES: u64 = 4 << 30;
/// Largest message, in bytes.
pub const DEFAULT_MESSAGE_BYTES: u64 = 1 << 20;
/// Messages a mailbox holds by default.
pub const DEFAULT_MAILBOX_MESSAGES: u64 = 1_024;
/// Ceiling of a mailbox's messages.
pub const MAX_MAILBOX_MESSAGES: u64 = 65_536;
/// Bytes of payload a mailbox holds by default.
pub const DEFAULT_MAILBOX_BYTES: u64 = 8 << 20;
/// Ceiling of a mailbox's bytes.
pub const MAX_MAILBOX_BYTES: u64 = 256 << 20;
/// Ceiling of the messages that a component may send in a second, and at once.
pub const MAX_SEND_RATE: u64 = 1_000_000;
/// Ceiling of the deliveries of a message beyond the first.
pub const MAX_RETRIES: u64 = 10;
/// Wait before the second delivery of a message by default, in milliseconds.
pub const DEFAULT_RETRY_WAIT_MS: u64 = 100;
/// Ceiling of that wait, in milliseconds.
pub const MAX_RETRY_WAIT_MS: u64 = 60_000;
/// Ceiling of the share of one core that a component may have, in percent.
pub const MAX_CPU_PERCENT: u64 = 100;
/// Longest time that a message waits outside a full mailbox by default, in milliseconds.
pub const DEFAULT_MAILBOX_WAIT_MS: u64 = 1_000;
/// Ceiling of the time that a message waits outside a full mailbox, in milliseconds.
pub const MAX_MAILBOX_WAIT_MS: u64 = 30_000;
/// Messages one handler call may send by default.
pub const DEFAULT_SENDS: u64 = 256;
/// Ceiling of the sends of a handler call.
pub const MAX_SENDS: u64 = 4_096;
/// Answers that one instance may wait for by default.
pub const DEFAULT_OPEN_REQUESTS: u64 = 64;
/// Ceiling of the answers that one instance waits for.
pub const MAX_OPEN_REQUESTS: u64 = 1_024;

/// Bytes of keys and values that a component may keep by default.
pub const DEFAULT_STORAGE_BYTES: u64 = 64 << 20;
/// Ceiling of the bytes that a component may keep.
pub const MAX_STORAGE_BYTES: u64 = 1 << 30;
/// Keys that a component may keep by default.
pub const DEFAULT_STORAGE_KEYS: u64 = 100_000;
/// Ceiling of the keys that a component may keep.
pub const MAX_STORAGE_KEYS: u64 = 1_000_000;

/// What becomes of a message that comes to a full mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// Its sender is told at the call.
    #[default]
    Reject,
    /// The oldest that waits makes room for it, and is a dead letter.
    DropOldest,
    /// It is a dead letter.
    DropNewest,
    /// It waits outside, and its sender handles nothing else meanwhile; after the limit of time it is a dead letter.
    Wait,
}

impl Overflow {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reject, Self::DropOldest, Self::DropNewest, Self::Wait];

    /// The word that files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
            Self::Wait => "wait",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Overflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a file says about limits; absent means "not said here".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct LimitOverrides {
    /// Longest time of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Millis>,
    /// Longest time of instantiation and `init`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Millis>,
    /// How long a stopping component may work off its mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Millis>,
    /// How long stopping may take in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Millis>,
    /// Memory of one instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Largest message taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<ByteSize>,
    /// Messages the mailbox holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<u64>,
    /// Bytes of payload the mailbox holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_bytes: Option<ByteSize>,
    /// Messages one handler call may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sends: Option<u64>,
    /// Answers that one instance may wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_requests: Option<u64>,
    /// Bytes of keys and values that it may keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<ByteSize>,
    /// Keys that it may keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_keys: Option<u64>,
    /// What becomes of a message that comes to its full mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_overflow: Option<Overflow>,
    /// Longest time that a message waits outside its mailbox; only beside [`Overflow::Wait`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_wait: Option<Millis>,
    /// Messages that it may send in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_rate: Option<u64>,
    /// Messages that it may send at once; only beside a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_burst: Option<u64>,
    /// Share of one core that its calls may have over time, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cpu_percent: Option<u64>,
    /// Deliveries of a message beyond the first, when those before ended badly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    /// Wait before the second delivery; only beside retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_wait: Option<Millis>,
}

/// The limits a component runs under, all of them enforced.
///
/// What hosts of before did not know is written only where it is not the default: their records stay what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Limits {
    /// Longest time of one call.
    pub call: Millis,
    /// Longest time of instantiation and `init`.
    pub init: Millis,
    /// How long a stopping component may work off its mailbox.
    pub drain: Millis,
    /// How long stopping may take in all.
    pub stop: Millis,
    /// Memory of one instance, all memories and tables summed.
    pub memory: ByteSize,
    /// Largest message taken.
    pub message: ByteSize,
    /// Messages the mailbox holds.
    pub mailbox: u64,
    /// Bytes of payload the mailbox holds.
    pub mailbox_bytes: ByteSize,
    /// Messages one handler call may send.
    pub sends: u64,
    /// Answers that one instance may wait for.
    #[serde(default = "open_requests", skip_serializing_if = "is_open_requests")]
    pub open_requests: u64,
    /// Bytes of keys and values that it may keep.
    #[serde(default = "storage", skip_serializing_if = "is_storage")]
    pub storage: ByteSize,
    /// Keys that it may keep.
    #[serde(default = "storage_keys", skip_serializing_if = "is_storage_keys")]
    pub storage_keys: u64,
    /// What becomes of a message that comes to its full mailbox.
    #[serde(default, skip_serializing_if = "Overflow::is_default")]
    pub mailbox_overflow: Overflow,
    /// Longest time that a message waits outside its mailbox.
    #[serde(default = "mailbox_wait", skip_serializing_if = "is_mailbox_wait")]
    pub mailbox_wait: Millis,
    /// Messages that it may send in a second; none: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_rate: Option<u64>,
    /// Messages that it may send at once; there is one exactly where there is a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_burst: Option<u64>,
    /// Share of one core that its calls may have over time, in percent; none: whatever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cpu_percent: Option<u64>,
    /// Deliveries of a message beyond the first, when those before ended badly; none, as 0: one delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    /// Wait before the second delivery, doubled before each further one; there is one exactly where there are retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_wait: Option<Millis>,
}

/// The default of a limit, and whether a value is it.
macro_rules! default_of {
    ($default:ident, $is_default:ident: $type:ty = $value:expr) => {
        fn $default() -> $type {
            $value
        }

        fn $is_default(value: &$type) -> bool {
            *value == $value
        }
    };
}

default_of!(open_requests, is_open_requests: u64 = DEFAULT_OPEN_REQUESTS);
default_of!(storage, is_storage: ByteSize = ByteSize(DEFAULT_STORAGE_BYTES));
default_of!(mailbox_wait, is_mailbox_wait: Millis = Millis(DEFAULT_MAILBOX_WAIT_MS));
default_of!(storage_keys, is_storage_keys: u64 = DEFAULT_STORAGE_KEYS);

impl Limits {
    /// The desired file's word, else the manifest's, else the default.
    pub fn resolve(desired: &LimitOverrides, manifest: &LimitOverrides) -> Self {
        // What a full mailbox does is said as a whole, in one file.
        let mailbox = if desired.mailbox_overflow.is_some() { desired } else { manifest };
        let rate = if desired.send_rate.is_some() { desired } else { manifest };
        let retry = if desired.retries.is_some() { desired } else { manifest };
        Self {
            call: desired.call.or(manifest.call).unwrap_or(Millis(DEFAULT_CALL_MS)),
            init: desired.init.or(manifest.init).unwrap_or(Millis(DEFAULT_INIT_MS)),
            drain: desired.drain.or(manifest.drain).unwrap_or(Millis(DEFAULT_DRAIN_MS)),
            stop: desired.stop.or(manifest.stop).unwrap_or(Millis(DEFAULT_STOP_MS)),
            memory: desired.memory.or(manifest.memory).unwrap_or(ByteSize(DEFAULT_MEMORY_BYTES)),
            message: desired.message.or(manifest.message).unwrap_or(ByteSize(DEFAULT_MESSAGE_BYTES)),
            mailbox: desired.mailbox.or(manifest.mailbox).unwrap_or(DEFAULT_MAILBOX_MESSAGES),
            mailbox_bytes: desired.mailbox_bytes.or(manifest.mailbox_bytes).unwrap_or(ByteSize(DEFAULT_MAILBOX_BYTES)),
            sends: desired.sends.or(manifest.sends).unwrap_or(DEFAULT_SENDS),
            open_requests: desired.open_requests.or(manifest.open_requests).unwrap_or_else(open_requests),
            storage: desired.storage.or(manifest.storage).unwrap_or_else(storage),
            storage_keys: desired.storage_keys.or(manifest.storage_keys).unwrap_or_else(storage_keys),
            mailbox_overflow: mailbox.mailbox_overflow.unwrap_or_default(),
            mailbox_wait: mailbox.mailbox_wait.unwrap_or_else(mailbox_wait),
            send_rate: rate.send_rate,
            // One second's worth.
            send_burst: rate.send_rate.map(|rate_| rate.send_burst.unwrap_or(rate_)),
            max_cpu_percent: desired.max_cpu_percent.or(manifest.max_cpu_percent),
            retries: retry.retries,
            retry_wait: retry.retries.map(|_| retry.retry_wait.unwrap_or(Millis(DEFAULT_RETRY_WAIT_MS))),
        }
    }
}

impl From<Limits> for LimitOverrides {
    /// All of them set.
    fn from(limits: Limits) -> Self {
        let Limits {
            call,
            init,
            drain,
            stop,
            memory,
            message,
            mailbox,
            mailbox_bytes,
            sends,
            open_requests,
            storage,
            storage_keys,
            mailbox_overflow,
            mailbox_wait,
            send_rate,
            send_burst,
            max_cpu_percent,
            retries,
            retry_wait,
        } = limits;
        Self {
            call: Some(call),
            init: Some(init),
            drain: Some(drain),
            stop: Some(stop),
            memory: Some(memory),
            message: Some(message),
            mailbox: Some(mailbox),
            mailbox_bytes: Some(mailbox_bytes),
            sends: Some(sends),
            open_requests: Some(open_requests),
            storage: Some(storage),
            storage_keys: Some(storage_keys),
            mailbox_overflow: Some(mailbox_overflow),
            mailbox_wait: (mailbox_overflow == Overflow::Wait).then_some(mailbox_wait),
            send_rate,
            send_burst,
            max_cpu_percent,
            retries,
            retry_wait,
        }
    }
}

/// Names of limits that later versions enforce and this one refuses.
const NOT_ENFORCED: [&str; 9] =
    ["stack", "health", "hops", "key", "value", "scan-page", "log-rate", "log-line", "instances"];

impl LimitOverrides {
    /// Reads a `[limits]` table, in a manifest or in a desired file.
    pub fn read<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Self {
        let (mailbox_overflow, mailbox_wait) = overflow(&mut table, report);
        let (send_rate, send_burst) = rate(&mut table, report);
        let (retries, retry_wait) = retry(&mut table, report);
        let limits = Self {
            call: time(table.take("call"), MAX_CALL_MS, report),
            init: time(table.take("init"), MAX_INIT_MS, report),
            drain: time(table.take("drain"), MAX_STOP_MS, report),
            stop: time(table.take("stop"), MAX_STOP_MS, report),
            memory: size(table.take("memory"), MAX_MEMORY_BYTES, report),
            message: size(table.take("message"), DEFAULT_MESSAGE_BYTES, report),
            mailbox: count(table.take("mailbox"), MAX_MAILBOX_MESSAGES, report),
            mailbox_bytes: size(table.take("mailbox-bytes"), MAX_MAILBOX_BYTES, report),
            sends: count(table.take("sends"), MAX_SENDS, report),
            open_requests: count(table.take("open-requests"), MAX_OPEN_REQUESTS, report),
            storage: size(table.take("storage"), MAX_STORAGE_BYTES, report),
            storage_keys: count(table.take("storage-keys"), MAX_STORAGE_KEYS, report),
            mailbox_overflow,
            mailbox_wait,
            send_rate,
            send_burst,
            max_cpu_percent: count(table.take("max-cpu-percent"), MAX_CPU_PERCENT, report),
            retries,
            retry_wait,
        };
        for name in NOT_ENFORCED {
            table.refuse(name, "remove the line; a limit that does nothing would be worse than none", report);
        }
        table.finish(report);
        limits
    }
}

fn overflow<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> (Option<Overflow>, Option<Millis>) {
    let known = Overflow::ALL.map(|overflow| (overflow.as_str(), overflow));
    let written = table.take("mailbox-overflow");
    let overflow = written.as_ref().and_then(|value| value.word(&known, &[], report));
    let Some(wait) = table.take("mailbox-wait") else { return (overflow, None) };
    // Where the policy can't be read, that is told already.
    if overflow != Some(Overflow::Wait) && (overflow.is_some() || written.is_none()) {
        let message = "`mailbox-wait` says something only beside mailbox-overflow = \"wait\"";
        report.error_with_hint(wait.key_span.clone(), message, "remove the line, or write both");
    }
    (overflow, time(Some(wait), MAX_MAILBOX_WAIT_MS, report))
}

fn rate<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> (Option<u64>, Option<u64>) {
    let written = table.holds("send-rate");
    let rate = count(table.take("send-rate"), MAX_SEND_RATE, report);
    let burst = table.take("send-burst");
    if let Some(burst) = burst.as_ref().filter(|_| !written) {
        let message = "`send-burst` says something only beside send-rate";
        report.error_with_hint(burst.key_span.clone(), message, "remove the line, or add send-rate = 1000");
    }
    (rate, count(burst, MAX_SEND_RATE, report))
}

fn retry<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> (Option<u64>, Option<Millis>) {
    let written = table.holds("retries");
    let retries = table.take("retries").and_then(|value| {
        let count = value.integer(report)?;
        value.within(count, 0..=MAX_RETRIES, report)
    });
    let wait = table.take("retry-wait");
    if let Some(wait) = wait.as_ref().filter(|_| !written) {
        let message = "`retry-wait` says something only beside retries";
        report.error_with_hint(wait.key_span.clone(), message, "remove the line, or add retries = 3");
    }
    (retries, wait.and_then(|wait| wait.millis(Millis(10)..=Millis(MAX_RETRY_WAIT_MS), report)))
}

fn time<'t>(value: Option<Value<'_, 't>>, ceiling_ms: u64, report: &mut Report<'t>) -> Option<Millis> {
    value?.millis(Millis(1)..=Millis(ceiling_ms), report)
}

fn size<'t>(value: Option<Value<'_, 't>>, ceiling_bytes: u64, report: &mut Report<'t>) -> Option<ByteSize> {
    value?.bytes(ByteSize(1)..=ByteSize(ceiling_bytes), report)
}

fn count<'t>(value: Option<Value<'_, 't>>, ceiling: u64, report: &mut Report<'t>) -> Option<u64> {
    let value = value?;
    let count = value.integer(report)?;
    value.within(count, 1..=ceiling, report)
}
