//! Turns specs into verified artifacts in the content store, or says why there is none.
//!
//! Touches nothing that runs. What was resolved once is looked at by its files' identity only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::in_repository::in_repository;
use super::observe::Targeted;
use super::remote::{Remote, SourceKey, SourceView, hint, known, source_text};
use super::surfaces::{NoSurface, Surfaces};
use crate::desired::spec::{Source, Spec};
use crate::desired::{DesiredState, Entry};
use crate::digest::Digest;
use crate::name::InstallationName;
use crate::record::Record;
use crate::remote::memo::Memo;
use crate::resolution::{Candidate, Class, Refusal, Resolution};
use crate::safe_open::{own_uid, wall_ns};
use crate::snapshot::AppliedCommit;
use crate::source::file::{self, FetchError, Files, Glance, Stamp};
use crate::state::Objects;
use crate::trust::{self, Expectation, StoredWasm, TrustPolicy};

/// Code of what is on its way.
pub const FETCHING: &str = "fetching";

/// Resolves specs and remembers the results.
pub struct Resolver {
    desired: PathBuf,
    glance: Option<Glance>,
    /// Where `[source.file]` leads when the desired files are from a repository.
    commit: Option<AppliedCommit>,
    cache: BTreeMap<InstallationName, Cached>,
    remote: Arc<Remote>,
    remote_cache: BTreeMap<InstallationName, RemoteCached>,
    resolutions: BTreeMap<InstallationName, Resolution>,
    /// Whether something that lies here could not be had in the last look.
    lacks_file: bool,
    sources_changed: bool,
    surfaces: Surfaces,
}

/// What one spec resolved to, and what that depended on.
struct Cached {
    spec: Arc<Spec>,
    policy: Digest,
    stamp: Stamp,
    wasm_file: Option<String>,
    /// Seconds since 1970 from which the dates in the manifest say something else.
    until: Option<i64>,
    is_unavailable: bool,
}

impl Cached {
    /// Whether a look at the same files came to the same, so that they alone are looked at.
    fn is_of(&self, spec: &Arc<Spec>, policy: &Digest, now_unix_s: i64) -> bool {
        let same_spec = Arc::ptr_eq(&self.spec, spec)
            || (self.spec.source == spec.source
                && self.spec.package == spec.package
                && self.spec.require == spec.require);
        same_spec && self.policy == *policy && self.until.is_none_or(|until| now_unix_s < until)
    }

    fn looks_the_same(&self, glance: &mut Glance) -> bool {
        let Source::File { path } = &self.spec.source else { return false };
        self.stamp.still_holds(&glance.at(path, self.wasm_file.as_deref()))
    }
}

/// What a remote source came to, and what that depended on.
struct RemoteCached {
    key: SourceKey,
    policy: Digest,
    memo: Arc<Memo>,
    until: Option<i64>,
    resolution: Resolution,
}

/// One attempt: its outcome and what it depended on.
struct Attempt {
    resolution: Resolution,
    stamp: Stamp,
    wasm_file: Option<String>,
    until: Option<i64>,
}

impl Resolver {
    /// Paths in desired files are relative to `desired`.
    pub fn new(desired: &std::path::Path, remote: Arc<Remote>) -> Self {
        Self {
            desired: desired.to_owned(),
            glance: None,
            commit: None,
            cache: BTreeMap::new(),
            remote,
            remote_cache: BTreeMap::new(),
            resolutions: BTreeMap::new(),
            lacks_file: false,
            sources_changed: true,
            surfaces: Surfaces::default(),
        }
    }

