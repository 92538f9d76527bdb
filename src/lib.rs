#![forbid(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]
//! airssys-wasm: a declarative reconciling runtime for signed WebAssembly components.

#[cfg(feature = "runtime")]
pub mod actor;
pub mod desired;
pub mod diagnostic;
pub mod digest;
pub mod document;
#[cfg(feature = "runtime")]
pub mod engine;
pub mod escape;
#[cfg(test)]
pub(crate) mod golden;
pub mod hex;
#[cfg(feature = "runtime")]
pub mod host;
pub mod key;
pub mod limits;
#[cfg(feature = "runtime")]
pub mod logs;
pub mod manifest;
pub mod name;
pub mod permission;
pub mod quantity;
pub mod record;
pub mod resolution;
#[cfg(all(test, feature = "runtime"))]
pub(crate) mod test_guest;
#[cfg(test)]
pub(crate) mod test_scale;
