//! Owns artifacts and desired files in Git repositories.
//!
//! What is fetched stays in bare mirrors; nothing is ever checked out, so that hooks, filters, attributes and
//! submodules of a repository mean nothing here. Files are read from the tree of one commit, whose objects are hashed
//! again when they are read.
//!
//! | file | owns |
//! |---|---|
//! | `mirror` | the bare repositories on this machine, their lock, redoing what was interrupted |
//! | `locate` | which commit a job means, and whether anything must be fetched for it |
//! | `download` | one connection: references, packs, progress, limits |
//! | `http`, `line`, `ssh`, `known_hosts`, `resolve` | the two ways to another machine |
//! | `object`, `tree`, `history` | reading objects that somebody else wrote |

mod download;
mod failure;
mod history;
mod http;
mod known_hosts;
mod limits;
mod line;
mod locate;
mod meter;
mod mirror;
mod object;
mod resolve;
mod setup;
mod ssh;
mod tree;

use std::sync::Arc;

use super::remote::{FetchFailure, Found, GitJob, Port, TreeJob};

pub use limits::Limits;

use download::Reach;
use locate::Depth;
use meter::Meter;
use mirror::Mirror;
use object::Objects;

/// Fetches an artifact.
pub fn fetch(job: &GitJob, port: &mut dyn Port) -> Result<(), FetchFailure> {
    fetch_within(job, port, &Limits::default())
}

/// Fetches the desired files of a commit.
pub fn fetch_tree(job: &TreeJob, port: &mut dyn Port) -> Result<(), FetchFailure> {
    fetch_tree_within(job, port, &Limits::default())
}

/// [`fetch`] with other limits.
pub fn fetch_within(job: &GitJob, port: &mut dyn Port, limits: &Limits) -> Result<(), FetchFailure> {
    setup::once()?;
    let path = tree::check_path(&job.path)?;
    let reach = Reach { url: &job.url, access: &job.access, meter: Arc::new(Meter::new(limits)) };
    let mut mirror = Mirror::open(&job.mirror, "snapshot", job.offline, limits)?;
    let (commit, directory, artifact) = twice(&mut mirror, job.offline, |mirror| {
        let commit = locate::commit(mirror, &reach, &job.at, Depth::One, job.offline, port)?;
        let objects = Objects::of(mirror.repository())?;
        let directory = tree::directory(&objects, commit, &path)?;
        let artifact = tree::artifact(&objects, &directory)?;
        Ok((commit, directory, artifact))
    })?;
    let (manifest, signature) = artifact;
    let found = Found::Artifact { revision: Some(commit.to_string()), manifest, signature };
    let Some(wanted) = port.found(found)? else { return Ok(()) };
    let sent =
        Objects::of(mirror.repository()).and_then(|objects| tree::send_wasm(&objects, &directory, &wanted, port));
    sent.inspect_err(|error| mirror.distrust_after(error))
}

/// [`fetch_tree`] with other limits.
pub fn fetch_tree_within(job: &TreeJob, port: &mut dyn Port, limits: &Limits) -> Result<(), FetchFailure> {
    setup::once()?;
    let path = tree::check_path(&job.path)?;
    let reach = Reach { url: &job.url, access: &job.access, meter: Arc::new(Meter::new(limits)) };
    let mut mirror = Mirror::open(&job.mirror, "history", job.offline, limits)?;
    let found = twice(&mut mirror, job.offline, |mirror| {
        let commit = locate::commit(mirror, &reach, &job.at, Depth::Full, job.offline, port)?;
        let objects = Objects::of(mirror.repository())?;
        let directory = tree::directory(&objects, commit, &path)?;
        let (files, unreadable) = tree::desired_files(&objects, &directory)?;
        let ancestry = history::ancestry(mirror.repository(), &objects, job.since.as_deref(), commit)?;
        Ok(Found::Tree { commit: commit.to_string(), files, unreadable, ancestry })
    })?;
    port.found(found).map(|_| ())
}

/// Does it again in a new mirror when the old one turns out to be damaged.
fn twice<T>(
    mirror: &mut Mirror,
    offline: bool,
    mut attempt: impl FnMut(&mut Mirror) -> Result<T, FetchFailure>,
) -> Result<T, FetchFailure> {
    match attempt(mirror) {
        Err(error) if !offline && failure::asks_for_new_mirror(&error) => {
            mirror.make_anew()?;
            attempt(mirror).inspect_err(|error| mirror.distrust_after(error))
        }
        other => other,
    }
}
