//! A cursor at one value: reads it as what a format wants there, or says what is written instead.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use toml::de::DeValue;

use super::{Report, Table, nearest, shown};
use crate::escape::escape;
use crate::quantity::{ByteSize, Millis};

const STRING: &str = "a string";
const BOOLEAN: &str = "true or false";
const INTEGER: &str = "a whole number";
const ARRAY: &str = "an array";
const TABLE: &str = "a table";

/// A value with the key that holds it.
#[derive(Clone)]
pub struct Value<'d, 't> {
    /// Dotted path of the key.
    pub path: String,
    /// Where the key stands.
    pub key_span: Range<usize>,
    /// Where the value stands.
    pub span: Range<usize>,
    pub(super) value: &'d DeValue<'t>,
}

impl<'d, 't> Value<'d, 't> {
    /// The kind of the value in words.
    pub fn kind(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    fn wrong_kind<T>(&self, wanted: &str, report: &mut Report<'t>) -> Option<T> {
        let message = format!("`{}` must be {wanted}, not {}", shown(&self.path), self.kind());
        let written = report.text().get(self.span.clone()).filter(|text| !text.contains('\n')).map(shown);
        let hint = written.and_then(|written| match (wanted, self.value) {
            (STRING, DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_)) => {
                Some(format!("put it in quotes: \"{written}\""))
            }
            (STRING, DeValue::Array(_)) => Some("write one value, without brackets".to_owned()),
            (ARRAY, DeValue::String(_)) => Some(format!("put it in brackets: [{written}]")),
            (BOOLEAN | INTEGER, DeValue::String(_)) => Some("write it without quotes".to_owned()),
            (TABLE, _) => Some(format!("write [{}] and its keys below", shown(&self.path))),
            _ => None,
        });
        report.keep_with_hint(self.span.clone(), message, hint);
        None
    }

    /// Whether the value is a table.
    pub fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// The raw value.
    pub fn raw(&self) -> &'d DeValue<'t> {
        self.value
    }

    /// As a string.
    pub fn string(&self, report: &mut Report<'t>) -> Option<&'d str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.wrong_kind(STRING, report),
        }
    }

    /// As a boolean.
    pub fn boolean(&self, report: &mut Report<'t>) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_kind(BOOLEAN, report),
        }
    }

    /// As a whole number from 0.
    pub fn integer(&self, report: &mut Report<'t>) -> Option<u64> {
        let DeValue::Integer(number) = self.value else {
            return self.wrong_kind(INTEGER, report);
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
        if parsed.is_none() {
            let what = if number.as_str().starts_with('-') { "negative" } else { "so large" };
            report.error(self.span.clone(), format!("`{}` can't be {what}", shown(&self.path)));
        }
        parsed
    }

    /// As one of the words of `known`. Those of `later` are refused by name.
    pub fn word<T: Copy>(&self, known: &[(&str, T)], later: &[&str], report: &mut Report<'t>) -> Option<T> {
        let written = self.string(report)?;
        if let Some((_, value)) = known.iter().find(|(word, _)| *word == written) {
            return Some(*value);
        }
        let words = || known.iter().map(|(word, _)| *word);
        let listed = words().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        let (path, written_shown) = (shown(&self.path), shown(written));
        if later.contains(&written) {
            let message = format!("`{path} = \"{written_shown}\"` is not supported by this version");
            report.error_with_hint(self.span.clone(), message, format!("write {listed}"));
        } else {
            let hint =
                nearest(written, words()).map_or(format!("write {listed}"), |word| format!("did you mean \"{word}\"?"));
            report.error_with_hint(self.span.clone(), format!("`{path}` can't be \"{written_shown}\""), hint);
        }
        None
    }

    /// Passes on what lies within `range` and reports what does not.
    pub fn within<T: PartialOrd + Display>(
        &self,
        it: T,
        range: RangeInclusive<T>,
        report: &mut Report<'t>,
    ) -> Option<T> {
        if range.contains(&it) {
            return Some(it);
        }
        let message = format!("`{}` must be from {} to {}", shown(&self.path), range.start(), range.end());
        report.error(self.span.clone(), message);
        None
    }

    /// As text that `T` reads.
    pub fn parsed<T>(&self, report: &mut Report<'t>) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.string(report)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let reason = escape(&error.to_string());
                let message = format!("`{}` can't be \"{}\": {reason}", shown(&self.path), shown(text));
                let respelt = text.trim().to_lowercase().replace(['_', ' '], "-");
                let hint = respelt.parse::<T>().is_ok().then(|| format!("did you mean \"{}\"?", shown(&respelt)));
                report.keep_with_hint(self.span.clone(), message, hint);
                None
            }
        }
    }

    /// As a length of time within `range`.
    pub fn millis(&self, range: RangeInclusive<Millis>, report: &mut Report<'t>) -> Option<Millis> {
        let time = self.quantity("s", report)?;
        self.within(time, range, report)
    }

    /// As a number of bytes within `range`.
    pub fn bytes(&self, range: RangeInclusive<ByteSize>, report: &mut Report<'t>) -> Option<ByteSize> {
        let size = self.quantity("MiB", report)?;
        self.within(size, range, report)
    }

    fn quantity<T>(&self, unit: &str, report: &mut Report<'t>) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let bare = match self.value {
            DeValue::Integer(number) => number.as_str(),
            DeValue::String(text) if text.parse::<u64>().is_ok() => text.as_ref(),
            _ => return self.parsed(report),
        };
        let message = format!("`{}` needs a unit", shown(&self.path));
        report.error_with_hint(self.span.clone(), message, format!("for instance \"{}{unit}\"", shown(bare)));
        None
    }

    /// As a table.
    pub fn table(&self, report: &mut Report<'t>) -> Option<Table<'d, 't>> {
        match self.value {
            DeValue::Table(entries) => {
                // A table made by a header spans only its own lines or nothing at all; the key is what a person knows.
                Some(Table::new(entries, [self.path.as_str(), "."].concat(), self.key_span.clone()))
            }
            _ => self.wrong_kind(TABLE, report),
        }
    }

    /// As an array; each item comes as a value of its own.
    pub fn array(&self, report: &mut Report<'t>) -> Option<Vec<Value<'d, 't>>> {
        match self.value {
            DeValue::Array(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| Value {
                        path: format!("{}[{index}]", self.path),
                        key_span: item.span(),
                        span: item.span(),
                        value: item.get_ref(),
                    })
                    .collect(),
            ),
            _ => self.wrong_kind(ARRAY, report),
        }
    }

    /// As an array of at most `most` items; a longer one is reported and left out.
    pub fn items(&self, most: usize, report: &mut Report<'t>) -> Option<Vec<Value<'d, 't>>> {
        if let DeValue::Array(items) = self.value
            && items.len() > most
        {
            let message = format!("`{}` has {} items; at most {most} are allowed", shown(&self.path), items.len());
            report.error(self.key_span.clone(), message);
            return None;
        }
        self.array(report)
    }

    /// As an array of strings that `T` reads; bad items are reported and left out.
    pub fn list<T>(&self, report: &mut Report<'t>) -> Option<Vec<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let items = self.array(report)?;
        Some(items.iter().filter_map(|item| item.parsed(report)).collect())
    }
}
