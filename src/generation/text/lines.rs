//! Reads a generation's text line by line.

use super::super::Parent;
use super::GenerationError;

/// The lines of a body, counted.
pub(super) struct Lines<'a> {
    lines: std::str::Lines<'a>,
    /// The line last read, from 1; the first line of the file was read by the frame.
    pub(super) number: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(body: &'a str) -> Self {
        Self { lines: body.lines(), number: 1 }
    }

    pub(super) fn next(&mut self) -> Option<&'a str> {
        self.number += 1;
        self.lines.next()
    }

    pub(super) fn read<T>(&mut self, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, GenerationError> {
        let line = self.next().unwrap_or_default();
        read(line).ok_or(GenerationError::Line(self.number))
    }
}

pub(super) fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

pub(super) fn read_parent(text: &str) -> Option<Option<Parent>> {
    if text == "none" {
        return Some(None);
    }
    let (parent, digest) = text.split_once(' ')?;
    Some(Some(Parent { number: number(parent)?, digest: digest.parse().ok()? }))
}

pub(super) fn read_kind(line: &str) -> Option<bool> {
    match line {
        "base" => Some(true),
        "delta" => Some(false),
        _ => None,
    }
}

pub(super) fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("text is always JSON")
}

pub(super) fn unquote(text: &str, max_bytes: usize) -> Option<String> {
    let text: String = serde_json::from_str(text).ok()?;
    (text.len() <= max_bytes).then_some(text)
}
