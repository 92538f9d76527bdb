//! Finds the current generation and the floors on disk, whatever happened to the files.
//!
//! It only reads: a host repairs what this finds, `plan` just works with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::error::StateError;
use super::layout::{DAMAGED, Layout, current_target, generation_number};
use super::read::{ObjectBytes, list, read_file, read_link, read_object};
use crate::digest::Digest;
use crate::escape::escape;
use crate::floors::{Floors, FloorsError, FloorsFile, MAX_FLOORS_BYTES};
use crate::generation::{
    Decoded, Generation, GenerationFile, MAX_GENERATION_BYTES, Parent, REBASE_EVERY, decode_chain,
};
use crate::name::InstallationName;
use crate::record::Record;
use crate::sealed;
use crate::surface::Surface;

/// What `state/format` says.
pub(crate) const FORMAT: &str = "airssys-state 1";
/// Longest record, in bytes.
pub(crate) const MAX_RECORD_BYTES: u64 = 4 << 20;
/// How often reading starts over because a running host committed meanwhile.
const MAX_READ_ATTEMPTS: u32 = 10;
/// First line of the file that names the last good generation.
pub(crate) const GOOD_FIRST_LINE: &str = "airssys-good 1";
/// Longest small file, in bytes.
const MAX_SMALL_FILE_BYTES: usize = 4096;

const FLOORS_HINT: &str = "restore it from a backup, or start once with --rebuild-floors, which takes the highest \
     sequences of the kept generations: releases that were accepted and removed before those could then be replayed";
const GENERATION_HINT: &str = "restore gen/ from a backup, or move the state directory away to start from nothing \
     (keep the floors file)";

/// The current generation was not usable, and another one was taken. A host makes it a new generation, with a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The generation whose set was taken: the newest intact one.
    pub number: u64,
    /// What was wrong, for people.
    pub why: String,
}

/// What is on disk.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) current: Decoded,
    pub(crate) floors: FloorsFile,
    /// The highest number that is or was in use, as far as the disk tells.
    pub(crate) highest: u64,
    pub(crate) last_good: Option<u64>,
    pub(crate) recovered: Option<Recovered>,
    /// Files above the current generation: of commits that were never finished, or that are lost.
    pub(crate) later: Vec<u64>,
}

/// The records of one generation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    pub(crate) intact: BTreeMap<InstallationName, Arc<Record>>,
    pub(crate) damaged: BTreeMap<InstallationName, &'static str>,
}

/// Reads the state; `None` when no host ever used it.
pub(crate) fn load(layout: &Layout, rebuilt_floors: Option<&Floors>) -> Result<Option<Loaded>, StateError> {
    let mut attempt = 1;
    loop {
        if !is_initialised(layout)? {
            return Ok(None);
        }
        let before = read_link(&layout.current())?;
        let loaded = load_from(layout, before.as_deref(), rebuilt_floors);
        // A host that commits between two reads makes sound files look contradictory.
        if read_link(&layout.current())? == before || attempt == MAX_READ_ATTEMPTS {
            return loaded.map(Some);
        }
        attempt += 1;
    }
}

fn load_from(layout: &Layout, link: Option<&Path>, rebuilt_floors: Option<&Floors>) -> Result<Loaded, StateError> {
    let numbers = generation_numbers(layout)?;
    let last_good = read_last_good(layout)?;
    let (current, recovered) = match find_current(layout, link, &numbers, last_good)? {
        Ok(current) => (current, None),
        Err(why) => {
            let current = newest_intact(layout, &numbers)?;
            let number = current.generation.number;
            (current, Some(Recovered { number, why }))
        }
    };
    let floors = read_floors(layout, &current, rebuilt_floors)?;
    let number = current.generation.number;
    let seen = numbers_in_use(layout)?.into_iter().chain([floors.generation]);
    Ok(Loaded {
        highest: seen.max().unwrap_or(number),
        current,
        floors,
        last_good: last_good.filter(|good| *good <= number),
        recovered,
        later: numbers.into_iter().filter(|later| *later > number).collect(),
    })
}

