//! U6: what is taken is bounded by what was asked for, whatever the server says or sends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::port::Recorder;
use super::server::{Server, Stream, answer, hang_up};
use super::{fetch, job};

/// How much more than the cap may have left the server: what the sockets of both sides and the client buffer.
const MAX_IN_FLIGHT_BYTES: u64 = 16 << 20;

fn chunk(to: &mut dyn Stream, bytes: &[u8]) -> io::Result<()> {
    write!(to, "{:x}\r\n", bytes.len())?;
    to.write_all(bytes)?;
    to.write_all(b"\r\n")
}

/// A server whose files are honest but for `bad`, which answers with `misdeed`.
fn but_for(bad: &'static str, misdeed: impl Fn(&mut dyn Stream) -> io::Result<()> + Send + Sync + 'static) -> Server {
    Server::start(move |request, to| match request.path == bad {
        true => misdeed(to),
        false => answer(to, "200 OK", &[], b"body"),
    })
}

const FILES: [(&str, &str); 3] = [
    ("/a/Component.toml", "manifest-too-large"),
    ("/a/Component.toml.sig", "signature-too-large"),
    ("/a/app.wasm", "wrong-size"),
];

#[test]
fn u6_a_body_without_end_is_cut_at_the_cap() {
    for (path, code) in FILES {
        for is_chunked in [true, false] {
            let sent = Arc::new(AtomicU64::new(0));
            let count = Arc::clone(&sent);
            let server = but_for(path, move |to| {
                let form = if is_chunked { "Transfer-Encoding: chunked\r\n" } else { "Connection: close\r\n" };
                write!(to, "HTTP/1.1 200 OK\r\n{form}\r\n")?;
                loop {
                    match is_chunked {
                        true => chunk(to, &[b'x'; 8192])?,
                        false => to.write_all(&[b'x'; 8192])?,
                    }
                    count.fetch_add(8192, Ordering::SeqCst);
                }
            });
            let mut port = Recorder::wanting("app.wasm", 100_000);
            let failure = fetch(&job(&server.manifest()), &mut port).expect_err("cut");
            assert_eq!(failure.code, code, "{failure:?}");
            assert!(port.wasm.len() <= 100_000, "{} bytes of a wasm of 100,000", port.wasm.len());
            let sent = sent.load(Ordering::SeqCst);
            assert!(sent < MAX_IN_FLIGHT_BYTES, "{sent} bytes left the server");
        }
    }
}

#[test]
fn u6_a_length_over_the_cap_is_refused_before_a_byte_of_it_is_read() {
    for (path, code) in FILES {
        for length in ["99999999999", "65537000"] {
            let server = but_for(path, move |to| {
                write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
                to.write_all(b"body")
            });
            let mut port = Recorder::wanting("app.wasm", 4);
            let failure = fetch(&job(&server.manifest()), &mut port).expect_err("refused");
            assert_eq!(failure.code, code, "{length}: {failure:?}");
            assert_eq!(port.wasm, b"");
        }
    }
}

#[test]
fn u6_lengths_that_are_no_lengths_are_refused() {
    for length in ["-1", "0x10", "1e9", "18446744073709551615", "99999999999999999999999", "", "4, 5", "+4"] {
        let server = but_for("/a/Component.toml", move |to| {
            write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nbody")?;
            hang_up()
        });
        let failure = fetch(&job(&server.manifest()), &mut Recorder::default()).expect_err(length);
        assert_eq!(failure.code, "bad-answer", "{length}: {failure:?}");
    }
}

#[test]
fn u6_a_body_that_ends_before_its_length_is_lost_and_not_taken() {
    for (path, _) in FILES {
        let server = but_for(path, |to| {
            to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nbody")?;
            hang_up()
        });
        let mut port = Recorder::wanting("app.wasm", 40);
        let failure = fetch(&job(&server.manifest()), &mut port).expect_err("short");
        assert_eq!(failure.code, "connection-lost", "{failure:?}");
        assert!(path.ends_with(".wasm") || port.found.is_none());
    }
    let server = but_for("/a/Component.toml", |to| {
        to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n")?;
        hang_up()
    });
    let failure = fetch(&job(&server.manifest()), &mut Recorder::default()).expect_err("no last chunk");
    assert_eq!(failure.code, "connection-lost", "{failure:?}");
}

