//! Owns secret keys: signing, and the text of the key file. Who may read the file is checked where it is opened.
//!
//! ```json
//! {"type":"airssys-key-v1","public_key":"<64 digits>","secret_key":"<64 digits>"}
//! ```
//!
//! The public half is there for people and other programs. It is computed anew and compared, never used:
//! signing under a public key that was changed would give the secret away.

use ed25519_dalek::Signer as _;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::signature::SignatureLine;
use crate::hex;
use crate::key::PublicKey;

/// What a key file calls itself.
pub const KEY_FILE_TYPE: &str = "airssys-key-v1";
/// Largest key file, in bytes.
pub const MAX_KEY_FILE_BYTES: u64 = 4 * 1024;

/// A secret key. It is wiped from memory when dropped, and there is no way to print it but [`SigningKey::encode`].
///
/// ```compile_fail,E0277
/// let key = airssys_wasm::trust::SigningKey::from_seed(&[7; 32]);
/// println!("{key:?}");
/// ```
///
/// ```compile_fail,E0277
/// let key = airssys_wasm::trust::SigningKey::from_seed(&[7; 32]);
/// println!("{key}");
/// ```
pub struct SigningKey(ed25519_dalek::SigningKey);

/// Why a key file is refused. Never says what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Over [`MAX_KEY_FILE_BYTES`].
    #[error("it is larger than {MAX_KEY_FILE_BYTES} bytes")]
    TooLarge,
    /// Not the expected JSON object.
    #[error("it is not a JSON object with `type`, `public_key` and `secret_key`, each a plain string")]
    Form,
    /// Another type.
    #[error("its `type` is not `{KEY_FILE_TYPE}`")]
    Type,
    /// Not 32 bytes in hexadecimal digits.
    #[error("`{0}` is not 64 hexadecimal digits in lower case")]
    Digits(&'static str),
    /// The halves don't belong together.
    #[error("`public_key` is not the public half of `secret_key`")]
    Halves,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    // Borrowed, so that no copy of the secret is left behind; text with escapes is refused by that.
    r#type: &'a str,
    public_key: &'a str,
    secret_key: &'a str,
}

impl SigningKey {
    /// From the 32 secret bytes, which the caller took from the operating system and wipes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Reads a key file.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyFileError> {
        if bytes.len() as u64 > MAX_KEY_FILE_BYTES {
            return Err(KeyFileError::TooLarge);
        }
        let written: Written<'_> = serde_json::from_slice(bytes).map_err(|_| KeyFileError::Form)?;
        if written.r#type != KEY_FILE_TYPE {
            return Err(KeyFileError::Type);
        }
        let seed = hex::decode(written.secret_key).map(Zeroizing::new).ok_or(KeyFileError::Digits("secret_key"))?;
        let public = PublicKey::from_hex(written.public_key).map_err(|_| KeyFileError::Digits("public_key"))?;
        let key = Self::from_seed(&seed);
        if key.public() != public {
            return Err(KeyFileError::Halves);
        }
        Ok(key)
    }

    /// The text of a key file. It holds the secret, and is wiped when dropped.
    pub fn encode(&self) -> Zeroizing<String> {
        let public = self.public().hex();
        let secret = Zeroizing::new(hex::encode(self.0.as_bytes()));
        // With its final size from the start, so that growing leaves no copy behind.
        let mut text = Zeroizing::new(String::with_capacity(256));
        for piece in
            ["{\"type\":\"", KEY_FILE_TYPE, "\",\"public_key\":\"", &public, "\",\"secret_key\":\"", &secret, "\"}\n"]
        {
            text.push_str(piece);
        }
        text
    }

    /// The signature line over `message`.
    pub(super) fn sign(&self, message: &[u8]) -> SignatureLine {
        SignatureLine { key: self.public(), signature: self.0.sign(message).to_bytes() }
    }
}
