//! Owns what a person is told about a file: where, what, why, and what to do next.
//!
//! A diagnostic carries the piece of text it speaks of, so that it can be shown long after the file
//! was read or changed. It decides nothing about what a bad file leads to.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthStr as _;

use crate::escape::{Escaped, escape, without_userinfo};

/// Longest piece of a source line that a diagnostic keeps, in characters.
const MAX_EXCERPT_CHARS: usize = 160;
/// How a tab is shown: an escaped one would hide the shape of an indented line.
const TAB: &str = "    ";
/// Stands for what was cut off a line.
const CUT: &str = "…";
/// Stands for a line that is not shown.
const UNSEEN: &str = "(not shown: it may hold a secret)";

/// One problem in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The file's name as the operator knows it, escaped.
    pub file: String,
    /// Where in the file; absent when the whole file is meant.
    pub place: Option<Place>,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do next; may span lines.
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
        let message = without_userinfo(&message.into()).into_owned();
        Self { file: escape(file), place, message, hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Leaves the place and drops the line: it may hold a secret.
    #[must_use]
    pub fn without_excerpt(mut self) -> Self {
        if let Some(place) = &mut self.place {
            *place =
                Place { excerpt: UNSEEN.to_owned(), caret_start: 0, caret_width: to_u32(UNSEEN.width()), ..*place };
        }
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
        format!("{}: {}", self.location(), Escaped(&self.message))
    }
}

impl Place {
    fn locate(text: &str, span: Range<usize>) -> Self {
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let (before, rest) = line.split_at(line.len().min(start - line_start));
        let marked = &rest[..rest.len().min(end - start)];
        // What the line shows may not be in it: the same number of characters, so that the carets still fit.
        let line = &*without_userinfo(line);
        let (before, marked) = (before.chars().count(), marked.chars().count());
        let (before, marked) = (cut(line, 0, before), cut(line, before, marked));

        // A long line is cut so that the marked text stays in sight.
        let before_chars = before.chars().count();
        let skipped = before_chars.saturating_sub(MAX_EXCERPT_CHARS / 2);
        let window = cut(line, skipped, MAX_EXCERPT_CHARS);
        let shown_before = cut(before, skipped, MAX_EXCERPT_CHARS);
        let shown_marked = cut(marked, 0, MAX_EXCERPT_CHARS - (before_chars - skipped));
        let left = if skipped > 0 { CUT } else { "" };
        let right = if line.chars().count() > skipped + MAX_EXCERPT_CHARS { CUT } else { "" };
        Self {
            line: to_u32(text[..line_start].matches('\n').count() + 1),
            column: to_u32(before_chars + 1),
            excerpt: format!("{left}{}{right}", shown(window)),
            caret_start: to_u32(left.width() + shown(shown_before).width()),
            caret_width: to_u32(shown(shown_marked).width().max(1)),
        }
    }
}

/// `length` characters of `text` from the `from`th on.
fn cut(text: &str, from: usize, length: usize) -> &str {
    let start = text.char_indices().nth(from).map_or(text.len(), |(at, _)| at);
    let rest = &text[start..];
    &rest[..rest.char_indices().nth(length).map_or(rest.len(), |(at, _)| at)]
}

