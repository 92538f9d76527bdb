//! Owns the status document: what a host says of itself and of every component.
//!
//! Plain data and its text. Gathering it is `reconcile`'s work, carrying it `control`'s.

pub mod collected;
pub mod info;
pub mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::paused::PausedBy;
use crate::quantity::ByteSize;
use crate::resolution::Refusal;

/// `$type` of [`HostStatus`].
pub const STATUS_TYPE: &str = "airssys-wasm/status/v1";

/// What a host says of itself and of its components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct HostStatus {
    /// [`STATUS_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// The process; absent when the document was made from what is on disk.
    pub host: Option<HostProcess>,
    /// The desired directory, escaped.
    pub desired: Option<String>,
    /// The repository of the desired files; absent where they are in a directory, and while no host runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_git: Option<RepositoryStatus>,
    /// The trust policy in force, escaped: a path, or why there is none.
    pub trust: Option<String>,
    /// The committed generation, 0 when nothing was ever committed.
    pub generation: u64,
    /// The last pass.
    pub last_pass: Option<PassSummary>,
    /// Who paused everything, when it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PausedBy>,
    /// All components, installed or wanted, in the order of their names.
    pub components: Vec<ComponentStatus>,
    /// What concerns no single component: files whose name is unknown, guards, the directory.
    pub problems: Vec<Refusal>,
}

/// How the repository of the desired files stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct RepositoryStatus {
    /// Its URL, without secrets.
    pub repository: String,
    /// Which commit of it: `branch main`, `tag v1`, `commit …`.
    pub reference: String,
    /// The directory in it.
    pub path: String,
    /// The commit that was applied last.
    pub applied: Option<String>,
    /// The commit that was seen last; it may be refused.
    pub seen: Option<String>,
    /// How long ago the last look ended, in milliseconds.
    pub looked_ms_ago: Option<u64>,
    /// Until the next look, in milliseconds; absent while one is under way.
    pub next_look_ms: Option<u64>,
    /// Why the last look failed.
    pub last_error: Option<Refusal>,
    /// What that failure asks for: `transient`, `stalled` or `bug`.
    pub error_class: Option<String>,
}

/// The running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct HostProcess {
    /// Version of this program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// How long it runs, in milliseconds.
    pub uptime_ms: u64,
    /// How changes are noticed: `inotify`, or `polled every 5 s (nfs)`.
    pub watch: String,
    /// Where sources are read and code is compiled.
    pub workers: String,
    /// Memory that instances use, in bytes.
    pub memory_used_bytes: u64,
    /// Memory that instances may use together, in bytes.
    pub memory_budget_bytes: u64,
    /// Whether the limits of all instances may add up to more than that.
    pub memory_overcommit: bool,
    /// Instances that there are or will be: components that are switched on.
    pub instances: u64,
    /// What the limits of those add up to, in bytes.
    pub memory_promised_bytes: u64,
    /// Memory maps of the process; absent where the kernel has no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps_used: Option<u64>,
    /// Most memory maps that the kernel gives the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps_max: Option<u64>,
    /// Threads of the process; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads_used: Option<u64>,
    /// Most threads that the system gives the user of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads_max: Option<u64>,
}

impl HostProcess {
    /// What is promised: `3 x 64MiB`, or `300MiB to 3`.
    fn promised(&self) -> String {
        let Self { instances, memory_promised_bytes: promised, .. } = *self;
        match promised.checked_div(instances) {
            None => "nothing".to_owned(),
            // Equal limits are whole KiB; where they only seem equal, the sum is the same.
            Some(each) if each * instances == promised && each % 1024 == 0 => {
                format!("{instances} x {}", ByteSize(each))
            }
            Some(_) => format!("{} to {instances}", ByteSize(promised >> 10 << 10)),
        }
    }
}

