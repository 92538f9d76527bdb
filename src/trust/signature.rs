//! Owns the signature file, `Component.toml.sig`, and which bytes a signature is over.
//!
//! ```text
//! airssys-sig 1
//! ed25519 <64 digits of the public key> <128 digits of the signature>
//! ```
//!
//! Reads syntax only; one bad line refuses the file. Whose signatures count is decided in `verify`.

use crate::hex;
use crate::key::PublicKey;

/// Largest signature file, in bytes.
pub const MAX_SIGNATURE_FILE_BYTES: u64 = 16 * 1024;
/// Most signatures of one file.
pub const MAX_SIGNATURES: usize = 16;
/// First line of the file.
const HEADER: &str = "airssys-sig 1";
/// First line of the signed bytes. Other kinds of objects have another one, so that a signature made for
/// one kind never fits another.
const MANIFEST_DOMAIN: &str = "airssys-manifest-v1";

/// The bytes that a signature of a manifest is over: the kind, the length and the manifest as it is.
pub fn signed_bytes(manifest: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{MANIFEST_DOMAIN}\n{}\n", manifest.len()).into_bytes();
    bytes.extend_from_slice(manifest);
    bytes
}

/// A signature file that is well formed. Nothing is said about the signatures in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignatureFile {
    /// In the order of the lines.
    pub lines: Vec<SignatureLine>,
}

/// One signature and the key that it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    /// The key.
    pub key: PublicKey,
    /// The signature's 64 bytes.
    pub signature: [u8; 64],
}

/// Why a signature file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFileError {
    /// Over [`MAX_SIGNATURE_FILE_BYTES`].
    #[error("it is larger than {MAX_SIGNATURE_FILE_BYTES} bytes")]
    TooLarge,
    /// A byte outside of printable ASCII and line feeds.
    #[error("line {0} holds a byte that is neither printable ASCII nor a line feed")]
    Byte(usize),
    /// Lines end in CR LF.
    #[error("its lines end in CR LF; something changed its line endings")]
    LineEndings,
    /// Not the expected first line.
    #[error("its first line is not `{HEADER}`")]
    Header,
    /// No signature.
    #[error("there is no signature in it")]
    Empty,
    /// More than [`MAX_SIGNATURES`].
    #[error("it holds more than {MAX_SIGNATURES} signatures")]
    TooMany,
    /// A kind of signature that exists and that this version does not check.
    #[error("line {0} is an sshsig signature, which this version does not check")]
    Sshsig(usize),
    /// Anything else.
    #[error("line {0} is not `ed25519`, 64 digits and 128 digits, each in lower case, with single spaces between")]
    Line(usize),
    /// The last line has no end.
    #[error("its last line has no end; the file may be cut off")]
    CutOff,
}

impl SignatureFile {
    /// Reads a signature file.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureFileError> {
        if bytes.len() as u64 > MAX_SIGNATURE_FILE_BYTES {
            return Err(SignatureFileError::TooLarge);
        }
        if bytes.windows(2).any(|pair| pair == b"\r\n") {
            return Err(SignatureFileError::LineEndings);
        }
        if let Some(at) = bytes.iter().position(|b| !matches!(b, b' '..=b'~' | b'\n')) {
            return Err(SignatureFileError::Byte(bytes[..at].iter().filter(|b| **b == b'\n').count() + 1));
        }
        let text = std::str::from_utf8(bytes).expect("ASCII is UTF-8");
        let Some(rest) = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix('\n')) else {
            return Err(SignatureFileError::Header);
        };
        if rest.is_empty() {
            return Err(SignatureFileError::Empty);
        }
        let rest = rest.strip_suffix('\n').ok_or(SignatureFileError::CutOff)?;
        if rest.split('\n').count() > MAX_SIGNATURES {
            return Err(SignatureFileError::TooMany);
        }
        let lines = rest.split('\n').zip(2..).map(|(line, number)| SignatureLine::parse(line, number));
        Ok(Self { lines: lines.collect::<Result<_, _>>()? })
    }

    /// The file's text; [`SignatureFile::parse`] reads it.
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for SignatureLine { key, signature } in &self.lines {
            text.push_str(&format!("ed25519 {} {}\n", key.hex(), hex::encode(signature)));
        }
        text
    }
}

impl SignatureLine {
    fn parse(line: &str, number: usize) -> Result<Self, SignatureFileError> {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        if parts.first() == Some(&"sshsig") {
            return Err(SignatureFileError::Sshsig(number));
        }
        let &["ed25519", key, signature] = parts.as_slice() else {
            return Err(SignatureFileError::Line(number));
        };
        let key = PublicKey::from_hex(key).map_err(|_| SignatureFileError::Line(number))?;
        let signature = hex::decode(signature).ok_or(SignatureFileError::Line(number))?;
        Ok(Self { key, signature })
    }
}
