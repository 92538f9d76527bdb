//! What a component may not do is refused, counted for its installation and told with what it asked for.

use super::*;
use crate::actor::tests::messages::sender;
use crate::actor::tests::storage::{keeper, with_storage};

fn told(host: &Host) -> Vec<String> {
    let line = |denial: &Denial| {
        let Denial { name, permission, what, count } = denial;
        format!("{name} {permission} {what} {count}")
    };
    host.system.take_denials(true).iter().map(line).collect()
}

#[test]
fn messages_to_whom_it_may_not_send_and_who_does_not_take_them() {
    let host = Host::new();
    host.run(&Actor { send: vec!["other"], links: vec![("next", "b")], ..Actor::new("a") }, &sender());
    host.run(&Actor { links: vec![("next", "b")], ..Actor::new("c") }, &sender());
    host.run(&Actor { receive: vec!["a"], ..Actor::new("b") }, &echo());
    for _ in 0..3 {
        host.ask("a", b"x").unwrap();
    }
    host.ask("c", b"x").unwrap();
    assert_eq!(told(&host), ["a send next 3", "c receive next 1"]);
    assert_eq!((host.status("a").denied, host.status("b").denied, host.status("c").denied), (3, 0, 1));
    assert_eq!(told(&host), [""; 0]);
}

#[test]
fn a_target_that_is_away_or_full_is_no_denial() {
    let host = Host::new();
    host.run(&Actor { links: vec![("next", "b")], ..Actor::new("a") }, &sender());
    host.ask("a", b"x").unwrap();
    assert_eq!((told(&host), host.status("a").denied), (Vec::new(), 0));
}

#[test]
fn storage_above_its_level() {
    let host = Host::new();
    host.run(&Actor::new("none"), &keeper());
    host.run(&with_storage("reader", "read-only"), &keeper());
    host.run(&with_storage("writer", "read-write"), &keeper());
    for (actor, asked) in [("none", "g"), ("none", "set"), ("reader", "g"), ("reader", "set"), ("writer", "c")] {
        host.ask(actor, asked.as_bytes()).unwrap();
    }
    let expected =
        ["none storage its own storage 2", "reader storage its own storage 1", "writer storage its own storage 1"];
    assert_eq!(told(&host), expected);
}

#[test]
fn topics_that_it_may_not_publish_or_subscribe_to() {
    let host = Host::new();
    let guest = TestGuest::new().topics().handle(
        r#"(drop (call $publish (local.get $codec) @"news.local" (local.get $ptr) (local.get $len)))
           (drop (call $subscribe @"alarms.*")) (call $ok_none)"#,
    );
    host.run(&Actor { publish: vec!["news.world"], ..Actor::new("a") }, &guest);
    host.ask("a", b"x").unwrap();
    assert_eq!(told(&host), ["a publish news.local 1", "a subscribe alarms.* 1"]);
    assert_eq!(host.status("a").denied, 2);
}
