//! Owns the way from one backend to another: everything is copied, compared, and the old store set aside.
//!
//! A store into which a copy is not finished says so and is not opened; a copy that was cut off is taken up
//! behind the last key that arrived.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backend::{BackendError, BackendKind, Changes, Durability, Space, StorageBackend};
use super::error::StoreError;
use super::keys::full;
use super::store::{FORMAT_KEY, OWN_ID, UNFINISHED_KEY};
use super::{MAX_KEY_BYTES, MAX_PAGE_BYTES, MAX_PAGE_KEYS};

/// Behind every key of a store.
const END: [u8; 9 + MAX_KEY_BYTES] = [0xff; 9 + MAX_KEY_BYTES];
/// What the name of a store gets at its end when it was copied.
const SET_ASIDE: &str = ".migrated";

/// Why a store was not copied. The old one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// There is nothing to copy.
    #[error("there is no {0} store to copy")]
    NoSource(BackendKind),
    /// Both are the same.
    #[error("the store is {0} already")]
    Same(BackendKind),
    /// The target is a store of its own.
    #[error("there is a {0} store already, and not from an unfinished copy; move it away first")]
    TargetInUse(BackendKind),
    /// The name for the old store is taken.
    #[error("{} is there from an earlier copy; move it away first", crate::escape::Escaped(&.0.to_string_lossy()))]
    AsideTaken(PathBuf),
    /// A store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was copied is not what is there.
    #[error("the copy differs from the original; remove the {0} store and try again")]
    Differs(BackendKind),
    /// The old store could not be set aside; the new one is whole.
    #[error("the old store could not be renamed: {0}")]
    Rename(std::io::Error),
}

/// Copies the store below `directory` from one backend to another. Gives the number of entries, and where the old
/// store is now.
pub fn migrate(directory: &Path, from: BackendKind, to: BackendKind) -> Result<(u64, PathBuf), MigrateError> {
    if from == to {
        return Err(MigrateError::Same(from));
    }
    let old = from.path(directory);
    if !old.exists() {
        return Err(MigrateError::NoSource(from));
    }
    let mut name = old.clone().into_os_string();
    name.push(SET_ASIDE);
    let aside = PathBuf::from(name);
    if aside.exists() {
        return Err(MigrateError::AsideTaken(aside));
    }
    let open = |kind: BackendKind| {
        kind.open(directory).map_err(|why| StoreError::Open { kind, path: directory.to_owned(), why })
    };
    let (source, target) = (open(from)?, open(to)?);
    if source.get(Space::Meta, &full(OWN_ID, UNFINISHED_KEY)).map_err(StoreError::Read)?.is_some() {
        return Err(StoreError::Unfinished { kind: from }.into());
    }
    begin(&*target, to)?;
    let mut entries = 0;
    for space in Space::ALL {
        copy(&*source, &*target, space)?;
        entries += compare(&source, &target, space)?.ok_or(MigrateError::Differs(to))?;
    }
    let finished = Changes::from([((Space::Meta, full(OWN_ID, UNFINISHED_KEY)), None)]);
    target.commit(&finished, Durability::Synced).map_err(StoreError::Stopped)?;
    target.sync().map_err(StoreError::Stopped)?;
    drop((source, target));
    std::fs::rename(&old, &aside).map_err(MigrateError::Rename)?;
    Ok((entries, aside))
}

/// Marks the target as unfinished, unless it is a store of its own.
fn begin(target: &dyn StorageBackend, to: BackendKind) -> Result<(), MigrateError> {
    let has = |key: &[u8]| target.get(Space::Meta, &full(OWN_ID, key)).map_err(StoreError::Read);
    if has(UNFINISHED_KEY)?.is_some() {
        return Ok(());
    }
    if has(FORMAT_KEY)?.is_some() {
        return Err(MigrateError::TargetInUse(to));
    }
    let mark = Changes::from([((Space::Meta, full(OWN_ID, UNFINISHED_KEY)), Some(Arc::from(&b""[..])))]);
    Ok(target.commit(&mark, Durability::Synced).map_err(StoreError::Stopped)?)
}

fn copy(source: &dyn StorageBackend, target: &dyn StorageBackend, space: Space) -> Result<(), StoreError> {
    let mut from = Vec::new();
    if space != Space::Meta {
        // Copies arrive in order: what is there is the beginning. Records are few and copied anew.
        target
            .scan(space, &[], &END, &mut |key, _| {
                from.clear();
                from.extend_from_slice(key);
                ControlFlow::Continue(())
            })
            .map_err(StoreError::Read)?;
    }
    loop {
        let mut changes = Changes::new();
        let mut bytes = 0;
        source
            .scan(space, &from, &END, &mut |key, value| {
                changes.insert((space, key.to_vec()), Some(Arc::from(value)));
                bytes += key.len() + value.len();
                let is_full = changes.len() >= MAX_PAGE_KEYS || bytes >= MAX_PAGE_BYTES;
                if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .map_err(StoreError::Read)?;
        let Some(((_, last), _)) = changes.last_key_value() else { return Ok(()) };
        from = [last.as_slice(), b"\0"].concat();
        target.commit(&changes, Durability::Relaxed).map_err(StoreError::Stopped)?;
    }
}

/// The number of entries, if both have the same.
fn compare(
    source: &Arc<dyn StorageBackend>,
    target: &Arc<dyn StorageBackend>,
    space: Space,
) -> Result<Option<u64>, StoreError> {
    let mark = full(OWN_ID, UNFINISHED_KEY);
    let (mut entries, mut problem) = (0, None::<BackendError>);
    let mut is_same = true;
    source
        .scan(space, &[], &END, &mut |key, value| match target.get(space, key) {
            Ok(found) if found.as_deref() == Some(value) => {
                entries += 1;
                ControlFlow::Continue(())
            }
            Ok(_) => {
                is_same = false;
                ControlFlow::Break(())
            }
            Err(error) => {
                problem = Some(error);
                ControlFlow::Break(())
            }
        })
        .map_err(StoreError::Read)?;
    if let Some(error) = problem {
        return Err(StoreError::Read(error));
    }
    let mut in_target = 0;
    target
        .scan(space, &[], &END, &mut |key, _| {
            in_target += u64::from(space != Space::Meta || key != mark);
            ControlFlow::Continue(())
        })
        .map_err(StoreError::Read)?;
    Ok((is_same && in_target == entries).then_some(entries))
}
