//! Reads TOML documents strictly: every problem is reported at once, each at the user's own text.
//!
//! [`Table`] is a cursor: what is not asked for by the time of [`Table::finish`] is an unknown key.
//! It knows no file format; the formats are `desired`, `manifest` and `trust`.

use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Diagnostic;
use crate::escape::escape;

/// Most problems that are reported for one file.
pub const MAX_PROBLEMS_PER_FILE: usize = 50;
/// How far a key may be from a known one to be suggested (Damerau-Levenshtein).
const MAX_SUGGESTION_DISTANCE: usize = 3;

/// Collects the problems of one file.
pub struct Report<'t> {
    file: &'t str,
    text: &'t str,
    problems: Vec<Diagnostic>,
}

impl<'t> Report<'t> {
    /// For the file of this name (as shown to people) and text.
    pub fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    /// Records a problem at `span`.
    pub fn error(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.push(Diagnostic::at(self.file, self.text, span, message));
    }

    /// Records a problem at `span` and what to do about it.
    pub fn error_with_hint(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Diagnostic::at(self.file, self.text, span, message).hint(hint));
    }

    fn push(&mut self, problem: Diagnostic) {
        if self.problems.len() < MAX_PROBLEMS_PER_FILE {
            self.problems.push(problem);
        }
    }

    /// The line, from 1, in which `span` starts.
    pub fn line_of(&self, span: &Range<usize>) -> u32 {
        let before = self.text.as_bytes().iter().take(span.start);
        u32::try_from(before.filter(|b| **b == b'\n').count() + 1).unwrap_or(u32::MAX)
    }

    /// Whether nothing was reported.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problems in the order of the file.
    pub fn into_problems(mut self) -> Vec<Diagnostic> {
        self.problems.sort_by_key(|p| p.place.as_ref().map(|place| (place.line, place.column)));
        self.problems
    }
}

/// Parses `text`; syntax errors go to `report`, and what could be read is returned all the same.
pub fn parse<'t>(text: &'t str, report: &mut Report<'t>) -> Spanned<DeTable<'t>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        report.error(error.span().unwrap_or(0..0), format!("this is not valid TOML: {}", escape(error.message())));
    }
    table
}

/// A cursor over one table of a document.
pub struct Table<'d, 't> {
    entries: &'d DeTable<'t>,
    /// Dotted path with a trailing dot, empty for the document.
    path: String,
    span: Range<usize>,
    asked: Vec<String>,
}

/// A value with the key that holds it.
#[derive(Clone)]
pub struct Value<'d, 't> {
    /// Dotted path of the key.
    pub path: String,
    /// Where the key stands.
    pub key_span: Range<usize>,
    /// Where the value stands.
    pub span: Range<usize>,
    value: &'d DeValue<'t>,
}

impl<'d, 't> Table<'d, 't> {
    /// A cursor over the whole document.
    pub fn document(document: &'d Spanned<DeTable<'t>>) -> Self {
        Self { entries: document.get_ref(), path: String::new(), span: 0..0, asked: Vec::new() }
    }

    /// Where the table's header or value stands.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Dotted path of the table, empty for the document.
    pub fn path(&self) -> &str {
        self.path.trim_end_matches('.')
    }

    /// Takes a key, if it is there.
    pub fn take(&mut self, key: &str) -> Option<Value<'d, 't>> {
        self.asked.push(key.to_owned());
        let (name, value) = self.entries.get_key_value(key)?;
        Some(self.value(name, value))
    }

    /// Takes everything that is left, in the order of the keys: for tables whose keys are free.
    pub fn take_rest(&mut self) -> Vec<(String, Value<'d, 't>)> {
        let rest = self.entries.iter().filter(|(key, _)| !self.asked.iter().any(|a| a == key.get_ref()));
        let rest: Vec<_> = rest.map(|(key, value)| (key.get_ref().to_string(), self.value(key, value))).collect();
        self.asked.extend(rest.iter().map(|(key, _)| key.clone()));
        rest
    }

