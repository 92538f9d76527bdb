//! Owns the frame of JSON documents that people carry about as files: a `$type` first, a checksum last.
//!
//! The checksum covers every byte before it, so that a file that was cut off or edited is known as that. It keeps
//! nobody out who can write the file: what a document says is checked by whoever uses it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::escape::escape;

/// Stands before the checksum, which is the last field.
const BEFORE_DIGEST: &str = ",\n  \"digest\": \"";
/// Stands after it.
const AFTER_DIGEST: &str = "\"\n}\n";
/// Length of a digest as text.
const DIGEST_BYTES: usize = "sha256:".len() + 64;
/// Longest `$type` that is repeated in a message, in characters.
const MAX_SHOWN_TYPE: usize = 80;

/// What a document in such a frame is. Its first field is `$type`, its last one `digest`.
pub trait JsonFile: Serialize + DeserializeOwned {
    /// Its `$type`, which ends with `/v` and the version of the format.
    const TYPE: &'static str;
    /// What it is, for messages: `a saved plan`.
    const WHAT: &'static str;
    /// Largest file, in bytes.
    const MAX_BYTES: usize;
}

/// Why bytes are not the document that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFileError {
    /// Larger than such a document may be.
    #[error("it has {found} bytes, more than the {limit} that {what} may have")]
    TooLarge {
        /// What it should be.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The largest size.
        limit: usize,
    },
    /// No JSON with a `$type`.
    #[error("it is not {what}: it holds no JSON with a `$type`")]
    NotOne {
        /// What it should be.
        what: &'static str,
    },
    /// Another document.
    #[error("it is not {what}: its `$type` is {found}")]
    Other {
        /// What it should be.
        what: &'static str,
        /// Its type, escaped.
        found: String,
    },
    /// Of a version that this program does not know.
    #[error("it is {what} of a newer format, {found}, and this program knows {known}")]
    Newer {
        /// What it is.
        what: &'static str,
        /// Its type, escaped.
        found: String,
        /// The type that is known.
        known: &'static str,
    },
    /// The end is missing.
    #[error("it is {what} that breaks off: it was cut, or not written to its end")]
    Torn {
        /// What it is.
        what: &'static str,
    },
    /// Its bytes are not those that were written.
    #[error("it is {what} that was changed after it was written: its checksum does not fit")]
    Edited {
        /// What it is.
        what: &'static str,
    },
    /// Intact, and yet not what this program writes.
    #[error("it is not {what} that this program can use: {why}")]
    Invalid {
        /// What it should be.
        what: &'static str,
        /// Why, escaped.
        why: String,
    },
}

/// The document as a file. `None` when it is larger than it may be.
pub fn write<D: JsonFile>(document: &D) -> Option<String> {
    let mut text = serde_json::to_string_pretty(document).expect("a document holds only texts, numbers and maps");
    text.push('\n');
    let at = text.len().checked_sub(DIGEST_BYTES + AFTER_DIGEST.len())?;
    debug_assert!(text[..at].ends_with(BEFORE_DIGEST), "the checksum is the last field");
    let digest = Digest::of(&text.as_bytes()[..at - BEFORE_DIGEST.len()]).to_string();
    text.replace_range(at..at + DIGEST_BYTES, &digest);
    (text.len() <= D::MAX_BYTES).then_some(text)
}

/// Reads what [`write()`] wrote, and nothing else.
pub fn read<D: JsonFile>(bytes: &[u8]) -> Result<D, JsonFileError> {
    let what = D::WHAT;
    if bytes.len() > D::MAX_BYTES {
        return Err(JsonFileError::TooLarge { what, found: bytes.len(), limit: D::MAX_BYTES });
    }
    check_type::<D>(bytes)?;
    let end = bytes
        .len()
        .checked_sub(AFTER_DIGEST.len())
        .filter(|end| bytes.ends_with(AFTER_DIGEST.as_bytes()) && *end > DIGEST_BYTES);
    let end = end.ok_or(JsonFileError::Torn { what })?;
    let (before, digest) = bytes[..end].split_at(end - DIGEST_BYTES);
    let body = before.strip_suffix(BEFORE_DIGEST.as_bytes()).ok_or(JsonFileError::Torn { what })?;
    if digest != Digest::of(body).to_string().as_bytes() {
        return Err(JsonFileError::Edited { what });
    }
    serde_json::from_slice(bytes).map_err(|error| JsonFileError::Invalid { what, why: escape(&error.to_string()) })
}

