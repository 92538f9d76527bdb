//! Decides what a `[source]` may name.
//!
//! Whether there is anything at that place is found out when it is fetched.

mod file;
pub mod git;
mod url;

use std::ops::Range;

use toml::de::DeValue;

use crate::desired::spec::Source;
use crate::document::{Report, Table, Value, shown};
use crate::remote_url::{RemoteUrl, UrlError};

/// Longest path of a source, in bytes.
pub const MAX_SOURCE_PATH_BYTES: usize = 4_095;
/// Kinds of sources that later versions fetch.
const LATER: [&str; 1] = ["oci"];
/// Kinds of sources.
const KINDS: [&str; 3] = ["file", "git", "url"];

/// Reads the `[source]` table.
pub fn read<'t>(root: &mut Table<'_, 't>, report: &mut Report<'t>) -> Option<Source> {
    let Some(value) = root.take("source") else {
        root.report_missing("source", Some(format!("add\n{}", lines_for("../components/NAME"))), report);
        return None;
    };
    let mut table = table_of(&value, report)?;
    let named: Vec<(&str, Value<'_, 't>)> = KINDS.iter().filter_map(|kind| Some((*kind, table.take(kind)?))).collect();
    for kind in LATER {
        table.refuse(kind, "this version fetches from [source.file], [source.git] and [source.url]", report);
    }
    let is_named = !named.is_empty() || LATER.iter().any(|kind| table.holds(kind));
    if !is_named && !table.has_unasked() {
        table.report_missing("file", Some(format!("add\n{}", lines_for("../components/NAME"))), report);
    }
    table.finish(report);
    if let [(first, _), (second, value), ..] = named.as_slice() {
        let message =
            format!("an artifact comes from one source, and there are `source.{first}` and `source.{second}`");
        report.error_with_hint(value.key_span.clone(), message, "remove all but one");
        return None;
    }
    let (kind, value) = named.into_iter().next()?;
    match kind {
        "file" => file::read(table_of(&value, report)?, report),
        "git" => git::read(value.table(report)?, report),
        _ => url::read(value.table(report)?, report),
    }
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

/// The `url` of a table, which it must have, and where it stands.
fn read_url<'t>(
    table: &mut Table<'_, 't>,
    example: &str,
    report: &mut Report<'t>,
) -> Option<(RemoteUrl, Range<usize>)> {
    let Some(value) = table.take("url") else {
        table.report_missing("url", Some(format!("add: url = \"{example}\"")), report);
        return None;
    };
    let text = value.string(report)?;
    match text.parse::<RemoteUrl>() {
        Ok(url) => Some((url, value.span.clone())),
        Err(error) if text.contains(['@', '?', '#']) && !matches!(error, UrlError::ScpForm(_)) => {
            let message = format!("`{}` can't be named: {error}", shown(&value.path));
            report.error_unseen(value.span, message, format!("for instance \"{example}\""));
            None
        }
        Err(_) => value.parsed(report).zip(Some(value.span.clone())),
    }
}

/// Of `"""a""""`, which is `a"`, the part without the last character is another valid text: half a file must not
/// name another place.
fn is_in_three_quotes(value: &Value<'_, '_>, report: &Report<'_>) -> bool {
    let written = &report.text()[value.span.clone()];
    written.starts_with("\"\"\"") || written.starts_with("'''")
}
