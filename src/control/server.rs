//! Serves the control API on a Unix socket.
//!
//! Checks who calls before a byte is read: the kernel says which user is at the other end.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::logs::{Follow, LogLine};
use crate::name::InstallationName;
use crate::status::HostStatus;

use super::{FOLLOW_POLL_MS, MAX_CONNECTIONS, MAX_FOLLOW_CHUNKS};

/// What the server shows.
#[derive(Clone)]
pub struct Shown {
    /// Makes the status document of this moment.
    pub status: Arc<dyn Fn() -> HostStatus + Send + Sync>,
    /// Where the components' logs are.
    pub logs: PathBuf,
}

/// A bound socket; dropping it removes the file.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Binds the socket at `path` with mode 0600.
    ///
    /// The caller holds the home's lock, so a socket file that is there was left by a dead host.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket()) {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until `stop` becomes true.
    pub async fn serve(self, shown: Shown, mut stop: watch::Receiver<bool>) -> io::Result<()> {
        let router = Router::new()
            .route("/v1/status", get(status))
            .route("/v1/logs/{name}", get(logs))
            .fallback(unknown)
            .with_state(shown);
        let listener =
            OwnUserOnly { inner: self.listener, places: Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS)) };
        let served = axum::serve(listener, router);
        let result = tokio::select! {
            // Both are dropped with the runtime: an open log stream must not hold up the stop.
            result = served => result,
            _ = stop.wait_for(|stop| *stop) => Ok(()),
        };
        let _ = std::fs::remove_file(&self.path);
        result
    }
}

/// Accepts connections of the host's own user and of root, a bounded number at a time.
struct OwnUserOnly {
    inner: UnixListener,
    places: Arc<tokio::sync::Semaphore>,
}

impl axum::serve::Listener for OwnUserOnly {
    type Io = Connection;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else { continue };
            match self.inner.accept().await {
                Ok((stream, _)) if is_allowed(&stream) => return (Connection { stream, _place: place }, ()),
                Ok(_) => {}
                // Out of descriptors or memory: give what is open a moment to end.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(())
    }
}

fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// A connection and its place among [`MAX_CONNECTIONS`].
struct Connection {
    stream: UnixStream,
    _place: tokio::sync::OwnedSemaphorePermit,
}

mod connection_io {
    //! Hands reads and writes through to the stream.

    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Connection;

    impl AsyncRead for Connection {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Connection {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}

/// An error as the API answers it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ApiError {
    /// `airssys-wasm/error/v1`.
    #[serde(rename = "$type")]
    pub document: String,
    /// One sentence.
    pub message: String,
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = ApiError { document: "airssys-wasm/error/v1".to_owned(), message: message.to_owned() };
    (status, Json(body)).into_response()
}

async fn status(State(shown): State<Shown>) -> Json<HostStatus> {
    Json((shown.status)())
}

/// Query of `/v1/logs/NAME`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogsQuery {
    /// How many lines from the end.
    #[serde(default = "default_tail")]
    tail: usize,
    /// Whether to go on with new lines until the client closes.
    #[serde(default)]
    follow: bool,
}

fn default_tail() -> usize {
    100
}

/// Lines as newline-delimited JSON.
async fn logs(State(shown): State<Shown>, UrlPath(name): UrlPath<String>, Query(query): Query<LogsQuery>) -> Response {
    let Ok(name) = name.parse::<InstallationName>() else {
        return error(StatusCode::BAD_REQUEST, "the path ends with the name of an installation");
    };
    let (lines, follow) = match Follow::open(&shown.logs, &name, query.tail, None) {
        Ok(opened) => opened,
        Err(problem) => return error(StatusCode::INTERNAL_SERVER_ERROR, &format!("the log can't be read: {problem}")),
    };
    let kind = [(axum::http::header::CONTENT_TYPE, "application/x-ndjson")];
    if !query.follow {
        return (kind, ndjson(&lines)).into_response();
    }
    let (sender, receiver) = tokio::sync::mpsc::channel::<String>(MAX_FOLLOW_CHUNKS);
    tokio::spawn(follow_lines(lines, follow, sender));
    (kind, Body::new(Chunks(receiver))).into_response()
}

/// Sends lines as they come until the client is gone. A client that does not read holds up only itself.
async fn follow_lines(first: Vec<LogLine>, mut follow: Follow, sender: tokio::sync::mpsc::Sender<String>) {
    let mut lines = first;
    loop {
        if !lines.is_empty() && sender.send(ndjson(&lines)).await.is_err() {
            return;
        }
        tokio::select! {
            // Cancel-safe: it only waits for the other side to go.
            () = sender.closed() => return,
            // Cancel-safe: a timer.
            () = tokio::time::sleep(std::time::Duration::from_millis(FOLLOW_POLL_MS)) => {}
        }
        match follow.poll() {
            Ok(new) => lines = new,
            Err(_) => return,
        }
    }
}

fn ndjson(lines: &[LogLine]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line).expect("a log line holds only strings and numbers"));
        text.push('\n');
    }
    text
}

/// A body that ends when its sender is gone.
struct Chunks(tokio::sync::mpsc::Receiver<String>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|text| Ok(hyper::body::Frame::data(Bytes::from(text)))))
    }
}

async fn unknown() -> Response {
    error(StatusCode::NOT_FOUND, "there is no such path; known are /v1/status and /v1/logs/NAME")
}
