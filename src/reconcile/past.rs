//! Gathers the past from generation files, without a host and without the state's lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::history::why::{Why, why};
use crate::history::{History, Side, tell};
use crate::home::Home;
use crate::name::InstallationName;
use crate::record::Record;
use crate::state::{MAX_KEPT_GENERATIONS, Reader};

/// Most generations that are told at a time.
pub const MAX_TOLD: usize = 1_000;

/// The last `most` generations, newest first; with a name only those that touch it.
pub fn history(home: &Home, most: usize, only: Option<&InstallationName>) -> anyhow::Result<History> {
    let reader = Reader::new(home);
    // One more than is told, to compare the oldest with. Those that touch a name may be far back.
    let look_at = if only.is_some() { MAX_TOLD } else { most.min(MAX_TOLD) + 1 };
    let sides = reader.walk(look_at, Side::of)?;
    let last_good = reader.snapshot()?.last_good;
    let mut records: BTreeMap<Digest, Option<Arc<Record>>> = BTreeMap::new();
    let mut record = |digest: &Digest| {
        let found = records.entry(*digest);
        found.or_insert_with(|| reader.record(digest).ok().flatten().map(Arc::new)).clone()
    };
    Ok(tell(&sides, (last_good, most), only, &mut record))
}

/// Why an installation is what it is; `None` when there is none of that name.
pub fn why_installed(home: &Home, name: &InstallationName) -> anyhow::Result<Option<Why>> {
    let reader = Reader::new(home);
    let snapshot = reader.snapshot()?;
    let Some(record) = snapshot.records.get(name) else { return Ok(None) };
    let sides = reader.walk(MAX_KEPT_GENERATIONS, |decoded| Side::only(decoded, name))?;
    Ok(Some(why(name, record, &sides)))
}

/// Why a name that is not installed is held; `None` when it is not.
pub fn why_held(home: &Home, name: &InstallationName) -> anyhow::Result<Option<String>> {
    let snapshot = Reader::new(home).snapshot()?;
    Ok(snapshot.generation.holds.get(name).map(|held| held.reason.clone()))
}
