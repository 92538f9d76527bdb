//! Reads TOML documents strictly: every problem is reported at once, each at the user's own text.
//!
//! [`Table`] is a cursor: what is not asked for by the time of [`Table::finish`] is an unknown key.
//! It knows no file format; the formats are `desired`, `manifest` and `trust`.

mod errors;
mod report;
mod syntax;
mod value;

use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

pub use errors::MAX_SYNTAX_ERRORS;
pub use report::{MAX_PROBLEMS_PER_FILE, Report};
pub use syntax::{MAX_NESTING, parse};
pub use value::Value;

use crate::escape::{escape, without_userinfo};

/// How far a key may be from a known one to be suggested (Damerau-Levenshtein).
const MAX_SUGGESTION_DISTANCE: usize = 3;
/// Longest key for which a suggestion is sought, in bytes.
const MAX_SUGGESTION_BYTES: usize = 64;
/// Longest piece of a file's text in a message, in characters.
const MAX_SHOWN_CHARS: usize = 80;

/// A piece of a file's text as messages show it: escaped and cut to a bounded length.
pub fn shown(text: &str) -> String {
    let text = &*without_userinfo(text);
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((at, _)) => escape(&text[..at]) + "…",
        None => escape(text),
    }
}

/// A cursor over one table of a document.
pub struct Table<'d, 't> {
    entries: &'d DeTable<'t>,
    /// Dotted path with a trailing dot, empty for the document.
    path: String,
    span: Range<usize>,
    /// Keys that were asked for and that a person may be pointed to, a line each.
    known: String,
    /// Where the keys start that are there and were asked for.
    found: Vec<usize>,
}

impl<'d, 't> Table<'d, 't> {
    /// A cursor over the whole document.
    pub fn document(document: &'d Spanned<DeTable<'t>>) -> Self {
        Self::new(document.get_ref(), String::new(), 0..0)
    }

    fn new(entries: &'d DeTable<'t>, path: String, span: Range<usize>) -> Self {
        // Enough for all keys of most tables: asking is what readers do most.
        Self { entries, path, span, known: String::with_capacity(128), found: Vec::new() }
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
        let value = self.find(key);
        self.known += key;
        self.known += "\n";
        value
    }

    /// Whether the key is there, without taking it.
    pub fn holds(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    fn find(&mut self, key: &str) -> Option<Value<'d, 't>> {
        let (key, value) = self.entries.get_key_value(key)?;
        let start = key.span().start;
        if !self.found.contains(&start) {
            self.found.push(start);
        }
        Some(self.value(key, value))
    }

    /// Takes everything that is left, in the order of the keys: for tables whose keys are free.
    pub fn take_rest(&mut self) -> Vec<(String, Value<'d, 't>)> {
        let rest = self.unasked().map(|(key, value)| (key.get_ref().to_string(), self.value(key, value))).collect();
        self.found = self.entries.keys().map(|key| key.span().start).collect();
        rest
    }

    /// Whether a key is there that nobody asked for yet.
    pub fn has_unasked(&self) -> bool {
        self.found.len() < self.entries.len()
    }

    fn unasked(&self) -> impl Iterator<Item = (&'d Spanned<DeString<'t>>, &'d Spanned<DeValue<'t>>)> {
        let entries = self.has_unasked().then_some(self.entries).into_iter().flatten();
        entries.filter(|(key, _)| !self.found.contains(&key.span().start))
    }

    fn value(&self, key: &'d Spanned<DeString<'t>>, value: &'d Spanned<DeValue<'t>>) -> Value<'d, 't> {
        Value {
            path: [self.path.as_str(), key.get_ref()].concat(),
            key_span: key.span(),
            span: value.span(),
            value: value.get_ref(),
        }
    }

    /// Takes a key that must be there; its absence is reported.
    pub fn require(&mut self, key: &str, report: &mut Report<'t>) -> Option<Value<'d, 't>> {
        let value = self.take(key);
        if value.is_none() {
            self.report_missing(key, None, report);
        }
        value
    }

    /// Reports that `key` is missing, with what to do about it: at the table, or for the document as a whole.
    pub fn report_missing(&self, key: &str, hint: Option<String>, report: &mut Report<'t>) {
        let key = shown(&format!("{}{key}", self.path));
        let place = (!self.path.is_empty()).then(|| self.span.clone());
        report.missing(place, format!("`{key}` is missing"), hint);
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
        if let Some(value) = self.find(key) {
            let message = format!("`{}` is not supported by this version", shown(&value.path));
            report.error_with_hint(value.key_span, message, why);
        }
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self, report: &mut Report<'t>) {
        let mut unknown: Vec<_> = self.unasked().collect();
        unknown.sort_by_key(|(key, _)| key.span().start);
        for (key, _) in unknown {
            let hint = if report.is_full() { String::new() } else { self.hint_for(key.get_ref(), report) };
            let path = shown(&format!("{}{}", self.path, key.get_ref()));
            report.error_with_hint(key.span(), format!("unknown key `{path}`"), hint);
        }
    }

    /// What to do about an unknown key: move it, respell it, or see what is known.
    fn hint_for(&self, key: &str, report: &Report<'t>) -> String {
        if let Some(home) = report.home_of(key) {
            return format!("`{key}` belongs {home}");
        }
        match nearest(key, self.known.lines()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", self.known.lines().collect::<Vec<_>>().join(", ")),
        }
    }
}

/// The one of `known` that `written` is probably meant to be.
fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if written.len() > MAX_SUGGESTION_BYTES {
        return None;
    }
    let written = written.to_lowercase();
    let (distance, name) = known.map(|name| (strsim::damerau_levenshtein(name, &written), name)).min()?;
    // A short word is near to any other short word.
    (distance <= MAX_SUGGESTION_DISTANCE && distance * 2 < written.len().max(name.len())).then_some(name)
}
