//! Owns the spelling of Ed25519 public keys. Whether a key is worth anything is `trust`'s decision.

use std::fmt;
use std::str::FromStr;

use crate::hex;
use crate::text_serde::serde_as_text;

/// The 32 bytes of an Ed25519 public key. Written `ed25519:` and 64 lower-case hexadecimal digits.
///
/// The bytes need not be a point on the curve: that is checked where a key is put to use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Takes the bytes as they are.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits, as signature and key files write it.
    pub fn hex(&self) -> String {
        hex::encode(&self.0)
    }

    /// Reads what [`PublicKey::hex`] writes.
    pub fn from_hex(text: &str) -> Result<Self, ParseKeyError> {
        hex::decode(text).map(Self).ok_or(ParseKeyError)
    }

    /// `ed25519:` and the first eight digits, for lines that a person reads.
    pub fn short(&self) -> String {
        format!("ed25519:{}", hex::encode(&self.0[..4]))
    }
}

/// The text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a public key is `ed25519:` followed by 64 hexadecimal digits in lower case")]
pub struct ParseKeyError;

impl FromStr for PublicKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_hex(text.strip_prefix("ed25519:").ok_or(ParseKeyError)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", self.hex())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(PublicKey);
