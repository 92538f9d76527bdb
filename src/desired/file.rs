//! Decides whether the bytes of one desired file are a valid spec, and says everything that is wrong.
//!
//! It reads no file system: the caller brings name and bytes, and may keep the outcome as long as the
//! file stays the same. What a bad file leads to is decided in the parent module.

use std::sync::Arc;

use crate::desired::spec::{Origin, Spec};
use crate::desired::{format, origin};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::document::{self, Report};
use crate::name::InstallationName;

/// Largest desired file, in bytes.
pub const MAX_DESIRED_FILE_BYTES: usize = 256 * 1024;
/// How the names of desired files end.
pub const EXTENSION: &str = ".toml";

/// What came of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedFile {
    /// Of the file's bytes.
    pub digest: Digest,
    /// The file's spec, or every problem that it has.
    pub outcome: Result<Arc<WantedFile>, Vec<Diagnostic>>,
    /// The installation that the file defines, or would define without its problems, as far as that is certain.
    pub name_hint: Option<InstallationName>,
    /// The file's `moved-from`, as far as that is certain.
    pub moved_from_hint: Option<InstallationName>,
}

/// A valid file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// What it asks for.
    pub spec: Arc<Spec>,
    /// Where it is written.
    pub origin: Arc<Origin>,
}

/// Whether a directory entry of this name is a desired file. Everything else is passed over: hidden files,
/// backups and lock files of editors, the links of a Kubernetes mount, other extensions.
pub fn is_desired_file_name(name: &str) -> bool {
    name.len() > EXTENSION.len() && name.ends_with(EXTENSION) && !name.starts_with('.') && !name.contains(['~', '#'])
}

/// Reads one file.
pub fn parse(file_name: &str, bytes: &[u8]) -> ParsedFile {
    let digest = Digest::of(bytes);
    match check_text(file_name, bytes) {
        Ok(text) => parse_text(file_name, text, digest),
        Err(problem) => ParsedFile { digest, outcome: Err(vec![problem]), name_hint: None, moved_from_hint: None },
    }
}

fn check_text<'t>(file: &str, bytes: &'t [u8]) -> Result<&'t str, Diagnostic> {
    let whole_file = |message: &str, hint: &str| Err(Diagnostic::whole_file(file, message).hint(hint));
    if bytes.len() > MAX_DESIRED_FILE_BYTES {
        let message = format!("the file is larger than {} KiB", MAX_DESIRED_FILE_BYTES / 1024);
        return whole_file(&message, "a desired file names an artifact; data does not belong into it");
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return whole_file("the file is UTF-16", "save it as UTF-8");
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = format!("there is a NUL byte in line {line}");
        return whole_file(&message, "a crash may have torn the file, or it is no text; write it again");
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let shown = String::from_utf8_lossy(bytes);
        let at = error.valid_up_to();
        Diagnostic::at(file, &shown, at..at + 1, "this is not UTF-8").hint("save the file as UTF-8")
    })?;
    if text.starts_with('\u{feff}') {
        return whole_file("the file starts with a byte order mark", "save it as UTF-8 without a byte order mark");
    }
    if text.trim().is_empty() {
        return whole_file("the file is empty", &format!("write at least\n{}", format::SMALLEST));
    }
    Ok(text)
}

fn parse_text(file: &str, text: &str, digest: Digest) -> ParsedFile {
    let mut report = Report::new(file, text).with_homes(format::HOMES);
    let document = document::parse(text, &mut report);
    let read = format::read(file, &document, &mut report);
    let outcome = match (report.is_clean(), read.spec) {
        (true, Some(spec)) => {
            let origin =
                Origin { file: crate::escape::escape(file), lines: origin::lines(document.get_ref(), &report) };
            Ok(Arc::new(WantedFile { spec: Arc::new(spec), origin: Arc::new(origin) }))
        }
        _ => Err(report.into_problems()),
    };
    ParsedFile { digest, outcome, name_hint: read.name, moved_from_hint: read.moved_from }
}
