//! Owns what a person is told about a file: where, what, why, and what to do next.
//!
//! A diagnostic carries the piece of text it speaks of, so that it can be shown long after the file
//! was read or changed. It decides nothing about what a bad file leads to.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthStr as _;

use crate::escape::{Escaped, escape};

/// Longest piece of a source line that a diagnostic keeps, in characters.
const MAX_EXCERPT_CHARS: usize = 160;

/// One problem in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The file's name as the operator knows it, escaped.
    pub file: String,
    /// Where in the file; absent when the whole file is meant.
    pub place: Option<Place>,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// A place in a file, with the line itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The line, escaped and cut to a bounded length.
    pub excerpt: String,
    /// Where the caret starts below the excerpt, in terminal columns from 0.
    pub caret_start: u32,
    /// How many carets, at least one.
    pub caret_width: u32,
}

impl Diagnostic {
    /// A problem with a file as a whole.
    pub fn whole_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: escape(file), place: None, message: message.into(), hint: None }
    }

    /// A problem at `span` (bytes) of `text`.
    pub fn at(file: &str, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let place = Some(Place::locate(text, span));
        Self { file: escape(file), place, message: message.into(), hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `file:line:column` or `file`.
    pub fn location(&self) -> String {
        match &self.place {
            Some(place) => format!("{}:{}:{}", self.file, place.line, place.column),
            None => self.file.clone(),
        }
    }

    /// One line without the excerpt, for status lines and plans.
    pub fn one_line(&self) -> String {
        format!("{}: {}", self.location(), self.message)
    }
}

impl Place {
    fn locate(text: &str, span: Range<usize>) -> Self {
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let before = &text[line_start..start.min(line_start + line.len())];
        let marked = &text[line_start + before.len()
            ..end.clamp(line_start + before.len(), line_start + line.len().max(before.len()))];
        let skipped = before.chars().count().saturating_sub(MAX_EXCERPT_CHARS / 2);
        let shown_before: String = before.chars().skip(skipped).collect();
        let shown: String = line.chars().skip(skipped).take(MAX_EXCERPT_CHARS).collect();
        let room = MAX_EXCERPT_CHARS.saturating_sub(shown_before.chars().count());
        let shown_marked: String = marked.chars().take(room).collect();
        Self {
            line: to_u32(text[..line_start].matches('\n').count() + 1),
            column: to_u32(before.chars().count() + 1),
            excerpt: escape(&shown),
            caret_start: to_u32(escape(&shown_before).width()),
            caret_width: to_u32(escape(&shown_marked).width().max(1)),
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        match &self.place {
            None => writeln!(f, "  --> {}", self.file)?,
            Some(place) => {
                let margin = place.line.to_string().len();
                writeln!(f, "{:margin$}--> {}:{}:{}", "", self.file, place.line, place.column)?;
                writeln!(f, "{:margin$} |", "")?;
                writeln!(f, "{} | {}", place.line, place.excerpt)?;
                let indent = place.caret_start as usize;
                let carets = "^".repeat(place.caret_width as usize);
                writeln!(f, "{:margin$} | {:indent$}{carets}", "", "")?;
            }
        }
        match &self.hint {
            Some(hint) => writeln!(f, "  = help: {}", Escaped(hint)),
            None => Ok(()),
        }
    }
}
