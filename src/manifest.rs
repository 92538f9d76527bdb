//! Owns the publisher's manifest, `Component.toml`: its format and its rules.
//!
//! Reads bytes whose signature was already checked; who may sign is `trust`'s decision.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::limits::LimitOverrides;
use crate::name::PackageName;
use crate::permission::Permissions;

/// Largest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 64 * 1024;
/// Largest wasm, in bytes.
pub const MAX_WASM_BYTES: u64 = 64 << 20;
/// The world that this host runs.
pub const WORLD: &str = "airssys:component/actor@0.1.0";

/// A validated manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The publisher's name.
    pub package: PackageName,
    /// The release's version; without build metadata.
    pub version: semver::Version,
    /// Rises with every release of the package.
    pub sequence: u64,
    /// One line about the component.
    pub description: Option<String>,
    /// Where the wasm is and which bytes it must have.
    pub wasm: WasmReference,
    /// What the component asks for.
    pub permissions: Permissions,
    /// Limits that the publisher suggests.
    pub limits: LimitOverrides,
    /// Earliest and latest time, in seconds since 1970, at which the release is accepted.
    pub not_before: Option<i64>,
    /// See `not_before`.
    pub expires: Option<i64>,
    /// Keeps nothing in memory between messages.
    pub stateless: bool,
}

/// The wasm that a manifest speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasmReference {
    /// One path segment, a sibling of the manifest.
    pub file: String,
    /// Digest of the wasm.
    pub digest: Digest,
    /// Size of the wasm in bytes, at most [`MAX_WASM_BYTES`].
    pub size: u64,
    /// The world that the component implements.
    pub world: String,
}
