//! Owns desired state from a repository: which of the snapshots that `looks` brings is in force.
//!
//! No pass waits for a fetch: the snapshot in force stays until a whole new one is here and
//! [`crate::snapshot::judge`] lets it follow the commit that was applied last.

mod looks;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use looks::{Shared, Tree};

use crate::config::sources::SourceSettings;
use crate::desired::spec::GitReference;
use crate::desired::{self, DesiredState};
use crate::escape::escape;
use crate::home::Home;
use crate::name::InstallationName;
use crate::quantity::Millis;
use crate::resolution::Refusal;
use crate::saved::DesiredInput;
use crate::snapshot::{AppliedCommit, CommitId, Repository, Rules};
use crate::status::RepositoryStatus;
use crate::worker::Workers;

/// Longest time for which a command that looks once waits for a snapshot.
pub const LONGEST_LOOK: Duration = Duration::from_secs(10 * 60);

/// Desired files in a repository, and what the host asks of its commits.
#[derive(Debug, Clone)]
pub struct FromGit {
    /// The repository.
    pub repository: Repository,
    /// What may follow what.
    pub rules: Rules,
    /// How often it is looked at, in milliseconds; up to a tenth more, so that hosts don't look in step.
    pub interval: Millis,
}

/// What snapshots are fetched with.
pub struct SnapshotParts {
    /// What is fetched.
    pub from: FromGit,
    /// What fetches.
    pub workers: Workers,
    /// What the settings say about the repository's host.
    pub settings: SourceSettings,
    /// Whose settings these are, and where mirrors are.
    pub home: Home,
    /// Whether what the mirror holds must do.
    pub offline: bool,
}

/// The snapshots of one repository. Dropping it ends its fetches.
pub struct Snapshots {
    shared: Arc<Shared>,
    state: DesiredState,
    in_force: Option<InForce>,
}

/// The snapshot that passes work with.
struct InForce {
    tree: Arc<Tree>,
    commit: CommitId,
    /// The generation whose files were taken as last good ones.
    last_good_of: u64,
}

impl Snapshots {
    /// Nothing is fetched before the first [`Snapshots::read`].
    pub fn new(parts: SnapshotParts) -> Self {
        Self { shared: Arc::new(Shared::new(parts)), state: DesiredState::default(), in_force: None }
    }

    /// What is called, from any thread and for a moment, when a pass would see something new.
    pub fn on_change(&self, changed: Arc<dyn Fn() + Send + Sync>) {
        *self.shared.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(changed);
    }

    /// Looks at the repository now, whatever failed before.
    pub fn look_now(&self) {
        let mut slot = self.shared.slot();
        slot.wanted = true;
        slot.asked += 1;
        drop(slot);
        self.shared.moved.notify_all();
    }

    /// Whether a look is under way that is the first one or was asked for. Its end is told as a change.
    pub fn is_looking(&self) -> bool {
        let slot = self.shared.slot();
        slot.is_running && (slot.looks == 0 || slot.answered < slot.asked)
    }

    /// What status shows of the repository, from any thread.
    pub fn view(&self) -> RepositoryView {
        RepositoryView(self.shared.clone())
    }

