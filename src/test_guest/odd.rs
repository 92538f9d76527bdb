//! Owns what only guests that mean harm need: an allocator of their own, and calls that others don't make.

use std::fmt::Write as _;

use super::TestGuest;

/// What differs from all other guests.
#[derive(Debug, Clone, Default)]
pub(super) struct Odd {
    allocator: Option<String>,
    forgets: Option<String>,
    allocator_imports: String,
    calls: Vec<Call>,
}

/// A call of the host.
#[derive(Debug, Clone)]
struct Call {
    name: &'static str,
    canon: String,
    core: &'static str,
}

impl TestGuest {
    /// The body of `$realloc(old, old_size, align, size) -> i32`; `$honest(align, size) -> i32` is the usual one.
    pub(crate) fn allocator(mut self, body: &str) -> Self {
        self.odd.allocator = Some(body.to_owned());
        self
    }

    /// The body of what the host calls when it has read a result.
    pub(crate) fn forgets(mut self, body: &str) -> Self {
        self.odd.forgets = Some(body.to_owned());
        self
    }

    /// One more function of the host for the core module, `$name`: what is behind `canon`, and its core type.
    pub(crate) fn calls(mut self, name: &'static str, canon: &str, core: &'static str) -> Self {
        self.odd.calls.push(Call { name, canon: canon.to_owned(), core });
        self
    }

    /// One more function of the host that takes or gives lists or texts.
    pub(crate) fn calls_with_memory(self, name: &'static str, function: &str, core: &'static str) -> Self {
        let memory = r#"(memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))"#;
        self.calls(name, &format!("lower (func {function}) {memory}"), core)
    }

    /// Lets the allocator call `$log(level, ptr, len)`, in a memory that is another one's.
    pub(crate) fn allocator_logs(mut self) -> Self {
        self.odd.allocator_imports = r#"(import "host" "log" (func $log (param i32 i32 i32)))"#.to_owned();
        self
    }
}

impl Odd {
    /// What stands before the allocator's module.
    pub(super) fn before_libc(&self) -> &'static str {
        if self.allocator_imports.is_empty() { "" } else { LOG_FOR_THE_ALLOCATOR }
    }

    /// The allocator's module, made of the usual one.
    pub(super) fn libc(&self, usual: &str) -> String {
        let mut text = usual.to_owned();
        if let Some(body) = &self.allocator {
            let head = r#"(func (export "realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)"#;
            let honest = "(func $honest (param $align i32) (param $size i32) (result i32)";
            let named = head.replacen("(func", "(func $realloc", 1);
            let other = format!("{named} {body})\n{honest}");
            assert!(text.contains(head), "the allocator begins in another way");
            text = text.replacen(head, &other, 1);
        }
        if let Some(body) = &self.forgets {
            let usual = r#"(func (export "forget") (param i32) (global.set $at (i32.const 65536)))"#;
            assert!(text.contains(usual), "it forgets in another way");
            text = text.replacen(usual, &format!(r#"(func (export "forget") (param i32) {body})"#), 1);
        }
        if !self.allocator_imports.is_empty() {
            text = text.replacen(
                "(core module $libc_code",
                &format!("(core module $libc_code {}", self.allocator_imports),
                1,
            );
            let with = r#"(instantiate $libc_code (with "host" (instance (export "log" (func $allocator_log)))))"#;
            text = text.replacen("(instantiate $libc_code)", with, 1);
        }
        text
    }

    pub(super) fn lowered(&self) -> String {
        let define = |mut out: String, call: &Call| {
            let _ = writeln!(out, "(core func ${} (canon {}))", call.name, call.canon);
            out
        };
        self.calls.iter().fold(String::new(), define)
    }

    pub(super) fn core(&self) -> String {
        let import = |mut out: String, Call { name, core, .. }: &Call| {
            let _ = writeln!(out, r#"(import "host" "{name}" (func ${name} {core}))"#);
            out
        };
        self.calls.iter().fold(String::new(), import)
    }

    pub(super) fn exports(&self) -> String {
        let export = |mut out: String, Call { name, .. }: &Call| {
            let _ = write!(out, r#" (export "{name}" (func ${name}))"#);
            out
        };
        self.calls.iter().fold(String::new(), export)
    }
}

/// The usual one needs the memory that the allocator's own module makes.
const LOG_FOR_THE_ALLOCATOR: &str = r#"
(core module $early_code (memory (export "memory") 1))
(core instance $early (instantiate $early_code))
(core func $allocator_log (canon lower (func $log "log") (memory (core memory $early "memory"))))
"#;
