//! Decides what the keys of a desired file mean and which of them this version carries out.
//!
//! One function a table; what has rules of its own stands beside this file. A key that later versions
//! carry out is refused by name, so that nobody relies on what does not happen.

use std::collections::{BTreeMap, BTreeSet};

use semver::VersionReq;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::desired::file::EXTENSION;
use crate::desired::spec::{Delivery, OnUninstall, Require, Spec};
use crate::desired::{breaker, config, source, supervision};
use crate::document::{Report, Table, Value, shown};
use crate::escape::escape;
use crate::limits::LimitOverrides;
use crate::name::{InstallationName, LinkName, MAX_NAME_PART_BYTES};
use crate::permission::{Declined, Entry, Grant, Mode, Topic};

/// Most entries of `depends-on`.
pub const MAX_DEPENDENCIES: usize = 256;
/// Most entries of `subscriptions`.
pub const MAX_SUBSCRIPTIONS: usize = 64;
/// Most entries of `[links]`.
pub const MAX_LINKS: usize = 256;

/// The smallest valid file, for messages.
pub const SMALLEST: &str = "package = \"namespace:name\"\n\n[source.file]\npath = \"../components/name\"";

const TOP: &str = "at the top of the file, above the first [table]";
/// Where keys belong that stand in a wrong table.
pub const HOMES: &[(&str, &str)] = &[
    ("name", TOP),
    ("package", TOP),
    ("enabled", TOP),
    ("depends-on", TOP),
    ("moved-from", TOP),
    ("delivery", TOP),
    ("permissions", TOP),
    ("subscriptions", TOP),
    ("version", "in [require]"),
    ("signer", "in [require]"),
    ("path", "in [source.file]"),
    ("send", "in [grant]"),
    ("receive", "in [grant]"),
    ("publish", "in [grant]"),
    ("without", "in [grant]"),
    ("call", "in [limits]"),
    ("init", "in [limits]"),
    ("drain", "in [limits]"),
    ("stop", "in [limits]"),
    ("memory", "in [limits]"),
    ("message", "in [limits]"),
    ("mailbox-bytes", "in [limits]"),
    ("sends", "in [limits]"),
    ("open-requests", "in [limits]"),
    ("storage-keys", "in [limits]"),
    ("mailbox-overflow", "in [limits]"),
    ("mailbox-wait", "in [limits]"),
    ("send-rate", "in [limits]"),
    ("send-burst", "in [limits]"),
    ("max-cpu-percent", "in [limits]"),
    ("retries", "in [limits]"),
    ("retry-wait", "in [limits]"),
    ("failure-threshold", "in [breaker]"),
    ("success-threshold", "in [breaker]"),
    ("open-time", "in [breaker]"),
    ("restart", "in [supervision]"),
    ("max-restarts", "in [supervision]"),
    ("window", "in [supervision]"),
    ("backoff", "in [supervision]"),
    ("backoff-max", "in [supervision]"),
    ("strategy", "in [deploy]"),
    ("on-uninstall", "in [deploy]"),
    ("every", "in [[trigger]]"),
];

/// Keys of the document that later versions carry out, and what to do today.
const LATER: [(&str, &str); 11] = [
    ("schedule", "the only trigger of this version is a period: [[trigger]] every = \"1m\""),
    ("cron", "the only trigger of this version is a period: [[trigger]] every = \"1m\""),
    ("on", "the only trigger of this version is a period: [[trigger]] every = \"1m\""),
    (
        "subscribe",
        "what it takes from its start on is written subscriptions = [\"orders.*\"]; what it may take, in [grant]",
    ),
    ("instances", "one instance runs; remove the line"),
    ("overflow", "what a full mailbox does is set in [limits]: mailbox-overflow = \"drop-oldest\""),
    ("mailbox", "its size is set in [limits]: mailbox = 1024, mailbox-bytes = \"8MiB\""),
    ("storage", "what a component may store is granted: [grant] storage = \"read-write\""),
    ("secrets", "a secret is a value in [config]: token = { secret-file = \"…\" }"),
    ("env", "a component gets its settings from [config]"),
    ("health", "remove it; the host asks the component itself"),
];

