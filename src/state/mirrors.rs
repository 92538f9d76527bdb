//! Owns how long what is below `mirrors/` is kept: memos of sources, and mirrors of repositories.
//!
//! Workers write the mirrors, each under the lock that lies in it. Whoever has that lock is never disturbed: what is
//! removed here is removed under it, and the lock goes last.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, OFlags, flock};
use sha1_checked::{Digest as _, Sha1};

use super::check::{Checked, Finding};
use super::collect::Keep;
use super::disk::Disk;
use super::error::StateError;
use super::layout::Layout;
use super::read::{list, open_file, read_file};
use crate::escape::escape;
use crate::quantity::ByteSize;
use crate::remote::memo::{MAX_MEMO_BYTES, Memo};
use crate::status::collected::Collected;

/// Deepest directory of a mirror that is looked into; deeper ones are nobody's.
const MAX_MIRROR_DEPTH: usize = 16;
/// Most bytes of mirrors that one `fsck` reads.
const MAX_CHECKED_BYTES: u64 = 64 << 30;
/// Length of the checksum at the end of a pack and of its index.
const CHECKSUM_BYTES: u64 = 20;
/// The lock of a mirror, beside its repositories.
const LOCK: &str = "lock";
/// The memo of a source, beside its mirror.
const MEMO: &str = "resolved";
/// Starts the names of mirrors of desired files.
const DESIRED: &str = "desired-";

/// The sources that are in use, as the names of their directories below `mirrors/`.
#[derive(Debug, Clone, Default)]
pub struct SourcesInUse {
    /// Their directories.
    pub names: BTreeSet<String>,
    /// What is not among them goes when it was not used for so long.
    pub unused_for: Duration,
    /// Whether a mirror that was removed can be fetched again. Offline it can't, and none that is in use is removed.
    pub are_fetched: bool,
}

/// One directory below `mirrors/`.
struct Place {
    name: String,
    path: PathBuf,
    /// The directory with the repositories, if there is one.
    mirror: Option<PathBuf>,
    bytes: u64,
    used: SystemTime,
}

impl Place {
    fn read(layout: &Layout, name: String) -> Self {
        let path = layout.mirrors().join(&name);
        let mirror = if name.starts_with(DESIRED) { path.clone() } else { path.join("git") };
        let mirror = mirror.is_dir().then_some(mirror);
        let mut place = Self { name, path, mirror, bytes: 0, used: SystemTime::UNIX_EPOCH };
        let mut seen = vec![modified(&place.path), modified(&place.path.join(MEMO))];
        if let Some(mirror) = &place.mirror {
            seen.extend([modified(mirror), modified(&mirror.join(LOCK))]);
            for entry in fs::read_dir(mirror).into_iter().flatten().flatten() {
                // Written before each opening.
                seen.push(modified(&entry.path().join("config")));
            }
            place.bytes = size(mirror, 0);
        }
        place.used = seen.into_iter().flatten().max().unwrap_or(SystemTime::UNIX_EPOCH);
        place
    }

    /// Removes the mirror, unless it is in use. Gives whether it did.
    fn drop_mirror(&self, disk: &Disk) -> Result<bool, StateError> {
        let Some(mirror) = &self.mirror else { return Ok(true) };
        let lock_path = mirror.join(LOCK);
        let Some(_lock) = try_lock(&lock_path)? else { return Ok(false) };
        for name in list(mirror)?.into_iter().filter(|name| name != LOCK) {
            remove(disk, &mirror.join(name), 0)?;
        }
        disk.remove_file(&lock_path)?;
        disk.remove_dir(mirror)?;
        Ok(true)
    }

    /// Removes everything of it, unless it is in use. Gives whether it did.
    fn drop_all(&self, disk: &Disk) -> Result<bool, StateError> {
        if !self.drop_mirror(disk)? {
            return Ok(false);
        }
        if self.path.exists() {
            remove(disk, &self.path, 0)?;
        }
        Ok(true)
    }
}

/// Removes memos and mirrors that nothing uses, then the mirrors that were used longest ago as far as there are too
/// many bytes of them. Gives the memos that are left: what they name is kept.
pub(super) fn collect(
    layout: &Layout,
    disk: &Disk,
    keep: &Keep,
    collected: &mut Collected,
) -> Result<Vec<Memo>, StateError> {
    let mut left = Vec::new();
    for name in list(&layout.mirrors())? {
        let place = Place::read(layout, name);
        let is_used = keep.sources.names.contains(&place.name) || keep.age(place.used) < keep.sources.unused_for;
        if !is_used && may_remove(keep, || place.drop_all(disk))? {
            collected.sources += 1;
            collected.mirror_bytes += place.bytes;
        } else {
            left.push(place);
        }
    }
    let mut bytes: u64 = left.iter().map(|place| place.bytes).sum();
    left.sort_by_key(|place| place.used);
    for place in left.iter().filter(|place| place.bytes > 0) {
        // The commit that was applied last is nowhere else, and offline nothing is anywhere else.
        let is_only_here = place.name.starts_with(DESIRED) || !keep.sources.are_fetched;
        if bytes <= keep.max_mirror_bytes || is_only_here && keep.sources.names.contains(&place.name) {
            continue;
        }
        if may_remove(keep, || place.drop_mirror(disk))? {
            collected.mirrors += 1;
            collected.mirror_bytes += place.bytes;
            bytes -= place.bytes;
        }
    }
    collected.kept_mirror_bytes = bytes;
    let memos = left.iter().filter_map(|place| read_memo(&place.path));
    Ok(memos.collect())
}

