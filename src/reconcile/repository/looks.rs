//! Looks at the repository of the desired files, on a thread of its own: fetches whole snapshots and keeps the newest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::remote::Failed;
use super::{FromGit, SnapshotParts, millis};
use crate::backoff::{Backoff, Jitter, Retries};
use crate::desired::spec::GitReference;
use crate::desired::{DesiredFile, file};
use crate::diagnostic::Diagnostic;
use crate::remote::names;
use crate::resolution::{Class, Refusal};
use crate::snapshot::{self, AppliedCommit, CommitId, DesiredCommit, Offer};
use crate::source::credentials;
use crate::source::remote::{Ancestry, FetchJob, Found, TreeJob};
use crate::worker::FetchLimits;

/// A whole snapshot as it was fetched. Untrusted.
pub(super) struct Tree {
    pub(super) commit: String,
    pub(super) files: BTreeMap<String, DesiredFile>,
    pub(super) ancestry: Ancestry,
}

pub(super) struct Shared {
    pub(super) parts: SnapshotParts,
    pub(super) begun: Instant,
    pub(super) slot: Mutex<Slot>,
    pub(super) moved: Condvar,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) changed: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

#[derive(Default)]
pub(super) struct Slot {
    pub(super) latest: Option<Arc<Tree>>,
    pub(super) failed: Option<(Failed, Option<Duration>)>,
    pub(super) since: Option<CommitId>,
    pub(super) is_running: bool,
    pub(super) looks: u64,
    pub(super) wanted: bool,
    /// Looks that were asked for, and up to which of them one began afterwards and ended.
    pub(super) asked: u64,
    pub(super) answered: u64,
    /// When the last look ended and when the next one is due, since the beginning.
    pub(super) looked: Option<Duration>,
    pub(super) next: Option<Duration>,
}

impl Shared {
    pub(super) fn new(parts: SnapshotParts) -> Self {
        Self {
            parts,
            begun: Instant::now(),
            slot: Mutex::new(Slot::default()),
            moved: Condvar::new(),
            stop: Arc::new(AtomicBool::new(false)),
            changed: Mutex::new(None),
        }
    }

