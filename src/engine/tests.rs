//! Tests of compiling and loading: what is taken, what is refused and in which words.

use std::time::Duration;

use super::*;
use crate::home::Home;
use crate::state::{CacheKey, CacheLookup, Options, Store};
use crate::test_guest::TestGuest;
use crate::trust::fixture::{Release, draft, key, trusting};

fn engine() -> Engine {
    Engine::new(&EngineConfig::default()).unwrap()
}

#[track_caller]
fn refused(wasm: &[u8]) -> String {
    engine().compile_for_test(wasm).expect_err("it was compiled").to_string()
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn what_is_no_component_is_refused_with_what_it_is() {
    assert_eq!(refused(b""), "the wasm file is empty");
    assert!(refused(b"\x7fELF and so on").contains("an ELF program"));
    assert!(refused(b"(component)").contains("wasm-tools parse"));
    assert!(refused(b"\xff\xfe\x00\x01").contains("its first four bytes"));
    assert!(refused(b"\0as").contains("its first four bytes"));
    assert!(refused(b"\0asm\x09\0\x07\0").contains("no known version"));
    assert!(refused(b"\0asm").contains("no known version"));
    let module = refused(&wat("(module (func (export \"f\")))"));
    assert!(module.contains("wasm-tools component new") && module.contains("--target wasm32-wasip2"), "{module}");
}

#[test]
fn precompiled_code_is_never_taken_for_wasm() {
    let code = engine().compile_for_test(&TestGuest::new().wasm()).unwrap().serialize().unwrap();
    assert!(refused(&code).contains("precompiled code"));
}

#[test]
fn a_cut_component_is_refused_wherever_it_was_cut() {
    let wasm = TestGuest::new().wasm();
    let (engine, cuts) = (engine(), wasm.len());
    // A component is a row of sections: cut exactly between two of them it is a smaller component. Its digest
    // is another one, so that it does not pass for the whole.
    let taken = (0..cuts).filter(|end| engine.compile_for_test(&wasm[..*end]).is_ok()).count();
    assert!(taken * 20 < cuts, "{taken} of {cuts} cuts were taken");
}

#[test]
fn other_bytes_than_those_that_were_verified_are_refused() {
    let (release, other) = (signed(&TestGuest::new()), TestGuest::new().without_handler().wasm());
    let artifact = release.admit(&trusting()).unwrap();
    let error = engine().compile(&artifact, &other).expect_err("it was compiled");
    assert!(matches!(error, CompileError::OtherBytes { .. }), "{error}");
    assert_eq!(engine().compile(&artifact, &release.wasm).unwrap().wasm(), artifact.identity().wasm);
}

fn signed(guest: &TestGuest) -> Release {
    Release::signed(&draft("acme:notifier", 1), guest.wasm(), &[key(1)])
}

#[test]
fn a_component_of_too_many_parts_is_refused_before_it_is_compiled() {
    let functions = format!("(component (core module {}))", "(func)".repeat(200_001));
    assert!(refused(&wat(&functions)).contains("200001 functions and may have 200000"));
    let modules = format!("(component {})", "(core module)".repeat(65));
    assert!(refused(&wat(&modules)).contains("65 core modules and may have 64"));
    let nested = format!("{}{}", "(component ".repeat(100), ")".repeat(100));
    assert!(refused(&wat(&nested)).contains("17 nested components and may have 16"));
    let imports: String = (0..1_001).map(|i| format!("(import \"a{i}\" (func))")).collect();
    assert!(refused(&wat(&format!("(component {imports})"))).contains("1001 imports and may have 1000"));
    let exports: String = (0..1_001).map(|i| format!("(export \"a{i}\" (func 0))")).collect();
    let text = format!("(component (core module (func) {exports}))");
    assert!(refused(&wat(&text)).contains("1001 exports and may have 1000"));
}

#[test]
fn what_costs_a_walk_through_all_types_is_counted_before_anything_is_checked() {
    // A type that is small as it is written, and has a hundred thousand parts; it is compared with its like, or looked
    // through, once for each of what follows.
    let large: String = (1..=16).map(|i| format!("(type $t{i} (tuple $t{} $t{}))", i - 1, i - 1)).collect();
    let large = format!("(type $t0 (tuple u8 u8)) {large}");
    let takes = format!("(component $c {large} (import \"f\" (func (param \"x\" $t16))))");
    let instances = format!("{takes} (import \"f\" (func $f (param \"x\" $t16)))")
        + &"(instance (instantiate $c (with \"f\" (func $f))))".repeat(20_000);
    let one = "(component (alias outer 1 $t16 (type $x)) (import \"f\" (func (param \"x\" $x))))";
    let types = format!("(type {one})").repeat(20_000);
    let within =
        format!("(type (instance (alias outer 1 $t16 (type $t16)) {}))", format!("(type {one})").repeat(20_000));
    for (more, what) in [
        (instances, "20000 component instances and may have 256"),
        (types, "65 component types and may have 64"),
        (within, "20000 component types and may have 64"),
    ] {
        let wasm = wat(&format!("(component {large} {more})"));
        assert!(refused(&wasm).contains(what), "{}", refused(&wasm));
        assert!(matches!(surface(&wasm), Err(SurfaceError::NotCompiled(CompileError::TooMany { .. }))));
    }
}

#[test]
fn parts_of_the_language_that_no_guest_needs_are_refused() {
    for (what, module) in [
        ("shared memory", "(memory 1 1 shared)"),
        ("64-bit memory", "(memory i64 1)"),
        ("garbage collection", "(type (struct (field i32)))"),
        ("exceptions", "(tag (param i32))"),
        ("pages of other sizes", "(memory 1 (pagesize 1))"),
    ] {
        let text = format!("(component (core module {module}))");
        let error = engine().compile_for_test(&wat(&text)).expect_err(what);
        assert!(matches!(error, CompileError::Invalid(_)), "{what}: {error}");
    }
}

#[test]
fn equal_engines_have_equal_code_hashes() {
    let other = EngineConfig { parallel_compilation: false, memory_budget_bytes: 1, memory_overcommit: false };
    assert_eq!(engine().code_hash(), Engine::new(&other).unwrap().code_hash());
}

#[test]
fn code_from_the_cache_is_loaded_for_its_artifact_and_for_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::at(directory.path()).unwrap();
    home.create_for_host().unwrap();
    let store = Store::open(&home, Options::at(0)).unwrap().store;
    let (engine, release) = (engine(), signed(&TestGuest::new()));
    let artifact = release.admit(&trusting()).unwrap();
    let compiled = engine.compile(&artifact, &release.wasm).unwrap();
    let key = CacheKey { wasm: compiled.wasm(), engine: engine.code_hash() };
    store.cache().put(&key, compiled.serialize().unwrap()).wait().unwrap();
    let CacheLookup::Hit(code) = store.cache().get(&key) else { panic!("it was put there") };

    let loaded = engine.load(&artifact, &code).unwrap();
    assert_eq!(loaded.wasm(), compiled.wasm());
    let other = signed(&TestGuest::new().without_handler()).admit(&trusting()).unwrap();
    let error = engine.load(&other, &code).expect_err("it is other code");
    assert!(matches!(error, LoadError::OtherWasm { .. }), "{error}");
}

