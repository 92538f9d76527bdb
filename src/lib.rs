#![forbid(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]
//! airssys-wasm: a declarative reconciling runtime for signed WebAssembly components.

pub mod desired;
pub mod diagnostic;
pub mod digest;
pub mod document;
pub mod escape;
pub mod floors;
pub mod generation;
pub mod hex;
#[cfg(feature = "runtime")]
pub mod home;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod permission;
pub mod quantity;
pub mod record;
pub mod resolution;
pub mod sealed;
#[cfg(feature = "runtime")]
pub mod state;
#[cfg(test)]
pub(crate) mod test_scale;
