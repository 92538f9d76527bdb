//! Owns the commit: the order of writes and syncs after which a set counts, whatever happens next.
//!
//! It takes the set as it is; what belongs in it was decided before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StateError;
use super::layout::{current_target, temporary};
use super::load::{GOOD_FIRST_LINE, MAX_RECORD_BYTES, damaged_floors, named_objects};
use super::read::{ObjectBytes, open_file, read_file, read_link, read_object};
use super::writer::HostWriter;
use crate::audit::Accepted;
use crate::digest::Digest;
use crate::floors::{Floors, FloorsFile, MAX_FLOORS_BYTES};
use crate::generation::{Decoded, Generation, Note};
use crate::name::InstallationName;
use crate::record::Record;
use crate::sealed::{self, END_LINE_BYTES, Sealed};

/// Up to how many syncs new objects get one each, files and directories; above that the file system is synced as a
/// whole, which also waits for whatever others wrote to it.
const MAX_SINGLE_SYNCS: usize = 8;

/// More storage ids than generations that were lost can have given out.
const LOST_STORAGE_IDS: u64 = 1 << 32;

/// What was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The set, as it now is on disk.
    pub current: Arc<Decoded>,
    /// The floors in force. Never below those that were handed in.
    pub floors: Floors,
    /// The number for the next generation.
    pub next_number: u64,
    /// Why what it changed is not in the audit log yet, if it is not: the next record or the next start writes it.
    pub not_recorded: Option<String>,
}

/// Objects of a set that are not durable yet.
#[derive(Default)]
struct NewObjects {
    digests: BTreeSet<Digest>,
    files: Vec<PathBuf>,
    directories: BTreeSet<PathBuf>,
    /// What the records that the set before did not have accepted.
    accepted: BTreeMap<Digest, Accepted>,
}

impl Committed {
    /// A copy of the set to make changes in, which follows it.
    pub fn successor(&self, now_unix_s: u64) -> Generation {
        self.current.generation.successor(self.current.digest, self.next_number, now_unix_s)
    }
}

impl HostWriter {
    /// Makes `generation` the current one. Before the last rename nothing counts; after it everything does.
    pub(super) fn commit(&mut self, generation: Generation, floors: Floors) -> Result<Committed, StateError> {
        self.disk.check_going()?;
        self.check_disk_is_ours()?;
        self.commit_over(generation, floors)
    }

    /// Makes what was recovered a generation of its own, in one step: whatever the lost ones gave out is not given out
    /// again, even if the host ends right after this.
    pub(super) fn commit_recovered(&mut self, why: &str, now_unix_s: u64) -> Result<Committed, StateError> {
        let mut generation = self.current.generation.successor(self.current.digest, self.highest + 1, now_unix_s);
        generation.next_storage_id = generation.next_storage_id.saturating_add(LOST_STORAGE_IDS);
        generation.notes.push(Note { kind: "recovered".to_owned(), text: why.to_owned() });
        let floors = self.floors.floors.clone();
        self.commit_over(generation, floors)
    }

    /// Whatever `current` points to now.
    fn commit_over(&mut self, mut generation: Generation, mut floors: Floors) -> Result<Committed, StateError> {
        generation.clip();
        let refused = |source| StateError::Succession { number: generation.number, source };
        generation.check_follows(&self.current, self.highest).map_err(refused)?;
        let new_objects = self.find_new_objects(&generation)?;
        // An attempt that failed half-way may have raised them already: they never fall again.
        floors.raise_to(&self.floors.floors);
        let new_floors = (floors != self.floors.floors).then(|| floors.encode(generation.number));
        generation.floors = new_floors.as_ref().map_or(self.floors.digest, |sealed| sealed.digest);
        let number = generation.number;
        let (sealed, decoded) = generation.encode(Some(&self.current));
        if let Err(error) = self.write(number, &sealed, new_floors.as_ref(), &new_objects) {
            self.reread_floors();
            return Err(error);
        }
        self.objects.set_durable(new_objects.digests);
        if let Some(sealed) = new_floors {
            self.floors = FloorsFile { generation: number, floors, digest: sealed.digest };
        }
        self.point_current_to(number)?;
        self.highest = number;
        let before = std::mem::replace(&mut self.current, Arc::new(decoded));
        let not_recorded = self.record_commit(&before.generation, &new_objects.accepted);
        Ok(Committed {
            current: Arc::clone(&self.current),
            floors: self.floors.floors.clone(),
            next_number: self.highest + 1,
            not_recorded,
        })
    }

