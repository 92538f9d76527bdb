//! Owns the exports of a test's guest besides those that most have: an interface is exported when its body is given.

use std::fmt::Write as _;

use super::{TestGuest, Texts};

/// Bodies of functions; none: not exported.
#[derive(Debug, Clone, Default)]
pub(super) struct Extras {
    check: Option<String>,
    migrate: Option<String>,
    drain: Option<String>,
    reconfigure: Option<String>,
    execute: Option<String>,
}

impl TestGuest {
    /// `check() -> i32`; `$health(case, text)` makes the answer.
    pub(crate) fn health(mut self, body: &str) -> Self {
        self.extras.check = Some(body.to_owned());
        self
    }

    /// `migrate(from_ptr, from_len) -> i32`.
    pub(crate) fn migrate(mut self, body: &str) -> Self {
        self.extras.migrate = Some(body.to_owned());
        self
    }

    /// `reconfigure(config_ptr, config_len) -> i32`.
    pub(crate) fn reconfigure(mut self, body: &str) -> Self {
        self.extras.reconfigure = Some(body.to_owned());
        self
    }

    /// `execute(name_ptr, name_len, codec, ptr, len) -> i32`; `$done(ptr, len)` makes an answer in codec `$codec`, and
    /// `$undone(case, text)` an error. Local `$i` is free.
    pub(crate) fn operations(mut self, body: &str) -> Self {
        self.extras.execute = Some(body.to_owned());
        self
    }

    /// `drain()`.
    pub(crate) fn drain(mut self, body: &str) -> Self {
        self.extras.drain = Some(body.to_owned());
        self
    }
}

impl Extras {
    /// The functions of the core module.
    pub(super) fn core(&self, texts: &mut Texts) -> String {
        let mut out = String::from(HELPERS);
        let mut add = |head: &str, body: &Option<String>| {
            if let Some(body) = body {
                let _ = writeln!(out, "(func (export {head} {})", texts.place(body));
            }
        };
        add(r#""check") (result i32)"#, &self.check);
        add(r#""migrate") (param $ptr i32) (param $len i32) (result i32)"#, &self.migrate);
        add(r#""drain")"#, &self.drain);
        add(
            r#""execute") (param $name i32) (param $name_len i32) (param $codec i32) (param $ptr i32) (param $len i32)
               (result i32) (local $i i32)"#,
            &self.execute,
        );
        add(r#""reconfigure") (param $ptr i32) (param $len i32) (result i32)"#, &self.reconfigure);
        out
    }

    /// The exports of the component.
    pub(super) fn component(&self) -> String {
        let all = [
            (&self.check, HEALTH),
            (&self.migrate, MIGRATION),
            (&self.drain, DRAINING),
            (&self.reconfigure, RECONFIGURATION),
            (&self.execute, OPERATIONS),
        ];
        all.into_iter().filter(|(body, _)| body.is_some()).map(|(_, text)| text).collect()
    }
}

const HELPERS: &str = r#"
(func $done (param $codec i32) (param $ptr i32) (param $len i32) (result i32)
  (i32.store8 (i32.const 16) (i32.const 0)) (i32.store8 (i32.const 20) (local.get $codec))
  (i32.store (i32.const 24) (local.get $ptr)) (i32.store (i32.const 28) (local.get $len)) (i32.const 16))
(func $undone (param $case i32) (param $ptr i32) (param $len i32) (result i32)
  (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (local.get $case))
  (i32.store (i32.const 24) (local.get $ptr)) (i32.store (i32.const 28) (local.get $len)) (i32.const 16))
(func $health (param $case i32) (param $ptr i32) (param $len i32) (result i32)
  (i32.store8 (i32.const 16) (local.get $case))
  (i32.store (i32.const 20) (local.get $ptr)) (i32.store (i32.const 24) (local.get $len)) (i32.const 16))
"#;

const HEALTH: &str = r#"
(type $health0 (variant (case "healthy") (case "degraded" string) (case "unhealthy" string)))
(func $check (result $health0)
  (canon lift (core func $main "check") (memory (core memory $libc "memory")) (post-return (core func $libc "forget"))))
(component $health_names
  (type $h0 (variant (case "healthy") (case "degraded" string) (case "unhealthy" string)))
  (import "status" (type $h (eq $h0)))
  (import "check" (func $f (result $h)))
  (export $health_status "health-status" (type $h))
  (export "check" (func $f) (func (result $health_status))))
(instance $health (instantiate $health_names (with "status" (type $health0)) (with "check" (func $check))))
(export "airssys:component/health@0.1.0" (instance $health))
"#;

const MIGRATION: &str = r#"
(func $migrate (param "from-version" string) (result (result (error string)))
  (canon lift (core func $main "migrate") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
    (post-return (core func $libc "forget"))))
(instance $migration (export "migrate" (func $migrate)))
(export "airssys:component/migration@0.1.0" (instance $migration))
"#;

const DRAINING: &str = r#"
(func $drain (canon lift (core func $main "drain")))
(instance $draining (export "drain" (func $drain)))
(export "airssys:component/draining@0.1.0" (instance $draining))
"#;

const OPERATIONS: &str = r#"
(type $operation_error0 (variant (case "unknown-operation") (case "invalid-input" string) (case "failed" string)))
(func $execute (param "operation" string) (param "input" $body) (result (result $body (error $operation_error0)))
  (canon lift (core func $main "execute") (memory (core memory $libc "memory"))
    (realloc (core func $libc "realloc")) (post-return (core func $libc "forget"))))
(component $operation_names
  (type $e0 (variant (case "unknown-operation") (case "invalid-input" string) (case "failed" string)))
  (import "error" (type $e (eq $e0)))
  (type $codec0 (enum "raw" "json" "msgpack" "borsh" "cbor" "protobuf" "bincode" "yaml"))
  (import "codec" (type $codec (eq $codec0)))
  (type $body0 (record (field "codec" $codec) (field "data" (list u8))))
  (import "body" (type $body (eq $body0)))
  (import "execute" (func $f (param "operation" string) (param "input" $body) (result (result $body (error $e)))))
  (export $operation_error "operation-error" (type $e))
  (export "execute" (func $f)
    (func (param "operation" string) (param "input" $body) (result (result $body (error $operation_error))))))
(instance $operations (instantiate $operation_names
  (with "error" (type $operation_error0)) (with "codec" (type $codec)) (with "body" (type $body))
  (with "execute" (func $execute))))
(export "airssys:component/operations@0.1.0" (instance $operations))
"#;

const RECONFIGURATION: &str = r#"
(func $reconfigure (param "config" string) (result (result (error string)))
  (canon lift (core func $main "reconfigure") (memory (core memory $libc "memory"))
    (realloc (core func $libc "realloc")) (post-return (core func $libc "forget"))))
(instance $reconfiguration (export "reconfigure" (func $reconfigure)))
(export "airssys:component/reconfiguration@0.1.0" (instance $reconfiguration))
"#;
