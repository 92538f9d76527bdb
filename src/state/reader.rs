//! Reads a state without its lock: for `plan`, `status` and `verify`, with or without a running host.
//!
//! It repairs nothing and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::audit;
use super::error::StateError;
use super::layout::Layout;
use super::load::{self, Loaded, Recovered, load, read_chain, read_generation, read_records};
use super::marker::{Deaths, read_deaths};
use super::pause;
use super::read::{ObjectBytes, read_file, read_object};
use super::secret_key::{SecretKey, read_secret_key};
use crate::audit::chain::Walk;
use crate::audit::query::{Audit, Newest, Query};
use crate::digest::Digest;
use crate::floors::Floors;
use crate::generation::{Decoded, Generation};
use crate::home::Home;
use crate::manifest::MAX_WASM_BYTES;
use crate::name::InstallationName;
use crate::observed::quarantine::Quarantined;
use crate::paused::Paused;
use crate::plan::notes;
use crate::record::Record;

/// Most generations that are walked back to find the set of an earlier time.
const MAX_HISTORY: usize = 10_000;
const DAMAGED_HINT: &str = "the host fetches it again when it is needed";

/// Reads one state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(super) layout: Arc<Layout>,
}

/// What is committed.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The current set; the empty one with number 0 when no host ever used the home.
    pub generation: Generation,
    /// Its checksum; `None` when no host ever used the home.
    pub digest: Option<Digest>,
    /// The number that the next generation gets.
    pub next_number: u64,
    /// The records of everything installed.
    pub records: BTreeMap<InstallationName, Arc<Record>>,
    /// Installations whose record is missing or damaged, and how. They are installed, with their storage id, and can
    /// only be started after an update to a record made anew.
    pub damaged: BTreeMap<InstallationName, &'static str>,
    /// The floors.
    pub floors: Floors,
    /// The last generation that ran well.
    pub last_good: Option<u64>,
    /// What an operator paused.
    pub paused: Paused,
    /// The current generation was damaged, and an older one was taken.
    pub recovered: Option<Recovered>,
}

/// One generation of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Its number.
    pub number: u64,
    /// When it was committed, in seconds since 1970.
    pub written_unix_s: u64,
    /// How many installations it has.
    pub entries: usize,
}

/// An object of the current set that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectProblem {
    /// Whose object.
    pub name: InstallationName,
    /// Which object.
    pub digest: Digest,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Snapshot {
    pub(crate) fn of(layout: &Layout, loaded: Loaded) -> Result<Self, StateError> {
        let records = read_records(layout, &loaded.current.generation)?;
        Ok(Self {
            generation: loaded.current.generation,
            digest: Some(loaded.current.digest),
            next_number: loaded.highest + 1,
            records: records.intact,
            damaged: records.damaged,
            floors: loaded.floors.floors,
            last_good: loaded.last_good,
            paused: pause::read_paused(layout)?,
            recovered: loaded.recovered,
        })
    }

    /// A copy of the set to make changes in, which follows it.
    pub fn successor(&self, now_unix_s: u64) -> Generation {
        let digest = self.digest.unwrap_or(Digest::from_bytes([0; 32]));
        self.generation.successor(digest, self.next_number, now_unix_s)
    }
}

impl Reader {
    /// For the state of this home.
    pub fn new(home: &Home) -> Self {
        Self::of(Arc::new(Layout::new(home.state_dir())))
    }

    pub(crate) fn of(layout: Arc<Layout>) -> Self {
        Self { layout }
    }

    /// The key of secrets' fingerprints; `None` when no host made one yet, or a host will make another.
    pub fn secret_key(&self) -> Option<SecretKey> {
        read_secret_key(&self.layout).ok().flatten()
    }

    /// What is committed now.
    pub fn snapshot(&self) -> Result<Snapshot, StateError> {
        let Some(loaded) = load(&self.layout, None)? else { return Ok(empty()) };
        Snapshot::of(&self.layout, loaded)
    }

    /// One kept generation, for `rollback`; `None` when it is not kept any more, or damaged.
    pub fn generation(&self, number: u64) -> Result<Option<Decoded>, StateError> {
        Ok(read_chain(&self.layout, number)?.ok())
    }

    /// A record by its digest, as an older generation names it.
    pub fn record(&self, digest: &Digest) -> Result<Option<Record>, StateError> {
        let bytes = self.get_object(digest, load::MAX_RECORD_BYTES)?;
        Ok(bytes.and_then(|bytes| Record::decode(&bytes).ok()))
    }

    /// Whether an object is in the store; its bytes are checked when they are read.
    pub fn has_object(&self, digest: &Digest) -> bool {
        self.layout.object(digest).is_file()
    }

    /// The kept generations from the current one back, newest first, at most `most`.
    pub fn history(&self, most: usize) -> Result<Vec<Past>, StateError> {
        let Some(loaded) = load(&self.layout, None)? else { return Ok(Vec::new()) };
        self.walk_back(loaded.current.generation.number, most, |_| false)
    }

    /// The kept generations from the current one back to at most `most`, oldest first, each as `look` sees it.
    pub fn walk<V>(&self, most: usize, mut look: impl FnMut(&Decoded) -> V) -> Result<Vec<V>, StateError> {
        let Some(loaded) = load(&self.layout, None)? else { return Ok(Vec::new()) };
        let mut past = self.walk_back(loaded.current.generation.number, most, |_| false)?;
        let mut at = None;
        while at.is_none() {
            let Some(oldest) = past.pop() else { return Ok(Vec::new()) };
            // What the oldest ones stand on may be gone: the story begins where a set is whole.
            at = self.generation(oldest.number)?;
        }
        let mut seen: Vec<V> = at.iter().map(&mut look).collect();
        for newer in past.iter().rev() {
            let file = read_generation(&self.layout, newer.number)?;
            let Some(next) = file.ok().and_then(|file| file.apply(at.take()).ok()) else { break };
            seen.push(look(&next));
            at = Some(next);
        }
        Ok(seen)
    }

