//! The control API: any bytes on its socket. The server is the real one, with nothing behind it.
//!
//! Server and client share one thread, so that nothing waits: after some turns of the runtime the server has done what it
//! will do with what it got, and the client goes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::codec::Payload;
use airssys_wasm::control::dead_letters::{
    DEAD_LETTERS_TYPE, DeadLetterDocument, DeadLetterOffice, DeadLettersDocument, ReplayedDocument, no_such_letter,
};
use airssys_wasm::control::documents::{ERROR_TYPE, ErrorDocument};
use airssys_wasm::control::request::{Because, Inlet, Refused, channel};
use airssys_wasm::control::server::{Server, Shown};
use airssys_wasm::resolution::Refusal;
use airssys_wasm::status::{HostStatus, STATUS_TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::super::seen::{Seen, shown as escaped};
use super::{Target, filled};
use crate::harness::PATIENCE;

/// Longest input: more than any body but a saved plan's may have.
const MOST: usize = 128 << 10;
/// Turns of the runtime in which a request is answered.
const TURNS: usize = 40;

pub const CONTROL: Target = Target {
    name: "control",
    most: MOST,
    words: include_str!("../words/control"),
    run: control,
    mend: Some(mend),
    largest,
};

thread_local! {
    static DOOR: Door = Door::open();
}

fn control(input: &[u8], seen: &mut Seen) {
    DOOR.with(|door| {
        let answer = door.ask(input);
        read(&answer, input.windows(4).any(|part| part == b"HEAD"), seen);
        assert!(door.is_alive(), "it does not answer any more");
    });
}

/// A server in a runtime of one thread.
struct Door {
    runtime: Runtime,
    socket: PathBuf,
    /// Serving ends with it.
    _running: watch::Sender<bool>,
    _directory: tempfile::TempDir,
}

impl Door {
    fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("host.sock");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (running, stop) = watch::channel(false);
        let entered = runtime.enter();
        let server = Server::bind(&socket).expect("bound");
        runtime.spawn(server.serve(shown(directory.path().join("logs")), stop));
        drop(entered);
        Self { runtime, socket, _running: running, _directory: directory }
    }

    /// What comes back for these bytes. A client that gets no end to it goes away.
    fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let (mut reader, mut writer) = self.connect().await.into_split();
            let mut answer = Vec::new();
            let sent = async {
                // A server that refuses early closes before it took everything.
                let _ = writer.write_all(bytes).await;
                turns().await;
                let _ = writer.shutdown().await;
                turns().await;
            };
            tokio::select! {
                () = sent => {}
                _ = reader.read_to_end(&mut answer) => {}
            }
            answer
        })
    }

    /// Whether a client that waits for its answer gets one, whatever others left behind.
    fn is_alive(&self) -> bool {
        let asked = async {
            let mut stream = self.connect().await;
            stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.expect("answered");
            answer.starts_with(b"HTTP/1.1 200 ")
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await }).unwrap_or(false)
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.expect("it listens")
    }
}

/// Time for the server to do what there is to do.
async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// Behind the server: an empty status, a call that is its own answer, and a loop that says what it was asked.
fn shown(logs: PathBuf) -> Shown {
    let status = serde_json::json!({ "$type": STATUS_TYPE, "generation": 0, "components": [], "problems": [] });
    let status: HostStatus = serde_json::from_value(status).expect("a status");
    Shown {
        status: Arc::new(move || status.clone()),
        logs,
        info: Arc::new(|name| {
            let why = Refusal::new("no-such-installation", format!("there is no installation named {name}"));
            Err(Refused::new(Because::NotFound, why))
        }),
        call: Arc::new(|_, operation, codec, bytes, wait| {
            assert!(wait <= Duration::from_millis(airssys_wasm::control::MAX_CALL_WAIT_MS));
            let reply = codec.map(|codec| Payload::new(codec, bytes));
            let refused = operation.map(|name| {
                let why = Refusal::new("no-operations", airssys_wasm::escape::escape(&name.to_string()));
                Refused::new(Because::Component, why)
            });
            Box::pin(async move { refused.map_or(Ok(reply), Err) })
        }),
        dead_letters: Arc::new(NoLetters),
        inlet: answered(),
    }
}