/// A piece of a line as it is shown.
fn shown(piece: &str) -> String {
    escape(&piece.replace('\t', TAB))
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
        writeln!(f, "error: {}", Escaped(&self.message))?;
        let margin = self.place.as_ref().map_or(1, |place| place.line.to_string().len());
        writeln!(f, "{:margin$}--> {}", "", self.location())?;
        if let Some(place) = &self.place {
            let indent = place.caret_start as usize;
            let carets = "^".repeat(place.caret_width as usize);
            writeln!(f, "{:margin$} |", "")?;
            writeln!(f, "{} | {}", place.line, place.excerpt)?;
            writeln!(f, "{:margin$} | {:indent$}{carets}", "", "")?;
        }
        for (index, line) in self.hint.iter().flat_map(|hint| hint.lines()).enumerate() {
            let lead = if index == 0 { "= help:" } else { "       " };
            writeln!(f, "{}", format!("{:margin$} {lead} {}", "", Escaped(line)).trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text above the carets.
    fn above_carets(diagnostic: &Diagnostic) -> String {
        let place = diagnostic.place.as_ref().unwrap();
        let columns = place.caret_start as usize..(place.caret_start + place.caret_width) as usize;
        let is_above = |(at, _): &(usize, char)| columns.contains(&place.excerpt[..*at].width());
        place.excerpt.char_indices().filter(is_above).map(|(_, c)| c).collect()
    }

    fn mark(text: &str, marked: &str) -> Diagnostic {
        let start = text.find(marked).unwrap();
        Diagnostic::at("a.toml", text, start..start + marked.len(), "wrong")
    }

    #[test]
    fn carets_stand_below_the_marked_text_after_tabs_and_wide_characters() {
        for text in [
            "mark",
            "\tx = mark",
            "größe = mark",
            "大きい = \"mark\"",
            "👍🏽 = mark #",
            "a\u{202e}b = mark",
            "e\u{301} mark",
        ] {
            assert_eq!(above_carets(&mark(text, "mark")), "mark", "{text:?}");
        }
        assert_eq!(above_carets(&mark("x = 大きい", "大きい")), "大きい");
        assert_eq!(above_carets(&mark("x = a\tb.", "a\tb")), "a    b");
    }

    #[test]
    fn a_diagnostic_is_shown_with_its_line_its_carets_and_what_to_do() {
        let text = "a = 1\r\nmemory = 64\r\n";
        let diagnostic = mark(text, "64").hint("write it with a unit:\n  memory = \"64MiB\"");
        expect_test::expect![[r#"
            error: wrong
             --> a.toml:2:10
              |
            2 | memory = 64
              |          ^^
              = help: write it with a unit:
                        memory = "64MiB"
        "#]]
        .assert_eq(&diagnostic.to_string());
        assert_eq!(diagnostic.one_line(), "a.toml:2:10: wrong");
        expect_test::expect![[r#"
            error: wrong
             --> a\u{1b}.toml
        "#]]
        .assert_eq(&Diagnostic::whole_file("a\u{1b}.toml", "wrong").to_string());
    }

    #[test]
    fn a_place_past_the_end_of_a_line_or_of_the_text_has_one_caret() {
        for (text, at, expected) in [
            ("", 0, (1, 1, 0)),
            ("a = ", 4, (1, 5, 4)),
            ("a =\r\nb", 4, (1, 4, 3)),
            ("a\n", 2, (2, 1, 0)),
            ("a", 99, (1, 2, 1)),
        ] {
            let place = Place::locate(text, at..at);
            assert_eq!((place.line, place.column, place.caret_start), expected, "{text:?}");
            assert_eq!(place.caret_width, 1);
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_marked_text() {
        let text = format!("{}mark{}", "x".repeat(100_000), "y".repeat(100_000));
        let diagnostic = mark(&text, "mark");
        let place = diagnostic.place.as_ref().unwrap();
        assert_eq!(above_carets(&diagnostic), "mark");
        assert_eq!(place.column, 100_001);
        assert!(place.excerpt.chars().count() <= MAX_EXCERPT_CHARS + 2);
        assert!(place.excerpt.starts_with("…x") && place.excerpt.ends_with("y…"));
        let long_mark = Diagnostic::at("a", &text, 0..text.len(), "wrong");
        assert_eq!(long_mark.place.unwrap().caret_width, 160);
    }

    #[test]
    fn an_escape_sequence_in_a_message_or_hint_reaches_no_terminal() {
        let diagnostic = mark("\u{1b}[2J mark", "mark").hint("\u{9b}31m");
        let hostile = Diagnostic { message: "\u{1b}]0;x\u{7}\nerror: forged".into(), ..diagnostic };
        let text = hostile.to_string() + &hostile.one_line();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains("\nerror: forged"));
    }

    proptest! {
        #[test]
        fn any_place_in_any_text_can_be_shown(text in "(\\PC|\n|\r|\t|[a-z\u{0}-\u{20}大\u{301}👍]){0,300}", start in 0usize..400, length in 0usize..400) {
            let place = Place::locate(&text, start..start + length);
            prop_assert!(place.caret_width >= 1);
            prop_assert!(place.excerpt.len() <= (MAX_EXCERPT_CHARS + 2) * 12);
            prop_assert!(!place.excerpt.contains('\n'));
        }
    }
}
