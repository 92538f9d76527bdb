//! Owns bytes that are no component, or one that this host does not take: too much of something, or not what it says.

use super::*;
use crate::engine::{Engine, EngineConfig};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = other_bytes();
    cases.extend(too_much());
    cases.extend(imports());
    cases.extend(exports());
    cases
}

fn text(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|e| panic!("{e}"))
}

fn other_bytes() -> Vec<Case> {
    let refused = |name, bytes: Vec<u8>, why| Case::bytes(name, bytes, Ends::NotCompiled(why));
    let guest = TestGuest::new().wasm();
    let engine = Engine::new(&EngineConfig::default()).unwrap();
    let code = engine.compile_for_test(&guest).unwrap().serialize().unwrap();
    let endless = [guest.clone(), vec![1, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    let zeroes = [guest.clone(), vec![0; 1 << 20]].concat();
    let mut version = guest.clone();
    version[4] = 0x7f;
    vec![
        refused("no bytes", Vec::new(), "the wasm file is empty"),
        refused("seven bytes", b"\0asm\x0d\0\x01".to_vec(), "no known version"),
        refused("text", b"(component)".to_vec(), "the file holds text"),
        refused("a program", b"\x7fELF\x02\x01\x01".to_vec(), "an ELF program"),
        refused("precompiled code", code, "precompiled code"),
        refused("a core module", text("(module (memory 1) (func (export \"init\")))"), "a core module, no component"),
        refused("a component that is cut", guest[..guest.len() / 2 + 1].to_vec(), "not valid"),
        refused("a component with a section without end", endless, "not valid"),
        refused("a component with zeroes behind it", zeroes, "not valid"),
        refused("a component of another version", version, "not valid"),
        refused(
            "noise",
            (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect(),
            "its first four bytes",
        ),
    ]
}

fn too_much() -> Vec<Case> {
    let refused = |name, wat: &str, why| Case::bytes(name, text(wat), Ends::NotCompiled(why));
    let nested = |depth: usize| format!("{}{}", "(component ".repeat(depth), ")".repeat(depth));
    let doubled: String = (1..64).map(|i| format!("(type $t{i} (tuple $t{} $t{}))", i - 1, i - 1)).collect();
    let deep: String = (1..500).map(|i| format!("(type $t{i} (list $t{}))", i - 1)).collect();
    let names: String = (0..1_001).map(|i| format!("(export \"f{i}\" (func 0))")).collect();
    vec![
        refused("components nested a hundred deep", &nested(100), "nested components and may have 16"),
        refused(
            "sixty-five modules",
            &format!("(component {})", "(core module)".repeat(65)),
            "65 core modules and may have 64",
        ),
        refused(
            "a thousand and one imports",
            &format!("(component {})", missing(1_001)),
            "1001 imports and may have 1000",
        ),
        refused(
            "a thousand and one exports",
            &format!("(component (core module (func) {names}))"),
            "1001 exports and may have 1000",
        ),
        refused(
            "two hundred thousand and one functions",
            &format!("(component (core module {}))", "(func)".repeat(200_001)),
            "200001 functions",
        ),
        refused(
            "a type that doubles sixty-three times",
            &format!("(component (type $t0 (tuple u8 u8)) {doubled})"),
            "not valid",
        ),
        refused(
            "a type that is nested five hundred deep",
            &format!("(component (type $t0 (list u8)) {deep} (import \"f\" (func (param \"x\" $t499))))"),
            "not valid",
        ),
        refused(
            "an import with a name of two hundred thousand bytes",
            &format!("(component (import \"{}\" (func)))", "a".repeat(200_000)),
            "not valid",
        ),
        refused("a component that starts", "(component (import \"f\" (func $f)) (start $f))", "not valid"),
        refused("a function that is not valid", "(component (core module (func (result i32))))", "not valid"),
        refused("a shared memory", "(component (core module (memory 1 1 shared)))", "not valid"),
        refused("a memory of sixty-four bits", "(component (core module (memory i64 1)))", "not valid"),
        refused("references to anything", "(component (core module (table 10 externref)))", "not valid"),
        refused("an exception", "(component (core module (tag (param i32))))", "not valid"),
    ]
}

/// So many imports that nobody offers.
fn missing(count: usize) -> String {
    (0..count).map(|i| format!("(import \"acme:nowhere/i{i}@1.0.0\" (instance (export \"f\" (func))))")).collect()
}

fn imports() -> Vec<Case> {
    let refused = |name, imports: &str, why| Case::guest(name, TestGuest::new().imports(imports), Ends::NotLinked(why));
    let long = format!("(import \"{}\" (func))", "a".repeat(90_000));
    let asks = TestGuest::new().callback("(call $ok_unit)").without_callback_handler();
    vec![
        refused("an import that nobody offers", &missing(1), "does not offer: `acme:nowhere/i0@1.0.0`"),
        refused("nine hundred imports that nobody offers", &missing(900), "and 868 more"),
        refused(
            "an import of another version",
            "(import \"airssys:component/log@9.0.0\" (instance (export \"log\" (func))))",
            "does not offer: `airssys:component/log@9.0.0`",
        ),
        refused(
            "an import of another type",
            "(import \"wasi:cli/environment@0.2.0\" (instance (export \"get-environment\" (func (result u32)))))",
            "do not fit this host",
        ),
        refused(
            "an import of the web",
            "(import \"wasi:http/types@0.2.3\" (instance (export \"f\" (func))))",
            "does not offer: `wasi:http/types@0.2.3`",
        ),
        refused("an import with a name of ninety thousand bytes", &long, "does not offer: `aaa"),
        Case::guest("questions and nobody for the answers", asks, Ends::NotLinked("so no answer would reach it")),
    ]
}

fn exports() -> Vec<Case> {
    const HANDLER: &str = "airssys:component/message-handler@0.1.0";
    let function = r#"(core module $odd_code (func (export "f"))) (core instance $odd (instantiate $odd_code))
        (func $f (canon lift (core func $odd "f")))"#;
    let guest = |exports: &str| TestGuest::new().without_handler().exports(&format!("{function} {exports}"));
    let refused = |name, exports: &str, why| Case::guest(name, guest(exports), Ends::NotLinked(why));
    let nothing = TestGuest::new().without_handler().without_lifecycle();
    vec![
        Case::guest(
            "no exports",
            nothing,
            Ends::NotLinked("exports nothing that this host calls; it exports: nothing"),
        ),
        Case::bytes("an empty component", text("(component)"), Ends::NotLinked("exports nothing that this host calls")),
        refused(
            "a handler of another type",
            &format!("(instance $e (export \"handle\" (func $f))) (export \"{HANDLER}\" (instance $e))"),
            "its `handle` is not as this host calls it",
        ),
        refused(
            "a handler without a function",
            &format!("(instance $e) (export \"{HANDLER}\" (instance $e))"),
            "its `handle` is not as this host calls it: there is none",
        ),
        refused(
            "a handler that is a function",
            &format!("(export \"{HANDLER}\" (func $f))"),
            "its `handle` is not as this host calls it: there is none",
        ),
        Case::guest(
            "a component without a handler",
            TestGuest::new().without_handler(),
            Ends::NoStandby("exports no `airssys:component/message-handler`"),
        )
        .actor(|actor| actor.triggers.push(Trigger { every: Millis(1_000) })),
    ]
}
