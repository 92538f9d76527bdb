//! Cuts of power: what was written and not synced may be lost, in any combination.
//!
//! The calls of a host are recorded and played into a model of a disk that knows which names and bytes are durable. At
//! every call the model is cut, laid out as a real directory, and opened.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::super::*;
use super::fixture::*;
use crate::digest::Digest;
use crate::home::Home;

/// A coin whose throws depend on nothing but the seed.
struct Coin {
    seed: u64,
    throws: u64,
}

impl Coin {
    fn heads(&mut self) -> bool {
        self.throws += 1;
        let bytes = [self.seed.to_le_bytes(), self.throws.to_le_bytes()].concat();
        Digest::of(&bytes).as_bytes()[0] & 1 == 0
    }
}

/// A recorded call.
#[derive(Debug, Clone)]
enum Call {
    MakeDir(PathBuf),
    Create(PathBuf),
    Write(PathBuf, Vec<u8>),
    SyncFile(PathBuf),
    SyncDir(PathBuf),
    SyncFileSystem,
    Rename(PathBuf, PathBuf),
    Symlink(PathBuf, PathBuf),
    Remove(PathBuf),
}

fn record_call(point: FaultPoint<'_>) -> Option<Call> {
    Some(match point {
        FaultPoint::MakeDir(path) => Call::MakeDir(path.into()),
        FaultPoint::Create(path) => Call::Create(path.into()),
        FaultPoint::Write(path, bytes) => Call::Write(path.into(), bytes.into()),
        FaultPoint::SyncFile(path) => Call::SyncFile(path.into()),
        FaultPoint::SyncDir(path) => Call::SyncDir(path.into()),
        FaultPoint::SyncFileSystem(_) => Call::SyncFileSystem,
        FaultPoint::Rename(from, to) => Call::Rename(from.into(), to.into()),
        FaultPoint::Symlink(path, target) => Call::Symlink(path.into(), target.into()),
        FaultPoint::RemoveFile(path) | FaultPoint::RemoveDir(path) => Call::Remove(path.into()),
        FaultPoint::SetMode(_) | FaultPoint::Touch(_) => return None,
    })
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Directory,
    Link(PathBuf),
    /// An index into the files: a rename keeps the file and changes its name.
    File(usize),
}

#[derive(Debug, Clone, Default)]
struct File {
    written: Vec<u8>,
    durable: Vec<u8>,
}

/// Names and bytes, as the system shows them and as the disk has them.
#[derive(Debug, Clone, Default)]
struct ModelDisk {
    files: Vec<File>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
}

