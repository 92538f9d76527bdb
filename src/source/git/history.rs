//! Finds out how a commit follows from an earlier one.

use git2::{Oid, Repository, Sort};

use crate::source::remote::{Ancestry, FetchFailure, RawCommit};

use super::failure::of_mirror;
use super::limits::{MAX_COMMITS, MAX_COMMITS_BYTES};
use super::object::Objects;

/// The commits from `since` to `commit`, newest first. An earlier commit that the repository no longer has is no
/// ancestor: the whole history was fetched.
pub(super) fn ancestry(
    repository: &Repository,
    objects: &Objects<'_>,
    since: Option<&str>,
    commit: Oid,
) -> Result<Ancestry, FetchFailure> {
    let raw = |id: Oid| -> Result<RawCommit, FetchFailure> {
        Ok(RawCommit { id: id.to_string(), bytes: objects.commit(id)? })
    };
    let Some(since) = since else {
        return Ok(Ancestry { is_fast_forward: true, commits: vec![raw(commit)?], is_cut: false });
    };
    let since = Oid::from_str(since)
        .map_err(|_| FetchFailure::new("path-refused", "the commit that was applied last is no commit id"))?;
    if since == commit {
        return Ok(Ancestry { is_fast_forward: true, commits: Vec::new(), is_cut: false });
    }
    let known = objects.commit(since).is_ok();
    let is_fast_forward = known && repository.graph_descendant_of(commit, since).map_err(|error| of_mirror(&error))?;
    let (mut commits, mut bytes) = (Vec::new(), 0);
    for id in newer(repository, known.then_some(since), commit).map_err(|error| of_mirror(&error))? {
        let next = raw(id.map_err(|error| of_mirror(&error))?)?;
        bytes += next.bytes.len();
        if commits.len() == MAX_COMMITS || bytes > MAX_COMMITS_BYTES {
            return Ok(Ancestry { is_fast_forward, commits, is_cut: true });
        }
        commits.push(next);
    }
    Ok(Ancestry { is_fast_forward, commits, is_cut: false })
}

fn newer(repository: &Repository, since: Option<Oid>, commit: Oid) -> Result<git2::Revwalk<'_>, git2::Error> {
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
    walk.push(commit)?;
    if let Some(since) = since {
        walk.hide(since)?;
    }
    Ok(walk)
}
