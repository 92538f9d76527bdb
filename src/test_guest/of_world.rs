//! Owns guests that are made as bindings make them: a core module for a world of the WIT files.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A component of `world`, the items of a WIT world, whose core module is `imports` and `functions`; [`CORE`] is before
/// the latter.
pub(crate) fn of_world(world: &str, imports: &str, functions: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    push_wit(&mut resolve);
    let package =
        resolve.push_str("guest.wit", &format!("package test:guest; world guest {{ {world} }}")).expect("a world");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world");
    let module = format!("(module {imports} {CORE} {functions})");
    let mut module = wat::parse_str(&module).unwrap_or_else(|e| panic!("{e}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world is embedded");
    ComponentEncoder::default().module(&module).expect("a module of this world").encode().expect("a component")
}

/// The WIT of this host. What stands beside a newer version is apart, so that guests have one of each package.
pub(crate) fn push_wit(resolve: &mut Resolve) {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
    for directory in [wit.clone(), wit.join("drafts/wasi-config"), wit.join("drafts/wasi-keyvalue")] {
        resolve.push_dir(directory).expect("the WIT of this host");
    }
}

/// The head of `handle`, whose result is what `$reply`, `$good`, `$byte` and `$refuse` give.
pub(crate) const HANDLE: &str = r#"(func (export "airssys:component/message-handler@0.1.0#handle")
    (param $id i64) (param $kind i32) (param $a i32) (param $b i32) (param $wants_reply i32)
    (param $topic i32) (param $topic_ptr i32) (param $topic_len i32) (param $codec i32) (param $ptr i32) (param $len i32)
    (result i32) (local $i i32) (local $j i32)"#;

/// What makes the allocator forget; stands behind `handle`.
pub(crate) const POST: &str = r#"(export "cabi_post_airssys:component/message-handler@0.1.0#handle" (func $forget))"#;

/// A memory whose first page is for texts and results, whose second is for replies, and behind it an allocator that forgets
/// everything after each `handle`. Replies are at 16.
const CORE: &str = r#"
  (memory (export "memory") 4)
  (global $at (mut i32) (i32.const 131072))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $it i32)
    (local.set $it (i32.and (i32.add (global.get $at) (i32.const 15)) (i32.const -16)))
    (global.set $at (i32.add (local.get $it) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $at) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $fits (i32.ne (i32.const -1) (memory.grow (i32.add (i32.const 1)
        (i32.shr_u (i32.sub (global.get $at) (i32.mul (memory.size) (i32.const 65536))) (i32.const 16))))))
      unreachable)
    (local.get $it))
  (func $forget (param i32) (global.set $at (i32.const 131072)))
  (func $reply (param $ptr i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 0)) (i32.store8 (i32.const 20) (i32.const 1))
    (i32.store8 (i32.const 24) (i32.const 0))
    (i32.store (i32.const 28) (local.get $ptr)) (i32.store (i32.const 32) (local.get $len)) (i32.const 16))
  (func $refuse (param $ptr i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (local.get $ptr)) (i32.store (i32.const 24) (local.get $len)) (i32.const 16))
  (func $byte (param $value i32) (result i32)
    (i32.store8 (i32.const 65536) (local.get $value)) (call $reply (i32.const 65536) (i32.const 1)))
  ;; 0, and then these bytes.
  (func $good (param $ptr i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 65536) (i32.const 0))
    (memory.copy (i32.const 65537) (local.get $ptr) (local.get $len))
    (call $reply (i32.const 65536) (i32.add (local.get $len) (i32.const 1))))
  ;; One more than the case of an error, and its text if `$text`.
  (func $bad (param $case i32) (param $text i32) (param $ptr i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 65536) (i32.add (i32.const 1) (local.get $case)))
    (if (i32.eqz (local.get $text)) (then (local.set $len (i32.const 0))))
    (memory.copy (i32.const 65537) (local.get $ptr) (local.get $len))
    (call $reply (i32.const 65536) (i32.add (local.get $len) (i32.const 1))))
"#;
