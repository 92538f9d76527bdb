//! A recording port stands for the host.

use airssys_wasm::source::git::{self, Limits};
use airssys_wasm::source::remote::{Ancestry, FetchFailure, Found, GitJob, Port, TreeJob, WasmWanted};

/// What the other side of a fetch was told.
#[derive(Debug, Default)]
pub struct Recording {
    pub found: Vec<Found>,
    pub wasm: Vec<u8>,
    pub steps: Vec<(String, u64)>,
    /// Asked for after the first find.
    pub wanted: Option<WasmWanted>,
}

impl Port for Recording {
    fn progress(&mut self, step: &str, bytes: u64) -> Result<(), FetchFailure> {
        self.steps.push((step.to_owned(), bytes));
        Ok(())
    }

    fn found(&mut self, found: Found) -> Result<Option<WasmWanted>, FetchFailure> {
        self.found.push(found);
        Ok(self.wanted.take())
    }

    fn wasm(&mut self, piece: &[u8]) -> Result<(), FetchFailure> {
        self.wasm.extend_from_slice(piece);
        Ok(())
    }
}

impl Recording {
    /// Whether anything was connected to.
    pub fn connected(&self) -> bool {
        self.steps.iter().any(|(step, _)| step == "connect")
    }
}

/// What came of fetching an artifact.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    pub commit: String,
    pub manifest: String,
    pub signature: String,
    pub wasm: Vec<u8>,
    pub connected: bool,
}

/// What came of fetching desired files.
#[derive(Debug)]
pub struct Snapshot {
    pub commit: String,
    pub files: Vec<(String, Vec<u8>)>,
    pub unreadable: Vec<(String, String)>,
    pub ancestry: Ancestry,
}

/// Fetches an artifact with its wasm.
pub fn fetch(job: &GitJob, wasm_bytes: usize) -> Result<Fetched, FetchFailure> {
    fetch_within(job, wasm_bytes, &Limits::default())
}

/// The same within other limits.
pub fn fetch_within(job: &GitJob, wasm_bytes: usize, limits: &Limits) -> Result<Fetched, FetchFailure> {
    let wanted = WasmWanted { file: "component.wasm".to_owned(), size: wasm_bytes as u64 };
    let mut port = Recording { wanted: Some(wanted), ..Recording::default() };
    git::fetch_within(job, &mut port, limits)?;
    let connected = port.connected();
    let Some(Found::Artifact { revision: Some(commit), manifest, signature }) = port.found.pop() else {
        panic!("an artifact of a commit, not {:?}", port.found);
    };
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ok(Fetched { commit, manifest: text(manifest), signature: text(signature), wasm: port.wasm, connected })
}

/// Fetches desired files.
pub fn fetch_tree(job: &TreeJob) -> Result<Snapshot, FetchFailure> {
    let mut port = Recording::default();
    git::fetch_tree(job, &mut port)?;
    match port.found.pop() {
        Some(Found::Tree { commit, files, unreadable, ancestry }) => {
            Ok(Snapshot { commit, files, unreadable, ancestry })
        }
        other => panic!("a tree, not {other:?}"),
    }
}
