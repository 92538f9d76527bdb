//! Decides which public keys are fit for use at all. Whom a key belongs to is the policy's matter.

use ed25519_dalek::{Signature, VerifyingKey};

use crate::key::PublicKey;

/// Why a public key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// No secret key can belong to it.
    #[error("it is no point of the curve")]
    NotOnCurve,
    /// Another spelling of a key: threshold counting goes by bytes.
    #[error("it is not in its canonical form")]
    NotCanonical,
    /// Signatures under it prove nothing.
    #[error("it is weak: anybody can make signatures that fit it")]
    Weak,
}

/// Whether the key can be trusted with anything.
pub fn check_key(key: &PublicKey) -> Result<(), KeyProblem> {
    usable(key).map(drop)
}

fn usable(key: &PublicKey) -> Result<VerifyingKey, KeyProblem> {
    let verifying = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| KeyProblem::NotOnCurve)?;
    let point = verifying.to_edwards();
    if point.compress().as_bytes() != key.as_bytes() {
        return Err(KeyProblem::NotCanonical);
    }
    // Honestly made keys have the prime order. A small order makes signatures that fit every text;
    // a mixed one makes libraries disagree about signatures.
    if verifying.is_weak() || !point.is_torsion_free() {
        return Err(KeyProblem::Weak);
    }
    Ok(verifying)
}

/// Whether `signature` over `message` was made with the key. A key that is not fit for use is a problem of its own.
pub(super) fn verifies(key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> Result<bool, KeyProblem> {
    let key = usable(key)?;
    // Strict: refuses points of small order, and every second form of one signature.
    Ok(key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}
