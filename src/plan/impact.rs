//! Decides what an action does to what it touches: the interface, the state, the messages that wait.
//!
//! Says what this runtime does today, as values that the plan carries. Who else is touched is found in
//! `neighbours`.

use serde::Serialize;

use super::action::{Instance, Storage};
use crate::name::{InstallationName, LinkName};
use crate::observed::{Installed, Phase};
use crate::quantity::Millis;
use crate::record::Record;
use crate::surface::{Comparison, HostSurface, Surface, Verdict};

/// What an action does besides what its deltas say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impact {
    /// What the component imports and exports; none where the wasm stays.
    pub interface: Option<Interface>,
    /// What becomes of its state and of what waits in its mailbox; none where there is neither.
    pub outcome: Option<Outcome>,
    /// Who sends to it or depends on it.
    pub callers: Neighbours,
    /// To whom it may send.
    pub callees: Neighbours,
}

/// The surface of what takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// How it differs from what is installed; none where there is nothing, or where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Comparison>,
    /// Whether something is installed whose surface is not known: an earlier version of this program committed it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unknown_before: bool,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// Those of its exports that this host does not call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_called: Vec<String>,
}

impl Interface {
    /// Of a first install.
    pub(super) fn first(after: &Surface, host: &HostSurface<'_>) -> Self {
        let names = |interfaces: Vec<crate::surface::Interface<'_>>| -> Vec<String> {
            interfaces.into_iter().map(|interface| interface.name.to_owned()).collect()
        };
        let exports = names(after.exports());
        let not_called = exports.iter().filter(|export| !host.calls(export)).cloned().collect();
        Self { change: None, unknown_before: false, imports: names(after.imports()), exports, not_called }
    }

    /// Of what replaces `before`; none when it is the same wasm.
    pub(super) fn replacing(before: &Record, after: &Record, host: &HostSurface<'_>) -> Option<Self> {
        let surface = after.surface.as_ref().filter(|_| before.artifact.wasm != after.artifact.wasm)?;
        let change = before.surface.as_ref().map(|before| surface.compare(before, host));
        Some(Self { unknown_before: change.is_none(), change, ..Self::first(surface, host) })
    }

    /// The change, when it breaks those who use the component.
    pub fn breaking(&self) -> Option<&Comparison> {
        self.change.as_ref().filter(|change| change.verdict == Verdict::Breaking)
    }
}

/// What becomes of the state of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It goes on.
    Kept,
    /// It stays, and belongs to nobody.
    LeftBehind,
    /// It stays and belongs to nobody; what takes over starts with none.
    Replaced,
}

/// What becomes of the messages that wait for an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mailbox {
    /// They stay, in order.
    Kept,
    /// They stay, and another package handles them.
    HandedOn,
    /// They are handled for as long as the drain limit lets it; the rest become dead letters.
    Drained,
    /// They become dead letters.
    Dropped,
    /// None can wait.
    Empty,
}

/// What becomes of state and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The state.
    pub state: State,
    /// The storage that is kept or left behind.
    pub storage_id: u64,
    /// The messages.
    pub mailbox: Mailbox,
    /// For how long waiting messages are still handled, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<u64>,
}

impl Outcome {
    /// Of something that goes away.
    pub(super) fn uninstalled(have: &Installed, host: &HostSurface<'_>) -> Self {
        let mailbox = if may_wait(have, host) { Mailbox::Drained } else { Mailbox::Empty };
        Self::of(have, State::LeftBehind, mailbox)
    }

    /// Of something that starts afresh as it is.
    pub(super) fn restarted(have: &Installed) -> Self {
        Self::of(have, State::Kept, Mailbox::Empty)
    }

    /// Of something in whose place `after` comes.
    pub(super) fn replaced(
        base: &Installed,
        after: &Record,
        (storage, instance): (Storage, Instance),
        host: &HostSurface<'_>,
    ) -> Self {
        let state = if storage == Storage::New { State::Replaced } else { State::Kept };
        let takes_messages = after.surface.as_ref().is_none_or(|surface| host.reaches(surface));
        let is_other = base.record.artifact.package != after.artifact.package;
        let mailbox = match instance {
            _ if !may_wait(base, host) => Mailbox::Empty,
            Instance::Stop => Mailbox::Drained,
            Instance::Fresh if !takes_messages => Mailbox::Dropped,
            Instance::Fresh if is_other => Mailbox::HandedOn,
            Instance::Fresh | Instance::Keep => Mailbox::Kept,
        };
        Self::of(base, state, mailbox)
    }

    fn of(base: &Installed, state: State, mailbox: Mailbox) -> Self {
        let limits = &base.record.limits;
        let drain_ms = (mailbox == Mailbox::Drained).then(|| limits.drain.0.min(limits.stop.0));
        Self { state, storage_id: base.storage_id, mailbox, drain_ms }
    }

    /// Both in one line.
    pub fn text(&self) -> String {
        let Self { state, storage_id, mailbox, drain_ms } = self;
        let state = match state {
            State::Kept => format!("state kept (storage id {storage_id})"),
            State::LeftBehind => format!("state left behind (storage id {storage_id})"),
            State::Replaced => format!("starts without state; storage id {storage_id} is left behind"),
        };
        let mailbox = match (mailbox, drain_ms) {
            (Mailbox::Kept, _) => "mailbox kept".to_owned(),
            (Mailbox::HandedOn, _) => "mailbox kept: what waits goes to the other package".to_owned(),
            (Mailbox::Drained, ms) => {
                let time = Millis(ms.unwrap_or_default());
                format!("waiting messages are handled for up to {time}, the rest become dead letters")
            }
            (Mailbox::Dropped, _) => "waiting messages become dead letters: it takes none any more".to_owned(),
            (Mailbox::Empty, _) => return state,
        };
        format!("{state}; {mailbox}")
    }
}

/// Whether messages may wait for what is installed: an actor of it is there, and takes some.
fn may_wait(have: &Installed, host: &HostSurface<'_>) -> bool {
    let is_there = !matches!(have.phase, Phase::Stopped | Phase::NotRunning);
    is_there && have.record.surface.as_ref().is_none_or(|surface| host.reaches(surface))
}

/// Installations that have to do with one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Neighbours {
    /// In the order of their names, at most [`super::neighbours::MAX_NEIGHBOURS`].
    pub named: Vec<Neighbour>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: usize,
}

impl Neighbours {
    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One of them, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// The installation.
    pub name: InstallationName,
    /// The words by which one may send to the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkName>,
    /// Whether one starts only after the other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub depends_on: bool,
}
