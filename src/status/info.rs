//! Owns the document that says everything about one installation, and its text.
//!
//! Plain data: what is committed, what the actor does, and which line granted what.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::text::{received, span};
use super::{ActorCounters, ComponentStatus, HostProcess, InstalledStatus};
use crate::limits::Overflow;
use crate::permission::Entry;
use crate::quantity::{ByteSize, Millis};
use crate::record::Record;
use crate::surface::{HostSurface, Interface, Surface};
use crate::timestamp::rfc3339;

/// `$type` of [`InfoDocument`].
pub const INFO_TYPE: &str = "airssys-wasm/info/v1";

/// Everything about one installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct InfoDocument {
    /// [`INFO_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// Name, state, package, counters, pause and hold.
    #[serde(flatten)]
    pub component: ComponentStatus,
    /// What is committed; absent when it is wanted and not installed.
    pub committed: Option<CommittedInfo>,
    /// What all components of the host share, and how much of it is used; empty when no host answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<SharedInfo>,
}

/// What is committed for one installation, beyond [`InstalledStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct CommittedInfo {
    /// The committed generation.
    pub generation: u64,
    /// Under which id its data is stored.
    pub storage_id: u64,
    /// Digest of the manifest's bytes.
    pub manifest: String,
    /// Size of the wasm, in bytes.
    pub wasm_bytes: u64,
    /// When the release ceases to be accepted, in seconds since 1970.
    pub expires_unix_s: Option<i64>,
    /// What it imports, and whether the host that answers offers it; absent when an earlier version committed it.
    pub imports: Option<Vec<InterfaceInfo>>,
    /// What it exports, and whether the host that answers calls it; absent when an earlier version committed it.
    pub exports: Option<Vec<InterfaceInfo>>,
    /// What it may do, and where that was granted.
    pub permissions: Vec<GrantedInfo>,
    /// The limits it runs under, and how much of each is used.
    pub limits: Vec<LimitInfo>,
    /// What becomes of a message that comes to its full mailbox: `reject`, `drop-oldest`, `drop-newest` or `wait`.
    #[serde(default)]
    pub mailbox_overflow: String,
    /// Where messages for it wait: in `memory`, or `durable` in the store.
    #[serde(default)]
    pub delivery: String,
    /// Which installation each link word means.
    pub links: BTreeMap<String, String>,
    /// What it starts after.
    pub depends_on: Vec<String>,
    /// The periods at which the host sends it a message, in milliseconds.
    pub triggers_ms: Vec<u64>,
}

/// One interface that a component imports or exports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct InterfaceInfo {
    /// Its name, with its version.
    pub name: String,
    /// Functions and resources in it, each with its signature; an import or export by itself has no name.
    pub items: Vec<ItemInfo>,
    /// Of an import: whether the host offers it, with all that is imported of it. Of an export: whether the host calls it.
    pub known_to_host: bool,
}

/// One function or resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct ItemInfo {
    /// Its name within the interface.
    pub name: String,
    /// Its signature; a long one is cut and ends in its digest.
    pub signature: String,
}

/// What a component imports, as a host that is `host` sees it.
pub fn imports(surface: &Surface, host: &HostSurface<'_>) -> Vec<InterfaceInfo> {
    // What is imported for its types alone asks for nothing.
    let unfit = host.unfit(surface);
    let fits = |import: &Interface<'_>| !unfit.iter().any(|unfit| unfit.interface == import.name);
    let offers = |import: &Interface<'_>| import.items.is_empty() || host.offers(import.name) && fits(import);
    surface.imports().iter().map(|import| interface(import, offers(import))).collect()
}

/// What a component exports, as a host that is `host` sees it.
pub fn exports(surface: &Surface, host: &HostSurface<'_>) -> Vec<InterfaceInfo> {
    surface.exports().iter().map(|export| interface(export, host.calls(export.name))).collect()
}

fn interface(interface: &Interface<'_>, known_to_host: bool) -> InterfaceInfo {
    let item =
        |(name, signature): &(&str, &str)| ItemInfo { name: (*name).to_owned(), signature: (*signature).to_owned() };
    InterfaceInfo { name: interface.name.to_owned(), items: interface.items.iter().map(item).collect(), known_to_host }
}

