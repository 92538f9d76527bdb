//! Decides what `[source.git]` may name: a repository, a place in its history, a directory of its tree.

use crate::desired::spec::{GitReference, Source};
use crate::document::{Report, Table, Value, shown};

use super::{MAX_SOURCE_PATH_BYTES, is_in_three_quotes, read_url};

/// Longest name of a tag or branch, in bytes.
const MAX_REFERENCE_BYTES: usize = 256;
/// Digits of a commit id, which is never shortened: a short one means another commit some day.
const COMMIT_DIGITS: usize = 40;
/// How a commit, tag or branch is named.
const REFERENCES: [&str; 3] = ["tag", "branch", "commit"];

/// Reads the table.
pub(super) fn read<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Option<Source> {
    let url = read_url(&mut table, "https://HOST/PATH.git", report);
    let named: Vec<(&str, Value<'_, 't>)> =
        REFERENCES.iter().filter_map(|key| Some((*key, table.take(key)?))).collect();
    let at = match named.as_slice() {
        [(key, value)] => read_reference(key, value, report),
        [] => {
            let hint = "add one of: tag = \"v1.0.0\", branch = \"main\", commit = \"40 hex digits\"";
            table.report_missing("tag", Some(hint.to_owned()), report);
            None
        }
        [(first, _), (second, value), ..] => {
            let message = format!("it names one place in the history, and there are `{first}` and `{second}`");
            report.error_with_hint(value.key_span.clone(), message, "keep the one that is meant");
            None
        }
    };
    let path = match table.take("path") {
        Some(value) => read_tree_path(&value, report),
        None => {
            let hint = "add: path = \"releases/NAME\", or \".\" for the top of the repository";
            table.report_missing("path", Some(hint.to_owned()), report);
            None
        }
    };
    table.finish(report);
    Some(Source::Git { url: url?.0, at: at?, path: path? })
}

fn read_reference<'t>(key: &str, value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<GitReference> {
    let text = value.string(report)?;
    let refuse = |message: String, hint: &str, report: &mut Report<'t>| {
        report.error_with_hint(value.span.clone(), message, hint);
        None
    };
    if key == "commit" {
        if is_commit_id(text) {
            return Some(GitReference::Commit(text.to_owned()));
        }
        let message = format!("`source.git.commit` must be {COMMIT_DIGITS} lower-case hex digits");
        return refuse(message, "git rev-parse prints it in full", report);
    }
    if let Some(fault) = fault_of_reference(text) {
        let message = format!("`source.git.{key}` can't be \"{}\": it {fault}", shown(text));
        return refuse(message, "write the name as `git tag` or `git branch` prints it", report);
    }
    Some(if key == "tag" { GitReference::Tag(text.to_owned()) } else { GitReference::Branch(text.to_owned()) })
}

/// Reads a place in the history as one word: `branch:NAME`, `tag:NAME`, `commit:ID`, or the name of a branch alone.
/// The error says what is wrong with it.
pub fn parse_reference(text: &str) -> Result<GitReference, String> {
    let (kind, name) = text.split_once(':').unwrap_or(("branch", text));
    let named = |make: fn(String) -> GitReference| match fault_of_reference(name) {
        Some(fault) => Err(format!("\"{}\" {fault}", shown(name))),
        None => Ok(make(name.to_owned())),
    };
    match kind {
        "branch" => named(GitReference::Branch),
        "tag" => named(GitReference::Tag),
        "commit" if is_commit_id(name) => Ok(GitReference::Commit(name.to_owned())),
        "commit" => {
            Err(format!("a commit is named by {COMMIT_DIGITS} lower-case hex digits, as `git rev-parse` prints"))
        }
        _ => Err("write the name of a branch, or branch:NAME, tag:NAME, commit:ID".to_owned()),
    }
}

/// Reads a directory of a tree, `.` for its top. The error says what is wrong with it.
pub fn parse_tree_path(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    if text == "." || text == "./" {
        return Ok(".".to_owned());
    }
    fault_of_tree_path(text).map_or_else(|| Ok(trimmed.to_owned()), |fault| Err(fault.to_owned()))
}

fn is_commit_id(text: &str) -> bool {
    text.len() == COMMIT_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What keeps a text from naming a directory below the top of a tree.
fn fault_of_tree_path(path: &str) -> Option<&'static str> {
    let bad_part = |part: &str| part.is_empty() || part == "." || part == ".." || part.eq_ignore_ascii_case(".git");
    if path.len() > MAX_SOURCE_PATH_BYTES {
        Some("is too long for a path")
    } else if path.contains(|c: char| c.is_control() || c == '\\') {
        Some("holds a control character or a backslash")
    } else if path.starts_with('/') || path.trim_end_matches('/').split('/').any(bad_part) {
        Some("must be a path inside the repository without `.` and `..`")
    } else {
        None
    }
}

/// The rules of `git check-ref-format`, of which ours are a stricter subset.
fn fault_of_reference(name: &str) -> Option<&'static str> {
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if name.is_empty() || name.len() > MAX_REFERENCE_BYTES {
        Some("is empty or too long")
    } else if name.starts_with("refs/") {
        Some("is a full reference; leave out `refs/tags/` or `refs/heads/`")
    } else if name.starts_with('-') {
        Some("starts with a hyphen")
    } else if name.contains(|c: char| !c.is_ascii_graphic() || "~^:?*[\\".contains(c)) {
        Some("holds a character that no such name may hold")
    } else if name.contains("..") || name.contains("@{") || name == "@" || name.ends_with('.') {
        Some("is an expression, not a name")
    } else if name.split('/').any(bad_part) {
        Some("has a part that is empty, starts with a dot or ends in `.lock`")
    } else {
        None
    }
}

/// A directory of the tree, `.` for its top.
fn read_tree_path<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<String> {
    let path = value.string(report)?;
    let trimmed = path.trim_end_matches('/');
    let problem = if is_in_three_quotes(value, report) {
        "is written in three quotes; write it in one pair of quotes"
    } else if path == "." {
        return Some(".".to_owned());
    } else if let Some(fault) = fault_of_tree_path(path) {
        fault
    } else if matches!(trimmed.rsplit('/').next(), Some("Component.toml" | "Component.toml.sig"))
        || trimmed.ends_with(".wasm")
    {
        "names a file; name the directory that holds Component.toml"
    } else {
        return Some(trimmed.to_owned());
    };
    let hint = "for instance \"releases/notifier\", or \".\" for the top of the repository";
    report.error_with_hint(value.span.clone(), format!("`{}` {problem}", shown(&value.path)), hint);
    None
}
