//! Opens a state as its host: makes what is missing, repairs what a crash left, never goes back unsaid.
//!
//! Runs on the writing thread, with the lock held. It decides nothing about what runs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};

use super::audit::AuditLog;
use super::cache::{CacheKeyBytes, CacheWriter, open_cache_key};
use super::disk::Disk;
use super::error::StateError;
use super::layout::{DAMAGED, Layout, TEMPORARY, current_target, with_ending};
use super::load::{FORMAT, Loaded, load, read_generation};
use super::lock::Lock;
use super::marker::{Deaths, Suspects, open_markers, together};
use super::mirrors::remove;
use super::object::{ObjectWriter, Room, ensure_dir, scratch_prefix};
use super::read::{ObjectBytes, list, read_file, read_object};
use super::reader::Snapshot;
use super::secret_key::{SecretKey, open_secret_key};
use super::writer::HostWriter;
use super::{Options, load};
use crate::floors::{Floors, FloorsFile, MAX_FLOORS_BYTES};
use crate::generation::Generation;
use crate::home::{Privacy, check_dir};
use crate::record::Record;

/// How long the scratch file of a living process is left alone, in seconds.
const MAX_SCRATCH_AGE_S: u64 = 3600;

/// More storage ids than are given out in a second, on average over the life of a host.
const STORAGE_IDS_A_SECOND: u64 = 1 << 20;

/// What a host learns when it opens its state.
pub(crate) struct Parts {
    pub(crate) snapshot: Snapshot,
    pub(crate) suspects: Suspects,
    pub(crate) deaths: Deaths,
    pub(crate) cache_key: CacheKeyBytes,
    pub(crate) secret_key: SecretKey,
}

/// Takes the lock, then makes the state sound.
pub(crate) fn open(layout: Arc<Layout>, disk: Disk, options: &Options) -> Result<(HostWriter, Parts), StateError> {
    let lock = Lock::take(&layout, options.now_unix_s)?;
    for directory in layout.directories() {
        if fs::symlink_metadata(&directory).is_ok() {
            check_dir(&directory, Privacy::Private)?;
        }
    }
    let rebuilt = if options.rebuild_floors { Some(rebuild_floors(&layout)?) } else { None };
    let loaded = match load(&layout, rebuilt.as_ref())? {
        Some(loaded) => loaded,
        None => {
            initialise(&layout, &disk, options.now_unix_s)?;
            let path = layout.format();
            load(&layout, None)?.ok_or_else(|| StateError::io("read", &path, io::ErrorKind::NotFound.into()))?
        }
    };
    layout.directories().iter().try_for_each(|directory| ensure_dir(&disk, directory))?;
    sweep(&layout, &disk)?;
    let cache_key = open_cache_key(&layout, &disk)?;
    let secret_key = open_secret_key(&layout, &disk)?;
    let (deaths, suspects) = open_markers(&layout, &disk)?;
    let mut snapshot = Snapshot::of(&layout, loaded.clone())?;
    let mut objects = ObjectWriter::new(Arc::clone(&layout), Room::of(options));
    objects.set_durable(snapshot.generation.entries.values().map(|slot| slot.record));
    objects.set_durable(snapshot.records.values().flat_map(|record| load::named_objects(record)));
    let audit = AuditLog::unopened(Arc::clone(&layout));
    let mut writer = HostWriter {
        objects,
        audit,
        cache: CacheWriter::new(Arc::clone(&layout), options.kept_bytes),
        disk,
        layout,
        current: Arc::new(loaded.current.clone()),
        floors: loaded.floors.clone(),
        highest: loaded.highest,
        last_good: loaded.last_good,
        deaths: deaths.clone(),
        starting: together(&suspects),
        named_by: BTreeMap::new(),
        _lock: lock,
    };
    repair(&writer, &loaded)?;
    if let Some(recovered) = &loaded.recovered {
        let committed = writer.commit_recovered(&recovered.why, options.now_unix_s)?;
        snapshot.generation = committed.current.generation.clone();
        snapshot.digest = Some(committed.current.digest);
        snapshot.next_number = committed.next_number;
    }
    writer.open_audit(options.now_unix_s)?;
    Ok((writer, Parts { snapshot, suspects, deaths, cache_key, secret_key }))
}

