//! Git over HTTP and TLS: what works, and what a server or somebody in between may try.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm::source::git::Limits;
use airssys_wasm::source::remote::{Access, FetchFailure, GitJob};

use super::certificates::{Host, Identity, Validity};
use super::pkt;
use super::port::{fetch, fetch_within};
use super::repository::{Origin, WASM, branch, commit, tag};
use super::server::{Behaviour, Request, Server, Stream, respond};

fn job(origin: &Origin, server: &Server) -> GitJob {
    GitJob { url: server.url("origin.git").parse().expect("a URL"), ..origin.job(branch("main")) }
}

fn misbehaving(root: &Origin, misbehave: impl Fn(&Request, &mut dyn Stream) -> bool + Send + Sync + 'static) -> Server {
    Server::start(root.root(), Behaviour { misbehave: Some(Arc::new(misbehave)), ..Behaviour::default() })
}

fn short() -> Limits {
    Limits {
        total: Duration::from_millis(1_500),
        stall: Duration::from_millis(500),
        connect: Duration::from_millis(500),
        ..Limits::default()
    }
}

#[test]
fn g4_tag_branch_and_commit_over_http_with_as_little_history_as_possible() {
    let (origin, first) = Origin::with_artifact();
    origin.annotate("v1", first);
    let second = origin.release("main", "manifest 2");
    let hidden = origin.commit(origin.artifact("hidden"), &[first], "hidden");
    let server = Server::start(origin.root(), Behaviour::default());
    for (at, id) in [(branch("main"), second), (tag("v1"), first), (commit(first), first), (commit(hidden), hidden)] {
        let job = GitJob { at: at.clone(), ..job(&origin, &server) };
        let fetched = fetch(&job, WASM.len()).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!((fetched.commit, fetched.wasm.as_slice()), (id.to_string(), WASM), "{at}");
    }
    let requests = server.requests();
    assert!(requests.iter().filter(|r| r.method == "POST").all(|r| pkt::Asked::read(&r.body).depth == Some(1)));
    // Nothing is fetched that is there: the references are looked at once more, that is all.
    fetch(&job(&origin, &server), WASM.len()).expect("held");
    let more = server.requests().split_off(requests.len());
    assert_eq!(more.iter().map(|r| r.method.as_str()).collect::<Vec<_>>(), ["GET"]);
}

#[test]
fn g4_a_server_that_hands_out_nothing_by_id_gives_all_its_history() {
    let (origin, first) = Origin::with_artifact();
    origin.release("main", "manifest 2");
    let server = Server::start(origin.root(), Behaviour { any_id: false, ..Behaviour::default() });
    let job = GitJob { at: commit(first), ..job(&origin, &server) };
    assert_eq!(fetch(&job, WASM.len()).expect("fetched").commit, first.to_string());
}

#[test]
fn g2_credentials_go_to_the_host_once_and_into_no_message() {
    let (origin, _) = Origin::with_artifact();
    let server = misbehaving(&origin, |request, stream| {
        let is_right = request.header("authorization") == Some("Basic bWU6czNjcmV0LWNhbmFyeQ==");
        if !is_right {
            respond(stream, "401 Unauthorized", &[("www-authenticate", "Basic realm=\"x\"")], b"");
        }
        !is_right
    });
    let with = |password: &str| {
        let access = Access { user: Some("me".into()), password: Some(password.into()), ..Access::default() };
        GitJob { access, ..job(&origin, &server) }
    };
    fetch(&with("s3cret-canary"), WASM.len()).expect("let in");
    let before = server.requests().len();
    let error = fetch(&with("wrong-canary"), 1).expect_err("not let in");
    assert_eq!(error.code, "bad-credentials");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    assert_eq!(server.requests().len(), before + 1, "one attempt");
    assert_eq!(fetch(&job(&origin, &server), 1).expect_err("none").code, "bad-credentials");
}

#[test]
fn g2_a_server_that_repeats_the_secret_does_not_get_it_into_a_message() {
    let (origin, _) = Origin::with_artifact();
    let server = misbehaving(&origin, |_, stream| {
        let text = "001e# service=git-upload-pack\n0000";
        let error = pkt::line(b"ERR s3cret-canary and bWU6czNjcmV0LWNhbmFyeQ== are \x1b[31mwrong");
        let body = [text.as_bytes(), &error].concat();
        respond(stream, "200 OK", &[("content-type", "application/x-git-upload-pack-advertisement")], &body);
        true
    });
    let access = Access { user: Some("me".into()), password: Some("s3cret-canary".into()), ..Access::default() };
    let error = fetch(&GitJob { access, ..job(&origin, &server) }, 1).expect_err("refused");
    let shown = format!("{error:?}");
    assert!(error.message.contains("wrong"), "the server's words are shown: {shown}");
    assert!(!shown.contains("canary") && !shown.contains("bWU6") && !error.message.contains('\u{1b}'), "{shown}");
}