    /// The outcome for every wanted spec. Reads and verifies only what changed since the last time.
    pub fn resolve(
        &mut self,
        desired: &DesiredState,
        committed: &BTreeMap<InstallationName, Targeted>,
        policy: &Arc<TrustPolicy>,
        objects: &Objects,
        now_unix_s: i64,
    ) -> &BTreeMap<InstallationName, Resolution> {
        // Anew in each pass: the directory may have been exchanged under the old handle.
        self.glance = Glance::new(&self.desired).ok();
        let policy_digest = policy.digest();
        let record = |name| committed.get(name).map(|targeted: &Targeted| &*targeted.record);
        let mut remote = Vec::new();
        for (name, entry) in self.changed(desired, &policy_digest, now_unix_s) {
            let Entry::Wanted { spec, .. } = entry else {
                // A held name's source must be looked at afresh once the file is mended.
                self.cache.remove(name);
                self.remote_cache.remove(name);
                self.resolutions.remove(name);
                continue;
            };
            let is_here = matches!(spec.source, Source::File { .. });
            let fetched = self.commit.as_ref().map(|commit| in_repository(spec, commit)).transpose();
            let spec = match &fetched {
                Ok(fetched) => fetched.as_ref().unwrap_or(spec),
                Err(refusal) => {
                    self.resolutions.insert(name.clone(), Resolution::Refused(refusal.clone()));
                    continue;
                }
            };
            let Source::File { path } = &spec.source else {
                self.sources_changed |= self.cache.remove(name).is_some();
                remote.push((name, Arc::clone(spec), is_here));
                continue;
            };
            let attempt = self.attempt((spec, path, record(name)), policy, objects, now_unix_s);
            self.keep(name, spec, policy_digest, attempt);
        }
        let wanted: Vec<_> = remote.iter().map(|(name, spec, _)| (spec, record(name))).collect();
        self.remote.want(&wanted, policy);
        for (name, spec, is_here) in &remote {
            let resolution =
                self.resolve_remote((name, spec, record(name)), &policy_digest, policy, objects, now_unix_s);
            self.lacks_file |= *is_here && is_unavailable(&resolution);
            self.resolutions.insert((*name).clone(), resolution);
        }
        if self.resolutions.len() > desired.entries.len() {
            self.sources_changed = true;
            self.cache.retain(|name, _| desired.entries.contains_key(name));
            self.remote_cache.retain(|name, _| desired.entries.contains_key(name));
            self.resolutions.retain(|name, _| desired.entries.contains_key(name));
        }
        &self.resolutions
    }

    /// Makes the next pass resolve a name afresh: an object of its artifact was found missing.
    pub fn forget(&mut self, name: &InstallationName) {
        self.cache.remove(name);
        self.remote_cache.remove(name);
    }

    /// Makes the next pass look at every source afresh, whatever is known of it.
    pub fn forget_all(&mut self) {
        self.cache.clear();
        self.remote_cache.clear();
        self.remote.sync();
        self.sources_changed = true;
    }

    /// The sources on other machines.
    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// What the last look came to.
    pub fn resolutions(&self) -> &BTreeMap<InstallationName, Resolution> {
        &self.resolutions
    }

    /// Whether something that lies on this machine could not be had in the last look, so that only time tells when it can.
    pub fn lacks_file(&self) -> bool {
        self.lacks_file
    }

    /// From now on desired files are those of this commit: paths in them stay inside it.
    pub fn set_commit(&mut self, commit: Option<AppliedCommit>) {
        self.commit = commit;
    }

    /// What is known of a remote source, as the policy of now sees it. Waits for nothing.
    fn resolve_remote(
        &mut self,
        (name, spec, committed): (&InstallationName, &Spec, Option<&Record>),
        policy_digest: &Digest,
        policy: &TrustPolicy,
        objects: &Objects,
        now_unix_s: i64,
    ) -> Resolution {
        if self.remote.misses_pin(&spec.source) {
            return Resolution::Refused(not_pinned(&spec.source));
        }
        let key = SourceKey::of(spec);
        let Some(SourceView { known: memo, failed }) = self.remote.view(&key) else {
            return Resolution::Refused(not_allowed(&spec.source));
        };
        if let Some(failed) = failed.as_ref().filter(|failed| failed.is_verdict) {
            let Refusal { code, message, hint } = failed.refusal.clone();
            return Resolution::Refused(Refusal { code, message, hint });
        }
        let Some(memo) = memo else { return self.not_known(&spec.source, failed.map(|f| (f.refusal, f.class))) };
        if let Some(cached) = self.remote_cache.get(name).filter(|cached| {
            cached.key == key
                && cached.policy == *policy_digest
                && Arc::ptr_eq(&cached.memo, &memo)
                && cached.until.is_none_or(|until| now_unix_s < until)
        }) {
            return cached.resolution.clone();
        }
        let (resolution, until) =
            match known::admit(spec, &memo, policy, (objects, &mut self.surfaces, committed), now_unix_s) {
                Ok(known::Admitted { candidate, until }) => (Resolution::Ready(Arc::new(candidate)), until),
                Err(known::NotAdmitted::Refused(refusal)) => {
                    let until = (refusal.code == "not-yet-valid").then_some(now_unix_s);
                    (Resolution::Refused(refusal), until)
                }
                Err(known::NotAdmitted::Lost) => {
                    self.remote.lost(&spec.source);
                    return self.not_known(&spec.source, None);
                }
            };
        let policy = *policy_digest;
        let cached = RemoteCached { key, policy, memo, until, resolution: resolution.clone() };
        self.remote_cache.insert(name.clone(), cached);
        resolution
    }

