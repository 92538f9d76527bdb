//! Owns the types of `airssys:component/health`: a component says that it is well.

use wasmtime::component::{ComponentType, Lift};

/// The interface's name.
pub const INTERFACE: &str = "airssys:component/health@0.1.0";

/// What a component says of itself.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub enum HealthStatus {
    /// It does its work.
    #[component(name = "healthy")]
    Healthy,
    /// It does part of its work; what is missing.
    #[component(name = "degraded")]
    Degraded(String),
    /// It does not do its work; why.
    #[component(name = "unhealthy")]
    Unhealthy(String),
}

impl HealthStatus {
    /// The word in lists and documents.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded(_) => "degraded",
            Self::Unhealthy(_) => "unhealthy",
        }
    }

    /// What it says besides that.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Healthy => None,
            Self::Degraded(text) | Self::Unhealthy(text) => Some(text),
        }
    }

    /// The same with another text.
    pub fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Healthy => Self::Healthy,
            Self::Degraded(text) => Self::Degraded(change(text)),
            Self::Unhealthy(text) => Self::Unhealthy(change(text)),
        }
    }
}

/// Parameters of `check`.
pub type CheckParams = ();
/// Result of `check`.
pub type CheckResults = (HealthStatus,);
