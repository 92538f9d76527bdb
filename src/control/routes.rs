//! Owns the paths of the API: which there are, what each takes, how a refusal becomes a status code.
//!
//! Every body has a largest size and a longest time; nothing is decided here.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::dead_letters::{self, DeadLetterOffice};
use super::documents::{EmptyBody, ErrorDocument, GcBody, NameBody, SyncBody};
use super::extract::{Query, UrlPath};
use super::peer::{Asker, OtherEnd};
use super::request::{Because, Inlet, Refused, Request};
use super::{
    BODY_TIMEOUT_MS, CODEC_HEADER, DEFAULT_CALL_WAIT_MS, FOLLOW_POLL_MS, MAX_APPLY_BYTES, MAX_CALL_BYTES,
    MAX_CALL_WAIT_MS, MAX_FOLLOW_CHUNKS, MAX_REQUEST_BYTES,
};
use crate::codec::{Codec, Payload};
use crate::logs::{Follow, LogLine};
use crate::name::{InstallationName, OperationName};
use crate::resolution::Refusal;
use crate::status::HostStatus;
use crate::status::info::InfoDocument;

/// Says all about one installation.
pub type Inform = dyn Fn(&InstallationName) -> Result<InfoDocument, Refused> + Send + Sync;
/// Delivers one message, or calls the operation that is named, in the codec that is named or in the one that its receiver likes
/// best.
pub type Call =
    dyn Fn(InstallationName, Option<OperationName>, Option<Codec>, Vec<u8>, Duration) -> Called + Send + Sync;
/// A reply that comes.
pub type Called = Pin<Box<dyn Future<Output = Result<Option<Payload>, Refused>> + Send>>;

/// What the server shows.
#[derive(Clone)]
pub struct Shown {
    /// Makes the status document of this moment.
    pub status: Arc<dyn Fn() -> HostStatus + Send + Sync>,
    /// Where the components' logs are.
    pub logs: PathBuf,
    /// Makes the document of all about one installation.
    pub info: Arc<Inform>,
    /// Delivers one message and gives the reply.
    pub call: Arc<Call>,
    /// Shows dead letters, and sends them again.
    pub dead_letters: Arc<dyn DeadLetterOffice>,
    /// Takes requests to the loop.
    pub inlet: Inlet,
}

/// The paths, and what is behind them.
pub(super) fn router(shown: Shown) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/logs/{name}", get(logs))
        .route("/v1/info/{name}", get(info))
        .route("/v1/call/{name}", post(call))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters/{id}", get(dead_letters::show))
        .route("/v1/dead-letters/{id}/replay", post(dead_letters::replay))
        .route("/v1/sync", post(sync))
        .route("/v1/pause", post(pause))
        .route("/v1/resume", post(resume))
        .route("/v1/gc", post(gc))
        .route("/v1/plan", post(plan))
        .route("/v1/apply", post(apply))
        .route("/v1/rollback", post(rollback))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shown)
}

pub(super) fn error(refused: Refused) -> Response {
    let status = match refused.because {
        Because::Malformed => StatusCode::BAD_REQUEST,
        Because::NotFound => StatusCode::NOT_FOUND,
        Because::Conflict => StatusCode::CONFLICT,
        Because::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Because::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Because::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        Because::Component => StatusCode::BAD_GATEWAY,
        Because::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Json(ErrorDocument::from(refused.why))).into_response()
}

/// The whole body, if it is neither too large nor too slow.
async fn whole(body: Body, most: usize) -> Result<Bytes, Refused> {
    let time = Duration::from_millis(BODY_TIMEOUT_MS);
    let collected = tokio::time::timeout(time, Limited::new(body, most).collect()).await.map_err(|_| {
        let message = format!("the body did not come within {BODY_TIMEOUT_MS} ms");
        Refused::new(Because::TimedOut, Refusal::new("body-too-slow", message))
    })?;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => {
            let message = format!("the body is larger than {most} bytes");
            Refused::new(Because::TooLarge, Refusal::new("body-too-large", message))
        }
        None => Refused::new(Because::Malformed, Refusal::new("body-broken", "the body broke off")),
    })
}

