//! Owns the remote sources of a reconciler: what is known of each, and the threads that fetch.
//!
//! No pass waits for a socket: it says what is wanted, and takes what is known. When something new is known, or
//! fails in a new way, whoever asked is told to look again. When what is fetched is [`crate::remote::table`]'s
//! decision; what may run is decided by `trust`, in each pass under the policy of that moment.

mod converse;
mod fetcher;
pub(super) mod known;
#[cfg(test)]
mod tests;
mod threads;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::sources::{SourceSettings, host_and_port};
use crate::desired::spec::{GitReference, Require, Source, Spec};
use crate::home::Home;
use crate::key::PublicKey;
use crate::name::{InstallationName, PackageName};
use crate::record::Record;
use crate::remote::memo::Memo;
use crate::remote::names;
use crate::remote::table::{Command, Place, Table, Ticket, Want};
use crate::remote_url::RemoteUrl;
use crate::state::Objects;
use crate::trust::TrustPolicy;

pub use converse::Failed;
pub use fetcher::{Conversation, Fetcher};
pub(super) use view::hint;
pub use view::{SourceView, source_text};

/// Longest time for which a command that looks once waits for its fetches.
pub const LONGEST_LOOK: Duration = Duration::from_secs(10 * 60);

/// What the host says about remote sources.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// Whose settings they are, and where mirrors of repositories are.
    pub home: Home,
    /// The host's settings.
    pub settings: SourceSettings,
    /// Whether nothing is fetched at all.
    pub offline: bool,
}

impl RemoteOptions {
    /// The parts with which sources are fetched.
    pub fn parts(self, fetcher: Arc<dyn Fetcher>, objects: Objects) -> RemoteParts {
        let Self { home, settings, offline } = self;
        let mirrors = home.state_dir().join("mirrors");
        RemoteParts { fetcher, objects, settings, home: home.root().to_owned(), mirrors, offline }
    }
}

/// What remote sources are fetched with.
pub struct RemoteParts {
    /// Speaks to the outside.
    pub fetcher: Arc<dyn Fetcher>,
    /// The content store.
    pub objects: Objects,
    /// The host's settings.
    pub settings: SourceSettings,
    /// Where relative paths of the settings start.
    pub home: PathBuf,
    /// Where mirrors of repositories are.
    pub mirrors: PathBuf,
    /// Whether nothing is fetched at all.
    pub offline: bool,
}

/// What a fetch is of: a source, and what its manifest must satisfy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceKey {
    /// The source.
    pub source: Source,
    package: PackageName,
    version: Option<String>,
    signer: Option<PublicKey>,
}

impl SourceKey {
    /// Of a spec.
    pub fn of(spec: &Spec) -> Self {
        let Require { version, signer } = &spec.require;
        Self {
            source: spec.source.clone(),
            package: spec.package.clone(),
            version: version.as_ref().map(ToString::to_string),
            signer: *signer,
        }
    }
}

/// The remote sources of one reconciler. Dropping it ends its fetches.
pub struct Remote {
    shared: Arc<Shared>,
}

/// What the passes and the fetching threads share.
struct Shared {
    parts: RemoteParts,
    begun: Instant,
    state: Mutex<State>,
    /// Told when the clock thread must look again, and when a fetch ended.
    moved: Condvar,
    changed: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    is_closing: AtomicBool,
}

struct State {
    table: Table<SourceKey>,
    /// One of the specs of each key: they agree in what a fetch needs.
    specs: BTreeMap<SourceKey, Arc<Spec>>,
    names: BTreeMap<InstallationName, SourceKey>,
    known: BTreeMap<Source, Arc<Memo>>,
    /// Sources of which nothing is remembered; so that it is not read again in each pass.
    unknown: BTreeSet<Source>,
    failed: BTreeMap<SourceKey, Failed>,
    unreachable: BTreeMap<String, Failed>,
    progress: BTreeMap<SourceKey, (String, u64)>,
    stops: BTreeMap<Ticket, Arc<AtomicBool>>,
    policy: Arc<TrustPolicy>,
    has_clock: bool,
    /// Whether somebody waits for the last fetch to end, whatever comes of it.
    is_awaited: bool,
}

