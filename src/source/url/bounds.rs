//! Owns the limits of fetching over HTTP.

use std::time::Duration;

/// Most redirects that are followed for one file, where the host's settings allow any.
pub const MAX_REDIRECTS: usize = 3;
/// Longest URL that a redirect may lead to, in bytes.
pub const MAX_LOCATION_BYTES: usize = 2_048;
/// Most header lines of an answer.
pub const MAX_HEADERS: usize = 64;
/// Largest head of an answer, in bytes: names and values together. More than 408 KiB are not even read.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Longest validator that is kept as a revision, in bytes.
pub const MAX_ETAG_BYTES: usize = 256;
/// Most addresses of one name that are tried.
pub const MAX_ADDRESSES: usize = 16;
/// Largest piece of a wasm that is handed over at once, in bytes.
pub const MAX_PIECE_BYTES: usize = 64 * 1024;
/// Longest wait that a server can ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);
/// Longest foreign text in a message, in bytes before escaping.
pub const MAX_SHOWN_BYTES: usize = 128;

/// How long a fetch waits for a server. Time that whoever takes the bytes needs doesn't count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// For a name, a connection and its TLS handshake together.
    pub connect: Duration,
    /// For the head of an answer, counted from the connection's limit on.
    pub header: Duration,
    /// For the next piece of a body.
    pub read: Duration,
    /// How long a body may come slower than `min_bytes_per_second`. So a body of n bytes takes at most
    /// this and n divided by that rate.
    pub grace: Duration,
    /// The least rate of a body, on average.
    pub min_bytes_per_second: u64,
}

impl Times {
    /// The times that hold unless something else is said.
    pub const USUAL: Self = Self {
        connect: Duration::from_secs(10),
        header: Duration::from_secs(15),
        read: Duration::from_secs(15),
        grace: Duration::from_secs(10),
        min_bytes_per_second: 16 * 1024,
    };

    /// How long may have been waited for a body of which `received` bytes are there.
    pub fn deadline(&self, received: u64) -> Duration {
        self.grace + Duration::from_millis(received.saturating_mul(1_000) / self.min_bytes_per_second.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u7_the_deadline_of_a_body_follows_from_its_size() {
        assert_eq!(Times::USUAL.deadline(0), Duration::from_secs(10));
        assert_eq!(Times::USUAL.deadline(64 * 1024), Duration::from_secs(14));
        assert_eq!(Times::USUAL.deadline(64 << 20), Duration::from_secs(10 + 4096));
    }
}
