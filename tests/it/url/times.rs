//! U7: every wait has an end.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::thread::sleep;
use std::time::{Duration, Instant};

use airssys_wasm::source::remote::FetchFailure;
use airssys_wasm::source::url::bounds::Times;

use super::port::Recorder;
use super::server::{Server, answer};
use super::{PATIENT, fetch_with, here, job, names};

/// What a server waits between two bytes when it is slow.
const BETWEEN_BYTES: Duration = Duration::from_millis(20);
/// A limit that passes in this time passes long before the others.
const SHORT: Duration = Duration::from_millis(300);
/// By then it must be over, on a busy machine too.
const SOON: Duration = Duration::from_secs(10);

/// Fetches with these times, and wants a failure soon.
fn failure(url: &str, times: Times) -> FetchFailure {
    let began = Instant::now();
    let mut port = Recorder::wanting("app.wasm", 100_000);
    let failure = fetch_with(&job(url), &mut port, times, here()).expect_err("too slow");
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    failure
}

/// What comes of a server that waits for more than the client sends.
pub fn failure_of_a_silent_server(url: &str) -> FetchFailure {
    failure(url, Times { connect: SHORT, header: SHORT, ..PATIENT })
}

#[test]
fn u7_a_head_that_comes_byte_by_byte_is_waited_for_as_long_as_any_other() {
    let server = Server::start(|_, to| {
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'h')) {
            to.write_all(&[*byte])?;
            to.flush()?;
            sleep(BETWEEN_BYTES);
        }
        Ok(())
    });
    let failure = failure(&server.manifest(), Times { connect: SHORT, header: SHORT, ..PATIENT });
    assert_eq!(failure.code, "no-answer");
}

#[test]
fn u7_answers_before_the_answer_do_not_buy_time() {
    let server = Server::start(|_, to| {
        loop {
            to.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")?;
            sleep(BETWEEN_BYTES);
        }
    });
    let failure = failure(&server.manifest(), Times { connect: SHORT, header: SHORT, ..PATIENT });
    assert_eq!(failure.code, "no-answer");
}

#[test]
fn u7_a_body_that_drips_is_given_up_at_the_least_rate_although_it_never_stands_still() {
    for slow in ["/a/Component.toml", "/a/Component.toml.sig", "/a/app.wasm"] {
        let server = Server::start(move |request, to| {
            if request.path != slow {
                return answer(to, "200 OK", &[], b"body");
            }
            to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            loop {
                to.write_all(b"1\r\nx\r\n")?;
                to.flush()?;
                sleep(BETWEEN_BYTES);
            }
        });
        let failure = failure(&server.manifest(), Times { grace: SHORT, ..PATIENT });
        assert_eq!(failure.code, "too-slow");
        assert!(failure.message.contains("slower than 16384 bytes a second"), "{}", failure.message);
    }
}

#[test]
fn u7_a_body_that_stands_still_is_given_up() {
    let server = Server::start(|_, to| {
        to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nbody")?;
        to.flush()?;
        // Until the client goes away.
        to.read_exact(&mut [0])
    });
    let failure = failure(&server.manifest(), Times { read: SHORT, ..PATIENT });
    assert_eq!(failure.code, "too-slow");
    assert!(failure.message.contains("4 bytes came, nothing for 300 ms"), "{}", failure.message);
}

#[test]
fn u7_a_server_that_takes_a_connection_and_says_nothing_is_given_up() {
    // Nobody accepts: the system does, and that is all.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let times = Times { connect: SHORT, header: SHORT, ..PATIENT };
    assert_eq!(failure(&format!("http://{address}/a/Component.toml"), times).code, "no-answer");
    // The same inside TLS is a handshake that does not end.
    let failure = failure(&format!("https://{address}/a/Component.toml"), Times { connect: SHORT, ..PATIENT });
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        ("cannot-connect", "cannot connect to `127.0.0.1` in time")
    );
}

#[test]
fn u7_a_name_that_is_looked_up_without_end_does_not_hold_the_fetch() {
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    let waiting = std::sync::Mutex::new(waiting);
    let lookup = names(move |_| {
        let _ = waiting.lock().expect("no panic").recv();
        Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
    });
    let began = Instant::now();
    let times = Times { connect: SHORT, ..PATIENT };
    let mut port = Recorder::default();
    let failure = fetch_with(&job("https://a.test/Component.toml"), &mut port, times, lookup).expect_err("no name");
    assert_eq!(failure.code, "cannot-connect");
    assert!(began.elapsed() < SOON);
    drop(done);
}

#[test]
fn u7_whoever_takes_the_bytes_may_be_slow() {
    let server = super::artifact::honest(vec![7; 4]);
    let mut port = Recorder::wanting("app.wasm", 4);
    port.on_found = Some(Box::new(|| sleep(SHORT * 2)));
    let times = Times { connect: SHORT, header: SHORT, read: SHORT, grace: SHORT, ..PATIENT };
    fetch_with(&job(&server.manifest()), &mut port, times, here()).expect("the server is quick");
}

#[test]
fn a_port_where_nobody_listens_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let failure = failure(&format!("http://{address}/a/Component.toml"), PATIENT);
    assert_eq!(failure.code, "cannot-connect");
    assert!(failure.message.contains("refused"), "{}", failure.message);
}
