//! Owns the markers of components that are starting, and how often each took the host down with it.
//!
//! A marker is made before a component starts and removed when it is healthy, so that markers found at the next
//! start name the suspects. What is done with suspects is decided elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::disk::Disk;
use super::error::StateError;
use super::layout::Layout;
use super::read::{list, read_file};
use super::reply::Answer;
use super::writer::HostWriter;
use crate::generation::{Generation, MAX_ENTRIES};
use crate::name::InstallationName;
use crate::sealed;

const DEATHS_FIRST_LINE: &str = "airssys-deaths 1";
/// Longest file of counts, in bytes: a line for each installation.
const MAX_DEATHS_BYTES: usize = MAX_ENTRIES * 80;
/// Longest marker, in bytes.
const MAX_MARKER_BYTES: usize = 64;
const ALONE: &str = "alone\n";
const TOGETHER: &str = "together\n";

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
                answer.send(names.iter().try_for_each(|name| set(&self.disk, &self.layout, name, start)));
            }
            MarkerCommand::Clear { names, answer } => {
                let clear = |name| self.disk.remove_file(&self.layout.marker(name));
                answer.send(names.iter().try_for_each(clear));
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

fn set(disk: &Disk, layout: &Layout, name: &InstallationName, start: Start) -> Result<(), StateError> {
    let text = match start {
        Start::Together => TOGETHER,
        Start::Alone => ALONE,
    };
    disk.write_new(&layout.marker(name), text.as_bytes()).map(drop)
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
    let mut suspects = Suspects::new();
    for text in list(&layout.starting())? {
        let path = layout.starting().join(&text);
        match text.parse::<InstallationName>() {
            Ok(name) if generation.entries.contains_key(&name) => {
                let marker = read_file(&path, MAX_MARKER_BYTES)?;
                let is_alone = marker.as_deref() == Some(ALONE.as_bytes());
                suspects.insert(name, if is_alone { Start::Alone } else { Start::Together });
            }
            _ => disk.remove_file(&path)?,
        }
    }
    let counted: Vec<_> = suspects.iter().filter(|(_, start)| **start == Start::Alone).map(|(name, _)| name).collect();
    for name in &counted {
        let count = deaths.entry((*name).clone()).or_insert(0);
        *count = count.saturating_add(1);
    }
    if deaths != before {
        write_deaths(disk, layout, &deaths)?;
    }
    // Still a suspect, and not counted again should the host end before it is started.
    counted.into_iter().try_for_each(|name| set(disk, layout, name, Start::Together))?;
    Ok((deaths, suspects))
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
    let Some(bytes) = read_file(&layout.deaths(), MAX_DEATHS_BYTES)? else { return Ok(Deaths::new()) };
    let Ok(opened) = sealed::open(DEATHS_FIRST_LINE, &bytes, MAX_DEATHS_BYTES) else { return Ok(Deaths::new()) };
    let read = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.parse().ok()?, count.parse().ok()?))
    };
    Ok(opened.body.lines().filter_map(read).collect())
}
