//! Owns artifacts and desired files in Git repositories.

use super::remote::{FetchFailure, GitJob, Port, TreeJob};

/// Fetches an artifact.
pub fn fetch(job: &GitJob, port: &mut dyn Port) -> Result<(), FetchFailure> {
    let _ = (job, port);
    Err(FetchFailure::new("not-built", "this version fetches nothing from Git"))
}

/// Fetches the desired files of a commit.
pub fn fetch_tree(job: &TreeJob, port: &mut dyn Port) -> Result<(), FetchFailure> {
    let _ = (job, port);
    Err(FetchFailure::new("not-built", "this version fetches nothing from Git"))
}
