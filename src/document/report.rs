//! Owns what is found wrong in one file while it is read.
//!
//! It decides what is worth telling: not more than a person reads, and nothing that only follows from an
//! error that is reported already.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ops::Range;

use crate::diagnostic::Diagnostic;

/// Most problems that are reported for one file.
pub const MAX_PROBLEMS_PER_FILE: usize = 50;

/// Collects the problems of one file.
pub struct Report<'t> {
    file: &'t str,
    text: &'t str,
    problems: Vec<Diagnostic>,
    /// Problems beyond [`MAX_PROBLEMS_PER_FILE`].
    more: usize,
    /// Lines with a syntax error. Nothing else is said about them: it would be a guess.
    broken_lines: BTreeSet<u32>,
    /// Where the first syntax error stands.
    broken_at: Option<usize>,
    /// Parts of the text of which the tree is no picture.
    distrusted: Vec<Range<usize>>,
    /// Where keys belong, for those that stand in a wrong table.
    homes: &'static [(&'static str, &'static str)],
    line_ends: OnceCell<Vec<usize>>,
}

impl<'t> Report<'t> {
    /// For the file of this name (as shown to people) and text.
    pub fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            text,
            problems: Vec::new(),
            more: 0,
            broken_lines: BTreeSet::new(),
            broken_at: None,
            distrusted: Vec::new(),
            homes: &[],
            line_ends: OnceCell::new(),
        }
    }

    /// Tells where the keys of a format belong: pairs of a key and a place in words.
    #[must_use]
    pub fn with_homes(mut self, homes: &'static [(&'static str, &'static str)]) -> Self {
        self.homes = homes;
        self
    }

    /// Where `key` belongs, in words.
    pub fn home_of(&self, key: &str) -> Option<&'static str> {
        self.homes.iter().find(|(known, _)| *known == key).map(|(_, home)| *home)
    }

    /// The file's text.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// Records a problem at `span`.
    pub fn error(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.push(span, message.into(), None);
    }

    /// Records a problem at `span` and what to do about it.
    pub fn error_with_hint(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.push(span, message.into(), Some(hint.into()));
    }

    /// Records that something is not there. Says nothing after a syntax error, which may have swallowed it.
    ///
    /// Without a place the whole file is meant.
    pub fn missing(&mut self, place: Option<Range<usize>>, message: impl Into<String>, hint: Option<String>) {
        if self.broken_at.is_some() {
            return;
        }
        match place {
            Some(span) => self.push(span, message.into(), hint),
            None => self.keep(|file, _| Diagnostic { hint, ..Diagnostic::whole_file(file, message) }),
        }
    }

    /// Records a problem at `span` without showing what stands there: it may be a secret, and what is told of a file
    /// goes to logs, status and terminals.
    pub fn error_unseen(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        let unseen =
            |file: &str, text: &str| Diagnostic::at(file, text, span.clone(), message).hint(hint).without_excerpt();
        self.keep(unseen);
    }

    pub(super) fn keep_with_hint(&mut self, span: Range<usize>, message: String, hint: Option<String>) {
        self.push(span, message, hint);
    }

    pub(super) fn syntax_error(&mut self, span: Range<usize>, message: String, hint: Option<String>) {
        self.broken_at = Some(self.broken_at.map_or(span.start, |at| at.min(span.start)));
        if self.broken_lines.insert(self.line_of(&span)) {
            self.keep(|file, text| Diagnostic { hint, ..Diagnostic::at(file, text, span, message) });
        }
    }

    pub(super) fn distrust(&mut self, part: Range<usize>) {
        self.distrusted.push(part);
    }

    fn push(&mut self, span: Range<usize>, message: String, hint: Option<String>) {
        if self.distrusted.iter().any(|part| part.contains(&span.start)) {
            return;
        }
        if !self.broken_lines.is_empty() && self.broken_lines.contains(&self.line_of(&span)) {
            return;
        }
        self.keep(|file, text| Diagnostic { hint, ..Diagnostic::at(file, text, span, message) });
    }

    fn keep(&mut self, problem: impl FnOnce(&str, &str) -> Diagnostic) {
        match self.is_full() {
            true => self.more += 1,
            false => self.problems.push(problem(self.file, self.text)),
        }
    }

    /// Whether further problems are only counted.
    pub fn is_full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS_PER_FILE
    }

    /// The line, from 1, in which `span` starts.
    pub fn line_of(&self, span: &Range<usize>) -> u32 {
        let line_ends = self.line_ends.get_or_init(|| self.text.match_indices('\n').map(|(at, _)| at).collect());
        u32::try_from(line_ends.partition_point(|end| *end < span.start) + 1).unwrap_or(u32::MAX)
    }

    /// Where the first syntax error stands: what comes before it was read as it was meant.
    pub fn broken_at(&self) -> Option<usize> {
        self.broken_at
    }

    /// Whether nothing was reported.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.broken_at.is_none()
    }

    /// The problems in the order of the file, those of the whole file first.
    pub fn into_problems(mut self) -> Vec<Diagnostic> {
        self.problems.sort_by_key(|p| p.place.as_ref().map(|place| (place.line, place.column)));
        if self.more > 0 {
            let message = format!("{} more problems are not shown", self.more);
            self.problems.push(Diagnostic::whole_file(self.file, message));
        }
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one_and_a_line_end_belongs_to_its_line() {
        let report = Report::new("a.toml", "a\nb\n\nc");
        let lines: Vec<u32> = (0..=6).map(|at| report.line_of(&(at..at))).collect();
        assert_eq!(lines, [1, 1, 2, 2, 3, 4, 4]);
    }

    #[test]
    fn a_file_with_very_many_problems_tells_the_first_fifty_and_counts_the_rest() {
        let text = "x\n".repeat(100_000);
        let mut report = Report::new("a.toml", &text);
        for line in 0..100_000 {
            report.error(2 * line..2 * line + 1, "wrong");
        }
        let problems = report.into_problems();
        assert_eq!(problems.len(), MAX_PROBLEMS_PER_FILE + 1);
        assert_eq!(problems.last().unwrap().message, "99950 more problems are not shown");
    }
}
