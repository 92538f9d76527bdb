//! Decides what a `[source]` may name.
//!
//! Whether there is anything at that place is found out when it is fetched.

use toml::de::DeValue;

use crate::desired::spec::Source;
use crate::document::{Report, Table, Value, shown};

/// Longest path of a source, in bytes.
pub const MAX_SOURCE_PATH_BYTES: usize = 4_095;
/// Kinds of sources that later versions fetch.
const LATER: [&str; 3] = ["git", "url", "oci"];
const DIRECTORY: &str = "name the directory that holds Component.toml, absolute or relative to this file";

/// Reads the `[source]` table.
pub fn read<'t>(root: &mut Table<'_, 't>, report: &mut Report<'t>) -> Option<Source> {
    let Some(value) = root.take("source") else {
        root.report_missing("source", Some(format!("add\n{}", lines_for("../components/NAME"))), report);
        return None;
    };
    let mut table = table_of(&value, report)?;
    let file = table.take("file");
    for kind in LATER {
        table.refuse(kind, "this version reads artifacts from a directory: [source.file] with `path`", report);
    }
    let is_named = file.is_some() || LATER.iter().any(|kind| table.holds(kind));
    if !is_named && !table.has_unasked() {
        table.report_missing("file", Some(format!("add\n{}", lines_for("../components/NAME"))), report);
    }
    table.finish(report);
    let mut file = table_of(&file?, report)?;
    let path = file.take("path");
    if path.is_none() {
        file.report_missing("path", Some("add: path = \"../components/NAME\"".to_owned()), report);
    }
    file.finish(report);
    path.and_then(|path| read_path(&path, report)).map(|path| Source::File { path })
}

/// The table, or what to write in place of a path that stands there.
fn table_of<'d, 't>(value: &Value<'d, 't>, report: &mut Report<'t>) -> Option<Table<'d, 't>> {
    match value.raw() {
        DeValue::String(path) => {
            let message = format!("`{}` must be a table, not a string", shown(&value.path));
            let hint = format!("write\n{}", lines_for(&shown(path)));
            report.error_with_hint(value.span.clone(), message, hint);
            None
        }
        _ => value.table(report),
    }
}

fn lines_for(path: &str) -> String {
    format!("[source.file]\npath = \"{path}\"")
}

fn read_path<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<String> {
    let path = value.string(report)?;
    let written = &report.text()[value.span.clone()];
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let problem = if path.is_empty() {
        ("is empty", DIRECTORY)
    } else if written.starts_with("\"\"\"") || written.starts_with("'''") {
        // Of `"""a""""`, which is `a"`, the part without the last character is another valid path.
        ("is written in three quotes", "write it in one pair of quotes, so that half a file never names another path")
    } else if path.len() > MAX_SOURCE_PATH_BYTES {
        ("is too long for a path", DIRECTORY)
    } else if path.contains(char::is_control) {
        ("holds a control character", DIRECTORY)
    } else if path.contains("://") || path.starts_with("git@") {
        ("is a URL, not a path", "this version fetches nothing over the network; name a directory on this machine")
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
