//! Decides what `[source.file]` may name: a directory on this machine.

use crate::desired::spec::Source;
use crate::document::{Report, Table, Value, shown};

use super::{MAX_SOURCE_PATH_BYTES, is_in_three_quotes};

const DIRECTORY: &str = "name the directory that holds Component.toml, absolute or relative to this file";

/// Reads the table.
pub(super) fn read<'t>(mut file: Table<'_, 't>, report: &mut Report<'t>) -> Option<Source> {
    let path = file.take("path");
    if path.is_none() {
        file.report_missing("path", Some("add: path = \"../components/NAME\"".to_owned()), report);
    }
    file.finish(report);
    path.and_then(|path| read_path(&path, report)).map(|path| Source::File { path })
}

fn read_path<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<String> {
    let path = value.string(report)?;
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let problem = if path.is_empty() {
        ("is empty", DIRECTORY)
    } else if is_in_three_quotes(value, report) {
        // Of `"""a""""`, which is `a"`, the part without the last character is another valid path.
        ("is written in three quotes", "write it in one pair of quotes, so that half a file never names another path")
    } else if path.len() > MAX_SOURCE_PATH_BYTES {
        ("is too long for a path", DIRECTORY)
    } else if path.contains(char::is_control) {
        ("holds a control character", DIRECTORY)
    } else if path.contains("://") || path.starts_with("git@") {
        ("is a URL, not a path", "write [source.git] or [source.url] with `url`, or name a directory on this machine")
    } else if path.starts_with('~') {
        ("starts with `~`, which is not expanded here", DIRECTORY)
    } else if path.starts_with('$') || path.contains("${") {
        ("names a variable, which is not expanded here", DIRECTORY)
    } else if name.ends_with(".wasm") || name == "Component.toml" || name == "Component.toml.sig" {
        ("names a file", DIRECTORY)
    } else {
        return Some(path.to_owned());
    };
    let (what, hint) = problem;
    report.error_with_hint(value.span.clone(), format!("`{}` {what}", shown(&value.path)), hint);
    None
}