    /// The desired state in force. `applied` is the commit that was applied last.
    pub fn read(
        &mut self,
        generation: u64,
        applied: Option<&AppliedCommit>,
        last_good: impl FnOnce() -> BTreeMap<String, InstallationName>,
    ) -> (&DesiredState, Vec<Refusal>) {
        let mut problems = Vec::new();
        let latest = {
            let mut slot = self.shared.slot();
            slot.since = applied.map(|applied| applied.commit);
            Shared::start(&self.shared, &mut slot);
            if let Some((failed, wait)) = &slot.failed {
                problems.push(self.shared.failure(failed, *wait));
            }
            slot.latest.clone()
        };
        let mut accepted = None;
        if let Some(tree) = latest {
            match self.shared.judge(&tree, applied) {
                Ok(commit) => accepted = Some((tree, commit)),
                // Beside a failure of a later look, which is about another commit than this one.
                Err(refusal) => problems.push(refusal),
            }
        }
        if let Some((tree, commit)) = accepted {
            let is_same = self
                .in_force
                .as_ref()
                .is_some_and(|now| Arc::ptr_eq(&now.tree, &tree) && now.last_good_of == generation);
            if !is_same {
                self.state = desired::assemble(&tree.files, &last_good());
            }
            self.in_force = Some(InForce { tree, commit: commit.commit, last_good_of: generation });
            self.state.commit = Some(commit.to_string());
        } else if self.in_force.is_none() && problems.is_empty() {
            let message = format!("{} is being fetched for the first time", self.shared.parts.from.repository);
            problems.push(Refusal::new("fetching", message).hint("what runs goes on meanwhile"));
        }
        (&self.state, problems)
    }

    /// Looks at the repository and waits for that; gives the commit in force. For commands that look once.
    pub fn read_once(
        &mut self,
        generation: u64,
        applied: Option<&AppliedCommit>,
        last_good: impl Fn() -> BTreeMap<String, InstallationName>,
    ) -> Option<AppliedCommit> {
        self.read(generation, applied, &last_good);
        self.wait();
        self.read(generation, applied, &last_good);
        self.applies()
    }

    /// The desired state as of the last look.
    pub fn state(&self) -> &DesiredState {
        &self.state
    }

    /// The commit in force, as the next generation remembers it.
    pub fn applies(&self) -> Option<AppliedCommit> {
        let commit = self.in_force.as_ref()?.commit;
        Some(AppliedCommit { commit, repository: self.repository().clone() })
    }

    /// The commit in force as an input of a plan.
    pub fn input(&self, is_complete: bool) -> DesiredInput {
        let Repository { url, at, path } = self.repository();
        let at = match at {
            GitReference::Branch(name) => format!("branch:{name}"),
            GitReference::Tag(name) => format!("tag:{name}"),
            GitReference::Commit(id) => format!("commit:{id}"),
        };
        let commit = self.in_force.as_ref().map(|now| now.commit);
        DesiredInput::Repository { url: url.to_string(), at, path: path.clone(), commit, is_complete }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.shared.parts.from.repository
    }

    /// Waits until the repository was looked at, at most [`LONGEST_LOOK`]. For commands that look once.
    pub fn wait(&self) {
        let until = Instant::now() + LONGEST_LOOK;
        let mut slot = self.shared.slot();
        while slot.looks == 0 && Instant::now() < until {
            let waited = self.shared.moved.wait_timeout(slot, Duration::from_millis(200));
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Shows how a repository stands.
#[derive(Clone)]
pub struct RepositoryView(Arc<Shared>);

impl RepositoryView {
    /// For status; `applied` is the commit that was applied last.
    pub fn status(&self, applied: Option<&AppliedCommit>) -> RepositoryStatus {
        let FromGit { repository, .. } = &self.0.parts.from;
        let slot = self.0.slot();
        let now = self.0.begun.elapsed();
        RepositoryStatus {
            repository: escape(repository.url.as_str()),
            reference: repository.at.to_string(),
            path: escape(&repository.path),
            applied: applied.map(|applied| applied.commit.to_string()),
            seen: slot.latest.as_ref().map(|tree| escape(&tree.commit)),
            looked_ms_ago: slot.looked.map(|at| millis(now.saturating_sub(at))),
            next_look_ms: slot.next.map(|at| millis(at.saturating_sub(now))),
            last_error: slot.failed.as_ref().map(|(failed, _)| failed.refusal.clone()),
            error_class: slot.failed.as_ref().map(|(failed, _)| failed.class.word().to_owned()),
        }
    }

    /// How it is watched, in a few words.
    pub fn watch_text(&self) -> String {
        format!("the repository, every {}", self.0.parts.from.interval)
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.moved.notify_all();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
