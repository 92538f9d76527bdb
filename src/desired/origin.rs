//! Owns the lines that plans and messages cite: which key and which listed text stands where.
//!
//! Values deep in `[config]` have no line of their own; they are the guest's, not the plan's.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::Report;

/// Most keys of `[config]` that get a line. The other tables have limits of their own.
pub const MAX_CONFIG_LINES: usize = 256;
/// Longest key or text that gets a line, in bytes. Every name and permission that is valid is shorter.
const MAX_KEY_BYTES: usize = 4_200;
/// Levels of tables that are looked into: `[grant] net.connect` has three.
const MAX_LEVELS: usize = 4;

/// The lines of all keys, and of all texts in arrays.
pub fn lines(document: &DeTable<'_>, report: &Report<'_>) -> BTreeMap<String, u32> {
    let mut lines = Lines { report, path: String::new(), found: Vec::new() };
    lines.add_table(document, MAX_LEVELS);
    // Of two equal texts in an array, the first counts.
    let mut found = lines.found;
    found.reverse();
    found.into_iter().collect()
}

struct Lines<'r, 't> {
    report: &'r Report<'t>,
    /// The key at hand.
    path: String,
    found: Vec<(String, u32)>,
}

impl Lines<'_, '_> {
    fn add_table(&mut self, table: &DeTable<'_>, levels: usize) {
        let (levels, most) = if self.path == "config." { (1, MAX_CONFIG_LINES) } else { (levels, usize::MAX) };
        for (key, value) in table.iter().filter(|(key, _)| key.get_ref().len() <= MAX_KEY_BYTES).take(most) {
            let outer = self.path.len();
            self.path += key.get_ref();
            self.add("", &key.span());
            match value.get_ref() {
                DeValue::Table(inner) if levels > 1 => {
                    self.path += ".";
                    self.add_table(inner, levels - 1);
                }
                DeValue::Array(items) if levels > 1 => self.add_items(items, levels - 1),
                _ => {}
            }
            self.path.truncate(outer);
        }
    }

    fn add_items(&mut self, items: &[Spanned<DeValue<'_>>], levels: usize) {
        for (index, item) in items.iter().enumerate() {
            match item.get_ref() {
                DeValue::String(text) if text.len() <= MAX_KEY_BYTES => {
                    self.add(&[" \"", text, "\""].concat(), &item.span());
                }
                DeValue::Table(inner) => {
                    let outer = self.path.len();
                    self.path += &format!("[{index}]");
                    self.add("", &item.span());
                    self.path += ".";
                    self.add_table(inner, levels);
                    self.path.truncate(outer);
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, text: &str, span: &Range<usize>) {
        self.found.push(([self.path.as_str(), text].concat(), self.report.line_of(span)));
    }
}
