//! Owns guests that break the rules by which values pass between them and the host.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = allocators();
    cases.extend(results());
    cases.extend(calls());
    cases
}

/// What the host gives its message to, and has something in its store.
fn allocates(name: &'static str, allocator: &str, ends: Ends) -> Case {
    Case::guest(name, TestGuest::new().without_lifecycle().allocator(allocator), ends)
}

fn allocators() -> Vec<Case> {
    let pages = r#"(call $host_store @"k" @"v" (i32.const 256))
        (call $host_keys (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 10)
            (i32.const 256))
        (call $ok_none)"#;
    let odd = TestGuest::new().storage().without_lifecycle().handle(pages).allocator(
        "(i32.or (call $honest (local.get $align) (i32.add (local.get $size) (i32.const 8))) (i32.const 1))",
    );
    let beyond = "realloc return: beyond end of memory";
    let forgets = |name, body: &str, ends| Case::guest(name, TestGuest::new().without_lifecycle().forgets(body), ends);
    vec![
        allocates("an allocator that gives junk", "(i32.const 0xfffffff0)", Ends::Crashes(beyond)),
        allocates("an allocator that gives the last byte", "(i32.const 0x1ffff)", Ends::Crashes(beyond)),
        allocates("an allocator that gives nothing", "(i32.const 0)", Ends::Handled),
        allocates("an allocator that gives one place for all", "(i32.const 2048)", Ends::Handled),
        Case::guest("an allocator that gives odd places", odd, Ends::Crashes("realloc return: result not aligned"))
            .actor(|actor| actor.storage = Some("read-write")),
        allocates("an allocator that traps", "unreachable", Ends::Crashes("trap: wasm `unreachable`")),
        allocates("an allocator that never returns", FOR_EVER, Ends::EndedAtTheDeadline),
        Case::guest(
            "an allocator that calls the host",
            TestGuest::new().without_lifecycle().allocator_logs().allocator(
                "(call $log (i32.const 2) (i32.const 0) (i32.const 0))
                 (call $honest (local.get $align) (local.get $size))",
            ),
            Ends::Crashes("cannot leave component instance"),
        ),
        forgets("a trap behind the result", "unreachable", Ends::Crashes("trap: wasm `unreachable`")),
        forgets("a loop behind the result", "(loop $ever (br $ever))", Ends::EndedAtTheDeadline),
    ]
}

/// A result of this discriminant, option and codec, with contents of this length at this place.
fn result(discriminant: u8, option: u8, codec: u8, ptr: u32, len: u32) -> String {
    format!(
        "(i32.store8 (i32.const 16) (i32.const {discriminant})) (i32.store8 (i32.const 20) (i32.const {option}))
         (i32.store8 (i32.const 24) (i32.const {codec})) (i32.store (i32.const 28) (i32.const {ptr}))
         (i32.store (i32.const 32) (i32.const {len})) (i32.const 16)"
    )
}

fn results() -> Vec<Case> {
    let crashes = |name, body: &str, text| Case::handles(name, body, Ends::Crashes(text));
    vec![
        crashes("a result beyond its memory", "(i32.const -4)", "pointer out of bounds of memory"),
        crashes("a result across the end of its memory", "(i32.const 0x1fffc)", "pointer out of bounds of memory"),
        crashes("a result at an odd place", "(i32.const 18)", "pointer not aligned"),
        crashes("a result that is neither", &result(2, 0, 0, 0, 0), "invalid expected discriminant"),
        crashes("an answer that is neither there nor not", &result(0, 255, 0, 0, 0), "invalid option discriminant"),
        crashes("an answer in no codec", &result(0, 1, 8, 0, 0), "unexpected discriminant: 8"),
        crashes(
            "an answer beyond its memory",
            &result(0, 1, 0, 0x1fff0, 17),
            "list pointer/length out of bounds of memory",
        ),
        crashes(
            "an answer as long as a number can be",
            &result(0, 1, 0, 1, u32::MAX),
            "list pointer/length out of bounds of memory",
        ),
        crashes("an error that is no text", r#"(call $error @"\c0\80")"#, "invalid utf-8"),
        crashes(
            "an error beyond its memory",
            "(call $error (i32.const 0) (i32.const -1))",
            "string pointer/length out of bounds of memory",
        ),
    ]
}

fn calls() -> Vec<Case> {
    // Encodes all of its memory, which comes back a little larger, until there is none.
    let encodes = "(local.set $len (i32.const 100000)) (local.set $ptr (i32.const 0))
        (loop $more
          (call $encode (i32.const 0) (local.get $ptr) (local.get $len) (i32.const 256))
          (local.set $len (i32.load (i32.const 260))) (br $more)) unreachable";
    let decodes = times(
        100_000,
        r#"(call $decode @"\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff" (i32.const 256))
            (if (i32.eqz (i32.load8_u (i32.const 256))) (then unreachable))"#,
    );
    let wide = |body: &str| {
        let log = r#"lower (func $log "log") (memory (core memory $libc "memory")) string-encoding=utf16"#;
        TestGuest::new().calls("wide", log, "(param i32 i32 i32)").handle(&format!("{body} (call $ok_none)"))
    };
    let long = "(drop (memory.grow (i32.const 100))) (call $wide (i32.const 2) (i32.const 65536) (i32.const 0x80000))";
    let half = "(i32.store16 (i32.const 600) (i32.const 0xd800)) (call $wide (i32.const 2) (i32.const 600)
        (i32.const 1))";
    let config = TestGuest::new().handle(
        "(drop (memory.grow (i32.const 100))) (call $host_get (i32.const 65536) (i32.const 0x100000)
            (i32.const 256)) (call $byte (i32.load8_u (i32.const 256)))",
    );
    vec![
        Case::guest(
            "texts encoded until there is no memory",
            TestGuest::new().multicodec().handle(encodes),
            Ends::Crashes("its limit is 64MiB"),
        ),
        Case::guest(
            "junk decoded a hundred thousand times",
            TestGuest::new().multicodec().handle(&decodes),
            Ends::Handled,
        ),
        Case::guest("a long text of two bytes a letter", wide(long), Ends::Handled),
        Case::guest("half a letter of two bytes", wide(half), Ends::Crashes("unpaired surrogate")),
        Case::guest("a key of the config of a mebibyte", config, Ends::Told(0)),
    ]
}
