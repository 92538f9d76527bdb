//! The Git source against real repositories and real servers, good and hostile, all in this process.

mod bombs;
pub mod certificates;
mod child;
mod file;
mod http;
mod pkt;
pub mod port;
pub mod repository;
pub mod server;
pub mod ssh;
