//! Owns when the store is opened: when the first component with storage starts, and not before.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::backend::BackendKind;
use super::error::StoreError;
use super::store::Store;

/// The one store of a host, opened when it is first needed.
pub struct Storage {
    kind: BackendKind,
    directory: PathBuf,
    open: Mutex<Option<Arc<Store>>>,
}

impl Storage {
    /// The store below `directory`, which is made, private, when the store is opened.
    pub fn at(kind: BackendKind, directory: &Path) -> Self {
        Self { kind, directory: directory.to_owned(), open: Mutex::default() }
    }

    /// A store that is open already.
    pub fn of(store: Arc<Store>) -> Self {
        Self { kind: store.kind(), directory: PathBuf::new(), open: Mutex::new(Some(store)) }
    }

    /// A store in memory: what components keep ends with this value.
    pub fn in_memory() -> Self {
        Self::at(BackendKind::Memory, Path::new(""))
    }

    /// Whether there is anything to open.
    pub fn exists(&self) -> bool {
        BackendKind::LASTING.into_iter().any(|kind| kind.path(&self.directory).exists())
    }

    /// The open store. One that could not be opened is tried again the next time.
    pub fn store(&self) -> Result<Arc<Store>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*open {
            return Ok(Arc::clone(store));
        }
        if self.kind != BackendKind::Memory {
            self.check_backend()?;
            self.make_directory()?;
        }
        let store = Arc::new(Store::open(self.kind, &self.directory)?);
        *open = Some(Arc::clone(&store));
        Ok(store)
    }

    /// The store, if somebody needed it before.
    pub fn opened(&self) -> Option<Arc<Store>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store, if there is one: open already, or on the disk.
    pub fn kept(&self) -> Result<Option<Arc<Store>>, StoreError> {
        match self.opened() {
            None if self.kind == BackendKind::Memory || !self.exists() => Ok(None),
            None => self.store().map(Some),
            open => Ok(open),
        }
    }

    /// Lets go of the store. Whoever has it no more waits until what was brought to it is written.
    pub fn close(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(open);
    }

    /// Opening a new store beside the one that is in use would look as if everything were lost.
    fn check_backend(&self) -> Result<(), StoreError> {
        let is_there = |kind: BackendKind| kind.path(&self.directory).exists();
        let other = BackendKind::LASTING.into_iter().find(|other| *other != self.kind && is_there(*other));
        match other.filter(|_| !is_there(self.kind)) {
            Some(other) => Err(StoreError::OtherBackend { kind: self.kind, other, path: self.directory.clone() }),
            None => Ok(()),
        }
    }

    fn make_directory(&self) -> Result<(), StoreError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(|error| StoreError::Directory { path: self.directory.clone(), why: error.to_string() })
    }
}
