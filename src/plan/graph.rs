//! Owns what depends on what among the rows, as places in them.
//!
//! Looks only at what can be reached from where a question starts: a plan with one change among many
//! installations reads a handful of specs. What follows from the answers is decided in `order`.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::rc::Rc;

use super::rows::Rows;
use crate::desired::Entry;
use crate::name::InstallationName;

/// Most names of a circle that are printed.
pub const MAX_SHOWN_CIRCLE: usize = 12;

/// One thing that an installation depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dependency<'a> {
    pub name: &'a InstallationName,
    /// Its row; `None` when there is nothing of that name.
    pub place: Option<usize>,
}

/// The dependencies that specs write down, each looked up once.
pub(super) struct Graph<'r, 'a> {
    rows: &'r Rows<'a>,
    known: RefCell<BTreeMap<usize, Rc<[Dependency<'a>]>>>,
}

impl<'r, 'a> Graph<'r, 'a> {
    pub fn new(rows: &'r Rows<'a>) -> Self {
        Self { rows, known: RefCell::default() }
    }

    /// What the row depends on: as wanted, or as committed while its file is bad or gone.
    pub fn of(&self, place: usize) -> Rc<[Dependency<'a>]> {
        if let Some(known) = self.known.borrow().get(&place) {
            return known.clone();
        }
        let found: Rc<[Dependency<'a>]> = self
            .names(place)
            .into_iter()
            .flatten()
            .map(|name| Dependency { name, place: self.rows.find(name) })
            .collect();
        self.known.borrow_mut().insert(place, found.clone());
        found
    }

    /// Whether the row depends on anything, found out without looking anything up.
    pub fn has_any(&self, place: usize) -> bool {
        self.names(place).is_some_and(|names| !names.is_empty())
    }

    fn names(&self, place: usize) -> Option<&'a BTreeSet<InstallationName>> {
        let row = self.rows.at(place);
        match (row.want, row.have) {
            (Some(Entry::Wanted { spec, .. }), _) => Some(&spec.depends_on),
            (_, Some(have)) => Some(&have.record.spec.depends_on),
            _ => None,
        }
    }

    /// The sets of rows, reachable from `starts`, that depend on themselves in a circle.
    ///
    /// Tarjan's algorithm with a stack of its own: a chain of 100,000 must not overflow the thread's.
    pub fn circles(&self, starts: impl Iterator<Item = usize>) -> Vec<BTreeSet<usize>> {
        let mut search = CircleSearch::default();
        for start in starts.filter(|start| self.has_any(*start)) {
            search.from(start, self);
        }
        search.circles
    }

    /// A shortest way from `start` through `members` back to it, as text.
    pub fn show_circle(&self, start: usize, members: &BTreeSet<usize>) -> String {
        let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(place) = waiting.pop_front() {
            for next in self.places(place).filter(|next| members.contains(next)) {
                if next == start {
                    return self.show_way(start, place, &came_from);
                }
                came_from.entry(next).or_insert_with(|| {
                    waiting.push_back(next);
                    place
                });
            }
        }
        self.rows.at(start).name.to_string()
    }

    fn show_way(&self, start: usize, last: usize, came_from: &BTreeMap<usize, usize>) -> String {
        let mut way = vec![last];
        while let Some(before) = way.last().filter(|place| **place != start).and_then(|place| came_from.get(place)) {
            way.push(*before);
        }
        way.reverse();
        let left_out = way.len().saturating_sub(MAX_SHOWN_CIRCLE);
        let mut names: Vec<String> =
            way.iter().take(MAX_SHOWN_CIRCLE).map(|place| self.rows.at(*place).name.to_string()).collect();
        if left_out > 0 {
            names.push(format!("({left_out} more)"));
        }
        names.push(self.rows.at(start).name.to_string());
        names.join(" -> ")
    }

    fn places(&self, place: usize) -> impl Iterator<Item = usize> + use<'a> {
        let dependencies = self.of(place);
        (0..dependencies.len()).filter_map(move |index| dependencies[index].place)
    }

    /// `chosen` so that each comes after what it depends on, be it through rows that `is_passed` lets the
    /// search pass through; among those that could come next, the smallest name comes first.
    pub fn dependencies_first(&self, chosen: &BTreeSet<usize>, is_passed: impl Fn(usize) -> bool) -> Vec<usize> {
        if !chosen.iter().any(|place| self.has_any(*place)) {
            return chosen.iter().copied().collect();
        }
        let mut waits: Waits = BTreeMap::new();
        let mut found: Vec<usize> = chosen.iter().copied().collect();
        while let Some(place) = found.pop() {
            if waits.contains_key(&place) {
                continue;
            }
            let before: BTreeSet<usize> =
                self.places(place).filter(|next| chosen.contains(next) || is_passed(*next)).collect();
            found.extend(&before);
            waits.insert(place, before);
        }
        release(&waits, chosen)
    }

