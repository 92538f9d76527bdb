//! Owns how sets of permissions are written: as a TOML table by people, as a JSON object in records.
//!
//! Both have the same keys. An empty kind is left out, so one set has one JSON text.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use super::custom::{CustomName, CustomValue};
use super::entry::Entry;
use super::pattern::{PatternError, StorageLevel};
use super::{Kind, Permissions};
use crate::document::{Report, Table, Value};
use crate::escape::escape;

/// Most entries of one kind in one table.
pub const MAX_ENTRIES_PER_KIND: usize = 256;

impl Permissions {
    /// Reads a table of permissions; an unknown key is a problem.
    pub fn read<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Self {
        let permissions = Self { entries: read_kinds(&mut table, report) };
        table.finish(report);
        permissions
    }
}

/// Takes the kinds out of a table that may hold other keys as well.
pub(super) fn read_kinds<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> BTreeSet<Entry> {
    let mut entries = BTreeSet::new();
    if let Some(mut fs) = table.table("fs", report) {
        read_list(fs.take("read"), Entry::FsRead, &mut entries, report);
        read_list(fs.take("write"), Entry::FsWrite, &mut entries, report);
        fs.finish(report);
    }
    if let Some(mut net) = table.table("net", report) {
        read_list(net.take("connect"), Entry::NetConnect, &mut entries, report);
        read_list(net.take("listen"), Entry::NetListen, &mut entries, report);
        net.finish(report);
    }
    read_list(table.take("env"), Entry::Env, &mut entries, report);
    if let Some(level) = table.parsed::<WrittenLevel>("storage", report).and_then(|level| level.0) {
        entries.insert(Entry::Storage(level));
    }
    read_list(table.take("send"), Entry::Send, &mut entries, report);
    read_list(table.take("receive"), Entry::Receive, &mut entries, report);
    read_list(table.take("publish"), Entry::Publish, &mut entries, report);
    read_list(table.take("subscribe"), Entry::Subscribe, &mut entries, report);
    if let Some(mut custom) = table.table("custom", report) {
        let values = custom.take_rest();
        if values.len() > MAX_ENTRIES_PER_KIND {
            too_many(custom.span(), "custom", report);
        }
        entries.extend(
            values.iter().take(MAX_ENTRIES_PER_KIND).filter_map(|(name, value)| read_custom(name, value, report)),
        );
    }
    entries
}

/// A storage level as written; `none` is allowed and means no entry.
struct WrittenLevel(Option<StorageLevel>);

impl FromStr for WrittenLevel {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        StorageLevel::parse(text).map(Self)
    }
}

fn read_list<'t, P>(
    value: Option<Value<'_, 't>>,
    entry: fn(P) -> Entry,
    entries: &mut BTreeSet<Entry>,
    report: &mut Report<'t>,
) where
    P: FromStr<Err = PatternError>,
{
    let Some(value) = value else { return };
    let Some(items) = value.array(report) else { return };
    if items.len() > MAX_ENTRIES_PER_KIND {
        too_many(value.key_span, &value.path, report);
        return;
    }
    entries.extend(items.iter().filter_map(|item| item.parsed(report)).map(entry));
}

fn too_many(span: std::ops::Range<usize>, path: &str, report: &mut Report<'_>) {
    report.error(span, format!("`{}` has more than {MAX_ENTRIES_PER_KIND} entries", escape(path)));
}

fn read_custom<'t>(name: &str, value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<Entry> {
    let name = name.parse::<CustomName>();
    if let Err(error) = &name {
        report.error(value.key_span.clone(), format!("`{}`: {error}", escape(&value.path)));
    }
    let table = CustomValue::read(value, report)?;
    Some(Entry::Custom(name.ok()?, table))
}

/// The JSON object, kind by kind.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fs: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    net: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    send: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    receive: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    publish: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscribe: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    custom: BTreeMap<String, Json>,
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = Written::default();
        for entry in self.entries() {
            let list = match entry.kind() {
                Kind::FsRead => written.fs.entry("read".to_owned()).or_default(),
                Kind::FsWrite => written.fs.entry("write".to_owned()).or_default(),
                Kind::NetConnect => written.net.entry("connect".to_owned()).or_default(),
                Kind::NetListen => written.net.entry("listen".to_owned()).or_default(),
                Kind::Env => &mut written.env,
                Kind::Send => &mut written.send,
                Kind::Receive => &mut written.receive,
                Kind::Publish => &mut written.publish,
                Kind::Subscribe => &mut written.subscribe,
                // Levels come in their order, so the highest one stays.
                Kind::Storage => {
                    written.storage = Some(entry.pattern());
                    continue;
                }
                Kind::Custom(name) => {
                    if let Entry::Custom(_, value) = entry {
                        written.custom.insert(name.to_string(), value.value());
                    }
                    continue;
                }
            };
            list.push(entry.pattern());
        }
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        entries_of(written).map(|entries| Self { entries }).map_err(serde::de::Error::custom)
    }
}

fn entries_of(written: Written) -> Result<BTreeSet<Entry>, PatternError> {
    let mut texts: Vec<String> = Vec::new();
    let mut add = |kind: &str, patterns: &[String]| texts.extend(patterns.iter().map(|p| format!("{kind} {p}")));
    for (key, patterns) in &written.fs {
        add(&format!("fs.{key}"), patterns);
    }
    for (key, patterns) in &written.net {
        add(&format!("net.{key}"), patterns);
    }
    add("env", &written.env);
    add("storage", written.storage.as_slice());
    add("send", &written.send);
    add("receive", &written.receive);
    add("publish", &written.publish);
    add("subscribe", &written.subscribe);
    let mut entries = texts.iter().map(|text| text.parse()).collect::<Result<BTreeSet<Entry>, _>>()?;
    for (name, value) in &written.custom {
        entries.insert(Entry::Custom(name.parse()?, CustomValue::new(value)?));
    }
    Ok(entries)
}
