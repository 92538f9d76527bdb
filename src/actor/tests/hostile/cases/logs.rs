//! Owns floods of log lines, lines that are none, and lines that mean to be something else.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let handles = |name, body: &str, ends| Case::handles(name, body, ends);
    let of = |bytes: u32| {
        format!(
            "(drop (memory.grow (i32.const 100))) (call $host_log (i32.const 2) (i32.const 65536) (i32.const {bytes}))"
        )
    };
    let terminal =
        r#"(call $log @"\1b]0;title\07\1b[2J\c2\9b31m\e2\80\ae evil \e2\81\a6 \0d\0a2026-01-01 INFO forged\00")"#;
    vec![
        handles(
            "log lines until the deadline",
            &for_ever("(call $host_log (i32.const 2) (i32.const 4096) (i32.const 4000))"),
            Ends::EndedAtTheDeadline,
        )
        .also(is_bounded),
        handles(
            "thousands of long log lines",
            &times(3_000, "(call $host_log (i32.const 2) (i32.const 4096) (i32.const 60000))"),
            Ends::Handled,
        )
        .also(is_bounded),
        handles(
            "empty log lines",
            &times(200_000, "(call $host_log (i32.const 0) (i32.const 0) (i32.const 0))"),
            Ends::Handled,
        )
        .also(is_bounded),
        handles(
            "log lines of control characters",
            &times(3_000, "(call $host_log (i32.const 4) (i32.const 0x8000) (i32.const 4096))"),
            Ends::Handled,
        )
        .also(is_bounded),
        handles("a log line of a mebibyte", &format!("{} (call $ok_none)", of(1 << 20)), Ends::Handled).also(is_cut),
        handles("a log line of four mebibytes", &format!("{} (call $ok_none)", of(4 << 20)), Ends::Crashes("fuel")),
        handles(
            "a log line beyond its memory",
            &format!("{} (call $ok_none)", of(u32::MAX)),
            Ends::Crashes("out of bounds of memory"),
        ),
        handles(
            "a log line that is no text",
            r#"(call $log @"\f5\80") (call $ok_none)"#,
            Ends::Crashes("invalid utf-8"),
        ),
        handles(
            "a log level that is none",
            "(call $host_log (i32.const 200) (i32.const 0) (i32.const 0)) (call $ok_none)",
            Ends::Crashes("unexpected discriminant: 200"),
        ),
        handles("a log line for a terminal", &format!("{terminal} (call $ok_none)"), Ends::Handled).also(is_harmless),
        handles(
            "an error for a terminal",
            r#"(call $error @"\1b]0;title\07\e2\80\aeevil")"#,
            Ends::SaysNo("\\u{1b}]0;title\\u{7}\\u{202e}evil"),
        ),
        Case::guest(
            "a function name for a terminal",
            named("\\1b[2J\\e2\\80\\ae"),
            Ends::Crashes("in \\u{1b}[2J\\u{202e}"),
        )
        .also(is_harmless),
        Case::guest("a function name of a hundred thousand bytes", named(&"x".repeat(100_000)), Ends::Crashes("[cut]"))
            .also(is_harmless),
    ]
}

/// Traps in a function of this name.
fn named(name: &str) -> TestGuest {
    let functions = format!("(func $traps (@name \"{name}\") unreachable)");
    TestGuest::new().functions(&functions).handle("(call $traps) (call $ok_none)")
}

/// Its log has no more than its files may have, and every line that is not there is counted.
fn is_bounded(host: &Host, actor: &str) {
    assert!(host.status(actor).log_lines_lost > 0);
    let lines = host.log(actor);
    assert!(lines.iter().all(|line| line.message.len() <= crate::logs::MAX_LINE_BYTES));
    let own = |file: &std::fs::DirEntry| file.file_name().to_string_lossy().starts_with(actor);
    let files = std::fs::read_dir(host.logs.directory()).unwrap().map(Result::unwrap).filter(own);
    let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes > 0 && bytes <= 20 << 20, "{bytes}");
}

fn is_cut(host: &Host, actor: &str) {
    let lines = host.log(actor);
    let line = lines.iter().find(|line| line.source == crate::logs::Source::Guest).expect("a line");
    assert!(line.cut && line.message.len() == crate::logs::MAX_LINE_BYTES);
}

/// What is shown of it moves no cursor, hides nothing and begins no line of its own.
fn is_harmless(host: &Host, actor: &str) {
    for line in host.log(actor) {
        let shown = line.to_string();
        let hidden = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!shown.contains(hidden), "{shown:?}");
    }
}
