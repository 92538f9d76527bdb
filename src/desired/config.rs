//! Decides how `[config]` becomes the JSON that `init` gets.
//!
//! Keys and values are the guest's; nothing is said about their meaning. What JSON can't hold without a
//! second reading (dates, infinities) is refused. Only a table that names a secret is the host's: it stays as it is
//! written, in the spec and in what is committed, and the value takes its place when the component starts.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::{Report, Value, shown};
use crate::escape::escape;
use crate::secret::{Secret, SecretReference, is_env_name};

/// Deepest nesting of values in `[config]`.
pub const MAX_CONFIG_DEPTH: usize = 32;
/// Most secrets of one installation.
pub const MAX_SECRETS: usize = 64;
/// Most arguments of a command that prints a secret, the program itself among them.
pub const MAX_COMMAND_ARGUMENTS: usize = 32;
/// Longest path or argument, in bytes.
const MAX_TEXT_BYTES: usize = 4096;
const FILE: &str = "secret-file";
const ENV: &str = "secret-env";
const COMMAND: &str = "secret-command";
/// Keys that mark a table as the name of a secret.
const SECRET_KEYS: [&str; 3] = [FILE, ENV, COMMAND];

/// Reads the `[config]` table.
pub fn read<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Map<String, Json> {
    let DeValue::Table(table) = value.raw() else {
        value.table(report);
        return Map::new();
    };
    let mut reader = Reader { report, path: vec!["config".to_owned()], secrets: 0 };
    for key in table.keys().filter(|key| SECRET_KEYS.contains(&key.get_ref().as_ref())) {
        let message = format!("`config.{}` is the config itself", key.get_ref());
        let hint = format!("a secret is one value in it: token = {{ {} = … }}", key.get_ref());
        reader.report.error_with_hint(key.span(), message, hint);
    }
    let config = reader.table(table);
    if reader.secrets > MAX_SECRETS {
        let message = format!("`[config]` names {} secrets; at most {MAX_SECRETS} are allowed", reader.secrets);
        report.error(value.key_span.clone(), message);
    }
    config
}

/// The secrets that a config names, by the place of each: `config.mail.password`, `config.hosts[2].key`. Keys that are
/// no bare ones stand in quotes, so that no two places are written alike.
pub fn secrets(config: &Map<String, Json>) -> BTreeMap<String, SecretReference> {
    let mut found = BTreeMap::new();
    config.iter().for_each(|(key, value)| find(value, &format!("config.{}", segment(key)), &mut found));
    found
}

fn find(value: &Json, place: &str, found: &mut BTreeMap<String, SecretReference>) {
    match value {
        Json::Object(map) => match reference(map) {
            Some(reference) => drop(found.insert(place.to_owned(), reference)),
            None => map.iter().for_each(|(key, value)| find(value, &format!("{place}.{}", segment(key)), found)),
        },
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| find(value, &format!("{place}[{index}]"), found));
        }
        _ => {}
    }
}

fn segment(key: &str) -> String {
    let is_bare = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    if !key.is_empty() && key.bytes().all(is_bare) { key.to_owned() } else { escape(&Json::from(key).to_string()) }
}