impl Remote {
    /// Nothing is wanted yet, and no thread runs.
    pub fn new(parts: RemoteParts) -> Self {
        let state = State {
            table: Table::new(parts.settings.interval.0),
            specs: BTreeMap::new(),
            names: BTreeMap::new(),
            known: BTreeMap::new(),
            unknown: BTreeSet::new(),
            failed: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            progress: BTreeMap::new(),
            stops: BTreeMap::new(),
            policy: Arc::new(TrustPolicy::none()),
            has_clock: false,
            is_awaited: false,
        };
        let shared = Shared {
            parts,
            begun: Instant::now(),
            state: Mutex::new(state),
            moved: Condvar::new(),
            changed: Mutex::new(None),
            is_closing: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What is called, from any thread and for a moment, when a pass would see something new.
    pub fn on_change(&self, changed: Arc<dyn Fn() + Send + Sync>) {
        *self.shared.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(changed);
    }

    /// Exactly these specs with remote sources are wanted, each with what is committed under its name. Starts what is
    /// due and cancels what is no longer wanted.
    pub fn want(&self, specs: &[(&Arc<Spec>, Option<&Record>)], policy: &Arc<TrustPolicy>) {
        if specs.is_empty() && self.shared.state().specs.is_empty() {
            return;
        }
        let shared = &self.shared;
        let input = policy.digest();
        let mut state = shared.state();
        state.policy = policy.clone();
        state.specs.clear();
        state.names.clear();
        let mut wanted = BTreeMap::new();
        for (spec, committed) in specs {
            let key = SourceKey::of(spec);
            state.names.insert(spec.name.clone(), key.clone());
            let Some(url) = url(&spec.source).filter(|url| shared.parts.settings.allow(url)) else { continue };
            if shared.parts.settings.misses_pin(&spec.source) {
                continue;
            }
            state.recall(&shared.parts.objects, &key, *committed);
            let is_known = !state.table.has(&key, &input) && state.has_objects(&shared.parts.objects, &key.source);
            let place = Place {
                host: host_and_port(url),
                exclusive: matches!(spec.source, Source::Git { .. }).then(|| url.as_str().to_owned()),
            };
            state.specs.insert(key.clone(), Arc::clone(spec));
            wanted.insert(key, Want { place, input, is_known, is_fixed: is_fixed(&spec.source) });
        }
        state.forget_unwanted();
        let commands = state.table.want(wanted, shared.now_ms());
        state.cancel(&commands);
        if !shared.parts.offline && !state.specs.is_empty() {
            Shared::start_clock(shared, &mut state);
            Shared::start_due(shared, &mut state);
        }
        drop(state);
        shared.moved.notify_all();
    }

    /// Everything that may have changed is looked at now, whatever failed before.
    pub fn sync(&self) {
        let mut state = self.shared.state();
        state.table.sync(self.shared.now_ms());
        if !self.shared.parts.offline {
            Shared::start_due(&self.shared, &mut state);
        }
        drop(state);
        self.shared.moved.notify_all();
    }

    /// Whether fetches are under way or due. If so, whoever wants to know of changes is told when they have ended.
    pub fn is_fetching(&self) -> bool {
        let mut state = self.shared.state();
        state.is_awaited = !self.shared.parts.offline && state.table.is_busy(self.shared.now_ms());
        state.is_awaited
    }

    /// The directories below `mirrors/` of what is wanted.
    pub fn directories(&self) -> BTreeSet<String> {
        names::of_sources(self.shared.state().names.values().map(|key| &key.source))
    }

    /// Waits until every source that is wanted was tried, at most [`LONGEST_LOOK`]. For commands that look once.
    pub fn wait(&self, mut tell: impl FnMut(usize, usize)) {
        let until = Instant::now() + LONGEST_LOOK;
        let mut told = None;
        let mut state = self.shared.state();
        while !self.shared.parts.offline && Instant::now() < until && state.table.is_busy(self.shared.now_ms()) {
            let of = state.specs.len();
            let done = state.specs.keys().filter(|key| state.is_settled(key)).count();
            if told.replace((done, of)) != Some((done, of)) {
                tell(done, of);
            }
            let waited = self.shared.moved.wait_timeout(state, Duration::from_millis(200));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        let state = self.shared.state();
        state.stops.values().for_each(|stop| stop.store(true, Ordering::Relaxed));
        drop(state);
        self.shared.moved.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left a table in which its fetch never ended; what else there is still holds.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn tell_changed(&self) {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(changed) = changed {
            changed();
        }
    }
}

impl State {
    /// Takes what is remembered of a source, from its memo or from what is committed.
    fn recall(&mut self, objects: &Objects, key: &SourceKey, committed: Option<&Record>) {
        if self.known.contains_key(&key.source) {
            return;
        }
        let of_record = |record: &Record| Memo {
            revision: record.revision.clone(),
            manifest: record.artifact.manifest,
            signature: record.artifact.signature,
            wasm: record.artifact.wasm,
            at_unix_s: 0,
        };
        let committed = committed.filter(|record| record.spec.source == key.source).map(of_record);
        let memo = match self.unknown.contains(&key.source) {
            true => committed,
            false => objects.recall(&names::of_source(&key.source)).or(committed),
        };
        match memo {
            Some(memo) => drop(self.known.insert(key.source.clone(), Arc::new(memo))),
            None => drop(self.unknown.insert(key.source.clone())),
        }
    }

    fn has_objects(&self, objects: &Objects, source: &Source) -> bool {
        self.known.get(source).is_some_and(|memo| known::is_complete(objects, memo))
    }

    fn is_settled(&self, key: &SourceKey) -> bool {
        self.known.contains_key(&key.source) || self.failed.contains_key(key)
    }

    fn forget_unwanted(&mut self) {
        let Self { specs, failed, known, unknown, progress, unreachable, .. } = self;
        failed.retain(|key, _| specs.contains_key(key));
        progress.retain(|key, _| specs.contains_key(key));
        if known.len() + unknown.len() > specs.len() {
            let sources: BTreeSet<&Source> = specs.keys().map(|key| &key.source).collect();
            known.retain(|source, _| sources.contains(source));
            unknown.retain(|source| sources.contains(source));
        }
        if !unreachable.is_empty() {
            let hosts: BTreeSet<String> = specs.keys().filter_map(|key| host_and_port(url(&key.source)?)).collect();
            unreachable.retain(|host, _| hosts.contains(host));
        }
    }

    fn cancel(&mut self, commands: &[Command<SourceKey>]) {
        for command in commands {
            if let Command::Cancel { ticket } = command
                && let Some(stop) = self.stops.get(ticket)
            {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// The URL of a remote source.
fn url(source: &Source) -> Option<&RemoteUrl> {
    match source {
        Source::File { .. } => None,
        Source::Git { url, .. } | Source::Url { url, .. } => Some(url),
    }
}

/// Whether a source can never be anything else than what it is.
fn is_fixed(source: &Source) -> bool {
    match source {
        Source::File { .. } => false,
        Source::Git { at, .. } => matches!(at, GitReference::Commit(_)),
        Source::Url { sha256, .. } => sha256.is_some(),
    }
}
