//! Owns guests that fill, churn and search the store, and keys that are none.

use super::*;

const NOT_PERMITTED: u8 = 1;
const READ_ONLY_NOW: u8 = 2;
const INVALID_KEY: u8 = 3;
const VALUE_TOO_LARGE: u8 = 4;
const QUOTA_EXCEEDED: u8 = 5;
const TOO_MANY_KEYS: u8 = 6;
const BATCH_TOO_LARGE: u8 = 7;
const TOO_MANY_OPERATIONS: u8 = 8;
const TRANSACTION_TOO_LARGE: u8 = 9;

/// Answers with what was refused, if that was.
const TOLD: &str = "(if (i32.load8_u (i32.const 256))
    (then (return (call $byte (i32.add (i32.const 1) (i32.load8_u (i32.const 264)))))))";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = filling();
    cases.extend(asking());
    cases.extend(batches());
    cases
}

fn keeps(name: &'static str, body: &str, ends: Ends) -> Case {
    // The number in `$i` as five letters at 600.
    let key = "(func $key (param $n i32) (local $at i32)
        (loop $more
          (i32.store8 (i32.add (i32.const 600) (local.get $at)) (i32.add (i32.const 97)
              (i32.and (local.get $n) (i32.const 15))))
          (local.set $n (i32.shr_u (local.get $n) (i32.const 4)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $at) (i32.const 5)))))";
    let guest = TestGuest::new()
        .storage()
        .functions(key)
        .calls_with_memory("get-many", r#"$storage "get-many""#, "(param i32 i32 i32)")
        .calls_with_memory("set-many", r#"$storage "set-many""#, "(param i32 i32 i32)")
        .calls_with_memory("scan", r#"$storage "scan""#, "(param i32 i32 i32 i32 i32 i32 i32)")
        .handle(body);
    Case::guest(name, guest, ends).actor(|actor| actor.storage = Some("read-write"))
}

/// Stores this many bytes under as many keys as it can.
fn stores(bytes: u32) -> String {
    let store = format!(
        "(call $key (local.get $i)) (call $host_store (i32.const 600) (i32.const 5) (i32.const 65536)
            (i32.const {bytes}) (i32.const 256))"
    );
    format!("(drop (memory.grow (i32.const 40))) {}", times(1_000_000, &format!("{store} {TOLD}")))
}

fn filling() -> Vec<Case> {
    let same = r#"(call $host_store @"k" (i32.const 4096) (i32.const 1024) (i32.const 256))"#;
    let churn = r#"(call $host_store @"k" @"v" (i32.const 256)) (call $host_delete @"k" (i32.const 256))"#;
    let in_init = TestGuest::new().storage().init(&format!(
        "{same} (if (i32.ne (i32.load8_u (i32.const 264)) (i32.const {})) (then unreachable)) (call $init_ok)",
        READ_ONLY_NOW - 1
    ));
    let forgets = r#"(call $host_store @"k" @"v" (i32.const 256)) unreachable"#;
    vec![
        keeps("a store filled in one call", &stores(1 << 20), Ends::Told(TRANSACTION_TOO_LARGE)),
        keeps("a store filled beyond its quota", &stores(1_000), Ends::Told(QUOTA_EXCEEDED))
            .limits(|limits| limits.storage = ByteSize(64 << 10)),
        keeps("more keys than there may be", &stores(1), Ends::Told(TOO_MANY_KEYS))
            .limits(|limits| limits.storage_keys = 100),
        keeps("tiny keys in one call", &stores(0), Ends::Told(TOO_MANY_OPERATIONS)),
        keeps("a value that is too large", &stores((1 << 20) + 1), Ends::Told(VALUE_TOO_LARGE)),
        keeps(
            "a value of four mebibytes",
            &format!("(drop (memory.grow (i32.const 100))) {}", stores(4 << 20)),
            Ends::Crashes("fuel"),
        ),
        keeps("a key written again and again", &times(9_999, &format!("{same} {TOLD}")), Ends::Handled),
        keeps("a key written and deleted again and again", &times(4_999, &format!("{churn} {TOLD}")), Ends::Handled),
        keeps("a key written until the deadline", &for_ever(same), Ends::EndedAtTheDeadline),
        keeps("a trap after a write", forgets, Ends::Crashes("trap: wasm `unreachable`")),
        keeps("a write that is not permitted", &stores(1), Ends::Told(NOT_PERMITTED))
            .actor(|actor| actor.storage = Some("read-only")),
        Case::guest("a write in init", in_init, Ends::Handled).actor(|actor| actor.storage = Some("read-write")),
        keeps(
            "all cleared that may not be",
            &format!("(call $host_clear (i32.const 256)) {TOLD} (call $ok_none)"),
            Ends::Told(NOT_PERMITTED),
        ),
    ]
}

fn asking() -> Vec<Case> {
    let get = |key: &str| format!("(call $host_load {key} (i32.const 256)) {TOLD} (call $ok_none)");
    let invalid = |name, key: &str| keeps(name, &get(key), Ends::Told(INVALID_KEY));
    let keys = "(call $host_keys (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const -1) (i32.const 256))";
    let scan = "(call $scan (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const -1) (i32.const 256))";
    // Each page lies in its memory until the call is over, so it has a few large values only.
    let fill = "(call $key (local.get $i)) (call $host_store (i32.const 600) (i32.const 5) (i32.const 65536)
        (i32.const 65536) (i32.const 256))";
    let scans = format!(
        "(drop (memory.grow (i32.const 10))) {} {}",
        times(16, fill).replace("(call $ok_none)", ""),
        for_ever(scan).replace("$ever", "$scans")
    );
    vec![
        keeps("keys asked for without end", &for_ever(&format!("{keys} {TOLD}")), Ends::Told(TOO_MANY_OPERATIONS)),
        keeps("a scan of everything without end", &scans, Ends::Crashes("its limit is 64MiB")),
        invalid("a key of no bytes", "(i32.const 0) (i32.const 0)"),
        invalid("a key that is too long", "(i32.const 0x7000) (i32.const 1025)"),
        invalid("a key with a control character", r#"@"a\0ab""#),
        keeps("a key that is no text", &get(r#"@"\ff""#), Ends::Crashes("invalid utf-8")),
        keeps(
            "a key of 128 mebibytes",
            &get("(i32.const 0) (i32.const 0x8000000)"),
            Ends::Crashes("out of bounds of memory"),
        ),
        keeps(
            "a page of a key after no text",
            "(call $host_keys (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 0)
                (i32.const 1) (i32.const 256)) (call $ok_none)",
            Ends::Crashes("invalid option discriminant"),
        ),
    ]
}

/// Makes a list of this many entries of this many words at 128 KiB; each pair of words is a text at 64 KiB.
fn list(entries: u32, words: u32, bytes: u32) -> String {
    let pairs = times(
        entries * words / 2,
        &format!(
            "(i32.store (i32.add (i32.const 131072) (i32.shl (local.get $i) (i32.const 3))) (i32.const 65536))
             (i32.store (i32.add (i32.const 131076) (i32.shl (local.get $i) (i32.const 3))) (i32.const {bytes}))"
        ),
    );
    format!(
        "(drop (memory.grow (i32.const 100))) (memory.fill (i32.const 65536) (i32.const 97) (i32.const 65536)) {}",
        pairs.replace("(call $ok_none)", "")
    )
}

fn batches() -> Vec<Case> {
    let set = |entries| {
        format!("(call $set-many (i32.const 131072) (i32.const {entries}) (i32.const 256)) {TOLD} (call $ok_none)")
    };
    let get =
        |keys| format!("(call $get-many (i32.const 131072) (i32.const {keys}) (i32.const 256)) {TOLD} (call $ok_none)");
    vec![
        keeps("a batch that is too large", &(list(101, 4, 5) + &set(101)), Ends::Told(BATCH_TOO_LARGE)),
        keeps("a batch of a hundred thousand entries", &(list(100_000, 4, 1) + &set(100_000)), Ends::Crashes("fuel")),
        keeps("a hundred entries of one large text each", &(list(100, 4, 60_000) + &set(100)), Ends::Crashes("fuel")),
        keeps("a question for a hundred thousand keys", &(list(100_000, 2, 1) + &get(100_000)), Ends::Crashes("fuel")),
        keeps("a question for a thousand large keys", &(list(1_000, 2, 60_000) + &get(1_000)), Ends::Crashes("fuel")),
        keeps("a list beyond its memory", &get(0x2000_0000), Ends::Crashes("out of bounds of memory")),
        keeps(
            "a list at an odd place",
            "(call $get-many (i32.const 4097) (i32.const 1) (i32.const 256)) (call $ok_none)",
            Ends::Crashes("list pointer is not aligned"),
        ),
        keeps(
            "an answer at an odd place",
            "(call $get-many (i32.const 131072) (i32.const 0) (i32.const 257)) (call $ok_none)",
            Ends::Crashes("pointer not aligned"),
        ),
        keeps(
            "a list of keys beyond its memory",
            "(call $get-many (i32.const 131072) (i32.const 0) (i32.const -16)) (call $ok_none)",
            Ends::Crashes("pointer out of bounds"),
        ),
    ]
}
