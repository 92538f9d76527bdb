//! Owns the plan as Markdown, for a comment on a pull request: one line, a table, and the details folded away.
//!
//! Whatever came from a file, a manifest or an error stands in `<code>` or in a fence. In the former everything but
//! letters, digits and a few harmless signs is a numeric reference, which no Markdown reads as structure, and no
//! service makes links or mentions of what is in code. The latter is longer than any row of backticks inside.

use super::{Line, Style, Symbol, detail, headword, missing_approvals, summary, versions};
use crate::escape::escape;
use crate::plan::Plan;
use crate::plan::action::Action;

/// Most bytes of the whole: what the common services take as one comment, with some room.
pub const MAX_MARKDOWN_BYTES: usize = 60_000;
/// Most bytes of the table; further actions are only counted.
const MAX_TABLE_BYTES: usize = 30_000;
/// Most bytes of one text in the table.
const MAX_CELL_BYTES: usize = 400;
/// Most bytes of what stands above the table and below the details, each line cut to [`MAX_LINE_BYTES`].
const MAX_NOTES_BYTES: usize = 8_000;
/// Most bytes of one line in a fence.
const MAX_LINE_BYTES: usize = 1_000;
/// By this a program finds the comment again that it wrote before.
const MARK: &str = "<!-- airssys-wasm plan -->";

impl Plan {
    /// The plan as Markdown, at most [`MAX_MARKDOWN_BYTES`], for a person who would carry it out with `apply`.
    pub fn markdown(&self, apply: &str) -> String {
        let totals = self.totals();
        let mut text = format!("{MARK}\n### Plan {}\n\n{}\n", code(&self.digest().short()), summary(&totals));
        if let Some(desired) = &self.desired {
            text += &format!("\nDesired state: {}\n", code(&cut(desired, MAX_CELL_BYTES)));
        }
        text += &notes(&self.warnings(&totals));
        text += &self.table();
        let end = self.end(apply);
        let room = MAX_MARKDOWN_BYTES.saturating_sub(text.len() + end.len() + 200);
        text += &self.details(room);
        text + &end
    }

    fn table(&self) -> String {
        if self.actions.is_empty() {
            return String::new();
        }
        let mut text = "\n| | installation | version | what happens | |\n|---|---|---|---|---|\n".to_owned();
        let rows = fitting(self.actions.iter().map(row), MAX_TABLE_BYTES);
        let left_out = self.actions.len() - rows.len();
        text += &rows.concat();
        if left_out > 0 {
            text += &format!("\n{left_out} more are not shown here.\n");
        }
        text
    }

    /// One fold for each action, as many as fit.
    fn details(&self, room: usize) -> String {
        let folds = fitting(self.actions.iter().map(fold), room);
        let left_out = self.actions.len() - folds.len();
        let mut text = folds.concat();
        if left_out > 0 {
            text += &format!("\nThe details of {left_out} more are too long for a comment.\n");
        }
        text
    }

    /// What concerns no single action, and how to approve.
    fn end(&self, apply: &str) -> String {
        let released = self.released.iter().map(|name| {
            Line::new(Style::Dim, format!("{name}: what was held back is no longer wanted, so its hold ends"))
        });
        let lines: Vec<Line> = released.chain(self.guard_lines()).collect();
        let mut text = notes(&lines);
        if let Some(line) = self.missing_approvals(apply) {
            text += "\nTo approve, once this is in place:\n";
            let command = line.spans.iter().skip(1).map(|span| span.text.as_str()).collect::<String>();
            text += &fence("sh", &[cut(&command, MAX_NOTES_BYTES)]);
        }
        text
    }
}

/// As many of the first texts as fit into `room` bytes.
fn fitting(texts: impl Iterator<Item = String>, room: usize) -> Vec<String> {
    let mut used = 0;
    let fits = |text: &String| {
        used += text.len();
        used <= room
    };
    texts.take_while(fits).collect()
}

fn row(action: &Action) -> String {
    let cell = |text: &str| code(&cut(text, MAX_CELL_BYTES));
    let note = match missing_approvals(action) {
        Some(missing) => format!("**waits for approval** {}", cell(&missing)),
        None if action.is_ready() => action.risks.first().map_or_else(String::new, |risk| cell(risk)),
        None => cell(&action.reason.message),
    };
    let symbol = Symbol::of(action).as_str();
    format!(
        "| {} | {} | {} | {} | {note} |\n",
        cell(symbol),
        cell(action.name.as_str()),
        cell(&versions(action)),
        cell(&headword(action))
    )
}

fn fold(action: &Action) -> String {
    let head = format!("{} {}: {}", Symbol::of(action).as_str(), action.name, headword(action));
    let lines = detail::lines(action);
    let lines: Vec<String> = lines.iter().map(marked).collect();
    format!(
        "\n<details><summary>{}</summary>\n{}\n</details>\n",
        code(&cut(&head, MAX_CELL_BYTES)),
        fence("diff", &lines)
    )
}

/// Lines that stand by themselves; nothing when there are none.
fn notes(lines: &[Line]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let shown = fitting(lines.iter().map(|line| cut(line.text().trim_end(), MAX_LINE_BYTES)), MAX_NOTES_BYTES);
    let mut shown: Vec<String> = shown.into_iter().map(|line| format!("  {line}")).collect();
    if shown.len() < lines.len() {
        shown.push(format!("  and {} more", lines.len() - shown.len()));
    }
    fence("text", &shown)
}

/// A line with a sign that colours it where diffs are coloured.
fn marked(line: &Line) -> String {
    let is = |style: Style| line.spans.iter().any(|span| span.style == style);
    let sign = match () {
        () if is(Style::Bad) || is(Style::Change) => '!',
        () if is(Style::Add) => '+',
        () if is(Style::Remove) => '-',
        () => ' ',
    };
    // The label's indent is of no use here.
    let text = line.text();
    format!("{sign} {}", cut(text.strip_prefix("      ").unwrap_or(&text).trim_end(), MAX_LINE_BYTES))
}

/// A fenced block that nothing in `lines` can end.
fn fence(kind: &str, lines: &[String]) -> String {
    let longest = lines.iter().map(|line| longest_row(line)).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let mut text = format!("\n{fence}{kind}\n");
    for line in lines {
        // Once more: a line end in here would be a line of its own.
        text += &escape(line);
        text.push('\n');
    }
    text + &fence + "\n"
}

/// The longest row of backticks.
fn longest_row(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Text of theirs inside a line.
fn code(text: &str) -> String {
    let mut html = "<code>".to_owned();
    for c in escape(text).chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' | '-' | ',' | ';' | '=' | '+' | '(' | ')' => html.push(c),
            c if c.is_ascii() => html += &format!("&#{};", u32::from(c)),
            c => html.push(c),
        }
    }
    html + "</code>"
}

/// At most so many bytes of a text, and that it was cut.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}
