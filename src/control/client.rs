//! Asks a running host over its control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Method;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::codec::{Codec, Payload};
use crate::escape::escape;
use crate::name::OperationName;
use crate::plan::rollback::document::RollbackDocument;
use crate::resolution::Refusal;
use crate::status::HostStatus;
use crate::status::info::InfoDocument;

use super::dead_letters::{DeadLetterDocument, DeadLettersDocument, ReplayedDocument};
use super::documents::{
    ApplyBody, EmptyBody, ErrorDocument, GcBody, GcDocument, NameBody, PassDocument, PausedDocument, RollbackBody,
    SyncBody,
};
use super::{ANSWER_TIMEOUT_MS, CODEC_HEADER, MAX_DOCUMENT_BYTES, REQUEST_TIMEOUT_MS};

/// Why a host could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens: no host runs on this home.
    #[error("no host is running on this home")]
    NoHost,
    /// The socket is there and something went wrong.
    #[error("the host did not answer on its control socket: {0}")]
    Broken(String),
    /// The host answered with an error; its texts are escaped again, as those of everybody else.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

impl AskError {
    fn broken(error: impl std::fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A control socket, wherever a host of the home may have bound it.
#[derive(Debug, Clone)]
pub struct Client {
    sockets: Vec<PathBuf>,
}

/// The status document of the host that listens on the first of `sockets` that answers.
pub async fn status(sockets: &[PathBuf]) -> Result<HostStatus, AskError> {
    Client::new(sockets.to_vec()).status().await
}

impl Client {
    /// A client of the first of `sockets` that answers.
    pub fn new(sockets: Vec<PathBuf>) -> Self {
        Self { sockets }
    }

    /// What the host says of itself and of its components.
    pub async fn status(&self) -> Result<HostStatus, AskError> {
        self.get("/v1/status").await
    }

    /// Looks now, at everything; returns after the pass, or after what had to be fetched for it and the passes then.
    pub async fn sync(&self, wait: bool) -> Result<PassDocument, AskError> {
        self.post("/v1/sync", &SyncBody { wait }).await
    }

    /// Carries out nothing from now on, for one installation or at all.
    pub async fn pause(&self, name: Option<String>) -> Result<PausedDocument, AskError> {
        self.post("/v1/pause", &NameBody { name }).await
    }

    /// Lifts what holds an installation back, or the pause of everything.
    pub async fn resume(&self, name: Option<String>) -> Result<PausedDocument, AskError> {
        self.post("/v1/resume", &NameBody { name }).await
    }

    /// Removes what is not kept, or only says what that would be.
    pub async fn gc(&self, dry_run: bool) -> Result<GcDocument, AskError> {
        self.post("/v1/gc", &GcBody { dry_run }).await
    }

    /// The plan document that the host would carry out now.
    pub async fn plan(&self) -> Result<serde_json::Value, AskError> {
        self.post("/v1/plan", &EmptyBody {}).await
    }

    /// A pass now; returns after it.
    pub async fn apply(&self, body: &ApplyBody) -> Result<PassDocument, AskError> {
        self.post("/v1/apply", body).await
    }

    /// Goes back to an earlier generation, or says what that would do.
    pub async fn rollback(&self, body: &RollbackBody) -> Result<RollbackDocument, AskError> {
        self.post("/v1/rollback", body).await
    }

    /// All about one installation.
    pub async fn info(&self, name: &str) -> Result<InfoDocument, AskError> {
        self.get(&format!("/v1/info/{name}")).await
    }

    /// Delivers one message, or calls `operation`, in `codec` or in the one that the component likes best, and waits for the
    /// reply, at most `timeout_ms`; none when there is none.
    pub async fn call(
        &self,
        name: &str,
        operation: Option<&OperationName>,
        codec: Option<Codec>,
        bytes: Vec<u8>,
        timeout_ms: u64,
    ) -> Result<Option<Payload>, AskError> {
        let codec = codec.map_or_else(String::new, |codec| format!("&codec={codec}"));
        let operation =
            operation.map_or_else(String::new, |operation| format!("&operation={}", quoted(&operation.text())));
        let path = format!("/v1/call/{name}?timeout_ms={timeout_ms}{codec}{operation}");
        let time = timeout_ms.saturating_add(ANSWER_TIMEOUT_MS);
        let answer = self.answer(Method::POST, &path, bytes.into(), time).await?;
        let Some(codec) = answer.headers().get(CODEC_HEADER) else { return Ok(None) };
        let codec = codec.to_str().ok().and_then(|word| word.parse().ok());
        let codec = codec.ok_or_else(|| AskError::broken("the reply is in a codec that this program does not know"))?;
        Ok(Some(Payload::new(codec, answer.into_body().into())))
    }

    /// The newest dead letters.
    pub async fn dead_letters(&self, tail: usize) -> Result<DeadLettersDocument, AskError> {
        self.get(&format!("/v1/dead-letters?tail={tail}")).await
    }

    /// One dead letter.
    pub async fn dead_letter(&self, id: u64) -> Result<DeadLetterDocument, AskError> {
        self.get(&format!("/v1/dead-letters/{id}")).await
    }

    /// Sends a dead letter again.
    pub async fn replay(&self, id: u64) -> Result<ReplayedDocument, AskError> {
        self.post(&format!("/v1/dead-letters/{id}/replay"), &EmptyBody {}).await
    }

    /// Asks with GET.
    pub async fn get<D: DeserializeOwned>(&self, path: &str) -> Result<D, AskError> {
        let answer = self.ask(Method::GET, path, Bytes::new(), ANSWER_TIMEOUT_MS).await?;
        serde_json::from_slice(&answer).map_err(AskError::broken)
    }

    /// Asks with POST and a document.
    pub async fn post<D: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<D, AskError> {
        let body = Bytes::from(serde_json::to_vec(body).map_err(AskError::broken)?);
        let answer = self.ask(Method::POST, path, body, REQUEST_TIMEOUT_MS + ANSWER_TIMEOUT_MS).await?;
        serde_json::from_slice(&answer).map_err(AskError::broken)
    }

    /// One exchange of bytes, which takes at most `timeout_ms`.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        timeout_ms: u64,
    ) -> Result<Bytes, AskError> {
        Ok(self.answer(method, path, body, timeout_ms).await?.into_body())
    }

    /// The same, with what stands before the bytes.
    async fn answer(&self, method: Method, path: &str, body: Bytes, timeout_ms: u64) -> Result<Answer, AskError> {
        let mut answer = Err(AskError::NoHost);
        for socket in &self.sockets {
            let exchange = exchange(socket, method.clone(), path, body.clone());
            let timed = tokio::time::timeout(Duration::from_millis(timeout_ms), exchange).await;
            answer = timed.unwrap_or_else(|_| Err(AskError::Broken(format!("no answer within {timeout_ms} ms"))));
            if !matches!(answer, Err(AskError::NoHost)) {
                break;
            }
        }
        answer
    }
}

type Answer = hyper::Response<Bytes>;

async fn exchange(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Answer, AskError> {
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
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, "host")
        .body(Full::new(body))
        .map_err(AskError::broken)?;
    let answer = sender.send_request(request).await.map_err(AskError::broken)?;
    let (head, body) = answer.into_parts();
    let status = head.status;
    let body = Limited::new(body, MAX_DOCUMENT_BYTES).collect().await.map_err(AskError::broken)?;
    driver.abort();
    let body = body.to_bytes();
    if status.is_success() {
        return Ok(Answer::from_parts(head, body));
    }
    Err(AskError::Refused(match serde_json::from_slice::<ErrorDocument>(&body) {
        Ok(ErrorDocument { document: _, code, message, hint }) => Refusal {
            code: escape(&code),
            message: escape(&message),
            hint: hint.map(|hint| hint.lines().map(escape).collect::<Vec<_>>().join("\n")),
        },
        Err(_) => Refusal::new("unknown", format!("the host answered with {status}")),
    }))
}

/// A text as part of a query.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let each = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(each).collect()
}
