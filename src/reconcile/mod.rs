//! Keeps the running set equal to the desired directory.
//!
//! A pass reads, resolves, observes, plans and applies; [`Reconciler::pass`] is that sentence. What a
//! pass does is decided by `plan`; printing is left to whoever hands in a [`Tell`].

mod aftermath;
pub mod apply;
mod asked;
mod beside;
mod carry;
pub mod code;
mod collect;
pub mod fsck;
mod held;
mod in_repository;
mod look;
pub mod notice;
pub mod observe;
pub mod offline;
pub mod order;
pub mod past;
pub mod prepare;
pub mod probation;
mod purge;
pub mod read;
mod recent;
mod reconfigure;
mod recorder;
pub mod remote;
pub mod repository;
pub mod resolve;
pub mod rollback;
pub mod room;
pub mod secrets;
mod surfaces;
pub mod waves;

mod pass;
mod reconciler;
mod start;
#[cfg(test)]
mod tests;
mod told;
mod turns;
mod word;

use std::sync::Arc;

pub use crate::host::SURFACE as HOST_SURFACE;
pub use asked::{Lifted, PauseError};
pub use held::why_not;
pub use pass::Pass;
pub use reconciler::{Parts, Reconciler, unix_now_s};
pub use recorder::MAX_WAITING_RECORDS;
pub use surfaces::surface_of;

/// Where notices go. Called from the loop's thread; must not block for long.
pub type Tell = Arc<dyn Fn(&notice::Notice) + Send + Sync>;