impl ModelDisk {
    /// Everything below `root` is there and durable.
    fn of(root: &Path) -> Self {
        let mut disk = Self::default();
        let mut paths = vec![root.to_owned()];
        while let Some(path) = paths.pop() {
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let node = if kind.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                Node::Directory
            } else if kind.is_symlink() {
                Node::Link(fs::read_link(&path).unwrap())
            } else {
                let bytes = fs::read(&path).unwrap();
                disk.files.push(File { written: bytes.clone(), durable: bytes });
                Node::File(disk.files.len() - 1)
            };
            disk.names.insert(path, node);
        }
        disk.durable_names = disk.names.clone();
        disk
    }

    fn file(&mut self, path: &Path) -> &mut File {
        match self.names[path] {
            Node::File(index) => &mut self.files[index],
            ref other => panic!("{} is {other:?}", path.display()),
        }
    }

    fn play(&mut self, call: &Call) {
        match call {
            Call::MakeDir(path) => drop(self.names.insert(path.clone(), Node::Directory)),
            Call::Create(path) => {
                self.files.push(File::default());
                self.names.insert(path.clone(), Node::File(self.files.len() - 1));
            }
            Call::Write(path, bytes) => self.file(path).written.extend_from_slice(bytes),
            Call::SyncFile(path) => {
                let file = self.file(path);
                file.durable = file.written.clone();
            }
            Call::SyncDir(directory) => {
                let is_in = |path: &PathBuf| path.parent() == Some(directory);
                self.durable_names.retain(|path, _| !is_in(path));
                let now = self.names.iter().filter(|(path, _)| is_in(path));
                self.durable_names.extend(now.map(|(path, node)| (path.clone(), node.clone())));
            }
            Call::SyncFileSystem => {
                self.files.iter_mut().for_each(|file| file.durable = file.written.clone());
                self.durable_names = self.names.clone();
            }
            Call::Rename(from, to) => {
                let node = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), node);
            }
            Call::Symlink(path, target) => drop(self.names.insert(path.clone(), Node::Link(target.clone()))),
            Call::Remove(path) => drop(self.names.remove(path)),
        }
    }

    /// Lays the disk out below `to` as a cut may leave it: each change that is not durable happened if `keeps_name` says
    /// so, and each file has its durable bytes unless `keeps_bytes`.
    fn lay_out(
        &self,
        root: &Path,
        to: &Path,
        mut keeps_name: impl FnMut() -> bool,
        mut keeps_bytes: impl FnMut() -> bool,
    ) {
        let mut names = self.durable_names.clone();
        for path in self.names.keys().chain(self.durable_names.keys()) {
            if self.names.get(path) != self.durable_names.get(path) && keeps_name() {
                match self.names.get(path) {
                    Some(node) => drop(names.insert(path.clone(), node.clone())),
                    None => drop(names.remove(path)),
                }
            }
        }
        // In the order of the paths a directory comes before what is in it; without it, what is in it is lost.
        for (path, node) in names {
            let place = to.join(path.strip_prefix(root).unwrap());
            if !place.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match node {
                Node::Directory => fs::DirBuilder::new().mode(0o700).create(&place).unwrap(),
                Node::Link(target) => symlink(target, &place).unwrap(),
                Node::File(index) => {
                    let file = &self.files[index];
                    fs::write(&place, if keeps_bytes() { &file.written } else { &file.durable }).unwrap();
                }
            }
        }
    }
}

/// Carries steps out on a copy of `base` and returns the calls, and after which of them each set was acknowledged.
/// Calls for which `is_left_out` are neither made nor recorded.
fn record(
    base: &Home,
    steps: &[Step],
    is_left_out: impl Fn(&Call) -> bool + Send + Sync + 'static,
) -> (Home, tempfile::TempDir, ModelDisk, Vec<Call>, Vec<(usize, Snapshot)>) {
    let temp = temp_dir();
    let home = copy_home(base, &temp);
    let disk = ModelDisk::of(home.root());
    let calls = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&calls);
    let hook: FaultHook = Arc::new(move |point| {
        let Some(call) = record_call(point) else { return Ok(()) };
        if is_left_out(&call) {
            return Err(Fault::Skipped);
        }
        recorded.lock().unwrap().push(call);
        Ok(())
    });
    let opened = Store::open(&home, with_faults(hook)).unwrap_or_else(|e| panic!("{e}"));
    let mut acknowledged = vec![(0, opened.snapshot.clone())];
    for step in steps {
        let number = carry_out(&opened.store, *step).unwrap().current.generation.number;
        acknowledged.push((calls.lock().unwrap().len(), opened.store.reader().snapshot().unwrap()));
        opened.store.mark_good(number).wait().unwrap();
    }
    drop(opened);
    let calls = calls.lock().unwrap().clone();
    (home, temp, disk, calls, acknowledged)
}

const STEPS: [Step; 5] = [
    Step::Release("delta", 1),
    Step::Reconfigure("gamma", 1),
    Step::Release("alpha", 3),
    Step::Uninstall("beta"),
    Step::Release("beta", 2),
];

/// Calls that a seeded bug leaves out.
type LeftOut = fn(&Call) -> bool;

/// How a cut treats what is not durable.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// All of it is lost.
    Strict,
    /// Names are kept and bytes are lost: files of length zero, as some file systems leave them.
    NamesOnly,
    /// Bytes are kept and names are lost.
    BytesOnly,
    /// Each name and each file as a coin says.
    Coin(u64),
}

fn cuts() -> Vec<Cut> {
    let coins = 0..u64::from(crate::test_scale::cases(4));
    [Cut::Strict, Cut::NamesOnly, Cut::BytesOnly].into_iter().chain(coins.map(Cut::Coin)).collect()
}

