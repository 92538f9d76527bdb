//! Owns the types of `airssys:component/draining`: a component hears that it is to stop.

/// The interface's name.
pub const INTERFACE: &str = "airssys:component/draining@0.1.0";

/// Parameters of `drain`.
pub type DrainParams = ();
/// Result of `drain`.
pub type DrainResults = ();
