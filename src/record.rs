//! Owns the record: what a generation commits for one installation.
//!
//! A record is one content-addressed JSON object. It holds everything that starting the component
//! needs, so that a host with a warm cache starts without reading sources, manifests or wasm.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::codec::Codecs;
use crate::desired::spec::{Origin, Spec};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::limits::Limits;
use crate::name::PackageName;
use crate::permission::Permissions;
use crate::secret::Fingerprints;
use crate::surface::Surface;

/// What is committed for one installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The spec as it was applied; its name is the record's name.
    pub spec: Spec,
    /// Where the spec was written.
    pub origin: Origin,
    /// The artifact that runs.
    pub artifact: ArtifactIdentity,
    /// What the component may do: ask, grant and the publisher's cap, intersected.
    pub effective: Permissions,
    /// The limits it runs under.
    pub limits: Limits,
    /// Fingerprints of the secrets that its config names.
    #[serde(default, skip_serializing_if = "Fingerprints::is_empty")]
    pub secrets: Fingerprints,
    /// What its source was when it was committed, a commit id for instance; untrusted text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What the component imports and exports; none in what an earlier version of this program committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<Surface>,
}

/// Which artifact, by digests and by the names that were signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactIdentity {
    /// The signed name.
    pub package: PackageName,
    /// The signed version.
    pub version: semver::Version,
    /// The signed sequence.
    pub sequence: u64,
    /// Digest of the manifest's bytes.
    pub manifest: Digest,
    /// Digest of the signature file's bytes.
    pub signature: Digest,
    /// Digest of the wasm.
    pub wasm: Digest,
    /// Size of the wasm in bytes.
    pub wasm_size: u64,
    /// The name of the trust rule under which it was accepted.
    pub publisher: String,
    /// The keys whose signatures counted.
    pub signers: BTreeSet<PublicKey>,
    /// What the manifest asks for.
    pub ask: Permissions,
    /// The codecs that the manifest declares.
    #[serde(default, skip_serializing_if = "Codecs::is_empty")]
    pub codecs: Codecs,
    /// From when on the release is no longer accepted, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Whether it keeps nothing in memory between messages, so that it may go without an instance while nothing comes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stateless: bool,
    /// The publisher's own data.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl Record {
    /// The record's bytes: JSON with a fixed order of keys, so that equal records have equal digests.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record holds only strings, numbers and ordered maps")
    }

    /// Reads what [`Record::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The hash of the spec with its resolved revision: what approvals, holds and markers are bound to.
    ///
    /// Where the spec was written is left out: moving a line is no change. So is the revision: another commit with
    /// the same artifact is no update. And so is the surface: it follows from the wasm, whose digest is in the artifact.
    pub fn target_digest(&self) -> Digest {
        let parts = (&self.spec, &self.artifact, &self.effective, &self.limits);
        let bytes = match self.secrets.is_empty() {
            true => serde_json::to_vec(&parts),
            false => serde_json::to_vec(&(parts, &self.secrets)),
        };
        Digest::of(&bytes.expect("a record holds only strings, numbers and ordered maps"))
    }
}
