//! Owns the lines that plans and messages cite: which key and which listed text stands where.
//!
//! Values deep in `[config]` have no line of their own; they are the guest's, not the plan's.

use std::collections::BTreeMap;

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
    let mut lines = BTreeMap::new();
    add_table("", document, MAX_LEVELS, report, &mut lines);
    lines
}

fn add_table(prefix: &str, table: &DeTable<'_>, levels: usize, report: &Report<'_>, lines: &mut BTreeMap<String, u32>) {
    let (levels, most) = if prefix == "config." { (1, MAX_CONFIG_LINES) } else { (levels, usize::MAX) };
    for (key, value) in table.iter().filter(|(key, _)| key.get_ref().len() <= MAX_KEY_BYTES).take(most) {
        let path = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) if levels > 1 => add_table(&format!("{path}."), inner, levels - 1, report, lines),
            DeValue::Array(items) if levels > 1 => add_items(&path, items, levels - 1, report, lines),
            _ => {}
        }
        add(path, report.line_of(&key.span()), lines);
    }
}

fn add_items(
    path: &str,
    items: &[toml::Spanned<DeValue<'_>>],
    levels: usize,
    report: &Report<'_>,
    lines: &mut BTreeMap<String, u32>,
) {
    for (index, item) in items.iter().enumerate() {
        let line = report.line_of(&item.span());
        match item.get_ref() {
            DeValue::String(text) if text.len() <= MAX_KEY_BYTES => add(format!("{path} \"{text}\""), line, lines),
            DeValue::Table(inner) => {
                add(format!("{path}[{index}]"), line, lines);
                add_table(&format!("{path}[{index}]."), inner, levels, report, lines);
            }
            _ => {}
        }
    }
}

/// Of two equal texts in an array, the first counts.
fn add(key: String, line: u32, lines: &mut BTreeMap<String, u32>) {
    lines.entry(key).or_insert(line);
}