/// Whether bytes begin as a document of this type does, of whatever version, intact or not.
pub fn begins_as<D: JsonFile>(bytes: &[u8]) -> bool {
    first_type(bytes).is_some_and(|found| family(&found) == family(D::TYPE))
}

fn check_type<D: JsonFile>(bytes: &[u8]) -> Result<(), JsonFileError> {
    let what = D::WHAT;
    let found = first_type(bytes).ok_or(JsonFileError::NotOne { what })?;
    let shown = || escape(&found.chars().take(MAX_SHOWN_TYPE).collect::<String>());
    match () {
        () if found == D::TYPE => Ok(()),
        () if family(&found) == family(D::TYPE) => Err(JsonFileError::Newer { what, found: shown(), known: D::TYPE }),
        () => Err(JsonFileError::Other { what, found: shown() }),
    }
}

/// `airssys-wasm/plan/v1` without its version.
fn family(name: &str) -> &str {
    name.rsplit_once("/v").map_or(name, |(family, _)| family)
}

/// The `$type` that an object begins with, also when what follows is torn. As programs write it: first of all.
fn first_type(bytes: &[u8]) -> Option<String> {
    let rest = bytes.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"$type\"")?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let mut texts = serde_json::Deserializer::from_slice(rest).into_iter::<String>();
    texts.next()?.ok()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Note {
        #[serde(rename = "$type")]
        document: String,
        text: String,
        digest: Digest,
    }

    impl JsonFile for Note {
        const TYPE: &'static str = "test/note/v1";
        const WHAT: &'static str = "a note";
        const MAX_BYTES: usize = 1_000;
    }

    fn note(text: &str) -> Note {
        let document = Note::TYPE.to_owned();
        Note { document, text: text.to_owned(), digest: Digest::from_bytes([0; 32]) }
    }

    fn error(text: &str) -> String {
        read::<Note>(text.as_bytes()).expect_err("refused").to_string()
    }

    #[test]
    fn what_is_written_is_read_and_every_changed_or_missing_byte_is_found() {
        let text = write(&note("a \"b\" ö")).expect("small");
        assert_eq!(read::<Note>(text.as_bytes()).expect("intact").text, "a \"b\" ö");
        for at in 0..text.len() {
            assert!(read::<Note>(&text.as_bytes()[..at]).is_err(), "cut at {at}");
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            assert!(read::<Note>(&changed).is_err(), "changed at {at}");
        }
        assert!(read::<Note>(format!("{text}\n").as_bytes()).is_err());
        assert_eq!(write(&note(&"x".repeat(1_000))), None);
    }

    #[test]
    fn each_kind_of_wrong_file_is_named_as_what_it_is() {
        let text = write(&note("a")).expect("small");
        assert_eq!(error(""), "it is not a note: it holds no JSON with a `$type`");
        assert_eq!(error("package = \"a:b\""), "it is not a note: it holds no JSON with a `$type`");
        assert_eq!(error(&text.replace("/note/", "/p\\u001b/")), "it is not a note: its `$type` is test/p\\u{1b}/v1");
        assert_eq!(
            error(&text.replace("/v1", "/v2")),
            "it is a note of a newer format, test/note/v2, and this program knows test/note/v1"
        );
        assert!(error(&text[..text.len() - 20]).starts_with("it is a note that breaks off"));
        assert!(error(&text.replace("\"a\"", "\"b\"")).starts_with("it is a note that was changed"));
        assert!(error(&" ".repeat(1_001)).starts_with("it has 1001 bytes, more than the 1000"));
        let body = "{\n  \"$type\": \"test/note/v1\",\n  \"texts\": \"a\"";
        let forged = format!("{body}{BEFORE_DIGEST}{}{AFTER_DIGEST}", Digest::of(body.as_bytes()));
        assert!(error(&forged).starts_with("it is not a note that this program can use: unknown field `texts`"));
    }

    #[test]
    fn what_begins_as_a_document_is_one_even_when_it_is_torn_or_newer() {
        let text = write(&note("a")).expect("small");
        assert!(begins_as::<Note>(text.as_bytes()) && begins_as::<Note>(&text.as_bytes()[..40]));
        assert!(begins_as::<Note>(b" { \"$type\" : \"test/note/v7\" "));
        for other in ["", "{}", "{\"$type\": 1}", "{\"$type\": \"test/other/v1\"}", "[\"$type\"]", "x"] {
            assert!(!begins_as::<Note>(other.as_bytes()), "{other}");
        }
    }
}
