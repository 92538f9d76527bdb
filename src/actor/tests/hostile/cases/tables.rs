//! Owns guests that take tables instead of memory.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let table = "(table $t 0 funcref)";
    // How often it grows by this many elements before it is refused.
    let grows = |by: u32| {
        TestGuest::new().functions(table).handle(&format!(
            "(block $full (loop $more
               (br_if $full (i32.eq (i32.const -1) (table.grow $t (ref.null func) (i32.const {by}))))
               (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $more)))
             (call $byte (local.get $i))"
        ))
    };
    let modules = |module: &str, count: usize| {
        let one = |i| format!("(core module $m{i} {module}) (core instance (instantiate $m{i}))\n");
        TestGuest::new().core_extra(&(0..count).map(one).collect::<String>())
    };
    let fill = TestGuest::new()
        .functions("(table $t 100000 funcref)")
        .handle(&for_ever("(table.fill $t (i32.const 0) (ref.null func) (i32.const 100000))"));
    let copy = TestGuest::new()
        .functions("(table $t 100000 funcref)")
        .handle(&for_ever("(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 99999))"));
    vec![
        Case::guest("a table grown by ten million", grows(10_000_000), Ends::Told(0)),
        Case::guest("a table grown in steps", grows(10_000), Ends::Told(10)),
        Case::guest("a table that counts as memory", grows(10_000), Ends::Told(1))
            .limits(|limits| limits.memory = ByteSize((128 << 10) + 100_000)),
        Case::guest(
            "a table that begins with ten million",
            modules("(table 10000000 funcref)", 1),
            Ends::NoStandby("a table may have 100000"),
        ),
        Case::guest(
            "more tables than there may be",
            modules("(table 0 funcref)", 17),
            Ends::NoStandby("table count too high"),
        ),
        Case::guest("as many large tables as there may be", modules("(table 100000 funcref)", 16), Ends::Handled),
        Case::guest(
            "large tables in little memory",
            modules("(table 100000 funcref)", 16),
            Ends::NoStandby("its limit is 8MiB"),
        )
        .limits(|limits| limits.memory = ByteSize(8 << 20)),
        Case::guest(
            "elements beyond the end of a table",
            modules("(table 1 funcref) (func $f) (elem (i32.const 1) $f)", 1),
            Ends::NoStandby("trap: undefined element: out of bounds table access"),
        ),
        Case::guest("a loop that fills a table", fill, Ends::EndedAtTheDeadline),
        Case::guest("a loop that copies a table", copy, Ends::EndedAtTheDeadline),
    ]
}
