//! A small home with a few components, and what must hold for it whatever happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::*;
use crate::desired::spec::{OnUninstall, Origin, Require, Source, Spec, Supervision};
use crate::digest::Digest;
use crate::floors::Floors;
use crate::generation::{Generation, Slot};
use crate::home::Home;
use crate::limits::{LimitOverrides, Limits};
use crate::name::{InstallationName, PackageName};
use crate::permission::{Grant, Permissions};
use crate::record::{ArtifactIdentity, Record};

/// A time, in seconds since 1970.
pub const NOW: u64 = 1_763_820_000;

/// A directory in memory where there is one: these tests look at order and outcome, not at the disk's speed.
pub fn temp_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn home_in(temp: &TempDir) -> Home {
    Home::at(&temp.path().join("home")).unwrap()
}

/// The usual options; a small disk in memory is no reason to refuse.
pub fn options() -> Options {
    Options { kept_bytes: 0, ..Options::at(NOW) }
}

pub fn with_faults(faults: FaultHook) -> Options {
    Options { faults: Some(faults), ..options() }
}

pub fn open(home: &Home) -> Opened {
    Store::open(home, options()).unwrap()
}

/// `Opened` has no `Debug`, so no `unwrap_err` either.
pub fn open_error(home: &Home, options: Options) -> StateError {
    match Store::open(home, options) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

pub fn name(text: &str) -> InstallationName {
    text.parse().unwrap()
}

pub fn package(text: &str) -> PackageName {
    format!("acme:{text}").parse().unwrap()
}

fn spec(text: &str) -> Spec {
    Spec {
        name: name(text),
        package: package(text),
        enabled: true,
        depends_on: BTreeSet::new(),
        moved_from: None,
        require: Require::default(),
        source: Source::File { path: format!("../components/{text}") },
        grant: Grant::default(),
        links: BTreeMap::new(),
        config: serde_json::Map::new(),
        limits: LimitOverrides::default(),
        supervision: Supervision::default(),
        on_uninstall: OnUninstall::default(),
        delivery: crate::desired::spec::Delivery::default(),
        breaker: None,
        triggers: Vec::new(),
        subscriptions: Default::default(),
    }
}

/// The bytes of a release: manifest, signature, wasm.
pub fn release(text: &str, sequence: u64) -> [Vec<u8>; 3] {
    let wasm = format!("\0asm {text} {sequence}").repeat(40).into_bytes();
    [format!("manifest {text} {sequence}").into_bytes(), format!("signature {text} {sequence}").into_bytes(), wasm]
}

pub fn record(text: &str, sequence: u64) -> Record {
    let [manifest, signature, wasm] = release(text, sequence);
    Record {
        spec: spec(text),
        origin: Origin { file: format!("{text}.toml"), lines: BTreeMap::new() },
        artifact: ArtifactIdentity {
            package: package(text),
            version: semver::Version::new(1, sequence, 0),
            sequence,
            manifest: Digest::of(&manifest),
            signature: Digest::of(&signature),
            wasm: Digest::of(&wasm),
            wasm_size: wasm.len() as u64,
            publisher: "acme".to_owned(),
            signers: BTreeSet::new(),
            ask: Permissions::default(),
            codecs: Default::default(),
            expires: None,
            stateless: false,
            metadata: serde_json::Map::new(),
        },
        effective: Permissions::default(),
        limits: Limits::resolve(&LimitOverrides::default(), &LimitOverrides::default()),
        secrets: BTreeMap::new(),
        revision: None,
        surface: None,
    }
}

/// Stores a release and its record, as resolving and planning do.
pub fn put_release(objects: &Objects, text: &str, sequence: u64) -> Result<Digest, StateError> {
    let [manifest, signature, wasm] = release(text, sequence);
    objects.put_object(&manifest)?;
    objects.put_object(&signature)?;
    objects.put_file(&mut wasm.as_slice(), 1 << 20)?;
    Ok(objects.put_object(&record(text, sequence).encode())?.digest)
}

/// One change of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Installs or updates to the release with this sequence.
    Release(&'static str, u64),
    /// The same release with another spec: a new record, nothing else.
    Reconfigure(&'static str, u64),
    Uninstall(&'static str),
    /// Raises the floors and leaves the set as it is.
    Accept(&'static str, u64),
}

/// What a step makes of a set.
pub fn change(generation: &mut Generation, floors: &mut Floors, step: Step) {
    let set = |generation: &mut Generation, text, record: &Record| {
        let known = generation.entries.get(text).map(|slot: &Slot| slot.storage_id);
        let storage_id = known.unwrap_or(generation.next_storage_id);
        generation.next_storage_id = generation.next_storage_id.max(storage_id + 1);
        generation.entries.insert(name(text), Slot { record: Digest::of(&record.encode()), storage_id });
    };
    match step {
        Step::Release(text, sequence) => {
            set(generation, text, &record(text, sequence));
            floors.accept(&package(text), sequence);
        }
        Step::Reconfigure(text, sequence) => set(generation, text, &reconfigured(text, sequence)),
        Step::Uninstall(text) => drop(generation.entries.remove(text)),
        Step::Accept(text, sequence) => floors.accept(&package(text), sequence),
    }
}

fn reconfigured(text: &str, sequence: u64) -> Record {
    let mut record = record(text, sequence);
    record.spec.config.insert("reconfigured".to_owned(), true.into());
    record
}

/// Carries a step out, from the objects to the mark, on what is committed now.
pub fn carry_out(store: &Store, step: Step) -> Result<Committed, StateError> {
    carry_out_timed(store, step).map(|(committed, _)| committed)
}

/// The same, and how long the commit took.
pub fn carry_out_timed(store: &Store, step: Step) -> Result<(Committed, Duration), StateError> {
    let snapshot = store.reader().snapshot()?;
    let mut generation = snapshot.successor(NOW + snapshot.next_number);
    let mut floors = snapshot.floors.clone();
    change(&mut generation, &mut floors, step);
    match step {
        Step::Release(text, sequence) => drop(put_release(store.objects(), text, sequence)?),
        Step::Reconfigure(text, sequence) => {
            store.objects().put_object(&reconfigured(text, sequence).encode())?;
        }
        Step::Uninstall(_) | Step::Accept(..) => {}
    }
    let start = Instant::now();
    store.commit(generation, floors).wait().map(|committed| (committed, start.elapsed()))
}

/// A home in which three components were installed and one was updated.
pub fn lived_in_home(temp: &TempDir) -> Home {
    let home = home_in(temp);
    let opened = open(&home);
    let steps = [
        Step::Release("alpha", 1),
        Step::Release("beta", 1),
        Step::Release("gamma", 1),
        Step::Release("alpha", 2),
        Step::Reconfigure("beta", 1),
    ];
    for step in steps {
        let committed = carry_out(&opened.store, step).unwrap();
        opened.store.mark_good(committed.current.generation.number).wait().unwrap();
    }
    home
}

/// A home that is equal to `from`, to be damaged.
pub fn copy_home(from: &Home, temp: &TempDir) -> Home {
    let home = home_in(temp);
    copy_tree(from.root(), home.root());
    home
}

fn copy_tree(from: &Path, to: &Path) {
    fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            copy_tree(&path, &target);
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path).unwrap(), &target).unwrap();
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// All regular files below the state directory, in order.
pub fn state_files(home: &Home) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![home.state_dir()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// What was installed, with records and storage ids: what two sets are compared by.
pub fn entries(snapshot: &Snapshot) -> BTreeMap<InstallationName, Slot> {
    snapshot.generation.entries.clone()
}

/// The process that wrote died: what is left of it in scratch carries the id of a process that is no more.
pub fn bury(home: &Home) {
    let scratch = home.state_dir().join("scratch");
    for (number, entry) in fs::read_dir(&scratch).into_iter().flatten().enumerate() {
        // The highest process id is one below this one.
        fs::rename(entry.unwrap().path(), scratch.join(format!("object-4194304-{number:016}-1"))).unwrap();
    }
}

/// Opens a home after a fault and checks I1, I2, I3 and I8; returns what is committed.
pub fn check_sound(home: &Home, allowed: &[&Snapshot], context: &str) -> Snapshot {
    bury(home);
    let opened = Store::open(home, options()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let snapshot = opened.snapshot;
    assert_eq!(snapshot.recovered, None, "{context}");
    assert!(snapshot.damaged.is_empty(), "{context}: {:?}", snapshot.damaged);
    let found = allowed.iter().find(|allowed| entries(allowed) == entries(&snapshot));
    let found =
        found.unwrap_or_else(|| panic!("{context}: neither the old nor the new set: {:?}", snapshot.generation));
    assert_eq!(opened.store.reader().verify().unwrap(), [], "{context}");
    let lower: Vec<_> = snapshot.floors.lower_than(&found.floors).collect();
    assert!(lower.is_empty(), "{context}: floors fell for {lower:?}");
    assert!(snapshot.next_number > found.generation.number, "{context}");
    assert!(matches!(Store::open(home, options()), Err(StateError::Locked { .. })), "{context}: opened twice");
    drop(opened.store);
    super::audit::check_told(home, &snapshot, context);
    drop(open(home));
    super::audit::check_told(home, &snapshot, context);
    let leftovers: Vec<_> = state_files(home)
        .into_iter()
        .filter(|path| {
            let text = path.to_string_lossy();
            text.contains("/scratch/") || text.ends_with(".tmp") || text.ends_with(".damaged")
        })
        .collect();
    assert!(leftovers.is_empty(), "{context}: left over {leftovers:?}");
    snapshot
}
