//! Owns the canonical text of a spec: what reads back as the same spec.
//!
//! It keeps no comments and no order of a file that exists; it is for files that this program makes.
//!
//! The order of the tables is chosen with a half-written file in mind: `[source]` comes last, so that no
//! proper part of the text is a valid file, and what narrows a table's meaning stands before that table.

use serde_json::{Map, Value as Json};
use toml::Value as Toml;

use crate::desired::spec::{Breaker, Delivery, GitReference, OnUninstall, Source, Spec, Supervision};
use crate::limits::LimitOverrides;
use crate::permission::{Entry, Grant, Mode};
use crate::quantity::{ByteSize, Millis};

/// The text of a desired file that asks for `spec`.
pub fn write(spec: &Spec) -> String {
    // No `..`: a new field of the spec must find its place here.
    let Spec {
        name,
        package,
        enabled,
        depends_on,
        moved_from,
        require,
        source,
        grant,
        links,
        config,
        limits,
        supervision,
        breaker,
        on_uninstall,
        delivery,
        triggers,
        subscriptions,
    } = spec;
    let mut text = format!("name = {}\npackage = {}\n", quoted(name), quoted(package));
    if !enabled {
        text += "enabled = false\n";
    }
    if !depends_on.is_empty() {
        text += &format!("depends-on = [{}]\n", depends_on.iter().map(quoted).collect::<Vec<_>>().join(", "));
    }
    if !subscriptions.is_empty() {
        text += &format!("subscriptions = [{}]\n", subscriptions.iter().map(quoted).collect::<Vec<_>>().join(", "));
    }
    text += &line("moved-from", moved_from.as_ref());
    if *delivery != Delivery::default() {
        text += &line("delivery", Some(&delivery.as_str()));
    }
    if grant.mode != Mode::default() {
        text += &line("permissions", Some(&grant.mode.as_str()));
    }

    add_table(
        &mut text,
        "[require]",
        line("version", require.version.as_ref()) + &line("signer", require.signer.as_ref()),
    );
    add_table(&mut text, "[links]", links.iter().map(|(link, target)| line(link.as_str(), Some(target))).collect());
    add_table(&mut text, "[limits]", limit_lines(limits));
    add_table(&mut text, "[supervision]", supervision_lines(supervision));
    if let Some(Breaker { failure_threshold, success_threshold, open_time }) = breaker {
        let thresholds = format!("failure-threshold = {failure_threshold}\nsuccess-threshold = {success_threshold}\n");
        add_table(&mut text, "[breaker]", thresholds + &line("open-time", Some(open_time)));
    }
    if *on_uninstall != OnUninstall::default() {
        add_table(&mut text, "[deploy]", line("on-uninstall", Some(&on_uninstall.as_str())));
    }
    for trigger in triggers {
        add_table(&mut text, "[[trigger]]", line("every", Some(&trigger.every)));
    }
    if !config.is_empty() {
        text += "\n";
        text += &config_text(config);
    }
    add_table(&mut text, "[grant]", grant_lines(grant));
    text += &source_table(source);
    text
}

/// A pin comes before what it pins, and the line without which the table is not valid comes last.
fn source_table(source: &Source) -> String {
    let mut text = String::new();
    match source {
        Source::File { path } => add_table(&mut text, "[source.file]", line("path", Some(path))),
        Source::Git { url, at, path } => {
            let at = match at {
                GitReference::Tag(name) => line("tag", Some(name)),
                GitReference::Branch(name) => line("branch", Some(name)),
                GitReference::Commit(id) => line("commit", Some(id)),
            };
            add_table(&mut text, "[source.git]", line("url", Some(url)) + &at + &line("path", Some(path)));
        }
        Source::Url { url, sha256 } => {
            add_table(
                &mut text,
                "[source.url]",
                line("sha256", sha256.map(|digest| digest.hex()).as_ref()) + &line("url", Some(url)),
            );
        }
    }
    text
}