#[test]
fn u6_a_wasm_that_is_shorter_or_longer_than_signed_is_no_success() {
    for (body, announced) in [(&b"bod"[..], true), (b"bod", false), (b"bodyx", true), (b"bodyx", false)] {
        let server = but_for("/a/app.wasm", move |to| match announced {
            true => answer(to, "200 OK", &[], body),
            false => {
                to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                chunk(to, body)?;
                to.write_all(b"0\r\n\r\n")
            }
        });
        let mut port = Recorder::wanting("app.wasm", 4);
        let failure = fetch(&job(&server.manifest()), &mut port).expect_err("another size");
        assert_eq!(failure.code, "wrong-size", "{failure:?}");
        assert!(port.wasm.len() <= 4);
    }
}

#[test]
fn u6_rubbish_after_the_end_of_a_body_is_not_part_of_it() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let server = Server::start(move |_, to| {
        answer(to, "200 OK", &[], b"body")?;
        for _ in 0..1280 {
            to.write_all(&[b'r'; 8192])?;
            count.fetch_add(8192, Ordering::SeqCst);
        }
        hang_up()
    });
    let mut port = Recorder::wanting("app.wasm", 4);
    fetch(&job(&server.manifest()), &mut port).expect("the bodies are whole");
    assert_eq!(port.artifact().1, b"body");
    assert_eq!(port.artifact().2, b"body");
    assert_eq!(port.wasm, b"body");
    assert_eq!(server.connections(), 3, "a connection with rubbish on it is not used again");
}

#[test]
fn u6_heads_are_bounded_in_lines_and_in_bytes() {
    let lines = |count: usize, bytes: usize| {
        move |to: &mut dyn Stream| {
            to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n")?;
            for line in 0..count {
                write!(to, "X-{line}: {}\r\n", "h".repeat(bytes))?;
            }
            to.write_all(b"\r\nbody")
        }
    };
    let outcome = |count, bytes| {
        let server = but_for("/a/Component.toml", lines(count, bytes));
        fetch(&job(&server.manifest()), &mut Recorder::default()).map_err(|failure| failure.code)
    };
    assert_eq!(outcome(50, 100), Ok(()));
    assert_eq!(outcome(1_000, 1), Err("bad-answer".to_owned()));
    assert_eq!(outcome(10, 10_000), Err("bad-answer".to_owned()));
    assert_eq!(outcome(1, 1 << 20), Err("bad-answer".to_owned()));
}

#[test]
fn u6_a_head_without_end_is_cut() {
    for line in [&b"X-More: again and again\r\n"[..], b"h"] {
        let sent = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&sent);
        let server = but_for("/a/Component.toml", move |to| {
            to.write_all(b"HTTP/1.1 200 OK\r\nX-First: ")?;
            let piece = line.repeat(1_000);
            loop {
                to.write_all(&piece)?;
                count.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
        });
        let failure = fetch(&job(&server.manifest()), &mut Recorder::default()).expect_err("cut");
        assert_eq!(failure.code, "bad-answer", "{failure:?}");
        assert!(sent.load(Ordering::SeqCst) < MAX_IN_FLIGHT_BYTES);
    }
}

#[test]
fn u6_an_error_page_without_end_is_not_read() {
    let server = but_for("/a/Component.toml", |to| {
        to.write_all(b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            chunk(to, &[b'x'; 8192])?;
        }
    });
    let failure = fetch(&job(&server.manifest()), &mut Recorder::default()).expect_err("missing");
    assert_eq!(failure.code, "no-manifest");
}
