//! Removes what is not kept, between passes: once an hour, and when an operator asks.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::quantity::ByteSize;
use crate::remote::names;
use crate::resolution::Refusal;
use crate::state::{Keep, MIN_OBJECT_AGE_S, SourcesInUse, StateError};
use crate::status::collected::Collected;

use super::notice::Notice;
use super::reconciler::Reconciler;

/// Time between two looks at what is not kept.
const COLLECT_EVERY: Duration = Duration::from_secs(3600);

impl Reconciler {
    /// Removes what is not kept, at most once an hour. Not during a pass.
    pub fn collect_garbage(&mut self) {
        if self.now().saturating_sub(self.collected_at) < COLLECT_EVERY {
            return;
        }
        match self.collect_now(true) {
            Ok(collected) => self.tell_quota(&collected),
            Err(error) => {
                let why =
                    Refusal::new("not-collected", format!("old generations and objects could not be removed: {error}"));
                (self.parts.tell)(&Notice::Problem { why });
            }
        }
    }

    /// Removes what is not kept, or only says what that would be. Not during a pass.
    pub fn collect_now(&mut self, removes: bool) -> Result<Collected, StateError> {
        if removes {
            self.collected_at = self.now();
        }
        let sources = SourcesInUse {
            names: self.sources_in_use(),
            unused_for: Duration::from_secs(MIN_OBJECT_AGE_S),
            are_fetched: !self.resolver.remote().is_offline(),
        };
        let keep = Keep { removes, sources, ..Keep::with(SystemTime::now(), &self.parts.keep) };
        self.parts.store.collect(keep).wait()
    }

    /// What is wanted, and what is committed: a file that can't be read for a while keeps its source.
    fn sources_in_use(&self) -> BTreeSet<String> {
        let committed = self.committed.records.values().map(|targeted| &targeted.record.spec.source);
        let mut names = names::of_sources(committed);
        names.append(&mut self.resolver.remote().directories());
        names.extend(self.snapshots().map(|snapshots| names::of_desired(snapshots.repository().url.as_str())));
        names
    }

    fn tell_quota(&self, collected: &Collected) {
        let (left, most) = (ByteSize(collected.kept_mirror_bytes), self.parts.keep.mirrors_max);
        if left > most {
            let message = format!("mirrors of repositories take {left}, more than `mirrors-max` ({most}) allows");
            let why = Refusal::new("mirrors-full", message).hint(
                "those that are left are in use or hold the desired files; raise `mirrors-max` in [state] of config.toml",
            );
            (self.parts.tell)(&Notice::Problem { why });
        }
    }
}
