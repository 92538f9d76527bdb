//! Owns handles that are never dropped, dropped twice, or were never given.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let wasi = |name, body: &str, ends| Case::guest(name, TestGuest::new().wasi().handle(body), ends);
    // Handles of a kind of its own, with a body for the handler.
    let own = |name, body: &str, ends| {
        let guest = TestGuest::new()
            .imports("(type $own (resource (rep i32)))")
            .calls("new", "resource.new $own", "(param i32) (result i32)")
            .calls("drop", "resource.drop $own", "(param i32)")
            .calls("rep", "resource.rep $own", "(param i32) (result i32)")
            .handle(body);
        Case::guest(name, guest, ends)
    };
    vec![
        wasi(
            "streams that are never dropped",
            &for_ever("(drop (call $get_stdout))"),
            Ends::Crashes("resource table has no free keys"),
        ),
        wasi(
            "clocks that are never dropped",
            &for_ever("(drop (call $sleep_pollable (i64.const -1)))"),
            Ends::Crashes("resource table has no free keys"),
        ),
        wasi(
            "a handle that was never given",
            "(call $write (i32.const 12345) (i32.const 0) (i32.const 1) (i32.const 192)) (call $ok_none)",
            Ends::Crashes("unknown handle index 12345"),
        ),
        wasi(
            "a handle of another kind",
            "(call $block (call $get_stdout)) (call $ok_none)",
            Ends::Crashes("handle index 1"),
        ),
        own(
            "handles of its own that are never dropped",
            &for_ever("(drop (call $new (local.get $i)))"),
            Ends::Crashes("store handle limit exceeded"),
        ),
        own(
            "handles of its own made and dropped",
            &for_ever("(call $drop (call $new (local.get $i)))"),
            Ends::EndedAtTheDeadline,
        ),
        own(
            "a handle that is dropped twice",
            "(local.set $i (call $new (i32.const 7))) (call $drop (local.get $i)) (call $drop (local.get $i))
                (call $ok_none)",
            Ends::Crashes("unknown handle index"),
        ),
        own(
            "a handle that is used when it is dropped",
            "(local.set $i (call $new (i32.const 7))) (call $drop (local.get $i))
                (drop (call $rep (local.get $i))) (call $ok_none)",
            Ends::Crashes("unknown handle index"),
        ),
    ]
}
