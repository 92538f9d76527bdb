//! Asks a running host over its control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::status::HostStatus;

use super::server::ApiError;
use super::{ANSWER_TIMEOUT_MS, MAX_DOCUMENT_BYTES};

/// Why a host could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens: no host runs on this home.
    #[error("no host is running on this home")]
    NoHost,
    /// The socket is there and something went wrong.
    #[error("the host did not answer on its control socket: {0}")]
    Broken(String),
    /// The host answered with an error.
    #[error("the host refused: {0}")]
    Refused(String),
}

impl AskError {
    fn broken(error: impl std::fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }
}

/// The status document of the host that listens on the first of `sockets` that answers.
pub async fn status(sockets: &[PathBuf]) -> Result<HostStatus, AskError> {
    let mut answer = Err(AskError::NoHost);
    for socket in sockets {
        answer = get(socket, "/v1/status").await;
        if !matches!(answer, Err(AskError::NoHost)) {
            break;
        }
    }
    serde_json::from_slice(&answer?).map_err(AskError::broken)
}

async fn get(socket: &Path, path: &str) -> Result<Bytes, AskError> {
    let answer = tokio::time::timeout(Duration::from_millis(ANSWER_TIMEOUT_MS), exchange(socket, path)).await;
    answer.map_err(|_| AskError::Broken(format!("no answer within {ANSWER_TIMEOUT_MS} ms")))?
}

async fn exchange(socket: &Path, path: &str) -> Result<Bytes, AskError> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(AskError::NoHost);
        }
        Err(error) => return Err(AskError::broken(error)),
    };
    // Where the home's path is too long the socket is in a directory for all: only our own host is believed.
    let own = rustix::process::geteuid().as_raw();
    if !stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0) {
        return Err(AskError::NoHost);
    }
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(AskError::broken)?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, "host")
        .body(Empty::<Bytes>::new())
        .map_err(AskError::broken)?;
    let answer = sender.send_request(request).await.map_err(AskError::broken)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_DOCUMENT_BYTES).collect().await.map_err(AskError::broken)?;
    driver.abort();
    let body = body.to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    let message = serde_json::from_slice::<ApiError>(&body).map_or_else(|_| status.to_string(), |e| e.message);
    Err(AskError::Refused(crate::escape::escape(&message)))
}
