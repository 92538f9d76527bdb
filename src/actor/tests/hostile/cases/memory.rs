//! Owns guests that take all the memory that they can get, in every way that there is.

use super::*;

const LIMIT: &str = "its limit is 64MiB";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = growing();
    cases.extend(born_large());
    cases
}

fn growing() -> Vec<Case> {
    let until_refused = "(loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))";
    // 1: it was refused, 2: it was not.
    let grown = |pages: u32| {
        format!(
            "(call $byte (select (i32.const 1) (i32.const 2) (i32.eq (i32.const -1)
                (memory.grow (i32.const {pages})))))"
        )
    };
    let touches = "(drop (memory.grow (i32.const 1000))) (memory.fill (i32.const 65536) (i32.const 7)
        (i32.const 65000000)) (call $ok_none)";
    vec![
        Case::handles(
            "memory in steps until there is none",
            &format!("{until_refused} unreachable"),
            Ends::Crashes(LIMIT),
        ),
        Case::handles(
            "memory in steps at each message",
            &format!("{until_refused} unreachable"),
            Ends::FailsAfter(2, LIMIT),
        ),
        Case::handles(
            "all memory that there is and no complaint",
            &format!("{until_refused} (call $ok_none)"),
            Ends::Handled,
        ),
        Case::handles("four gibibytes at once", &grown(65_534), Ends::Told(1)),
        Case::handles("one page more than there may be", &grown(1_023), Ends::Told(1)),
        Case::handles("as many pages as there may be", &grown(1_022), Ends::Told(2)),
        Case::handles("all memory filled", touches, Ends::Handled),
        Case::guest(
            "all memory in init",
            TestGuest::new().init(&format!("{until_refused} unreachable")),
            Ends::NoStandby(LIMIT),
        ),
        Case::guest(
            "all memory in start",
            TestGuest::new().start(&format!("{until_refused} unreachable")),
            Ends::NoStandby(LIMIT),
        ),
        Case::guest(
            "an allocator that takes all memory",
            TestGuest::new().allocator(&format!("{until_refused} unreachable")),
            Ends::NoStandby(LIMIT),
        ),
        Case::handles(
            "memory that no message gives back",
            "(drop (memory.grow (i32.const 2000))) unreachable",
            Ends::FailsAfter(1, LIMIT),
        ),
    ]
}

fn born_large() -> Vec<Case> {
    let modules = |module: &str, count: usize| {
        let one = |i| format!("(core module $m{i} {module}) (core instance (instantiate $m{i}))\n");
        TestGuest::new().core_extra(&(0..count).map(one).collect::<String>())
    };
    let instances = |module: &str, count: usize| {
        let all = "(core instance (instantiate $m))\n".repeat(count);
        TestGuest::new().core_extra(&format!("(core module $m {module})\n{all}"))
    };
    let segments = "(data (i32.const 0) \"0123456789abcdef\")\n".repeat(5_000);
    let passive = "(data \"0123456789abcdef\")\n".repeat(5_000);
    let text = format!("(memory 16) (data (i32.const 0) \"{}\")", "x".repeat(1 << 20));
    let none = |name, guest, why| Case::guest(name, guest, Ends::NoStandby(why));
    vec![
        none("a memory that begins too large", modules("(memory 1024)", 1), LIMIT),
        none("a memory of four gibibytes", modules("(memory 65536)", 1), LIMIT),
        none("memories that are too large together", modules("(memory 160)", 10), LIMIT),
        none(
            "memories of one module that are too large together",
            modules("(memory 500) (memory 500) (memory 500)", 1),
            LIMIT,
        ),
        none("instances that are too large together", instances("(memory 160)", 10), LIMIT),
        none("more memories than there may be", modules("(memory 0)", 16), "memory count too high"),
        none("more instances than there may be", instances("", 64), "instance count too high"),
        none(
            "a data segment beyond the end",
            modules("(memory 1) (data (i32.const 65530) \"too long\")", 1),
            "trap: out of bounds memory access",
        ),
        Case::guest("five thousand data segments", modules(&format!("(memory 1) {segments}"), 1), Ends::Handled),
        Case::guest("five thousand passive data segments", modules(&format!("(memory 1) {passive}"), 1), Ends::Handled),
        Case::guest("a data segment of a mebibyte in each of ten instances", instances(&text, 10), Ends::Handled),
        Case::guest(
            "a data segment of a mebibyte in sixty instances",
            instances(&text, 60),
            Ends::NoStandby("memory count too high"),
        ),
        Case::guest(
            "a memory limit that the guest does not fit in",
            TestGuest::new(),
            Ends::NoStandby("its limit is 64KiB"),
        )
        .limits(|limits| limits.memory = ByteSize(64 << 10)),
    ]
}
