//! Owns signing: writes digest and size of the wasm into the manifest, and signs the result.
//!
//! The author's text stays as it is but for the two values. Nothing is written to disk here.

use std::fmt::Write as _;
use std::ops::Range;

use toml::de::DeValue;

use super::key::verifies;
use super::key_file::SigningKey;
use super::signature::{MAX_SIGNATURES, SignatureFile, SignatureFileError, signed_bytes};
use super::wasm_kind::WasmKind;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::document::{self, Report};
use crate::manifest::{MAX_MANIFEST_BYTES, MAX_WASM_BYTES, Manifest, text_within};

/// What signing leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The text of `Component.toml`.
    pub manifest: String,
    /// The text of `Component.toml.sig`.
    pub signature: String,
    /// How many signatures of other keys were kept, because they fit the manifest.
    pub kept: usize,
    /// How many were dropped, because the manifest changed since they were made.
    pub dropped: usize,
}

/// Why there is nothing to sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The manifest is not valid, apart from what signing fills in.
    #[error("the manifest has problems")]
    Manifest(Vec<Diagnostic>),
    /// The wasm is no component.
    #[error("the wasm is {0}, not a WebAssembly component")]
    NotAComponent(WasmKind),
    /// The wasm is over the limit.
    #[error("the wasm is {0} bytes long, more than {MAX_WASM_BYTES}")]
    TooLarge(usize),
    /// The signature file that is there can't be read.
    #[error("the signature file that is there can't be used: {0}; remove it to start anew")]
    Signatures(#[from] SignatureFileError),
    /// The file is full.
    #[error("the signature file already holds {MAX_SIGNATURES} signatures")]
    TooMany,
}

/// Writes digest and size of `wasm` into `manifest` and signs it.
///
/// `signatures` is the signature file that is there already: signatures of other keys that fit the result
/// stay, so several people can sign one after the other.
pub fn sign_manifest(
    manifest: &str,
    wasm: &[u8],
    signatures: Option<&[u8]>,
    key: &SigningKey,
) -> Result<Signed, SignError> {
    if wasm.len() as u64 > MAX_WASM_BYTES {
        return Err(SignError::TooLarge(wasm.len()));
    }
    let kind = WasmKind::of(wasm);
    if kind != WasmKind::Component {
        return Err(SignError::NotAComponent(kind));
    }
    let (digest, size) = (Digest::of(wasm), wasm.len() as u64);
    text_within("Component.toml", manifest.as_bytes(), MAX_MANIFEST_BYTES)
        .map_err(|problem| SignError::Manifest(vec![problem]))?;
    let text = fill_in(manifest, &digest, size);
    let parsed = Manifest::parse("Component.toml", text.as_bytes()).map_err(SignError::Manifest)?;
    // A signature over other values than those of the wasm at hand must never be made. A text that says
    // them in a way that the edit misses is refused.
    if parsed.wasm.digest != digest || parsed.wasm.size != size {
        let problem = Diagnostic::whole_file("Component.toml", "the values of `sha256` and `size` can't be replaced");
        return Err(SignError::Manifest(vec![problem.hint("write both as plain values, each on a line of [wasm]")]));
    }

    let message = signed_bytes(text.as_bytes());
    let mut file = signatures.map(SignatureFile::parse).transpose()?.unwrap_or_default();
    file.lines.retain(|line| line.key != key.public());
    let others = file.lines.len();
    file.lines.retain(|line| verifies(&line.key, &message, &line.signature) == Ok(true));
    let kept = file.lines.len();
    if kept == MAX_SIGNATURES {
        return Err(SignError::TooMany);
    }
    file.lines.push(key.sign(&message));
    Ok(Signed { signature: file.encode(), manifest: text, kept, dropped: others - kept })
}

/// The text with both values in `[wasm]`. A text that is no manifest comes back as it is, for its own problems to be told.
fn fill_in(text: &str, digest: &Digest, size: u64) -> String {
    let document = document::parse(text, &mut Report::new("", text));
    let Some(wasm) = document.get_ref().get("wasm") else { return text.to_owned() };
    let DeValue::Table(entries) = wasm.get_ref() else { return text.to_owned() };
    let values = [("sha256", format!("\"{}\"", digest.hex())), ("size", size.to_string())];
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut missing = Vec::new();
    for (key, value) in values {
        match entries.get(key) {
            Some(there) if text[there.span()] == value => {}
            Some(there) => edits.push((there.span(), value)),
            None => missing.push((key, value)),
        }
    }
    if let Some((file_key, file)) = entries.get_key_value("file") {
        edits.extend(insertion(text, file_key.span(), file.span(), &missing));
    }
    // From the end, so that the places before stay where they are.
    edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    let mut text = text.to_owned();
    for (place, value) in edits {
        text.replace_range(place, &value);
    }
    text
}

/// Puts the missing keys behind `file`, in the manner in which `file` is written.
fn insertion(
    text: &str,
    file_key: Range<usize>,
    file: Range<usize>,
    missing: &[(&str, String)],
) -> Option<(Range<usize>, String)> {
    if missing.is_empty() {
        return None;
    }
    let line_start = text[..file_key.start].rfind('\n').map_or(0, |at| at + 1);
    let before_key = &text[line_start..file_key.start];
    let mut added = String::new();
    // `wasm = { file = "…" }`
    if before_key.contains(['{', ',']) {
        for (key, value) in missing {
            let _ = write!(added, ", {key} = {value}");
        }
        return Some((file.end..file.end, added));
    }
    // `file = "…"` or `wasm.file = "…"`, perhaps indented, on a line of its own.
    let line_end = text[file.end..].find('\n').map(|at| file.end + at + 1);
    let line_break = if line_end.is_some_and(|end| text[..end].ends_with("\r\n")) { "\r\n" } else { "\n" };
    if line_end.is_none() {
        added.push_str(line_break);
    }
    for (key, value) in missing {
        let _ = write!(added, "{before_key}{key} = {value}{line_break}");
    }
    let at = line_end.unwrap_or(text.len());
    Some((at..at, added))
}
