//! The Git source against real repositories and real servers, good and hostile, all in this process.

mod file;
pub mod port;
pub mod repository;
