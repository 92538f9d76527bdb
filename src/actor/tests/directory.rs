//! The directory: whom a component is told of, and what it is told of them.

use super::*;
use crate::test_guest::of_world::{HANDLE, POST, of_world};

const INTERFACE: &str = "airssys:component/directory@0.1.0";

/// Answers `?word` with what it finds of the link; anything else, being what to begin behind, with a page of two. A contact is
/// written as `link>installation`, and `:package version takes codecs metadata` if there is something, each with a line's end;
/// behind a page stands what to begin the next one behind.
fn curious() -> Vec<u8> {
    let imports = format!(
        r#"(import "{INTERFACE}" "contacts" (func $contacts (param i32 i32 i32 i32 i32)))
           (import "{INTERFACE}" "find" (func $find (param i32 i32 i32)))"#
    );
    let functions = r#"
      (global $out (mut i32) (i32.const 65536))
      (func $put (param $char i32)
        (i32.store8 (global.get $out) (local.get $char)) (global.set $out (i32.add (global.get $out) (i32.const 1))))
      (func $text (param $at i32)
        (memory.copy (global.get $out) (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))
        (global.set $out (i32.add (global.get $out) (i32.load offset=4 (local.get $at)))))
      ;; link 0, installation 8, component 16: package 20, version 28, codecs 36, takes 44, metadata 48; 56 bytes
      (func $contact (param $at i32) (local $i i32)
        (call $text (local.get $at)) (call $put (i32.const 62)) (call $text (i32.add (local.get $at) (i32.const 8)))
        (if (i32.load8_u offset=16 (local.get $at)) (then
          (call $put (i32.const 58)) (call $text (i32.add (local.get $at) (i32.const 20)))
          (call $put (i32.const 32)) (call $text (i32.add (local.get $at) (i32.const 28)))
          (call $put (i32.const 32)) (call $put (i32.add (i32.const 48) (i32.load8_u offset=44 (local.get $at))))
          (call $put (i32.const 32))
          (block $end (loop $more
            (br_if $end (i32.ge_u (local.get $i) (i32.load offset=40 (local.get $at))))
            (call $put (i32.add (i32.const 48) (i32.load8_u (i32.add (i32.load offset=36 (local.get $at)) (local.get $i)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $more)))
          (call $put (i32.const 32)) (call $text (i32.add (local.get $at) (i32.const 48)))))
        (call $put (i32.const 10)))"#;
    let handle = r#"
      (global.set $out (i32.const 65536))
      (if (i32.and (i32.ne (local.get $len) (i32.const 0)) (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 63)))
        (then
          (call $find (i32.add (local.get $ptr) (i32.const 1)) (i32.sub (local.get $len) (i32.const 1)) (i32.const 256))
          (if (i32.load8_u (i32.const 256)) (then (call $contact (i32.const 260)))))
        (else
          (call $contacts (i32.ne (local.get $len) (i32.const 0)) (local.get $ptr) (local.get $len) (i32.const 2)
            (i32.const 256))
          (local.set $i (i32.load (i32.const 256)))
          (block $end (loop $more
            (br_if $end (i32.ge_u (local.get $j) (i32.load (i32.const 260))))
            (call $contact (local.get $i))
            (local.set $i (i32.add (local.get $i) (i32.const 56)))
            (local.set $j (i32.add (local.get $j) (i32.const 1)))
            (br $more)))
          (if (i32.load8_u (i32.const 264)) (then (call $text (i32.const 268))))))
      (call $reply (i32.const 65536) (i32.sub (global.get $out) (i32.const 65536)))"#;
    let world = "import airssys:component/directory@0.1.0; export airssys:component/message-handler@0.1.0;";
    of_world(world, &imports, &format!("{functions} {HANDLE} {handle}) {POST}"))
}

fn sending(to: &[&'static str], links: &[(&'static str, &'static str)]) -> Actor {
    Actor { send: to.to_vec(), links: links.to_vec(), ..Actor::new("a") }
}

fn ask(host: &Host, order: &str) -> String {
    String::from_utf8(host.ask("a", order.as_bytes()).unwrap().unwrap()).unwrap()
}

#[test]
fn a_link_says_where_it_leads_and_what_is_there() {
    let host = Host::new();
    host.run_wasm(&sending(&["alarm", "gone"], &[("alarm", "alerter")]), &curious());
    let mut alerter = Actor { codecs: vec![Codec::Json, Codec::Raw], version: "1.4.2", ..Actor::new("alerter") };
    assert_eq!(ask(&host, "?alarm"), "alarm>alerter\n", "nothing is there yet");
    let serde_json::Value::Object(metadata) = serde_json::json!({ "unit": "C", "inner": { "list": [1, 2.5, "x"] } })
    else {
        unreachable!()
    };
    alerter.metadata = metadata;
    host.run(&alerter, &echo());
    let there = "alarm>alerter:test:guest 1.4.2 1 10 {\"inner\":{\"list\":[1,2.5,\"x\"]},\"unit\":\"C\"}\n";
    assert_eq!(ask(&host, "?alarm"), there);
    assert_eq!(ask(&host, ""), format!("{there}gone>gone\n"));
    host.run(&Actor::new("gone"), &TestGuest::new().without_handler());
    assert_eq!(ask(&host, "?gone"), "gone>gone:test:guest 1.0.0 0  {}\n", "it takes no messages");
    host.stop("alerter");
    assert_eq!(ask(&host, "?alarm"), "alarm>alerter\n");
}

#[test]
fn nothing_is_said_of_whom_it_may_not_talk_to() {
    let host = Host::new();
    host.run(&Actor::new("other"), &echo());
    host.run(&Actor { receive: vec!["friend"], ..Actor::new("shy") }, &echo());
    host.run(&Actor { receive: vec!["a"], ..Actor::new("friendly") }, &echo());
    // Linked in the file and not granted: as good as not linked.
    host.run_wasm(&sending(&["shy", "friendly"], &[("other", "other"), ("word", "other")]), &curious());
    for word in ["?other", "?word", "?nobody", "?", "?Other", "?a", &format!("?{}", "x".repeat(10_000))] {
        assert_eq!(ask(&host, word), "", "{word}");
    }
    assert_eq!(ask(&host, "?shy"), "shy>shy\n", "it does not receive from this component");
    assert_eq!(ask(&host, ""), "friendly>friendly:test:guest 1.0.0 1  {}\nshy>shy\n");
    host.run_wasm(&sending(&[], &[("other", "other")]), &curious());
    assert_eq!((ask(&host, ""), ask(&host, "?other")), (String::new(), String::new()));
}

#[test]
fn who_may_send_to_everybody_finds_everybody_page_by_page() {
    let host = Host::new();
    for name in ["b", "c", "d"] {
        host.run(&Actor::new(name), &echo());
    }
    // The word `c` means another one: nothing leads to the installation `c`, but `z` does.
    host.run_wasm(&sending(&["*"], &[("c", "b"), ("z", "c")]), &curious());
    let there = |link: &str, name: &str| format!("{link}>{name}:test:guest 1.0.0 1  {{}}\n");
    assert_eq!(ask(&host, ""), there("a", "a") + &there("b", "b") + "b");
    assert_eq!(ask(&host, "b"), there("c", "b") + &there("d", "d") + "d");
    assert_eq!(ask(&host, "d"), there("z", "c"));
    assert_eq!((ask(&host, "z"), ask(&host, "zz")), (String::new(), String::new()));
}

#[test]
fn a_page_has_a_hundred_contacts_and_a_mebibyte_at_most() {
    let host = Host::new();
    let names: Vec<String> = (0..120).map(|number| format!("n{number:03}")).collect();
    let links: Vec<(&'static str, &'static str)> =
        names.iter().map(|name| (&*String::leak(name.clone()), "big")).collect();
    let words: Vec<&'static str> = links.iter().map(|(word, _)| *word).collect();
    let compiled = host.engine.compile_for_test(&counts()).unwrap();
    host.activate(host.prepare_compiled(&sending(&words, &links), &compiled).unwrap());
    let count = || u32::from_le_bytes(host.ask("a", b"").unwrap().unwrap().try_into().unwrap());
    assert_eq!(count(), 100);
    let mut big = Actor::new("big");
    big.metadata.insert("text".to_owned(), "x".repeat(60_000).into());
    host.run(&big, &echo());
    assert_eq!(count(), 17, "that many are within a mebibyte");
}

/// Answers with the number of contacts of the largest page.
fn counts() -> Vec<u8> {
    let imports = format!(r#"(import "{INTERFACE}" "contacts" (func $contacts (param i32 i32 i32 i32 i32)))"#);
    let handle = r#"
      (call $contacts (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 256))
      (if (i32.eqz (i32.load8_u (i32.const 264))) (then unreachable))
      (call $reply (i32.const 260) (i32.const 4))"#;
    let world = "import airssys:component/directory@0.1.0; export airssys:component/message-handler@0.1.0;";
    of_world(world, &imports, &format!("{HANDLE} {handle}) {POST}"))
}
