//! Owns how code comes to be: from memory, from the cache, or from the compiler by way of the cache.
//!
//! When it is made, and what becomes of a component that has none, is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use crate::digest::Digest;
use crate::engine::{CompiledComponent, Engine, FreshCode};
use crate::manifest::MAX_WASM_BYTES;
use crate::name::InstallationName;
use crate::resolution::Refusal;
use crate::state::{CacheKey, CacheLookup, CodeCache, Objects};
use crate::trust::VerifiedArtifact;
use crate::worker::{CompileFailure, CompileLimits, Workers};

use super::Tell;
use super::notice::Notice;

/// Compiled code in memory, by digest of the wasm: installations of one artifact share it.
#[derive(Default)]
struct CompiledCode(Mutex<BTreeMap<Digest, CompiledComponent>>);

impl CompiledCode {
    fn get(&self, wasm: &Digest) -> Option<CompiledComponent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(wasm).cloned()
    }

    fn put(&self, wasm: Digest, code: CompiledComponent) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(wasm, code);
    }
}

/// Makes code. Cheap to clone; all clones know the same code.
#[derive(Clone)]
pub struct CodeMaker {
    engine: Engine,
    objects: Objects,
    cache: CodeCache,
    workers: Workers,
    known: Arc<CompiledCode>,
    tell: Tell,
}

impl CodeMaker {
    /// Of wasm in `objects`, by way of `cache`.
    pub fn new(engine: Engine, (objects, cache): (Objects, CodeCache), workers: Workers, tell: Tell) -> Self {
        Self { engine, objects, cache, workers, known: Arc::default(), tell }
    }

    /// Forgets what no installation runs.
    pub fn keep_only(&self, wasm: &BTreeSet<Digest>) {
        self.known.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|digest, _| wasm.contains(digest));
    }

    /// What is in memory, or comes from the cache.
    pub fn known(&self, name: &InstallationName, artifact: &VerifiedArtifact) -> Option<CompiledComponent> {
        let wasm = artifact.identity().wasm;
        if let Some(code) = self.known.get(&wasm) {
            return Some(code);
        }
        let code = match self.cache.get(&self.key(wasm)) {
            CacheLookup::Hit(checked) => self.engine.load(artifact, &checked).ok()?,
            CacheLookup::Miss => return None,
            CacheLookup::Refused(why) => {
                let text =
                    format!("the cached code of {name} is not what this host wrote ({why}); it is compiled again");
                (self.tell)(&Notice::Info { text });
                return None;
            }
        };
        self.known.put(wasm, code.clone());
        Some(code)
    }

    /// Compiles it now and caches what comes of it.
    pub fn make(
        &self,
        name: &InstallationName,
        artifact: &VerifiedArtifact,
        limits: &CompileLimits,
        stop: &Arc<AtomicBool>,
    ) -> Result<CompiledComponent, Refusal> {
        let wasm = artifact.identity().wasm;
        let missing = |why: String| {
            Refusal::new("object-missing", format!("the wasm can't be read from the content store: {why}"))
                .hint("the next pass fetches it again from its source")
        };
        let stored = self.objects.get_object(&wasm, MAX_WASM_BYTES);
        let bytes =
            stored.map_err(|error| missing(error.to_string()))?.ok_or_else(|| missing("it is not there".into()))?;
        let code = self.workers.compile(&self.engine, artifact, &bytes, limits, stop).map_err(not_compiled)?;
        let code = self.load(name, artifact, &code)?;
        self.known.put(wasm, code.clone());
        Ok(code)
    }

    /// By way of the cache, where the code is mapped and not copied. A cache that can't be written costs memory now
    /// and time at the next start, and nothing else.
    fn load(
        &self,
        name: &InstallationName,
        artifact: &VerifiedArtifact,
        code: &FreshCode,
    ) -> Result<CompiledComponent, Refusal> {
        let key = self.key(artifact.identity().wasm);
        match self.cache.put(&key, code.bytes().to_vec()).wait() {
            Ok(()) => {
                if let CacheLookup::Hit(checked) = self.cache.get(&key)
                    && let Ok(loaded) = self.engine.load(artifact, &checked)
                {
                    return Ok(loaded);
                }
            }
            Err(error) => {
                let text = format!("the compiled code of {name} could not be cached: {error}");
                (self.tell)(&Notice::Info { text });
            }
        }
        self.engine.load_fresh(artifact, code).map_err(|error| {
            Refusal::new("not-loadable", format!("the code that was just compiled can't be loaded: {error}"))
                .hint("report this; the worker must be of the host's own version")
        })
    }

    fn key(&self, wasm: Digest) -> CacheKey {
        CacheKey { wasm, engine: self.engine.code_hash() }
    }
}

fn not_compiled(failure: CompileFailure) -> Refusal {
    let within = "the publisher must release a component that compiles";
    match failure {
        CompileFailure::Refused(error) => Refusal::new("not-compiled", error.to_string()).hint(within),
        CompileFailure::Worker(refusal) if refusal.hint.is_none() && refusal.code.starts_with("worker-") => {
            refusal.hint(format!("{within} within the limits; nothing else is affected"))
        }
        CompileFailure::Worker(refusal) => refusal,
    }
}