/// The lines that show imports and exports.
pub fn surface_lines(imports: &[InterfaceInfo], exports: &[InterfaceInfo]) -> String {
    let mut text = String::new();
    for import in imports {
        let answer = if import.known_to_host { "yes" } else { "no" };
        let _ = writeln!(text, "imports     {}  (offered by this host: {answer})", import.name);
    }
    for export in exports {
        let answer = if export.known_to_host { "yes" } else { "no" };
        let _ = writeln!(text, "exports     {}  (called by this host: {answer})", export.name);
    }
    text
}

/// One permission in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct GrantedInfo {
    /// Kind and pattern.
    pub permission: String,
    /// `file:line` of the grant.
    pub granted_by: String,
}

/// One limit in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct LimitInfo {
    /// Its name, as files write it.
    pub name: String,
    /// The unit of both numbers.
    pub unit: Unit,
    /// The most.
    pub limit: u64,
    /// How much is used now; absent where that can't be said of a moment, or nothing runs.
    pub used: Option<u64>,
}

/// The unit of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Bytes.
    Bytes,
    /// Pieces.
    Count,
}

/// How much an actor uses now.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    /// Memory of the instance, in bytes.
    pub memory_bytes: u64,
    /// Messages that wait.
    pub mailbox: u64,
    /// Their payload, in bytes.
    pub mailbox_bytes: u64,
    /// What of a second's worth of a core is used up, in percent of a core; only where that is limited.
    pub cpu_percent: Option<u64>,
    /// Requests that are not answered yet.
    pub open_requests: u64,
    /// What it keeps, in bytes and keys; none where that can't be read now.
    pub storage: Option<(u64, u64)>,
}

impl CommittedInfo {
    /// What a record says; `used` when an actor is there.
    pub fn of(record: &Record, generation: u64, storage_id: u64, used: Option<Use>, host: &HostSurface<'_>) -> Self {
        let links = record.spec.links.iter().map(|(link, name)| (link.to_string(), name.to_string()));
        Self {
            generation,
            storage_id,
            manifest: record.artifact.manifest.to_string(),
            wasm_bytes: record.artifact.wasm_size,
            expires_unix_s: record.artifact.expires,
            imports: record.surface.as_ref().map(|surface| imports(surface, host)),
            exports: record.surface.as_ref().map(|surface| exports(surface, host)),
            permissions: record.effective.entries().map(|entry| granted(record, entry)).collect(),
            limits: limits(record, used),
            mailbox_overflow: record.limits.mailbox_overflow.to_string(),
            delivery: record.spec.delivery.as_str().to_owned(),
            links: links.collect(),
            depends_on: record.spec.depends_on.iter().map(ToString::to_string).collect(),
            triggers_ms: record.spec.triggers.iter().map(|trigger| trigger.every.0).collect(),
        }
    }
}

/// What all components of a host share, and how much of it is used.
pub fn shared(host: &HostProcess) -> Vec<SharedInfo> {
    let row = |name: &str, unit, most, used| SharedInfo { name: name.to_owned(), unit, most, used };
    let counted = |name, most: Option<u64>, used| most.map(|most| row(name, Unit::Count, most, used));
    let memory = row("memory-budget", Unit::Bytes, host.memory_budget_bytes, Some(host.memory_used_bytes));
    let maps = counted("maps", host.maps_max, host.maps_used);
    let threads = counted("threads", host.threads_max, host.threads_used);
    [memory].into_iter().chain(maps).chain(threads).collect()
}

/// Something that all components of a host share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct SharedInfo {
    /// Its name: `memory-budget`, `maps`, `threads`. More may come.
    pub name: String,
    /// The unit of both numbers.
    pub unit: Unit,
    /// The most that there is.
    pub most: u64,
    /// How much is used now; absent where that is not known.
    pub used: Option<u64>,
}

