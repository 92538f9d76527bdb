//! Owns guests that are made up: valid ones, whose instructions mean nothing.

use super::dice::Dice;
use crate::test_guest::TestGuest;

/// How deep expressions and blocks are.
const DEPTH: usize = 4;
/// Functions that call one another.
const FUNCTIONS: usize = 4;

/// A guest with a handler of random statements, and sometimes an `init` or a start of the same.
pub(super) fn guest(dice: &mut Dice) -> TestGuest {
    let mut functions = String::from(
        "(table $t 8 funcref) (type $one (func (param i32) (result i32))) (elem (i32.const 0) $f0 $f1 $f2 $f3)\n",
    );
    for i in 0..FUNCTIONS {
        let body = statements(dice, DEPTH - 1);
        functions.push_str(&format!("(func $f{i} (param $i i32) (result i32) (local $j i32) {body} (local.get $j))\n"));
    }
    let mut guest = TestGuest::new().storage().wasi().functions(&functions);
    guest = guest.handle(&format!("{} (call $ok_some (i32.const 256) (i32.const 8))", statements(dice, DEPTH)));
    if dice.below(4) == 0 {
        let body = statements(dice, 2);
        guest = guest.init(&format!("(local $i i32) (local $j i32) {body} (call $init_ok)"));
    }
    if dice.below(8) == 0 {
        guest = guest.start(&format!("(local $i i32) (local $j i32) {}", statements(dice, 2)));
    }
    guest
}

fn statements(dice: &mut Dice, depth: usize) -> String {
    (0..=dice.below(4)).map(|_| statement(dice, depth)).collect::<Vec<_>>().join("\n")
}

fn statement(dice: &mut Dice, depth: usize) -> String {
    let local = *dice.one(&["$i", "$j"]);
    let mut value = || value(dice, depth);
    let (a, b, c) = (value(), value(), value());
    if depth == 0 {
        return format!("(local.set {local} {a})");
    }
    match dice.below(20) {
        0..=4 => format!("(local.set {local} {a})"),
        5 => format!("(i32.store {a} {b})"),
        6 => format!("(i64.store8 {a} (i64.extend_i32_s {b}))"),
        7 => format!("(if {a} (then {}) (else {}))", statements(dice, depth - 1), statements(dice, depth - 1)),
        8 | 9 => counted(&statements(dice, depth - 1)),
        10 => format!("(loop $l {} (br_if $l {a}))", statements(dice, depth - 1)),
        11 => format!("(drop (memory.grow {a}))"),
        12 => format!("(memory.fill {a} {b} {c})"),
        13 => format!("(memory.copy {a} {b} {c})"),
        14 => format!(r#"(drop (call $send @"{}" {a} {b}))"#, dice.one(&["self", "next", "nobody", "\\ff"])),
        15 => format!("(call $host_log (i32.const {}) {a} {b})", dice.below(6)),
        16 => format!("(call $host_store {a} {b} {c} (i32.const 8) (i32.const 256))"),
        17 => format!("(call $host_keys {a} {b} (i32.const 0) (i32.const 0) (i32.const 0) {c} (i32.const 256))"),
        18 => format!("(call $random (i64.extend_i32_u {a}) {b})"),
        _ => format!("(local.set {local} (call $f{} {a}))", dice.below(FUNCTIONS)),
    }
}

/// A loop that ends, whatever is in it.
fn counted(body: &str) -> String {
    format!(
        "(block $out (loop $on {body}
           (i32.store (i32.const 900) (i32.add (i32.load (i32.const 900)) (i32.const 1)))
           (br_if $out (i32.gt_u (i32.load (i32.const 900)) (i32.const 100))) (br $on)))"
    )
}

fn value(dice: &mut Dice, depth: usize) -> String {
    const EDGES: [i64; 9] = [0, 1, 7, 255, 4096, 65_536, 1 << 20, -1, -2_147_483_648];
    if depth == 0 || dice.below(3) == 0 {
        return match dice.below(3) {
            0 => "(local.get $i)".to_owned(),
            1 => "(local.get $j)".to_owned(),
            _ => format!("(i32.const {})", dice.one(&EDGES)),
        };
    }
    let (a, b) = (value(dice, depth - 1), value(dice, depth - 1));
    const TWO: [&str; 18] = [
        "add", "sub", "mul", "div_s", "div_u", "rem_s", "rem_u", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl",
        "eq", "lt_s", "gt_u", "ge_s",
    ];
    match dice.below(10) {
        0..=4 => format!("(i32.{} {a} {b})", dice.one(&TWO)),
        5 => format!("(i32.{} {a})", dice.one(&["clz", "ctz", "popcnt", "eqz", "load", "load8_u", "load16_s"])),
        6 => format!("(select {a} {b} (local.get $i))"),
        7 => format!("(i32.trunc_f64_s (f64.sqrt (f64.convert_i32_s {a})))"),
        8 => format!("(call_indirect $t (type $one) {a} {b})"),
        _ => "(memory.size)".to_owned(),
    }
}