    fn not_known(&self, source: &Source, failed: Option<(Refusal, Class)>) -> Resolution {
        if self.remote.is_offline() {
            let message = format!("{} is not in the content store, and nothing is fetched", source_text(source));
            let hint = "leave out --offline, or copy the artifact here and name it in [source.file]";
            return Resolution::Unavailable(Refusal::new("offline", message).hint(hint));
        }
        match failed {
            Some((Refusal { code, message, hint: own }, class)) => {
                let refusal = Refusal { code, message, hint: Some(hint(own.as_deref(), class)) };
                match class {
                    Class::Stalled => Resolution::Refused(refusal),
                    Class::Transient | Class::Bug => Resolution::Unavailable(refusal),
                }
            }
            None => {
                let message = format!("{} is being fetched", source_text(source));
                Resolution::Unavailable(Refusal::new(FETCHING, message))
            }
        }
    }

    /// The directories of all sources, to be watched; none when they are those of the last time.
    pub fn changed_directories(&mut self) -> Option<BTreeSet<PathBuf>> {
        if !std::mem::take(&mut self.sources_changed) {
            return None;
        }
        let path = |cached: &Cached| match &cached.spec.source {
            Source::File { path } => Some(file::directory(&self.desired, path)),
            Source::Git { .. } | Source::Url { .. } => None,
        };
        Some(self.cache.values().filter_map(path).collect())
    }

