//! Owns how a change of `[config]` is shown: a line diff of both sides, pretty-printed alike.
//!
//! Order of keys, spacing and comments are not part of a config, so they never make a difference.

use serde::Serialize;
use serde_json::{Map, Value};
use similar::algorithms::{Capture, Compact, Replace, myers};
use similar::{ChangeTag, group_diff_ops};

/// Most lines of one side that are compared; larger configs are only said to differ.
pub const MAX_COMPARED_LINES: usize = 2_000;
/// Most lines of a diff that are kept.
pub const MAX_DIFF_LINES: usize = 200;
/// Unchanged lines shown around a change.
const CONTEXT_LINES: usize = 2;

/// A change of `[config]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigDiff {
    /// The lines around the changes, at most [`MAX_DIFF_LINES`].
    pub lines: Vec<DiffLine>,
    /// Lines that were left out because there were too many.
    pub left_out: usize,
}

/// One line of a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffLine {
    /// Which side has it.
    pub side: Side,
    /// The line without its end.
    pub text: String,
}

/// Which side of a diff has a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Both.
    Both,
    /// Only what was before.
    Before,
    /// Only what comes after.
    After,
    /// Neither: lines in between are left out.
    Gap,
}

/// The difference between two configs; `None` when they are equal.
pub(super) fn between(before: &Map<String, Value>, after: &Map<String, Value>) -> Option<ConfigDiff> {
    let (before, after) = (pretty(before), pretty(after));
    if before == after {
        return None;
    }
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    if before.len().max(after.len()) > MAX_COMPARED_LINES {
        return Some(ConfigDiff { lines: Vec::new(), left_out: before.len() + after.len() });
    }
    let (before, after) = (before.as_slice(), after.as_slice());
    // By hand what `TextDiff` does, which brings every algorithm there is: some percent of what this program is made of.
    let mut found = Compact::new(Replace::new(Capture::new()), before, after);
    let Ok(()) = myers::diff(&mut found, before, 0..before.len(), after, 0..after.len());
    let ops = found.into_inner().into_inner().into_ops();
    let mut lines = Vec::new();
    for (index, hunk) in group_diff_ops(ops, CONTEXT_LINES).iter().enumerate() {
        if index > 0 {
            lines.push(DiffLine { side: Side::Gap, text: String::new() });
        }
        for change in hunk.iter().flat_map(|op| op.iter_changes(before, after)) {
            let side = match change.tag() {
                ChangeTag::Equal => Side::Both,
                ChangeTag::Delete => Side::Before,
                ChangeTag::Insert => Side::After,
            };
            lines.push(DiffLine { side, text: change.value().to_owned() });
        }
    }
    let left_out = lines.len().saturating_sub(MAX_DIFF_LINES);
    lines.truncate(MAX_DIFF_LINES);
    Some(ConfigDiff { lines, left_out })
}

/// JSON with two spaces a level and sorted keys. Sorts by itself: whether a JSON map is sorted depends on
/// a feature that any dependency can turn on.
fn pretty(config: &Map<String, Value>) -> String {
    let mut text = String::new();
    write_map(config, 0, &mut text);
    text.push('\n');
    text
}

fn write_map(map: &Map<String, Value>, depth: usize, text: &mut String) {
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    let items = entries.into_iter().map(|(key, value)| (Some(key.as_str()), value));
    write_items(('{', '}'), items, depth, text);
}

fn write_value(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(map) => write_map(map, depth, text),
        Value::Array(items) => write_items(('[', ']'), items.iter().map(|item| (None, item)), depth, text),
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn write_items<'v>(
    (open, close): (char, char),
    items: impl Iterator<Item = (Option<&'v str>, &'v Value)>,
    depth: usize,
    text: &mut String,
) {
    let indent = |depth: usize| "  ".repeat(depth);
    text.push(open);
    let mut is_empty = true;
    for (key, value) in items {
        text.push_str(if is_empty { "\n" } else { ",\n" });
        is_empty = false;
        text.push_str(&indent(depth + 1));
        if let Some(key) = key {
            text.push_str(&Value::from(key).to_string());
            text.push_str(": ");
        }
        write_value(value, depth + 1, text);
    }
    if !is_empty {
        text.push('\n');
        text.push_str(&indent(depth));
    }
    text.push(close);
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn config(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("not an object: {other}"),
        }
    }

    fn shown(before: Value, after: Value) -> String {
        let diff = between(&config(before), &config(after)).expect("they differ");
        let line = |line: &DiffLine| match line.side {
            Side::Both => format!("  {}\n", line.text),
            Side::Before => format!("- {}\n", line.text),
            Side::After => format!("+ {}\n", line.text),
            Side::Gap => "...\n".to_owned(),
        };
        diff.lines.iter().map(line).collect()
    }

    #[test]
    fn equal_configs_have_no_diff() {
        let config = config(json!({ "b": [1, { "x": null }], "a": {}, "c": [] }));
        assert_eq!(between(&config, &config), None);
    }

    #[test]
    fn a_changed_value_is_shown_with_its_surroundings() {
        let shown = shown(
            json!({ "retry": { "max": 3, "wait": "1s" }, "to": ["a", "b"], "zone": "eu", "x": 1, "y": 2 }),
            json!({ "retry": { "max": 5, "wait": "1s" }, "to": ["a", "b"], "zone": "us", "x": 1, "y": 2 }),
        );
        expect![[r#"
              {
                "retry": {
            -     "max": 3,
            +     "max": 5,
                  "wait": "1s"
                },
            ...
                "x": 1,
                "y": 2,
            -   "zone": "eu"
            +   "zone": "us"
              }
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn a_huge_config_is_said_to_differ_and_not_compared() {
        let long = |first: usize| json!({ "list": (first..first + MAX_COMPARED_LINES).collect::<Vec<_>>() });
        let diff = between(&config(long(0)), &config(long(1))).expect("they differ");
        assert_eq!((diff.lines.len(), diff.left_out), (0, 2 * (MAX_COMPARED_LINES + 4)));
    }

    #[test]
    fn a_long_diff_is_cut_and_says_so() {
        let list = |first: usize| json!({ "list": (first..first + 500).collect::<Vec<_>>() });
        let diff = between(&config(list(0)), &config(list(1_000))).expect("they differ");
        assert_eq!(diff.lines.len(), MAX_DIFF_LINES);
        assert!(diff.left_out > 700);
    }
}
