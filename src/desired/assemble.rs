//! Decides which installations a directory wants, and which are held at what they are.
//!
//! One rule stands above the others: a bad file never removes anything. So whatever a bad file may speak
//! of is held, and where nobody can know what that is, the state says so.

use std::collections::BTreeMap;

use crate::desired::file::WantedFile;
use crate::desired::{BadFile, DesiredFile, DesiredState, Entry, Held};
use crate::diagnostic::Diagnostic;
use crate::escape::escape;
use crate::name::InstallationName;

/// Most files that one message names.
const MAX_FILES_IN_MESSAGE: usize = 5;
/// Most problems that are kept for one installation.
const MAX_PROBLEMS: usize = 100;

/// That a file speaks of an installation.
struct Claim<'f> {
    name: &'f InstallationName,
    file: &'f str,
    /// What it says, when it is good.
    says: Result<&'f WantedFile, &'f [Diagnostic]>,
}

/// Old names, each with the names that want to take its place and the files that say so.
type Moves<'f> = BTreeMap<&'f InstallationName, BTreeMap<&'f InstallationName, Vec<Mover<'f>>>>;

/// A file with a `moved-from`.
struct Mover<'f> {
    file: &'f str,
    is_good: bool,
}

/// Why installations are held although their own files may be good.
type Conflicts<'f> = BTreeMap<&'f InstallationName, Vec<Diagnostic>>;

/// Puts the files of a directory together.
///
/// `last_good` says which installation each path defined when it was last good. A bad file holds that
/// installation, and the one that it names itself.
pub fn assemble(files: &BTreeMap<String, DesiredFile>, last_good: &BTreeMap<String, InstallationName>) -> DesiredState {
    let mut claims: Vec<Claim<'_>> = Vec::with_capacity(files.len());
    let mut moves: Moves<'_> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (file, desired) in files {
        let (own, moved_from, problems) = match desired {
            DesiredFile::Unreadable(problem) => (None, None, std::slice::from_ref(problem)),
            DesiredFile::Parsed(parsed) => match &parsed.outcome {
                Err(problems) => (parsed.name_hint.as_ref(), parsed.moved_from_hint.as_ref(), problems.as_slice()),
                Ok(wanted) => {
                    let name = &wanted.spec.name;
                    claims.push(Claim { name, file, says: Ok(wanted) });
                    if let Some(old) = &wanted.spec.moved_from {
                        moves.entry(old).or_default().entry(name).or_default().push(Mover { file, is_good: true });
                    }
                    continue;
                }
            },
        };
        let last = last_good.get(file);
        let says = Err(problems);
        claims.extend(own.map(|name| Claim { name, file, says }));
        claims.extend(last.filter(|last| own != Some(*last)).map(|name| Claim { name, file, says }));
        if let (Some(own), Some(old)) = (own, moved_from) {
            moves.entry(old).or_default().entry(own).or_default().push(Mover { file, is_good: false });
        }
        if last.is_none() {
            unknown.push(BadFile { file: escape(file), problems: problems.to_vec() });
        }
    }
    // Stable: the files of one name stay in their own order.
    claims.sort_by_key(|claim| claim.name);
    let mut conflicts = find_conflicts(&moves, &claims);
    let groups = claims.chunk_by(|a, b| a.name == b.name);
    let decided = groups.map(|group| {
        let name = group[0].name;
        (name.clone(), decide(name, group, conflicts.remove(name).unwrap_or_default()))
    });
    let mut entries = decided.collect();
    hold_what_would_be_moved(&moves, &mut entries);
    DesiredState { entries, unknown, complete: true, commit: None }
}

/// A move needs an old name that no other file defines and that nothing else moves.
fn find_conflicts<'f>(moves: &Moves<'f>, claims: &[Claim<'f>]) -> Conflicts<'f> {
    let mut conflicts = Conflicts::new();
    for (old, takers) in moves {
        if takers.len() > 1 {
            let files = list(takers.values().flatten().map(|mover| mover.file));
            let message = format!("\"{old}\" can become only one installation, and {files} name it in `moved-from`");
            for (new, movers) in takers {
                let found = movers
                    .iter()
                    .take(MAX_PROBLEMS)
                    .map(|mover| Diagnostic::whole_file(mover.file, &message).hint("keep `moved-from` in one of them"));
                conflicts.entry(new).or_default().extend(found);
            }
        }
        let start = claims.partition_point(|claim| claim.name < *old);
        let of_old = claims[start..].iter().take_while(|claim| claim.name == *old);
        let files_of_old: Vec<&str> = of_old.map(|claim| claim.file).collect();
        // A bad file is held anyway; its move takes nothing from anybody.
        let good = takers.iter().flat_map(|(new, movers)| movers.iter().map(move |mover| (*new, mover)));
        for (new, mover) in good.filter(|(_, mover)| mover.is_good) {
            let mut others = files_of_old.iter().copied().filter(|other| *other != mover.file).peekable();
            if others.peek().is_none() {
                continue;
            }
            let others = list(others);
            let message = format!("\"{new}\" can't take the place of \"{old}\", which {others} defines");
            let hint = format!("remove {others} to move \"{old}\"; otherwise remove `moved-from` here");
            let conflict = Diagnostic::whole_file(mover.file, message).hint(hint);
            for name in [*old, new] {
                let found = conflicts.entry(name).or_default();
                if found.len() < MAX_PROBLEMS {
                    found.push(conflict.clone());
                }
            }
        }
    }
    conflicts
}

fn decide(name: &InstallationName, claims: &[Claim<'_>], conflicts: Vec<Diagnostic>) -> Entry {
    if let ([Claim { says: Ok(wanted), .. }], []) = (claims, conflicts.as_slice()) {
        return Entry::Wanted { spec: wanted.spec.clone(), origin: wanted.origin.clone() };
    }
    let mut problems = Vec::new();
    if let [first, _, ..] = claims {
        let names = list(claims.iter().map(|claim| claim.file));
        let message = format!("\"{name}\" is defined by {} files: {names}", claims.len());
        let hint = "keep one of them, or give each a `name` of its own; until then it stays as it is";
        problems.push(Diagnostic::whole_file(first.file, message).hint(hint));
    }
    problems.extend(conflicts);
    let of_bad_files = claims.iter().filter_map(|claim| claim.says.err()).flatten();
    problems.extend(of_bad_files.take(MAX_PROBLEMS).cloned());
    problems.truncate(MAX_PROBLEMS);
    Entry::Held(Held { files: claims.iter().map(|claim| escape(claim.file)).collect(), problems })
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
