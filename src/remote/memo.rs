//! Owns what is remembered of a remote source over restarts: what it was last, by digests.
//!
//! Says nothing about trust: whoever uses it reads the objects and verifies them under the policy of that moment.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::sealed;

/// First line of the file.
const FIRST_LINE: &str = "airssys-source 1";
/// Largest file, in bytes.
pub const MAX_MEMO_BYTES: u64 = 4 * 1024;
/// Longest revision, in bytes.
pub const MAX_REVISION_BYTES: usize = 1_024;

/// What a source was when it was last fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memo {
    /// A commit id, or the validator of an HTTP answer. Untrusted text: escape it before it is shown.
    pub revision: Option<String>,
    /// Digest of the manifest's bytes.
    pub manifest: Digest,
    /// Digest of the signature file's bytes.
    pub signature: Digest,
    /// Digest of the wasm.
    pub wasm: Digest,
    /// When it was fetched, in seconds since 1970.
    pub at_unix_s: i64,
}

impl Memo {
    /// The file's text.
    pub fn encode(&self) -> String {
        let line = serde_json::to_string(self).expect("a memo holds only strings and numbers");
        sealed::seal(FIRST_LINE, &format!("{line}\n")).text
    }

    /// Reads what [`Memo::encode`] wrote; none for everything else. What is lost is fetched again.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let opened = sealed::open(FIRST_LINE, bytes, usize::try_from(MAX_MEMO_BYTES).ok()?).ok()?;
        let memo: Self = serde_json::from_str(opened.body).ok()?;
        memo.revision.as_ref().is_none_or(|revision| revision.len() <= MAX_REVISION_BYTES).then_some(memo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_comes_back_and_a_damaged_one_does_not() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let memo = Memo {
            revision: Some("W/\"a\n\u{1b}\"".to_owned()),
            manifest: digest("m"),
            signature: digest("s"),
            wasm: digest("w"),
            at_unix_s: 1_700_000_000,
        };
        let text = memo.encode();
        assert_eq!(Memo::decode(text.as_bytes()), Some(memo.clone()));
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Memo::decode(&bytes), None, "bit {bit}");
        }
        for length in 0..text.len() {
            assert_eq!(Memo::decode(&text.as_bytes()[..length]), None, "cut at {length}");
        }
        let long = Memo { revision: Some("r".repeat(MAX_REVISION_BYTES + 1)), ..memo };
        assert_eq!(Memo::decode(long.encode().as_bytes()), None);
    }
}