/// What could be read of a file.
pub struct Read {
    /// The spec; to be used only when nothing was reported.
    pub spec: Option<Spec>,
    /// See [`super::file::ParsedFile::name_hint`].
    pub name: Option<InstallationName>,
    /// See [`super::file::ParsedFile::moved_from_hint`].
    pub moved_from: Option<InstallationName>,
}

/// Reads the whole document.
pub fn read<'t>(file: &str, document: &Spanned<DeTable<'t>>, report: &mut Report<'t>) -> Read {
    let mut root = Table::document(document);
    if root.holds("wasm") {
        let hint = "it belongs beside its wasm; a desired file names that directory in [source.file]";
        report.missing(None, "this is a component's manifest, not a desired file", Some(hint.to_owned()));
        return Read { spec: None, name: None, moved_from: None };
    }
    let written_name = root.take("name");
    let name = match &written_name {
        Some(value) => value.parsed(report),
        None => name_of_stem(file, report),
    };
    let written_moved_from = root.take("moved-from");
    let moved_from = written_moved_from.as_ref().and_then(|value| moved_from(value, name.as_ref(), report));
    let spec = read_rest(&mut root, name.clone(), moved_from.clone(), report);
    let name = match &written_name {
        Some(value) => name.filter(|_| is_certain(value, report)),
        None => name.filter(|_| has_no_other_name(document.get_ref(), &root, report)),
    };
    let moved_from = moved_from.filter(|_| written_moved_from.is_some_and(|value| is_certain(&value, report)));
    root.finish(report);
    Read { spec, name, moved_from }
}

fn read_rest<'t>(
    root: &mut Table<'_, 't>,
    name: Option<InstallationName>,
    moved_from: Option<InstallationName>,
    report: &mut Report<'t>,
) -> Option<Spec> {
    let package = root.take("package");
    if package.is_none() {
        root.report_missing("package", Some("add at the top: package = \"namespace:name\"".to_owned()), report);
    }
    let package = package.and_then(|value| {
        if value.is_table() {
            let hint = "write it at the top: package = \"namespace:name\"";
            report.error_with_hint(value.key_span, "`package` must be a string, not a table", hint);
            return None;
        }
        let text = value.string(report)?;
        if let Some((package, version)) = text.split_once('@') {
            let message = format!("`package` can't be \"{}\": it is a name without a version", shown(text));
            let hint =
                format!("write package = \"{}\", and in [require] version = \"{}\"", shown(package), shown(version));
            report.error_with_hint(value.span, message, hint);
            return None;
        }
        value.parsed(report)
    });
    let enabled = root.take("enabled").and_then(|value| value.boolean(report));
    let depends_on = root.take("depends-on").map(|value| depends_on(&value, name.as_ref(), report));
    let known = [Delivery::Memory, Delivery::Durable].map(|delivery| (delivery.as_str(), delivery));
    let delivery = root.take("delivery").and_then(|value| value.word(&known, &[], report));
    let subscriptions = root.take("subscriptions").and_then(|value| subscriptions(&value, report));
    let require = root.table("require", report).map(|table| require(table, report));
    let source = source::read(root, report);
    let grant = root.take("grant").and_then(|value| grant(&value, report));
    let mode = root.take("permissions").and_then(|value| mode(&value, report));
    let links = root.table("links", report).map(|table| links(table, report));
    let config = root.take("config").map(|value| config::read(&value, report));
    let limits = root.table("limits", report).map(|table| LimitOverrides::read(table, report));
    let supervision = root.table("supervision", report).map(|table| supervision::read(table, report));
    let breaker = root.table("breaker", report).map(|table| breaker::read(table, report));
    let on_uninstall = root.table("deploy", report).and_then(|table| deploy(table, report));
    let triggers = root.take("trigger").map(|value| supervision::read_triggers(&value, report));
    for (key, what_to_do) in LATER {
        root.refuse(key, what_to_do, report);
    }
    Some(Spec {
        name: name?,
        package: package?,
        enabled: enabled.unwrap_or(true),
        depends_on: depends_on.unwrap_or_default(),
        moved_from,
        require: require.unwrap_or_default(),
        source: source?,
        grant: Grant { mode: mode.unwrap_or_default(), ..grant.unwrap_or_default() },
        links: links.unwrap_or_default(),
        config: config.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        supervision: supervision.unwrap_or_default(),
        breaker,
        on_uninstall: on_uninstall.unwrap_or_default(),
        delivery: delivery.unwrap_or_default(),
        triggers: triggers.unwrap_or_default(),
        subscriptions: subscriptions.unwrap_or_default(),
    })
}

