//! Owns noticing change: which desired files there are, which are settled, and when to look again.
//!
//! Reads no file's meaning. Events are hints: whatever they say, a list of the directory decides.
//!
//! One pass of a loop: [`Watcher::refresh`], [`Lister::list`](listing::Lister::list),
//! [`Wake::take_completed`], [`FileCache::observe`](files::FileCache::observe), read what it asks for,
//! [`Watcher::set_artifact_dirs`], [`Wake::take_touched`], and at the end [`Wake::look_again_after`].

pub mod debounce;
pub mod files;
pub mod listing;

mod backend;
mod entries;
mod filesystem;
mod inbox;
mod interest;
mod wake;
mod watcher;

pub use inbox::{Cause, Touched};
pub use wake::Wake;
pub use watcher::{FULL_LIST_INTERVAL, POLL_INTERVAL, PollCause, WatchMode, Watcher};
