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

/// An idle component with more imports and exports, as component text before and after its own. Its functions
/// `$nothing` and `$number` take nothing and a `u32`.
pub fn idle_with(mark: &str, imports: &str, exports: &str) -> Vec<u8> {
    let init = "(func (export \"init\") (param i32 i32) (result i32) i32.const 16)";
    lifecycle_with(mark, init, imports, exports)
}

/// The text that exports an interface of functions such as `"place" (func $nothing)`.
pub fn exported(interface: &str, functions: &[&str]) -> String {
    let functions: String = functions.iter().map(|function| format!("(export {function})")).collect();
    format!("(instance $x {functions}) (export \"{interface}\" (instance $x))")
}

fn lifecycle(mark: &str, init: &str) -> Vec<u8> {
    lifecycle_with(mark, init, "", "")
}

fn lifecycle_with(mark: &str, init: &str, imports: &str, exports: &str) -> Vec<u8> {
    assert!(mark.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'), "{mark}");
    let text = format!(
        r#"(component
  {imports}
  (core module $m
    (memory (export "memory") 1)
    (func (export "number") (param i32))
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
  (func $nothing (canon lift (core func $i "shutdown")))
  (func $number (param "n" u32) (canon lift (core func $i "number")))
  {exports}
  (export "airssys:component/lifecycle@0.1.0" (instance $lifecycle)))"#
    );
    wat::parse_str(&text).expect("component text")
}

/// What a component does once it found its secrets in its config.
pub enum Ending {
    /// It starts.
    Ready,
    /// Its `init` returns the whole config as an error.
    Refuses,
    /// Its `init` logs the whole config and traps.
    Traps,
}

/// A component that starts only with these texts in its config, and tells its config wherever it can. The texts are
/// masked, so that they are not part of its bytes.
pub fn tells_its_config(wanted: &[&str], ending: &Ending) -> Vec<u8> {
    let masked = |text: &str| text.bytes().map(|b| format!("\\{:02x}", b ^ 0x20)).collect::<String>();
    let at = |index: usize| 1024 * (index + 1);
    let data: String =
        wanted.iter().enumerate().map(|(i, t)| format!("(data (i32.const {}) \"{}\")\n", at(i), masked(t))).collect();
    let has = |(i, text): (usize, &&str)| {
        let (at, len) = (at(i), text.len());
        format!(
            "(if (i32.eqz (call $has (local.get 0) (local.get 1) (i32.const {at}) (i32.const {len}))) (then unreachable))\n"
        )
    };
    let checks: String = wanted.iter().enumerate().map(has).collect();
    let end = match ending {
        Ending::Ready => "i32.const 16",
        Ending::Refuses => {
            "(i32.store8 (i32.const 32) (i32.const 1)) (i32.store (i32.const 36) (local.get 0))
             (i32.store (i32.const 40) (local.get 1)) i32.const 32"
        }
        Ending::Traps => "unreachable",
    };
    let text = format!(
        r#"(component
  (import "airssys:component/log@0.1.0" (instance $log
    (type $l (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "message" string)))))
  (core module $libc_code
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      global.get $next
      global.get $next local.get 3 i32.add i32.const 15 i32.add i32.const -16 i32.and global.set $next))
  (core instance $libc (instantiate $libc_code))
  (core func $log (canon lower (func $log "log") (memory (core memory $libc "memory"))))
  (core module $code
    (import "libc" "memory" (memory 1))
    (import "host" "log" (func $log (param i32 i32 i32)))
    {data}
    (func $has (param $ptr i32) (param $len i32) (param $mask i32) (param $mask_len i32) (result i32)
      (local $i i32) (local $j i32)
      (loop $places
        (local.set $j (i32.const 0))
        (loop $bytes
          (if (i32.eq (local.get $j) (local.get $mask_len)) (then (return (i32.const 1))))
          (if (i32.lt_u (i32.add (local.get $i) (local.get $j)) (local.get $len))
            (then (if (i32.eq
                (i32.load8_u (i32.add (local.get $ptr) (i32.add (local.get $i) (local.get $j))))
                (i32.xor (i32.const 32) (i32.load8_u (i32.add (local.get $mask) (local.get $j)))))
              (then (local.set $j (i32.add (local.get $j) (i32.const 1))) (br $bytes))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $places (i32.lt_u (local.get $i) (local.get $len))))
      (i32.const 0))
    (func (export "init") (param i32 i32) (result i32)
      (call $log (i32.const 2) (local.get 0) (local.get 1))
      {checks}
      {end})
    (func (export "shutdown")))
  (core instance $i (instantiate $code (with "libc" (instance $libc)) (with "host" (instance (export "log" (func $log))))))
  (func $init (param "config" string) (result (result (error string)))
    (canon lift (core func $i "init") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (func $shutdown (canon lift (core func $i "shutdown")))
  (instance $lifecycle (export "init" (func $init)) (export "shutdown" (func $shutdown)))
  (export "airssys:component/lifecycle@0.1.0" (instance $lifecycle)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}
