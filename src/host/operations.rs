//! Owns the types of `airssys:component/operations`: a component is called from outside.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lift};

use super::contract::Body;

/// The interface's name.
pub const INTERFACE: &str = "airssys:component/operations@0.1.0";

/// Why an operation was not carried out, in the component's words.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub enum OperationError {
    /// The component has no operation of this name.
    #[component(name = "unknown-operation")]
    UnknownOperation,
    /// The input can't be used; why.
    #[component(name = "invalid-input")]
    InvalidInput(String),
    /// It was tried and failed; why.
    #[component(name = "failed")]
    Failed(String),
}

/// Parameters of `execute`: which operation, and its input.
pub type ExecuteParams = (Arc<str>, Body);
/// Result of `execute`.
pub type ExecuteResults = (Result<Body, OperationError>,);
