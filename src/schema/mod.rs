//! Owns the JSON Schemas of every format: what editors check files against, and programs documents.
//!
//! Documents of the API have the schema of their types. The TOML formats are read by hand, for the sake of their
//! messages; the types in [`forms`] mirror those readers, and a test holds both to the same keys.

pub mod forms;
pub mod plan;
#[cfg(test)]
mod tests;
mod words;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use crate::control::dead_letters::{DeadLetterDocument, DeadLettersDocument, ReplayedDocument};
use crate::control::documents::{
    ApplyBody, CallReplyDocument, ErrorDocument, GcBody, GcDocument, NameBody, PassDocument, PausedDocument,
    RollbackBody, SyncBody,
};
use crate::status::HostStatus;
use crate::status::info::InfoDocument;

/// A format with a schema.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name, on the command line and in the file's name.
    pub name: &'static str,
    /// What it describes, in one line.
    pub about: &'static str,
    make: fn() -> Schema,
}

/// All of them, in the order of their names.
pub const KINDS: [Kind; 26] = [
    kind::<ApplyBody>("apply", "body of POST /v1/apply"),
    kind::<crate::audit::query::Audit>("audit", "`audit`, what was decided, done and denied"),
    kind::<CallReplyDocument>("call-reply", "`call`, the reply to one message"),
    kind::<forms::ConfigFile>("config", "config.toml, the host's own settings"),
    kind::<DeadLetterDocument>("dead-letter", "`dead-letters show`, a message that was not handled"),
    kind::<DeadLettersDocument>("dead-letters", "`dead-letters list`, messages that were not handled"),
    kind::<forms::DesiredFile>("desired", "a desired file, one installation"),
    kind::<ErrorDocument>("error", "every refusal of the API"),
    kind::<crate::export::Export>("export", "`export`, what is committed and running"),
    kind::<GcDocument>("gc", "answer to `gc`"),
    kind::<GcBody>("gc-order", "body of POST /v1/gc"),
    kind::<crate::history::History>("history", "`history`, the generations that are kept"),
    kind::<InfoDocument>("info", "`info`, all about one installation"),
    kind::<forms::ManifestFile>("manifest", "Component.toml, what a publisher signs"),
    kind::<NameBody>("name", "body of POST /v1/pause and /v1/resume"),
    kind::<PassDocument>("pass", "answer to `sync` and `apply`"),
    kind::<PausedDocument>("paused", "answer to `pause` and `resume`"),
    kind::<plan::PlanDocument>("plan", "`plan`, what a pass would do"),
    kind::<ReplayedDocument>("replayed", "answer to `dead-letters replay`"),
    kind::<crate::plan::rollback::document::RollbackDocument>("rollback", "`rollback`, what it would do or did"),
    kind::<RollbackBody>("rollback-order", "body of POST /v1/rollback"),
    kind::<crate::saved::SavedPlanFile>("saved-plan", "`plan --out`, a plan and what it was made from"),
    kind::<HostStatus>("status", "`status`, the host and its components"),
    kind::<SyncBody>("sync", "body of POST /v1/sync"),
    kind::<forms::TrustFile>("trust", "trust.toml, whom the operator trusts"),
    kind::<crate::history::why::Why>("why", "`why`, where one installation comes from"),
];

const fn kind<T: JsonSchema>(name: &'static str, about: &'static str) -> Kind {
    Kind { name, about, make: make::<T> }
}

fn make<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

impl Kind {
    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.name == name)
    }

    /// The schema as text: JSON Schema, draft 2020-12.
    pub fn text(self) -> String {
        let mut text = serde_json::to_string_pretty(&(self.make)()).expect("a schema is JSON");
        text.push('\n');
        text
    }
}
