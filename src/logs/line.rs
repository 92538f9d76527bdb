//! Owns the form of a log line: one JSON object on disk, one escaped line for people.
//!
//! On disk the text is as the guest wrote it, within JSON; it is escaped where it is shown.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::escape::Escaped;

/// What a line takes on disk besides its text, roughly, in bytes.
const OVERHEAD_BYTES: u64 = 96;
/// What a control character takes on disk beyond its one byte: `\u0000`.
const ESCAPE_BYTES: u64 = 5;

/// What a line with this text takes on disk, roughly, in bytes.
pub(super) fn stored_bytes(text: &str) -> u64 {
    let controls = text.bytes().filter(u8::is_ascii_control).count() as u64;
    text.len() as u64 + OVERHEAD_BYTES + controls * ESCAPE_BYTES
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Steps within steps.
    Trace,
    /// For whoever debugs the component.
    Debug,
    /// Normal work.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The component. Its text cannot be believed.
    Guest,
    /// The host, about the component.
    Host,
}

/// One line of a component's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, in milliseconds since 1970; on disk as RFC 3339 text in UTC.
    #[serde(rename = "ts", serialize_with = "write_time", deserialize_with = "read_time")]
    pub ts_ms: i64,
    /// How much it matters.
    pub level: Level,
    /// Who wrote it.
    pub source: Source,
    /// Which instance of the component, from 1; 0 when none was running.
    pub instance: u64,
    /// Whether the text was longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// The text, not escaped.
    pub message: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        let by_host = if self.source == Source::Host { "host: " } else { "" };
        let cut = if self.cut { " [cut]" } else { "" };
        write!(f, "{} {level:5} {by_host}{}{cut}", time_text(self.ts_ms), Escaped(&self.message))
    }
}

fn time_text(ms: i64) -> String {
    // Out of range only by a broken clock or a tampered file; the edge is as good as any.
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

fn write_time<S: Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time_text(*ms))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
    Ok(time.as_millisecond())
}
