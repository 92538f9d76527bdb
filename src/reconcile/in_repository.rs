//! Where the desired files are from a repository, a spec is not fetched as it is written: what names a file means one of
//! the same commit.

use std::sync::Arc;

use crate::desired::spec::{GitReference, Source, Spec};
use crate::remote_url::Transport;
use crate::resolution::Refusal;
use crate::snapshot::AppliedCommit;

/// A spec of a repository's desired file, as it is fetched.
pub(super) fn in_repository(spec: &Arc<Spec>, commit: &AppliedCommit) -> Result<Arc<Spec>, Refusal> {
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
