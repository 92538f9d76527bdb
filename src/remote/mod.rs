//! Owns the bookkeeping of remote sources: which one is fetched when, and what is remembered of it.
//!
//! Pure. Threads, sockets and files are `reconcile`'s; the time and the randomness are arguments.

pub mod memo;
pub mod names;
pub mod table;
