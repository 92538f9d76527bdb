//! Owns loading code that was compiled before.
//!
//! Does not decide whether the code can be believed; the cache checks that, and hands in what it checked.

/// Placeholder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("placeholder")]
pub struct LoadError;
