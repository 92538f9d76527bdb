//! Owns the permission grammar: what a component asks for, an operator grants and a publisher is capped to.

use serde::{Deserialize, Serialize};

/// A set of permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {}

/// What an operator grants, and what is declined on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What is granted.
    pub permissions: Permissions,
}
