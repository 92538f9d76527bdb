//! Components of a few lines, as component text.

/// A component that exports `lifecycle` only: it is ready at once and does nothing.
///
/// `mark` makes the bytes differ.
pub fn idle(mark: &str) -> Vec<u8> {
    lifecycle(mark, "(func (export \"init\") (param i32 i32) (result i32) i32.const 16)")
}

/// A component whose `init` traps.
pub fn traps_in_init(mark: &str) -> Vec<u8> {
    lifecycle(mark, "(func (export \"init\") (param i32 i32) (result i32) unreachable)")
}

/// A component whose `init` returns an error.
pub fn refuses_in_init(mark: &str) -> Vec<u8> {
    lifecycle(
        mark,
        "(data (i32.const 32) \"\\01\\00\\00\\00\\80\\00\\00\\00\\0a\\00\\00\\00\")
         (data (i32.const 128) \"not today!\")
         (func (export \"init\") (param i32 i32) (result i32) i32.const 32)",
    )
}

/// A component whose `init` never returns.
pub fn spins_in_init(mark: &str) -> Vec<u8> {
    lifecycle(mark, "(func (export \"init\") (param i32 i32) (result i32) (loop br 0) unreachable)")
}

fn lifecycle(mark: &str, init: &str) -> Vec<u8> {
    assert!(mark.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'), "{mark}");
    let text = format!(
        r#"(component
  (core module $m
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      global.get $next
      global.get $next local.get 3 i32.add i32.const 15 i32.add i32.const -16 i32.and global.set $next)
    {init}
    (func (export "shutdown"))
    (data (i32.const 1024) "{mark}"))
  (core instance $i (instantiate $m))
  (func $init (param "config" string) (result (result (error string)))
    (canon lift (core func $i "init") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func $shutdown (canon lift (core func $i "shutdown")))
  (instance $lifecycle (export "init" (func $init)) (export "shutdown" (func $shutdown)))
  (export "airssys:component/lifecycle@0.1.0" (instance $lifecycle)))"#
    );
    wat::parse_str(&text).expect("component text")
}