#[test]
fn deadlines_are_rounded_up_to_ticks_and_never_overflow() {
    assert_eq!(ticks(Duration::ZERO), 1);
    assert_eq!(ticks(Duration::from_millis(1)), 2);
    assert_eq!(ticks(Duration::from_millis(10)), 2);
    assert_eq!(ticks(Duration::from_millis(11)), 3);
    assert_eq!(ticks(Duration::from_secs(5)), 501);
    assert_eq!(ticks(Duration::from_nanos(10_000_001)), 3);
    assert!(ticks(Duration::MAX) < u64::MAX / 2);
}

#[test]
fn the_clock_ends_with_its_engine() {
    let engine = engine();
    let weak = engine.wasmtime().weak();
    drop(engine);
    // The clock holds the engine for the moment of a tick only.
    while weak.upgrade().is_some() {
        std::thread::yield_now();
    }
}

mod surfaces {
    use proptest::prelude::*;

    use crate::engine::{MAX_TYPE_BYTES, SurfaceError, surface};
    use crate::surface::{MAX_SURFACE_BYTES, Surface};
    use crate::test_guest::TestGuest;

    fn read(text: &str) -> Result<Surface, SurfaceError> {
        surface(&wat::parse_str(text).unwrap_or_else(|e| panic!("{e}")))
    }