/// The body as a document; no body at all is an empty one.
async fn document<D: DeserializeOwned + Default>(body: Body) -> Result<D, Refused> {
    document_of(body, MAX_REQUEST_BYTES).await
}

/// The same, of at most `most` bytes.
async fn document_of<D: DeserializeOwned + Default>(body: Body, most: usize) -> Result<D, Refused> {
    let bytes = whole(body, most).await?;
    if bytes.is_empty() {
        return Ok(D::default());
    }
    let malformed = |why: String| {
        let message = format!("the body is not the JSON that this path takes: {}", crate::escape::escape(&why));
        Refused::new(Because::Malformed, Refusal::new("malformed-body", message))
    };
    // An array would do for an object whose fields may all be missing: `[]` would pause everything.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(malformed("it is no object".to_owned()));
    }
    serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))
}

async fn name_in(body: Body) -> Result<Option<InstallationName>, Refused> {
    let NameBody { name } = document(body).await?;
    name.map(|name| name.parse().map_err(|_| no_name())).transpose()
}

fn no_name() -> Refused {
    Refused::new(Because::Malformed, Refusal::new("no-name", "that is no name of an installation"))
}

/// Asks the loop and turns its answer into a response.
async fn ask(shown: &Shown, asker: Asker, request: Result<Request, Refused>) -> Response {
    let answer = match request {
        Ok(request) => shown.inlet.ask(request, asker).await,
        Err(refused) => Err(refused),
    };
    answer.map_or_else(error, |document| Json(document).into_response())
}

async fn info(State(shown): State<Shown>, UrlPath(name): UrlPath<String>) -> Response {
    let answer = name.parse().map_err(|_| no_name()).and_then(|name| (shown.info)(&name));
    answer.map_or_else(error, |info| Json(info).into_response())
}

/// Query of `/v1/call/NAME`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallQuery {
    /// Longest wait for the reply, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    timeout_ms: u64,
    /// The codec of the message; without it the one that the component likes best.
    codec: Option<String>,
    /// The operation that is called; without it a message is delivered.
    operation: Option<String>,
}

fn default_timeout_ms() -> u64 {
    DEFAULT_CALL_WAIT_MS
}

/// The body is the message or the operation's input, the answer's body the reply, and a header says in which codec it is; 204 when there is none.
async fn call(
    State(shown): State<Shown>,
    UrlPath(name): UrlPath<String>,
    Query(query): Query<CallQuery>,
    body: Body,
) -> Response {
    let Ok(name) = name.parse::<InstallationName>() else { return error(no_name()) };
    if !(1..=MAX_CALL_WAIT_MS).contains(&query.timeout_ms) {
        let message = format!("timeout_ms must be between 1 and {MAX_CALL_WAIT_MS}");
        return error(Refused::new(Because::Malformed, Refusal::new("timeout-out-of-range", message)));
    }
    let codec = match query.codec.as_deref().map(str::parse::<Codec>).transpose() {
        Ok(codec) => codec,
        Err(unknown) => {
            let why = Refusal::new("unknown-codec", format!("that is not the name of a codec: {unknown}"));
            return error(Refused::new(Because::Malformed, why));
        }
    };
    let operation = match query.operation.as_deref().map(str::parse::<OperationName>).transpose() {
        Ok(operation) => operation,
        Err(why) => {
            let why = Refusal::new("no-operation-name", format!("that is not the name of an operation: {why}"));
            return error(Refused::new(Because::Malformed, why));
        }
    };
    let bytes = match whole(body, MAX_CALL_BYTES).await {
        Ok(bytes) => bytes,
        Err(refused) => return error(refused),
    };
    match (shown.call)(name, operation, codec, bytes.into(), Duration::from_millis(query.timeout_ms)).await {
        Ok(Some(reply)) => {
            let kind = [(axum::http::header::CONTENT_TYPE.as_str(), "application/octet-stream")];
            (kind, [(CODEC_HEADER, reply.codec.name())], reply.bytes).into_response()
        }
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => error(refused),
    }
}

