//! Decides what an action does to what it touches: the interface, the state, the messages and answers that wait.
//!
//! Says what this runtime does today, as values that the plan carries. Who else is touched is found in
//! `neighbours`.

use serde::{Deserialize, Serialize};

use super::action::{Instance, Storage};
use crate::desired::spec::Delivery;
use crate::name::{InstallationName, LinkName};
use crate::observed::{Installed, Phase};
use crate::quantity::Millis;
use crate::record::Record;
use crate::surface::{Comparison, HostSurface, Surface, Verdict};

/// What an action does besides what its deltas say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Impact {
    /// What the component imports and exports; none where the wasm stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
    /// What becomes of its state and of what waits in its mailbox; none where there is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Who sends to it or depends on it; none where nobody does, or nothing is noticed of the action.
    #[serde(default, skip_serializing_if = "Neighbours::is_empty")]
    pub callers: Neighbours,
    /// To whom it may send, and on what it depends.
    #[serde(default, skip_serializing_if = "Neighbours::is_empty")]
    pub callees: Neighbours,
}

/// The surface of what takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Interface {
    /// How it differs from what is installed; none where there is nothing, or where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Comparison>,
    /// Whether something is installed whose surface is not known: an earlier version of this program committed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown_before: bool,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// Those of its exports that this host does not call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It goes on.
    Kept,
    /// It stays, and belongs to nobody.
    LeftBehind,
    /// It is removed for good.
    Removed,
    /// It stays and belongs to nobody; what takes over starts with none.
    Replaced,
}

/// What becomes of the messages that wait for an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
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
    /// They are in the store, and become dead letters there.
    DroppedInStore,
    /// None can wait.
    Empty,
}

/// What becomes of state, messages and requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Outcome {
    /// The state.
    pub state: State,
    /// The storage that is kept, left behind or removed.
    pub storage_id: u64,
    /// Whether it may have state: it may use storage, before or after. Without, nothing is said about state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uses_storage: bool,
    /// The messages that wait for it.
    pub mailbox: Mailbox,
    /// For how long waiting messages are still handled, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<u64>,
    /// Whether the requests that it made and that are not answered yet are given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_requests: bool,
}

impl Outcome {
    /// Of something that goes away.
    pub(super) fn uninstalled(have: &Installed, host: &HostSurface<'_>) -> Self {
        let mailbox = match may_wait(have, host) {
            true if keeps_messages(have) => Mailbox::DroppedInStore,
            true => Mailbox::Drained,
            false => Mailbox::Empty,
        };
        let state = if have.record.spec.on_uninstall.removes() { State::Removed } else { State::LeftBehind };
        Self { ends_requests: may_ask(have, host), ..Self::of(have, state, mailbox) }
    }

    /// Of something that starts afresh as it is.
    pub(super) fn restarted(have: &Installed) -> Self {
        let mailbox = if keeps_messages(have) { Mailbox::Kept } else { Mailbox::Empty };
        Self::of(have, State::Kept, mailbox)
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
            // They are in the store, and belong to whoever has the storage.
            _ if keeps_messages(base) => {
                if storage == Storage::New {
                    Mailbox::DroppedInStore
                } else {
                    Mailbox::Kept
                }
            }
            Instance::Stop => Mailbox::Drained,
            Instance::Fresh if !takes_messages => Mailbox::Dropped,
            Instance::Fresh if is_other => Mailbox::HandedOn,
            Instance::Fresh | Instance::Keep | Instance::Reconfigure => Mailbox::Kept,
        };
        let outcome = Self::of(base, state, mailbox);
        let begins_storage = state == State::Kept && after.effective.storage().is_some();
        let ends_requests = !matches!(instance, Instance::Keep | Instance::Reconfigure) && may_ask(base, host);
        Self { uses_storage: outcome.uses_storage || begins_storage, ends_requests, ..outcome }
    }

    fn of(base: &Installed, state: State, mailbox: Mailbox) -> Self {
        let limits = &base.record.limits;
        let drain_ms = (mailbox == Mailbox::Drained).then(|| limits.drain.0.min(limits.stop.0));
        let uses_storage = base.record.effective.storage().is_some();
        Self { state, storage_id: base.storage_id, uses_storage, mailbox, drain_ms, ends_requests: false }
    }

    /// All of it in one line; none when there is nothing to say.
    pub fn text(&self) -> Option<String> {
        let Self { state, storage_id: id, uses_storage, mailbox, drain_ms, ends_requests } = self;
        let state = match state {
            State::Removed => Some(format!("state will be removed (storage id {id})")),
            _ if !uses_storage => None,
            State::Kept => Some(format!("state kept (storage id {id})")),
            State::LeftBehind => Some(format!("state left behind (storage id {id}{})", removed_by(*id))),
            State::Replaced => {
                Some(format!("starts without state; the old one is left behind (storage id {id}{})", removed_by(*id)))
            }
        };
        let mailbox = match mailbox {
            Mailbox::Kept => Some("mailbox kept".to_owned()),
            Mailbox::HandedOn => Some("mailbox kept: what waits goes to the other package".to_owned()),
            Mailbox::Drained => {
                let time = Millis(drain_ms.unwrap_or_default());
                Some(format!("waiting messages are handled for up to {time}, the rest become {DEAD_LETTERS}"))
            }
            Mailbox::Dropped => Some(format!("it takes no messages any more: those that wait become {DEAD_LETTERS}")),
            Mailbox::DroppedInStore => Some(format!("messages that wait in the store become {KEPT_LETTERS}")),
            Mailbox::Empty => None,
        };
        let requests = ends_requests.then(|| "requests without an answer yet are given up".to_owned());
        let parts: Vec<String> = [state, mailbox, requests].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// How what is left behind goes away.
fn removed_by(storage_id: u64) -> String {
    format!(", until `airssys-wasm storage purge {storage_id}` while no host runs")
}

/// Where what was not handled is found when its receiver's messages are in the store.
const KEPT_LETTERS: &str = "dead letters (`dead-letters list`), which outlive the host";

/// Where what was not handled is found otherwise: only the host has them, and only while it runs.
const DEAD_LETTERS: &str = "dead letters (`dead-letters list`, while this host runs)";

/// Whether its messages are in the store, whatever becomes of its actor.
fn keeps_messages(have: &Installed) -> bool {
    have.record.spec.delivery == Delivery::Durable
}

/// Whether messages may wait for what is installed: an actor of it is there, and takes some.
fn may_wait(have: &Installed, host: &HostSurface<'_>) -> bool {
    (is_there(have) || keeps_messages(have)) && have.record.surface.as_ref().is_none_or(|surface| host.reaches(surface))
}

/// Whether what is installed may wait for answers. Of what an earlier version committed that is not known, and not said.
fn may_ask(have: &Installed, host: &HostSurface<'_>) -> bool {
    is_there(have) && have.record.surface.as_ref().is_some_and(|surface| host.lets_ask(surface))
}

fn is_there(have: &Installed) -> bool {
    !matches!(have.phase, Phase::Stopped | Phase::Quarantined | Phase::NotRunning)
}

/// Installations that have to do with one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Neighbours {
    /// In the order of their names, at most [`super::neighbours::MAX_NEIGHBOURS`].
    pub named: Vec<Neighbour>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Neighbour {
    /// The installation.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub name: InstallationName,
    /// The words by which one may send to the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "runtime", schemars(with = "Vec<String>"))]
    pub links: Vec<LinkName>,
    /// Whether one starts only after the other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub depends_on: bool,
}