/// Cuts the power after every call, in every way; calls `check` with the home, the sets that are allowed, and the case.
fn cut_everywhere(base: &Home, steps: &[Step], left_out: LeftOut, mut check: impl FnMut(&Home, &[&Snapshot], &str)) {
    let (home, _temp, mut disk, calls, acknowledged) = record(base, steps, left_out);
    for played in 0..=calls.len() {
        let last = acknowledged.iter().rposition(|(after, _)| *after <= played).unwrap();
        let allowed: Vec<&Snapshot> = acknowledged[last..].iter().take(2).map(|(_, snapshot)| snapshot).collect();
        for cut in cuts() {
            let temp = temp_dir();
            let place = home_in(&temp);
            let seed = played as u64 * 1000 + if let Cut::Coin(seed) = cut { seed } else { 0 };
            let mut names = Coin { seed, throws: 0 };
            let mut files = Coin { seed: !seed, throws: 0 };
            let keeps_name = || match cut {
                Cut::Strict | Cut::BytesOnly => false,
                Cut::NamesOnly => true,
                Cut::Coin(_) => names.heads(),
            };
            let keeps_bytes = || match cut {
                Cut::Strict | Cut::NamesOnly => false,
                Cut::BytesOnly => true,
                Cut::Coin(_) => files.heads(),
            };
            disk.lay_out(home.root(), place.root(), keeps_name, keeps_bytes);
            let last_call = played.checked_sub(1).map(|index| &calls[index]);
            check(&place, &allowed, &format!("{cut:?} after call {played}, {last_call:?}"));
        }
        if let Some(call) = calls.get(played) {
            disk.play(call);
        }
    }
}

#[test]
fn a_cut_of_power_at_any_call_leaves_the_old_or_the_new_set_and_never_loses_an_acknowledged_one() {
    let base_temp = temp_dir();
    let base = lived_in_home(&base_temp);
    let mut count = 0;
    cut_everywhere(
        &base,
        &STEPS,
        |_| false,
        |home, allowed, context| {
            check_sound(home, allowed, context);
            count += 1;
        },
    );
    eprintln!("{count} cuts");
    assert!(count > 500, "{count}");
}

#[test]
fn a_cut_of_power_at_any_call_of_the_first_start_and_install_can_be_started_again() {
    let base_temp = temp_dir();
    let base = home_in(&base_temp);
    base.create_for_plan().unwrap();
    cut_everywhere(
        &base,
        &[Step::Release("alpha", 1)],
        |_| false,
        |home, allowed, context| {
            // The home itself is not below the state, so nobody synced it.
            home.create_for_plan().unwrap();
            check_sound(home, allowed, context);
        },
    );
}

/// Seeded bugs: a test that would not notice a missing sync proves nothing about the syncs that are there.
#[test]
fn every_kind_of_sync_that_is_left_out_is_noticed() {
    let base_temp = temp_dir();
    let base = lived_in_home(&base_temp);
    let bugs: [(&str, LeftOut); 7] = [
        ("file system", |call| matches!(call, Call::SyncFileSystem)),
        ("generation file", |call| matches!(call, Call::SyncFile(path) if path.to_string_lossy().contains("/gen/"))),
        ("floors file", |call| matches!(call, Call::SyncFile(path) if path.ends_with("floors.tmp"))),
        ("object", |call| matches!(call, Call::SyncFile(path) if path.to_string_lossy().contains("/objects/"))),
        (
            "object's directory",
            |call| matches!(call, Call::SyncDir(path) if path.to_string_lossy().contains("/sha256/")),
        ),
        ("generations' directory", |call| matches!(call, Call::SyncDir(path) if path.ends_with("gen"))),
        ("state directory", |call| matches!(call, Call::SyncDir(path) if path.ends_with("state"))),
    ];
    // Few objects at a time, so that files are synced one by one, and many, so that the file system is.
    let few = [Step::Reconfigure("gamma", 1), Step::Accept("gamma", 8), Step::Uninstall("beta")];
    for (bug, left_out) in bugs {
        let found = [&few[..], &STEPS[..]].iter().any(|steps| {
            let seen = std::panic::catch_unwind(|| {
                cut_everywhere(&base, steps, left_out, |home, allowed, context| {
                    drop(check_sound(home, allowed, context))
                });
            });
            seen.is_err()
        });
        assert!(found, "nobody notices that the sync of the {bug} is left out");
    }
}