fn read_memo(path: &Path) -> Option<Memo> {
    let most = usize::try_from(MAX_MEMO_BYTES).unwrap_or(usize::MAX);
    Memo::decode(&read_file(&path.join(MEMO), most).ok()??)
}

fn may_remove(keep: &Keep, remove: impl FnOnce() -> Result<bool, StateError>) -> Result<bool, StateError> {
    if keep.removes { remove() } else { Ok(true) }
}

/// Removes one repository of a mirror, unless it is in use. Gives whether it did.
pub(super) fn drop_repository(disk: &Disk, repository: &Path) -> Result<bool, StateError> {
    let Some(mirror) = repository.parent() else { return Ok(false) };
    let Some(_lock) = try_lock(&mirror.join(LOCK))? else { return Ok(false) };
    remove(disk, repository, 0).map(|()| true)
}

/// Every memo, and every pack of every mirror with what checks it, against the checksums in them. Their objects are
/// hashed when they are used; nothing is parsed here, as what they hold is whatever a server sent.
pub(super) fn check(layout: &Layout, checked: &mut Checked) -> Result<(), StateError> {
    let mut budget = MAX_CHECKED_BYTES;
    for name in list(&layout.mirrors())? {
        let place = Place::read(layout, name);
        if place.path.join(MEMO).exists() && read_memo(&place.path).is_none() {
            let path = place.path.join(MEMO);
            let advice = "the source is looked at anew with the next pass; `fsck --repair` removes it";
            let at = format!("mirrors/{}/{MEMO}", escape(&place.name));
            checked.findings.push(Finding::new("memo-damaged", at, "it is damaged", advice).removing(path));
        }
        let Some(mirror) = &place.mirror else { continue };
        for repository in list(mirror)?.into_iter().filter(|name| name.ends_with(".git")) {
            check_repository(layout, &mirror.join(repository), &mut budget, checked)?;
        }
    }
    Ok(())
}

fn check_repository(
    layout: &Layout,
    repository: &Path,
    budget: &mut u64,
    checked: &mut Checked,
) -> Result<(), StateError> {
    let at = escape(&repository.strip_prefix(layout.root()).unwrap_or(repository).to_string_lossy());
    let packs = repository.join("objects/pack");
    // What is being fetched has other names.
    let is_whole = |name: &String| name.starts_with("pack-") && (name.ends_with(".pack") || name.ends_with(".idx"));
    checked.mirrors += 1;
    for name in list(&packs)?.into_iter().filter(is_whole) {
        let Some((file, metadata)) = open_file(&packs.join(&name))? else { continue };
        let Some(left) = budget.checked_sub(metadata.len()) else {
            let why = format!("it was not checked: mirrors hold more than {}", ByteSize(MAX_CHECKED_BYTES));
            checked.findings.push(Finding::new("mirror-not-checked", at, why, "`gc` removes what is unused").note());
            return Ok(());
        };
        *budget = left;
        let sound = is_checksummed(file, metadata.len()).map_err(|error| StateError::io("read", &packs, error))?;
        // Removed since the list was made, with the whole repository.
        if !sound && packs.join(&name).exists() {
            let why = format!("{} is damaged", escape(&name));
            let advice = "the next fetch throws it away and starts anew; `fsck --repair` removes it now";
            let finding = Finding::new("mirror-damaged", at, why, advice);
            checked.findings.push(finding.removing(repository.to_owned()));
            return Ok(());
        }
    }
    Ok(())
}

/// Whether a pack or its index ends with the checksum of everything before it.
fn is_checksummed(file: File, size: u64) -> io::Result<bool> {
    let Some(body) = size.checked_sub(CHECKSUM_BYTES) else { return Ok(false) };
    let mut file = io::BufReader::new(file);
    let mut hasher = Sha1::new();
    let mut buffer = vec![0; 1 << 16];
    let mut left = body;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match file.read(&mut buffer[..most])? {
            0 => return Ok(false),
            read => {
                hasher.update(&buffer[..read]);
                left -= read as u64;
            }
        }
    }
    let mut checksum = Vec::new();
    file.take(CHECKSUM_BYTES).read_to_end(&mut checksum)?;
    let result = hasher.try_finalize();
    Ok(!result.has_collision() && result.hash().as_slice() == checksum)
}

/// The lock of a mirror; none while another process or thread has it.
fn try_lock(path: &Path) -> Result<Option<File>, StateError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let file = options.open(path).map_err(|error| StateError::io("open", path, error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(None),
        Err(errno) => Err(StateError::io("lock", path, errno.into())),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).ok()?.modified().ok()
}

fn size(path: &Path, depth: usize) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() || depth == MAX_MIRROR_DEPTH {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path(), depth + 1)).sum()
}

/// Removes a file or a whole directory. Links are removed and not followed.
pub(super) fn remove(disk: &Disk, path: &Path, depth: usize) -> Result<(), StateError> {
    let metadata = fs::symlink_metadata(path).map_err(|error| StateError::io("look at", path, error))?;
    if !metadata.is_dir() {
        return disk.remove_file(path);
    }
    if depth == MAX_MIRROR_DEPTH {
        return Err(StateError::io("remove", path, io::Error::other("it lies too deep")));
    }
    for entry in fs::read_dir(path).map_err(|error| StateError::io("list", path, error))? {
        let entry = entry.map_err(|error| StateError::io("list", path, error))?;
        remove(disk, &entry.path(), depth + 1)?;
    }
    disk.remove_dir(path)
}