    fn shown(surface: &Surface) -> String {
        serde_json::to_value(surface).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn the_surface_of_a_component_has_every_function_with_its_signature() {
        let surface = surface(&TestGuest::new().wasi().wasm()).unwrap();
        expect_test::expect![[r#"
            import airssys:component/config@0.1.0
             get func(key: string) -> option<string>
            import airssys:component/log@0.1.0
             log func(level: enum { trace, debug, info, warn, error }, message: string)
            import airssys:component/messaging@0.1.0
             send func(link: string, body: record { codec: enum { raw, json, msgpack, borsh, cbor, protobuf, bincode, yaml }, data: list<u8> }) ->… sha256:b48b293c597e27af752adb32101b8801
            import airssys:component/types@0.1.0
            import wasi:cli/exit@0.2.0
             exit func(status: result)
            import wasi:cli/stderr@0.2.0
             get-stderr func() -> own<wasi:io/streams/output-stream>
             output-stream resource
            import wasi:cli/stdout@0.2.0
             get-stdout func() -> own<wasi:io/streams/output-stream>
             output-stream resource
            import wasi:clocks/monotonic-clock@0.2.0
             now func() -> u64
             pollable resource
             subscribe-duration func(when: u64) -> own<wasi:io/poll/pollable>
            import wasi:io/error@0.2.0
             error resource
            import wasi:io/poll@0.2.0
             [method]pollable.block func(self: borrow<wasi:io/poll/pollable>)
             [method]pollable.ready func(self: borrow<wasi:io/poll/pollable>) -> bool
             pollable resource
            import wasi:io/streams@0.2.0
             [method]output-stream.blocking-write-and-flush func(self: borrow<wasi:io/streams/output-stream>, contents: list<u8>) -> result<_, variant { last-operation-failed(own<wasi:io/error/error>), closed }>
             [method]output-stream.subscribe func(self: borrow<wasi:io/streams/output-stream>) -> own<wasi:io/poll/pollable>
             [method]output-stream.write-zeroes func(self: borrow<wasi:io/streams/output-stream>, len: u64) -> result<_, variant { last-operation-failed(own<wasi:io/error/error>), closed }>
             error resource
             output-stream resource
             pollable resource
            import wasi:random/random@0.2.0
             get-random-bytes func(len: u64) -> list<u8>
            export airssys:component/lifecycle@0.1.0
             init func(config: string) -> result<_, string>
             shutdown func()
            export airssys:component/message-handler@0.1.0
             handle func(message: record { id: u64, sender: variant { installation(string), trigger(u32), host }, wants-reply: bool, topic: option<s… sha256:d6c7c0a4c75dc920859b3cc25e6b08eb
        "#]].assert_eq(&shown(&surface));
    }

    #[test]
    fn functions_modules_and_instances_at_the_top_are_there_too() {
        let surface = read(
            r#"(component
              (import "f" (func $f (param "a" u8) (result (tuple u8 (option char)))))
              (import "r" (type $r (sub resource)))
              (import "g" (func (param "r" (borrow $r))))
              (import "m" (core module))
              (import "outer" (instance (export "inner" (instance (export "h" (func))))))
              (export "again" (func $f)))"#,
        );
        expect_test::expect![[r#"
            import f
              func(a: u8) -> tuple<u8, option<char>>
            import g
              func(r: borrow<r>)
            import m
              module
            import outer
             inner instance
             inner/h func()
            import r
              resource
            export again
              func(a: u8) -> tuple<u8, option<char>>
        "#]]
        .assert_eq(&shown(&surface.unwrap()));
    }

    #[test]
    fn names_of_types_do_not_count_and_their_content_does() {
        let of = |types: &str| read(&format!(r#"(component (import "a:b/c@1.0.0" (instance {types})))"#)).unwrap();
        let inline = of(r#"(export "f" (func (result (list u8))))"#);
        let named = of(r#"(type $t (list u8)) (export "bytes" (type $b (eq $t))) (export "f" (func (result $b)))"#);
        assert_eq!(inline, named);
        assert_ne!(inline, of(r#"(export "f" (func (result (list s8))))"#));
    }

    #[test]
    fn hostile_types_are_refused_and_nothing_panics() {
        // Each type holds the one before twice: 2^30 when written out.
        let mut doubled = String::from("(component (type $t0 (tuple u8 u8))\n");
        for n in 1..18 {
            doubled.push_str(&format!("(type $t{n} (tuple $t{} $t{}))\n", n - 1, n - 1));
        }
        doubled.push_str("(import \"f\" (func (param \"x\" $t17))))");
        assert_eq!(read(&doubled), Err(SurfaceError::Signature));

        let mut deep = String::from("(component (type $t0 (option u8))\n");
        for n in 1..90 {
            deep.push_str(&format!("(type $t{n} (option $t{}))\n", n - 1));
        }
        deep.push_str("(import \"f\" (func (param \"x\" $t89))))");
        assert_eq!(read(&deep), Err(SurfaceError::Depth));

        let names: String = (0..40_000).map(|n| format!("(type (enum \"{}{n}\"))", "a".repeat(60))).collect();
        assert_eq!(read(&format!("(component {names})")), Err(SurfaceError::Types));
        assert!(names.len() > MAX_TYPE_BYTES);

        let instance: String = (0..2_100).map(|n| format!("(export \"f{n}\" (func))")).collect();
        let many = read(&format!(r#"(component (import "a:b/c" (instance {instance})))"#));
        assert!(matches!(many, Err(SurfaceError::TooLarge(_))), "{many:?}");
    }

    static WHOLE: std::sync::LazyLock<[Vec<u8>; 2]> =
        std::sync::LazyLock::new(|| [TestGuest::new().wasm(), TestGuest::new().wasi().storage().wasm()]);

    /// One way to damage a file, at two places.
    fn damage(wasm: &mut Vec<u8>, (how, at, other, byte): (u8, usize, usize, u8)) {
        let (at, other) = (at % wasm.len(), other % wasm.len());
        let piece = wasm[at.min(other)..at.max(other)].iter().take(200).copied().collect::<Vec<u8>>();
        match how {
            0 => wasm[at] = byte,
            1 => wasm.swap(at, other),
            2 => drop(wasm.splice(at..at, piece)),
            3 => drop(wasm.drain(at..(at + piece.len()).min(wasm.len()))),
            _ => drop(wasm.splice(at..at, [byte; 5])),
        }
        // What follows is to find something, and not to be refused for its head.
        let head = b"\0asm\x0d\0\x01\0";
        wasm.resize(wasm.len().max(head.len()), 0);
        wasm[..head.len()].copy_from_slice(head);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn no_damage_makes_the_reader_fail_or_lets_a_surface_grow(
            damages in prop::collection::vec((0u8..5, any::<usize>(), any::<usize>(), any::<u8>()), 1..12),
            rich in any::<bool>(),
        ) {
            let mut wasm = WHOLE[usize::from(rich)].clone();
            damages.into_iter().for_each(|damages| damage(&mut wasm, damages));
            match surface(&wasm) {
                Ok(surface) => prop_assert!(surface.text().len() <= MAX_SURFACE_BYTES + wasm.len()),
                Err(error) => prop_assert_ne!(error, SurfaceError::Failed),
            }
        }
    }

    #[test]
    fn a_component_that_is_cut_or_damaged_anywhere_is_an_error_or_another_surface() {
        let wasm = TestGuest::new().wasm();
        for length in 0..wasm.len() {
            // What is left before the first export is none that anybody could mistake for the whole.
            let exports = surface(&wasm[..length]).map_or(0, |surface| surface.exports().len());
            assert!(exports == 0 || length > wasm.len() / 2, "cut at {length}");
        }
        for at in 0..wasm.len().min(4_000) {
            let mut damaged = wasm.clone();
            damaged[at] ^= 0x41;
            let _ = surface(&damaged);
        }
        assert!(surface(b"\0asm\x01\0\0\0").is_err(), "a core module");
    }
}
