//! U5, U10 and every answer that is no file.

use super::port::Recorder;
use super::server::{Server, answer};
use super::{fetch, job};
use airssys_wasm::resolution::{Class, class};
use airssys_wasm::source::remote::FetchFailure;

/// What comes of a server that answers everything like this.
fn told(status: &'static str, headers: &'static [&'static str]) -> FetchFailure {
    let server = Server::start(move |_, to| answer(to, status, headers, b"body"));
    let mut port = Recorder::wanting("app.wasm", 4);
    let failure = fetch(&job(&server.manifest()), &mut port).expect_err(status);
    assert_eq!(port.found, None, "{status}");
    failure
}

#[test]
fn every_status_has_its_code_and_class() {
    for (status, code, expected) in [
        ("404 Not Found", "no-manifest", Class::Transient),
        ("410 Gone", "no-manifest", Class::Transient),
        ("401 Unauthorized", "bad-credentials", Class::Stalled),
        ("403 Forbidden", "bad-credentials", Class::Stalled),
        ("429 Too Many Requests", "busy", Class::Transient),
        ("503 Service Unavailable", "busy", Class::Transient),
        ("500 Internal Server Error", "server-error", Class::Transient),
        ("502 Bad Gateway", "server-error", Class::Transient),
        ("204 No Content", "bad-answer", Class::Transient),
        ("206 Partial Content", "bad-answer", Class::Transient),
        ("300 Multiple Choices", "bad-answer", Class::Transient),
        ("418 I'm a teapot", "bad-answer", Class::Transient),
        ("999 What", "server-error", Class::Transient),
    ] {
        let failure = told(status, &[]);
        assert_eq!((failure.code.as_str(), class(&failure.code)), (code, expected), "{status}");
    }
}

#[test]
fn a_missing_signature_and_a_missing_wasm_have_codes_of_their_own() {
    for (missing, code) in [("/a/Component.toml.sig", "unsigned"), ("/a/app.wasm", "no-wasm")] {
        let server = Server::start(move |request, to| match request.path == missing {
            true => answer(to, "404 Not Found", &[], b""),
            false => answer(to, "200 OK", &[], b"body"),
        });
        let failure = fetch(&job(&server.manifest()), &mut Recorder::wanting("app.wasm", 4)).expect_err(code);
        assert_eq!(failure.code, code);
        assert!(failure.hint.is_some());
    }
}

#[test]
fn u5_a_compressed_answer_is_refused_and_never_unpacked() {
    for header in ["gzip", "br", "zstd", "deflate", "x-gzip", "gzip, identity", "\u{1b}[2Jx"] {
        let header = format!("Content-Encoding: {header}");
        let server = Server::start(move |_, to| answer(to, "200 OK", &[&header], b"\x1f\x8b\x08"));
        let failure = fetch(&job(&server.manifest()), &mut Recorder::default()).expect_err("refused");
        // A control character is no header at all.
        assert!(["content-encoding", "bad-answer"].contains(&failure.code.as_str()), "{failure:?}");
        assert!(!failure.message.contains('\u{1b}'), "{failure:?}");
        assert_eq!(server.requests()[0].header("accept-encoding"), Some("identity"));
    }
    let server = Server::start(|_, to| answer(to, "200 OK", &["Content-Encoding: identity"], b"body"));
    fetch(&job(&server.manifest()), &mut Recorder::default()).expect("identity is fine");
    let server = Server::start(|_, to| {
        to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
    });
    let failure = fetch(&job(&server.manifest()), &mut Recorder::default()).expect_err("refused");
    assert_eq!(failure.code, "content-encoding");
}

#[test]
fn u10_a_server_that_asks_to_be_left_alone_is_heard() {
    assert_eq!(told("429 Too Many Requests", &["Retry-After: 7"]).retry_after_ms, Some(7_000));
    assert_eq!(told("503 Service Unavailable", &["Retry-After: 86400"]).retry_after_ms, Some(3_600_000));
    assert_eq!(
        told("503 Service Unavailable", &["Retry-After: Mon, 01 Mar 2100 00:00:00 GMT"]).retry_after_ms,
        Some(3_600_000)
    );
    assert_eq!(told("503 Service Unavailable", &["Retry-After: -5"]).retry_after_ms, None);
    assert_eq!(told("503 Service Unavailable", &[]).retry_after_ms, None);
}

#[test]
fn what_is_no_http_is_told_as_such() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"\x16\x03\x01\x00\x00",
        b"HTTP/0.9 200 OK\r\n\r\nx",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nBad Header: 1\r\n\r\n",
        b"",
    ] {
        let server = Server::start(move |_, to| {
            to.write_all(bytes)?;
            super::server::hang_up()
        });
        let failure = fetch(&job(&server.manifest()), &mut Recorder::default()).expect_err("no HTTP");
        assert_eq!(failure.code, "bad-answer", "{:?}: {failure:?}", String::from_utf8_lossy(bytes));
    }
}
