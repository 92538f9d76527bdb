//! Finds the commit that a job means, and fetches it when the mirror does not hold it.

use git2::{ObjectType, Oid, Reference, Repository};
use sha2::{Digest as _, Sha256};

use crate::desired::spec::GitReference;
use crate::hex;
use crate::remote_url::Transport;
use crate::source::remote::{FetchFailure, Port};

use super::download::{Reach, connect};
use super::failure::{NOT_BY_ID, damaged, of_mirror};
use super::limits::MAX_TAG_DEPTH;
use super::mirror::Mirror;
use super::object::Objects;

/// How much of the history is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// The one commit.
    One,
    /// Everything that led to it.
    Full,
}

/// The commit that `at` means, with its tree in the mirror.
pub(super) fn commit(
    mirror: &Mirror,
    reach: &Reach<'_>,
    at: &GitReference,
    depth: Depth,
    offline: bool,
    port: &mut dyn Port,
) -> Result<Oid, FetchFailure> {
    let repository = mirror.repository();
    if let GitReference::Commit(id) = at {
        let id = Oid::from_str(id).map_err(|_| unknown(at, "it is no commit id"))?;
        if held(repository, &kept_commit(id)).is_some() {
            return Ok(id);
        }
    }
    if offline {
        return held(repository, &kept(at)).map_or_else(|| Err(missing_offline(at)), |id| peel(repository, id, at));
    }
    let id = match at {
        GitReference::Commit(id) => {
            let id = Oid::from_str(id).map_err(|_| unknown(at, "it is no commit id"))?;
            fetch_commit(mirror, reach, id, depth, port)?;
            id
        }
        GitReference::Tag(name) => fetch_name(mirror, reach, at, &format!("refs/tags/{name}"), depth, port)?,
        GitReference::Branch(name) => fetch_name(mirror, reach, at, &format!("refs/heads/{name}"), depth, port)?,
    };
    let commit = peel(repository, id, at)?;
    // The references say that everything below a commit is there: they are written last.
    keep(repository, &kept_commit(commit), commit)?;
    keep(repository, &kept(at), id)?;
    Ok(commit)
}

fn fetch_name(
    mirror: &Mirror,
    reach: &Reach<'_>,
    at: &GitReference,
    name: &str,
    depth: Depth,
    port: &mut dyn Port,
) -> Result<Oid, FetchFailure> {
    if !Reference::is_valid_name(name) || name.contains(['*', ':', '+']) {
        return Err(unknown(at, "no reference can have that name"));
    }
    connect(mirror, reach, port, |connection| {
        let heads = connection.heads()?;
        let id = heads.iter().find(|head| head.name == name).map(|head| head.id);
        let id = id.ok_or_else(|| unknown(at, "the repository has none of that name"))?;
        if held(mirror.repository(), &kept(at)) != Some(id) {
            connection.download(&[format!("{name}:refs/fetched")], depth)?;
        }
        Ok(id)
    })
}

/// Fetches one commit: by the reference that shows it, by its id where the server allows that, or with everything else.
fn fetch_commit(
    mirror: &Mirror,
    reach: &Reach<'_>,
    id: Oid,
    depth: Depth,
    port: &mut dyn Port,
) -> Result<(), FetchFailure> {
    let is_there = |mirror: &Mirror| mirror.repository().odb().is_ok_and(|odb| odb.exists(id));
    let by_id = connect(mirror, reach, port, |connection| {
        let heads = connection.heads()?;
        let spec = match heads.iter().find(|head| head.id == id && Reference::is_valid_name(&head.name)) {
            Some(head) => format!("{}:refs/fetched", head.name),
            // The transport for repositories on this machine says that it can, and can't.
            None if reach.url.transport() == Transport::File => return Err(FetchFailure::new(NOT_BY_ID, "")),
            None => format!("{id}:refs/fetched"),
        };
        connection.download(&[spec], depth)
    });
    if by_id.is_ok() && is_there(mirror) {
        return Ok(());
    }
    if let Err(error) = by_id
        && !matches!(error.code.as_str(), "connection-lost" | "bad-pack" | NOT_BY_ID)
    {
        return Err(error);
    }
    let all = ["refs/heads/*:refs/fetched/heads/*".to_owned(), "refs/tags/*:refs/fetched/tags/*".to_owned()];
    connect(mirror, reach, port, |connection| connection.download(&all, Depth::Full))?;
    if is_there(mirror) {
        return Ok(());
    }
    Err(FetchFailure::new("no-such-commit", format!("the repository shows no history with commit {id}"))
        .hint("push the commit, or a branch or tag that contains it"))
}

/// The commit behind any number of annotated tags up to the limit.
fn peel(repository: &Repository, mut id: Oid, at: &GitReference) -> Result<Oid, FetchFailure> {
    let objects = Objects::of(repository)?;
    for _ in 0..=MAX_TAG_DEPTH {
        match objects.header(id)?.0 {
            ObjectType::Commit => return Ok(id),
            ObjectType::Tag => id = objects.tagged(id)?,
            ObjectType::Tree | ObjectType::Blob => {
                return Err(FetchFailure::new("not-a-commit", format!("{at} of the repository names no commit")));
            }
            _ => return Err(damaged(id, "it is of no known kind")),
        }
    }
    Err(FetchFailure::new("not-a-commit", format!("{at} is a tag of a tag of a tag, more than {MAX_TAG_DEPTH} deep")))
}

/// The reference of the mirror under which a fetched name is kept: hashed, since two names of a repository at
/// different times may not fit into one file tree.
fn kept(at: &GitReference) -> String {
    match at {
        GitReference::Commit(id) => format!("refs/commits/{id}"),
        other => format!("refs/at/{}", hex::encode(&Sha256::digest(other.to_string().as_bytes()))),
    }
}

fn kept_commit(id: Oid) -> String {
    format!("refs/commits/{id}")
}

fn held(repository: &Repository, name: &str) -> Option<Oid> {
    repository.refname_to_id(name).ok()
}

fn keep(repository: &Repository, name: &str, id: Oid) -> Result<(), FetchFailure> {
    repository.reference(name, id, true, "").map(|_| ()).map_err(|error| of_mirror(&error))
}

fn unknown(at: &GitReference, reason: &str) -> FetchFailure {
    FetchFailure::new("no-such-reference", format!("there is no {at}: {reason}"))
        .hint("push it, or name one that `git ls-remote` lists")
}

fn missing_offline(at: &GitReference) -> FetchFailure {
    FetchFailure::new("offline", format!("nothing is connected to, and {at} of the repository was never fetched"))
        .hint("run it once without --offline")
}
