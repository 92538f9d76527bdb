//! Decides whether a commit was signed by an allowed SSH key, as `git commit -S` with `gpg.format = ssh` signs.
//!
//! Pure: commits and keys come in as bytes. Only Ed25519 in the namespace `git` counts, over a digest that is one of
//! the two that git makes; what a signature says about itself is never taken as a wish.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use sha2::{Digest as _, Sha256, Sha512};

use super::key::{check_key, verifies};
use crate::escape::escape;
use crate::key::PublicKey;

#[cfg(test)]
mod tests;

/// Longest line of an allowed key, in bytes.
pub const MAX_SSH_KEY_BYTES: usize = 1_024;
/// Largest signature in a commit, in bytes of its armoured text. One by Ed25519 has about 300.
pub const MAX_COMMIT_SIGNATURE_BYTES: usize = 4 * 1_024;
/// The only kind of key that counts.
const KEY_TYPE: &[u8] = b"ssh-ed25519";
/// What git signs for: a signature made for files or for mail proves nothing about a commit.
const NAMESPACE: &[u8] = b"git";
const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
const HEADER: &str = "gpgsig ";
const ARMOUR_BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const ARMOUR_END: &str = "-----END SSH SIGNATURE-----";

/// An SSH key whose signatures count, as one line of `~/.ssh/id_ed25519.pub`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey {
    key: PublicKey,
    comment: String,
}

/// Why a text is no key that may sign commits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshKeyError {
    /// Longer than [`MAX_SSH_KEY_BYTES`].
    #[error("it is longer than {MAX_SSH_KEY_BYTES} bytes")]
    TooLong,
    /// Another kind of key.
    #[error("it is not an ssh-ed25519 key; make one with: ssh-keygen -t ed25519")]
    Kind,
    /// Not what `ssh-keygen` writes.
    #[error("it is not one line of an OpenSSH public key file, as in: ssh-ed25519 AAAA… alice@example.com")]
    Syntax,
    /// A key that is not fit for use.
    #[error("its key can't be used: {0}")]
    Key(&'static str),
}

impl SshKey {
    /// The key's bytes.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whose it is, for people: the comment, escaped, or the fingerprint where there is none.
    pub fn shown(&self) -> String {
        if self.comment.is_empty() { fingerprint(&self.key) } else { escape(&self.comment) }
    }
}

impl FromStr for SshKey {
    type Err = SshKeyError;

    fn from_str(text: &str) -> Result<Self, SshKeyError> {
        if text.len() > MAX_SSH_KEY_BYTES {
            return Err(SshKeyError::TooLong);
        }
        let mut words = text.trim().splitn(3, ' ');
        match words.next() {
            Some("ssh-ed25519") => {}
            Some(kind) if kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-") => {
                return Err(SshKeyError::Kind);
            }
            _ => return Err(SshKeyError::Syntax),
        }
        let blob = words.next().and_then(|word| Base64::decode_vec(word).ok()).ok_or(SshKeyError::Syntax)?;
        let key = public_key(&blob).ok_or(SshKeyError::Syntax)?;
        check_key(&key).map_err(|_| SshKeyError::Key("it is weak or no point of the curve"))?;
        let comment = words.next().unwrap_or_default().trim().to_owned();
        if comment.contains(char::is_control) {
            return Err(SshKeyError::Syntax);
        }
        Ok(Self { key, comment })
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = Base64::encode_string(&key_blob(&self.key));
        write!(f, "ssh-ed25519 {encoded}")?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
    }
}

/// Why a commit does not count as signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitSignatureError {
    /// No signature at all.
    #[error("it is not signed")]
    Unsigned,
    /// Signed in a way that is not checked here.
    #[error("it is signed with {0}, and only signatures by SSH ed25519 keys count")]
    OtherKind(&'static str),
    /// More than one signature header, or a header where none belongs.
    #[error("it holds more than one signature")]
    Ambiguous,
    /// Not what git and ssh-keygen write.
    #[error("its signature is not well formed: {0}")]
    Malformed(&'static str),
    /// Made for something else.
    #[error("its signature was made for another purpose than git")]
    Namespace,
    /// A digest that git does not make.
    #[error("its signature is over a digest other than sha512 and sha256")]
    Hash,
    /// Nobody allowed this key.
    #[error("it is signed by {0}, which is none of the allowed keys")]
    UnknownSigner(String),
    /// Made over other bytes, or by another key.
    #[error("its signature by {0} does not fit the commit")]
    Bad(String),
}

impl CommitSignatureError {
    /// The machine reason, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsigned => "commit-unsigned",
            Self::UnknownSigner(_) => "commit-unknown-signer",
            Self::OtherKind(_) | Self::Ambiguous | Self::Malformed(_) | Self::Namespace | Self::Hash | Self::Bad(_) => {
                "commit-bad-signature"
            }
        }
    }
}

/// The one of `keys` that signed the commit `raw`, the bytes of a commit object.
pub fn verify_commit<'k>(raw: &[u8], keys: &'k [SshKey]) -> Result<&'k SshKey, CommitSignatureError> {
    let (payload, armoured) = split(raw)?;
    let signature = Signature::parse(&armoured)?;
    let signer = keys.iter().find(|allowed| allowed.key == signature.key);
    let signer = signer.ok_or_else(|| CommitSignatureError::UnknownSigner(fingerprint(&signature.key)))?;
    let signed = signature.signed_bytes(&payload);
    match verifies(&signature.key, &signed, &signature.signature) {
        Ok(true) => Ok(signer),
        Ok(false) | Err(_) => Err(CommitSignatureError::Bad(signer.shown())),
    }
}

/// `SHA256:…`, as `ssh-keygen -l` prints it.
fn fingerprint(key: &PublicKey) -> String {
    format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(key_blob(key))))
}

