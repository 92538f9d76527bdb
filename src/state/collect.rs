//! Owns what is kept of the past: which generations, and which objects because of them.
//!
//! Runs between passes, never during one. It removes nothing that a kept generation names, and nothing young.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, SystemTime};

use super::error::StateError;
use super::layout::{DAMAGED, generation_number};
use super::load::{self, MAX_RECORD_BYTES, generation_numbers, read_chain};
use super::mirrors::{self, SourcesInUse};
use super::open::sweep_scratch;
use super::read::{ObjectBytes, list, read_object};
use super::writer::HostWriter;
use crate::config::StateSettings;
use crate::digest::Digest;
use crate::generation::{Decoded, REBASE_EVERY};
use crate::record::Record;
use crate::status::collected::Collected;

const DAY_S: u64 = 24 * 3600;
/// Most generations that are kept, however young they are.
pub const MAX_KEPT_GENERATIONS: usize = 4096;
/// An object that nothing names is left alone for this long: somebody may be about to name it. In seconds.
pub const MIN_OBJECT_AGE_S: u64 = 3600;

/// How collecting measures age. The limits are arguments, so that tests need not wait.
#[derive(Debug, Clone)]
pub struct Keep {
    /// The time from which ages are counted.
    pub now: SystemTime,
    /// Younger objects and cache entries stay.
    pub min_object_age: Duration,
    /// Younger generations stay.
    pub generation_age: Duration,
    /// So many generations stay however old they are.
    pub generations: usize,
    /// Objects of older generations stay up to this size.
    pub max_object_bytes: u64,
    /// Which remote sources are in use.
    pub sources: SourcesInUse,
    /// Mirrors of repositories are kept up to this size.
    pub max_mirror_bytes: u64,
    /// Whether anything is removed; if not, it is only counted what would be.
    pub removes: bool,
}

impl Keep {
    /// The usual limits.
    pub fn at(now: SystemTime) -> Self {
        Self::with(now, &StateSettings::default())
    }

    /// The limits that the host's settings name.
    pub fn with(now: SystemTime, settings: &StateSettings) -> Self {
        Self {
            now,
            min_object_age: Duration::from_secs(MIN_OBJECT_AGE_S),
            generation_age: Duration::from_secs(settings.keep_days.saturating_mul(DAY_S)),
            generations: settings.keep_generations,
            max_object_bytes: settings.objects_max.0,
            sources: SourcesInUse {
                unused_for: Duration::from_secs(settings.keep_days.saturating_mul(DAY_S)),
                are_fetched: true,
                ..SourcesInUse::default()
            },
            max_mirror_bytes: settings.mirrors_max.0,
            removes: true,
        }
    }

    pub(super) fn age(&self, modified: SystemTime) -> Duration {
        self.now.duration_since(modified).unwrap_or_default()
    }
}

struct Object {
    bytes: u64,
    modified: SystemTime,
}

/// What the kept generations need.
#[derive(Default)]
struct Kept {
    generations: BTreeSet<u64>,
    records: BTreeSet<Digest>,
    objects: BTreeSet<Digest>,
    wasm: BTreeSet<Digest>,
    bytes: u64,
}

impl HostWriter {
    pub(super) fn collect(&mut self, keep: &Keep) -> Result<Collected, StateError> {
        self.disk.check_going()?;
        let objects = self.list_objects()?;
        let mut kept = self.choose(keep, &objects)?;
        // Generations first: one that is left must have its objects.
        let (generations, generation_bytes) = self.remove_generations(keep, &kept)?;
        let mut collected = Collected { generations, generation_bytes, ..Collected::default() };
        collected.scratch_bytes = sweep_scratch(&self.layout, &self.disk, keep.removes)?;
        // What a source was last is about to be installed, or waits for an approval.
        for memo in mirrors::collect(&self.layout, &self.disk, keep, &mut collected)? {
            kept.wasm.insert(memo.wasm);
            kept.objects.extend([memo.manifest, memo.signature, memo.wasm]);
        }
        for (digest, object) in &objects {
            if !kept.objects.contains(digest) && keep.age(object.modified) >= keep.min_object_age {
                if keep.removes {
                    self.disk.remove_file(&self.layout.object(digest))?;
                    self.objects.forget(digest);
                }
                collected.objects += 1;
                collected.object_bytes += object.bytes;
            }
        }
        let is_wanted = |wasm: &str, modified| {
            Digest::from_hex(wasm).is_ok_and(|digest| kept.wasm.contains(&digest))
                || keep.age(modified) < keep.min_object_age
        };
        (collected.cache_entries, collected.cache_bytes) = self.cache.retain(&self.disk, keep.removes, is_wanted)?;
        self.named_by.retain(|record, _| kept.records.contains(record));
        Ok(collected)
    }

    fn list_objects(&self) -> Result<BTreeMap<Digest, Object>, StateError> {
        let mut objects = BTreeMap::new();
        for directory in list(&self.layout.digests())? {
            for name in list(&self.layout.digests().join(directory))? {
                let Ok(digest) = Digest::from_hex(&name) else { continue };
                let path = self.layout.object(&digest);
                let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                let modified = metadata.modified().map_err(|error| StateError::io("look at", &path, error))?;
                objects.insert(digest, Object { bytes: metadata.len(), modified });
            }
        }
        Ok(objects)
    }

