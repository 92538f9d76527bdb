//! Owns custom permissions: a name and a free table, for host extensions.
//!
//! The host knows nothing of their meaning, so one includes another only when both are equal.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Number, Value};
use toml::de::DeValue;

use super::pattern::PatternError;
use crate::document::{MAX_NESTING, Report, Value as TomlValue};
use crate::escape::escape;
use crate::name::LinkName;

/// Largest table of a custom permission, as JSON, in bytes.
pub const MAX_CUSTOM_BYTES: usize = 4 * 1024;
/// Levels below the table: those of a document without the tables around it, `permissions.custom.<name>`.
const MAX_LEVELS: usize = MAX_NESTING - 3;

/// The name of a custom permission; one part of the grammar of names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomName(LinkName);

impl CustomName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for CustomName {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.parse().map_err(|_| {
            PatternError("the name of a custom permission is a-z, 0-9 and inner hyphens, at most 64 characters")
        })?;
        Ok(Self(name))
    }
}

impl fmt::Display for CustomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The table of a custom permission.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomValue {
    /// JSON in ASCII, without spaces, keys sorted at every depth: equal tables are equal texts.
    json: Box<str>,
}

impl CustomValue {
    /// From a JSON object; anything else is refused.
    pub fn new(value: &Value) -> Result<Self, PatternError> {
        if !value.is_object() {
            return Err(PatternError("a custom permission is a table"));
        }
        if !has_form_in_toml(value, MAX_LEVELS) {
            return Err(PatternError(
                "the table of a custom permission holds null, a number beyond 64 bits or too many levels, which no file can say",
            ));
        }
        let mut json = String::new();
        write_sorted(value, &mut json);
        if json.len() > MAX_CUSTOM_BYTES {
            return Err(PatternError("the table of a custom permission is larger than 4 KiB"));
        }
        Ok(Self { json: json.into() })
    }

    /// From a TOML table; anything else, and what has no form in JSON, is reported.
    pub(super) fn read<'t>(value: &TomlValue<'_, 't>, report: &mut Report<'t>) -> Option<Self> {
        let json = to_json(&value.path, value.raw(), &value.span, report)?;
        match Self::new(&json) {
            Ok(table) => Some(table),
            Err(error) => {
                report.error(value.span.clone(), format!("`{}`: {error}", escape(&value.path)));
                None
            }
        }
    }

    /// The table.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.json).expect("the text was written from a JSON value")
    }
}

/// The depth is bounded by the parser's own limit.
fn to_json<'t>(
    path: &str,
    value: &DeValue<'t>,
    span: &std::ops::Range<usize>,
    report: &mut Report<'t>,
) -> Option<Value> {
    let json = match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Boolean(value) => Some((*value).into()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Into::into),
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(Number::from_f64);
            number.map(Value::Number)
        }
        DeValue::Datetime(_) => None,
        DeValue::Array(items) => {
            let items = items.iter().map(|item| to_json(path, item.get_ref(), &item.span(), report));
            return items.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>().map(Into::into);
        }
        DeValue::Table(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let path = format!("{path}.{}", key.get_ref());
                Some((key.get_ref().to_string(), to_json(&path, value.get_ref(), &value.span(), report)?))
            });
            return entries.collect::<Vec<_>>().into_iter().collect::<Option<_>>().map(Value::Object);
        }
    };
    if json.is_none() {
        let message = format!("`{}` holds {}, which has no form in JSON", escape(path), value.type_str());
        report.error_with_hint(span.clone(), message, "write it as a string");
    }
    json
}

impl FromStr for CustomValue {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = serde_json::from_str(text).map_err(|_| PatternError("the table is written as a JSON object"))?;
        Self::new(&value)
    }
}

/// Grants and manifests are TOML: what has no form there could be asked by nobody, and written by no hint.
fn has_form_in_toml(value: &Value, levels: usize) -> bool {
    let inner = |value: &Value| levels > 0 && has_form_in_toml(value, levels - 1);
    match value {
        Value::Null => false,
        Value::Number(number) => number.is_f64() || number.is_i64(),
        Value::Array(items) => items.iter().all(inner),
        Value::Object(map) => map.values().all(inner),
        Value::Bool(_) | Value::String(_) => true,
    }
}

/// Sorts by itself: whether a JSON map is sorted depends on a feature that any dependency can turn on.
fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            out.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_string(key, out);
                out.push(':');
                write_sorted(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_sorted(item, out);
            }
            out.push(']');
        }
        Value::String(text) => write_string(text, out),
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// Printable ASCII only, so that the text can stand in a terminal and still be read back.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
    out.push('"');
}

impl fmt::Display for CustomValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}
