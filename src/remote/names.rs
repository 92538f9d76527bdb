//! Owns the names of the directories below `mirrors/`: what is remembered of a source, and where a repository is.

use std::collections::BTreeSet;

use crate::desired::spec::Source;
use crate::digest::Digest;

/// The name under which a source is remembered.
pub fn of_source(source: &Source) -> Digest {
    Digest::of(&serde_json::to_vec(source).expect("a source holds only strings"))
}

/// The directory of the mirror of a repository: one for all artifacts in it.
pub fn of_repository(url: &str) -> String {
    Digest::of(url.as_bytes()).hex()
}

/// The directory of the mirror of a repository of desired files. Another depth, and another lock.
pub fn of_desired(url: &str) -> String {
    format!("desired-{}", of_repository(url))
}

/// The directories that these sources need.
pub fn of_sources<'a>(sources: impl Iterator<Item = &'a Source>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources {
        match source {
            Source::File { .. } => continue,
            Source::Url { .. } => {}
            Source::Git { url, .. } => drop(names.insert(of_repository(url.as_str()))),
        }
        names.insert(of_source(source).hex());
    }
    names
}
