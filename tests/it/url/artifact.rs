//! U8 and the order of a fetch: manifest, signature, whoever verifies them, wasm.

use airssys_wasm::source::remote::Found;

use super::port::Recorder;
use super::server::{Server, answer};
use super::{fetch, job};

pub const MANIFEST: &[u8] = b"schema = 1 # the manifest";
pub const SIGNATURE: &[u8] = b"airssys-sig 1\n";

/// A server that does nothing wrong.
pub fn honest(wasm: Vec<u8>) -> Server {
    Server::start(move |request, to| match request.path.as_str() {
        "/a/Component.toml" if request.header("if-none-match") == Some("\"v1\"") => {
            to.write_all(b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n")
        }
        "/a/Component.toml" => answer(to, "200 OK", &["ETag: \"v1\""], MANIFEST),
        "/a/Component.toml.sig" => answer(to, "200 OK", &[], SIGNATURE),
        "/a/app.wasm" => answer(to, "200 OK", &[], &wasm),
        _ => answer(to, "404 Not Found", &[], b"<html>"),
    })
}

#[test]
fn the_wasm_is_asked_for_after_manifest_and_signature_were_looked_at() {
    let wasm: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let server = std::rc::Rc::new(honest(wasm.clone()));
    let mut port = Recorder::wanting("app.wasm", wasm.len() as u64);
    let seen = std::rc::Rc::clone(&server);
    port.on_found = Some(Box::new(move || assert_eq!(seen.paths(), ["/a/Component.toml", "/a/Component.toml.sig"])));
    fetch(&job(&server.manifest()), &mut port).expect("fetched");
    assert_eq!(port.steps, ["manifest", "signature", "found", "wasm"]);
    assert_eq!(port.artifact(), (Some("\"v1\""), MANIFEST, SIGNATURE));
    assert!(port.wasm == wasm, "the wasm came as it is");
    assert!(port.largest_piece <= 64 * 1024, "{}", port.largest_piece);
    assert_eq!(server.paths(), ["/a/Component.toml", "/a/Component.toml.sig", "/a/app.wasm"]);
}

#[test]
fn a_wasm_that_nobody_wants_is_not_asked_for() {
    let server = honest(b"wasm".to_vec());
    let mut port = Recorder::default();
    fetch(&job(&server.manifest()), &mut port).expect("fetched");
    assert_eq!(port.steps, ["manifest", "signature", "found"]);
    assert_eq!(server.paths().len(), 2);
}

#[test]
fn u8_a_validator_that_still_holds_ends_the_fetch_and_another_one_does_not() {
    let server = honest(b"wasm".to_vec());
    let mut asked = job(&server.manifest());
    asked.etag = Some("\"v1\"".to_owned());
    let mut port = Recorder::wanting("app.wasm", 4);
    fetch(&asked, &mut port).expect("unchanged");
    assert_eq!(port.found, Some(Found::Unchanged));
    assert_eq!(server.paths(), ["/a/Component.toml"]);

    asked.etag = Some("\"v0\"".to_owned());
    let mut port = Recorder::wanting("app.wasm", 4);
    fetch(&asked, &mut port).expect("fetched");
    assert_eq!(port.artifact().1, MANIFEST);
    assert_eq!(port.wasm, b"wasm");

    // One that can't be sent is none.
    asked.etag = Some("\"v1\"\r\nX-Smuggled: 1".to_owned());
    fetch(&asked, &mut Recorder::default()).expect("fetched");
    assert!(server.requests().iter().all(|request| request.header("x-smuggled").is_none()));
}

#[test]
fn u8_unchanged_is_no_answer_to_a_question_without_a_validator() {
    let server = Server::start(|_, to| to.write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n"));
    let mut port = Recorder::default();
    let failure = fetch(&job(&server.manifest()), &mut port).expect_err("nothing came");
    assert_eq!((failure.code.as_str(), port.found), ("bad-answer", None));
}

#[test]
fn u8_bytes_that_change_between_the_files_are_handed_out_as_they_came() {
    let server = Server::start(|request, to| match request.path.as_str() {
        "/a/Component.toml" => answer(to, "200 OK", &["ETag: \"1\""], b"manifest of the first release"),
        "/a/Component.toml.sig" => answer(to, "200 OK", &["ETag: \"2\""], b"signature of the second release"),
        _ => answer(to, "200 OK", &["ETag: \"3\""], b"wasm of the third"),
    });
    let mut port = Recorder::wanting("app.wasm", 17);
    fetch(&job(&server.manifest()), &mut port).expect("fetched");
    let expected = (Some("\"1\""), &b"manifest of the first release"[..], &b"signature of the second release"[..]);
    assert_eq!(port.artifact(), expected);
    assert_eq!(port.wasm, b"wasm of the third");
}

#[test]
fn a_validator_that_is_too_long_is_no_revision() {
    let etag = format!("ETag: \"{}\"", "e".repeat(300));
    let server = Server::start(move |_, to| answer(to, "200 OK", &[&etag], b"x"));
    let mut port = Recorder::default();
    fetch(&job(&server.manifest()), &mut port).expect("fetched");
    assert_eq!(port.artifact().0, None);
}

#[test]
fn credentials_are_sent_as_the_settings_say_and_shown_nowhere() {
    let server = Server::start(|_, to| answer(to, "401 Unauthorized", &["WWW-Authenticate: Basic"], b""));
    let mut asked = job(&server.manifest());
    asked.access.user = Some("deploy".to_owned());
    asked.access.password = Some("canary-secret".into());
    let failure = fetch(&asked, &mut Recorder::default()).expect_err("refused");
    assert_eq!(failure.code, "bad-credentials");
    assert!(!format!("{failure:?}{asked:?}").contains("canary"), "{failure:?}");
    assert_eq!(server.requests()[0].header("authorization"), Some("Basic ZGVwbG95OmNhbmFyeS1zZWNyZXQ="));
}
