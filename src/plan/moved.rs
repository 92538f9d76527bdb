//! Decides which installations go on under another name.
//!
//! A move is wanted by `moved-from`. It never takes what another file still wants, and what it can't
//! take stays as it is: a wrong line must not delete anything.

use std::collections::BTreeMap;

use super::action::Reason;
use super::rows::{Row, Rows};
use crate::desired::Entry;
use crate::desired::spec::Spec;
use crate::name::InstallationName;

/// What to do about a line that can't be followed.
const REMOVE: &str = "remove the moved-from line, or let go of one of the two first";

/// What becomes of a `moved-from`.
pub(super) enum Claim<'a> {
    /// It takes over the installation at this place.
    Take(usize),
    /// There is nothing of that name here; the installation starts anew.
    NothingThere(&'a InstallationName),
    /// It can't be done.
    Refused(Reason),
}

/// All moves, by the places of their rows.
#[derive(Default)]
pub(super) struct Moves<'a> {
    claims: BTreeMap<usize, Claim<'a>>,
    /// Old place to new place.
    taken: BTreeMap<usize, usize>,
    /// Installations that somebody claims and nobody gets: they stay.
    disputed: BTreeMap<usize, Reason>,
}

impl<'a> Moves<'a> {
    /// Finds the moves. `absence` says why a missing file means nothing at the moment, if that is so.
    pub fn find(rows: &Rows<'a>, absence: Option<&Reason>) -> Self {
        let mut moves = Self::default();
        let mut by_old: BTreeMap<usize, Vec<(usize, &Spec)>> = BTreeMap::new();
        for (place, row) in rows.iter().enumerate() {
            let Some((spec, old_name)) = fresh_claim(row) else { continue };
            match rows.find(old_name).filter(|old| rows.at(*old).want.is_some() || rows.at(*old).have.is_some()) {
                Some(old_place) => by_old.entry(old_place).or_default().push((place, spec)),
                None if row.have.is_none() => drop(moves.claims.insert(place, Claim::NothingThere(old_name))),
                None => {}
            }
        }
        for (old_place, claims) in by_old {
            let old = rows.at(old_place);
            match claims.as_slice() {
                [(place, spec)] => match objection(spec, rows.at(*place), old, absence) {
                    None => {
                        moves.claims.insert(*place, Claim::Take(old_place));
                        moves.taken.insert(old_place, *place);
                    }
                    Some(reason) => moves.dispute(*place, old_place, reason),
                },
                several => {
                    let names: Vec<&str> = several.iter().map(|(place, _)| rows.at(*place).name.as_str()).collect();
                    let message = format!("several files say moved-from = \"{}\": {}", old.name, names.join(", "));
                    let reason = Reason::new("moved-from-twice", message).hint("keep the line in one of them");
                    several.iter().for_each(|(place, _)| moves.dispute(*place, old_place, reason.clone()));
                }
            }
        }
        moves
    }

    fn dispute(&mut self, place: usize, old_place: usize, reason: Reason) {
        self.disputed.insert(old_place, reason.clone());
        self.claims.insert(place, Claim::Refused(reason));
    }

    /// What the row at `place` takes over.
    pub fn claim(&self, place: usize) -> Option<&Claim<'a>> {
        self.claims.get(&place)
    }

    /// Where the installation at `old_place` goes.
    pub fn taken_by(&self, old_place: usize) -> Option<usize> {
        self.taken.get(&old_place).copied()
    }

    /// All old places with the new ones.
    pub fn taken(&self) -> impl Iterator<Item = (usize, usize)> {
        self.taken.iter().map(|(old, new)| (*old, *new))
    }

    /// Why the installation at `old_place` stays although no file wants it.
    pub fn disputed(&self, old_place: usize) -> Option<&Reason> {
        self.disputed.get(&old_place)
    }
}

/// A `moved-from` that was not carried out yet. It may stay in the file for good.
fn fresh_claim<'a>(row: &Row<'a>) -> Option<(&'a Spec, &'a InstallationName)> {
    let Some(Entry::Wanted { spec, .. }) = row.want else { return None };
    let old = spec.moved_from.as_ref().filter(|old| *old != row.name)?;
    let is_done = row.have.is_some_and(|have| have.record.spec.moved_from.as_ref() == Some(old));
    (!is_done).then_some((spec, old))
}

/// Why `new` can't take over `old`. That never depends on which of the two is installed first.
fn objection(spec: &Spec, new: &Row<'_>, old: &Row<'_>, absence: Option<&Reason>) -> Option<Reason> {
    if new.have.is_some() {
        let message = format!("{} is installed with a state of its own, so it can't take over {}", new.name, old.name);
        return Some(Reason::new("moved-from-occupied", message).hint(REMOVE));
    }
    if old.want.is_some() {
        let message = format!("{} is still wanted by a file, so nothing can take it over", old.name);
        return Some(Reason::new("moved-from-in-use", message).hint(REMOVE));
    }
    let package = &old.have?.record.artifact.package;
    if *package != spec.package {
        let message = format!("{} runs {package}, and what it keeps is not handed to {}", old.name, spec.package);
        return Some(Reason::new("moved-from-other-package", message).hint("remove the moved-from line to start anew"));
    }
    absence.cloned()
}
