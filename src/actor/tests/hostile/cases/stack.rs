//! Owns recursion without end: with small frames and large ones, and with the host at its end.

use std::fmt::Write as _;

use super::*;

const USED_UP: &str = "it used up its stack of 512 KiB";
const SMALL: &str = "(func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $deeper (local.get 0))))";
const CALL: &str = "(drop (call $deeper (i32.const 0))) (call $ok_none)";

pub(super) fn cases() -> Vec<Case> {
    let handles =
        |name, functions: &str, ends| Case::guest(name, TestGuest::new().functions(functions).handle(CALL), ends);
    let crashes = |name, functions: &str| handles(name, functions, Ends::Crashes(USED_UP));
    let host = r#"(func $deeper (param i32) (result i32) (local $sent i32)
        (local.set $sent (call $send @"nobody" @"x"))
        (i32.add (local.get $sent) (call $deeper (local.get 0))))"#;
    let logs = r#"(func $deeper (param i32) (result i32)
        (call $host_log (i32.const 0) (i32.const 4096) (i32.const 0))
        (i32.add (i32.const 1) (call $deeper (local.get 0))))"#;
    let thousand = "(func $deeper (param i32) (result i32)
        (if (i32.gt_u (local.get 0) (i32.const 1000)) (then (return (i32.const 0))))
        (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))";
    let between = large_frames().replace("(call $deeper", "(call $between")
        + r#"(func $between (param i32) (result i32)
               (drop (call $send @"nobody" @"x")) (call $deeper (local.get 0)))"#;
    let start = "(drop (call $deeper (i32.const 0)))";
    let init = format!("{start} (call $init_ok)");
    vec![
        crashes("recursion with small frames", SMALL),
        crashes("recursion with large frames", &large_frames()),
        crashes(
            "recursion of two functions",
            "(func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $other (local.get 0))))
             (func $other (param i32) (result i32) (i32.add (i32.const 2) (call $deeper (local.get 0))))",
        ),
        crashes(
            "recursion through a table",
            "(table 1 funcref) (elem (i32.const 0) $deeper) (type $one (func (param i32) (result i32)))
             (func $deeper (param i32) (result i32)
               (i32.add (i32.const 1) (call_indirect (type $one) (local.get 0) (i32.const 0))))",
        ),
        crashes("recursion that sends at each depth", host),
        crashes("recursion that logs at each depth", logs),
        crashes("recursion with large frames and the host between them", &between),
        Case::guest("recursion in init", TestGuest::new().functions(SMALL).init(&init), Ends::NoStandby(USED_UP)),
        Case::guest("recursion in start", TestGuest::new().functions(SMALL).start(start), Ends::NoStandby(USED_UP)),
        Case::guest(
            "recursion in the allocator",
            TestGuest::new().allocator(
                "(i32.add (i32.const 1) (call $realloc (local.get 0) (local.get 1) (local.get $align)
                    (local.get $size)))",
            ),
            Ends::NoStandby(USED_UP),
        ),
        handles("recursion that ends", thousand, Ends::Handled),
    ]
}

/// A function of which each frame keeps a hundred numbers over its own call.
fn large_frames() -> String {
    let mut text = String::from("(func $deeper (param i32) (result i32) (local $n i64)");
    for i in 0..100 {
        let _ = write!(text, "(local $l{i} i64)");
    }
    for i in 0..100 {
        let _ = write!(text, "(local.set $l{i} (i64.mul (i64.extend_i32_u (local.get 0)) (i64.const {})))", i + 3);
    }
    text.push_str("(local.set $n (i64.extend_i32_u (call $deeper (i32.add (i32.const 1) (local.get 0)))))");
    for i in 0..100 {
        let _ = write!(text, "(local.set $n (i64.xor (local.get $n) (local.get $l{i})))");
    }
    text.push_str("(i32.wrap_i64 (local.get $n)))");
    text
}
