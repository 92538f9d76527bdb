//! Prints documents as text, JSON or YAML.

use serde::Serialize;

use super::exit::{Exit, Failure};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// For a comment on a pull request; only plans
    Markdown,
}

/// Prints `document` to standard output; `text` makes the form for people.
pub fn print<D: Serialize>(format: Format, document: &D, text: impl FnOnce() -> String) -> Result<(), Failure> {
    let rendered = match format {
        // Whoever has a Markdown form hands it in as the text.
        Format::Text | Format::Markdown => text(),
        Format::Json => json(document)? + "\n",
        Format::Yaml => yaml(document)?,
    };
    write_stdout(&rendered)
}

/// Writes to standard output; a reader that went away is no error.
pub fn write_stdout(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn json<D: Serialize>(document: &D) -> Result<String, Failure> {
    serde_json::to_string_pretty(document).map_err(|error| Failure::new(Exit::General, error))
}

/// A document as YAML.
pub fn yaml<D: Serialize>(document: &D) -> Result<String, Failure> {
    serde_saphyr::to_string(document).map_err(|error| Failure::message(Exit::General, error.to_string()))
}

/// Whether the reader of standard output is gone, as after `| head`.
pub fn is_stdout_closed() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut wanted = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut wanted, Some(&now)).is_ok_and(|_| wanted[0].revents().intersects(PollFlags::ERR | PollFlags::HUP))
}
