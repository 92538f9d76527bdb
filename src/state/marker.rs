//! Owns the markers of components that are starting, and how often each took the host down with it.
//!
//! A marker is made before a component starts and removed when it is healthy, so that markers found at the next
//! start name the suspects. Both are of a target: what another target of the same name did says nothing of this one.
//! What is done with suspects is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::disk::Disk;
use super::error::StateError;
use super::layout::Layout;
use super::read::read_file;
use super::reply::Answer;
use super::writer::HostWriter;
use crate::digest::Digest;
use crate::generation::MAX_ENTRIES;
use crate::name::InstallationName;
use crate::sealed;

pub(super) const DEATHS_FIRST_LINE: &str = "airssys-deaths 2";
pub(super) const MARKERS_FIRST_LINE: &str = "airssys-starting 2";
/// Longest file of counts or of markers, in bytes: a line for each installation.
pub(super) const MAX_LINES_BYTES: usize = MAX_ENTRIES * 160;
const ALONE: &str = "alone";
const TOGETHER: &str = "together";

/// How a component is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With others. If the host dies, any of them may be the cause: each becomes a suspect, none is counted.
    Together,
    /// With no other starting. If the host dies, this one is counted.
    Alone,
}

/// Components whose markers were found: when the host ended they were starting.
pub type Suspects = BTreeMap<InstallationName, Suspect>;
/// How often the host died while the component started alone.
pub type Deaths = BTreeMap<InstallationName, Death>;

/// What was starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// How.
    pub start: Start,
    /// Which target.
    pub target: Digest,
}

/// The deaths of a host with one component in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// How many.
    pub count: u32,
    /// Which target it was; another one counts from zero.
    pub target: Digest,
}

/// What the writing thread does with markers.
pub(crate) enum MarkerCommand {
    /// The components are about to start.
    Set { targets: Vec<(InstallationName, Digest)>, start: Start, answer: Answer<()> },
    /// The components are healthy or were stopped.
    Clear { names: Vec<InstallationName>, answer: Answer<()> },
    /// The component's count goes back to zero.
    Forgive { name: InstallationName, answer: Answer<()> },
}

impl HostWriter {
    pub(super) fn change_markers(&mut self, command: MarkerCommand) {
        match command {
            MarkerCommand::Set { targets, start, answer } => {
                let suspect = |target| Suspect { start, target };
                self.starting.extend(targets.into_iter().map(|(name, target)| (name, suspect(target))));
                answer.send(write_markers(&self.disk, &self.layout, &self.starting));
            }
            MarkerCommand::Clear { names, answer } => {
                let names: BTreeSet<InstallationName> = names.into_iter().collect();
                let before = self.starting.len();
                self.starting.retain(|name, _| !names.contains(name));
                let is_same = self.starting.len() == before;
                answer.send(if is_same { Ok(()) } else { write_markers(&self.disk, &self.layout, &self.starting) });
            }
            MarkerCommand::Forgive { name, answer } => answer.send(self.forgive(&name)),
        }
    }

    fn forgive(&mut self, name: &InstallationName) -> Result<(), StateError> {
        match self.deaths.remove(name) {
            Some(_) => write_deaths(&self.disk, &self.layout, &self.deaths),
            None => Ok(()),
        }
    }
}

/// All markers are one file: a start of a thousand components costs one write, not a thousand. No file means none.
fn write_markers(disk: &Disk, layout: &Layout, starting: &Suspects) -> Result<(), StateError> {
    if starting.is_empty() {
        return disk.remove_file(&layout.markers());
    }
    let mut body = String::new();
    for (name, Suspect { start, target }) in starting {
        let start = match start {
            Start::Alone => ALONE,
            Start::Together => TOGETHER,
        };
        writeln!(body, "{name} {start} {target}").expect("a string takes every write");
    }
    disk.replace(&layout.markers(), sealed::seal(MARKERS_FIRST_LINE, &body).text.as_bytes())
}

/// Reads the markers that an earlier host left, and counts the one that was starting alone. What is not committed yet
/// counts like what is: it would take the host down again as often as it is tried.
pub(crate) fn open_markers(layout: &Layout, disk: &Disk) -> Result<(Deaths, Suspects), StateError> {
    let before = read_deaths(layout)?;
    let mut deaths = before.clone();
    let suspects = read_markers(layout)?;
    for (name, suspect) in suspects.iter().filter(|(_, suspect)| suspect.start == Start::Alone) {
        let death = deaths.entry(name.clone()).or_insert(Death { count: 0, target: suspect.target });
        if death.target != suspect.target {
            *death = Death { count: 0, target: suspect.target };
        }
        death.count = death.count.saturating_add(1);
    }
    if deaths != before {
        write_deaths(disk, layout, &deaths)?;
    }
    // Still suspects, and not counted again should the host end before they are started.
    let still = together(&suspects);
    if suspects != still {
        write_markers(disk, layout, &still)?;
    }
    Ok((deaths, suspects))
}

/// The same, none of them in hand.
pub(super) fn together(suspects: &Suspects) -> Suspects {
    suspects.iter().map(|(name, suspect)| (name.clone(), Suspect { start: Start::Together, ..*suspect })).collect()
}

/// The markers; a damaged file is no worse than none: it only costs the finding who took the host down.
fn read_markers(layout: &Layout) -> Result<Suspects, StateError> {
    let read = |line: &str| {
        let mut words = line.split(' ');
        let (name, start, target) = (words.next()?, words.next()?, words.next()?);
        let start = match start {
            ALONE => Start::Alone,
            TOGETHER => Start::Together,
            _ => return None,
        };
        Some((name.parse().ok()?, Suspect { start, target: target.parse().ok()? }))
    };
    Ok(read_lines(&layout.markers(), MARKERS_FIRST_LINE)?.iter().filter_map(|line| read(line)).collect())
}

/// The lines of an intact sealed file; none of any other.
fn read_lines(path: &Path, first_line: &str) -> Result<Vec<String>, StateError> {
    let Some(bytes) = read_file(path, MAX_LINES_BYTES)? else { return Ok(Vec::new()) };
    let Ok(opened) = sealed::open(first_line, &bytes, MAX_LINES_BYTES) else { return Ok(Vec::new()) };
    Ok(opened.body.lines().map(str::to_owned).collect())
}

fn write_deaths(disk: &Disk, layout: &Layout, deaths: &Deaths) -> Result<(), StateError> {
    let mut body = String::new();
    for (name, Death { count, target }) in deaths {
        writeln!(body, "{name} {count} {target}").expect("a string takes every write");
    }
    disk.replace(&layout.deaths(), sealed::seal(DEATHS_FIRST_LINE, &body).text.as_bytes())
}

/// The counts; a damaged file is no worse than none, because a component that kills hosts is soon counted again.
pub(crate) fn read_deaths(layout: &Layout) -> Result<Deaths, StateError> {
    let read = |line: &str| {
        let mut words = line.split(' ');
        let (name, count, target) = (words.next()?, words.next()?, words.next()?);
        Some((name.parse().ok()?, Death { count: count.parse().ok()?, target: target.parse().ok()? }))
    };
    Ok(read_lines(&layout.deaths(), DEATHS_FIRST_LINE)?.iter().filter_map(|line| read(line)).collect())
}
