//! Owns how many syntax errors of one text are looked at: there may be one for every byte, and each takes hundreds.

use toml_parser::decoder::Encoding;
use toml_parser::parser::{EventReceiver, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ErrorSink, ParseError, Raw, Source, Span};

/// Most syntax errors that are looked at; many more than are told.
pub const MAX_SYNTAX_ERRORS: usize = 1_000;
/// A shorter text has no more errors than are affordable, so they are not counted.
const MAX_UNCOUNTED_BYTES: usize = 32 << 10;
/// As deep as the parser goes.
const PARSER_NESTING: u32 = 80;

/// The beginning of `text` up to the syntax error that is one too many: nearly always all of it.
pub(super) fn readable(text: &str) -> &str {
    if text.len() <= MAX_UNCOUNTED_BYTES { text } else { up_to_error(text, MAX_SYNTAX_ERRORS) }
}

/// The part of `text` before the first of the errors that are found after `most` others.
fn up_to_error(text: &str, most: usize) -> &str {
    let source = Source::new(text);
    let mut errors = Errors { left: most, first_left_out: None };
    let mut values = Values(source);
    let mut receiver = ValidateWhitespace::new(&mut values, source);
    parse_document(&source.lex().into_vec(), &mut RecursionGuard::new(&mut receiver, PARSER_NESTING), &mut errors);
    let end = errors.first_left_out.map_or(text.len(), |at| at.min(text.len()));
    &text[..text.floor_char_boundary(end)]
}

/// Counts errors and forgets them.
struct Errors {
    left: usize,
    first_left_out: Option<usize>,
}

impl ErrorSink for Errors {
    fn report_error(&mut self, error: ParseError) {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                let at = error.unexpected().or(error.context()).map_or(0, |span| span.start());
                // What is never closed is found at the end of the text, before what is wrong within it.
                self.first_left_out = Some(self.first_left_out.map_or(at, |first| first.min(at)));
            }
        }
    }
}

/// Finds the errors within keys and values.
struct Values<'t>(Source<'t>);

impl<'t> Values<'t> {
    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Raw<'t> {
        let text = self.0.input().get(span.start()..span.end()).unwrap_or_default();
        Raw::new_unchecked(text, encoding, span)
    }
}

impl EventReceiver for Values<'_> {
    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        self.raw(span, encoding).decode_key(&mut (), error);
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let _ = self.raw(span, encoding).decode_scalar(&mut (), error);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml::de::DeTable;

    use super::*;
    use crate::document::{Report, parse};

    #[test]
    fn of_a_text_that_is_all_errors_the_first_are_told_and_nothing_after_them_is_believed() {
        for (start, piece) in [("x = [", "="), ("", "=\n"), ("x = [", "a,"), ("", "\"\n"), ("x = \"", "\\y")] {
            let text = format!("a = 1\n{start}{}\npackage = \"a:b\"\n", piece.repeat(100_000));
            let read = readable(&text);
            assert!(read.len() < 10_000, "{piece:?}: {}", read.len());
            let mut report = Report::new("a.toml", &text);
            let document = parse(&text, &mut report);
            assert!(document.get_ref().contains_key("a") && !document.get_ref().contains_key("package"));
            assert!(!report.is_clean());
            assert!(report.broken_at().is_some_and(|at| at < 20), "{piece:?}: {:?}", report.broken_at());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(2_000)))]

        #[test]
        fn what_is_read_has_no_more_errors_than_were_counted(parts in proptest::collection::vec(0usize..20, 0..60)) {
            let pieces = [
                "[", "]", "{", "}", ",", " = ", "\n", "\"", "1", "a", ".", "\\q", "'", "\"\"\"", "# \u{1}\n", "\r", "[[", "=", "é", "0x",
            ];
            let text: String = parts.iter().map(|part| pieces[*part]).collect();
            let errors = |text: &str| DeTable::parse_recoverable(text).1.len();
            // Keys that are there twice, and what is never closed, are found later; they are as few as keys and brackets. A
            // wrong escape in a key is told up to three times.
            let twice = text.matches('\n').count() + text.matches(['{', ',', '[', '.', '\r']).count() + 1;
            for most in [0, 1, 3, 10] {
                let read = up_to_error(&text, most);
                prop_assert!(text.starts_with(read) && errors(read) <= 3 * (most + twice + 2), "{read:?}: {}", errors(read));
                prop_assert!(read == text || errors(&text) > 0, "a text without errors is cut: {text:?}");
            }
        }
    }
}
