//! Owns the local control API: HTTP over a Unix socket, paths below `/v1`, documents with a `$type`.
//!
//! It shows what the host does and decides nothing. Only the host's own user and root are served.

pub mod client;
pub mod server;

/// Largest document that a client takes, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;
/// Connections served at a time; further ones wait in the socket's backlog.
pub const MAX_CONNECTIONS: usize = 64;
/// How long a client waits for an answer's head, in milliseconds.
pub const ANSWER_TIMEOUT_MS: u64 = 10_000;
/// Wait between two looks for new log lines, in milliseconds.
pub const FOLLOW_POLL_MS: u64 = 100;
/// Pieces of a followed log that wait for a client to read them.
pub const MAX_FOLLOW_CHUNKS: usize = 4;