    /// Makes the objects, the generation and the floors durable under their names.
    fn write(
        &self,
        number: u64,
        sealed: &Sealed,
        floors: Option<&Sealed>,
        objects: &NewObjects,
    ) -> Result<(), StateError> {
        let (generation_path, floors_path) = (self.layout.generation(number), self.layout.floors());
        let (new_generation, new_floors) = (temporary(&generation_path), temporary(&floors_path));
        let result = (|| {
            let mut files = vec![(self.disk.write_new(&new_generation, sealed.text.as_bytes())?, &new_generation)];
            if let Some(floors) = floors {
                files.push((self.disk.write_new(&new_floors, floors.text.as_bytes())?, &new_floors));
            }
            if objects.files.len() + objects.directories.len() > MAX_SINGLE_SYNCS {
                // Nothing points to the generation yet, so its name may come before its bytes; the floors' may not.
                self.disk.rename(&new_generation, &generation_path)?;
                self.disk.sync_file_system(self.layout.root()).inspect_err(|_| self.give_up(objects))?;
            } else {
                self.sync_each(objects, &files)?;
                self.disk.rename(&new_generation, &generation_path)?;
                self.disk.sync_dir(&self.layout.generations())?;
            }
            if floors.is_some() {
                self.disk.rename(&new_floors, &floors_path)?;
                self.disk.sync_dir(self.layout.root())?;
            }
            Ok(())
        })();
        if result.is_err() {
            self.disk.give_up(&new_generation);
            self.disk.give_up(&new_floors);
        }
        result
    }

    fn sync_each(&self, objects: &NewObjects, files: &[(File, &PathBuf)]) -> Result<(), StateError> {
        let sync_object = |path: &PathBuf| {
            let file = File::open(path).map_err(|error| StateError::io("open", path, error))?;
            self.disk.sync_file(&file, path)
        };
        let synced = objects.files.iter().try_for_each(sync_object);
        let synced = synced.and_then(|()| objects.directories.iter().try_for_each(|path| self.disk.sync_dir(path)));
        synced.inspect_err(|_| self.give_up(objects))?;
        files.iter().try_for_each(|(file, path)| self.disk.sync_file(file, path))
    }

    /// After a failed sync the system may hold as clean what never reached the disk. What is removed is fetched again;
    /// what stayed would be believed.
    fn give_up(&self, objects: &NewObjects) {
        objects.files.iter().for_each(|path| self.disk.give_up(path));
    }

    /// A failed commit may have replaced the floors all the same, and the next generation names what is there.
    fn reread_floors(&mut self) {
        let bytes = read_file(&self.layout.floors(), MAX_FLOORS_BYTES);
        match bytes.map(|bytes| FloorsFile::decode(&bytes.unwrap_or_default())) {
            Ok(Ok(file)) => self.floors = file,
            Ok(Err(error)) => self.disk.stop(&damaged_floors(&self.layout, &error)),
            Err(error) => self.disk.stop(&error),
        }
    }

    /// The commit point.
    fn point_current_to(&self, number: u64) -> Result<(), StateError> {
        let path = self.layout.current();
        let new = temporary(&path);
        let target = current_target(number);
        self.disk.remove_file(&new)?;
        self.disk.symlink(&new, &target)?;
        if let Err(error) = self.disk.rename(&new, &path) {
            self.disk.give_up(&new);
            // A call may fail and have happened. Then the set on disk is not the one in memory, and all must stop.
            let unchanged = read_link(&path).is_ok_and(|link| link.as_ref() != Some(&target));
            if !unchanged {
                self.disk.stop(&error);
            }
            return Err(error);
        }
        self.disk.sync_dir(self.layout.root())
    }