    /// The size of the set at `unix_s`: what a mass delete is counted against. `None` when there was no set then, or it
    /// is not kept.
    pub fn entries_at(&self, unix_s: u64) -> Result<Option<usize>, StateError> {
        let Some(loaded) = load(&self.layout, None)? else { return Ok(None) };
        let number = loaded.current.generation.number;
        let past = self.walk_back(number, MAX_HISTORY, |past| past.written_unix_s <= unix_s)?;
        Ok(past.last().filter(|past| past.written_unix_s <= unix_s).map(|past| past.entries))
    }

    /// The names that were installed at `unix_s`, without those that an operator agreed to delete since then; `None`
    /// when there was no set then, or it is not kept.
    pub fn names_at(&self, unix_s: u64) -> Result<Option<BTreeSet<InstallationName>>, StateError> {
        let Some(loaded) = load(&self.layout, None)? else { return Ok(None) };
        let number = loaded.current.generation.number;
        let past = self.walk_back(number, MAX_HISTORY, |past| past.written_unix_s <= unix_s)?;
        let Some((then, since)) = past.split_last().filter(|(then, _)| then.written_unix_s <= unix_s) else {
            return Ok(None);
        };
        let Some(then) = self.generation(then.number)? else { return Ok(None) };
        let mut names: BTreeSet<InstallationName> = then.generation.entries.into_keys().collect();
        for past in since {
            let Ok(file) = read_generation(&self.layout, past.number)? else { continue };
            for name in file.notes().iter().filter_map(notes::approved_delete) {
                names.remove(name);
            }
        }
        Ok(Some(names))
    }

    /// Targets that took the host down too often.
    pub fn quarantined(&self) -> Result<Quarantined, StateError> {
        Ok(quarantined(&read_deaths(&self.layout)?))
    }

    /// What the audit log says, and whether its chain is whole.
    pub fn audit(&self, query: &Query) -> Result<Audit, StateError> {
        // Before the lines: what a host writes meanwhile must not look like a change.
        let head = audit::head(&self.layout)?;
        let mut walk = Walk::new(head);
        let mut newest = Newest::new(query);
        for number in audit::audit_files(&self.layout)? {
            let path = self.layout.audit_file(number);
            let Some(bytes) = read_file(&path, audit::MAX_READ_BYTES)? else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A last line without its end is being written, or a host died writing it.
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let lines = bytes[..whole].split_inclusive(|byte| *byte == b'\n');
            for (at, line) in lines.enumerate() {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                if let Some(record) = walk.line(|| format!("{name}:{}", at + 1), line) {
                    newest.see(record);
                }
            }
        }
        Ok(newest.found(walk.end()))
    }

    fn walk_back(&self, from: u64, most: usize, is_enough: impl Fn(&Past) -> bool) -> Result<Vec<Past>, StateError> {
        let mut found = Vec::new();
        let mut next = Some(from);
        while let Some(number) = next.filter(|_| found.len() < most) {
            let Ok(file) = read_generation(&self.layout, number)? else { break };
            let past = Past { number, written_unix_s: file.written_unix_s, entries: file.entries };
            found.push(past);
            next = file.parent.map(|parent| parent.number).filter(|parent| *parent < number && !is_enough(&past));
        }
        Ok(found)
    }

    /// An object's bytes, checked against its name; `None` when there is none.
    pub fn get_object(&self, digest: &Digest, max_bytes: u64) -> Result<Option<Vec<u8>>, StateError> {
        match read_object(&self.layout, digest, max_bytes)? {
            ObjectBytes::Good(bytes) => Ok(Some(bytes)),
            ObjectBytes::Missing => Ok(None),
            ObjectBytes::Damaged(why) => {
                let path = self.layout.object(digest);
                Err(StateError::Damaged { path, why: format!("it {why}"), hint: DAMAGED_HINT })
            }
        }
    }

    /// Reads every object of the current set, wasm included, and reports those that are not as they should be.
    pub fn verify(&self) -> Result<Vec<ObjectProblem>, StateError> {
        let snapshot = self.snapshot()?;
        let damaged = snapshot.damaged.iter().map(|(name, why)| {
            let digest = snapshot.generation.entries[name].record;
            ObjectProblem { name: name.clone(), digest, why }
        });
        let mut problems: Vec<_> = damaged.collect();
        for (name, record) in &snapshot.records {
            for digest in load::named_objects(record) {
                let why = match read_object(&self.layout, &digest, MAX_WASM_BYTES)? {
                    ObjectBytes::Good(_) => continue,
                    ObjectBytes::Missing => "is missing",
                    ObjectBytes::Damaged(why) => why,
                };
                problems.push(ObjectProblem { name: name.clone(), digest, why });
            }
        }
        Ok(problems)
    }
}

/// Those that took the host down too often.
pub(crate) fn quarantined(deaths: &Deaths) -> Quarantined {
    Quarantined::of(deaths.iter().map(|(name, death)| (name, death.count, death.target)))
}

fn empty() -> Snapshot {
    Snapshot {
        generation: Generation::birth(0, Digest::from_bytes([0; 32])),
        digest: None,
        next_number: 1,
        records: BTreeMap::new(),
        damaged: BTreeMap::new(),
        floors: Floors::default(),
        last_good: None,
        paused: Paused::default(),
        recovered: None,
    }
}
