//! Owns the way from text to a TOML tree, and what a person is told when the text is no TOML.
//!
//! It knows nothing of keys and their meaning. What could be read of a broken text is returned all the
//! same; the report knows from where on that can't be trusted.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::errors::{MAX_SYNTAX_ERRORS, readable};
use super::{Report, shown};

/// Deepest nesting of tables and arrays that is read. The parser limits brackets and the parts of one key,
/// each by itself; multiplied they would be thousands of levels, and dropping such a tree overflows the stack.
///
/// It is below the depth to which `serde_json` reads, so what is read here can be kept as JSON.
pub const MAX_NESTING: usize = 64;

/// Parses `text`; syntax errors go to `report`, and what could be read is returned all the same.
pub fn parse<'t>(text: &'t str, report: &mut Report<'t>) -> Spanned<DeTable<'t>> {
    let too_deep = |at: Range<usize>, report: &mut Report<'t>| {
        let message = format!("tables and arrays are nested deeper than {MAX_NESTING} levels");
        report.distrust(0..usize::MAX);
        report.syntax_error(at, message, Some("write it flatter".to_owned()));
        Spanned::new(0..0, DeTable::new())
    };
    // Brackets and dots are the only things that nest; few files need a second look.
    let may_be_deep = text.bytes().filter(|byte| matches!(byte, b'.' | b'[' | b'{')).count() >= MAX_NESTING;
    if may_be_deep && let Some(at) = find_too_deep(text) {
        return too_deep(at, report);
    }
    let read = readable(text);
    let (document, errors) = DeTable::parse_recoverable(read);
    // The parts of a header come on top of what is counted before; there are few enough to drop such a tree.
    if may_be_deep && let Some(at) = find_deeper_than(MAX_NESTING, document.get_ref()) {
        return too_deep(at, report);
    }
    if !errors.is_empty() {
        let mut errors: Vec<_> =
            errors.iter().map(|error| (error.span().unwrap_or(read.len()..read.len()), error.message())).collect();
        errors.sort_by_key(|(span, _)| span.start);
        report_errors(read, document.get_ref(), &errors, report);
    }
    if read.len() < text.len() {
        let message = format!("there are more than {MAX_SYNTAX_ERRORS} syntax errors; from here on nothing is read");
        report.distrust(read.len()..usize::MAX);
        report.syntax_error(read.len()..read.len(), message, None);
    }
    document
}

/// The first value that lies more than `levels` tables and arrays below the document.
fn find_deeper_than(levels: usize, document: &DeTable<'_>) -> Option<Range<usize>> {
    let mut values: Vec<_> = document.values().map(|value| (1, value)).collect();
    while let Some((level, value)) = values.pop() {
        if level > levels {
            return Some(value.span());
        }
        match value.get_ref() {
            DeValue::Array(items) => values.extend(items.iter().map(|item| (level + 1, item))),
            DeValue::Table(table) => values.extend(table.values().map(|value| (level + 1, value))),
            _ => {}
        }
    }
    None
}

/// Where the nesting of `text` exceeds [`MAX_NESTING`], counted so that the result is never too low.
///
/// Only a bracket of the kind that is open closes it: the parser passes over every other one.
fn find_too_deep(text: &str) -> Option<Range<usize>> {
    // Open brackets, each with the dots of the key before it; `depth` is the sum of both.
    let mut open: Vec<(TokenKind, usize)> = Vec::new();
    let (mut dots, mut depth) = (0, 0);
    for token in Source::new(text).lex() {
        match token.kind() {
            kind @ (TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket) => {
                open.push((kind, dots));
                depth += 1;
                dots = 0;
            }
            kind @ (TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket) => {
                let opener = match kind {
                    TokenKind::RightSquareBracket => TokenKind::LeftSquareBracket,
                    _ => TokenKind::LeftCurlyBracket,
                };
                if open.last().is_some_and(|(kind, _)| *kind == opener) {
                    let outer = open.pop().map_or(0, |(_, dots)| dots);
                    depth -= 1 + dots;
                    dots = outer;
                }
            }
            TokenKind::Dot => {
                dots += 1;
                depth += 1;
            }
            TokenKind::Comma | TokenKind::Newline => {
                depth -= dots;
                dots = 0;
            }
            _ => {}
        }
        if depth > MAX_NESTING {
            return Some(token.span().start()..token.span().end());
        }
    }
    None
}

