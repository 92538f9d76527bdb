//! Owns the plan as a document for programs, and the digest that names a plan.
//!
//! Keys are snake_case and stay; new ones may come. Readers treat unknown codes and kinds as "something
//! else". Nothing is decided here, and nothing of the text for people is parsed back.

use serde::Serialize;

use super::action::{Action, Effect, Instance, Kind, Location, NeededApproval, Reason, Storage, Summary};
use super::change::Deltas;
use super::guard::Guard;
use super::impact::Impact;
use super::{Plan, Totals};
use crate::desired::BadFile;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::name::InstallationName;
use crate::observed::room::Asked;

/// What the document is, and which reading of it holds.
pub const DOCUMENT_TYPE: &str = "airssys-wasm/plan/v1";

/// A plan as a document.
#[derive(Serialize)]
pub struct Document<'p> {
    #[serde(rename = "$type")]
    document_type: &'static str,
    plan_digest: Digest,
    /// What the starts may take; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'p Asked>,
    #[serde(flatten)]
    content: Content<'p>,
}

#[derive(Serialize)]
struct Content<'p> {
    parent_generation: u64,
    parent_digest: Option<Digest>,
    /// Which commit of a repository the desired files are from; absent for a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    desired: Option<&'p str>,
    is_live: bool,
    exit_code: u8,
    summary: Totals,
    actions: Vec<ActionDocument<'p>>,
    guards: &'p [Guard],
    errors: Vec<ErrorDocument<'p>>,
    released: &'p [InstallationName],
}

#[derive(Serialize)]
struct ActionDocument<'p> {
    name: &'p InstallationName,
    kind: Kind,
    /// What would be done if nothing stood in the way.
    wanted: Kind,
    will_run: bool,
    reason: &'p Reason,
    location: &'p Location,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'p Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'p Summary>,
    deltas: &'p Deltas,
    #[serde(flatten)]
    impact: &'p Impact,
    risks: &'p [String],
    approvals_required: &'p [NeededApproval],
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Instance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_from: Option<&'p InstallationName>,
    digest: Digest,
}

#[derive(Serialize)]
struct ErrorDocument<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'p str>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
}

impl Plan {
    /// The plan as a document.
    pub fn document(&self) -> Document<'_> {
        let content = self.content();
        let room = (self.room.starts > 0).then_some(&self.room);
        Document { document_type: DOCUMENT_TYPE, plan_digest: digest(&content), room, content }
    }

    /// The plan's name: equal plans have equal digests, and a plan that differs in anything has another.
    pub fn digest(&self) -> Digest {
        digest(&self.content())
    }

    fn content(&self) -> Content<'_> {
        let incomplete = (!self.is_complete).then(|| ErrorDocument {
            file: None,
            message: "the directory of desired files could not be listed completely".to_owned(),
            line: None,
            column: None,
        });
        Content {
            parent_generation: self.generation,
            parent_digest: self.parent,
            desired: self.desired.as_deref(),
            is_live: self.is_live,
            exit_code: self.exit_code(),
            summary: self.totals(),
            actions: self.actions.iter().map(ActionDocument::new).collect(),
            guards: &self.guards,
            errors: incomplete.into_iter().chain(self.unreadable.iter().flat_map(errors)).collect(),
            released: &self.released,
        }
    }
}

fn digest(content: &Content<'_>) -> Digest {
    Digest::of(&serde_json::to_vec(content).expect("a plan holds only texts, numbers and ordered maps"))
}

fn errors(bad: &BadFile) -> impl Iterator<Item = ErrorDocument<'_>> {
    let BadFile { file, problems } = bad;
    problems.iter().map(move |Diagnostic { file: _, place, message, hint: _ }| ErrorDocument {
        file: Some(file),
        message: message.clone(),
        line: place.as_ref().map(|place| place.line),
        column: place.as_ref().map(|place| place.column),
    })
}

impl<'p> ActionDocument<'p> {
    fn new(action: &'p Action) -> Self {
        let Action { name, kind, wanted, reason, location, before, after, deltas, impact, risks, approvals, effect } =
            action;
        let (storage, instance, moved_from) = match effect {
            Some(Effect::Commit(commit)) => (Some(commit.storage), Some(commit.instance), commit.moved_from.as_ref()),
            Some(Effect::Restart { .. }) => (None, Some(Instance::Fresh), None),
            Some(Effect::Uninstall { storage_id, .. }) => {
                (Some(Storage::Keep(*storage_id)), Some(Instance::Stop), None)
            }
            None => (None, None, None),
        };
        let is_removed = matches!(effect, Some(Effect::Uninstall { storage, .. }) if storage.removes());
        let (storage, storage_id) = match storage {
            Some(Storage::New) => (Some("new"), None),
            Some(Storage::Keep(id)) if is_removed => (Some("remove"), Some(id)),
            Some(Storage::Keep(id)) => (Some("keep"), Some(id)),
            None => (None, None),
        };
        Self {
            name,
            kind: *kind,
            wanted: *wanted,
            will_run: action.is_ready(),
            reason,
            location,
            before: before.as_ref(),
            after: after.as_ref(),
            deltas,
            impact,
            risks,
            approvals_required: approvals,
            storage,
            storage_id,
            instance,
            moved_from,
            digest: action.digest(),
        }
    }
}
