//! Decides how `[config]` becomes the JSON that `init` gets.
//!
//! Keys and values are the guest's; nothing is said about their meaning. What JSON can't hold without a
//! second reading (dates, infinities) is refused.

use serde_json::{Map, Number, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::{Report, Value, shown};

/// Deepest nesting of values in `[config]`.
pub const MAX_CONFIG_DEPTH: usize = 32;
/// Keys that mark a value as a secret. A guest that got the table itself would take it for the secret.
const SECRET_KEYS: [&str; 2] = ["secret-file", "secret-env"];

/// Reads the `[config]` table.
pub fn read<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Map<String, Json> {
    let DeValue::Table(table) = value.raw() else {
        value.table(report);
        return Map::new();
    };
    Reader { report, path: vec!["config".to_owned()] }.table(table)
}

struct Reader<'r, 't> {
    report: &'r mut Report<'t>,
    /// The segments of the key at hand.
    path: Vec<String>,
}

impl Reader<'_, '_> {
    fn table(&mut self, table: &DeTable<'_>) -> Map<String, Json> {
        let mut map = Map::new();
        for (key, value) in table.iter() {
            self.path.push(format!(".{}", shown(key.get_ref())));
            if SECRET_KEYS.contains(&key.get_ref().as_ref()) {
                let message = format!("`{}` is not supported by this version", self.key());
                let hint = "this version hands no secrets to components; remove the value";
                self.report.error_with_hint(key.span(), message, hint);
            } else if let Some(value) = self.value(value) {
                map.insert(key.get_ref().to_string(), value);
            }
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
            DeValue::Table(table) => Some(Json::Object(self.table(table))),
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
