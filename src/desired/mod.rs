//! Owns the desired state: what a directory of files asks for.
//!
//! It decides which installations are wanted and which are held at what they are. It reads no file, and
//! what is to be done about the difference to what runs is `plan`'s decision.
//!
//! One rule stands above the others: a bad file never removes anything.

pub mod config;
pub mod file;
pub mod format;
pub mod origin;
pub mod source;
pub mod spec;
pub mod supervision;
#[cfg(test)]
mod tests;
pub mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::desired::file::{ParsedFile, WantedFile};
use crate::desired::spec::{Origin, Spec};
use crate::diagnostic::Diagnostic;
use crate::escape::escape;
use crate::name::InstallationName;

pub use file::is_desired_file_name;
pub use write::write;

/// Most files that one message names.
const MAX_FILES_IN_MESSAGE: usize = 5;
/// Most problems that are kept for one installation.
const MAX_PROBLEMS: usize = 100;

/// One entry of the directory.
#[derive(Debug, Clone)]
pub enum DesiredFile {
    /// Read; good or bad.
    Parsed(Arc<ParsedFile>),
    /// Could not be read.
    Unreadable(Diagnostic),
}

/// What the directory asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredState {
    /// Every installation that a file speaks of. What is not in here is not wanted.
    pub entries: BTreeMap<InstallationName, Entry>,
    /// Bad files of which nobody knows for certain which installation they define: nothing may be deleted while there are any.
    pub unknown: Vec<BadFile>,
    /// Whether the list of files was complete. Whoever lists the directory clears it when it was not.
    pub complete: bool,
}

/// What is asked for one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It shall be like this.
    Wanted {
        /// What one valid file asks for.
        spec: Arc<Spec>,
        /// Where that is written.
        origin: Arc<Origin>,
    },
    /// It shall stay as it is, installed or not.
    Held(Held),
}

/// Why an installation stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The names of the files that speak of it, escaped.
    pub files: Vec<String>,
    /// What is wrong with them.
    pub problems: Vec<Diagnostic>,
}

/// A bad file whose path has no last good parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFile {
    /// The file's name, escaped.
    pub file: String,
    /// What is wrong with it.
    pub problems: Vec<Diagnostic>,
}

/// The files that speak of one installation.
#[derive(Default)]
struct Claims<'f> {
    good: Vec<(&'f str, &'f WantedFile)>,
    bad: Vec<(&'f str, &'f [Diagnostic])>,
    /// Why it is held although its own file is good.
    conflicts: Vec<Diagnostic>,
}

/// Old names, each with the names that want to take its place and the files that say so.
type Moves<'f> = BTreeMap<&'f InstallationName, BTreeMap<&'f InstallationName, Vec<Mover<'f>>>>;

/// A file with a `moved-from`.
struct Mover<'f> {
    file: &'f str,
    is_good: bool,
}

/// Puts the files of a directory together.
///
/// `last_good` says which installation each path defined when it was last good. A bad file holds that
/// installation, and the one that it names itself.
pub fn assemble(files: &BTreeMap<String, DesiredFile>, last_good: &BTreeMap<String, InstallationName>) -> DesiredState {
    let mut claims: BTreeMap<&InstallationName, Claims<'_>> = BTreeMap::new();
    let mut moves: Moves<'_> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (file, desired) in files {
        let (own, moved_from, problems) = match desired {
            DesiredFile::Unreadable(problem) => (None, None, std::slice::from_ref(problem)),
            DesiredFile::Parsed(parsed) => match &parsed.outcome {
                Err(problems) => (parsed.name_hint.as_ref(), parsed.moved_from_hint.as_ref(), problems.as_slice()),
                Ok(wanted) => {
                    claims.entry(&wanted.spec.name).or_default().good.push((file, wanted));
                    if let Some(moved_from) = &wanted.spec.moved_from {
                        let movers = moves.entry(moved_from).or_default().entry(&wanted.spec.name).or_default();
                        movers.push(Mover { file, is_good: true });
                    }
                    continue;
                }
            },
        };
        let last = last_good.get(file);
        for name in BTreeSet::from_iter(own.into_iter().chain(last)) {
            claims.entry(name).or_default().bad.push((file, problems));
        }
        if let (Some(own), Some(moved_from)) = (own, moved_from) {
            let movers = moves.entry(moved_from).or_default().entry(own).or_default();
            movers.push(Mover { file, is_good: false });
        }
        if last.is_none() {
            unknown.push(BadFile { file: escape(file), problems: problems.to_vec() });
        }
    }
    add_conflicts(&moves, &mut claims);
    let mut entries: BTreeMap<_, _> =
        claims.into_iter().map(|(name, claims)| (name.clone(), decide(name, claims))).collect();
    hold_what_would_be_moved(&moves, &mut entries);
    DesiredState { entries, unknown, complete: true }
}

