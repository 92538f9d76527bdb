//! Owns the settings about desired files in a repository: `[from-git]`.

use crate::document::{Report, Table, shown};
use crate::quantity::Millis;
use crate::trust::sshsig::SshKey;

/// How often the repository is looked at where nothing else is set, in milliseconds.
pub const DEFAULT_INTERVAL_MS: u64 = 60 * 1_000;
/// Shortest interval, in milliseconds.
const MIN_INTERVAL_MS: u64 = 1_000;
/// Longest interval, in milliseconds.
const MAX_INTERVAL_MS: u64 = 24 * 60 * 60 * 1_000;
/// Most keys that may sign commits.
const MAX_SIGNERS: usize = 256;

/// What is asked of a repository of desired files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromGitSettings {
    /// Keys of which one must have signed each commit; none: no signature is asked for.
    pub signers: Vec<SshKey>,
    /// How often the repository is looked at.
    pub interval: Millis,
    /// Whether commits are taken that don't descend from the one applied last.
    pub allow_non_fast_forward: bool,
}

impl Default for FromGitSettings {
    fn default() -> Self {
        Self { signers: Vec::new(), interval: Millis(DEFAULT_INTERVAL_MS), allow_non_fast_forward: false }
    }
}

/// Reads the table.
pub(super) fn read<'t>(root: &mut Table<'_, 't>, report: &mut Report<'t>) -> FromGitSettings {
    let mut settings = FromGitSettings::default();
    let Some(mut table) = root.table("from-git", report) else { return settings };
    if let Some(value) = table.take("interval") {
        let range = Millis(MIN_INTERVAL_MS)..=Millis(MAX_INTERVAL_MS);
        settings.interval = value.millis(range, report).unwrap_or(settings.interval);
    }
    if let Some(value) = table.take("allow-non-fast-forward") {
        settings.allow_non_fast_forward = value.boolean(report).unwrap_or_default();
    }
    if let Some(value) = table.take("signers") {
        let keys = value.array(report).unwrap_or_default();
        // An empty list would mean that nothing is asked for, which nobody writes a list for.
        if keys.is_empty() || keys.len() > MAX_SIGNERS {
            report.error(value.span.clone(), format!("`from-git.signers` lists 1 to {MAX_SIGNERS} keys"));
        }
        for key in keys.iter().take(MAX_SIGNERS) {
            let Some(text) = key.string(report) else { continue };
            match text.parse() {
                Ok(key) => settings.signers.push(key),
                Err(error) => report.error(key.span.clone(), format!("\"{}\" is no signer: {error}", shown(text))),
            }
        }
    }
    table.finish(report);
    settings
}
