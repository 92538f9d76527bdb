//! Decides at a restart whether what was admitted before may run again, without reading sources, manifests or wasm.
//!
//! Not for other crates: whoever could hand in a record of their own making would have verified it by writing it.

use super::policy::TrustPolicy;
use super::verify::{VerifiedArtifact, check_not_revoked, check_signers, check_time};
use crate::record::Record;
use crate::resolution::Refusal;

/// Checks at a restart that an artifact which was admitted before still satisfies the policy of today.
///
/// Reads nothing again: the record comes out of a generation whose hash was checked, and what it says was
/// verified when it was written.
pub(crate) fn readmit(policy: &TrustPolicy, record: &Record, now_unix_s: i64) -> Result<VerifiedArtifact, Refusal> {
    let identity = &record.artifact;
    let (publisher, _) = check_signers(policy, &identity.package, &identity.signers)
        .map_err(|problem| problem.refusal(&identity.package, &identity.signers, &[]))?;
    check_not_revoked(policy, identity)?;
    check_time(None, identity, now_unix_s)?;
    if !record.effective.is_subset_of(&publisher.permissions_max) {
        let message = format!("{} may do more than publisher `{}` may have by now", identity.package, publisher.name);
        return Err(Refusal::new("over-cap", message)
            .hint("run `airssys-wasm plan` to see what is too much, then change the grant or permissions-max"));
    }
    Ok(VerifiedArtifact {
        identity: identity.clone(),
        permissions_max: publisher.permissions_max.clone(),
        limits: record.limits.into(),
    })
}
