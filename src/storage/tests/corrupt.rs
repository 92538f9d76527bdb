//! Files that are not what was written: a clear error, and no start with half of it.

use std::path::{Path, PathBuf};

use super::*;
use crate::storage::keys::full;
use crate::storage::store::OWN_ID;

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Fills a store, damages every file of it in turn, and looks at what opening or reading says.
///
/// Some files matter only later, and the tail of a journal is cut off by design. What must not be: a wrong value.
fn damage_each_file(kind: BackendKind) -> usize {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    std::fs::create_dir(&whole).unwrap();
    let store = open(kind, &whole);
    for n in 0..50 {
        put(&store, 1, &[(&format!("key-{n}"), &[n; 500])]);
    }
    drop(store);
    let mut refused = 0;
    for file in files(&whole) {
        let copy = home.path().join("copy");
        assert!(std::process::Command::new("cp").arg("-a").args([&whole, &copy]).status().unwrap().success());
        let damaged = copy.join(file.strip_prefix(&whole).unwrap());
        let mut bytes = std::fs::read(&damaged).unwrap();
        let half = bytes.len() / 4;
        bytes.iter_mut().skip(half).step_by(7).for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&damaged, bytes).unwrap();
        match Store::open(kind, &copy) {
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(matches!(error, StoreError::Open { .. } | StoreError::Read(_)), "{text}");
                assert!(!text.contains('\n'), "{text}");
            }
            Ok(store) => {
                let store = Arc::new(store);
                for n in 0..50 {
                    let value = store.begin(1, wide()).get(&format!("key-{n}"));
                    if let Ok(Some(value)) = value {
                        assert_eq!(*value, [n; 500], "{}: a wrong value", file.display());
                    }
                }
            }
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
    refused
}

#[test]
fn a_damaged_fjall_store_is_refused_or_reads_nothing_wrong() {
    assert!(damage_each_file(BackendKind::Fjall) > 0);
}

#[test]
fn a_damaged_redb_store_is_refused_or_reads_nothing_wrong() {
    assert!(damage_each_file(BackendKind::Redb) > 0);
}

#[test]
fn a_store_of_another_version_and_one_in_use_are_refused() {
    let backend = Arc::new(MemoryBackend::default());
    drop(Store::on(Arc::clone(&backend) as Arc<dyn StorageBackend>).unwrap());
    let key = (Space::Meta, full(OWN_ID, b"format"));
    backend.commit(&Changes::from([(key, Some(b"airssys-kv 2\n"[..].into()))]), Durability::Synced).unwrap();
    let error = Store::on(backend).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the store says \"airssys-kv 2\\n\", and this version knows \"airssys-kv 1\"; use the version that wrote it"
    );

    for kind in BackendKind::LASTING {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(kind, directory.path());
        let error = Store::open(kind, directory.path()).err().unwrap().to_string();
        assert!(error.contains("another process has it open"), "{error}");
    }
}
