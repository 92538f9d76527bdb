//! Owns every trap that there is, in start, in init and in a handler.

use super::*;

/// A trap: its name, what makes it, and how it reads.
type Trap = (&'static str, &'static str, &'static str);

/// What the traps below need in their module.
const NEEDS: &str = "(type $other (func (param f64))) (table $t 2 funcref) (elem $e func $nothing)
    (elem (table $t) (i32.const 0) func $nothing)
    (func $nothing) (data $d \"x\") (type $none (func))";

const TRAPS: &[Trap] = &[
    ("unreachable", "unreachable", "trap: wasm `unreachable` instruction executed"),
    ("division by zero", "(drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))", "trap: integer divide by zero"),
    ("remainder by zero", "(drop (i64.rem_s (i64.const 1) (i64.load (i32.const 0))))", "trap: integer divide by zero"),
    (
        "a quotient that is too large",
        "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (i32.load (i32.const 0)) (i32.const 1))))",
        "trap: integer overflow",
    ),
    ("a float that is too large", "(drop (i32.trunc_f64_s (f64.const 1e300)))", "trap: integer overflow"),
    ("a float that is no number", "(drop (i64.trunc_f32_u (f32.const nan)))", "trap: invalid conversion to integer"),
    ("memory out of bounds", "(drop (i32.load (i32.const -4)))", "trap: out of bounds memory access"),
    (
        "a store out of bounds",
        "(i64.store offset=0xfffffff0 (i32.const -1) (i64.const 0))",
        "trap: out of bounds memory access",
    ),
    (
        "a copy out of bounds",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const -1))",
        "trap: out of bounds memory access",
    ),
    (
        "a segment that is dropped",
        "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))",
        "trap: out of bounds memory access",
    ),
    (
        "a call beyond the table",
        "(call_indirect $t (type $none) (i32.const 99))",
        "trap: undefined element: out of bounds table access",
    ),
    ("a call of no function", "(call_indirect $t (type $none) (i32.const 1))", "trap: uninitialized element"),
    (
        "a call of another type",
        "(call_indirect $t (type $other) (f64.const 0) (i32.const 0))",
        "trap: indirect call type mismatch",
    ),
    (
        "a table out of bounds",
        "(table.set $t (i32.const 2) (ref.null func))",
        "trap: undefined element: out of bounds table access",
    ),
    (
        "elements out of bounds",
        "(table.init $t $e (i32.const 2) (i32.const 0) (i32.const 1))",
        "trap: undefined element: out of bounds table access",
    ),
];

pub(super) fn cases() -> Vec<Case> {
    TRAPS.iter().flat_map(everywhere).collect()
}

fn everywhere((what, body, text): &Trap) -> [Case; 3] {
    let name = |place: &str| -> &'static str { String::leak(format!("{what} in {place}")) };
    let guest = TestGuest::new().functions(NEEDS);
    [
        Case::guest(name("start"), guest.clone().start(body), Ends::NoStandby(text)),
        Case::guest(name("init"), guest.clone().init(&format!("{body} (call $init_ok)")), Ends::NoStandby(text)),
        Case::guest(name("a handler"), guest.handle(&format!("{body} (call $ok_none)")), Ends::Crashes(text)),
    ]
}
