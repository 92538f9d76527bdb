//! What a component that is observed was seen to need: what it did, and what it asked for in vain.

use super::*;
use crate::actor::tests::storage::{keeper, with_storage};

fn observed(host: &Host) -> Vec<String> {
    let seen = host.status("guest").seen.expect("it is observed");
    assert!(!seen.left_out);
    seen.lines
}

fn observing(actor: Actor) -> Actor {
    Actor { observes: true, name: "guest", ..actor }
}

#[test]
fn messages_topics_and_senders_are_seen_whether_they_are_permitted_or_not() {
    let host = Host::new();
    let guest = TestGuest::new().topics().handle(
        r#"(drop (call $send @"bank" @"x")) (drop (call $send @"audit" @"x"))
           (drop (call $publish (local.get $codec) @"news.local" (local.get $ptr) (local.get $len)))
           (drop (call $subscribe @"alarms.*")) (call $ok_none)"#,
    );
    host.run(&observing(Actor { send: vec!["audit"], receive: Vec::new(), ..Actor::new("guest") }), &guest);
    assert_eq!(observed(&host), [""; 0]);
    let sender = TestGuest::new().handle(r#"(drop (call $send @"guest" @"x")) (call $ok_none)"#);
    host.run(&Actor::new("friend"), &sender);
    host.ask("guest", b"x").unwrap();
    host.ask("friend", b"x").unwrap();
    assert_eq!(
        observed(&host),
        [
            "send = [\"audit\", \"bank\"]",
            "receive = [\"friend\"]",
            "publish = [\"news.local\"]",
            "subscribe = [\"alarms.*\"]",
        ]
    );
    assert_eq!(host.status("friend").seen, None, "nobody asked for that");
    assert!(host.status("guest").denied > 0, "it is enforced all the same");
}

#[test]
fn the_level_of_storage_is_the_highest_that_was_needed() {
    for (level, orders, expected) in [
        (None, &[&b"g"[..]][..], "storage = \"read-only\""),
        (None, &[b"g", b"set"], "storage = \"read-write\""),
        (Some("admin"), &[b"g"], "storage = \"read-only\""),
        (Some("read-only"), &[b"set", b"c"], "storage = \"admin\""),
    ] {
        let host = Host::new();
        let actor = level.map_or_else(|| Actor::new("guest"), |level| with_storage("guest", level));
        host.run(&observing(actor), &keeper());
        orders.iter().for_each(|order| drop(host.ask("guest", order)));
        assert_eq!(observed(&host), [expected], "{level:?}");
    }
}

#[test]
fn directories_and_hosts_are_seen_as_narrow_as_they_were_used() {
    const OUTSIDER: &[u8] = include_bytes!("../../../tests/guests/outsider.wasm");
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("in/deep")).unwrap();
    std::fs::write(root.join("in/deep/a"), "x").unwrap();
    let tree = |path: &str| format!("{}/**", root.join(path).display());
    let host = Host::new();
    let mut actor = Actor { outside: vec![("fs.read", vec![tree("in").leak()])], ..Actor::new("guest") };
    actor.outside.push(("net.connect", vec!["localhost:*"]));
    host.run_wasm(&observing(actor), OUTSIDER);
    for line in
        ["read 0:deep/a", "connect 127.0.0.1:1", "connect localhost:1", "lookup example.com", "listen 127.0.0.1:8080"]
    {
        host.ask("guest", line.as_bytes()).unwrap();
    }
    let connects = "net.connect = [\"localhost:1\", \"example.com:*\", \"127.0.0.1:1\"]".to_owned();
    let read = format!("fs.read = [\"{}\"]", tree("in/deep"));
    let listens = "net.listen = [\"127.0.0.1:8080\"]".to_owned();
    let mut seen = observed(&host);
    let sorted = |line: &mut String| {
        let words: std::collections::BTreeSet<&str> = line.split(['[', ']', ',', ' ']).collect();
        *line = words.into_iter().collect::<Vec<_>>().join(" ");
    };
    let mut expected = vec![read, connects, listens];
    seen.iter_mut().chain(expected.iter_mut()).for_each(sorted);
    assert_eq!(seen, expected);
    host.ask("guest", b"write 0:deep/b x").unwrap();
    assert_eq!(observed(&host)[0], format!("fs.write = [\"{}\"]", tree("in/deep")), "who writes may read");
}
