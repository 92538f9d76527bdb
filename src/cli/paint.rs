//! Colours, where a person looks at a terminal and has not said no.

use std::io::IsTerminal as _;

use super::Global;

/// Which stream is painted.
#[derive(Clone, Copy)]
pub enum Stream {
    /// Data.
    Stdout,
    /// Everything else.
    Stderr,
}

/// Paints, or leaves text as it is.
#[derive(Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colour for a terminal, unless `--no-color` or a non-empty `NO_COLOR` says no.
    pub(crate) fn new(global: &Global, stream: Stream) -> Self {
        let terminal = match stream {
            Stream::Stdout => std::io::stdout().is_terminal(),
            Stream::Stderr => std::io::stderr().is_terminal(),
        };
        let refused = global.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: terminal && !refused }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// For errors and deletions.
    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// For additions and success.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For changes and warnings.
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// For what steps back.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// For what steps forward.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }
}
