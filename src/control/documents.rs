//! Owns the documents of the API that are not the status or the plan: what requests say and what they are answered.
//!
//! Plain data. Keys are snake_case and stay; new ones may come.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::Payload;
use crate::paused::{Paused, PausedBy};
use crate::resolution::Refusal;
use crate::saved::SavedPlan;
use crate::status::collected::Collected;
use crate::status::{Note, PassSummary};

/// `$type` of [`ErrorDocument`].
pub const ERROR_TYPE: &str = "airssys-wasm/error/v1";
/// `$type` of [`CallReplyDocument`].
pub const CALL_REPLY_TYPE: &str = "airssys-wasm/call-reply/v1";
/// `$type` of [`GcDocument`].
pub const GC_TYPE: &str = "airssys-wasm/gc/v1";
/// `$type` of [`PassDocument`].
pub const PASS_TYPE: &str = "airssys-wasm/pass/v1";
/// `$type` of [`PausedDocument`].
pub const PAUSED_TYPE: &str = "airssys-wasm/paused/v1";

/// An error as the API answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDocument {
    /// [`ERROR_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// Machine reason, kebab-case, from an open set.
    pub code: String,
    /// One sentence without a full stop, escaped.
    pub message: String,
    /// What to do next; may span lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<Refusal> for ErrorDocument {
    fn from(Refusal { code, message, hint }: Refusal) -> Self {
        Self { document: ERROR_TYPE.to_owned(), code, message, hint }
    }
}

/// Body of requests that say nothing: `{}` or no body at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyBody {}

/// Body of `/v1/sync`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncBody {
    /// Whether the answer waits for what must be fetched, and the passes after that.
    #[serde(default)]
    pub wait: bool,
}

/// Body of `/v1/pause` and `/v1/resume`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameBody {
    /// The installation; absent means everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Body of `/v1/apply`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyBody {
    /// What is approved, as plans write it: `signer:NAME`. Each must be asked for by the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<String>,
    /// The digest of the plan that it is for, or the first digits of it; absent means any plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The saved plan that it is for: refused when one of its inputs is another one by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Box<SavedPlan>>,
}

/// Body of `/v1/gc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GcBody {
    /// Whether it is only said what would be removed.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was removed, or would be: the answer to `gc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GcDocument {
    /// [`GC_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// Whether nothing was removed, and it is only said what would be.
    pub dry_run: bool,
    /// What.
    #[serde(flatten)]
    pub collected: Collected,
    /// All bytes of it.
    pub freed_bytes: u64,
}

impl GcDocument {
    /// Of what was collected.
    pub fn new(dry_run: bool, collected: Collected) -> Self {
        Self { document: GC_TYPE.to_owned(), dry_run, collected, freed_bytes: collected.freed_bytes() }
    }
}

/// Body of `/v1/rollback`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    /// Which installations go back; absent or empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The generation to go back to; absent means the newest earlier one that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Only say what it would do.
    #[serde(default)]
    pub dry_run: bool,
    /// The digest of the rollback that it is for, or the first digits of it; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What a pass did and what it left: the answer to `sync` and `apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PassDocument {
    /// [`PASS_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// The pass.
    pub pass: PassSummary,
    /// The committed generation after it.
    pub generation: u64,
    /// Whether the pass committed it.
    pub committed: bool,
    /// What is left, as `plan` would say it: 0, 11 or 12; 1 when an action failed.
    pub exit_code: u8,
    /// What was carried out.
    pub done: Vec<ActionWord>,
    /// What failed; what ran before goes on.
    pub failed: Vec<Left>,
    /// What was not carried out: held, blocked, waiting for an approval.
    pub left: Vec<Left>,
    /// What concerns no single installation.
    pub problems: Vec<Refusal>,
    /// Whether something is still being fetched, so that more may come of it.
    #[serde(default)]
    pub fetching: bool,
    /// Whether code is still being compiled, so that more may come of it.
    #[serde(default)]
    pub compiling: bool,
}

/// One action, in two words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionWord {
    /// The installation.
    pub name: String,
    /// `install`, `update`, and so on.
    pub kind: String,
}

/// One action that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Left {
    /// The installation.
    pub name: String,
    /// Why.
    #[serde(flatten)]
    pub note: Note,
}

/// The reply to a call, as `call --output json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallReplyDocument {
    /// [`CALL_REPLY_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// The reply; absent when the component gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyContent>,
}

/// The content of a reply, in one of two forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyContent {
    /// In which codec it is written.
    pub codec: String,
    /// It, when it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// It in hex, when it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
}

impl CallReplyDocument {
    /// What a component replied.
    pub fn of(reply: Option<&Payload>) -> Self {
        let reply = reply.map(|Payload { codec, bytes }| {
            let (text, hex) = match std::str::from_utf8(bytes) {
                Ok(text) => (Some(text.to_owned()), None),
                Err(_) => (None, Some(crate::hex::encode(bytes))),
            };
            ReplyContent { codec: codec.to_string(), text, hex }
        });
        Self { document: CALL_REPLY_TYPE.to_owned(), reply }
    }
}

/// What is paused now: the answer to `pause` and `resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PausedDocument {
    /// [`PAUSED_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// Whether the request changed anything.
    pub changed: bool,
    /// Whether a resume lifted the hold of a target that failed or was rolled back.
    pub hold_lifted: bool,
    /// The pause of everything.
    pub all: Option<PausedBy>,
    /// Installations that are paused by themselves.
    pub names: Vec<PausedName>,
}

/// One installation that is paused by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PausedName {
    /// The installation.
    pub name: String,
    /// By whom.
    #[serde(flatten)]
    pub by: PausedBy,
}

impl PausedDocument {
    /// What is paused.
    pub fn of(paused: &Paused, changed: bool, hold_lifted: bool) -> Self {
        let names = paused.names.iter().map(|(name, by)| PausedName { name: name.to_string(), by: by.clone() });
        Self { document: PAUSED_TYPE.to_owned(), changed, hold_lifted, all: paused.all.clone(), names: names.collect() }
    }
}
