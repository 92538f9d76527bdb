//! Certificates: only one that a known authority has issued for this very host, for now, opens a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::certificates::{Authority, Identity, Valid, pem};
use super::port::Recorder;
use super::server::{Server, answer};
use super::{PATIENT, fetch_with, here, job};
use airssys_wasm::source::remote::FetchFailure;

/// Fetches from `host`, which is this machine, with this authority in the settings.
fn outcome(identity: &Identity, host: &str, ca: Option<String>) -> Result<(), FetchFailure> {
    let server = Server::start_tls(identity.acceptor(), |_, to| answer(to, "200 OK", &[], b"body"));
    let mut asked = job(&format!("https://{host}:{}/a/Component.toml", server.port()));
    asked.access.allow_private = true;
    asked.access.user = Some("deploy".to_owned());
    asked.access.password = Some("secret".into());
    asked.access.ca = ca;
    let mut port = Recorder::wanting("app.wasm", 4);
    let outcome = fetch_with(&asked, &mut port, PATIENT, here());
    assert_eq!(outcome.is_ok(), port.wasm == b"body");
    if outcome.is_err() {
        assert_eq!(server.requests().len(), 0, "nothing is asked of a server that is not the one");
    }
    outcome
}

#[track_caller]
fn refused(identity: &Identity, host: &str, ca: Option<String>, why: &str, hint: &str) {
    let failure = outcome(identity, host, ca).expect_err(why);
    assert_eq!(failure.code, "bad-certificate", "{failure:?}");
    assert!(failure.message.contains(why), "{failure:?}");
    assert!(failure.hint.as_ref().is_some_and(|text| text.contains(hint)), "{failure:?}");
}

#[test]
fn a_certificate_of_a_private_authority_is_taken_where_the_settings_name_it() {
    let authority = Authority::new("private");
    let identity = authority.issue(&["a.test", "127.0.0.1"], Valid::NOW);
    outcome(&identity, "a.test", Some(authority.pem())).expect("by name");
    outcome(&identity, "127.0.0.1", Some(authority.pem())).expect("by address");
    let other = Authority::new("other");
    outcome(&identity, "a.test", Some(other.pem() + &authority.pem())).expect("one of two");
    let between = authority.below("between");
    let identity = between.issue(&["a.test"], Valid::NOW).with(&between);
    outcome(&identity, "a.test", Some(authority.pem())).expect("over one in between");
    let itself = Identity::self_signed(&["a.test"]);
    outcome(&itself, "a.test", Some(pem(&itself.certificate))).expect("the certificate itself is named");
}

#[test]
fn u1_certificates_that_do_not_hold_are_refused_with_the_reason_and_the_remedy() {
    let authority = Authority::new("private");
    let ca = || Some(authority.pem());
    let clock = "clock";
    refused(&authority.issue(&["a.test"], Valid(-9, -1)), "a.test", ca(), "it has expired", clock);
    refused(&authority.issue(&["a.test"], Valid(1, 9)), "a.test", ca(), "it is not valid yet", clock);
    refused(&authority.issue(&["b.test"], Valid::NOW), "a.test", ca(), "it is for another host", "name");
    refused(&authority.issue(&["*.a.test"], Valid::NOW), "a.test", ca(), "it is for another host", "name");
    refused(&authority.issue(&["*.test"], Valid::NOW), "b.a.test", ca(), "it is for another host", "name");
    refused(&authority.issue(&["127.0.0.2"], Valid::NOW), "127.0.0.1", ca(), "it is for another address", "name");
    refused(&authority.issue(&["a.test"], Valid::NOW), "127.0.0.1", ca(), "it is for another address", "name");
    refused(&authority.issue(&["127.0.0.1"], Valid::NOW), "a.test", ca(), "it is for another host", "name");
    let unknown = "no authority that this machine knows";
    refused(&Identity::self_signed(&["a.test"]), "a.test", ca(), unknown, "`ca`");
    refused(&Identity::self_signed(&["a.test"]), "a.test", None, unknown, "`ca`");
    refused(&authority.issue(&["a.test"], Valid::NOW), "a.test", None, unknown, "`ca`");
    let namesake = Authority::new("private");
    assert_eq!(
        outcome(&namesake.issue(&["a.test"], Valid::NOW), "a.test", ca()).expect_err("forged").code,
        "bad-certificate"
    );
    let other = Authority::new("other");
    refused(&other.issue(&["a.test"], Valid::NOW).with(&other), "a.test", ca(), unknown, "`ca`");
    let between = authority.below("between");
    refused(&between.issue(&["a.test"], Valid::NOW), "a.test", ca(), unknown, "`ca`");
}

#[test]
fn a_certificate_that_is_no_authoritys_issues_nothing() {
    let authority = Authority::new("private");
    let leaf = authority.issue(&["b.test"], Valid::NOW);
    let forged = leaf.issue(&["a.test"]);
    let failure = outcome(&forged, "a.test", Some(authority.pem())).expect_err("no authority");
    assert_eq!(failure.code, "bad-certificate", "{failure:?}");
}

#[test]
fn an_authority_that_is_no_certificate_is_a_fault_of_the_settings() {
    let identity = Authority::new("private").issue(&["a.test"], Valid::NOW);
    for ca in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let failure = outcome(&identity, "a.test", Some(ca.to_owned())).expect_err("no certificate");
        assert_eq!(failure.code, "bad-settings", "{failure:?}");
        assert!(failure.hint.is_some_and(|hint| hint.contains("[credentials.\"a.test\"]")));
    }
}

#[test]
fn u1_a_server_that_speaks_no_tls_gets_no_second_chance_without() {
    let asked_for = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked_for);
    let server = Server::start(move |_, to| {
        count.fetch_add(1, Ordering::SeqCst);
        answer(to, "200 OK", &[], b"body")
    });
    let url = server.manifest().replace("http://", "https://");
    // It would wait for the end of a head that never comes; what it sends first is no TLS.
    let failure = super::times::failure_of_a_silent_server(&url);
    assert!(["cannot-connect", "tls-failed"].contains(&failure.code.as_str()), "{failure:?}");
    assert_eq!(asked_for.load(Ordering::SeqCst), 0);
}