/// Reports one error a line, and nothing that only follows from another error.
///
/// There may be as many errors as bytes: what looks at text or tree is done once for each line.
fn report_errors<'t>(text: &'t str, document: &DeTable<'t>, errors: &[(Range<usize>, &str)], report: &mut Report<'t>) {
    let unclosed = find_unclosed(text, document, errors);
    let trusted = unclosed.as_ref().map_or(text.len() + 1, |unclosed| unclosed.span.start);
    let is_same_line =
        |a: &&(Range<usize>, &str), b: &&(Range<usize>, &str)| report.line_of(&a.0) == report.line_of(&b.0);
    let errors: Vec<_> = errors.iter().take_while(|(span, _)| span.start < trusted).collect();
    let first_of_lines: Vec<_> = errors.chunk_by(is_same_line).map(|line| line[0]).collect();
    if let Some(foreign) = explain_foreign(text, &first_of_lines) {
        report.distrust(0..usize::MAX);
        return report.syntax_error(foreign.span, foreign.message, foreign.hint);
    }
    for (span, message) in first_of_lines {
        if message.starts_with("unclosed table") || message.starts_with("unclosed array table") {
            // The keys below were read as keys of another table.
            let end = text[span.start..].find("\n[").map_or(text.len(), |at| span.start + at);
            report.distrust(span.start..end);
        }
        if report.is_full() {
            report.syntax_error(span.clone(), String::new(), None);
        } else {
            let explained = explain(text, span.clone(), message);
            report.syntax_error(explained.span, explained.message, explained.hint);
        }
    }
    if let Some(unclosed) = unclosed {
        report.distrust(unclosed.span.start..usize::MAX);
        report.syntax_error(unclosed.span, unclosed.message, unclosed.hint);
    }
}

/// A text that is something else as a whole, so that single errors say nothing.
fn explain_foreign(text: &str, errors: &[&(Range<usize>, &str)]) -> Option<Explained> {
    let explained =
        |span, message: &str, hint: &str| Explained { span, message: message.to_owned(), hint: Some(hint.to_owned()) };
    let start = text.len() - text.trim_start().len();
    if text[start..].starts_with('{') {
        let hint = "write `key = value` lines and [tables]";
        return Some(explained(start..start + 1, "this is JSON, not TOML", hint));
    }
    let lines = errors.iter().map(|(span, _)| line_at(text, span.start));
    let mut conflicts =
        lines.filter(|line| ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| text[line.clone()].starts_with(mark)));
    let hint = "decide which side holds and remove the lines with the markers";
    conflicts.next().map(|line| explained(line, "a merge conflict was left in the file", hint))
}

/// The line around `at`, without its end.
fn line_at(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    start..start + text[start..end].trim_end().len()
}

/// The opening of the outermost value that runs on because nothing closes it.
fn find_unclosed(text: &str, document: &DeTable<'_>, errors: &[(Range<usize>, &str)]) -> Option<Explained> {
    // What is never closed is noticed where the parser gives up, so it is among the last errors.
    let (end, message) = errors.iter().rev().take(8).rev().find_map(|(span, message)| {
        let is_it = ["unclosed array,", "unclosed inline table", "invalid multi-line"];
        is_it.iter().any(|start| message.starts_with(start)).then_some((span.start, *message))
    })?;
    let (what, width, hint) = match message {
        _ if message.starts_with("unclosed array") => ("the array", 1, "add `]` after its last item"),
        _ if message.starts_with("unclosed inline") => ("the table", 1, "add `}` after its last value"),
        // A multi-line string that is bad in its middle is closed.
        _ if end < text.len() => return None,
        _ => ("the text", 3, "add the same three quotes at its end"),
    };
    let is_wanted = |value: &DeValue<'_>| match value {
        DeValue::Array(_) | DeValue::Table(_) => width == 1,
        DeValue::String(_) => width == 3,
        _ => false,
    };
    let mut values: Vec<_> = document.values().collect();
    let mut starts = Vec::new();
    while let Some(value) = values.pop() {
        if value.span().end == end && is_wanted(value.get_ref()) {
            starts.push(value.span().start);
        }
        match value.get_ref() {
            DeValue::Array(items) => values.extend(items.iter()),
            DeValue::Table(table) => values.extend(table.values()),
            _ => {}
        }
    }
    let start = starts.into_iter().min()?;
    Some(Explained {
        span: start..start + width,
        message: format!("{what} that starts here is never closed"),
        hint: Some(hint.to_owned()),
    })
}

