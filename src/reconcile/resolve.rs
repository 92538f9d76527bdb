//! Turns specs into verified artifacts in the content store, or says why there is none.
//!
//! Touches nothing that runs. What was resolved once is looked at by its files' identity only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::desired::spec::{Source, Spec};
use crate::desired::{DesiredState, Entry};
use crate::digest::Digest;
use crate::name::InstallationName;
use crate::resolution::{Candidate, Refusal, Resolution};
use crate::safe_open::{own_uid, wall_ns};
use crate::source::file::{self, FetchError, Files, Glance, Stamp};
use crate::state::Objects;
use crate::trust::{self, Expectation, StoredWasm, TrustPolicy};

/// Resolves specs and remembers the results.
pub struct Resolver {
    desired: PathBuf,
    glance: Option<Glance>,
    cache: BTreeMap<InstallationName, Cached>,
    resolutions: BTreeMap<InstallationName, Resolution>,
    sources_changed: bool,
}

/// What one spec resolved to, and what that depended on.
struct Cached {
    spec: Arc<Spec>,
    policy: Digest,
    stamp: Stamp,
    wasm_file: Option<String>,
    /// Seconds since 1970 from which the dates in the manifest say something else.
    until: Option<i64>,
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
    pub fn new(desired: &std::path::Path) -> Self {
        Self {
            desired: desired.to_owned(),
            glance: None,
            cache: BTreeMap::new(),
            resolutions: BTreeMap::new(),
            sources_changed: true,
        }
    }

    /// The outcome for every wanted spec. Reads and verifies only what changed since the last time.
    pub fn resolve(
        &mut self,
        desired: &DesiredState,
        policy: &TrustPolicy,
        objects: &Objects,
        now_unix_s: i64,
    ) -> &BTreeMap<InstallationName, Resolution> {
        // Anew in each pass: the directory may have been exchanged under the old handle.
        self.glance = Glance::new(&self.desired).ok();
        let policy_digest = policy.digest();
        for (name, entry) in &desired.entries {
            let Entry::Wanted { spec, .. } = entry else {
                // A held name's source must be looked at afresh once the file is mended.
                if self.cache.remove(name).is_some() {
                    self.resolutions.remove(name);
                }
                continue;
            };
            let Source::File { path } = &spec.source else {
                let refusal = Refusal::new("not-built", "this version fetches nothing from other machines");
                self.resolutions.insert(name.clone(), Resolution::Refused(refusal));
                continue;
            };
            if self.still_holds(name, spec, path, &policy_digest, now_unix_s) {
                continue;
            }
            let attempt = self.attempt(spec, path, policy, objects, now_unix_s);
            let Attempt { resolution, stamp, wasm_file, until } = attempt;
            let cached = Cached { spec: spec.clone(), policy: policy_digest, stamp, wasm_file, until };
            let before = self.cache.insert(name.clone(), cached);
            self.sources_changed |= before.is_none_or(|before| before.spec.source != spec.source);
            self.resolutions.insert(name.clone(), resolution);
        }
        if self.cache.len() > desired.entries.len() {
            self.sources_changed = true;
            self.cache.retain(|name, _| desired.entries.contains_key(name));
            self.resolutions.retain(|name, _| desired.entries.contains_key(name));
        }
        &self.resolutions
    }

    /// Makes the next pass resolve a name afresh: an object of its artifact was found missing.
    pub fn forget(&mut self, name: &InstallationName) {
        self.cache.remove(name);
    }

    /// Makes the next pass look at every source afresh, whatever is known of it.
    pub fn forget_all(&mut self) {
        self.cache.clear();
        self.sources_changed = true;
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

    fn still_holds(
        &mut self,
        name: &InstallationName,
        spec: &Arc<Spec>,
        path: &str,
        policy: &Digest,
        now_unix_s: i64,
    ) -> bool {
        let (Some(cached), Some(glance)) = (self.cache.get(name), self.glance.as_mut()) else { return false };
        let same_spec = Arc::ptr_eq(&cached.spec, spec)
            || (cached.spec.source == spec.source
                && cached.spec.package == spec.package
                && cached.spec.require == spec.require);
        same_spec
            && cached.policy == *policy
            && cached.until.is_none_or(|until| now_unix_s < until)
            && cached.stamp.still_holds(&glance.at(path, cached.wasm_file.as_deref()))
    }

    fn attempt(
        &mut self,
        spec: &Spec,
        path: &str,
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
                let candidate = Candidate {
                    artifact: artifact.identity().clone(),
                    permissions_max: artifact.permissions_max().clone(),
                    limits: artifact.limits().clone(),
                };
                let resolution = Resolution::Ready(Arc::new(candidate));
                Attempt { resolution, stamp: wasm.stamp, wasm_file, until }
            }
            Err(refusal) => failed(Resolution::Refused(refusal)),
        }
    }
}

/// The next date at which a manifest that is acceptable now says something else.
fn next_date(not_before: Option<i64>, expires: Option<i64>, now_unix_s: i64) -> Option<i64> {
    [not_before, expires].into_iter().flatten().filter(|date| *date > now_unix_s).min()
}

fn not_stored(error: &str) -> Refusal {
    Refusal::new("not-stored", format!("the artifact could not be copied into the content store: {error}"))
        .hint("the next pass tries again; what runs goes on")
}
