//! Owns the types of `airssys:component/migration`: a component takes over what another version of it stored.

use std::sync::Arc;

/// The interface's name.
pub const INTERFACE: &str = "airssys:component/migration@0.1.0";

/// Parameters of `migrate`: the version that wrote last.
pub type MigrateParams = (Arc<str>,);
/// Result of `migrate`.
pub type MigrateResults = (Result<(), String>,);
