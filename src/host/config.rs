//! Owns `airssys:component/config`: a guest reads its desired file's `[config]`.
//!
//! Read-only, and only its own.

use std::sync::Arc;

use serde_json::{Map, Value};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};
use zeroize::{Zeroize as _, Zeroizing};

use super::Guest;
use crate::secret::{Redactions, Secret};

pub(super) const INTERFACE: &str = "airssys:component/config@0.1.0";
/// Longest key that is looked up, in bytes; no key of a desired file is longer.
const MAX_KEY_BYTES: usize = 1024;

/// The config of one component as the component gets it, secrets included. Wiped when dropped; there is no way to
/// print it.
pub struct GuestConfig {
    table: Map<String, Value>,
    text: Arc<str>,
    redactions: Redactions,
    has_secrets: bool,
}

impl GuestConfig {
    /// `table` with the values of `secrets` in it.
    pub fn new(table: Map<String, Value>, secrets: Vec<Secret>) -> Self {
        let has_secrets = !secrets.is_empty();
        Self { text: text(&table), table, redactions: Redactions::of(secrets), has_secrets }
    }

    /// What `init` gets: one JSON object.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The value at a dotted key, unless that is a table: a text as it is, everything else as JSON.
    pub(super) fn flat_value(&self, key: &str) -> Option<String> {
        if key.len() > MAX_KEY_BYTES {
            return None;
        }
        flat_text(look_up(&self.table, key)?)
    }

    /// All of them, in the order of their keys.
    pub(super) fn flat(&self) -> Vec<(String, String)> {
        let mut flat = std::collections::BTreeMap::new();
        flatten(&mut flat, "", &self.table);
        // Where a key is written in two ways, both calls have the same value.
        let same = |(key, value): (String, String)| {
            let found = self.flat_value(&key);
            (key, found.unwrap_or(value))
        };
        flat.into_iter().map(same).collect()
    }

    /// Takes the secrets out of what the component says.
    pub fn redactions(&self) -> &Redactions {
        &self.redactions
    }
}

impl Drop for GuestConfig {
    fn drop(&mut self) {
        if !self.has_secrets {
            return;
        }
        self.table.values_mut().for_each(wipe);
        if let Some(text) = Arc::get_mut(&mut self.text) {
            text.zeroize();
        }
    }
}

/// Written into room that was measured before, so that growing leaves no copies behind.
fn text(table: &Map<String, Value>) -> Arc<str> {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, table).expect("a table of JSON values is JSON");
    let mut bytes = Zeroizing::new(Vec::with_capacity(counter.0));
    serde_json::to_writer(&mut *bytes, table).expect("a table of JSON values is JSON");
    Arc::from(std::str::from_utf8(&bytes).expect("JSON is UTF-8"))
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap("get", |store: StoreContextMut<'_, Guest>, (key,): (WasmStr,)| {
        let key = key.to_str(&store)?;
        let found = (key.len() <= MAX_KEY_BYTES).then(|| look_up(&store.data().config.table, &key)).flatten();
        Ok((found.map(Value::to_string),))
    })
}

/// The value at a dotted key. A key that was written with dots in quotes is found too.
fn look_up<'v>(table: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    if let Some(value) = table.get(key) {
        return Some(value);
    }
    let dots = key.match_indices('.');
    dots.filter_map(|(at, _)| Some((table.get(&key[..at])?.as_object()?, &key[at + 1..])))
        .find_map(|(inner, rest)| look_up(inner, rest))
}

fn flat_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

fn flatten(flat: &mut std::collections::BTreeMap<String, String>, prefix: &str, table: &Map<String, Value>) {
    for (key, value) in table {
        let whole = format!("{prefix}{key}");
        match value {
            Value::Object(inner) => flatten(flat, &format!("{whole}."), inner),
            leaf => drop(flat.insert(whole, flat_text(leaf).unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_flat_and_each_of_it_is_found_by_its_key() {
        let Value::Object(table) = serde_json::json!({
            "name": "a \"b\"", "high": 30, "on": true, "list": ["x", 1], "empty": {}, "a.b": { "c": "quoted" },
            "limits": { "low": 1.5, "deep": { "er": "text" } },
        }) else {
            panic!("a table is meant")
        };
        let config = GuestConfig::new(table, Vec::new());
        let flat = config.flat();
        let expected = [
            ("a.b.c", "quoted"),
            ("high", "30"),
            ("limits.deep.er", "text"),
            ("limits.low", "1.5"),
            ("list", r#"["x",1]"#),
            ("name", r#"a "b""#),
            ("on", "true"),
        ];
        assert_eq!(flat, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        for (key, value) in flat {
            assert_eq!(config.flat_value(&key), Some(value), "{key}");
        }
        for key in ["", "limits", "limits.deep", "empty", "nothing"] {
            assert_eq!(config.flat_value(key), None, "{key}");
        }
    }

    fn found(config: &str, key: &str) -> Option<String> {
        let Value::Object(table) = serde_json::from_str(config).unwrap() else { panic!("a table is meant") };
        look_up(&table, key).map(Value::to_string)
    }

    #[test]
    fn dotted_keys_walk_into_tables() {
        let config = r#"{"limits":{"high":30,"names":["a"]},"a.b":{"c":true},"a":{"b":{"d":null}}}"#;
        assert_eq!(found(config, "limits.high").as_deref(), Some("30"));
        assert_eq!(found(config, "limits.names").as_deref(), Some(r#"["a"]"#));
        assert_eq!(found(config, "limits").as_deref(), Some(r#"{"high":30,"names":["a"]}"#));
        assert_eq!(found(config, "a.b.c").as_deref(), Some("true"));
        assert_eq!(found(config, "a.b.d").as_deref(), Some("null"));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for key in ["", ".", "limits.", ".limits", "limits.high.x", "limits.low", "..", "limits..high"] {
            assert_eq!(found(r#"{"limits":{"high":30}}"#, key), None, "{key:?}");
        }
    }
}
