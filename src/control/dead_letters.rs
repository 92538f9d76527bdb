//! Owns the documents and the paths of dead letters: which there are, what is in one, and sending one again.
//!
//! Nothing is decided here; the actors keep the letters.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::extract::{Query, UrlPath};
use super::request::{Because, Refused};
use super::routes::{Shown, error};
use crate::digest::Digest;
use crate::resolution::Refusal;

/// `$type` of [`DeadLettersDocument`].
pub const DEAD_LETTERS_TYPE: &str = "airssys-wasm/dead-letters/v1";
/// `$type` of [`DeadLetterDocument`].
pub const DEAD_LETTER_TYPE: &str = "airssys-wasm/dead-letter/v1";
/// `$type` of [`ReplayedDocument`].
pub const REPLAYED_TYPE: &str = "airssys-wasm/replayed/v1";
/// Bytes of a payload that are shown, at most.
pub const MAX_SHOWN_BYTES: usize = 1_024;
/// Letters that a list shows unless it is asked for more or fewer.
pub const DEFAULT_LISTED: usize = 100;

/// The dead letters that are kept, or the newest of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLettersDocument {
    /// [`DEAD_LETTERS_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// Messages that died since the host started, forgotten ones included and those of an earlier host not.
    pub total: u64,
    /// Letters that are kept.
    pub kept: u64,
    /// The newest of them, oldest first.
    pub letters: Vec<DeadLetterRow>,
}

/// One dead letter without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterRow {
    /// The message's number, unique as long as the host runs; those of durable messages come once.
    pub id: u64,
    /// When it died, in UTC.
    pub time: String,
    /// The installation that it was for.
    pub target: String,
    /// Who sent it: `installation NAME`, `trigger N` or `host`.
    pub sender: String,
    /// The topic to which it was published; absent when it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Why it was not handled: `failed`, `expired`, `stopped`, `dropped` or `poison`.
    pub reason: String,
    /// The error or the crash, escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Bytes of its content.
    pub bytes: u64,
    /// In which codec it is written.
    pub codec: String,
}

/// One dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterDocument {
    /// [`DEAD_LETTER_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// What lists show.
    #[serde(flatten)]
    pub letter: DeadLetterRow,
    /// The digest of its content.
    pub sha256: String,
    /// The first 1,024 bytes of its content, in hex.
    pub payload_hex: String,
    /// The same as text, when it is text; escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_text: Option<String>,
}

/// A letter was sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedDocument {
    /// [`REPLAYED_TYPE`].
    #[serde(rename = "$type")]
    pub document: String,
    /// The dead letter, which is gone from the list.
    pub id: u64,
    /// The new message's number.
    pub message: u64,
}

/// What the paths are served from.
pub trait DeadLetterOffice: Send + Sync {
    /// The newest `most`.
    fn list(&self, most: usize) -> DeadLettersDocument;
    /// One letter.
    fn show(&self, id: u64) -> Result<DeadLetterDocument, Refused>;
    /// Sends one again, to whom it was for and in the name of who sent it.
    fn replay(&self, id: u64) -> Result<ReplayedDocument, Refused>;
}

impl DeadLetterDocument {
    /// The document of a letter with this content.
    pub fn of(letter: DeadLetterRow, payload: &[u8]) -> Self {
        let shown = &payload[..payload.len().min(MAX_SHOWN_BYTES)];
        // A character that is cut off at the end is no reason to call a text no text.
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            Err(cut) if cut.error_len().is_none() && shown.len() < payload.len() => {
                std::str::from_utf8(&shown[..cut.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        Self {
            document: DEAD_LETTER_TYPE.to_owned(),
            letter,
            sha256: Digest::of(payload).hex(),
            payload_hex: crate::hex::encode(shown),
            payload_text: text.map(crate::escape::escape),
        }
    }
}

/// Query of `/v1/dead-letters`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// How many, from the newest.
    #[serde(default = "default_listed")]
    tail: usize,
}

fn default_listed() -> usize {
    DEFAULT_LISTED
}

pub(super) async fn list(State(shown): State<Shown>, Query(query): Query<ListQuery>) -> Response {
    Json(shown.dead_letters.list(query.tail)).into_response()
}

pub(super) async fn show(State(shown): State<Shown>, UrlPath(id): UrlPath<String>) -> Response {
    let answer = number(&id).and_then(|id| shown.dead_letters.show(id));
    answer.map_or_else(error, |document| Json(document).into_response())
}

pub(super) async fn replay(State(shown): State<Shown>, UrlPath(id): UrlPath<String>) -> Response {
    let answer = number(&id).and_then(|id| shown.dead_letters.replay(id));
    answer.map_or_else(error, |document| Json(document).into_response())
}

fn number(id: &str) -> Result<u64, Refused> {
    let refused = |_| Refused::new(Because::Malformed, Refusal::new("no-number", "that is no number of a message"));
    id.parse().map_err(refused)
}

/// There is no letter of this number.
pub fn no_such_letter(id: u64) -> Refused {
    let why = Refusal::new("no-such-letter", format!("there is no dead letter {id}"));
    Refused::new(Because::NotFound, why.hint("`airssys-wasm dead-letters list` shows those that are kept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(payload: &[u8]) -> DeadLetterDocument {
        let letter = DeadLetterRow {
            id: 7,
            time: "2026-11-24T12:00:00Z".into(),
            target: "b".into(),
            sender: "installation a".into(),
            reason: "failed".into(),
            why: None,
            bytes: payload.len() as u64,
            codec: "raw".into(),
            topic: None,
        };
        DeadLetterDocument::of(letter, payload)
    }

    #[test]
    fn a_payload_is_shown_as_text_when_it_is_text_and_cut_at_its_bound() {
        assert_eq!(document(b"a\x1bb").payload_text.as_deref(), Some(crate::escape::escape("a\x1bb").as_str()));
        assert_eq!(document(b"a\xff").payload_text, None);
        assert_eq!(document(b"a\xc3").payload_text, None, "not cut off by us");
        // 1,023 letters and one of two bytes: cut in its middle.
        let long = "x".repeat(MAX_SHOWN_BYTES - 1) + "é";
        let long = document(long.as_bytes());
        assert_eq!(long.payload_text.map(|text| text.len()), Some(MAX_SHOWN_BYTES - 1));
        assert_eq!(long.payload_hex.len(), 2 * MAX_SHOWN_BYTES);
    }
}