/// Whether a host finished making this state; refuses formats of other versions.
pub(crate) fn is_initialised(layout: &Layout) -> Result<bool, StateError> {
    let path = layout.format();
    if let Some(bytes) = read_file(&path, MAX_SMALL_FILE_BYTES)? {
        let text = String::from_utf8_lossy(&bytes);
        let found = text.trim_end_matches('\n');
        if found == FORMAT {
            return Ok(true);
        }
        return Err(StateError::Format { path, found: escape(found).chars().take(80).collect(), known: FORMAT });
    }
    // The empty generation may be there from a start that was cut off; any other one was committed.
    let was_used = generation_numbers(layout)?.iter().any(|number| *number > 0);
    if was_used {
        let hint = "restore it from a backup; its one line names the version of the state's format";
        return Err(StateError::Missing { path, hint });
    }
    Ok(false)
}

/// The numbers of all generation files, rising.
pub(crate) fn generation_numbers(layout: &Layout) -> Result<Vec<u64>, StateError> {
    let mut numbers: Vec<u64> =
        list(&layout.generations())?.iter().filter_map(|name| generation_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The numbers of all generation files, of set-aside damaged ones too: none of them is used again.
fn numbers_in_use(layout: &Layout) -> Result<Vec<u64>, StateError> {
    let names = list(&layout.generations())?;
    let numbers = names.iter().filter_map(|name| generation_number(name.strip_suffix(DAMAGED).unwrap_or(name)));
    Ok(numbers.collect())
}

/// One generation file; the inner error says in words why it is not intact.
pub(crate) fn read_generation(layout: &Layout, number: u64) -> Result<Result<GenerationFile, String>, StateError> {
    let Some(bytes) = read_file(&layout.generation(number), MAX_GENERATION_BYTES)? else {
        return Ok(Err(format!("generation {number} is missing")));
    };
    Ok(match GenerationFile::decode(&bytes) {
        Ok(file) if file.number == number => Ok(file),
        Ok(file) => Err(format!("the file of generation {number} holds generation {}", file.number)),
        Err(error) => Err(format!("generation {number} is damaged: {error}")),
    })
}

/// A generation with everything it stands on.
pub(crate) fn read_chain(layout: &Layout, number: u64) -> Result<Result<Decoded, String>, StateError> {
    let mut files = Vec::new();
    let mut next = number;
    loop {
        let file = match read_generation(layout, next)? {
            Ok(file) => file,
            Err(why) => return Ok(Err(why)),
        };
        let (is_base, parent) = (file.is_base(), file.parent);
        files.push(file);
        if is_base {
            break;
        }
        match parent {
            Some(parent) if parent.number < next && files.len() < REBASE_EVERY as usize => next = parent.number,
            _ => return Ok(Err(format!("generation {number} stands on no whole one"))),
        }
    }
    Ok(decode_chain(files.into_iter().rev()).map_err(|error| format!("generation {number} is damaged: {error}")))
}

/// The generation that `current` names, unless something speaks against it.
fn find_current(
    layout: &Layout,
    link: Option<&Path>,
    numbers: &[u64],
    last_good: Option<u64>,
) -> Result<Result<Decoded, String>, StateError> {
    let Some(link) = link else { return Ok(Err("`current` is missing".to_owned())) };
    let named = link.file_name().and_then(|name| generation_number(name.to_str()?));
    let Some(number) = named.filter(|number| current_target(*number).as_os_str() == link.as_os_str()) else {
        return Ok(Err(format!("`current` points to \"{}\"", escape(&link.to_string_lossy()))));
    };
    let current = match read_chain(layout, number)? {
        Ok(current) => current,
        Err(why) => return Ok(Err(why)),
    };
    if last_good.is_some_and(|good| good > number) {
        return Ok(Err(format!("`current` points to generation {number}, and a later one ran well")));
    }
    // The only later file that a cut-off commit leaves is a child of the current one.
    let own = Some(Parent { number, digest: current.digest });
    for later in numbers.iter().copied().filter(|n| *n > number) {
        if read_generation(layout, later)?.is_ok_and(|file| file.parent != own) {
            return Ok(Err(format!("`current` points to generation {number}, and {later} was committed after it")));
        }
    }
    Ok(Ok(current))
}

fn newest_intact(layout: &Layout, numbers: &[u64]) -> Result<Decoded, StateError> {
    for number in numbers.iter().rev() {
        if let Ok(decoded) = read_chain(layout, *number)? {
            return Ok(decoded);
        }
    }
    let why = "it holds no intact generation".to_owned();
    Err(StateError::Damaged { path: layout.generations(), why, hint: GENERATION_HINT })
}

/// The floors, which may be newer than the current generation and never older.
fn read_floors(layout: &Layout, current: &Decoded, rebuilt_floors: Option<&Floors>) -> Result<FloorsFile, StateError> {
    let path = layout.floors();
    let generation = &current.generation;
    let problem = match read_file(&path, MAX_FLOORS_BYTES)? {
        None => StateError::Missing { path, hint: FLOORS_HINT },
        Some(bytes) => match FloorsFile::decode(&bytes) {
            Ok(file) if file.generation > generation.number || file.digest == generation.floors => return Ok(file),
            Ok(file) => {
                let why = format!(
                    "it was written for generation {}, and generation {} has other floors",
                    file.generation, generation.number
                );
                StateError::Damaged { path, why, hint: FLOORS_HINT }
            }
            Err(error) => damaged_floors(layout, &error),
        },
    };
    match rebuilt_floors {
        Some(rebuilt) => {
            let number = generation.number + 1;
            let digest = rebuilt.encode(number).digest;
            Ok(FloorsFile { generation: number, floors: rebuilt.clone(), digest })
        }
        None => Err(problem),
    }
}

pub(crate) fn damaged_floors(layout: &Layout, error: &FloorsError) -> StateError {
    StateError::Damaged { path: layout.floors(), why: error.to_string(), hint: FLOORS_HINT }
}

/// The last generation that was marked good. A damaged file is no worse than none.
fn read_last_good(layout: &Layout) -> Result<Option<u64>, StateError> {
    let Some(bytes) = read_file(&layout.good(), MAX_SMALL_FILE_BYTES)? else { return Ok(None) };
    let opened = sealed::open(GOOD_FIRST_LINE, &bytes, MAX_SMALL_FILE_BYTES).ok();
    Ok(opened.and_then(|opened| opened.body.strip_prefix("generation ")?.trim_end().parse().ok()))
}

/// The manifest, the signature and the wasm, in this order.
pub(crate) fn named_objects(record: &Record) -> [Digest; 3] {
    let artifact = &record.artifact;
    [artifact.manifest, artifact.signature, artifact.wasm]
}

/// The records of a generation, each checked against its digest.
pub(crate) fn read_records(layout: &Layout, generation: &Generation) -> Result<Records, StateError> {
    let mut records = Records::default();
    let mut surfaces = BTreeMap::new();
    for (name, slot) in &generation.entries {
        match read_object(layout, &slot.record, MAX_RECORD_BYTES)? {
            ObjectBytes::Good(bytes) => match Record::decode(&bytes) {
                Ok(mut record) => {
                    share_surface(&mut surfaces, &mut record);
                    records.intact.insert(name.clone(), Arc::new(record));
                }
                Err(_) => drop(records.damaged.insert(name.clone(), "is no record of this version")),
            },
            ObjectBytes::Missing => drop(records.damaged.insert(name.clone(), "is missing")),
            ObjectBytes::Damaged(why) => drop(records.damaged.insert(name.clone(), why)),
        }
    }
    Ok(records)
}

/// Installations of one artifact hold its surface in common: it is the longest text of a record.
fn share_surface(known: &mut BTreeMap<Digest, Surface>, record: &mut Record) {
    let Some(surface) = &mut record.surface else { return };
    let shared = known.entry(record.artifact.wasm).or_insert_with(|| surface.clone());
    if shared == surface {
        *surface = shared.clone();
    }
}
