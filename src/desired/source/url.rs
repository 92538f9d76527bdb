//! Decides what `[source.url]` may name: a manifest behind a URL, and the digest of its wasm.

use crate::desired::spec::Source;
use crate::digest::Digest;
use crate::document::{Report, Table, Value};
use crate::remote_url::Transport;

use super::read_url;

/// The file that the URL must name; signature and wasm are its siblings.
const MANIFEST_FILE: &str = "Component.toml";

/// Reads the table.
pub(super) fn read<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Option<Source> {
    let url = read_url(&mut table, "https://HOST/PATH/Component.toml", report);
    let pin = table.take("sha256");
    table.finish(report);
    let sha256 = match &pin {
        Some(value) => Some(read_digest(value, report)?),
        None => None,
    };
    let (url, span) = url?;
    let problem = if !matches!(url.transport(), Transport::Https | Transport::Http) {
        "`source.url.url` must start with https://"
    } else if !url.as_str().ends_with(&format!("/{MANIFEST_FILE}")) {
        "`source.url.url` must name the manifest, a file called Component.toml"
    } else {
        return Some(Source::Url { url, sha256 });
    };
    let hint = "for instance https://HOST/PATH/Component.toml; signature and wasm are its siblings";
    report.error_with_hint(span, problem, hint);
    None
}

/// The digest of the wasm as the manifest writes it, or as plans print it.
fn read_digest<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<Digest> {
    let text = value.string(report)?;
    let digest = Digest::from_hex(text.strip_prefix("sha256:").unwrap_or(text)).ok();
    if digest.is_none() {
        let message = "`source.url.sha256` must be the 64 lower-case hex digits of the wasm's SHA-256";
        report.error_with_hint(
            value.span.clone(),
            message,
            "sha256sum FILE prints them, and so does `sha256` in the manifest",
        );
    }
    digest
}
