//! Tests of the desired state: what files mean, what is said about bad ones, and what a directory adds up to.

mod directory;
mod golden;
mod meaning;
mod strategies;
mod torn;