/// Makes a state that holds the empty generation. Repeating it after a cut is harmless; the format file comes last.
fn initialise(layout: &Layout, disk: &Disk, now_unix_s: u64) -> Result<(), StateError> {
    layout.directories().iter().try_for_each(|directory| ensure_dir(disk, directory))?;
    // Floors outlive everything else that may have been removed by hand.
    let floors = match read_file(&layout.floors(), MAX_FLOORS_BYTES)? {
        Some(bytes) => FloorsFile::decode(&bytes).map_err(|error| load::damaged_floors(layout, &error))?.digest,
        None => {
            let sealed = Floors::default().encode(0);
            disk.replace_durably(&layout.floors(), sealed.text.as_bytes())?;
            sealed.digest
        }
    };
    let mut birth = Generation::birth(now_unix_s, floors);
    if !list(&layout.kv())?.is_empty() {
        // The state was removed by hand and the data was not. Nobody knows the ids under which it lies, but they were
        // given out one by one, from 1 or from an earlier time.
        birth.next_storage_id = now_unix_s.saturating_mul(STORAGE_IDS_A_SECOND);
    }
    let birth = birth.encode(None).0;
    disk.replace_durably(&layout.generation(0), birth.text.as_bytes())?;
    let link = super::layout::temporary(&layout.current());
    disk.remove_file(&link)?;
    disk.symlink(&link, &current_target(0))?;
    disk.rename(&link, &layout.current())?;
    disk.sync_file_system(layout.root())?;
    disk.replace_durably(&layout.format(), format!("{FORMAT}\n").as_bytes())?;
    disk.sync_dir(layout.root())
}

/// The highest sequences that the records of all generations on disk name.
fn rebuild_floors(layout: &Layout) -> Result<Floors, StateError> {
    let mut floors = Floors::default();
    for number in load::generation_numbers(layout)? {
        let Ok(file) = read_generation(layout, number)? else { continue };
        for digest in file.named_records() {
            let ObjectBytes::Good(bytes) = read_object(layout, digest, load::MAX_RECORD_BYTES)? else { continue };
            if let Ok(record) = Record::decode(&bytes) {
                floors.accept(&record.artifact.package, record.artifact.sequence);
            }
        }
    }
    Ok(floors)
}

/// Puts right on disk what loading found out.
fn repair(writer: &HostWriter, loaded: &Loaded) -> Result<(), StateError> {
    let (layout, disk) = (&writer.layout, &writer.disk);
    for path in loaded.later.iter().map(|number| layout.generation(*number)) {
        if loaded.recovered.is_some() {
            // They were committed once, and stand on something damaged or are damaged: for whoever looks for the cause.
            disk.rename(&path, &with_ending(&path, DAMAGED))?;
        } else {
            disk.remove_file(&path)?;
        }
    }
    let floors_on_disk = read_file(&layout.floors(), MAX_FLOORS_BYTES)?;
    let rebuilt = loaded.floors.floors.encode(loaded.floors.generation);
    if floors_on_disk.as_deref() != Some(rebuilt.text.as_bytes()) {
        disk.replace_durably(&layout.floors(), rebuilt.text.as_bytes())?;
        disk.sync_dir(layout.root())?;
    }
    // The mark of a generation that is lost would speak against every older one.
    if loaded.recovered.is_some() && writer.last_good.is_none() { disk.remove_file(&layout.good()) } else { Ok(()) }
}

/// Removes what unfinished writes left. Nothing names any of it.
fn sweep(layout: &Layout, disk: &Disk) -> Result<(), StateError> {
    for directory in [layout.root().to_owned(), layout.generations(), layout.starting(), layout.audit(), layout.cache()]
    {
        for name in list(&directory)?.iter().filter(|name| name.ends_with(TEMPORARY)) {
            remove(disk, &directory.join(name), 0)?;
        }
    }
    sweep_scratch(layout, disk, true).map(drop)
}

/// Removes what unfinished writes left in scratch; gives how many bytes.
pub(super) fn sweep_scratch(layout: &Layout, disk: &Disk, removes: bool) -> Result<u64, StateError> {
    let mut bytes = 0;
    for name in list(&layout.scratch())? {
        let path = layout.scratch().join(&name);
        if belongs_to_a_living_plan(&name, &path) {
            continue;
        }
        bytes += fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
        if removes {
            remove(disk, &path, 0)?;
        }
    }
    Ok(bytes)
}

/// `plan` needs no lock, so it may be storing objects right now.
fn belongs_to_a_living_plan(name: &str, path: &Path) -> bool {
    let process = name.strip_prefix("object-").and_then(|rest| rest.split_once('-'));
    let Some(process) = process.and_then(|(id, _)| Pid::from_raw(id.parse().ok()?)) else { return false };
    if process == rustix::process::getpid() {
        return name.starts_with(scratch_prefix());
    }
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|modified| modified.elapsed().ok());
    let is_alive = !matches!(test_kill_process(process), Err(rustix::io::Errno::SRCH));
    is_alive && age.is_some_and(|age| age < Duration::from_secs(MAX_SCRATCH_AGE_S))
}
