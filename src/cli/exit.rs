//! How commands end: exit codes and the text of a failure.

use std::process::ExitCode;

use super::Global;
use super::paint::{Paint, Stream};
use crate::state::StateError;

/// Exit codes 1 to 9; 0 is success, and `plan` and `apply` use 10 to 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Anything that has no code of its own.
    General = 1,
    /// The command line is wrong.
    CommandLine = 2,
    /// Home, configuration or trust policy can't be used.
    Configuration = 3,
    /// A host could not be reached.
    Network = 4,
    /// Not allowed to do that.
    Authorization = 6,
    /// A file does not say what it should.
    Validation = 7,
    /// A signature, digest or trust rule refuses.
    Signature = 9,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// A failure with its exit code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    /// A failure that is one sentence.
    pub fn message(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, error: anyhow::Error::msg(message.into()), hint: None }
    }

    /// The state can't be used as it is.
    pub(crate) fn state(error: &StateError) -> Self {
        let failure = Self::message(Exit::Configuration, error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints the failure and gives its exit code.
    pub(crate) fn print(&self, global: &Global) -> ExitCode {
        let paint = Paint::new(global, Stream::Stderr);
        eprintln!("{} {}", paint.red("error:"), self.error);
        for cause in self.error.chain().skip(1) {
            eprintln!("  caused by: {cause}");
        }
        if let Some(hint) = &self.hint {
            let mut lines = hint.lines();
            eprintln!("  {} {}", paint.bold("help:"), lines.next().unwrap_or_default());
            lines.for_each(|line| eprintln!("        {line}"));
        }
        self.exit.into()
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::General, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::General, error)
    }
}