/// What the last pass did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct PassSummary {
    /// Passes since the host started.
    pub number: u64,
    /// What made it look.
    pub cause: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// How long ago it ended, in milliseconds.
    pub ended_ms_ago: u64,
    /// Actions carried out.
    pub done: u64,
    /// Actions that failed.
    pub failed: u64,
    /// Whether nothing with an effect is left to do.
    pub converged: bool,
}

/// What an actor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ComponentState {
    /// Takes and handles messages.
    Running,
    /// Being made ready.
    Starting,
    /// Crashed; starts again by itself after a wait.
    Backoff,
    /// Crashed too often; a slow retry goes on unless the file says `restart = "never"`.
    Failed,
    /// Works off its mailbox and takes no messages.
    Stopping,
    /// Installed and switched off by `enabled = false`.
    Stopped,
    /// Committed, and no host runs it now.
    Down,
    /// Took the host down too often, and is not started.
    Quarantined,
    /// Wanted, and not installed.
    Missing,
}

impl ComponentState {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Backoff => "backoff",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Down => "down",
            Self::Quarantined => "quarantined",
            Self::Missing => "missing",
        }
    }
}

/// One component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct ComponentStatus {
    /// The operator's name.
    pub name: String,
    /// What the actor does.
    pub state: ComponentState,
    /// What is installed.
    pub installed: Option<InstalledStatus>,
    /// The actor's counters; absent when it does not exist.
    pub actor: Option<ActorCounters>,
    /// Who paused this component by itself, when it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PausedBy>,
    /// How its source stands; absent for sources on this machine and while no host runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// Why the newest wish is not carried out: a held or blocked target.
    pub held: Option<Note>,
}

/// How the source of a component on another machine stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct SourceStatus {
    /// Where it is, without secrets.
    pub source: String,
    /// What it was last: a commit id, or the validator of an HTTP answer; escaped.
    pub revision: Option<String>,
    /// What is done about it, in words.
    pub state: String,
    /// Until the next attempt or look, in milliseconds.
    pub next_try_ms: Option<u64>,
    /// Why the last attempt failed.
    pub last_error: Option<Refusal>,
}

/// Why something is held or blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Note {
    /// `hold` or `blocked`.
    pub kind: String,
    /// Where the wish is written.
    pub location: Option<String>,
    /// Code, sentence, hint.
    #[serde(flatten)]
    pub why: Refusal,
}

/// The installed artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct InstalledStatus {
    /// The publisher's name.
    pub package: String,
    /// The signed version.
    pub version: String,
    /// The signed sequence.
    pub sequence: u64,
    /// Digest of the wasm.
    pub wasm: String,
    /// Digest of the spec with its resolved revision.
    pub target: String,
    /// The trust rule and keys under which it was accepted.
    pub publisher: String,
    /// The keys whose signatures counted.
    pub signers: Vec<String>,
    /// What it may do.
    pub permissions: Vec<String>,
    /// The codecs that its manifest declares; absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codecs: Vec<String>,
    /// Topics that its desired file subscribes it to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<String>,
    /// What its source was when it was committed, a commit id for instance; escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The desired file that it came from.
    pub file: String,
}

/// What became of an actor's messages. `accepted` is the sum of the handled, the dead and the waiting ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct MessageCounters {
    /// Taken into the mailbox.
    pub accepted: u64,
    /// Not taken: the mailbox was full or closed, or the message too large.
    pub rejected: u64,
    /// Dead: ended by an error or a crash.
    pub failed: u64,
    /// Dead: their time was over.
    pub expired: u64,
    /// Dead: the component stopped first.
    pub stopped: u64,
    /// Dead: the mailbox was full.
    pub dropped: u64,
    /// Dead: delivered as often as they may be, in vain.
    pub poison: u64,
}

