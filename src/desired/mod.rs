//! Owns the desired state: what a directory of files asks for.

pub mod spec;
