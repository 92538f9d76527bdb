//! Owns loading code that was compiled before.
//!
//! Does not decide whether the code can be believed; the cache checks that, and hands in what it checked.

use wasmtime::component::Component;

use super::{CompiledComponent, Engine};
use crate::digest::Digest;
use crate::escape::Escaped;
use crate::state::CachedCode;
use crate::trust::VerifiedArtifact;

/// Why checked code was not loaded. It is compiled again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It was made from another wasm than the artifact's.
    #[error("the code was compiled from {found}, and {wanted} is wanted")]
    OtherWasm {
        /// From what it was compiled.
        found: Digest,
        /// What is to run.
        wanted: Digest,
    },
    /// The engine does not take it.
    #[error("the engine does not take the code: {}", Escaped(.0))]
    Refused(String),
}

impl Engine {
    /// Loads code from the cache for a verified artifact. Maps it; reads little of it.
    pub fn load(&self, artifact: &VerifiedArtifact, code: &CachedCode) -> Result<CompiledComponent, LoadError> {
        let wanted = artifact.identity().wasm;
        if code.wasm() != wanted {
            return Err(LoadError::OtherWasm { found: code.wasm(), wanted });
        }
        // SAFETY: a `CachedCode` exists only for an open file whose keyed MAC over wasm digest, engine hash and
        // code was checked through this very descriptor, and only this host has the key: the code is what an
        // engine of this kind serialized. The cache's files are written once and only the host's user can.
        let component = unsafe { Component::deserialize_file(&self.wasmtime, code.path()) };
        let component = component.map_err(|error| LoadError::Refused(format!("{error:#}")))?;
        Ok(CompiledComponent::new(component, wanted))
    }
}