    /// Whether `current` still is what this process committed last.
    fn check_disk_is_ours(&self) -> Result<(), StateError> {
        let number = self.current.generation.number;
        let path = self.layout.current();
        if read_link(&path)? != Some(current_target(number)) {
            let why = format!("it does not point to generation {number} any more");
            return Err(StateError::ChangedOutside { path, why });
        }
        let path = self.layout.generation(number);
        if end_line_digest(&path)? != Some(self.current.digest) {
            let why = "it is not the generation that was committed".to_owned();
            return Err(StateError::ChangedOutside { path, why });
        }
        Ok(())
    }

    /// The objects that `generation` names and no commit made durable. All must be there.
    ///
    /// Who stored them and when does not matter, so that one that `plan` stored is made durable as well.
    fn find_new_objects(&self, generation: &Generation) -> Result<NewObjects, StateError> {
        let before: BTreeSet<Digest> = self.current.generation.entries.values().map(|slot| slot.record).collect();
        let mut objects = NewObjects::default();
        for (name, slot) in generation.entries.iter().filter(|(_, slot)| !before.contains(&slot.record)) {
            let record = self.read_record(name, &slot.record)?;
            objects.accepted.insert(slot.record, Accepted::from(&record.artifact));
            self.add(&mut objects, slot.record);
            for digest in named_objects(&record) {
                let path = self.layout.object(&digest);
                let object = |why| StateError::Object { name: name.clone(), digest, why };
                let (_, metadata) = open_file(&path)?.ok_or_else(|| object("is missing"))?;
                if digest == record.artifact.wasm && metadata.size() != record.artifact.wasm_size {
                    return Err(object("has another size"));
                }
                self.add(&mut objects, digest);
            }
        }
        if !objects.files.is_empty() {
            objects.directories.insert(self.layout.digests());
        }
        Ok(objects)
    }

    fn add(&self, objects: &mut NewObjects, digest: Digest) {
        if !self.objects.is_durable(&digest) && objects.digests.insert(digest) {
            let path = self.layout.object(&digest);
            objects.directories.extend(path.parent().map(Path::to_owned));
            objects.files.push(path);
        }
    }

    fn read_record(&self, name: &InstallationName, digest: &Digest) -> Result<Record, StateError> {
        let object = |why| StateError::Object { name: name.clone(), digest: *digest, why };
        let bytes = match read_object(&self.layout, digest, MAX_RECORD_BYTES)? {
            ObjectBytes::Good(bytes) => bytes,
            ObjectBytes::Missing => return Err(object("is missing")),
            ObjectBytes::Damaged(why) => return Err(object(why)),
        };
        let record = Record::decode(&bytes).map_err(|_| object("is no record"))?;
        if record.spec.name == *name { Ok(record) } else { Err(object("is the record of another installation")) }
    }

    pub(super) fn mark_good(&mut self, number: u64) -> Result<(), StateError> {
        let text = sealed::seal(GOOD_FIRST_LINE, &format!("generation {number}\n")).text;
        self.disk.replace(&self.layout.good(), text.as_bytes())?;
        self.last_good = Some(number);
        Ok(())
    }
}

/// The checksum in the last line of a sealed file; the lines before are not read.
fn end_line_digest(path: &Path) -> Result<Option<Digest>, StateError> {
    use std::os::unix::fs::FileExt as _;

    let Some((file, metadata)) = open_file(path)? else { return Ok(None) };
    let mut line = [0; END_LINE_BYTES];
    let Some(start) = metadata.size().checked_sub(END_LINE_BYTES as u64) else { return Ok(None) };
    file.read_exact_at(&mut line, start).map_err(|error| StateError::io("read", path, error))?;
    Ok(sealed::end_line_digest(&line))
}
