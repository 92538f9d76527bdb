//! Owns the local control API: HTTP over a Unix socket, paths below `/v1`, documents with a `$type`.
//!
//! It shows what the host does, takes requests to the host's loop, and decides nothing. Only the host's own user and
//! root are served.

pub mod client;
pub mod dead_letters;
pub mod documents;
mod extract;
pub mod peer;
pub mod request;
mod routes;
pub mod server;

/// Largest document that a client takes, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;
/// Connections served at a time; further ones wait in the socket's backlog.
pub const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send the head of a request, in milliseconds; an idle connection is closed then.
pub const HEAD_TIMEOUT_MS: u64 = 10_000;
/// How long a client may take to send the body of a request, in milliseconds.
pub const BODY_TIMEOUT_MS: u64 = 10_000;
/// Largest body of a request that is no message, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;
/// Largest body of `/v1/apply`, in bytes: a saved plan, and approvals.
pub const MAX_APPLY_BYTES: usize = crate::saved::MAX_SAVED_BYTES + MAX_REQUEST_BYTES;
/// Largest message of a call, in bytes; a component may take less.
pub const MAX_CALL_BYTES: usize = crate::limits::DEFAULT_MESSAGE_BYTES as usize;
/// How long a call waits for its reply when nothing else is said, in milliseconds.
pub const DEFAULT_CALL_WAIT_MS: u64 = 30_000;
/// Longest wait of a call, in milliseconds.
pub const MAX_CALL_WAIT_MS: u64 = 300_000;
/// The header in which an answer to a call says in which codec the reply is.
pub const CODEC_HEADER: &str = "airssys-codec";
/// Requests that wait for the host's loop; further ones are refused.
pub const MAX_WAITING_REQUESTS: usize = 64;
/// How long the host's loop may take to answer a request, in milliseconds. What it does by then goes on.
pub const REQUEST_TIMEOUT_MS: u64 = 600_000;
/// How long a `sync` waits for what must be fetched, in milliseconds.
pub const MAX_SYNC_WAIT_MS: u64 = 300_000;
/// How long a client waits for the answer to a question that needs no pass, in milliseconds.
pub const ANSWER_TIMEOUT_MS: u64 = 10_000;
/// Wait between two looks for new log lines, in milliseconds.
pub const FOLLOW_POLL_MS: u64 = 100;
/// Pieces of a followed log that wait for a client to read them.
pub const MAX_FOLLOW_CHUNKS: usize = 4;
