//! Owns desired state from a repository: a thread that fetches snapshots, and which of them is in force.
//!
//! No pass waits for a fetch: the snapshot in force stays until a whole new one is here and
//! [`snapshot::judge`] lets it follow the commit that was applied last.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::remote::Failed;
use crate::backoff::{Backoff, Jitter, Retries};
use crate::config::sources::SourceSettings;
use crate::desired::spec::GitReference;
use crate::desired::{self, DesiredFile, DesiredState, file};
use crate::diagnostic::Diagnostic;
use crate::escape::escape;
use crate::home::Home;
use crate::name::InstallationName;
use crate::quantity::Millis;
use crate::remote::names;
use crate::resolution::{Class, Refusal};
use crate::saved::DesiredInput;
use crate::snapshot::{self, AppliedCommit, CommitId, DesiredCommit, Offer, Repository, Rules};
use crate::source::credentials;
use crate::source::remote::{Ancestry, FetchJob, Found, TreeJob};
use crate::status::RepositoryStatus;
use crate::worker::{FetchLimits, Workers};

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

/// A whole snapshot as it was fetched. Untrusted.
struct Tree {
    commit: String,
    files: BTreeMap<String, DesiredFile>,
    ancestry: Ancestry,
}

struct Shared {
    parts: SnapshotParts,
    begun: Instant,
    slot: Mutex<Slot>,
    moved: Condvar,
    stop: Arc<AtomicBool>,
    changed: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

#[derive(Default)]
struct Slot {
    latest: Option<Arc<Tree>>,
    failed: Option<(Failed, Option<Duration>)>,
    since: Option<CommitId>,
    is_running: bool,
    looks: u64,
    wanted: bool,
    /// Looks that were asked for, and up to which of them one began afterwards and ended.
    asked: u64,
    answered: u64,
    /// When the last look ended and when the next one is due, since the beginning.
    looked: Option<Duration>,
    next: Option<Duration>,
}

impl Snapshots {
    /// Nothing is fetched before the first [`Snapshots::read`].
    pub fn new(parts: SnapshotParts) -> Self {
        let shared = Shared {
            parts,
            begun: Instant::now(),
            slot: Mutex::new(Slot::default()),
            moved: Condvar::new(),
            stop: Arc::new(AtomicBool::new(false)),
            changed: Mutex::new(None),
        };
        Self { shared: Arc::new(shared), state: DesiredState::default(), in_force: None }
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

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        // A thread that panicked left a slot without its result; what else there is still holds.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn judge(&self, tree: &Tree, applied: Option<&AppliedCommit>) -> Result<DesiredCommit, Refusal> {
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
    fn failure(&self, failed: &Failed, wait: Option<Duration>) -> Refusal {
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
    fn start(shared: &Arc<Self>, slot: &mut Slot) {
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

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