#[test]
fn g3_no_redirect_leaves_the_host_and_none_carries_credentials_away() {
    let (origin, _) = Origin::with_artifact();
    let elsewhere = misbehaving(&origin, |_, stream| {
        respond(stream, "401 Unauthorized", &[("www-authenticate", "Basic realm=\"x\"")], b"");
        true
    });
    let to = elsewhere.url("origin.git/info/refs?service=git-upload-pack");
    let server = misbehaving(&origin, move |_, stream| {
        respond(stream, "302 Found", &[("location", &to)], b"");
        true
    });
    for follow_redirects in [false, true] {
        let access = Access { password: Some("s3cret".into()), follow_redirects, ..Access::default() };
        let error = fetch(&GitJob { access, ..job(&origin, &server) }, 1).expect_err("refused");
        assert_eq!(error.code, "redirect-refused", "{error}");
    }
    assert_eq!(elsewhere.requests().len(), 0, "nothing was asked there, with credentials or without");
}

#[test]
fn g3_redirects_on_the_host_are_followed_only_where_that_is_allowed() {
    let (origin, first) = Origin::with_artifact();
    let server = misbehaving(&origin, |request, stream| {
        let is_old = request.target.starts_with("/old.git/");
        if is_old {
            respond(stream, "301 Moved", &[("location", &request.target.replace("old", "origin"))], b"");
        }
        is_old
    });
    let old = |follow_redirects| GitJob {
        url: server.url("old.git").parse().expect("a URL"),
        access: Access { follow_redirects, ..Access::default() },
        ..job(&origin, &server)
    };
    assert_eq!(fetch(&old(false), 1).expect_err("refused").code, "redirect-refused");
    assert_eq!(fetch(&old(true), WASM.len()).expect("followed").commit, first.to_string());
    let endless = misbehaving(&origin, |request, stream| {
        respond(stream, "302 Found", &[("location", &request.target)], b"");
        true
    });
    let access = Access { follow_redirects: true, ..Access::default() };
    let error = fetch(&GitJob { access, ..job(&origin, &endless) }, 1).expect_err("ended");
    assert_eq!((error.code.as_str(), endless.requests().len()), ("redirect-refused", 4));
}

#[test]
fn g10_a_certificate_counts_only_when_everything_about_it_is_right() {
    let (origin, first) = Origin::with_artifact();
    let authority = Identity::authority("ours");
    let here = Host::Address("127.0.0.1");
    let usual = Validity::default();
    let fetched = |identity: &Identity, ca: Option<&Identity>| -> Result<String, FetchFailure> {
        let server = Server::start(origin.root(), Behaviour { tls: Some(identity.acceptor()), ..Behaviour::default() });
        let access = Access { ca: ca.map(Identity::pem), ..Access::default() };
        let fetched = fetch(&GitJob { access, ..job(&origin, &server) }, WASM.len());
        assert!(fetched.is_ok() || server.requests().is_empty(), "nothing was asked of {fetched:?}");
        fetched.map(|fetched| fetched.commit)
    };
    let good = authority.issue(&here, usual);
    assert_eq!(fetched(&good, Some(&authority)), Ok(first.to_string()));
    let bad = [
        ("unknown authority", good, None),
        ("another authority", authority.issue(&here, usual), Some(Identity::authority("other"))),
        ("impostor of the same name", Identity::authority("ours").issue(&here, usual), Some(authority.copy())),
        ("self-signed", Identity::self_signed(&here), Some(authority.copy())),
        ("expired", authority.issue(&here, Validity { from_days: -9, to_days: -1, ..usual }), Some(authority.copy())),
        ("not yet valid", authority.issue(&here, Validity { from_days: 1, ..usual }), Some(authority.copy())),
        ("another host", authority.issue(&Host::Name("example.com"), usual), Some(authority.copy())),
        ("another address", authority.issue(&Host::Address("127.0.0.2"), usual), Some(authority.copy())),
        ("the address as a name", authority.issue(&Host::Name("127.0.0.1"), usual), Some(authority.copy())),
        ("a weak key", authority.issue(&here, Validity { bits: 1_024, ..usual }), Some(authority.copy())),
    ];
    for (what, identity, ca) in bad {
        let error = fetched(&identity, ca.as_ref()).expect_err(what);
        assert_eq!(error.code, "bad-certificate", "{what}: {error}");
    }
}