fn add_table(text: &mut String, header: &str, lines: String) {
    if !lines.is_empty() {
        *text += &format!("\n{header}\n{lines}");
    }
}

/// A line with a quoted value, or nothing.
fn line(key: &str, value: Option<&impl ToString>) -> String {
    value.map_or(String::new(), |value| format!("{key} = {}\n", quoted(value)))
}

/// Always on one line: of `"""a""""`, which is `a"`, the part without the last character is valid too.
fn quoted(value: &impl ToString) -> String {
    let mut text = String::from("\"");
    for c in value.to_string().chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text += &format!("\\u{:04X}", u32::from(c)),
            c => text.push(c),
        }
    }
    text + "\""
}

fn limit_lines(limits: &LimitOverrides) -> String {
    let LimitOverrides {
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
    let time = |key: &str, value: &Option<Millis>| line(key, value.as_ref());
    let size = |key: &str, value: &Option<ByteSize>| line(key, value.as_ref());
    let count = |key: &str, value: &Option<u64>| value.map_or(String::new(), |count| format!("{key} = {count}\n"));
    [
        time("call", call),
        time("init", init),
        time("drain", drain),
        time("stop", stop),
        size("memory", memory),
        size("message", message),
        count("mailbox", mailbox),
        size("mailbox-bytes", mailbox_bytes),
        count("sends", sends),
        count("open-requests", open_requests),
        size("storage", storage),
        count("storage-keys", storage_keys),
        line("mailbox-overflow", mailbox_overflow.as_ref()),
        time("mailbox-wait", mailbox_wait),
        count("send-rate", send_rate),
        count("send-burst", send_burst),
        count("max-cpu-percent", max_cpu_percent),
        count("retries", retries),
        time("retry-wait", retry_wait),
    ]
    .concat()
}

/// Only what differs from the default.
fn supervision_lines(supervision: &Supervision) -> String {
    let Supervision { restart, max_restarts, window, backoff, backoff_max } = supervision;
    let default = Supervision::default();
    let mut lines = String::new();
    if *restart != default.restart {
        lines += &line("restart", Some(&restart.as_str()));
    }
    if *max_restarts != default.max_restarts {
        lines += &format!("max-restarts = {max_restarts}\n");
    }
    let times = [
        ("window", window, default.window),
        ("backoff", backoff, default.backoff),
        ("backoff-max", backoff_max, default.backoff_max),
    ];
    for (key, value, _) in times.into_iter().filter(|(_, value, default)| *value != default) {
        lines += &line(key, Some(value));
    }
    lines
}

fn grant_lines(grant: &Grant) -> String {
    // The mode stands at the top of the file.
    let Grant { permissions, without, mode: _ } = grant;
    let mut lines = String::new();
    if !without.is_empty() {
        lines += &format!("without = [{}]\n", without.iter().map(quoted).collect::<Vec<_>>().join(", "));
    }
    let entries: Vec<Entry> = permissions.entries().cloned().collect();
    for line in Grant::default().lines_with(&entries) {
        lines += &line;
        lines.push('\n');
    }
    lines
}

fn config_text(config: &Map<String, Json>) -> String {
    let document = toml::Table::from_iter([("config".to_owned(), Toml::Table(to_table(config)))]);
    toml::to_string(&document).expect("a table of strings, numbers and tables has a form in TOML")
}

fn to_table(map: &Map<String, Json>) -> toml::Table {
    map.iter().filter_map(|(key, value)| Some((key.clone(), to_toml(value)?))).collect()
}

/// `None` for null, which no spec that was read from a file holds.
fn to_toml(value: &Json) -> Option<Toml> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(value) => Toml::Boolean(*value),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Toml::Integer(integer),
            None => Toml::Float(number.as_f64()?),
        },
        Json::String(text) => Toml::String(text.clone()),
        Json::Array(items) => Toml::Array(items.iter().filter_map(to_toml).collect()),
        Json::Object(map) => Toml::Table(to_table(map)),
    })
}
