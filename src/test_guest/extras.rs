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
        ];
        all.into_iter().filter(|(body, _)| body.is_some()).map(|(_, text)| text).collect()
    }
}

const HELPERS: &str = r#"
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

const RECONFIGURATION: &str = r#"
(func $reconfigure (param "config" string) (result (result (error string)))
  (canon lift (core func $main "reconfigure") (memory (core memory $libc "memory"))
    (realloc (core func $libc "realloc")) (post-return (core func $libc "forget"))))
(instance $reconfiguration (export "reconfigure" (func $reconfigure)))
(export "airssys:component/reconfiguration@0.1.0" (instance $reconfiguration))
"#;