#[test]
fn names_of_this_machine_are_refused_unless_the_settings_allow_them() {
    let (origin, first) = Origin::with_artifact();
    let authority = Identity::authority("ours");
    let identity = authority.issue(&Host::Name("localhost"), Validity::default());
    let server = Server::start(origin.root(), Behaviour { tls: Some(identity.acceptor()), ..Behaviour::default() });
    let by_name = |allow_private| GitJob {
        url: server.url_as("localhost", "origin.git").parse().expect("a URL"),
        access: Access { ca: Some(authority.pem()), allow_private, ..Access::default() },
        ..job(&origin, &server)
    };
    assert_eq!(fetch(&by_name(false), 1).expect_err("refused").code, "address-refused");
    assert_eq!(server.requests().len(), 0);
    assert_eq!(fetch(&by_name(true), WASM.len()).expect("allowed").commit, first.to_string());
}

#[test]
fn g11_a_server_that_is_slow_or_silent_is_left_at_the_deadline() {
    let (origin, _) = Origin::with_artifact();
    let wait = |_: &Request, stream: &mut dyn Stream, before: &[u8]| {
        let _ = stream.write_all(before);
        let _ = stream.flush();
        // Until the client goes.
        let _ = stream.read(&mut [0]);
        true
    };
    let silent = misbehaving(&origin, move |request, stream| wait(request, stream, b""));
    let half_head = misbehaving(&origin, move |request, stream| wait(request, stream, b"HTTP/1.1 200 OK\r\nx: "));
    let half_body = misbehaving(&origin, move |request, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\n\
                    content-length: 100\r\n\r\n001e# serv";
        wait(request, stream, head.as_bytes())
    });
    let drip = misbehaving(&origin, |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\n\
                    content-length: 100000000\r\n\r\nfff0# service=git-upload-pack";
        let mut bytes = head.bytes().chain(std::iter::repeat(b'x'));
        while stream.write_all(&[bytes.next().expect("endless")]).is_ok() && stream.flush().is_ok() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        true
    });
    let mut urls: Vec<String> = [&silent, &half_head, &half_body, &drip].map(|server| server.url("origin.git")).into();
    // Takes connections and says nothing: the TLS handshake never ends.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    urls.push(format!("https://{}/origin.git", mute.local_addr().expect("an address")));
    for url in urls {
        let begun = Instant::now();
        let job = GitJob { url: url.parse().expect("a URL"), ..origin.job(branch("main")) };
        let error = fetch_within(&job, 1, &short()).expect_err("ended");
        let class = ["fetch-timeout", "cannot-connect"].contains(&error.code.as_str());
        assert!(class && begun.elapsed() < Duration::from_secs(3), "{url}: {error} after {:?}", begun.elapsed());
    }
}

#[test]
fn answers_that_are_none_are_named_and_a_busy_server_is_left_alone() {
    let (origin, _) = Origin::with_artifact();
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(&'static str, Headers, &'static str); 7] = [
        ("404 Not Found", &[], "no-repository"),
        ("403 Forbidden", &[], "bad-credentials"),
        ("500 Internal Server Error", &[], "server-error"),
        ("503 Service Unavailable", &[("retry-after", "7")], "server-busy"),
        ("200 OK", &[("content-type", "text/html")], "bad-answer"),
        ("418 I'm a teapot", &[], "bad-answer"),
        (
            "200 OK",
            &[("content-type", "application/x-git-upload-pack-advertisement"), ("content-encoding", "gzip")],
            "content-encoding",
        ),
    ];
    for (status, headers, code) in cases {
        let server = misbehaving(&origin, move |_, stream| {
            respond(stream, status, headers, b"");
            true
        });
        let error = fetch(&job(&origin, &server), 1).expect_err(status);
        assert_eq!(error.code, code, "{status}: {error}");
        assert_eq!(error.retry_after_ms, (code == "server-busy").then_some(7_000));
    }
}

#[test]
fn g1_nothing_of_the_environment_changes_where_a_fetch_goes() {
    // Proxies and configuration of the environment are for other programs: this process has set none, so that a child
    // with all of them is what shows it.
    let (origin, first) = Origin::with_artifact();
    let server = Server::start(origin.root(), Behaviour::default());
    let home = origin.root().join("home");
    std::fs::create_dir_all(&home).expect("made");
    let config = "[url \"file:///nowhere/\"]\n\tinsteadOf = http://127.0.0.1\n[http]\n\tproxy = http://127.0.0.1:1\n";
    std::fs::write(home.join(".gitconfig"), config).expect("written");
    let output = super::child::command("fetch")
        .env("HOME", &home)
        .env("XDG_CONFIG_HOME", &home)
        .envs(["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1")))
        .env("CHILD_URL", server.url("origin.git"))
        .env("CHILD_MIRROR", origin.mirror())
        .output()
        .expect("the child runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains(&format!("fetched {first}")), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
}
