//! Owns the types of `airssys:component/reconfiguration`: a running component gets another config.

use std::sync::Arc;

/// The interface's name.
pub const INTERFACE: &str = "airssys:component/reconfiguration@0.1.0";

/// Parameters of `reconfigure`: the config as JSON.
pub type ReconfigureParams = (Arc<str>,);
/// Result of `reconfigure`.
pub type ReconfigureResults = (Result<(), String>,);
