//! Looks at every file of a state and says what is not as it was written. For `fsck`.
//!
//! It needs no lock and changes nothing. Only [`repair`] removes something, with the lock, and only what is damaged
//! and comes again by itself: never a generation, never the floors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cache::{check_named, read_cache_key};
use super::disk::Disk;
use super::error::StateError;
use super::layout::{DAMAGED, Layout, TEMPORARY, generation_number};
use super::load::{GOOD_FIRST_LINE, generation_numbers, is_initialised, load, named_objects, read_generation};
use super::lock::Lock;
use super::marker::{DEATHS_FIRST_LINE, MARKERS_FIRST_LINE, MAX_LINES_BYTES};
use super::mirrors;
use super::read::{ObjectBytes, list, read_file, read_object};
use super::reader::{Reader, Snapshot};
use super::secret_key::read_secret_key;
use crate::audit::query::Query;
use crate::digest::Digest;
use crate::escape::escape;
use crate::manifest::MAX_WASM_BYTES;
use crate::name::InstallationName;
use crate::paused::{MAX_PAUSED_BYTES, Paused};
use crate::sealed;

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Kebab-case, from an open set.
    pub code: String,
    /// The file below the state directory, or the installation.
    pub place: String,
    /// What is wrong: one sentence without a full stop.
    pub why: String,
    /// What to do about it.
    pub advice: String,
    /// Whether it is only worth knowing: nothing is lost and nothing must be done.
    pub note: bool,
    /// What [`repair`] removes.
    #[serde(skip)]
    remove: Option<PathBuf>,
}

/// What was looked at.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Checked {
    /// Generation files.
    pub generations: u64,
    /// Objects.
    pub objects: u64,
    /// Entries of the code cache of this engine.
    pub cache_entries: u64,
    /// Repositories that fetches go into.
    pub mirrors: u64,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What is committed, where it can be read.
    #[serde(skip)]
    pub snapshot: Option<Snapshot>,
}

impl Finding {
    /// Something that is wrong.
    pub fn new(code: &str, place: impl Into<String>, why: impl Into<String>, advice: impl Into<String>) -> Self {
        let (place, why, advice) = (place.into(), why.into(), advice.into());
        Self { code: code.to_owned(), place, why, advice, note: false, remove: None }
    }

    pub(super) fn note(self) -> Self {
        Self { note: true, ..self }
    }

    pub(super) fn removing(self, path: PathBuf) -> Self {
        Self { remove: Some(path), ..self }
    }

    /// Whether [`repair`] does something about it.
    pub fn is_repairable(&self) -> bool {
        self.remove.is_some()
    }
}

/// Checks everything but the scratch and components' data. `engine` is the one whose code is in use.
///
/// An error means that nothing could be checked: the format is another version's, or the disk does not answer.
pub fn check(reader: &Reader, engine: &Digest) -> Result<Checked, StateError> {
    let layout = &*reader.layout;
    let mut checked = Checked::default();
    if !is_initialised(layout)? {
        return Ok(checked);
    }
    check_chain(layout, &mut checked)?;
    check_current(layout, &mut checked)?;
    check_small_files(layout, &mut checked)?;
    check_objects(layout, &mut checked)?;
    check_cache(layout, engine, &mut checked)?;
    check_leftovers(layout, &mut checked)?;
    check_audit(reader, &mut checked)?;
    mirrors::check(layout, &mut checked)?;
    Ok(checked)
}

/// Removes what can be removed of `findings`; gives how many. Takes the lock, so no host may run.
pub fn repair(reader: &Reader, findings: &[Finding], now_unix_s: u64) -> Result<usize, StateError> {
    let paths: Vec<&PathBuf> = findings.iter().filter_map(|finding| finding.remove.as_ref()).collect();
    if paths.is_empty() {
        return Ok(0);
    }
    let _lock = Lock::take(&reader.layout, now_unix_s)?;
    let disk = Disk::new(None);
    let mut removed = 0;
    for path in paths {
        removed += usize::from(if path.is_dir() {
            mirrors::drop_repository(&disk, path)?
        } else {
            disk.remove_file(path)?;
            true
        });
    }
    Ok(removed)
}

fn place(layout: &Layout, path: &Path) -> String {
    escape(&path.strip_prefix(layout.root()).unwrap_or(path).to_string_lossy())
}

