//! Interfaces of WASI proposals, used by a component that was built with standard bindings and knows nothing of this host
//! but its messages.

use super::*;

const STANDARD: &[u8] = include_bytes!("../../../tests/guests/standard.wasm");

fn host_of(actor: &Actor) -> Host {
    let host = Host::new();
    let compiled = host.engine.compile_for_test(STANDARD).unwrap();
    host.activate(host.prepare_as(actor, &compiled, Some(7)).unwrap());
    host
}

fn keeping(level: &'static str) -> Actor {
    Actor { storage: Some(level), ..Actor::new("a") }
}

#[track_caller]
fn says(host: &Host, told: &str, answer: &str) {
    let said = host.ask("a", told.as_bytes()).map(|answer| String::from_utf8(answer.unwrap_or_default()).unwrap());
    assert_eq!(said.as_deref(), Ok(answer), "{told}");
}

#[test]
fn the_bucket_is_the_components_own_storage() {
    let host = host_of(&keeping("read-write"));
    for (told, answer) in [
        ("open \nopen default", "opened\nopened"),
        ("open other", "Error::NoSuchStore"),
        ("get a", "nothing"),
        ("set a 1\nget a\nexists a\nset b 2\nkeys", "()\n1\ntrue\n()\na b None"),
        ("delete a\ndelete a\nexists a\nkeys", "()\n()\nfalse\nb None"),
    ] {
        says(&host, told, answer);
    }
    // The very keys of `airssys:component/storage`.
    let ours = TestGuest::new().storage().handle(
        r#"(call $host_load @"b" (i32.const 256))
           (call $ok_some (i32.load (i32.const 268)) (i32.load (i32.const 272)))"#,
    );
    host.activate(host.prepare_with_storage(&keeping("read-write"), &ours, Some(7)).unwrap());
    assert_eq!(host.ask("a", b"x"), Ok(Some(b"2".to_vec())));
}

#[test]
fn it_is_part_of_the_transaction_and_under_the_same_permission_and_limits() {
    let host = host_of(&keeping("read-write"));
    says(&host, "set a 1", "()");
    assert!(matches!(host.ask("a", b"set a 2\nadd n 5\nfail"), Err(CallError::Failed(_))));
    says(&host, "get a\nget n", "1\nnothing");
    says(&host, "set-hundred-and-one", r#"Error::Other("a batch has at most 100 keys")"#);
    says(&host, "keys", "a None");

    let host = host_of(&keeping("read-only"));
    says(&host, "set a 1\nadd n 1\nget a", "Error::AccessDenied\nError::AccessDenied\nnothing");
    let host = host_of(&Actor::new("a"));
    says(&host, "get a\nkeys\nexchange a 1", "Error::AccessDenied\nError::AccessDenied\nError::AccessDenied");
}

#[test]
fn numbers_are_added_to_and_values_exchanged_when_they_are_as_they_were_seen() {
    let host = host_of(&keeping("read-write"));
    for (told, answer) in [
        ("add n 5\nadd n -7\nget n", "5\n-2\n-2"),
        ("set n x\nadd n 1", "()\nError::Other(\"the value is no number in decimal digits\")"),
        ("set n 9223372036854775807\nadd n 1", "()\nError::Other(\"the sum is no number of 64 bits\")"),
        ("exchange v 1\nexchange v 2\nget v", "nothing exchanged\n1 exchanged\n2"),
        ("meddle v 3\nget v", "2 had become meddled; again: true\n3"),
    ] {
        says(&host, told, answer);
    }
    // Handles of values that were seen do not pile up.
    let many = vec!["exchange v 4"; 500].join("\n");
    for _ in 0..10 {
        host.ask("a", many.as_bytes()).unwrap();
    }
}

#[test]
fn several_keys_at_once_are_there_or_not_each_by_itself() {
    let host = host_of(&keeping("read-write"));
    says(&host, "set-many a b c\nget-many c x a", "()\nc=many nothing a=many");
    says(&host, "delete-many a x c\nkeys", "()\nb None");
}

#[test]
fn settings_are_flat() {
    let mut actor = Actor::new("a");
    actor.config = serde_json::json!({ "unit": "C", "limits": { "high": 30, "names": ["x"] } });
    let host = host_of(&actor);
    says(
        &host,
        "config unit\nconfig limits.high\nconfig limits\nconfig none",
        "Ok(Some(\"C\"))\nOk(Some(\"30\"))\nOk(None)\nOk(None)",
    );
    says(&host, "config", r#"Ok([("limits.high", "30"), ("limits.names", "[\"x\"]"), ("unit", "C")])"#);
}

#[test]
fn lines_go_to_the_log_with_their_context_and_level() {
    let host = host_of(&Actor::new("a"));
    says(&host, "log pump leaks\nlog  alone", "logged\nlogged");
    let lines = || {
        let own = |line: &LogLine| line.source == crate::logs::Source::Guest;
        host.log("a").into_iter().filter(own).map(|line| (line.level, line.message)).collect::<Vec<_>>()
    };
    host.until("both are written", || lines().len() == 2);
    assert_eq!(lines(), [(Level::Error, "pump: leaks".to_owned()), (Level::Error, "alone".to_owned())]);
}

#[test]
fn only_variables_that_were_granted_are_seen_and_only_if_they_are_of_a_size() {
    let host = Host::with(|config| {
        config.environment = Arc::new(|name| match name {
            "TZ" => Some("Europe/Paris".to_owned()),
            "SECRET" => Some("none of its business".to_owned()),
            "LONG" => Some("x".repeat(40_000)),
            _ => None,
        });
    });
    let compiled = host.engine.compile_for_test(STANDARD).unwrap();
    let actor = Actor { env: vec!["TZ", "LONG", "UNSET"], ..Actor::new("a") };
    host.activate(host.prepare_as(&actor, &compiled, Some(7)).unwrap());
    let not_there = "environment variable not found";
    says(&host, "env TZ\nenv SECRET\nenv LONG\nenv UNSET", &format!("Europe/Paris\n{}", [not_there; 3].join("\n")));
    assert!(host.log_text("a").contains("it does not get LONG: the value is longer than 32768 bytes"));
}
