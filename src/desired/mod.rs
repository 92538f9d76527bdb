//! Owns the desired state: what a directory of files asks for.
//!
//! It reads no directory, and what is to be done about the difference to what runs is `plan`'s decision.

mod assemble;
pub mod breaker;
pub mod config;
pub mod file;
pub mod format;
pub mod origin;
pub mod source;
pub mod spec;
pub mod supervision;
#[cfg(test)]
mod tests;
pub mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::desired::file::ParsedFile;
use crate::desired::spec::{Origin, Spec};
use crate::diagnostic::Diagnostic;
use crate::name::InstallationName;

pub use assemble::assemble;
pub use file::is_desired_file_name;
pub use write::write;

/// One entry of the directory.
#[derive(Debug, Clone)]
pub enum DesiredFile {
    /// Read; good or bad.
    Parsed(Arc<ParsedFile>),
    /// Could not be read.
    Unreadable(Diagnostic),
}

/// What the directory asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredState {
    /// Every installation that a file speaks of. What is not in here is not wanted.
    pub entries: BTreeMap<InstallationName, Entry>,
    /// Bad files of which nobody knows for certain which installation they define: nothing may be deleted while there are any.
    pub unknown: Vec<BadFile>,
    /// Whether the list of files was complete. Whoever lists the directory clears it when it was not.
    pub complete: bool,
    /// Which commit of a repository the files are from, in one line for people; none for a directory.
    pub commit: Option<String>,
}

/// What is asked for one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It shall be like this.
    Wanted {
        /// What one valid file asks for.
        spec: Arc<Spec>,
        /// Where that is written.
        origin: Arc<Origin>,
    },
    /// It shall stay as it is, installed or not.
    Held(Held),
}

/// Why an installation stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The names of the files that speak of it, escaped.
    pub files: Vec<String>,
    /// What is wrong with them.
    pub problems: Vec<Diagnostic>,
}

/// A bad file whose path has no last good parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFile {
    /// The file's name, escaped.
    pub file: String,
    /// What is wrong with it.
    pub problems: Vec<Diagnostic>,
}
