//! Owns where artifacts come from: how a source becomes untrusted bytes and a verdict about trying again.
//!
//! Verifies nothing and decides nothing about trust; the bytes go to `trust` as they are.

pub mod credentials;
pub mod file;
pub mod git;
pub mod remote;
pub mod secret;
pub mod trust_file;
pub mod url;