/// What became of the requests that an actor made. `asked` is the sum of the others but `late`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct RequestCounters {
    /// Sent.
    pub asked: u64,
    /// Answered with a reply.
    pub answered: u64,
    /// Answered with an error of the target.
    pub failed: u64,
    /// Ended by time.
    pub timed_out: u64,
    /// Given up, or ended with the instance that made them.
    pub cancelled: u64,
    /// Not answered yet.
    pub open: u64,
    /// Answers that came when nobody waited for them any more.
    pub late: u64,
}

impl RequestCounters {
    /// Those that are not nothing, in one line; none when it never asked.
    pub fn text(&self) -> Option<String> {
        let Self { asked, answered, failed, timed_out, cancelled, open, late } = *self;
        let parts = [
            ("answered", answered),
            ("failed", failed),
            ("timed out", timed_out),
            ("cancelled", cancelled),
            ("open", open),
            ("late answers", late),
        ];
        let parts = parts.iter().filter(|(_, count)| *count > 0);
        let parts: Vec<String> = parts.map(|(word, count)| format!(", {word} {count}")).collect();
        (asked > 0).then(|| format!("asked {asked}{}", parts.concat()))
    }
}

/// What a component says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct HealthReport {
    /// `healthy`, `degraded` or `unhealthy`.
    pub state: String,
    /// What it says besides, escaped and cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// For how long it has said so, in milliseconds.
    pub since_ms: u64,
}

/// Counters of one actor since the host started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct ActorCounters {
    /// How long the actor has been in its state, in milliseconds.
    pub since_ms: u64,
    /// Times it was started again after a crash.
    pub restarts: u64,
    /// Until the next start, in milliseconds, while it waits for one.
    pub next_start_ms: Option<u64>,
    /// The last crash or error, escaped.
    pub last_error: Option<String>,
    /// What the component said last about itself; absent when it can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthReport>,
    /// Messages handled.
    pub handled: u64,
    /// Messages that ended otherwise.
    pub dead: u64,
    /// Messages waiting.
    pub waiting: u64,
    /// Messages that the mailbox holds.
    pub mailbox: u64,
    /// Bytes of the messages waiting.
    #[serde(default)]
    pub waiting_bytes: u64,
    /// Bytes that the mailbox holds.
    #[serde(default)]
    pub mailbox_bytes: u64,
    /// What became of messages that came to it.
    #[serde(default)]
    pub messages: MessageCounters,
    /// What became of requests that it made.
    #[serde(default)]
    pub requests: RequestCounters,
    /// What its breakers do: `closed`, `open` or `half-open`, by target. Absent where its file asks for none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub breakers: BTreeMap<String, String>,
    /// Memory of the instance, in bytes.
    pub memory_bytes: u64,
    /// Whether it has no instance because nothing comes; the next message makes one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asleep: bool,
    /// In which codecs messages came; a codec of which nothing came is left out, and so are triggers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codecs: Vec<CodecCount>,
    /// Topics that its instance subscribed to at run time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribed: Vec<String>,
    /// How often it asked for something that it may not do; another version begins anew.
    #[serde(default, skip_serializing_if = "is_none")]
    pub denied: u64,
    /// What it was seen to need, where its file says `permissions = "observe"`; another version begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<ObservedGrant>,
}

/// The smallest `[grant]` that covers what a component was seen to do or to ask for in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct ObservedGrant {
    /// The lines of the table.
    pub lines: Vec<String>,
    /// Whether more was seen than is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
}

impl ObservedGrant {
    /// The table for people, each line after an indent.
    fn text(&self, indent: &str) -> String {
        let mut lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        match lines.is_empty() {
            true => lines.push("nothing yet"),
            false => lines.insert(0, "[grant]"),
        }
        if self.left_out {
            lines.push("# and more: it asked for more different things than are kept");
        }
        lines.join(&format!("\n{indent}"))
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Messages of one codec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct CodecCount {
    /// The codec's name.
    pub codec: String,
    /// Messages that were taken.
    pub received: u64,
    /// Messages that were refused because the component does not take the codec.
    pub refused: u64,
}