    fn value(&self, key: &'d Spanned<toml::de::DeString<'t>>, value: &'d Spanned<DeValue<'t>>) -> Value<'d, 't> {
        Value {
            path: format!("{}{}", self.path, key.get_ref()),
            key_span: key.span(),
            span: value.span(),
            value: value.get_ref(),
        }
    }

    /// Takes a key that must be there; its absence is reported.
    pub fn require(&mut self, key: &str, report: &mut Report<'t>) -> Option<Value<'d, 't>> {
        let value = self.take(key);
        if value.is_none() {
            let place = if self.path.is_empty() { "the file".to_owned() } else { format!("[{}]", self.path()) };
            report.error(self.span.clone(), format!("`{key}` is missing from {place}"));
        }
        value
    }

    /// Takes a key whose text is read by `T`; a bad one is reported.
    pub fn parsed<T>(&mut self, key: &str, report: &mut Report<'t>) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.take(key)?.parsed(report)
    }

    /// Takes a key that must be there and whose text is read by `T`.
    pub fn require_parsed<T>(&mut self, key: &str, report: &mut Report<'t>) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.require(key, report)?.parsed(report)
    }

    /// Takes a sub-table.
    pub fn table(&mut self, key: &str, report: &mut Report<'t>) -> Option<Table<'d, 't>> {
        self.take(key)?.table(report)
    }

    /// Refuses a key by name: it is known, and this version does not carry it out.
    pub fn refuse(&mut self, key: &str, why: &str, report: &mut Report<'t>) {
        if let Some(value) = self.take(key) {
            let message = format!("`{}` is not supported by this version", escape(&value.path));
            report.error_with_hint(value.key_span, message, why);
        }
    }

    /// Reports every key that nobody asked for.
    pub fn finish(mut self, report: &mut Report<'t>) {
        let known = self.asked.clone();
        for (key, value) in self.take_rest() {
            let message = format!("unknown key `{}`", escape(&value.path));
            let nearest = known.iter().map(|k| (strsim::damerau_levenshtein(k, &key), k)).min();
            match nearest {
                Some((distance, name)) if distance <= MAX_SUGGESTION_DISTANCE && distance < key.len() => {
                    report.error_with_hint(value.key_span, message, format!("did you mean `{name}`?"));
                }
                _ => report.error_with_hint(value.key_span, message, format!("known here: {}", known.join(", "))),
            }
        }
    }
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
        let message = format!("`{}` must be {wanted}, not {}", escape(&self.path), self.kind());
        report.error(self.span.clone(), message);
        None
    }

    /// The raw value.
    pub fn raw(&self) -> &'d DeValue<'t> {
        self.value
    }

    /// As a string.
    pub fn string(&self, report: &mut Report<'t>) -> Option<&'d str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.wrong_kind("a string", report),
        }
    }

    /// As a boolean.
    pub fn boolean(&self, report: &mut Report<'t>) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_kind("true or false", report),
        }
    }

    /// As a whole number from 0.
    pub fn integer(&self, report: &mut Report<'t>) -> Option<u64> {
        let DeValue::Integer(number) = self.value else {
            return self.wrong_kind("a whole number", report);
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
        if parsed.is_none() {
            report.error(
                self.span.clone(),
                format!("`{}` must be a whole number from 0 to {}", escape(&self.path), u64::MAX),
            );
        }
        parsed
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
                let message = format!("`{}` can't be {:?}: {}", escape(&self.path), escape(text), error);
                report.error(self.span.clone(), message);
                None
            }
        }
    }

    /// As a table.
    pub fn table(&self, report: &mut Report<'t>) -> Option<Table<'d, 't>> {
        match self.value {
            DeValue::Table(entries) => {
                // A table made by a header spans only its own lines or nothing at all; the key is what a person knows.
                Some(Table { entries, path: format!("{}.", self.path), span: self.key_span.clone(), asked: Vec::new() })
            }
            _ => self.wrong_kind("a table", report),
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
            _ => self.wrong_kind("an array", report),
        }
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
