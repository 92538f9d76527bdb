//! Decides which artifacts may run: signatures, the operator's trust policy, revocations, and signing itself.
//!
//! Pure: bytes and the time come in as arguments. It reads no files, fetches nothing and starts nothing.
//!
//! The way is one chain of types. [`verify_manifest`] gives a [`VerifiedManifest`]; together with the wasm's
//! digest that becomes a [`VerifiedArtifact`], and nothing that compiles or runs wasm takes anything else.
//! Neither can be made outside of this crate in any other way, so code that has one has passed every check:
//!
//! ```
//! use airssys_wasm::trust::VerifiedArtifact;
//! fn run(artifact: &VerifiedArtifact) -> String {
//!     artifact.identity().wasm.to_string()
//! }
//! ```
//!
//! ```compile_fail,E0451
//! use airssys_wasm::{permission::Permissions, record::ArtifactIdentity, limits::LimitOverrides, trust::VerifiedArtifact};
//! // The fields are private: no identity makes an artifact verified by being written down.
//! fn forge(identity: ArtifactIdentity, permissions_max: Permissions, limits: LimitOverrides) -> VerifiedArtifact {
//!     VerifiedArtifact { identity, permissions_max, limits }
//! }
//! ```
//!
//! ```compile_fail,E0451
//! use airssys_wasm::{manifest::Manifest, permission::Permissions, record::ArtifactIdentity, trust::VerifiedManifest};
//! // A manifest that was only parsed is no verified one.
//! fn forge(manifest: Manifest, identity: ArtifactIdentity, permissions_max: Permissions) -> VerifiedManifest {
//!     VerifiedManifest { manifest, identity, permissions_max }
//! }
//! ```
//!
//! ```compile_fail,E0277
//! // Nor does one come out of a file.
//! let artifact: airssys_wasm::trust::VerifiedArtifact = serde_json::from_str("{}").unwrap();
//! ```

mod advice;
mod claims;
mod key;
mod key_file;
mod name_pattern;
pub mod policy;
#[cfg(any(test, feature = "runtime"))]
mod readmit;
mod revocation;
mod sequence;
mod sign;
mod signature;
pub mod sshsig;
mod verify;
mod wasm_kind;

#[cfg(test)]
mod attacks;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use key::{KeyProblem, check_key};
pub use key_file::{KEY_FILE_TYPE, KeyFileError, MAX_KEY_FILE_BYTES, SigningKey};
pub use name_pattern::{NamePattern, ParseNamePatternError};
pub use policy::{Publisher, TrustPolicy};
#[cfg(any(test, feature = "runtime"))]
pub(crate) use readmit::readmit;
pub use revocation::{Revocation, Revoked, VersionRange};
pub use sequence::check_sequence;
pub use sign::{SignError, Signed, sign_manifest};
pub use signature::{
    MAX_SIGNATURE_FILE_BYTES, MAX_SIGNATURES, SignatureFile, SignatureFileError, SignatureLine, signed_bytes,
};
pub use verify::{Expectation, StoredWasm, VerifiedArtifact, VerifiedManifest, verify_manifest};
pub use wasm_kind::WasmKind;
