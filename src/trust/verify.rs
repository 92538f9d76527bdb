//! Decides whether an artifact may run: the one way to a [`VerifiedArtifact`].
//!
//! The order is fixed: sizes, the form of the signature file, the signatures over the exact bytes, whose they
//! are, and only then is the manifest read and compared with what is expected of it. Nothing is fetched here,
//! and whether the sequence may follow the last one is `sequence`'s decision.

use std::collections::BTreeSet;

use super::policy::{Publisher, TrustPolicy};
use super::signature::{SignatureFile, signed_bytes};
use super::wasm_kind::{HEAD_BYTES, WasmKind};
use super::{advice, key};
use crate::desired::spec::Require;
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::limits::LimitOverrides;
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::name::PackageName;
use crate::permission::Permissions;
use crate::record::ArtifactIdentity;
use crate::resolution::Refusal;
use crate::timestamp::rfc3339;

/// What an artifact must be beyond being signed.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The package that was asked for.
    pub package: &'a PackageName,
    /// Conditions of the desired file.
    pub require: &'a Require,
}

/// Wasm in the content store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredWasm {
    digest: Digest,
    size: u64,
    kind: WasmKind,
}

impl StoredWasm {
    /// Of bytes at hand.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), size: bytes.len() as u64, kind: WasmKind::of(bytes) }
    }

    /// Of bytes that were hashed while they were stored; `head` is their first 8.
    pub fn streamed(digest: Digest, size: u64, head: &[u8]) -> Self {
        Self { digest, size, kind: WasmKind::of(&head[..head.len().min(HEAD_BYTES)]) }
    }
}

/// A manifest whose signatures satisfy the policy and which is what was expected. Only [`verify_manifest`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedManifest {
    manifest: Manifest,
    identity: ArtifactIdentity,
    permissions_max: Permissions,
}

/// An artifact that may run: a verified manifest and the very wasm that it names.
///
/// Only [`VerifiedManifest::admit`] makes it, and a restart of the host for what was admitted before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedArtifact {
    pub(super) identity: ArtifactIdentity,
    pub(super) permissions_max: Permissions,
    pub(super) limits: LimitOverrides,
}

/// Checks a manifest and its signature file against the policy and what is expected, at `now` in seconds since 1970.
pub fn verify_manifest(
    policy: &TrustPolicy,
    expect: &Expectation<'_>,
    manifest: &[u8],
    signature: &[u8],
    now_unix_s: i64,
) -> Result<VerifiedManifest, Refusal> {
    if manifest.len() as u64 > MAX_MANIFEST_BYTES {
        let message = format!("Component.toml is {} bytes long, more than {MAX_MANIFEST_BYTES}", manifest.len());
        return Err(Refusal::new("too-large", message).hint("the publisher must make the manifest smaller"));
    }
    let signers = check_signatures(manifest, signature)?;
    let (publisher, counted) = check_signers(policy, expect.package, &signers)
        .map_err(|problem| problem.refusal(expect.package, &signers, manifest))?;
    let parsed = parse_signed(manifest)?;
    let identity = ArtifactIdentity {
        package: parsed.package.clone(),
        version: parsed.version.clone(),
        sequence: parsed.sequence,
        manifest: Digest::of(manifest),
        signature: Digest::of(signature),
        wasm: parsed.wasm.digest,
        wasm_size: parsed.wasm.size,
        publisher: publisher.name.clone(),
        signers: counted,
        ask: parsed.permissions.clone(),
        codecs: parsed.codecs.clone(),
        expires: parsed.expires,
        stateless: parsed.stateless,
        metadata: parsed.metadata.clone(),
    };
    check_expected(expect, &identity)?;
    check_not_revoked(policy, &identity)?;
    check_time(parsed.not_before, &identity, now_unix_s)?;
    Ok(VerifiedManifest { manifest: parsed, identity, permissions_max: publisher.permissions_max.clone() })
}

/// The keys that signed; every signature in the file must hold.
fn check_signatures(manifest: &[u8], signature: &[u8]) -> Result<BTreeSet<PublicKey>, Refusal> {
    let file = SignatureFile::parse(signature).map_err(|error| {
        Refusal::new("bad-signature-file", format!("Component.toml.sig can't be used: {error}"))
            .hint("fetch it again; if it stays like this, the publisher must sign again with `airssys-wasm sign`")
    })?;
    let message = signed_bytes(manifest);
    for line in &file.lines {
        match key::verifies(&line.key, &message, &line.signature) {
            Ok(true) => {}
            Ok(false) => return Err(bad_signature(manifest, &line.key, &line.signature)),
            Err(problem) => {
                let message = format!("Component.toml.sig names the key {}: {problem}", line.key);
                return Err(Refusal::new("weak-key", message).hint("the publisher must sign with another key"));
            }
        }
    }
    Ok(file.lines.iter().map(|line| line.key).collect())
}