/// Every generation file, and that each names the one before it.
fn check_chain(layout: &Layout, checked: &mut Checked) -> Result<(), StateError> {
    let mut digests: BTreeMap<u64, Digest> = BTreeMap::new();
    for number in generation_numbers(layout)? {
        let path = layout.generation(number);
        let at = place(layout, &path);
        let file = match read_generation(layout, number) {
            Ok(Ok(file)) => file,
            // Removed since the list was made.
            Ok(Err(_)) if !path.exists() => continue,
            Ok(Err(why)) => {
                let advice =
                    "restore it from a backup; a host takes the newest intact one, and `history` lacks this one";
                checked.findings.push(Finding::new("generation-damaged", at, why, advice));
                continue;
            }
            Err(error) => {
                checked.findings.push(Finding::new(
                    "generation-unreadable",
                    at,
                    error.to_string(),
                    "restore it from a backup",
                ));
                continue;
            }
        };
        checked.generations += 1;
        if let Some(parent) = file.parent
            && digests.get(&parent.number).is_some_and(|digest| *digest != parent.digest)
        {
            let why = format!("it follows another generation {} than the one that is kept", parent.number);
            checked.findings.push(Finding::new("generation-chain", at, why, "restore gen/ from one backup"));
        }
        digests.insert(number, file.digest);
    }
    for name in list(&layout.generations())?
        .iter()
        .filter(|name| name.strip_suffix(DAMAGED).and_then(generation_number).is_some())
    {
        let why = "a host found it damaged and set it aside";
        let advice = "look at it if you want to know the cause; `gc` removes it in time";
        checked
            .findings
            .push(Finding::new("generation-set-aside", format!("gen/{}", escape(name)), why, advice).note());
    }
    Ok(())
}

/// What is committed: the current generation, its records and their objects, and the floors.
fn check_current(layout: &Layout, checked: &mut Checked) -> Result<(), StateError> {
    let loaded = match load(layout, None) {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return Ok(()),
        Err(error) => {
            let advice = error.hint().unwrap_or("restore the state from a backup");
            checked.findings.push(Finding::new("state-unusable", "state", error.to_string(), advice));
            return Ok(());
        }
    };
    if let Some(recovered) = &loaded.recovered {
        let advice =
            format!("the next start of a host goes on from generation {}; or restore a backup", recovered.number);
        checked.findings.push(Finding::new("current-lost", "current", &*recovered.why, advice));
    }
    let snapshot = Snapshot::of(layout, loaded)?;
    for (name, why) in &snapshot.damaged {
        let advice = "the next pass of a host makes it anew from its desired file";
        checked.findings.push(Finding::new("record-damaged", name.to_string(), format!("its record {why}"), advice));
    }
    for (name, record) in &snapshot.records {
        let artifact = &record.artifact;
        let high = snapshot.floors.of(&artifact.package).high;
        if high < artifact.sequence {
            let why = format!("{} has sequence {}, and the floors say {high}", artifact.package, artifact.sequence);
            let advice = "restore the newest floors file that you have; an older release could be replayed";
            checked.findings.push(Finding::new("floors-too-low", name.to_string(), why, advice));
        }
        for digest in named_objects(record).into_iter().filter(|digest| !layout.object(digest).exists()) {
            let why = format!("its object {} is missing", digest.short());
            let advice = "the next pass of a host fetches it again from its source";
            checked.findings.push(Finding::new("object-missing", name.to_string(), why, advice));
        }
    }
    checked.snapshot = Some(snapshot);
    Ok(())
}

/// The chain of the audit log.
fn check_audit(reader: &Reader, checked: &mut Checked) -> Result<(), StateError> {
    let found = reader.audit(&Query::default())?.chain;
    if found.broken > 0 {
        let why = found.breaks.first().cloned().unwrap_or_default();
        let advice = "`airssys-wasm audit --verify` shows every place; a backup may have what is missing";
        checked.findings.push(Finding::new("audit-broken", "audit", why, advice));
    }
    Ok(())
}

/// Files of one line or a few, each of which a host can do without.
fn check_small_files(layout: &Layout, checked: &mut Checked) -> Result<(), StateError> {
    let sealed_files = [
        (layout.good(), GOOD_FIRST_LINE, "which generation ran well last is found out anew"),
        (layout.deaths(), DEATHS_FIRST_LINE, "counts of host deaths start from zero"),
        (layout.markers(), MARKERS_FIRST_LINE, "nothing counts as having been starting when the host ended"),
    ];
    for (path, first_line, without) in sealed_files {
        let Some(bytes) = read_file(&path, MAX_LINES_BYTES)? else { continue };
        if let Err(error) = sealed::open(first_line, &bytes, MAX_LINES_BYTES) {
            let advice = format!("`fsck --repair` removes it; then {without}");
            let finding =
                Finding::new("small-file-damaged", place(layout, &path), format!("it is damaged: {error}"), advice);
            checked.findings.push(finding.removing(path));
        }
    }
    let paused = read_file(&layout.paused(), MAX_PAUSED_BYTES)?;
    if paused.is_some_and(|bytes| Paused::decode(&bytes).is_err()) {
        let why = "it is damaged, so everything counts as paused";
        let advice = "`airssys-wasm resume` with a running host writes it anew";
        checked.findings.push(Finding::new("paused-damaged", "paused", why, advice));
    }
    if let Err(why) = read_secret_key(layout) {
        let advice = "the next start of a host makes another one, and every component with secrets starts afresh once";
        checked.findings.push(Finding::new("secret-key-damaged", "secret-key", why, advice));
    }
    Ok(())
}