/// The secret that a table names, if it does.
fn reference(map: &Map<String, Json>) -> Option<SecretReference> {
    let (key, value) = map.iter().next().filter(|_| map.len() == 1)?;
    match (key.as_str(), value) {
        (FILE, Json::String(path)) => Some(SecretReference::File(path.clone())),
        (ENV, Json::String(name)) => Some(SecretReference::Env(name.clone())),
        (COMMAND, Json::Array(argv)) => {
            let argv = argv.iter().map(|argument| argument.as_str().map(str::to_owned));
            Some(SecretReference::Command(argv.collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// The config as the component gets it: every secret in the place that names it. `None` when one is missing.
pub fn with_values(config: &Map<String, Json>, values: &BTreeMap<String, Secret>) -> Option<Map<String, Json>> {
    let places = config.iter().map(|(key, value)| (key, format!("config.{}", segment(key)), value));
    places.map(|(key, place, value)| Some((key.clone(), with_value(value, &place, values)?))).collect()
}

fn with_value(value: &Json, place: &str, values: &BTreeMap<String, Secret>) -> Option<Json> {
    Some(match value {
        Json::Object(map) if reference(map).is_some() => Json::String(values.get(place)?.expose().to_owned()),
        Json::Object(map) => {
            let inner = map.iter().map(|(key, value)| {
                Some((key.clone(), with_value(value, &format!("{place}.{}", segment(key)), values)?))
            });
            Json::Object(inner.collect::<Option<_>>()?)
        }
        Json::Array(items) => {
            let items = items.iter().enumerate();
            let items = items.map(|(index, value)| with_value(value, &format!("{place}[{index}]"), values));
            Json::Array(items.collect::<Option<_>>()?)
        }
        plain => plain.clone(),
    })
}

struct Reader<'r, 't> {
    report: &'r mut Report<'t>,
    /// The segments of the key at hand.
    path: Vec<String>,
    /// Secrets named so far.
    secrets: usize,
}

impl Reader<'_, '_> {
    fn table(&mut self, table: &DeTable<'_>) -> Map<String, Json> {
        let mut map = Map::new();
        for (key, value) in table.iter() {
            self.path.push(format!(".{}", shown(key.get_ref())));
            map.extend(self.value(value).map(|value| (key.get_ref().to_string(), value)));
            self.path.pop();
        }
        map
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Json> {
        if self.path.len() > MAX_CONFIG_DEPTH {
            return self.refuse(value, &format!("is nested deeper than {MAX_CONFIG_DEPTH} levels"), "write it flatter");
        }
        match value.get_ref() {
            DeValue::String(text) => Some(Json::String(text.to_string())),
            DeValue::Boolean(value) => Some(Json::Bool(*value)),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Some(Json::Number(number.into())),
                Err(_) => self.refuse(value, "is no 64-bit integer", "write it as a string"),
            },
            DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
                Some(number) => Some(Json::Number(number)),
                None => self.refuse(value, "is no finite number; JSON has no other", "put it in quotes"),
            },
            DeValue::Datetime(_) => self.refuse(value, "is a date; JSON has none", "put it in quotes"),
            DeValue::Array(items) => {
                let mut array = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    self.path.push(format!("[{index}]"));
                    array.extend(self.value(item));
                    self.path.pop();
                }
                Some(Json::Array(array))
            }
            DeValue::Table(table) => match table.keys().find(|key| SECRET_KEYS.contains(&key.get_ref().as_ref())) {
                Some(key) => self.secret(key.get_ref(), table, value),
                None => Some(Json::Object(self.table(table))),
            },
        }
    }

    /// A table that names a secret, as it is written.
    fn secret(&mut self, key: &str, table: &DeTable<'_>, whole: &Spanned<DeValue<'_>>) -> Option<Json> {
        self.secrets += 1;
        if table.len() != 1 {
            return self.refuse(
                whole,
                &format!("holds `{key}` and other keys"),
                "write the secret as a value of its own",
            );
        }
        let (_, value) = table.iter().next()?;
        let json = self.value(value)?;
        let is_text =
            |json: &Json| json.as_str().is_some_and(|text| text.len() <= MAX_TEXT_BYTES && !text.contains('\0'));
        let wanted = match (key, &json) {
            (FILE, Json::String(path)) if !path.is_empty() && is_text(&json) => None,
            (FILE, _) => Some("the path of a file"),
            (ENV, Json::String(name)) if is_env_name(name) => None,
            (ENV, _) => Some("the name of an environment variable: letters, digits and _"),
            (_, Json::Array(argv)) if is_command(argv, is_text) => None,
            (_, _) => Some("an array of texts, the first of them the absolute path of a program"),
        };
        match wanted {
            None => Some(Json::Object(Map::from_iter([(key.to_owned(), json)]))),
            Some(wanted) => {
                self.path.push(format!(".{key}"));
                let refused = self.refuse(value, "is no secret's place", &format!("write {wanted}"));
                self.path.pop();
                refused
            }
        }
    }

    fn refuse(&mut self, value: &Spanned<DeValue<'_>>, what: &str, hint: &str) -> Option<Json> {
        let message = format!("`{}` {what}", self.key());
        self.report.error_with_hint(value.span(), message, hint);
        None
    }

    fn key(&self) -> String {
        shown(&self.path.concat())
    }
}

fn is_command(argv: &[Json], is_text: impl Fn(&Json) -> bool) -> bool {
    let program = argv.first().and_then(Json::as_str);
    program.is_some_and(|program| program.starts_with('/'))
        && argv.len() <= MAX_COMMAND_ARGUMENTS
        && argv.iter().all(is_text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(value: Json) -> Map<String, Json> {
        value.as_object().cloned().expect("a table")
    }

    #[test]
    fn every_place_of_a_secret_has_a_name_of_its_own_and_gets_its_own_value() {
        let named = |path: &str| json!({ "secret-file": path });
        let config = config(json!({
            "a": { "b": named("1"), "list": [1, named("2"), [named("3")]] },
            "a.b": named("4"), "": named("5"), "secret-file": "no reference: it is a text", "\n": named("6"),
            "two": { "secret-file": "x", "other": 1 },
        }));
        let found = secrets(&config);
        let places: Vec<&str> = found.keys().map(String::as_str).collect();
        let wanted = [
            "config.\"\"",
            "config.\"\\n\"",
            "config.\"a.b\"",
            "config.a.b",
            "config.a.list[1]",
            "config.a.list[2][0]",
        ];
        assert_eq!(places, wanted);
        let value = |reference: &SecretReference| match reference {
            SecretReference::File(path) => Secret::new(format!("value {path}")).unwrap(),
            other => panic!("{other}"),
        };
        let mut values: BTreeMap<String, Secret> = found.iter().map(|(place, r)| (place.clone(), value(r))).collect();
        let filled = with_values(&config, &values).unwrap();
        assert_eq!(filled["a"], json!({ "b": "value 1", "list": [1, "value 2", ["value 3"]] }));
        assert_eq!((&filled["a.b"], &filled[""]), (&json!("value 4"), &json!("value 5")));
        assert_eq!(filled["two"], config["two"]);
        values.remove("config.a.list[2][0]");
        assert!(with_values(&config, &values).is_none());
    }
}
