//! What artifacts import and export, read from the wasm in the content store once for each digest.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::engine;
use crate::manifest::MAX_WASM_BYTES;
use crate::record::{ArtifactIdentity, Record};
use crate::resolution::Refusal;
use crate::state::Objects;
use crate::surface::Surface;

/// Most artifacts whose surface is remembered; with more, all are forgotten and read again as needed.
const MAX_REMEMBERED: usize = 1_024;

/// Why there is no surface.
pub(super) enum NoSurface {
    /// The wasm is gone or damaged: it must be fetched again.
    Lost,
    /// It is no component that this host could run.
    Refused(Refusal),
}

/// Reads surfaces and remembers them.
#[derive(Default)]
pub(super) struct Surfaces {
    known: BTreeMap<Digest, Result<Surface, Refusal>>,
}

impl Surfaces {
    /// The surface of an artifact: of what is `committed` where that is the same wasm, so that a start reads none.
    pub(super) fn of(
        &mut self,
        artifact: &ArtifactIdentity,
        committed: Option<&Record>,
        objects: &Objects,
    ) -> Result<Surface, NoSurface> {
        let committed = committed.filter(|record| record.artifact.wasm == artifact.wasm);
        if let Some(surface) = committed.and_then(|record| record.surface.as_ref()) {
            return Ok(surface.clone());
        }
        if let Some(known) = self.known.get(&artifact.wasm) {
            return known.clone().map_err(NoSurface::Refused);
        }
        let wasm = objects.get_object(&artifact.wasm, MAX_WASM_BYTES).ok().flatten().ok_or(NoSurface::Lost)?;
        let read = surface_of(&wasm);
        if self.known.len() >= MAX_REMEMBERED {
            self.known.clear();
        }
        self.known.insert(artifact.wasm, read.clone());
        read.map_err(NoSurface::Refused)
    }
}

/// The surface of the component whose bytes these are.
pub fn surface_of(wasm: &[u8]) -> Result<Surface, Refusal> {
    engine::surface(wasm).map_err(|error| {
        let message = format!("what the component imports and exports can't be read: {error}");
        Refusal::new("unreadable-component", message).hint("the publisher has to build it again")
    })
}
