//! Owns guests that flood the standard streams, ask for randomness without end, or wait for ever.

use super::*;

const WAITS: &str = "the component tried to wait (sleep or poll), but it was linked without waiting";

pub(super) fn cases() -> Vec<Case> {
    let wasi = |name, body: &str, ends| {
        Case::guest(name, TestGuest::new().wasi().handle(&format!("{body} (call $ok_none)")), ends)
    };
    let waits = |name, time: &str| {
        wasi(name, &format!("(call $block (call $sleep_pollable (i64.const {time})))"), Ends::Crashes(WAITS))
    };
    let writes = "(call $write (local.get $j) (i32.const 8192) (i32.const 4000) (i32.const 192))";
    let random = |bytes: &str| format!("(call $random (i64.const {bytes}) (i32.const 192))");
    let in_init = TestGuest::new().wasi().init("(call $exit (i32.const 0)) (call $init_ok)");
    let waits_in_init =
        TestGuest::new().wasi().init("(call $block (call $sleep_pollable (i64.const 1000000000))) (call $init_ok)");
    vec![
        waits("a wait for a second", "1000000000"),
        waits("a wait for ever", "-1"),
        Case::guest("a wait in init", waits_in_init, Ends::NoStandby(WAITS)),
        wasi("a look at a clock without end", "(loop $ever (drop (call $now)) (br $ever))", Ends::EndedAtTheDeadline),
        wasi(
            "a look whether it is time without end",
            "(local.set $j (call $sleep_pollable (i64.const -1)))
                (loop $ever (drop (call $ready (local.get $j))) (br $ever))",
            Ends::EndedAtTheDeadline,
        ),
        wasi(
            "an output without end",
            &format!("(local.set $j (call $get_stdout)) (loop $ever {writes} (br $ever))"),
            Ends::EndedAtTheDeadline,
        ),
        wasi(
            "an output of one line without end",
            &format!(
                "(memory.fill (i32.const 8192) (i32.const 120) (i32.const 4000))
                    (local.set $j (call $get_stderr)) (loop $ever {writes} (br $ever))"
            ),
            Ends::EndedAtTheDeadline,
        ),
        wasi(
            "an output of a terabyte of zeroes",
            "(call $write_zeroes (call $get_stdout) (i64.const 0x10000000000) (i32.const 192))",
            Ends::Crashes("cannot write more zeroes"),
        ),
        wasi(
            "an output that is too large at once",
            "(call $write (call $get_stdout) (i32.const 0) (i32.const 5000) (i32.const 192))",
            Ends::Crashes("Buffer too large"),
        ),
        wasi(
            "an output beyond its memory",
            "(call $write (call $get_stdout) (i32.const 0) (i32.const -1) (i32.const 192))",
            Ends::Crashes("out of bounds of memory"),
        ),
        wasi(
            "random bytes without end",
            &format!("(loop $ever {} (br $ever))", random("16")),
            Ends::EndedAtTheDeadline,
        ),
        wasi(
            "random bytes until there is no memory",
            &format!("(loop $ever {} (br $ever))", random("65536")),
            Ends::Crashes("its limit is 64MiB"),
        ),
        wasi("more random bytes than there may be", &random("65537"), Ends::Crashes("65537 exceeds limit 65536")),
        wasi("random bytes as many as a number can be", &random("-1"), Ends::Crashes("exceeds limit 65536")),
        wasi("an exit that is well", "(call $exit (i32.const 0))", Ends::Crashes("it ended itself with exit code 0")),
        wasi("an exit that is none", "(call $exit (i32.const 7))", Ends::Crashes("invalid expected discriminant")),
        Case::guest("an exit in init", in_init, Ends::NoStandby("it ended itself with exit code 0")),
    ]
}
