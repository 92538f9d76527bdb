//! Components that were built with a standard library: what of WASI works, and what says no.

use super::*;

fn runs(guest: &TestGuest) -> (Host, Reply) {
    let host = Host::new();
    host.run(&Actor::new("guest"), guest);
    let reply = host.ask("guest", b"go");
    (host, reply)
}

#[track_caller]
fn crashes_with(body: &str, expected: &str) {
    let (_host, reply) = runs(&TestGuest::new().wasi().handle(&format!("{body} (call $ok_none)")));
    match reply {
        Err(CallError::Crashed(text)) => assert!(text.contains(expected), "{text}"),
        other => panic!("a crash was expected: {other:?}"),
    }
}

fn guest_lines(host: &Host) -> Vec<(Level, String)> {
    let lines = host.log("guest").into_iter();
    lines.filter(|line| line.source == crate::logs::Source::Guest).map(|line| (line.level, line.message)).collect()
}

#[test]
fn standard_output_and_error_go_to_the_log_line_by_line() {
    let (host, reply) = runs(&TestGuest::new().wasi().handle(
        r#"(local.set $i (call $get_stdout))
           (call $write (local.get $i) @"first\0asec" (i32.const 192))
           (call $write (local.get $i) @"ond\0d\0a\0athird" (i32.const 192))
           (local.set $j (call $get_stderr))
           (call $write (local.get $j) @"oh \1b[0m no\0a" (i32.const 192))
           (call $ok_none)"#,
    ));
    assert_eq!(reply, Ok(None));
    host.stop("guest");
    let line = |level, text: &str| (level, text.to_owned());
    assert_eq!(
        guest_lines(&host),
        [
            line(Level::Info, "first"),
            line(Level::Info, "second"),
            line(Level::Info, ""),
            line(Level::Warn, "oh \u{1b}[0m no"),
            line(Level::Info, "third"),
        ]
    );
    let shown: Vec<String> = host.log("guest").iter().map(ToString::to_string).collect();
    assert!(shown.iter().any(|line| line.ends_with("WARN  oh \\u{1b}[0m no")), "{shown:?}");
}

#[test]
fn a_line_without_an_end_is_cut_and_nothing_piles_up() {
    // 10,000 times 4,000 bytes, and then an end and a short line.
    let (host, reply) = runs(
        &TestGuest::new()
            .wasi()
            .functions(
                r#"(func $many (param $stream i32) (local $n i32)
             (memory.fill (i32.const 8192) (i32.const 120) (i32.const 4000))
             (loop $more
               (call $write (local.get $stream) (i32.const 8192) (i32.const 4000) (i32.const 192))
               (local.set $n (i32.add (local.get $n) (i32.const 1)))
               (br_if $more (i32.lt_u (local.get $n) (i32.const 10000)))))"#,
            )
            .handle(
                r#"(local.set $i (call $get_stdout))
           (call $many (local.get $i))
           (call $write (local.get $i) @"\0ashort\0a" (i32.const 192))
           (call $ok_none)"#,
            ),
    );
    assert_eq!(reply, Ok(None));
    let lines = host.log("guest");
    let lines: Vec<_> = lines.iter().filter(|line| line.source == crate::logs::Source::Guest).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].cut && lines[0].message.len() == 4096);
    assert_eq!((lines[1].cut, &*lines[1].message), (false, "short"));
}

#[test]
fn a_guest_that_sleeps_traps_and_is_told_what_to_do_instead() {
    let sleep = "(local.set $i (call $sleep_pollable (i64.const 1000000000))) (call $block (local.get $i))";
    crashes_with(sleep, "the component tried to wait (sleep or poll), but it was linked without waiting");
    crashes_with(sleep, "[[trigger]]");
}

#[test]
fn a_guest_may_look_whether_a_time_has_come_and_wait_for_what_is_ready() {
    let (_host, reply) = runs(&TestGuest::new().wasi().handle(
        r#"(if (call $ready (call $sleep_pollable (i64.const 100000000000))) (then unreachable))
           (call $block (call $sleep_pollable (i64.const 0)))
           (local.set $i (call $get_stdout))
           (call $block (call $stream_pollable (local.get $i)))
           (if (i64.gt_u (call $now) (call $now)) (then unreachable))
           (call $ok_none)"#,
    ));
    assert_eq!(reply, Ok(None));
}

#[test]
fn more_random_bytes_at_once_than_64_kib_are_refused() {
    let (_host, reply) = runs(&TestGuest::new().wasi().handle(
        "(call $random (i64.const 65536) (i32.const 192)) (call $ok_some (i32.load (i32.const 192)) (i32.const 8))",
    ));
    assert_ne!(reply, Ok(Some(vec![0; 8])));
    assert!(reply.is_ok(), "{reply:?}");
    crashes_with("(call $random (i64.const 65537) (i32.const 192))", "65537 exceeds limit 65536");
    crashes_with("(call $random (i64.const -1) (i32.const 192))", "exceeds limit 65536");
}

#[test]
fn zeroes_by_the_terabyte_are_refused_before_anything_is_allocated() {
    crashes_with(
        "(local.set $i (call $get_stdout)) (call $write_zeroes (local.get $i) (i64.const 0x10000000000) (i32.const 192))",
        "cannot write more zeroes",
    );
}

#[test]
fn a_write_larger_than_allowed_is_refused() {
    crashes_with(
        "(local.set $i (call $get_stdout)) (call $write (local.get $i) (i32.const 0) (i32.const 5000) (i32.const 192))",
        "Buffer too large",
    );
}

#[test]
fn an_exit_ends_the_instance_with_its_code() {
    crashes_with("(call $exit (i32.const 1))", "it ended itself with exit code 1");
}

#[test]
fn handles_that_are_never_dropped_run_out() {
    crashes_with("(loop $more (drop (call $get_stdout)) (br $more))", "resource table has no free keys");
}
