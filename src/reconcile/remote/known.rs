//! Turns what is remembered of a source into a candidate, or a refusal, under the policy of this moment.
//!
//! Reads the content store and nothing else.

use crate::desired::spec::{Source, Spec};
use crate::manifest::MAX_MANIFEST_BYTES;
use crate::reconcile::surfaces::{NoSurface, Surfaces};
use crate::record::Record;
use crate::remote::memo::Memo;
use crate::resolution::{Candidate, Refusal};
use crate::source::file::MAX_SIGNATURE_BYTES;
use crate::state::Objects;
use crate::trust::{self, Expectation, StoredWasm, TrustPolicy, VerifiedManifest};

/// A candidate, and from when on the dates in its manifest say something else.
pub(in crate::reconcile) struct Admitted {
    pub candidate: Candidate,
    pub until: Option<i64>,
}

/// Why there is no candidate.
pub(in crate::reconcile) enum NotAdmitted {
    /// An object is gone or damaged: it must be fetched again.
    Lost,
    /// A rule refuses it.
    Refused(Refusal),
}

impl From<Refusal> for NotAdmitted {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Whether all three objects are in the store.
pub(super) fn is_complete(objects: &Objects, memo: &Memo) -> bool {
    [&memo.manifest, &memo.signature, &memo.wasm].into_iter().all(|digest| objects.has_object(digest))
}

impl From<NoSurface> for NotAdmitted {
    fn from(no: NoSurface) -> Self {
        match no {
            NoSurface::Lost => Self::Lost,
            NoSurface::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// Verifies what is remembered.
pub(in crate::reconcile) fn admit(
    spec: &Spec,
    memo: &Memo,
    policy: &TrustPolicy,
    (objects, surfaces, committed): (&Objects, &mut Surfaces, Option<&Record>),
    now_unix_s: i64,
) -> Result<Admitted, NotAdmitted> {
    let get = |digest, max_bytes| objects.get_object(digest, max_bytes).ok().flatten().ok_or(NotAdmitted::Lost);
    let manifest = get(&memo.manifest, MAX_MANIFEST_BYTES)?;
    let signature = get(&memo.signature, MAX_SIGNATURE_BYTES)?;
    let verified = verify(spec, policy, &manifest, &signature, now_unix_s)?;
    let digest = verified.manifest().wasm.digest;
    let (size, head) = objects.glance_at(&digest).ok_or(NotAdmitted::Lost)?;
    if size != verified.manifest().wasm.size {
        return Err(NotAdmitted::Lost);
    }
    let until =
        super::super::resolve::next_date(verified.manifest().not_before, verified.manifest().expires, now_unix_s);
    let artifact = verified.admit(&StoredWasm::streamed(digest, size, &head))?;
    let surface = surfaces.of(artifact.identity(), committed, objects)?;
    let candidate = Candidate {
        artifact: artifact.identity().clone(),
        permissions_max: artifact.permissions_max().clone(),
        limits: artifact.limits().clone(),
        revision: memo.revision.clone(),
        surface,
    };
    Ok(Admitted { candidate, until })
}

/// Verifies a manifest for a spec, the pin of its source included.
pub(super) fn verify(
    spec: &Spec,
    policy: &TrustPolicy,
    manifest: &[u8],
    signature: &[u8],
    now_unix_s: i64,
) -> Result<VerifiedManifest, Refusal> {
    let expectation = Expectation { package: &spec.package, require: &spec.require };
    let verified = trust::verify_manifest(policy, &expectation, manifest, signature, now_unix_s)?;
    let signed = verified.manifest().wasm.digest;
    if let Source::Url { sha256: Some(pin), .. } = &spec.source
        && *pin != signed
    {
        let message = format!("the manifest signs a wasm that is {signed}, and the file pins {pin}");
        return Err(Refusal::new("pin-mismatch", message)
            .hint("if the new release is meant, write its digest into `source.url.sha256`; the wasm was not fetched"));
    }
    Ok(verified)
}
