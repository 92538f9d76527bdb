//! Serves the control API on a Unix socket.
//!
//! Checks who calls before a byte is read: the kernel says which user is at the other end.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use super::peer::{Asker, OtherEnd};
pub use super::routes::{Call, Called, Inform, Shown};
use super::{HEAD_TIMEOUT_MS, MAX_CONNECTIONS, routes};

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
    pub async fn serve(self, shown: Shown, mut stop: watch::Receiver<bool>) {
        let router = routes::router(shown);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            tokio::select! {
                // Cancel-safe: a connection that was not accepted stays in the backlog.
                (connection, asker) = accept(&self.listener, &places) => {
                    tokio::spawn(serve_one(connection, asker, router.clone()));
                }
                // What is open is dropped with the runtime: an open log stream must not hold up the stop.
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The next connection of the host's own user or of root, when there is a place for it.
async fn accept(listener: &UnixListener, places: &Arc<Semaphore>) -> (Connection, Asker) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { continue };
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(asker) = allowed(&stream) {
                    return (Connection { stream, _place: place }, asker);
                }
            }
            // Out of descriptors or memory: give what is open a moment to end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Who is at the other end, if that is somebody who may ask.
fn allowed(stream: &UnixStream) -> Option<Asker> {
    let own = rustix::process::geteuid().as_raw();
    let uid = stream.peer_cred().ok()?.uid();
    (uid == own || uid == 0).then(|| Asker::of_uid(uid))
}

/// Serves one connection to its end. A head that does not come in time ends it.
async fn serve_one(connection: Connection, asker: Asker, router: Router) {
    let Ok(other_end) = OtherEnd::of(&connection.stream) else { return };
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(asker.clone());
        request.extensions_mut().insert(other_end.clone());
        TowerToHyperService::new(router.clone()).call(request)
    });
    // Whatever a client does wrong is its own business.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_TIMEOUT_MS))
        .serve_connection(TokioIo::new(connection), service)
        .await;
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