/// The line of the entry itself, else of the first one that includes it.
fn granted(record: &Record, entry: &Entry) -> GrantedInfo {
    let grants = &record.spec.grant.permissions;
    let by = if grants.names(entry) { Some(entry) } else { grants.entries().find(|granted| granted.covers(entry)) };
    let by = by.unwrap_or(entry);
    let granted_by = record.origin.locate(&format!("grant.{} \"{}\"", by.kind(), by.pattern()));
    GrantedInfo { permission: entry.to_string(), granted_by }
}

fn limits(record: &Record, used: Option<Use>) -> Vec<LimitInfo> {
    let limits = &record.limits;
    let row = |name: &str, unit, limit, used| LimitInfo { name: name.to_owned(), unit, limit, used };
    let time = |name, time: Millis| row(name, Unit::Ms, time.0, None);
    let kept = used.and_then(|used| used.storage);
    let mut rows = vec![
        time("call", limits.call),
        time("init", limits.init),
        time("drain", limits.drain),
        time("stop", limits.stop),
        row("memory", Unit::Bytes, limits.memory.0, used.map(|used| used.memory_bytes)),
        row("message", Unit::Bytes, limits.message.0, None),
        row("mailbox", Unit::Count, limits.mailbox, used.map(|used| used.mailbox)),
        row("mailbox-bytes", Unit::Bytes, limits.mailbox_bytes.0, used.map(|used| used.mailbox_bytes)),
        row("sends", Unit::Count, limits.sends, None),
        row("open-requests", Unit::Count, limits.open_requests, used.map(|used| used.open_requests)),
        row("storage", Unit::Bytes, limits.storage.0, kept.map(|(bytes, _)| bytes)),
        row("storage-keys", Unit::Count, limits.storage_keys, kept.map(|(_, keys)| keys)),
    ];
    if limits.mailbox_overflow == Overflow::Wait {
        rows.push(time("mailbox-wait", limits.mailbox_wait));
    }
    if let (Some(rate), Some(burst)) = (limits.send_rate, limits.send_burst) {
        rows.extend([row("send-rate", Unit::Count, rate, None), row("send-burst", Unit::Count, burst, None)]);
    }
    if let Some(percent) = limits.max_cpu_percent {
        rows.push(row("max-cpu-percent", Unit::Count, percent, used.and_then(|used| used.cpu_percent)));
    }
    if let (Some(retries), Some(wait)) = (limits.retries, limits.retry_wait) {
        rows.extend([row("retries", Unit::Count, retries, None), time("retry-wait", wait)]);
    }
    rows
}

/// What `info` prints.
pub fn text(info: &InfoDocument) -> String {
    let component = &info.component;
    let mut text = format!("{}  {}\n", component.name, component.state.word());
    if let Some(installed) = &component.installed {
        package(&mut text, installed, info.committed.as_ref());
    }
    if let Some(committed) = &info.committed {
        grants(&mut text, committed);
        described_limits(&mut text, committed);
    }
    if !info.shared.is_empty() {
        text.push_str("\nshared by all components\n");
        info.shared.iter().for_each(|row| described(&mut text, &row.name, row.unit, row.used, row.most));
    }
    if let Some(actor) = &component.actor {
        counters(&mut text, actor);
    }
    if let Some(by) = &component.paused {
        let _ = writeln!(text, "\npaused      {by}");
    }
    if let Some(note) = &component.held {
        let location = note.location.as_deref().map_or_else(String::new, |location| format!("{location}: "));
        let _ = writeln!(text, "\n{:<11} {location}{} [{}]", note.kind, note.why.message, note.why.code);
        for line in note.why.hint.iter().flat_map(|hint| hint.lines()) {
            let _ = writeln!(text, "            {line}");
        }
    }
    text
}