/// The commit without its signature, which is what was signed, and the signature's armoured text.
fn split(raw: &[u8]) -> Result<(Vec<u8>, String), CommitSignatureError> {
    let mut payload = Vec::with_capacity(raw.len());
    let mut armoured: Option<String> = None;
    let mut in_signature = false;
    let mut rest = raw;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        if line == b"\n" {
            // From the empty line on it is the message, whatever it looks like.
            payload.extend_from_slice(rest);
            break;
        }
        rest = after;
        let more = line.strip_prefix(b" ").filter(|_| in_signature);
        let first = line.strip_prefix(HEADER.as_bytes());
        if first.is_none() && more.is_none() && line.starts_with(b"gpgsig") || first.is_some() && armoured.is_some() {
            // git leaves the signature for another kind of ids out of what it verifies: no room for that here.
            return Err(CommitSignatureError::Ambiguous);
        }
        in_signature = first.is_some() || more.is_some();
        match first.or(more) {
            Some(part) => {
                let part = std::str::from_utf8(part).map_err(|_| CommitSignatureError::Malformed("it is not text"))?;
                let text = armoured.get_or_insert_default();
                text.push_str(part);
                if text.len() > MAX_COMMIT_SIGNATURE_BYTES {
                    return Err(match kind_of(text) {
                        Some(other) => CommitSignatureError::OtherKind(other),
                        None => CommitSignatureError::Malformed("it is too long"),
                    });
                }
            }
            None => payload.extend_from_slice(line),
        }
    }
    Ok((payload, armoured.ok_or(CommitSignatureError::Unsigned)?))
}

/// Kinds of signatures that git knows and that don't count here.
fn kind_of(armoured: &str) -> Option<&'static str> {
    if armoured.starts_with("-----BEGIN PGP ") {
        Some("OpenPGP")
    } else if armoured.starts_with("-----BEGIN SIGNED MESSAGE-----") {
        Some("X.509")
    } else {
        None
    }
}

/// What an SSHSIG container holds, every field checked but the signature itself.
struct Signature {
    key: PublicKey,
    hash: Hash,
    signature: [u8; 64],
}

#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha512,
}

impl Signature {
    fn parse(armoured: &str) -> Result<Self, CommitSignatureError> {
        let malformed = CommitSignatureError::Malformed;
        if let Some(other) = kind_of(armoured) {
            return Err(CommitSignatureError::OtherKind(other));
        }
        let mut lines = armoured.lines();
        if lines.next() != Some(ARMOUR_BEGIN) || lines.next_back() != Some(ARMOUR_END) {
            return Err(malformed("its first or last line is another one"));
        }
        let blob = Base64::decode_vec(&lines.collect::<String>()).map_err(|_| malformed("it is not base64"))?;
        let mut fields = Fields(blob.strip_prefix(MAGIC).ok_or(malformed("it is no SSHSIG"))?);
        if fields.number() != Some(VERSION) {
            return Err(malformed("it has another version"));
        }
        let cut_off = || malformed("it is cut off");
        let key_blob = fields.string().ok_or_else(cut_off)?;
        let namespace = fields.string().ok_or_else(cut_off)?;
        let reserved = fields.string().ok_or_else(cut_off)?;
        let hash = fields.string().ok_or_else(cut_off)?;
        let signature_blob = fields.string().ok_or_else(cut_off)?;
        if !fields.0.is_empty() || !reserved.is_empty() {
            return Err(malformed("it holds bytes that have no meaning"));
        }
        if namespace != NAMESPACE {
            return Err(CommitSignatureError::Namespace);
        }
        if Fields(key_blob).string() != Some(KEY_TYPE) {
            return Err(CommitSignatureError::OtherKind("another kind of SSH key"));
        }
        let hash = match hash {
            b"sha512" => Hash::Sha512,
            b"sha256" => Hash::Sha256,
            _ => return Err(CommitSignatureError::Hash),
        };
        let mut inner = Fields(signature_blob);
        let kind = inner.string();
        let bytes = inner.string().and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        match (kind, bytes, public_key(key_blob)) {
            (Some(KEY_TYPE), Some(signature), Some(key)) if inner.0.is_empty() => Ok(Self { key, hash, signature }),
            _ => Err(malformed("its key or signature has another form than Ed25519's")),
        }
    }

    /// The bytes that the key signed: never the commit itself, but a frame that names purpose and digest.
    fn signed_bytes(&self, payload: &[u8]) -> Vec<u8> {
        let (name, digest) = match self.hash {
            Hash::Sha512 => (&b"sha512"[..], Sha512::digest(payload).to_vec()),
            Hash::Sha256 => (&b"sha256"[..], Sha256::digest(payload).to_vec()),
        };
        let mut signed = MAGIC.to_vec();
        for field in [NAMESPACE, b"", name, &digest] {
            push(&mut signed, field);
        }
        signed
    }
}

/// The key in a key blob of exactly the form that Ed25519 has.
fn public_key(blob: &[u8]) -> Option<PublicKey> {
    let mut fields = Fields(blob);
    let is_ed25519 = fields.string()? == KEY_TYPE;
    let bytes: [u8; 32] = fields.string()?.try_into().ok()?;
    (is_ed25519 && fields.0.is_empty()).then(|| PublicKey::from_bytes(bytes))
}

fn key_blob(key: &PublicKey) -> Vec<u8> {
    let mut blob = Vec::new();
    push(&mut blob, KEY_TYPE);
    push(&mut blob, key.as_bytes());
    blob
}

fn push(to: &mut Vec<u8>, field: &[u8]) {
    let length = u32::try_from(field.len()).expect("fields are keys, digests and names");
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(field);
}

/// Reads numbers and strings of the SSH wire format off a slice.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }
}