fn bad_signature(manifest: &[u8], key: &PublicKey, signature: &[u8; 64]) -> Refusal {
    let with_line_feeds = without_carriage_returns(manifest);
    if with_line_feeds.len() != manifest.len()
        && key::verifies(key, &signed_bytes(&with_line_feeds), signature) == Ok(true)
    {
        let message = "the line endings of Component.toml changed after it was signed, from LF to CR LF";
        return Refusal::new("line-endings", message).hint(
            "fetch it without conversion; in git, put `Component.toml* -text` into .gitattributes and check out again",
        );
    }
    let message = format!("the signature of {key} does not fit Component.toml: one of the two was changed");
    Refusal::new("bad-signature", message)
        .hint("fetch both files again; if that does not help, the publisher must sign again with `airssys-wasm sign`")
}

fn without_carriage_returns(bytes: &[u8]) -> Vec<u8> {
    let is_kept = |at: &usize| !(bytes[*at] == b'\r' && bytes.get(at + 1) == Some(&b'\n'));
    (0..bytes.len()).filter(is_kept).map(|at| bytes[at]).collect()
}

/// Why signers are not enough.
pub(super) enum SignerProblem<'p> {
    NoPolicy,
    NoRule,
    NoneListed(&'p Publisher),
    Revoked(&'p Publisher, String),
    TooFew(&'p Publisher, usize),
}

/// The rule for the package, and the signers that count by it.
pub(super) fn check_signers<'p>(
    policy: &'p TrustPolicy,
    package: &PackageName,
    signers: &BTreeSet<PublicKey>,
) -> Result<(&'p Publisher, BTreeSet<PublicKey>), SignerProblem<'p>> {
    if policy.is_none() {
        return Err(SignerProblem::NoPolicy);
    }
    let publisher = policy.publisher_for(package).ok_or(SignerProblem::NoRule)?;
    let listed: BTreeSet<PublicKey> = publisher.keys.intersection(signers).copied().collect();
    if listed.is_empty() {
        return Err(SignerProblem::NoneListed(publisher));
    }
    // A set of key bytes: one key counts once, however often it signed.
    let counted: BTreeSet<PublicKey> =
        listed.iter().copied().filter(|key| policy.revocation_of_key(key).is_none()).collect();
    if counted.len() >= publisher.threshold {
        return Ok((publisher, counted));
    }
    match listed.iter().find_map(|key| policy.revocation_of_key(key)) {
        Some(revocation) => Err(SignerProblem::Revoked(publisher, revocation.to_string())),
        None => Err(SignerProblem::TooFew(publisher, counted.len())),
    }
}

impl SignerProblem<'_> {
    pub(super) fn refusal(self, package: &PackageName, signers: &BTreeSet<PublicKey>, manifest: &[u8]) -> Refusal {
        let keys = || signers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::NoPolicy => {
                let message = format!("there is no trust policy, so {package} signed by {} is not trusted", keys());
                let advice = advice::first_policy(package, signers, &advice::asked_by(manifest));
                Refusal::new("no-trust-policy", message).hint(advice)
            }
            Self::NoRule => {
                let message = format!("no publisher in the trust policy is for {package}, signed by {}", keys());
                let advice = advice::new_publisher(package, signers, &advice::asked_by(manifest));
                Refusal::new("unknown-publisher", message).hint(advice)
            }
            Self::NoneListed(publisher) => {
                let message = format!("{package} is signed by {}, not by publisher `{}`", keys(), publisher.name);
                Refusal::new("unknown-signer", message).hint(advice::more_keys(publisher, signers))
            }
            Self::Revoked(publisher, revocation) => {
                let message =
                    format!("{package} of publisher `{}` has too few signatures: {revocation}", publisher.name);
                Refusal::new("revoked-key", message).hint("the publisher must sign again with a key that is trusted")
            }
            Self::TooFew(publisher, counted) => {
                let message = format!(
                    "{package} has signatures of {counted} of the keys of publisher `{}`, and {} are needed",
                    publisher.name, publisher.threshold
                );
                Refusal::new("below-threshold", message)
                    .hint("the publisher must add signatures of further keys with `airssys-wasm sign`")
            }
        }
    }
}

fn parse_signed(manifest: &[u8]) -> Result<Manifest, Refusal> {
    Manifest::parse("Component.toml", manifest).map_err(|problems| {
        let first = problems.first().map(crate::diagnostic::Diagnostic::one_line).unwrap_or_default();
        let more = match problems.len() {
            0 | 1 => String::new(),
            count => format!(", and {} more", count - 1),
        };
        let all: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
        Refusal::new("bad-manifest", format!("the manifest is signed and can't be used: {first}{more}"))
            .hint(format!("the publisher must mend it and sign it again:\n\n{all}"))
    })
}