fn answered() -> Inlet {
    let (inlet, mut queue) = channel();
    tokio::spawn(async move {
        while let Some(asked) = queue.recv().await {
            let word = asked.request.word();
            asked.answer(Ok(serde_json::json!({ "$type": "asked", "word": word })));
        }
    });
    inlet
}

struct NoLetters;

impl DeadLetterOffice for NoLetters {
    fn list(&self, _: usize) -> DeadLettersDocument {
        DeadLettersDocument { document: DEAD_LETTERS_TYPE.to_owned(), total: 0, kept: 0, letters: Vec::new() }
    }

    fn show(&self, id: u64) -> Result<DeadLetterDocument, Refused> {
        Err(no_such_letter(id))
    }

    fn replay(&self, id: u64) -> Result<ReplayedDocument, Refused> {
        Err(no_such_letter(id))
    }
}

/// Reads the answers one after the other, as far as they are whole: each that refuses is an error document, and escaped.
fn read(answer: &[u8], without_bodies: bool, seen: &mut Seen) {
    let mut rest = answer;
    while let Some(end) = rest.windows(4).position(|part| part == b"\r\n\r\n") {
        let head = std::str::from_utf8(&rest[..end]).expect("a head is text");
        rest = &rest[end + 4..];
        let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "));
        let status: u16 = status.and_then(|head| head.get(..3)?.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |text| text.parse().expect("a length"));
        seen.taken(&status.to_string());
        if without_bodies || head.contains("transfer-encoding: chunked") || length > rest.len() {
            return;
        }
        let body = &rest[..length];
        rest = &rest[length..];
        // What is no HTTP is refused without a body, before any path is known.
        if status >= 400 && !body.is_empty() {
            let error: ErrorDocument = serde_json::from_slice(body).expect("an error is a document");
            assert_eq!(error.document, ERROR_TYPE);
            assert!(error.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", error.code);
            seen.refused(&format!("{} {}", error.code, error.message));
            error.hint.iter().for_each(|hint| escaped(hint));
        }
    }
}

/// Gives a body the length that its head says.
fn mend(input: &[u8]) -> Vec<u8> {
    const LENGTH: &[u8] = b"Content-Length: ";
    let (Some(end), Some(at)) = (
        input.windows(4).position(|part| part == b"\r\n\r\n"),
        input.windows(LENGTH.len()).position(|part| part == LENGTH),
    ) else {
        return input.to_vec();
    };
    let start = at + LENGTH.len();
    if start > end {
        return input.to_vec();
    }
    let digits = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let length = (input.len() - end - 4).to_string();
    [&input[..start], length.as_bytes(), &input[start + digits..]].concat()
}

fn largest() -> Vec<Vec<u8>> {
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 65000\r\n\r\n");
    vec![
        filled(MOST, &post("/v1/pause"), |_| "[".to_owned(), ""),
        filled(MOST, &post("/v1/apply"), |_| "{\"saved\":".to_owned(), ""),
        filled(MOST, &post("/v1/apply"), |_| "\u{202e}".to_owned(), ""),
        filled(MOST, &(post("/v1/apply") + "{\"approve\":["), |_| "\"a\",".to_owned(), ""),
        filled(MOST, &post("/v1/call/one?codec=raw"), |_| "x".to_owned(), ""),
        filled(MOST, "GET /", |_| "a/".to_owned(), " HTTP/1.1\r\n\r\n"),
        filled(MOST, "GET /v1/logs/one?", |n| format!("a{n}=1&"), " HTTP/1.1\r\n\r\n"),
        filled(MOST, "GET / HTTP/1.1\r\n", |n| format!("a{n}: b\r\n"), "\r\n"),
        filled(MOST, "", |_| "GET / HTTP/1.1\r\n\r\n".to_owned(), ""),
        filled(MOST, "POST /v1/sync HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", |_| "1\r\n \r\n".to_owned(), ""),
        vec![b'\n'; MOST],
    ]
}