struct Explained {
    span: Range<usize>,
    message: String,
    hint: Option<String>,
}

/// What an operator is told instead of the parser's own words.
fn explain(text: &str, span: Range<usize>, message: &str) -> Explained {
    let Range { start: line_start, end: line_end } = line_at(text, span.start);
    let line = &text[line_start..line_end];
    let rest = &text[span.start..line_end.max(span.start)];
    let marked = text.get(span.clone()).unwrap_or("");
    let to_line_end = span.start..span.start + rest.len();
    let explained = |span, message: &str, hint: &str| Explained {
        span,
        message: message.to_owned(),
        hint: (!hint.is_empty()).then(|| hint.to_owned()),
    };
    if ["//", "/*", "--", ";"].iter().any(|sign| line.trim_start().starts_with(sign)) {
        return explained(span, "this is no comment in TOML", "a comment starts with `#`");
    }
    if let Some(colon) = find_colon(line) {
        let at = line_start + colon;
        return explained(at..at + 1, "a value is given with `=`", "write `=` in place of `:`");
    }
    let (words, _) = message.split_once(", expected").unwrap_or((message, ""));
    match words {
        "string values must be quoted" => explain_unquoted(span, marked),
        "invalid mantissa" if rest.contains('/') => explain_unquoted(to_line_end, rest),
        "duplicate key" => {
            let message = format!("`{}` is written twice", shown(marked));
            explained(span, &message, "keep one of the two, or merge them")
        }
        "unexpected key or value" => {
            let hint = match rest.chars().next() {
                Some(sign @ (';' | ',')) => format!("remove the `{sign}`"),
                _ => "write one key with its value on each line".to_owned(),
            };
            explained(to_line_end, "nothing more can stand on this line", &hint)
        }
        "unclosed table" => {
            explained(span, "the header is not closed", &format!("write `{}]`", shown(line.trim_start())))
        }
        "unclosed array table" => {
            let hint = format!("write `{}]]`", shown(line.trim_start().trim_end_matches(']')));
            explained(span, "the header is not closed", &hint)
        }
        "missing comma between array elements" => {
            explained(span, "a comma is missing between two items", "write `,` before this one")
        }
        "invalid basic string" if rest.is_empty() => explained(span, "the string is not closed", "add `\"` at its end"),
        "invalid literal string" if rest.is_empty() => {
            explained(span, "the string is not closed", "add `'` at its end, where it starts with `'`")
        }
        "missing escaped value" => {
            let hint = "write `\\\\` for a backslash, or put the text in single quotes";
            explained(span, "a backslash in double quotes must start an escape", hint)
        }
        "key with no value" => explained(span, "the key has no value", "write `key = value`"),
        "invalid boolean" => explained(span, "this is no value", "write `true` or `false` in lower case"),
        _ => explained(span, &format!("this is not valid TOML: {}", shown(message)), ""),
    }
}

/// The colon of a line like `key: value`, where the key is a plain word.
fn find_colon(line: &str) -> Option<usize> {
    let key = line.trim_start().find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'))?;
    let at = line.len() - line.trim_start().len() + key;
    (key > 0 && line[at..].starts_with(':')).then_some(at)
}