async fn sync(State(shown): State<Shown>, Extension(asker): Extension<Asker>, body: Body) -> Response {
    let request = document(body).await.map(|SyncBody { wait }| Request::Sync { wait });
    ask(&shown, asker, request).await
}

async fn pause(State(shown): State<Shown>, Extension(asker): Extension<Asker>, body: Body) -> Response {
    let request = name_in(body).await.map(Request::Pause);
    ask(&shown, asker, request).await
}

async fn resume(State(shown): State<Shown>, Extension(asker): Extension<Asker>, body: Body) -> Response {
    let request = name_in(body).await.map(Request::Resume);
    ask(&shown, asker, request).await
}

async fn plan(State(shown): State<Shown>, Extension(asker): Extension<Asker>, body: Body) -> Response {
    let request = document(body).await.map(|EmptyBody {}| Request::Plan);
    ask(&shown, asker, request).await
}

async fn gc(State(shown): State<Shown>, Extension(asker): Extension<Asker>, body: Body) -> Response {
    let request = document(body).await.map(|GcBody { dry_run }| Request::Gc { dry_run });
    ask(&shown, asker, request).await
}

async fn apply(State(shown): State<Shown>, Extension(asker): Extension<Asker>, body: Body) -> Response {
    let request = document_of(body, MAX_APPLY_BYTES).await.map(Request::Apply);
    ask(&shown, asker, request).await
}

async fn rollback(State(shown): State<Shown>, Extension(asker): Extension<Asker>, body: Body) -> Response {
    let request = document(body).await.map(Request::Rollback);
    ask(&shown, asker, request).await
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
async fn logs(
    State(shown): State<Shown>,
    Extension(other_end): Extension<OtherEnd>,
    UrlPath(name): UrlPath<String>,
    Query(query): Query<LogsQuery>,
) -> Response {
    let Ok(name) = name.parse::<InstallationName>() else {
        return error(no_name());
    };
    let (lines, follow) = match Follow::open(&shown.logs, &name, query.tail, None) {
        Ok(opened) => opened,
        Err(problem) => {
            let why = Refusal::new("log-unreadable", format!("the log can't be read: {problem}"));
            return error(Refused::new(Because::Failed, why));
        }
    };
    let kind = [(axum::http::header::CONTENT_TYPE, "application/x-ndjson")];
    if !query.follow {
        return (kind, ndjson(&lines)).into_response();
    }
    let (sender, receiver) = tokio::sync::mpsc::channel::<String>(MAX_FOLLOW_CHUNKS);
    tokio::spawn(follow_lines(lines, follow, sender, other_end));
    (kind, Body::new(Chunks(receiver))).into_response()
}

/// Sends lines as they come until the client is gone. A client that does not read holds up only itself.
async fn follow_lines(
    first: Vec<LogLine>,
    mut follow: Follow,
    sender: tokio::sync::mpsc::Sender<String>,
    other_end: OtherEnd,
) {
    let mut lines = first;
    while !other_end.is_gone() {
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
    let known = "/v1/status, /v1/info/NAME, /v1/logs/NAME, /v1/call/NAME, /v1/sync, /v1/pause, /v1/resume, /v1/gc, /v1/plan, /v1/apply, /v1/rollback and /v1/dead-letters";
    let why = Refusal::new("unknown-path", format!("there is no such path; known are {known}"));
    error(Refused::new(Because::NotFound, why))
}

async fn wrong_method() -> Response {
    let why = Refusal::new("wrong-method", "questions are GET, requests are POST");
    (StatusCode::METHOD_NOT_ALLOWED, Json(ErrorDocument::from(why))).into_response()
}