fn check_objects(layout: &Layout, checked: &mut Checked) -> Result<(), StateError> {
    let users = users(checked.snapshot.as_ref());
    for directory in list(&layout.digests())? {
        for name in list(&layout.digests().join(&directory))? {
            let path = layout.digests().join(&directory).join(&name);
            let at = place(layout, &path);
            let digest = Digest::from_hex(&name).ok().filter(|digest| layout.object(digest) == path);
            let Some(digest) = digest else {
                let advice = "no host put it there; look at it, then remove it";
                checked.findings.push(Finding::new("stray-file", at, "it has no name of an object", advice).note());
                continue;
            };
            let why = match read_object(layout, &digest, MAX_WASM_BYTES) {
                Ok(ObjectBytes::Good(_) | ObjectBytes::Missing) => None,
                Ok(ObjectBytes::Damaged(why)) => Some(format!("it {why}")),
                Err(error) => Some(error.to_string()),
            };
            checked.objects += 1;
            let Some(why) = why else { continue };
            let of = users.get(&digest).map_or_else(String::new, |names| format!("; it belongs to {}", join(names)));
            let advice =
                "`fsck --repair` removes it; what is needed is fetched or made again with the next pass of a host";
            checked.findings.push(Finding::new("object-damaged", at, why + &of, advice).removing(path));
        }
    }
    Ok(())
}

/// By object, which installations of the current set need it.
fn users(snapshot: Option<&Snapshot>) -> BTreeMap<Digest, BTreeSet<&InstallationName>> {
    let mut users: BTreeMap<Digest, BTreeSet<&InstallationName>> = BTreeMap::new();
    let Some(snapshot) = snapshot else { return users };
    for (name, slot) in &snapshot.generation.entries {
        users.entry(slot.record).or_default().insert(name);
        for digest in snapshot.records.get(name).into_iter().flat_map(|record| named_objects(record)) {
            users.entry(digest).or_default().insert(name);
        }
    }
    users
}

fn join(names: &BTreeSet<&InstallationName>) -> String {
    const MOST: usize = 5;
    let mut text = names.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text += &format!(" and {} more", names.len() - MOST);
    }
    text
}

fn check_cache(layout: &Layout, engine: &Digest, checked: &mut Checked) -> Result<(), StateError> {
    let entries = list(&layout.cache())?;
    let Some(key) = read_cache_key(layout)? else {
        if !entries.is_empty() {
            let why = "it is missing, damaged, or others may know it";
            let advice = "the next start of a host makes another one, and everything is compiled once more";
            checked.findings.push(Finding::new("cache-key-unusable", "cache-key", why, advice));
        }
        return Ok(());
    };
    let mut others = 0;
    for name in entries.iter().filter(|name| !name.ends_with(TEMPORARY)) {
        match check_named(layout, name, engine, &key) {
            None => others += 1,
            Some(Ok(())) => checked.cache_entries += 1,
            Some(Err(why)) => {
                let path = layout.cache().join(name);
                let advice = "it is never run: a host removes it and compiles again; `fsck --repair` removes it now";
                checked.findings.push(Finding::new("cache-damaged", place(layout, &path), why, advice).removing(path));
            }
        }
    }
    if others > 0 {
        let why = format!("{others} entries are of another version of this program, and were not checked");
        checked.findings.push(
            Finding::new("cache-of-others", "cache", why, "they are never run; `gc` removes them in time").note(),
        );
    }
    Ok(())
}

/// What unfinished writes left; beside a running host it may be a write that goes on.
fn check_leftovers(layout: &Layout, checked: &mut Checked) -> Result<(), StateError> {
    for directory in [layout.root().to_owned(), layout.generations(), layout.cache()] {
        for name in list(&directory)?.iter().filter(|name| name.ends_with(TEMPORARY)) {
            let path = directory.join(name);
            let why = "a write was not finished, or goes on just now";
            let advice = "the next start of a host removes it";
            checked.findings.push(Finding::new("leftover", place(layout, &path), why, advice).note());
        }
    }
    Ok(())
}
