//! Names what threads meet at, in one place, so that tests can put another scheduler under it.
//!
//! `tests::schedules` compiles the mailbox, the replies and the requests a second time on locks and atomics whose every
//! step it orders. `Arc` stays the standard one there: it orders nothing that those modules rely on.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