    /// `chosen` so that each comes before what it depends on; the smallest name that can come next does.
    pub fn dependents_first(&self, chosen: &BTreeSet<usize>) -> Vec<usize> {
        let mut waits: Waits = chosen.iter().map(|place| (*place, BTreeSet::new())).collect();
        for place in chosen {
            for dependency in self.places(*place) {
                if let Some(before) = waits.get_mut(&dependency) {
                    before.insert(*place);
                }
            }
        }
        release(&waits, chosen)
    }
}

/// What each place comes after.
type Waits = BTreeMap<usize, BTreeSet<usize>>;

/// Kahn's algorithm. Places that are not `chosen` take no turn: they are passed as soon as they are free.
fn release(waits: &Waits, chosen: &BTreeSet<usize>) -> Vec<usize> {
    let mut after: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, before) in waits {
        before.iter().for_each(|before| after.entry(*before).or_default().push(*place));
    }
    let mut left: BTreeMap<usize, usize> = waits.iter().map(|(place, before)| (*place, before.len())).collect();
    let mut free: Vec<usize> = left.iter().filter(|(_, count)| **count == 0).map(|(place, _)| *place).collect();
    let mut ready: BinaryHeap<Reverse<usize>> = BinaryHeap::new();
    let mut sorted = Vec::with_capacity(chosen.len());
    loop {
        while let Some(place) = free.pop() {
            left.remove(&place);
            match chosen.contains(&place) {
                true => ready.push(Reverse(place)),
                false => set_free(place, &after, &mut left, &mut free),
            }
        }
        // Nothing is ready and something waits: a circle among committed records, which must not stop an uninstall.
        let next = ready.pop().map(|Reverse(place)| place).or_else(|| left.pop_first().map(|(place, _)| place));
        let Some(place) = next else { return sorted };
        if chosen.contains(&place) {
            sorted.push(place);
        }
        set_free(place, &after, &mut left, &mut free);
    }
}

/// Tells what comes after `place` that it has had its turn.
fn set_free(
    place: usize,
    after: &BTreeMap<usize, Vec<usize>>,
    left: &mut BTreeMap<usize, usize>,
    free: &mut Vec<usize>,
) {
    for next in after.get(&place).into_iter().flatten() {
        if let Some(count) = left.get_mut(next) {
            *count -= 1;
            if *count == 0 {
                free.push(*next);
            }
        }
    }
}

#[derive(Default)]
struct CircleSearch {
    /// For each row that was reached: when, and the earliest reached row that it leads back to.
    reached: BTreeMap<usize, (usize, usize)>,
    open: Vec<usize>,
    is_open: BTreeSet<usize>,
    circles: Vec<BTreeSet<usize>>,
}

impl CircleSearch {
    fn from(&mut self, start: usize, graph: &Graph<'_, '_>) {
        if self.reached.contains_key(&start) {
            return;
        }
        let mut path = vec![(start, self.enter(start, graph))];
        while let Some((place, left)) = path.last_mut() {
            let place = *place;
            match left.pop() {
                Some(next) if !self.reached.contains_key(&next) => path.push((next, self.enter(next, graph))),
                Some(next) if self.is_open.contains(&next) => {
                    let index = self.reached[&next].0;
                    self.lower(place, index);
                }
                Some(_) => {}
                None => {
                    path.pop();
                    self.leave(place, graph);
                    if let Some((parent, _)) = path.last() {
                        let lowest = self.reached[&place].1;
                        self.lower(*parent, lowest);
                    }
                }
            }
        }
    }

    fn enter(&mut self, place: usize, graph: &Graph<'_, '_>) -> Vec<usize> {
        let index = self.reached.len();
        self.reached.insert(place, (index, index));
        self.open.push(place);
        self.is_open.insert(place);
        graph.places(place).collect()
    }

    fn lower(&mut self, place: usize, to: usize) {
        if let Some((_, lowest)) = self.reached.get_mut(&place) {
            *lowest = to.min(*lowest);
        }
    }

    fn leave(&mut self, place: usize, graph: &Graph<'_, '_>) {
        let (index, lowest) = self.reached[&place];
        if index != lowest {
            return;
        }
        let mut members = BTreeSet::new();
        while let Some(member) = self.open.pop() {
            self.is_open.remove(&member);
            members.insert(member);
            if member == place {
                break;
            }
        }
        if members.len() > 1 || graph.places(place).any(|next| next == place) {
            self.circles.push(members);
        }
    }
}
