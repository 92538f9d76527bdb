//! Owns the file that says what an operator paused, so that a restart does not lift it.

use super::error::StateError;
use super::layout::Layout;
use super::read::read_file;
use super::writer::HostWriter;
use crate::paused::{MAX_PAUSED_BYTES, Paused, PausedBy};

/// Stands for the user where the file is damaged.
const UNKNOWN: &str = "somebody (the file state/paused is damaged; `airssys-wasm resume` writes it anew)";

impl HostWriter {
    pub(super) fn set_paused(&mut self, paused: &Paused) -> Result<(), StateError> {
        self.disk.check_going()?;
        let path = self.layout.paused();
        if paused.is_empty() {
            self.disk.remove_file(&path)?;
        } else {
            self.disk.replace_durably(&path, paused.encode().as_bytes())?;
        }
        self.disk.sync_dir(self.layout.root())
    }
}

/// What is paused. Damage counts as everything being paused: nothing is done that somebody did not want done.
pub(super) fn read_paused(layout: &Layout) -> Result<Paused, StateError> {
    let Some(bytes) = read_file(&layout.paused(), MAX_PAUSED_BYTES)? else { return Ok(Paused::default()) };
    Ok(Paused::decode(&bytes).unwrap_or_else(|_| Paused {
        all: Some(PausedBy { by: UNKNOWN.to_owned(), since_unix_s: 0 }),
        ..Paused::default()
    }))
}