    /// Looks at the files of every entry and gives those entries for which that is not enough. Both maps are in the order
    /// of names, so none is looked up.
    fn changed<'d>(
        &mut self,
        desired: &'d DesiredState,
        policy: &Digest,
        now_unix_s: i64,
    ) -> Vec<(&'d InstallationName, &'d Entry)> {
        self.lacks_file = false;
        // Files of a commit are those of its snapshot, and none that lies here.
        let (Some(glance), None) = (self.glance.as_mut(), &self.commit) else {
            return desired.entries.iter().collect();
        };
        let mut cache = self.cache.iter().peekable();
        let mut changed = Vec::new();
        for (name, entry) in &desired.entries {
            while cache.next_if(|(before, _)| *before < name).is_some() {}
            let cached = cache.next_if(|(same, _)| *same == name).map(|(_, cached)| cached);
            match (entry, cached) {
                (Entry::Wanted { spec, .. }, Some(cached))
                    if cached.is_of(spec, policy, now_unix_s) && cached.looks_the_same(glance) =>
                {
                    self.lacks_file |= cached.is_unavailable;
                }
                _ => changed.push((name, entry)),
            }
        }
        changed
    }

    fn keep(&mut self, name: &InstallationName, spec: &Arc<Spec>, policy: Digest, attempt: Attempt) {
        let Attempt { resolution, stamp, wasm_file, until } = attempt;
        let is_unavailable = is_unavailable(&resolution);
        self.lacks_file |= is_unavailable;
        let cached = Cached { spec: spec.clone(), policy, stamp, wasm_file, until, is_unavailable };
        let before = self.cache.insert(name.clone(), cached);
        self.sources_changed |= before.is_none_or(|before| before.spec.source != spec.source);
        self.resolutions.insert(name.clone(), resolution);
    }

    fn attempt(
        &mut self,
        (spec, path, committed): (&Spec, &str, Option<&Record>),
        policy: &TrustPolicy,
        objects: &Objects,
        now_unix_s: i64,
    ) -> Attempt {
        let before = self.glance.as_mut().map_or_else(Files::default, |glance| glance.at(path, None));
        let failed = |resolution| Attempt {
            resolution,
            stamp: Stamp::of_attempt(before, wall_ns()),
            wasm_file: None,
            until: None,
        };
        let fetched = match file::fetch(&file::directory(&self.desired, path), own_uid()) {
            Ok(fetched) => fetched,
            Err(error) => return failed(error.into()),
        };
        let expectation = Expectation { package: &spec.package, require: &spec.require };
        let verified =
            match trust::verify_manifest(policy, &expectation, fetched.manifest(), fetched.signature(), now_unix_s) {
                Ok(verified) => verified,
                Err(refusal) => {
                    // A date that is all that stands in the way is looked at with every pass.
                    let until = (refusal.code == "not-yet-valid").then_some(now_unix_s);
                    return Attempt { until, ..failed(Resolution::Refused(refusal)) };
                }
            };
        let wasm_reference = verified.manifest().wasm.clone();
        let wasm_file = Some(wasm_reference.file.clone());
        let until = next_date(verified.manifest().not_before, verified.manifest().expires, now_unix_s);
        let seen = self.glance.as_mut().map_or_else(Files::default, |glance| glance.at(path, wasm_file.as_deref()));
        let failed = |resolution| Attempt {
            resolution,
            stamp: Stamp::of_attempt(seen, wall_ns()),
            wasm_file: wasm_file.clone(),
            until,
        };
        let mut sink = objects.sink();
        let wasm = match fetched.copy_wasm(&wasm_reference, &mut sink) {
            Ok(wasm) => wasm,
            // The store may have room again: its state is no part of the stamp, so this is tried each time.
            Err(error @ FetchError::NotStored { .. }) => {
                return Attempt { until: Some(now_unix_s), ..failed(error.into()) };
            }
            Err(error) => return failed(error.into()),
        };
        let head = sink.head();
        let stored = sink
            .keep()
            .and_then(|_| objects.put_object(fetched.manifest()))
            .and_then(|_| objects.put_object(fetched.signature()));
        if let Err(error) = stored {
            let refusal = not_stored(&error.to_string());
            return Attempt { until: Some(now_unix_s), ..failed(Resolution::Unavailable(refusal)) };
        }
        match verified.admit(&StoredWasm::streamed(wasm.digest, wasm.size, &head)) {
            Ok(artifact) => {
                let surface = match self.surfaces.of(artifact.identity(), committed, objects) {
                    Ok(surface) => surface,
                    Err(NoSurface::Refused(refusal)) => return failed(Resolution::Refused(refusal)),
                    Err(NoSurface::Lost) => {
                        let refusal = not_stored("it was stored, and can't be read back");
                        return Attempt { until: Some(now_unix_s), ..failed(Resolution::Unavailable(refusal)) };
                    }
                };
                let candidate = Candidate {
                    artifact: artifact.identity().clone(),
                    permissions_max: artifact.permissions_max().clone(),
                    limits: artifact.limits().clone(),
                    revision: None,
                    surface,
                };
                let resolution = Resolution::Ready(Arc::new(candidate));
                Attempt { resolution, stamp: wasm.stamp, wasm_file, until }
            }
            Err(refusal) => failed(Resolution::Refused(refusal)),
        }
    }
}

fn is_unavailable(resolution: &Resolution) -> bool {
    matches!(resolution, Resolution::Unavailable(_))
}

/// A host that the settings do not allow.
fn not_allowed(source: &Source) -> Refusal {
    let message = format!("{} is on a host that the settings do not allow", source_text(source));
    Refusal::new("host-not-allowed", message).hint("add the host to `allow` in [sources] of config.toml, and restart")
}

/// A source without the pin that the settings ask for.
fn not_pinned(source: &Source) -> Refusal {
    let message = format!(
        "{} is not pinned, and `require-pin` of this host's config.toml takes nothing unpinned from behind a URL",
        source_text(source)
    );
    Refusal::new("pin-required", message)
        .hint("add `sha256 = \"…\"` below [source.url]: the digest of the wasm that its publisher names")
}

/// The next date at which a manifest that is acceptable now says something else.
pub(super) fn next_date(not_before: Option<i64>, expires: Option<i64>, now_unix_s: i64) -> Option<i64> {
    [not_before, expires].into_iter().flatten().filter(|date| *date > now_unix_s).min()
}

fn not_stored(error: &str) -> Refusal {
    Refusal::new("not-stored", format!("the artifact could not be copied into the content store: {error}"))
        .hint("the next pass tries again; what runs goes on")
}
