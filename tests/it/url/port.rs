//! Whoever asked for a fetch: keeps what it is handed.

use airssys_wasm::source::remote::{FetchFailure, Found, Port, WasmWanted};

/// Records a whole conversation.
#[derive(Default)]
pub struct Recorder {
    /// Which wasm it asks for, when anything is found.
    pub wants: Option<WasmWanted>,
    /// The steps that it was told of, and `found`.
    pub steps: Vec<String>,
    /// What was found.
    pub found: Option<Found>,
    /// The bytes of the wasm.
    pub wasm: Vec<u8>,
    /// The largest piece, in bytes.
    pub largest_piece: usize,
    /// Called when something is found, before anything is asked for.
    pub on_found: Option<Box<dyn FnMut()>>,
}

impl Recorder {
    pub fn wanting(file: &str, size: u64) -> Self {
        Self { wants: Some(WasmWanted { file: file.to_owned(), size }), ..Self::default() }
    }

    #[track_caller]
    pub fn artifact(&self) -> (Option<&str>, &[u8], &[u8]) {
        match &self.found {
            Some(Found::Artifact { revision, manifest, signature }) => (revision.as_deref(), manifest, signature),
            other => panic!("found {other:?}"),
        }
    }
}

impl Port for Recorder {
    fn progress(&mut self, step: &str, _: u64) -> Result<(), FetchFailure> {
        self.steps.push(step.to_owned());
        Ok(())
    }

    fn found(&mut self, found: Found) -> Result<Option<WasmWanted>, FetchFailure> {
        self.steps.push("found".to_owned());
        let is_artifact = matches!(found, Found::Artifact { .. });
        self.found = Some(found);
        if let Some(on_found) = &mut self.on_found {
            on_found();
        }
        Ok(self.wants.clone().filter(|_| is_artifact))
    }

    fn wasm(&mut self, piece: &[u8]) -> Result<(), FetchFailure> {
        self.wasm.extend_from_slice(piece);
        self.largest_piece = self.largest_piece.max(piece.len());
        Ok(())
    }
}
