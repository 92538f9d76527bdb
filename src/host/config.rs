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

    /// The value at a dotted key that is no table: a text as it is, everything else as JSON.
    pub(super) fn flat(&self, key: &str) -> Option<String> {
        (key.len() <= MAX_KEY_BYTES).then(|| look_up(&self.table, key)).flatten().and_then(flat_text)
    }

    /// All of these with their keys, in the order of the keys; none when they are more than `most` bytes together.
    pub(super) fn all_flat(&self, most: usize) -> Option<Vec<(String, String)>> {
        let mut all = Flat { table: &self.table, all: Vec::new(), room: most };
        all.add_table(&self.table, &mut String::new())?;
        all.all.sort_unstable();
        Some(all.all)
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

/// What a flat list says of a value; nothing of a table, whose entries it lists.
fn flat_text(value: &Value) -> Option<String> {
    match value {
        Value::Object(_) => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A table on its way into a list.
struct Flat<'v> {
    table: &'v Map<String, Value>,
    all: Vec<(String, String)>,
    /// Bytes that there is room for.
    room: usize,
}

impl Flat<'_> {
    /// Adds what is in `table`, whose own key and a dot is `prefix`; none when there is no more room.
    fn add_table(&mut self, table: &Map<String, Value>, prefix: &mut String) -> Option<()> {
        let start = prefix.len();
        for (key, value) in table {
            prefix.push_str(key);
            if prefix.len() <= MAX_KEY_BYTES {
                self.add(value, prefix)?;
            }
            prefix.truncate(start);
        }
        Some(())
    }

    fn add(&mut self, value: &Value, key: &mut String) -> Option<()> {
        if let Value::Object(inner) = value {
            key.push('.');
            return self.add_table(inner, key);
        }
        // Two may have the same key, one being written in quotes. The list has the one that is found by it.
        if let Some(text) = flat_text(value)
            && look_up(self.table, key).is_some_and(|found| std::ptr::eq(found, value))
        {
            self.room = self.room.checked_sub(key.len() + text.len())?;
            self.all.push((key.clone(), text));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(config: &str, most: usize) -> Option<Vec<(String, String)>> {
        let Value::Object(table) = serde_json::from_str(config).unwrap() else { panic!("a table is meant") };
        let config = GuestConfig::new(table, Vec::new());
        let all = config.all_flat(most);
        for (key, value) in all.iter().flatten() {
            assert_eq!(config.flat(key).as_ref(), Some(value), "{key}");
        }
        all
    }

    #[test]
    fn a_flat_list_has_each_value_once_and_under_the_key_that_finds_it() {
        let config =
            r#"{"limits":{"high":30,"names":["a"],"none":{}},"a.b":{"c":true},"a":{"b":{"c":false,"d":"x y"}}}"#;
        let all = [("a.b.c", "false"), ("a.b.d", "x y"), ("limits.high", "30"), ("limits.names", r#"["a"]"#)];
        let all = all.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let bytes = all.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert_eq!(flat(config, bytes), Some(all));
        assert_eq!(flat(config, bytes - 1), None);
        assert_eq!(flat("{}", 0), Some(Vec::new()));
    }

    #[test]
    fn tables_and_what_is_not_there_have_no_flat_value() {
        let table = serde_json::json!({"limits": {"high": 30}, "empty": {}});
        let Value::Object(table) = table else { panic!("a table is meant") };
        let config = GuestConfig::new(table, Vec::new());
        for key in ["limits", "empty", "", "limits.", "limits.low", &"x".repeat(MAX_KEY_BYTES + 1)] {
            assert_eq!(config.flat(key), None, "{key}");
        }
    }

    #[test]
    fn keys_that_are_too_long_to_be_found_are_not_listed() {
        let long = "k".repeat(MAX_KEY_BYTES - 1);
        let config = serde_json::json!({ (long.clone()): {"a": 1}, (format!("{long}k")): 2, (format!("{long}kk")): 3 });
        let all = flat(&config.to_string(), 10_000).unwrap();
        assert_eq!(all, [(format!("{long}k"), "2".to_owned())]);
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