    /// Newest first, until a limit is met; the current one and the last good one in any case.
    fn choose(&mut self, keep: &Keep, objects: &BTreeMap<Digest, Object>) -> Result<Kept, StateError> {
        let current = self.current.generation.number;
        let mut numbers = generation_numbers(&self.layout)?;
        numbers.retain(|number| *number <= current);
        let candidates = self.candidates(keep, &numbers);
        let last_uses = self.last_uses(&numbers, candidates.first().copied())?;
        let mut kept = Kept::default();
        for (index, number) in candidates.iter().rev().enumerate() {
            if index >= keep.generations && kept.bytes > keep.max_object_bytes {
                break;
            }
            kept.generations.insert(*number);
            self.keep_records(last_uses.get(number).into_iter().flatten(), objects, &mut kept)?;
        }
        if let Some(good) = self.last_good.filter(|good| !kept.generations.contains(good))
            && let Ok(decoded) = read_chain(&self.layout, good)?
        {
            kept.generations.insert(good);
            self.keep_records(decoded.generation.entries.values().map(|slot| &slot.record), objects, &mut kept)?;
        }
        // What a kept one stands on is kept as a file; its objects are not.
        for number in kept.generations.clone() {
            kept.generations.extend(self.chain_of(number)?);
        }
        Ok(kept)
    }

    /// The last ten, and before those the young ones: the end of the list.
    fn candidates(&self, keep: &Keep, numbers: &[u64]) -> Vec<u64> {
        let is_young = |number: u64| {
            let modified = fs::symlink_metadata(self.layout.generation(number)).and_then(|m| m.modified());
            modified.is_ok_and(|modified| keep.age(modified) < keep.generation_age)
        };
        let newest_first = numbers.iter().rev().take(MAX_KEPT_GENERATIONS).enumerate();
        let kept = newest_first.take_while(|(index, number)| *index < keep.generations || is_young(**number));
        numbers[numbers.len() - kept.count()..].to_vec()
    }

    /// By generation, the records that it has and the next one has no more; those in use now stand at the current one.
    fn last_uses(&self, numbers: &[u64], first: Option<u64>) -> Result<BTreeMap<u64, BTreeSet<Digest>>, StateError> {
        let mut last_uses: BTreeMap<u64, BTreeSet<Digest>> = BTreeMap::new();
        let Some(first) = first else { return Ok(last_uses) };
        let start = self.chain_of(first)?.first().copied().unwrap_or(first);
        let mut parent: Option<Decoded> = None;
        for number in numbers.iter().copied().filter(|number| *number >= start) {
            let Ok(file) = load::read_generation(&self.layout, number)? else {
                parent = None;
                continue;
            };
            if let Some(parent) = &parent {
                let dropped = file.dropped_records(&parent.generation);
                last_uses.entry(parent.generation.number).or_default().extend(dropped);
            }
            parent = file.apply(parent).ok();
        }
        let current = &self.current.generation;
        last_uses.entry(current.number).or_default().extend(current.entries.values().map(|slot| slot.record));
        Ok(last_uses)
    }

    /// A generation and what it stands on, the base first; as far as the files are intact.
    fn chain_of(&self, number: u64) -> Result<Vec<u64>, StateError> {
        let mut chain = Vec::new();
        let mut next = Some(number);
        while let Some(number) = next.filter(|_| chain.len() < REBASE_EVERY as usize) {
            let Ok(file) = load::read_generation(&self.layout, number)? else { break };
            chain.push(number);
            next = file.parent.map(|parent| parent.number).filter(|parent| !file.is_base() && *parent < number);
        }
        chain.reverse();
        Ok(chain)
    }

    fn keep_records<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Digest>,
        objects: &BTreeMap<Digest, Object>,
        kept: &mut Kept,
    ) -> Result<(), StateError> {
        for record in records {
            if !kept.records.insert(*record) {
                continue;
            }
            // A record that is gone or damaged can't be used again, and neither can what only it names.
            let Some(named) = self.named_by(record)? else { continue };
            kept.wasm.insert(named[2]);
            for digest in named.into_iter().chain([*record]) {
                if kept.objects.insert(digest) {
                    kept.bytes += objects.get(&digest).map_or(0, |object| object.bytes);
                }
            }
        }
        Ok(())
    }

    /// The manifest, signature and wasm that a record names.
    fn named_by(&mut self, record: &Digest) -> Result<Option<[Digest; 3]>, StateError> {
        if let Some(named) = self.named_by.get(record) {
            return Ok(Some(*named));
        }
        let ObjectBytes::Good(bytes) = read_object(&self.layout, record, MAX_RECORD_BYTES)? else { return Ok(None) };
        let Ok(decoded) = Record::decode(&bytes) else { return Ok(None) };
        let named = load::named_objects(&decoded);
        self.named_by.insert(*record, named);
        Ok(Some(named))
    }

    fn remove_generations(&self, keep: &Keep, kept: &Kept) -> Result<(u64, u64), StateError> {
        let current = self.current.generation.number;
        let (mut removed, mut bytes) = (0, 0);
        for name in list(&self.layout.generations())? {
            let path = self.layout.generations().join(&name);
            let is_old = || {
                let modified = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
                modified.is_ok_and(|modified| keep.age(modified) >= keep.generation_age)
            };
            // A damaged file above the current one still says that its number was used.
            let is_past = match (generation_number(&name), name.strip_suffix(DAMAGED).and_then(generation_number)) {
                (Some(number), _) => number < current && !kept.generations.contains(&number),
                (None, Some(number)) => number < current && is_old(),
                (None, None) => false,
            };
            if is_past {
                removed += 1;
                bytes += fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
                if keep.removes {
                    self.disk.remove_file(&path)?;
                }
            }
        }
        Ok((removed, bytes))
    }
}