/// Without `name` the file's stem is the name.
fn name_of_stem(file: &str, report: &mut Report<'_>) -> Option<InstallationName> {
    // In a repository the file is called by its path.
    let name = file.rsplit('/').next().unwrap_or(file);
    let stem = name.strip_suffix(EXTENSION).unwrap_or(name);
    match stem.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("the file name \"{}\" can't be the installation's name: {error}", shown(stem));
            let hint = format!("add at the top: name = \"{}\"\nor rename the file", nearest_name(stem));
            report.missing(None, message, Some(hint));
            None
        }
    }
}

/// A valid name that looks like `text`.
fn nearest_name(text: &str) -> String {
    let lower = text.chars().flat_map(char::to_lowercase).map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let mut name = String::new();
    for c in lower.filter(char::is_ascii).take(MAX_NAME_PART_BYTES) {
        if c != '-' || !name.is_empty() && !name.ends_with('-') {
            name.push(c);
        }
    }
    match name.trim_end_matches('-') {
        "" => "my-component".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether a value was read as it was meant: no syntax error stands before it or on its line.
fn is_certain(value: &Value<'_, '_>, report: &Report<'_>) -> bool {
    report.broken_at().is_none_or(|at| report.line_of(&value.span) < report.line_of(&(at..at)))
}

/// Whether the stem is certainly the name that is meant: the file is no torn half whose `name` got lost (a
/// header was reached, and no key of the document can follow one), and no unknown key could be a misspelt one.
fn has_no_other_name(document: &DeTable<'_>, root: &Table<'_, '_>, report: &Report<'_>) -> bool {
    report.broken_at().is_none()
        && !root.has_unasked()
        && document.keys().any(|key| is_header(report.text(), key.span().start))
}

/// Whether the key that starts at `at` is the first of a `[table]` header.
fn is_header(text: &str, at: usize) -> bool {
    text[..at].trim_end_matches([' ', '\t']).ends_with('[')
}

fn moved_from<'t>(
    value: &Value<'_, 't>,
    name: Option<&InstallationName>,
    report: &mut Report<'t>,
) -> Option<InstallationName> {
    let moved_from: InstallationName = value.parsed(report)?;
    if Some(&moved_from) == name {
        let message = format!("`moved-from` is the installation's own name, \"{moved_from}\"");
        report.error_with_hint(value.span.clone(), message, "write the name that it had before, or remove the line");
        return None;
    }
    Some(moved_from)
}

fn depends_on<'t>(
    value: &Value<'_, 't>,
    name: Option<&InstallationName>,
    report: &mut Report<'t>,
) -> BTreeSet<InstallationName> {
    let mut names = BTreeSet::new();
    for item in value.items(MAX_DEPENDENCIES, report).unwrap_or_default() {
        let Some(other) = item.parsed(report) else { continue };
        if Some(&other) == name {
            let message = format!("\"{other}\" can't depend on itself");
            report.error_with_hint(item.span, message, "remove it from `depends-on`");
        } else {
            names.insert(other);
        }
    }
    names
}

fn subscriptions<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<BTreeSet<Topic>> {
    Some(value.items(MAX_SUBSCRIPTIONS, report)?.iter().filter_map(|item| item.parsed(report)).collect())
}

