//! Owns the join of all inputs by name, and finds names in it.
//!
//! One pass over sorted maps: a row borrows what belongs to one name, so that an unchanged installation
//! costs a few comparisons and no copy. It decides nothing.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::PlanInput;
use crate::desired::Entry;
use crate::name::InstallationName;
use crate::observed::{HeldTarget, Installed};
use crate::resolution::Resolution;

/// Everything that is known about one name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub name: &'a InstallationName,
    pub want: Option<&'a Entry>,
    pub resolution: Option<&'a Resolution>,
    pub have: Option<&'a Installed>,
    pub hold: Option<&'a HeldTarget>,
}

/// Rows in the order of their names. A row's place in it stands for its name in everything that follows.
pub(super) struct Rows<'a> {
    rows: Vec<Row<'a>>,
    comparisons: Cell<u64>,
}

impl<'a> Rows<'a> {
    /// One row for each name that is wanted, installed or held.
    pub fn join(input: &PlanInput<'a>) -> Self {
        let comparisons = Cell::new(0);
        let observed = input.observed;
        let mut desired = Cursor::new(&input.desired.entries, &comparisons);
        let mut resolutions = Cursor::new(input.resolutions, &comparisons);
        let mut installed = Cursor::new(&observed.installed, &comparisons);
        let mut held = Cursor::new(&observed.held, &comparisons);
        let mut rows = Vec::with_capacity(input.desired.entries.len().max(observed.installed.len()));
        loop {
            let next = smaller(desired.peek(), installed.peek(), &comparisons);
            let Some(name) = smaller(next, held.peek(), &comparisons) else { break };
            rows.push(Row {
                name,
                want: desired.take(name),
                resolution: resolutions.take(name),
                have: installed.take(name),
                hold: held.take(name),
            });
        }
        Self { rows, comparisons }
    }

    /// All rows.
    pub fn iter(&self) -> std::slice::Iter<'_, Row<'a>> {
        self.rows.iter()
    }

    /// The row at a place.
    pub fn at(&self, place: usize) -> &Row<'a> {
        &self.rows[place]
    }

    /// The place of a name; `None` when it is neither wanted nor installed nor held.
    pub fn find(&self, name: &InstallationName) -> Option<usize> {
        let found = self.rows.binary_search_by(|row| {
            count(&self.comparisons);
            row.name.cmp(name)
        });
        found.ok()
    }

    /// How many names were compared so far.
    pub fn comparisons(&self) -> u64 {
        self.comparisons.get()
    }
}

fn count(comparisons: &Cell<u64>) {
    comparisons.set(comparisons.get() + 1);
}

/// Walks one map in step with the others.
struct Cursor<'a, 'c, V> {
    entries: std::iter::Peekable<std::collections::btree_map::Iter<'a, InstallationName, V>>,
    comparisons: &'c Cell<u64>,
}

impl<'a, 'c, V> Cursor<'a, 'c, V> {
    fn new(map: &'a BTreeMap<InstallationName, V>, comparisons: &'c Cell<u64>) -> Self {
        Self { entries: map.iter().peekable(), comparisons }
    }

    fn peek(&mut self) -> Option<&'a InstallationName> {
        self.entries.peek().map(|(name, _)| *name)
    }

    /// The value of `name`; smaller names are passed by. Names must be asked for in their order.
    fn take(&mut self, name: &InstallationName) -> Option<&'a V> {
        loop {
            let (next, value) = *self.entries.peek()?;
            // The name that was chosen is often this cursor's own, which needs no look at its text.
            let order = if std::ptr::eq(next, name) {
                Ordering::Equal
            } else {
                count(self.comparisons);
                next.cmp(name)
            };
            match order {
                Ordering::Less => drop(self.entries.next()),
                Ordering::Equal => {
                    self.entries.next();
                    return Some(value);
                }
                Ordering::Greater => return None,
            }
        }
    }
}

fn smaller<'a>(
    a: Option<&'a InstallationName>,
    b: Option<&'a InstallationName>,
    comparisons: &Cell<u64>,
) -> Option<&'a InstallationName> {
    match (a, b) {
        (Some(a), Some(b)) => {
            count(comparisons);
            Some(a.min(b))
        }
        (one, other) => one.or(other),
    }
}