fn check_expected(expect: &Expectation<'_>, identity: &ArtifactIdentity) -> Result<(), Refusal> {
    let ArtifactIdentity { package, version, signers, .. } = identity;
    if package != expect.package {
        let message = format!("the source holds {package}, and {} is wanted", expect.package);
        return Err(Refusal::new("wrong-package", message).hint("correct `package` or the source in the desired file"));
    }
    if let Some(wanted) = &expect.require.version
        && !wanted.matches(version)
    {
        let message = format!("the source holds {package} {version}, and [require] wants version {wanted}");
        return Err(Refusal::new("wrong-version", message)
            .hint("change `require.version` in the desired file, or the source to one with a fitting release"));
    }
    if let Some(wanted) = &expect.require.signer
        && !signers.contains(wanted)
    {
        let message = format!("{package} {version} is not signed by {wanted}, which [require] names");
        return Err(Refusal::new("wrong-signer", message)
            .hint("change `require.signer` in the desired file, or take a release that this key signed"));
    }
    Ok(())
}

pub(super) fn check_not_revoked(policy: &TrustPolicy, identity: &ArtifactIdentity) -> Result<(), Refusal> {
    let ArtifactIdentity { package, version, sequence, manifest, signature, wasm, .. } = identity;
    let digests = [*manifest, *signature, *wasm];
    match policy.revocations().find(|one| one.is_of_release(package, version, *sequence, &digests)) {
        Some(revocation) => {
            let message = format!("{package} {version} is not trusted any more: {revocation}");
            Err(Refusal::new("revoked", message).hint("take a release that is not revoked"))
        }
        None => Ok(()),
    }
}

pub(super) fn check_time(not_before: Option<i64>, identity: &ArtifactIdentity, now_unix_s: i64) -> Result<(), Refusal> {
    let ArtifactIdentity { package, version, expires, .. } = identity;
    if let Some(from) = not_before.filter(|from| now_unix_s < *from) {
        let message = format!("{package} {version} is not to be used before {}", rfc3339(from));
        return Err(Refusal::new("not-yet-valid", message).hint("wait, or check this machine's clock"));
    }
    if let Some(to) = expires.filter(|to| now_unix_s >= *to) {
        let message = format!("{package} {version} expired at {}", rfc3339(to));
        return Err(Refusal::new("expired", message).hint("take a newer release, or check this machine's clock"));
    }
    Ok(())
}

impl VerifiedManifest {
    /// What the publisher signed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Which artifact this is, by digests and signed names.
    pub fn identity(&self) -> &ArtifactIdentity {
        &self.identity
    }

    /// The most that the publisher's rule lets the package have.
    pub fn permissions_max(&self) -> &Permissions {
        &self.permissions_max
    }

    /// Takes the wasm: it must be a component and the very one that was signed.
    pub fn admit(self, wasm: &StoredWasm) -> Result<VerifiedArtifact, Refusal> {
        const AGAIN: &str = "the source may be half updated: fetch manifest, signature and wasm of one release again";
        let ArtifactIdentity { package, version, wasm: digest, wasm_size, .. } = &self.identity;
        let file = &self.manifest.wasm.file;
        if wasm.size != *wasm_size {
            let message = format!("{file} is {} bytes long, and {package} {version} signs {wasm_size}", wasm.size);
            return Err(Refusal::new("wrong-size", message).hint(AGAIN));
        }
        if wasm.digest != *digest {
            let message = format!("{file} is {}, and {package} {version} signs {digest}", wasm.digest);
            return Err(Refusal::new("wrong-digest", message).hint(AGAIN));
        }
        if wasm.kind != WasmKind::Component {
            let message = format!("{file} of {package} {version} is {}, not a WebAssembly component", wasm.kind);
            return Err(Refusal::new("not-a-component", message)
                .hint("the publisher must sign the component that the build leaves, in its binary form"));
        }
        Ok(VerifiedArtifact {
            identity: self.identity,
            permissions_max: self.permissions_max,
            limits: self.manifest.limits,
        })
    }
}

impl VerifiedArtifact {
    /// Which artifact this is, by digests and signed names.
    pub fn identity(&self) -> &ArtifactIdentity {
        &self.identity
    }

    /// The most that the publisher's rule lets the package have.
    pub fn permissions_max(&self) -> &Permissions {
        &self.permissions_max
    }

    /// Limits that the manifest suggests; of a readmitted artifact, those that were committed.
    pub fn limits(&self) -> &LimitOverrides {
        &self.limits
    }
}