    pub(super) fn slot(&self) -> MutexGuard<'_, Slot> {
        // A thread that panicked left a slot without its result; what else there is still holds.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn judge(&self, tree: &Tree, applied: Option<&AppliedCommit>) -> Result<DesiredCommit, Refusal> {
        let FromGit { repository, rules, .. } = &self.parts.from;
        let commits = tree.ancestry.commits.iter().map(|raw| (raw.id.as_str(), raw.bytes.as_slice()));
        let offer = Offer {
            repository,
            commit: &tree.commit,
            is_fast_forward: tree.ancestry.is_fast_forward,
            commits: commits.collect(),
            is_cut: tree.ancestry.is_cut,
        };
        let accepted = snapshot::judge(&offer, applied, rules)?;
        if tree.files.is_empty() {
            let message = format!("{repository} holds no desired file at {}", accepted.commit.short());
            let hint = "what runs goes on: an empty directory is never acted on; check --path, or stop the \
                components one by one";
            return Err(Refusal::new("empty-directory", message).hint(hint));
        }
        Ok(accepted)
    }

    /// A failed look, with its class and the next try.
    pub(super) fn failure(&self, failed: &Failed, wait: Option<Duration>) -> Refusal {
        let Refusal { code, message, hint } = &failed.refusal;
        let next = match wait {
            Some(at) => {
                let left = at.saturating_sub(self.begun.elapsed());
                format!("; the next try is in {}", crate::status::text::span(millis(left)))
            }
            None => String::new(),
        };
        let kind = match failed.class {
            Class::Transient => "",
            Class::Stalled => " (it stays so until something changes)",
            Class::Bug => " (a fault of this program)",
        };
        let message = format!("{}: {message}{kind}{next}", self.parts.from.repository);
        let hint = hint.as_deref().unwrap_or("check the network, the URL and the credentials in config.toml");
        Refusal::new(code, message).hint(format!("what runs goes on\n{hint}"))
    }

    /// Starts the fetching thread, once.
    pub(super) fn start(shared: &Arc<Self>, slot: &mut Slot) {
        if slot.is_running {
            return;
        }
        slot.is_running = true;
        let own = shared.clone();
        let spawned = std::thread::Builder::new().name("snapshots".into()).spawn(move || own.run());
        if let Err(error) = spawned {
            slot.is_running = false;
            let failure = crate::source::remote::FetchFailure::new(
                "worker-failed",
                format!("the thread that fetches snapshots can't be started: {error}"),
            );
            slot.failed = Some((failure.into(), None));
        }
    }

    fn run(&self) {
        let mut retries = Retries::new(Backoff::SOURCE);
        // What was applied last is in the mirror: it is in force before anything is connected to.
        let since = self.slot().since;
        if let Some(applied) = since
            && let Ok(tree) = self.fetch(GitReference::Commit(applied.to_string()), since, true)
        {
            self.slot().latest = Some(Arc::new(tree));
            self.tell_changed();
        }
        while !self.stop.load(Ordering::Relaxed) {
            let (since, answering) = {
                let mut slot = self.slot();
                slot.next = None;
                (slot.since, slot.asked)
            };
            let fetched = self.fetch(self.parts.from.repository.at.clone(), since, self.parts.offline);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let jitter = getrandom::u32().unwrap_or(u32::MAX / 2);
            let next_ms = {
                let mut slot = self.slot();
                slot.looks += 1;
                slot.answered = answering;
                slot.looked = Some(self.begun.elapsed());
                let interval = self.parts.from.interval.0;
                let regular = self.now_ms() + interval + interval / 10 * u64::from(jitter % 1_000) / 1_000;
                let due = match fetched {
                    Ok(tree) => {
                        retries.reset();
                        slot.failed = None;
                        let is_same = slot
                            .latest
                            .as_ref()
                            .is_some_and(|now| now.commit == tree.commit && now.ancestry == tree.ancestry);
                        if !is_same {
                            slot.latest = Some(Arc::new(tree));
                        }
                        regular
                    }
                    Err(failed) => {
                        let due = match failed.class {
                            Class::Stalled => regular,
                            Class::Transient | Class::Bug => {
                                let asked = failed.retry_after_ms.map_or(0, |wait| self.now_ms().saturating_add(wait));
                                retries.failed(self.now_ms(), Jitter(jitter)).max(asked)
                            }
                        };
                        slot.failed = Some((failed, Some(Duration::from_millis(due))));
                        due
                    }
                };
                slot.next = Some(Duration::from_millis(due));
                due
            };
            self.tell_changed();
            self.moved.notify_all();
            self.sleep_until(next_ms);
        }
    }

    fn sleep_until(&self, due_ms: u64) {
        let mut slot = self.slot();
        while !self.stop.load(Ordering::Relaxed) && !slot.wanted && self.now_ms() < due_ms {
            let wait = Duration::from_millis(due_ms - self.now_ms().min(due_ms)).min(Duration::from_secs(1));
            slot = self.moved.wait_timeout(slot, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        slot.wanted = false;
    }

    fn fetch(&self, at: GitReference, since: Option<CommitId>, offline: bool) -> Result<Tree, Failed> {
        let SnapshotParts { from, workers, settings, home, .. } = &self.parts;
        let url = &from.repository.url;
        // Offline nobody is spoken to, and no secret is needed.
        let access = credentials::access(settings.of(url).filter(|_| !offline), home.root())?;
        let job = FetchJob::Tree(TreeJob {
            url: url.clone(),
            at,
            path: from.repository.path.clone(),
            mirror: home.state_dir().join("mirrors").join(names::of_desired(url.as_str())),
            offline,
            since: since.map(|since| since.to_string()),
            access,
        });
        let limits = FetchLimits::of(&job);
        let fetching = workers.fetch(job, &limits, &self.stop, Box::new(|_, _| {}))?;
        let Found::Tree { commit, files, unreadable, ancestry } = fetching.found() else {
            let message = "an artifact was found where desired files were wanted";
            return Err(crate::source::remote::FetchFailure::new("worker-protocol", message).into());
        };
        Ok(Tree { commit: commit.clone(), files: self.parse(files, unreadable), ancestry: ancestry.clone() })
    }

    /// The files by the paths that messages show.
    fn parse(&self, files: &[(String, Vec<u8>)], unreadable: &[(String, String)]) -> BTreeMap<String, DesiredFile> {
        let repository = &self.parts.from.repository;
        let parsed = files.iter().map(|(name, bytes)| {
            let path = repository.file(name);
            let parsed = DesiredFile::Parsed(Arc::new(file::parse(&path, bytes)));
            (path, parsed)
        });
        let unreadable = unreadable.iter().map(|(name, reason)| {
            let path = repository.file(name);
            let reason = crate::escape::escape(reason);
            let problem = Diagnostic::whole_file(&path, format!("it can't be read: {reason}"));
            (path, DesiredFile::Unreadable(problem.hint("commit it as a regular file")))
        });
        parsed.chain(unreadable).collect()
    }

    fn tell_changed(&self) {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(changed) = changed {
            changed();
        }
    }
}
