//! U3, U4: which addresses are connected to, and that no proxy comes in between that nobody asked for.

use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::certificates::{Authority, Valid};
use super::port::Recorder;
use super::server::{Server, answer, hang_up};
use super::{PATIENT, fetch, fetch_with, job, names};

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn u3_a_name_that_leads_to_this_machine_or_its_network_is_refused_and_nothing_is_connected_to() {
    let server = Server::start(|_, to| answer(to, "200 OK", &[], b"body"));
    let url = format!("https://a.test:{}/a/Component.toml", server.port());
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "::7f00:1", "0.0.0.0", "::", "169.254.169.254", "10.0.0.1"]
    {
        let failure =
            fetch_with(&job(&url), &mut Recorder::default(), PATIENT, names(move |_| Ok(addresses(&[address]))))
                .expect_err(address);
        assert_eq!(failure.code, "address-refused", "{address}: {failure:?}");
        assert!(failure.message.contains(&format!("leads to {address}")), "{failure:?}");
        assert!(failure.hint.is_some_and(|hint| hint.contains("allow-private")));
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn u3_addresses_that_are_written_out_are_judged_in_every_spelling() {
    let refused = [
        "https://10.0.0.1/c",
        "https://0/c",
        "https://0x0a000001/c",
        "https://012.0.0.1/c",
        "https://167772161/c",
        "https://169.254.169.254/c",
        "https://[::ffff:127.0.0.1]/c",
        "https://[::ffff:7f00:1]/c",
        "https://[fe80::1]/c",
        "https://[fd00::1]/c",
        "https://[64:ff9b::7f00:1]/c",
        "https://224.0.0.1/c",
    ];
    for url in refused {
        let failure = fetch(&job(url), &mut Recorder::default()).expect_err(url);
        assert_eq!(failure.code, "address-refused", "{url}: {failure:?}");
    }
    // The same loopback address in another spelling is written out as well.
    let server = super::artifact::honest(b"wasm".to_vec());
    let url = format!("http://0x7f.1:{}/a/Component.toml", server.port());
    fetch(&job(&url), &mut Recorder::default()).expect("127.0.0.1");
}

#[test]
fn u3_a_name_that_is_rebound_between_two_connections_is_judged_at_each() {
    let authority = Authority::new("private");
    let identity = authority.issue(&["a.test"], Valid::NOW);
    // Each file has a connection of its own, so that the name is looked up again.
    let server = Server::start_tls(identity.acceptor(), |_, to| {
        answer(to, "200 OK", &["Connection: close"], b"body")?;
        hang_up()
    });
    let mut asked = job(&format!("https://a.test:{}/a/Component.toml", server.port()));
    asked.access.allow_private = true;
    asked.access.ca = Some(authority.pem());
    let rebinds_after = |good: usize| {
        let lookups = AtomicUsize::new(0);
        names(move |_| match lookups.fetch_add(1, Ordering::SeqCst) < good {
            true => Ok(addresses(&["127.0.0.1"])),
            // Refused whatever the settings allow.
            false => Ok(addresses(&["224.0.0.1"])),
        })
    };
    for good in 0..3 {
        let mut port = Recorder::wanting("app.wasm", 4);
        let failure = fetch_with(&asked, &mut port, PATIENT, rebinds_after(good)).expect_err("rebound");
        assert_eq!(failure.code, "address-refused", "{failure:?}");
        assert_eq!((port.found.is_some(), port.wasm.len()), (good == 2, 0));
    }
    fetch_with(&asked, &mut Recorder::wanting("app.wasm", 4), PATIENT, rebinds_after(3)).expect("never rebound");
    // Of several addresses only those that pass are connected to.
    let mixed = names(|_| Ok(addresses(&["224.0.0.1", "0.0.0.0", "127.0.0.1", "2001:db8::1"])));
    fetch_with(&asked, &mut Recorder::default(), PATIENT, mixed).expect("one passes");
}

#[test]
fn u3_a_name_without_addresses_is_told_as_such() {
    let asked = job("https://nowhere.test/Component.toml");
    let nothing = names(|_| Ok(Vec::new()));
    let failure = fetch_with(&asked, &mut Recorder::default(), PATIENT, nothing).expect_err("nowhere");
    assert_eq!(failure.code, "no-such-host", "{failure:?}");
    let failing = names(|_| Err(std::io::Error::other("no such \u{1b}[31m name")));
    let failure = fetch_with(&asked, &mut Recorder::default(), PATIENT, failing).expect_err("nowhere");
    assert_eq!(failure.code, "no-such-host");
    assert!(failure.message.contains("no such \\u{1b}[31m name"), "{failure:?}");
}

/// Says which URL the test below fetches when it runs as its own child.
const CHILD_URL: &str = "AIRSSYS_TEST_URL";

#[test]
fn u4_proxies_of_the_environment_are_left_alone() {
    if let Ok(url) = std::env::var(CHILD_URL) {
        fetch(&job(&url), &mut Recorder::wanting("app.wasm", 4)).expect("fetched directly");
        return;
    }
    let server = super::artifact::honest(b"wasm".to_vec());
    let proxy = Server::start(|_, to| answer(to, "200 OK", &[], b"body"));
    let mut child = Command::new(std::env::current_exe().expect("a path"));
    child.args(["--exact", "url::addresses::u4_proxies_of_the_environment_are_left_alone"]);
    child.env(CHILD_URL, server.manifest());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        child.env(name, format!("http://127.0.0.1:{}", proxy.port()));
    }
    let output = child.env_remove("NO_PROXY").env_remove("no_proxy").output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((server.paths().len(), proxy.connections()), (3, 0));
}

#[test]
fn u4_a_proxy_of_the_settings_is_used_and_its_password_shown_nowhere() {
    let proxy = Server::start(|request, to| match request.head.starts_with("CONNECT") {
        true => to.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n"),
        false => answer(to, "200 OK", &[], b"body"),
    });
    let mut asked = job("http://127.0.0.1:9/a/Component.toml");
    asked.access.proxy = Some(format!("http://deploy:canary@127.0.0.1:{}", proxy.port()));
    let mut port = Recorder::wanting("app.wasm", 4);
    fetch(&asked, &mut port).expect("through the proxy");
    assert_eq!(port.wasm, b"body");
    assert_eq!(proxy.paths()[0], "http://127.0.0.1:9/a/Component.toml");
    assert_eq!(proxy.requests()[0].header("proxy-authorization"), Some("Basic ZGVwbG95OmNhbmFyeQ=="));

    asked.url = "https://example.com/a/Component.toml".parse().expect("valid");
    let failure = fetch(&asked, &mut Recorder::default()).expect_err("the proxy refuses");
    assert_eq!(failure.code, "proxy-refused", "{failure:?}");
    assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    // An address that is written out is judged all the same: the proxy stands in a network of its own.
    asked.url = "https://169.254.169.254/a/Component.toml".parse().expect("valid");
    assert_eq!(fetch(&asked, &mut Recorder::default()).expect_err("refused").code, "address-refused");
    asked.access.proxy = Some("canary::nonsense".to_owned());
    let failure = fetch(&asked, &mut Recorder::default()).expect_err("no proxy");
    assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
}
