//! Owns what happens to a guest's standard output and standard error: lines of its log.
//!
//! A line that never ends is cut where the log cuts every line, so that nothing piles up here.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_io::bytes::Bytes;

use crate::logs::{ComponentLog, Level, MAX_LINE_BYTES, Source};

/// Bytes that one write may bring.
const MAX_WRITE_BYTES: usize = 64 * 1024;

/// One standard stream; all handles to it fill the same line.
#[derive(Clone)]
pub(super) struct LogStream(Arc<Mutex<Lines>>);

impl LogStream {
    pub(super) fn new(log: ComponentLog, level: Level) -> Self {
        Self(Arc::new(Mutex::new(Lines { log, level, open: Vec::new(), cutting: false })))
    }

    fn take(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
    }
}

struct Lines {
    log: ComponentLog,
    level: Level,
    /// The line that has no end yet.
    open: Vec<u8>,
    /// The open line was written as far as it goes; the rest of it is skipped.
    cutting: bool,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, ends) = match piece.strip_suffix(b"\n") {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            if !self.cutting {
                // One byte over the limit makes the log see that the line was longer.
                let room = (MAX_LINE_BYTES + 1).saturating_sub(self.open.len());
                self.open.extend_from_slice(&piece[..piece.len().min(room)]);
                if self.open.len() > MAX_LINE_BYTES {
                    self.write();
                    self.cutting = true;
                }
            }
            if ends {
                if !self.cutting {
                    self.write();
                }
                self.cutting = false;
            }
        }
    }

    fn write(&mut self) {
        let line = self.open.strip_suffix(b"\r").unwrap_or(&self.open);
        self.log.write(self.level, Source::Guest, &String::from_utf8_lossy(line));
        self.open.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.open.is_empty() {
            self.write();
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > MAX_WRITE_BYTES {
            return Err(StreamError::trap("more was written at once than `check-write` allowed"));
        }
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let taken = &bytes[..bytes.len().min(MAX_WRITE_BYTES)];
        self.take(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
