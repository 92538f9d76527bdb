//! `wasi:keyvalue` call by call, in both versions that are offered, and with it `wasi:config` and `wasi:logging`. A component
//! that was built with bindings is in `standard`.

use super::storage::with_storage;
use super::*;
use crate::test_guest::of_world::{HANDLE, POST, of_world};

const NO_SUCH_STORE: u8 = 1;
const ACCESS_DENIED: u8 = 2;
const OTHER: u8 = 3;

/// What both versions of `wasi:keyvalue` have alike. The first byte of a message is what to do with the rest; the bucket
/// that `o` opened is kept over calls.
const COMMON_IMPORTS: &str = r#"
  (import "wasi:keyvalue/store@VERSION" "open" (func $open (param i32 i32 i32)))
  (import "wasi:keyvalue/store@VERSION" "[method]bucket.get" (func $get (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/store@VERSION" "[method]bucket.set" (func $set (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:keyvalue/store@VERSION" "[method]bucket.delete" (func $delete (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/store@VERSION" "[method]bucket.exists" (func $exists (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/batch@VERSION" "get-many" (func $get_many (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/batch@VERSION" "set-many" (func $set_many (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/batch@VERSION" "delete-many" (func $delete_many (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/atomics@VERSION" "increment" (func $increment (param i32 i32 i32 i64 i32)))
  (import "airssys:component/storage@0.1.0" "get" (func $own_get (param i32 i32 i32)))
"#;
const COMMON: &str = r#"
  (data (i32.const 1024) "nab") ;; the key of the number, and those of batches
  (global $bucket (mut i32) (i32.const 0))
  ;; The error at 260, or nothing good.
  (func $outcome (result i32)
    (if (result i32) (i32.load8_u (i32.const 256))
      (then (call $bad (i32.load8_u (i32.const 260)) (i32.eq (i32.load8_u (i32.const 260)) (i32.const 2))
        (i32.load (i32.const 264)) (i32.load (i32.const 268))))
      (else (call $good (i32.const 0) (i32.const 0)))))
  (func $value (result i32)
    (if (i32.load8_u (i32.const 256)) (then (return (call $outcome))))
    (if (result i32) (i32.load8_u (i32.const 260))
      (then (call $good (i32.load (i32.const 264)) (i32.load (i32.const 268))))
      (else (call $byte (i32.const 45)))))
  (func $is (param $ptr i32) (param $char i32) (result i32)
    (i32.eq (i32.load8_u (local.get $ptr)) (local.get $char)))
  (func $names (param $at i32) (param $ptr i32)
    (i32.store (local.get $at) (local.get $ptr)) (i32.store (i32.add (local.get $at) (i32.const 4)) (i32.const 1)))
  (func $fill (local $i i32)
    (loop $more
      (i32.store8 (i32.const 1100) (i32.add (i32.const 65) (i32.shr_u (local.get $i) (i32.const 8))))
      (i32.store8 (i32.const 1101)
        (i32.add (i32.const 65) (i32.and (i32.const 15) (i32.shr_u (local.get $i) (i32.const 4)))))
      (i32.store8 (i32.const 1102) (i32.add (i32.const 65) (i32.and (i32.const 15) (local.get $i))))
      (call $set (global.get $bucket) (i32.const 1100) (i32.const 3) (i32.const 1100) (i32.const 1) (i32.const 256))
      (if (i32.load8_u (i32.const 256)) (then unreachable))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 1001)))))
"#;
const COMMON_HANDLE: &str = r#"
  (local.set $i (local.get $ptr))
  (local.set $ptr (i32.add (local.get $ptr) (i32.const 1))) (local.set $len (i32.sub (local.get $len) (i32.const 1)))
  (if (call $is (local.get $i) (i32.const 111)) (then ;; o: open
    (call $open (local.get $ptr) (local.get $len) (i32.const 256))
    (if (i32.eqz (i32.load8_u (i32.const 256))) (then (global.set $bucket (i32.load (i32.const 260)))))
    (return (call $outcome))))
  (if (call $is (local.get $i) (i32.const 103)) (then ;; g: get
    (call $get (global.get $bucket) (local.get $ptr) (local.get $len) (i32.const 256)) (return (call $value))))
  (if (call $is (local.get $i) (i32.const 120)) (then ;; x: exists
    (call $exists (global.get $bucket) (local.get $ptr) (local.get $len) (i32.const 256))
    (if (i32.load8_u (i32.const 256)) (then (return (call $outcome))))
    (return (call $good (i32.const 260) (i32.const 1)))))
  (if (call $is (local.get $i) (i32.const 100)) (then ;; d: delete
    (call $delete (global.get $bucket) (local.get $ptr) (local.get $len) (i32.const 256)) (return (call $outcome))))
  (if (i32.or (call $is (local.get $i) (i32.const 115)) (call $is (local.get $i) (i32.const 84))) (then ;; s, T: set, and trap
    (call $set (global.get $bucket) (local.get $ptr) (i32.const 1)
      (i32.add (local.get $ptr) (i32.const 1)) (i32.sub (local.get $len) (i32.const 1)) (i32.const 256))
    (if (call $is (local.get $i) (i32.const 84)) (then unreachable))
    (return (call $outcome))))
  (if (call $is (local.get $i) (i32.const 105)) (then ;; i: increment by the byte that follows
    (call $increment (global.get $bucket) (i32.const 1024) (i32.const 1)
      (i64.extend_i32_s (i32.load8_s (local.get $ptr))) (i32.const 256))
    (if (i32.load8_u (i32.const 256)) (then
      (return (call $bad (i32.load8_u (i32.const 264)) (i32.const 1) (i32.load (i32.const 268)) (i32.load (i32.const 272))))))
    (return (call $good (i32.const 264) (i32.const 8)))))
  (if (call $is (local.get $i) (i32.const 83)) (then ;; S: set a and b
    (call $names (i32.const 512) (i32.const 1025)) (call $names (i32.const 528) (i32.const 1026))
    (i32.store (i32.const 520) (local.get $ptr)) (i32.store (i32.const 524) (local.get $len))
    (i32.store (i32.const 536) (local.get $ptr)) (i32.store (i32.const 540) (local.get $len))
    (call $set_many (global.get $bucket) (i32.const 512) (i32.const 2) (i32.const 256)) (return (call $outcome))))
  (call $names (i32.const 512) (i32.const 1025)) (call $names (i32.const 520) (i32.const 1026))
  (if (call $is (local.get $i) (i32.const 68)) (then ;; D: delete a and b
    (call $delete_many (global.get $bucket) (i32.const 512) (i32.const 2) (i32.const 256)) (return (call $outcome))))
  (if (call $is (local.get $i) (i32.const 71)) (then ;; G: get a and b: whether there is an a, and b's key and value
    (call $get_many (global.get $bucket) (i32.const 512) (i32.const 2) (i32.const 256))
    (if (i32.load8_u (i32.const 256)) (then (return (call $outcome))))
    (local.set $j (i32.load (i32.const 260)))
    (i32.store8 (i32.const 600) (i32.add (i32.const 48) (i32.load8_u (local.get $j))))
    (local.set $j (i32.add (local.get $j) (i32.const 20)))
    (if (i32.eqz (i32.load8_u (local.get $j))) (then (return (call $good (i32.const 600) (i32.const 1)))))
    (memory.copy (i32.const 601) (i32.load offset=4 (local.get $j)) (i32.const 1))
    (memory.copy (i32.const 602) (i32.load offset=12 (local.get $j)) (i32.load offset=16 (local.get $j)))
    (return (call $good (i32.const 600) (i32.add (i32.const 2) (i32.load offset=16 (local.get $j)))))))
  (if (call $is (local.get $i) (i32.const 76)) (then ;; L: get more than a batch
    (call $get_many (global.get $bucket) (i32.const 2048) (i32.const 101) (i32.const 256)) (return (call $outcome))))
  (if (call $is (local.get $i) (i32.const 102)) (then (call $fill) (return (call $good (i32.const 0) (i32.const 0))))) ;; f
  (if (call $is (local.get $i) (i32.const 112)) (then ;; p: get from the host's own interface
    (call $own_get (local.get $ptr) (local.get $len) (i32.const 256))
    (if (i32.or (i32.load8_u (i32.const 256)) (i32.eqz (i32.load8_u (i32.const 264)))) (then (return (call $byte (i32.const 45)))))
    (return (call $good (i32.load (i32.const 268)) (i32.load (i32.const 272))))))
"#;

/// `l` begins a listing and `n` goes on with it: how many keys, and whether there are more.
const DRAFT: &str = r#"
  (if (call $is (local.get $i) (i32.const 108)) (then (global.set $cursor (i64.const 0))))
  (call $list (global.get $bucket) (i64.ne (global.get $cursor) (i64.const 0)) (global.get $cursor) (i32.const 256))
  (if (i32.load8_u (i32.const 256)) (then
    (return (call $bad (i32.load8_u (i32.const 264)) (i32.const 1) (i32.load (i32.const 268)) (i32.load (i32.const 272))))))
  (i32.store (i32.const 600) (i32.load (i32.const 268)))
  (i32.store8 (i32.const 604) (i32.load8_u (i32.const 272)))
  (global.set $cursor (i64.load (i32.const 280)))
  (call $good (i32.const 600) (i32.const 5))"#;
/// The same; besides, `c` makes a handle of a key, `u` looks at it again and `w` swaps.
const DRAFT2: &str = r#"
  (if (call $is (local.get $i) (i32.const 99)) (then
    (call $new_cas (global.get $bucket) (local.get $ptr) (local.get $len) (i32.const 256))
    (if (i32.eqz (i32.load8_u (i32.const 256))) (then (global.set $cas (i32.load (i32.const 260)))))
    (return (call $outcome))))
  (if (call $is (local.get $i) (i32.const 117)) (then
    (call $current (global.get $cas) (i32.const 256)) (return (call $value))))
  (if (call $is (local.get $i) (i32.const 119)) (then
    (call $swap (global.get $cas) (local.get $ptr) (local.get $len) (i32.const 256))
    (if (i32.eqz (i32.load8_u (i32.const 256))) (then (return (call $good (i32.const 0) (i32.const 0)))))
    (if (i32.load8_u (i32.const 260)) (then
      (global.set $cas (i32.load (i32.const 264))) (return (call $byte (i32.const 9)))))
    (return (call $bad (i32.load8_u (i32.const 264)) (i32.const 1) (i32.load (i32.const 268)) (i32.load (i32.const 272))))))
  (if (call $is (local.get $i) (i32.const 67)) (then ;; C: as many handles as there are, and more
    (loop $more
      (call $new_cas (global.get $bucket) (i32.const 1024) (i32.const 1) (i32.const 256))
      (br_if $more (i32.eqz (i32.load8_u (i32.const 256)))))
    (return (call $outcome))))
  (if (call $is (local.get $i) (i32.const 108)) (then (global.set $cursor_len (i32.const 0))))
  (call $list (global.get $bucket) (i32.ne (global.get $cursor_len) (i32.const 0)) (i32.const 700) (global.get $cursor_len)
    (i32.const 256))
  (if (i32.load8_u (i32.const 256)) (then (return (call $outcome))))
  (i32.store (i32.const 600) (i32.load (i32.const 264)))
  (i32.store8 (i32.const 604) (i32.load8_u (i32.const 268)))
  (if (i32.load8_u (i32.const 268)) (then
    (global.set $cursor_len (i32.load (i32.const 276)))
    (memory.copy (i32.const 700) (i32.load (i32.const 272)) (i32.load (i32.const 276)))))
  (call $good (i32.const 600) (i32.const 5))"#;

const VERSIONS: [&str; 2] = ["0.2.0-draft", "0.2.0-draft2"];

fn keyvalue(version: &str) -> Vec<u8> {
    let (imports, functions, handle) = match version {
        "0.2.0-draft" => (
            r#"(import "wasi:keyvalue/store@VERSION" "[method]bucket.list-keys" (func $list (param i32 i32 i64 i32)))"#,
            "(global $cursor (mut i64) (i64.const 0))",
            DRAFT,
        ),
        _ => (
            r#"(import "wasi:keyvalue/store@VERSION" "[method]bucket.list-keys" (func $list (param i32 i32 i32 i32 i32)))
               (import "wasi:keyvalue/atomics@VERSION" "[static]cas.new" (func $new_cas (param i32 i32 i32 i32)))
               (import "wasi:keyvalue/atomics@VERSION" "[method]cas.current" (func $current (param i32 i32)))
               (import "wasi:keyvalue/atomics@VERSION" "swap" (func $swap (param i32 i32 i32 i32)))"#,
            "(global $cursor_len (mut i32) (i32.const 0)) (global $cas (mut i32) (i32.const 0))",
            DRAFT2,
        ),
    };
    let imports = format!("{COMMON_IMPORTS}{imports}").replace("VERSION", version);
    let world = "import wasi:keyvalue/store@VERSION; import wasi:keyvalue/batch@VERSION;
        import wasi:keyvalue/atomics@VERSION; import airssys:component/storage@0.1.0;
        export airssys:component/message-handler@0.1.0;";
    let functions = format!("{COMMON} {functions} {HANDLE} {COMMON_HANDLE} {handle}) {POST}");
    of_world(&world.replace("VERSION", version), &imports, &functions)
}

/// What the guest says to `order`: 0 and a value, or one more than the case of an error and its text.
fn say(host: &Host, order: &str) -> (u8, String) {
    let answer = host.ask("a", order.as_bytes()).unwrap().unwrap();
    (answer[0], String::from_utf8_lossy(&answer[1..]).into_owned())
}

fn good(value: &str) -> (u8, String) {
    (0, value.to_owned())
}

const NOTHING: u8 = b'-';

#[test]
fn a_bucket_is_the_storage_of_the_component_under_two_names() {
    for version in VERSIONS {
        let host = Host::new();
        host.run_wasm(&with_storage("a", "read-write"), &keyvalue(version));
        assert_eq!(say(&host, "oother"), (NO_SUCH_STORE, String::new()));
        for name in ["", "default"] {
            assert_eq!(say(&host, &format!("o{name}")), good(""));
            assert_eq!(say(&host, &format!("skvalue of {name}")), good(""));
            assert_eq!(say(&host, "gk"), good(&format!("value of {name}")));
            assert_eq!(say(&host, "pk"), good(&format!("value of {name}")), "the very same key");
            assert_eq!(say(&host, "xk"), good("\u{1}"));
            assert_eq!(say(&host, "dk"), good(""));
            assert_eq!((say(&host, "xk"), say(&host, "gk").0, say(&host, "pk").0), (good("\0"), NOTHING, NOTHING));
            assert_eq!(say(&host, "dk"), good(""), "what is not there is deleted already");
        }
    }
}

#[test]
fn what_a_call_puts_into_a_bucket_is_kept_when_it_says_ok_and_only_then() {
    for version in VERSIONS {
        let host = Host::new();
        host.run_wasm(&with_storage("a", "read-write"), &keyvalue(version));
        assert_eq!((say(&host, "o"), say(&host, "skone")), (good(""), good("")));
        assert!(matches!(host.ask("a", b"Tktwo"), Err(CallError::Crashed(_))));
        host.until("it is up again", || host.status("a").phase == ActorPhase::Running);
        assert_eq!((say(&host, "o"), say(&host, "gk")), (good(""), good("one")));
    }
}

#[test]
fn buckets_obey_the_storage_permission_and_its_limits() {
    for version in VERSIONS {
        let host = Host::new();
        host.run_wasm(&Actor::new("a"), &keyvalue(version));
        assert_eq!(say(&host, "odefault").0, ACCESS_DENIED);
        assert_eq!(say(&host, "oother").0, NO_SUCH_STORE);
        host.run_wasm(&with_storage("a", "read-only"), &keyvalue(version));
        assert_eq!((say(&host, "o"), say(&host, "gk").0), (good(""), NOTHING));
        for write in ["skv", "dk", "i\u{1}", "Sv", "D"] {
            assert_eq!(say(&host, write).0, ACCESS_DENIED, "{write}");
        }
        let mut small = with_storage("a", "read-write");
        small.limits.storage = ByteSize(8);
        host.run_wasm(&small, &keyvalue(version));
        assert_eq!((say(&host, "o"), say(&host, "sk1234567")), (good(""), good("")));
        assert_eq!(say(&host, "sk12345678"), (OTHER, "it would hold more than the 8 bytes that it may".to_owned()));
        assert_eq!(say(&host, "g").0, OTHER, "no key is empty");
        assert_eq!(say(&host, "gk"), good("1234567"));
    }
}

#[test]
fn batches_do_all_or_nothing_and_are_bounded() {
    for version in VERSIONS {
        let host = Host::new();
        let mut small = with_storage("a", "read-write");
        small.limits.storage = ByteSize(8);
        host.run_wasm(&small, &keyvalue(version));
        assert_eq!((say(&host, "o"), say(&host, "Sxy")), (good(""), good("")));
        assert_eq!(say(&host, "G"), good("1bxy"));
        assert_eq!(say(&host, "Slonger").0, OTHER, "both do not fit");
        assert_eq!((say(&host, "ga"), say(&host, "gb")), (good("xy"), good("xy")));
        assert_eq!((say(&host, "da"), say(&host, "G")), (good(""), good("0bxy")));
        assert_eq!((say(&host, "D"), say(&host, "G")), (good(""), good("0")), "the one that was there");
        assert_eq!(say(&host, "L"), (OTHER, "a batch has at most 100 keys".to_owned()));
    }
}

#[test]
fn a_number_is_counted_up_in_decimal_digits() {
    for version in VERSIONS {
        let host = Host::new();
        host.run_wasm(&with_storage("a", "read-write"), &keyvalue(version));
        let sum = |order: &str| {
            let answer = host.ask("a", order.as_bytes()).unwrap().unwrap();
            (answer[0] == 0).then(|| i64::from_le_bytes(answer[1..].try_into().unwrap()))
        };
        assert_eq!(say(&host, "o"), good(""));
        assert_eq!((sum("i\u{5}"), sum("i\u{25}")), (Some(5), Some(42)));
        assert_eq!(say(&host, "gn"), good("42"));
        assert_eq!((say(&host, "sn-1"), sum("i\u{2}")), (good(""), Some(1)));
        let largest = if version == "0.2.0-draft" { u64::MAX.to_string() } else { i64::MAX.to_string() };
        for (value, why) in [("seven", "no number"), ("", "no number"), (&*largest, "of 64 bits")] {
            assert_eq!(say(&host, &format!("sn{value}")), good(""));
            let (case, text) = say(&host, "i\u{1}");
            assert!(case == OTHER && text.contains(why), "{text}");
            assert_eq!(say(&host, "gn"), good(value), "nothing was changed");
        }
    }
}

#[test]
fn keys_come_in_pages_and_a_cursor_goes_on_behind_the_last_one() {
    for version in VERSIONS {
        let host = Host::new();
        host.run_wasm(&with_storage("a", "read-write"), &keyvalue(version));
        let page = |order: &str| {
            let answer = host.ask("a", order.as_bytes()).unwrap().unwrap();
            assert_eq!(answer.len(), 6, "{answer:?}");
            (u32::from_le_bytes(answer[1..5].try_into().unwrap()), answer[5])
        };
        assert_eq!((say(&host, "o"), page("l")), (good(""), (0, 0)));
        assert_eq!(say(&host, "f"), good(""));
        assert_eq!((page("l"), page("n")), ((1_000, 1), (1, 0)));
        // The key behind which the second page begins may be gone.
        assert_eq!((page("l"), say(&host, "dDOH"), page("n")), ((1_000, 1), good(""), (1, 0)));
        assert_eq!(page("l"), (1_000, 0));
    }
}

#[test]
fn a_swap_succeeds_as_long_as_the_value_is_the_one_that_was_seen() {
    const CHANGED: u8 = 9;
    let host = Host::new();
    host.run_wasm(&with_storage("a", "read-write"), &keyvalue(VERSIONS[1]));
    assert_eq!((say(&host, "o"), say(&host, "ck"), say(&host, "u").0), (good(""), good(""), NOTHING));
    assert_eq!((say(&host, "wone"), say(&host, "gk")), (good(""), good("one")));
    // Changed since: nothing is swapped, and the new handle knows the new value.
    assert_eq!((say(&host, "ck"), say(&host, "sktwo"), say(&host, "wthree").0), (good(""), good(""), CHANGED));
    assert_eq!((say(&host, "gk"), say(&host, "wthree"), say(&host, "gk")), (good("two"), good(""), good("three")));
    // Looked at again: the value that was read is the one that counts.
    assert_eq!((say(&host, "ck"), say(&host, "skfour"), say(&host, "u")), (good(""), good(""), good("four")));
    assert_eq!((say(&host, "wfive"), say(&host, "gk")), (good(""), good("five")));
    // Removed is changed, too.
    assert_eq!((say(&host, "ck"), say(&host, "dk"), say(&host, "wsix").0), (good(""), good(""), CHANGED));
    let (case, text) = say(&host, "C");
    assert_eq!((case, &*text), (OTHER, "an instance has at most 256 handles of `cas`"));
    // A used one cannot be used again: the instance ends.
    host.run_wasm(&with_storage("a", "read-only"), &keyvalue(VERSIONS[1]));
    assert_eq!((say(&host, "o"), say(&host, "ck"), say(&host, "wone").0), (good(""), good(""), ACCESS_DENIED));
    assert!(matches!(host.ask("a", b"u"), Err(CallError::Crashed(_))));
}

/// Logs what it gets: the first byte is the level, the next the length of the context.
fn logger() -> Vec<u8> {
    let imports = r#"(import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))"#;
    let handle = r#"
      (local.set $i (i32.load8_u offset=1 (local.get $ptr)))
      (local.set $j (i32.add (local.get $ptr) (i32.const 2)))
      (call $log (i32.load8_u (local.get $ptr)) (local.get $j) (local.get $i)
        (i32.add (local.get $j) (local.get $i)) (i32.sub (i32.sub (local.get $len) (i32.const 2)) (local.get $i)))
      (call $byte (i32.const 0))"#;
    let world = "import wasi:logging/logging@0.1.0-draft; export airssys:component/message-handler@0.1.0;";
    of_world(world, imports, &format!("{HANDLE} {handle}) {POST}"))
}

fn log_lines(host: &Host) -> Vec<LogLine> {
    host.log("a").into_iter().filter(|line| line.source == crate::logs::Source::Guest).collect()
}

#[test]
fn a_line_of_the_standard_log_is_one_of_the_component_with_its_context_before_it() {
    let host = Host::new();
    host.run_wasm(&Actor::new("a"), &logger());
    for (level, context, message) in
        [(0, "", "t"), (1, "db", "d"), (2, "", "i"), (3, "", "w"), (4, "", "e"), (5, "", "c")]
    {
        let order = [&[level, context.len() as u8][..], context.as_bytes(), message.as_bytes()].concat();
        assert_eq!(host.ask("a", &order), Ok(Some(vec![0])));
    }
    let said: Vec<(Level, String)> = log_lines(&host).into_iter().map(|line| (line.level, line.message)).collect();
    let expected = [
        (Level::Trace, "t"),
        (Level::Debug, "db: d"),
        (Level::Info, "i"),
        (Level::Warn, "w"),
        (Level::Error, "e"),
        (Level::Error, "c"),
    ];
    assert_eq!(said, expected.map(|(level, text)| (level, text.to_owned())));
}

#[test]
fn lines_of_the_standard_log_are_cut_escaped_and_free_of_secrets() {
    let host = Host::new();
    let secret = crate::secret::Secret::new("hunter2hunter2".to_owned()).unwrap();
    let compiled = host.engine.compile_for_test(&logger()).unwrap();
    let record = Arc::new(Actor::new("a").record(compiled.wasm()));
    let config = Arc::new(GuestConfig::new(serde_json::Map::new(), vec![secret]));
    let standby = host.system.prepare(StandbyRequest { record, compiled, config, storage_id: None }).unwrap();
    host.activate(standby);
    for message in ["\u{2}\u{3}net\u{1b}[0m hunter2hunter2".to_owned(), format!("\u{2}\u{1}x{}", "y".repeat(5_000))] {
        assert_eq!(host.ask("a", message.as_bytes()), Ok(Some(vec![0])));
    }
    let lines = log_lines(&host);
    assert!(!lines[0].message.contains("hunter2"), "{}", lines[0].message);
    assert!(lines[0].to_string().contains("net: \\u{1b}[0m "), "{}", lines[0]);
    assert!(lines[1].cut && lines[1].message.starts_with("x: yyy"));
    assert_eq!(lines[1].message.len(), crate::logs::MAX_LINE_BYTES);
}

/// `g` and a key: its value; anything else: all keys and values, each with a comma behind it.
fn configured(version: &str) -> Vec<u8> {
    let imports = r#"(import "wasi:config/store@VERSION" "get" (func $get (param i32 i32 i32)))
        (import "wasi:config/store@VERSION" "get-all" (func $get_all (param i32)))"#;
    let handle = r#"
      (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 103)) (then
        (call $get (i32.add (local.get $ptr) (i32.const 1)) (i32.sub (local.get $len) (i32.const 1)) (i32.const 256))
        (if (i32.load8_u (i32.const 256)) (then unreachable))
        (if (i32.eqz (i32.load8_u (i32.const 260))) (then (return (call $byte (i32.const 45)))))
        (return (call $good (i32.load (i32.const 264)) (i32.load (i32.const 268))))))
      (call $get_all (i32.const 256))
      (if (i32.load8_u (i32.const 256)) (then
        (return (call $bad (i32.load8_u (i32.const 260)) (i32.const 1) (i32.load (i32.const 264)) (i32.load (i32.const 268))))))
      (local.set $i (i32.load (i32.const 260)))
      (local.set $j (i32.const 65536))
      (local.set $a (i32.mul (i32.const 2) (i32.load (i32.const 264))))
      (loop $more (if (local.get $a) (then
        (memory.copy (local.get $j) (i32.load (local.get $i)) (i32.load offset=4 (local.get $i)))
        (local.set $j (i32.add (local.get $j) (i32.load offset=4 (local.get $i))))
        (i32.store8 (local.get $j) (i32.const 44))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (local.set $i (i32.add (local.get $i) (i32.const 8)))
        (local.set $a (i32.sub (local.get $a) (i32.const 1)))
        (br $more))))
      (call $reply (i32.const 65536) (i32.sub (local.get $j) (i32.const 65536)))"#;
    let world = "import wasi:config/store@VERSION; export airssys:component/message-handler@0.1.0;";
    let imports = imports.replace("VERSION", version);
    of_world(&world.replace("VERSION", version), &imports, &format!("{HANDLE} {handle}) {POST}"))
}

#[test]
fn the_standard_config_is_the_desired_file_s_flat_with_dotted_keys() {
    for version in ["0.2.0-draft", "0.2.0-rc.1"] {
        let host = Host::new();
        let mut actor = Actor::new("a");
        actor.config =
            serde_json::json!({"limits": {"high": 30, "names": ["a", "b"]}, "greeting": "hello", "on": true});
        host.run_wasm(&actor, &configured(version));
        assert_eq!(say(&host, "ggreeting"), good("hello"));
        assert_eq!(say(&host, "glimits.high"), good("30"));
        assert_eq!(say(&host, "glimits.names"), good(r#"["a","b"]"#));
        assert_eq!((say(&host, "glimits").0, say(&host, "gother").0), (NOTHING, NOTHING));
        let all = host.ask("a", b"a").unwrap().unwrap();
        let all = String::from_utf8(all).unwrap();
        assert_eq!(all, r#"greeting,hello,limits.high,30,limits.names,["a","b"],on,true,"#);
    }
}
