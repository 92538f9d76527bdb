#![forbid(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]
//! airssys-wasm: a declarative reconciling runtime for signed WebAssembly components.

pub mod desired;
pub mod diagnostic;
pub mod digest;
pub mod document;
pub mod escape;
#[cfg(test)]
pub(crate) mod golden;
pub mod hex;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod permission;
pub mod quantity;
pub mod record;
pub mod resolution;
#[cfg(test)]
pub(crate) mod test_scale;
pub mod timestamp;
pub mod trust;
