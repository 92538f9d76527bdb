//! U1, U2: where a redirect may lead.

use super::port::Recorder;
use super::server::{Server, answer};
use super::{fetch, job};

/// A server that redirects the manifest with these headers, and has the rest.
fn redirecting(status: &'static str, location: impl Into<String>) -> Server {
    let header = format!("Location: {}", location.into());
    Server::start(move |request, to| match request.path.as_str() {
        "/a/Component.toml" => answer(to, status, &[&header], b"moved"),
        _ => answer(to, "200 OK", &["ETag: \"moved\""], b"body"),
    })
}

#[test]
fn u2_no_redirect_is_followed_unless_the_settings_say_so() {
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let server = redirecting(status, "/b/Component.toml");
        let mut asked = job(&server.manifest());
        let failure = fetch(&asked, &mut Recorder::default()).expect_err("not followed");
        assert_eq!(failure.code, "redirect-refused", "{failure:?}");
        assert!(failure.hint.is_some_and(|hint| hint.contains("follow-redirects")));
        assert_eq!(server.paths(), ["/a/Component.toml"]);

        asked.access.follow_redirects = true;
        let mut port = Recorder::wanting("app.wasm", 4);
        fetch(&asked, &mut port).expect("followed");
        assert_eq!(port.artifact(), (Some("\"moved\""), &b"body"[..], &b"body"[..]));
        // Signature and wasm are the siblings of what the desired file names.
        assert_eq!(
            server.paths()[1..],
            ["/a/Component.toml", "/b/Component.toml", "/a/Component.toml.sig", "/a/app.wasm"]
        );
    }
}

#[test]
fn u1_u2_redirects_elsewhere_are_refused_even_where_some_are_followed_and_reach_nobody() {
    let elsewhere = Server::start(|_, to| answer(to, "200 OK", &[], b"body"));
    let port = elsewhere.port();
    let everywhere = [
        format!("http://127.0.0.1:{port}/x"),
        format!("http://127.0.0.2:{port}/x"),
        format!("http://localhost:{port}/x"),
        format!("//127.0.0.1:{port}/x"),
        format!("https://127.0.0.1:{port}/x"),
        format!("http://user:pass@127.0.0.1:{port}/x"),
        "https://example.com/canary-path?token=canary-query".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/x".to_owned(),
        "data:text/plain,body".to_owned(),
        format!("gopher://127.0.0.1:{port}/x"),
        "http://".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        String::new() + "/" + &"a".repeat(5_000),
    ];
    for location in everywhere {
        let server = redirecting("302 Found", &*location);
        let mut asked = job(&server.manifest());
        asked.access.follow_redirects = true;
        asked.access.user = Some("deploy".to_owned());
        asked.access.password = Some("secret".into());
        let failure = fetch(&asked, &mut Recorder::default()).expect_err("refused");
        assert_eq!(failure.code, "redirect-refused", "{location}: {failure:?}");
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        assert_eq!(server.paths().len(), 1, "{location}");
    }
    assert_eq!(elsewhere.connections(), 0, "no credentials and nothing else went elsewhere");
}

#[test]
fn u2_userinfo_in_a_redirect_to_the_same_server_is_refused() {
    let server = Server::start(|request, to| {
        let host = request.header("host").unwrap_or_default();
        answer(to, "302 Found", &[&format!("Location: http://canary:pass@{host}/b")], b"")
    });
    let mut asked = job(&server.manifest());
    asked.access.follow_redirects = true;
    let failure = fetch(&asked, &mut Recorder::default()).expect_err("refused");
    assert_eq!(failure.code, "redirect-refused");
    assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
}

#[test]
fn u2_a_circle_of_redirects_ends_after_three() {
    let server = Server::start(|request, to| answer(to, "302 Found", &[&format!("Location: {}x", request.path)], b""));
    let mut asked = job(&server.manifest());
    asked.access.follow_redirects = true;
    let failure = fetch(&asked, &mut Recorder::default()).expect_err("endless");
    assert_eq!(failure.code, "redirect-refused");
    assert!(failure.message.contains("more than 3 redirects"), "{failure:?}");
    assert_eq!(server.paths().len(), 4);
}

#[test]
fn u2_the_third_redirect_is_still_followed() {
    let server = Server::start(|request, to| match request.path.as_str() {
        "/a/Component.toml" => answer(to, "302 Found", &["Location: /1"], b""),
        "/1" => answer(to, "301 Moved", &["Location: ./2?token=x"], b""),
        "/2?token=x" => answer(to, "307 Moved", &["Location: /3"], b""),
        _ => answer(to, "200 OK", &[], b"body"),
    });
    let mut asked = job(&server.manifest());
    asked.access.follow_redirects = true;
    fetch(&asked, &mut Recorder::default()).expect("followed");
    assert_eq!(server.paths()[..4], ["/a/Component.toml", "/1", "/2?token=x", "/3"]);
}
