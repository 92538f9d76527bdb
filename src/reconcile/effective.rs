//! Specs as they are fetched, which differ from what is written where the desired files are from a repository.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::desired::spec::{GitReference, Source, Spec};
use crate::desired::{DesiredState, Entry};
use crate::name::InstallationName;
use crate::remote_url::Transport;
use crate::resolution::Refusal;
use crate::snapshot::AppliedCommit;

/// The specs that are fetched, or why one can't be. What lies in a directory of this machine and is wanted as it is
/// written is not in it, so that a look at many of those makes no list of them.
pub(super) type Effective = BTreeMap<InstallationName, Result<Arc<Spec>, Refusal>>;

/// The specs as they are fetched: a file of a repository is one of the same commit.
pub(super) fn effective(desired: &DesiredState, commit: Option<&AppliedCommit>) -> Effective {
    let wanted = desired.entries.iter().filter_map(|(name, entry)| match entry {
        Entry::Wanted { spec, .. } => Some((name, spec)),
        Entry::Held(_) => None,
    });
    match commit {
        Some(commit) => wanted.map(|(name, spec)| (name.clone(), in_repository(spec, commit))).collect(),
        None => {
            let is_elsewhere = |spec: &Spec| !matches!(spec.source, Source::File { .. });
            let fetched = wanted.filter(|(_, spec)| is_elsewhere(spec));
            fetched.map(|(name, spec)| (name.clone(), Ok(Arc::clone(spec)))).collect()
        }
    }
}

/// A spec of a repository's desired file, as it is fetched.
fn in_repository(spec: &Arc<Spec>, commit: &AppliedCommit) -> Result<Arc<Spec>, Refusal> {
    match &spec.source {
        Source::File { path } => {
            let path = commit.repository.source_directory(path).map_err(|fault| {
                let message = format!("`source.file.path` {fault}");
                Refusal::new("path-refused", message)
                    .hint("the artifact of a desired file in a repository is in the same repository")
            })?;
            let at = GitReference::Commit(commit.commit.to_string());
            let source = Source::Git { url: commit.repository.url.clone(), at, path };
            Ok(Arc::new(Spec { source, ..Spec::clone(spec) }))
        }
        Source::Git { url, .. } | Source::Url { url, .. } if url.transport() == Transport::File => {
            let message = "a desired file in a repository may not name a file URL of this machine";
            Err(Refusal::new("path-refused", message).hint("use [source.file] with a path inside the repository"))
        }
        Source::Git { .. } | Source::Url { .. } => Ok(Arc::clone(spec)),
    }
}