fn explain_unquoted(span: Range<usize>, marked: &str) -> Explained {
    let (message, hint) = match marked.to_ascii_lowercase().as_str() {
        "" => ("the value is missing", Some("write it after the `=`".into())),
        "true" | "false" | "yes" | "no" | "on" | "off" => ("this is no value", Some("write `true` or `false`".into())),
        _ if marked.starts_with(['“', '”', '„', '‘', '’', '«']) => {
            ("typographic quotes are no quotes in TOML", Some("use straight ones: \"…\"".into()))
        }
        _ => ("text must stand in quotes", Some(format!("write \"{}\"", shown(marked)))),
    };
    Explained { span, message: message.to_owned(), hint }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Levels below the document.
    fn depth(table: &DeTable<'_>) -> usize {
        fn of(value: &DeValue<'_>) -> usize {
            match value {
                DeValue::Array(items) => 1 + items.iter().map(|item| of(item.get_ref())).max().unwrap_or(0),
                DeValue::Table(table) => 1 + depth(table),
                _ => 0,
            }
        }
        table.iter().map(|(_, value)| of(value.get_ref())).max().unwrap_or(0)
    }

    fn problems(text: &str) -> Vec<String> {
        let mut report = Report::new("a.toml", text);
        parse(text, &mut report);
        report.into_problems().iter().map(|problem| problem.one_line()).collect()
    }

    #[test]
    fn dotted_keys_nested_in_inline_tables_do_not_overflow_the_stack() {
        let key = ["a"; 78].join(".");
        let attack = format!("{}1{}", format!("{key} = {{").repeat(78) + "x = ", "}".repeat(78));
        let in_arrays = format!("{}1{}", format!("{key} = [{{").repeat(38) + "x = ", "}]".repeat(38));
        let unclosed = format!("{key} = {{").repeat(2_000);
        let mismatched = format!("{key} = [ }} , {{ ").repeat(2_000);
        for text in [attack, in_arrays, unclosed, mismatched] {
            let found = problems(&text);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains("nested deeper than 64 levels"), "{found:?}");
        }
    }

    #[test]
    fn many_dots_and_brackets_in_strings_are_no_nesting() {
        let text =
            format!("a = \"{}\"\nb = '''{}'''\nc = [{}]\n", ".".repeat(500), "[{".repeat(500), "1.5,".repeat(500));
        assert_eq!(problems(&text), Vec::<String>::new());
        let flat =
            "[table.of.some.depth]\nkey.with.parts = { in = [1] }\n".replace("some", "some1") + &"# ...\n".repeat(200);
        assert_eq!(problems(&flat), Vec::<String>::new());
    }

    #[test]
    fn what_follows_from_an_unclosed_bracket_is_not_reported() {
        let text = "send = [\"a\",\n  \"b\"\n[limits]\nmemory = \"1MiB\"\n";
        assert_eq!(problems(text), ["a.toml:1:8: the array that starts here is never closed"]);
        assert_eq!(problems("a = {b = 1\nc = 2\n"), ["a.toml:1:5: the table that starts here is never closed"]);
        assert_eq!(problems("a = \"\"\"b\nc = 2\n"), ["a.toml:1:5: the text that starts here is never closed"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(10_000)))]

        #[test]
        fn the_counted_depth_is_never_below_the_real_one(parts in proptest::collection::vec(0usize..16, 0..120), key in 1usize..60) {
            let key = vec!["k"; key].join(".");
            let pieces = [
                "[", "]", "{", "}", ",", " = ", "\n", "\"", "1", "[", "{", &format!("{key} = ["), &format!("{key} = {{"),
                &format!("[{key}]\n"), &format!("[[{key}]]\n"), "x.y",
            ];
            let text: String = parts.iter().map(|part| pieces[*part]).collect();
            if find_too_deep(&text).is_none() {
                let (table, _) = DeTable::parse_recoverable(&text);
                // A header has at most 79 parts, each of them a table and an array.
                prop_assert!(depth(table.get_ref()) <= MAX_NESTING + 2 * 80);
            }
        }
    }
}