fn package(text: &mut String, installed: &InstalledStatus, committed: Option<&CommittedInfo>) {
    let _ = writeln!(text, "package     {} {} (sequence {})", installed.package, installed.version, installed.sequence);
    let size = committed.map_or_else(String::new, |committed| format!("  {}", ByteSize(committed.wasm_bytes)));
    let _ = writeln!(text, "wasm        {}{size}", installed.wasm);
    if let Some(committed) = committed {
        let _ = writeln!(text, "manifest    {}", committed.manifest);
        if let Some(expires) = committed.expires_unix_s {
            let _ = writeln!(text, "expires     {}", rfc3339(expires));
        }
    }
    let _ = writeln!(text, "signed by   {}: {}", installed.publisher, installed.signers.join(", "));
    if !installed.codecs.is_empty() {
        let _ = writeln!(text, "codecs      {}", installed.codecs.join(", "));
    }
    if !installed.subscriptions.is_empty() {
        let _ = writeln!(text, "subscribes  {}", installed.subscriptions.join(", "));
    }
    let _ = writeln!(text, "file        {}", installed.file);
    let _ = writeln!(text, "target      {}", installed.target);
    if let Some(committed) = committed {
        let _ = writeln!(text, "generation  {}; storage id {}", committed.generation, committed.storage_id);
        for (link, name) in &committed.links {
            let _ = writeln!(text, "link        {link} = {name}");
        }
        if !committed.depends_on.is_empty() {
            let _ = writeln!(text, "depends on  {}", committed.depends_on.join(", "));
        }
        let (imports, exports) = (committed.imports.as_deref(), committed.exports.as_deref());
        text.push_str(&surface_lines(imports.unwrap_or_default(), exports.unwrap_or_default()));
        for every in &committed.triggers_ms {
            let _ = writeln!(text, "trigger     every {}", Millis(*every));
        }
    }
}

fn grants(text: &mut String, committed: &CommittedInfo) {
    text.push_str("\npermissions\n");
    if committed.permissions.is_empty() {
        text.push_str("  none\n");
    }
    for granted in &committed.permissions {
        let _ = writeln!(text, "  {}  ({})", granted.permission, granted.granted_by);
    }
}

fn described_limits(text: &mut String, committed: &CommittedInfo) {
    text.push_str("\nlimits\n");
    for limit in &committed.limits {
        described(text, &limit.name, limit.unit, limit.used, limit.limit);
    }
    let _ = writeln!(text, "  {:<18}{}", "mailbox-overflow", committed.mailbox_overflow);
    let _ = writeln!(text, "  {:<18}{}", "delivery", committed.delivery);
}

fn described(text: &mut String, name: &str, unit: Unit, used: Option<u64>, most: u64) {
    let amount = |amount: u64| match unit {
        Unit::Ms => Millis(amount).to_string(),
        Unit::Bytes => ByteSize(amount).to_string(),
        Unit::Count => amount.to_string(),
    };
    let used = used.map_or_else(String::new, |used| format!("{} of ", amount(used)));
    let _ = writeln!(text, "  {name:<18}{used}{}", amount(most));
}

fn counters(text: &mut String, actor: &ActorCounters) {
    let since = span(actor.since_ms);
    let asleep = super::text::asleep(actor);
    let _ = writeln!(text, "\nfor         {since}; restarts {}{asleep}", actor.restarts);
    let _ = writeln!(text, "messages    handled {}, dead {}, waiting {}", actor.handled, actor.dead, actor.waiting);
    if let Some(requests) = actor.requests.text() {
        let _ = writeln!(text, "requests    {requests}");
    }
    if let Some(codecs) = received(&actor.codecs) {
        let _ = writeln!(text, "received    {codecs}");
    }
    if !actor.subscribed.is_empty() {
        let _ = writeln!(text, "subscribes  {} (at run time)", actor.subscribed.join(", "));
    }
    for (target, state) in actor.breakers.iter().filter(|(_, state)| *state != "closed") {
        let _ = writeln!(text, "breaker     {target} {state}");
    }
    if actor.denied > 0 {
        let _ = writeln!(text, "denied      {}; `airssys-wasm audit --kind denied` tells more", actor.denied);
    }
    if let Some(observed) = &actor.observed {
        let _ = writeln!(text, "observed    {}", observed.text("            "));
    }
    if let Some(next) = actor.next_start_ms {
        let _ = writeln!(text, "next start  in {}", span(next));
    }
    if let Some(error) = &actor.last_error {
        let _ = writeln!(text, "last error  {error}");
    }
}
