//! Sets libgit2 up, once in a process, before anything else touches it.

use std::sync::OnceLock;

use git2::{ConfigLevel, opts};

use crate::source::remote::FetchFailure;

use super::failure;
use super::limits::{Limits, MAPPED_BYTES, MAX_OBJECT_BYTES, MAX_PACK_OBJECTS, WINDOW_BYTES};

/// Makes libgit2 deaf to the machine that it runs on, and bounds what it takes.
pub(super) fn once() -> Result<(), FetchFailure> {
    static DONE: OnceLock<Result<(), git2::Error>> = OnceLock::new();
    DONE.get_or_init(set).as_ref().map_err(failure::of_mirror).copied()
}

fn set() -> Result<(), git2::Error> {
    let limits = Limits::default();
    let milliseconds = |time: std::time::Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    for level in [ConfigLevel::ProgramData, ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global] {
        // SAFETY: these change global state of libgit2 without a lock. `once` runs this in one thread before any other
        // function of this module reaches libgit2, and nothing else in this program uses it.
        // Without search paths no `insteadOf`, proxy, redirect or identity of the machine's users counts.
        unsafe { opts::set_search_path(level, "")? };
    }
    // SAFETY: as above.
    unsafe {
        opts::set_server_connect_timeout_in_milliseconds(milliseconds(limits.connect))?;
        opts::set_mwindow_size(WINDOW_BYTES)?;
        opts::set_mwindow_mapped_limit(MAPPED_BYTES)?;
        opts::set_server_timeout_in_milliseconds(milliseconds(limits.stall))?;
    }
    opts::strict_hash_verification(true);
    // No object is kept in memory between reads: every read hashes again.
    opts::enable_caching(false);
    set_size(libgit2_sys::GIT_OPT_SET_PACK_MAX_OBJECTS as i32, MAX_PACK_OBJECTS)?;
    set_size(libgit2_sys::GIT_OPT_SET_PACK_MAX_OBJECT_SIZE as i32, MAX_OBJECT_BYTES)?;
    Ok(())
}

fn set_size(option: i32, value: usize) -> Result<(), git2::Error> {
    // SAFETY: both options take one argument of type `size_t`, and this runs before any pack is read.
    match unsafe { libgit2_sys::git_libgit2_opts(option, value) } {
        0 => Ok(()),
        _ => Err(git2::Error::from_str("libgit2 does not take one of its limits")),
    }
}