/// A move needs an old name that no other file defines and that nothing else moves.
fn add_conflicts<'f>(moves: &Moves<'f>, claims: &mut BTreeMap<&'f InstallationName, Claims<'f>>) {
    for (old, takers) in moves {
        if takers.len() > 1 {
            let files = list(takers.values().flatten().map(|mover| mover.file));
            let message = format!("\"{old}\" can become only one installation, and {files} name it in `moved-from`");
            for (new, movers) in takers {
                let conflicts = movers
                    .iter()
                    .map(|mover| Diagnostic::whole_file(mover.file, &message).hint("keep `moved-from` in one of them"));
                claims.entry(new).or_default().conflicts.extend(conflicts);
            }
        }
        for (new, movers) in takers {
            // A bad file is held anyway; its move takes nothing from anybody.
            for mover in movers.iter().filter(|mover| mover.is_good) {
                let Some(of_old) = claims.get(old) else { continue };
                let mut others = of_old.files().filter(|other| *other != mover.file).peekable();
                if others.peek().is_none() {
                    continue;
                }
                let others = list(others);
                let message = format!("\"{new}\" can't take the place of \"{old}\", which {others} defines");
                let hint = format!("remove {others} to move \"{old}\"; otherwise remove `moved-from` here");
                let conflict = Diagnostic::whole_file(mover.file, message).hint(hint);
                for name in [old, new] {
                    claims.entry(name).or_default().conflicts.push(conflict.clone());
                }
            }
        }
    }
}

impl<'f> Claims<'f> {
    fn files(&self) -> impl Iterator<Item = &'f str> {
        self.good.iter().map(|(file, _)| *file).chain(self.bad.iter().map(|(file, _)| *file))
    }
}

fn decide(name: &InstallationName, claims: Claims<'_>) -> Entry {
    if let (&[(_, wanted)], [], []) = (claims.good.as_slice(), claims.bad.as_slice(), claims.conflicts.as_slice()) {
        return Entry::Wanted { spec: wanted.spec.clone(), origin: wanted.origin.clone() };
    }
    let mut files: Vec<&str> = claims.files().collect();
    files.sort_unstable();
    let mut problems = Vec::new();
    if let [first, _, ..] = files.as_slice() {
        let count = files.len();
        let names = list(files.iter().copied());
        let message = format!("\"{name}\" is defined by {count} files: {names}");
        let hint = "keep one of them, or give each a `name` of its own; until then it stays as it is";
        problems.push(Diagnostic::whole_file(first, message).hint(hint));
    }
    problems.extend(claims.conflicts);
    problems.extend(claims.bad.iter().flat_map(|(_, problems)| problems.iter().cloned()));
    problems.truncate(MAX_PROBLEMS);
    Entry::Held(Held { files: files.into_iter().map(escape).collect(), problems })
}

/// While the installation that takes a place is held, the one whose place it takes must not vanish.
fn hold_what_would_be_moved(moves: &Moves<'_>, entries: &mut BTreeMap<InstallationName, Entry>) {
    for (old, takers) in moves {
        if entries.contains_key(*old) {
            continue;
        }
        let mut held = takers.iter().filter(|(new, _)| matches!(entries.get(**new), Some(Entry::Held(_)))).peekable();
        let Some((new, _)) = held.peek() else { continue };
        let message = format!("\"{old}\" stays as it is, because \"{new}\", which takes its place, is held");
        let files: Vec<&str> = held.flat_map(|(_, movers)| movers.iter().map(|mover| mover.file)).collect();
        let problems = files.iter().take(1).map(|file| Diagnostic::whole_file(file, &message)).collect();
        let files = files.into_iter().map(escape).collect();
        entries.insert((*old).clone(), Entry::Held(Held { files, problems }));
    }
}

/// `a.toml, b.toml and 3 more`.
fn list<'f>(mut files: impl Iterator<Item = &'f str>) -> String {
    let text = files.by_ref().take(MAX_FILES_IN_MESSAGE).map(escape).collect::<Vec<_>>().join(", ");
    match files.count() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
