//! Owns the markers of components that are starting, and how often each took the host down with it.
//!
//! A marker is made before a component starts and removed when it is healthy, so that markers found at the next
//! start name the suspects. What is done with suspects is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::disk::Disk;
use super::error::StateError;
use super::layout::Layout;
use super::read::read_file;
use super::reply::Answer;
use super::writer::HostWriter;
use crate::generation::{Generation, MAX_ENTRIES};
use crate::name::InstallationName;
use crate::sealed;

pub(super) const DEATHS_FIRST_LINE: &str = "airssys-deaths 1";
pub(super) const MARKERS_FIRST_LINE: &str = "airssys-starting 1";
/// Longest file of counts or of markers, in bytes: a line for each installation.
pub(super) const MAX_LINES_BYTES: usize = MAX_ENTRIES * 80;
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
pub type Suspects = BTreeMap<InstallationName, Start>;
/// How often the host died while the component started alone.
pub type Deaths = BTreeMap<InstallationName, u32>;

/// What the writing thread does with markers.
pub(crate) enum MarkerCommand {
    /// The components are about to start.
    Set { names: Vec<InstallationName>, start: Start, answer: Answer<()> },
    /// The components are healthy or were stopped.
    Clear { names: Vec<InstallationName>, answer: Answer<()> },
    /// The component's count goes back to zero.
    Forgive { name: InstallationName, answer: Answer<()> },
}

impl HostWriter {
    pub(super) fn change_markers(&mut self, command: MarkerCommand) {
        match command {
            MarkerCommand::Set { names, start, answer } => {
                self.starting.extend(names.into_iter().map(|name| (name, start)));
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
    for (name, start) in starting {
        let start = match start {
            Start::Alone => ALONE,
            Start::Together => TOGETHER,
        };
        writeln!(body, "{name} {start}").expect("a string takes every write");
    }
    disk.replace(&layout.markers(), sealed::seal(MARKERS_FIRST_LINE, &body).text.as_bytes())
}

/// Reads the markers that an earlier host left, and counts the one that was starting alone.
pub(crate) fn open_markers(
    layout: &Layout,
    disk: &Disk,
    generation: &Generation,
) -> Result<(Deaths, Suspects), StateError> {
    let before = read_deaths(layout)?;
    let mut deaths = before.clone();
    deaths.retain(|name, _| generation.entries.contains_key(name));
    let found = read_markers(layout)?;
    let mut suspects = found.clone();
    suspects.retain(|name, _| generation.entries.contains_key(name));
    for name in suspects.iter().filter(|(_, start)| **start == Start::Alone).map(|(name, _)| name) {
        let count = deaths.entry(name.clone()).or_insert(0);
        *count = count.saturating_add(1);
    }
    if deaths != before {
        write_deaths(disk, layout, &deaths)?;
    }
    // Still suspects, and not counted again should the host end before they are started.
    let still = suspects.keys().map(|name| (name.clone(), Start::Together)).collect();
    if found != still {
        write_markers(disk, layout, &still)?;
    }
    Ok((deaths, suspects))
}

/// The markers; a damaged file is no worse than none: it only costs the finding who took the host down.
fn read_markers(layout: &Layout) -> Result<Suspects, StateError> {
    let read = |line: &str| {
        let (name, start) = line.split_once(' ')?;
        let start = match start {
            ALONE => Start::Alone,
            TOGETHER => Start::Together,
            _ => return None,
        };
        Some((name.parse().ok()?, start))
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
    for (name, count) in deaths {
        writeln!(body, "{name} {count}").expect("a string takes every write");
    }
    disk.replace(&layout.deaths(), sealed::seal(DEATHS_FIRST_LINE, &body).text.as_bytes())
}

/// The counts; a damaged file is no worse than none, because a component that kills hosts is soon counted again.
pub(crate) fn read_deaths(layout: &Layout) -> Result<Deaths, StateError> {
    let read = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.parse().ok()?, count.parse().ok()?))
    };
    Ok(read_lines(&layout.deaths(), DEATHS_FIRST_LINE)?.iter().filter_map(|line| read(line)).collect())
}