fn require<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Require {
    let version = table.take("version").and_then(|value| {
        let text = value.string(report)?;
        let version = VersionReq::parse(text);
        if let Err(error) = &version {
            let message = format!("`require.version` can't be \"{}\": {}", shown(text), escape(&error.to_string()));
            let hint = "write \"^1.4\" for 1.4 and what is compatible, \"=1.4.2\" for one version";
            report.error_with_hint(value.span.clone(), message, hint);
        }
        version.ok()
    });
    let signer = table.parsed("signer", report);
    table.finish(report);
    Require { version, signer }
}

/// What becomes of what is asked for and not granted.
fn mode<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<Mode> {
    if value.is_table() {
        let hint =
            "what you grant stands in [grant]; `permissions` is \"enforce\" or \"observe\", at the top of the file";
        report.error_with_hint(value.key_span.clone(), "`permissions` is no table", hint);
        return None;
    }
    let known = [Mode::Enforce, Mode::Observe].map(|mode| (mode.as_str(), mode));
    value.word(&known, &[], report)
}

fn grant<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<Grant> {
    let grant = Grant::read(value.table(report)?, report);
    let DeValue::Table(table) = value.raw() else { return None };
    refuse_open_customs(table, report);
    let start_of = |is_wanted: &dyn Fn(&str) -> bool| {
        table.keys().filter(|key| is_wanted(key.get_ref())).map(|key| key.span()).min_by_key(|span| span.start)
    };
    // While the file is being written, its first half may be read: it must not grant what the second half takes.
    if let (Some(without), Some(given)) = (start_of(&|key| key == "without"), start_of(&|key| key != "without"))
        && without.start > given.start
        && grant.without.iter().any(|declined| takes_from(declined, &grant))
    {
        let message = "`grant.without` takes out of what the lines above it give";
        report.error_with_hint(without, message, "write `without` as the first line of [grant]");
    }
    Some(grant)
}

/// Refuses custom permissions whose table has no end of its own. Such a permission is its whole table, so the
/// first lines of the table would be another permission.
fn refuse_open_customs<'t>(grant: &DeTable<'t>, report: &mut Report<'t>) {
    let Some(DeValue::Table(customs)) = grant.get("custom").map(Spanned::get_ref) else { return };
    for (name, value) in customs.iter() {
        if value.get_ref().is_table() && !report.text()[value.span()].starts_with('{') {
            let name_shown = shown(name.get_ref());
            let message = format!("`grant.custom.{name_shown}` must be written in braces");
            let hint =
                format!("write custom.{name_shown} = {{ … }} in [grant], so that half a file grants nothing else");
            report.error_with_hint(name.span(), message, hint);
        }
    }
}

/// Whether a declined entry narrows what is granted.
fn takes_from(declined: &Declined, grant: &Grant) -> bool {
    match declined {
        Declined::Kind(_) => false,
        Declined::Entry(entry) => {
            let overlaps = |given: &&Entry| entry.meet(given).is_some() && !entry.covers(given);
            grant.permissions.entries().any(|given| overlaps(&given))
        }
    }
}

fn links<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> BTreeMap<LinkName, InstallationName> {
    let span = table.span();
    let entries = table.take_rest();
    if entries.len() > MAX_LINKS {
        report.error(span, format!("`links` has {} entries; at most {MAX_LINKS} are allowed", entries.len()));
        return BTreeMap::new();
    }
    let mut links = BTreeMap::new();
    for (word, value) in entries {
        let link: Option<LinkName> = match word.parse() {
            Ok(link) => Some(link),
            Err(error) => {
                report.error(value.key_span.clone(), format!("a link can't be named \"{}\": {error}", shown(&word)));
                None
            }
        };
        if let (Some(link), Some(target)) = (link, value.parsed(report)) {
            links.insert(link, target);
        }
    }
    links
}

/// Accepts of the strategies what the host does anyway, and nothing else.
fn deploy<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Option<OnUninstall> {
    if let Some(value) = table.take("strategy") {
        value.word(&[("blue-green", ())], &["immediate", "canary", "rolling"], report);
    }
    let known = [OnUninstall::Keep, OnUninstall::Purge].map(|what| (what.as_str(), what));
    let on_uninstall = table.take("on-uninstall").and_then(|value| value.word(&known, &[], report));
    table.finish(report);
    on_uninstall
}
