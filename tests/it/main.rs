//! The one integration test binary.

mod architecture;
mod components;
mod crash;
mod dependencies;
mod harness;
mod run;
mod scale;
