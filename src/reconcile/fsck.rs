//! Checks what is stored against digests, and what is committed against the trust of today.

use crate::digest::Digest;
use crate::engine::{Engine, EngineConfig};
use crate::manifest::MAX_MANIFEST_BYTES;
use crate::record::Record;
use crate::resolution::Refusal;
use crate::source::file::MAX_SIGNATURE_BYTES;
use crate::state::{Checked, Finding, Reader, StateError, check};
use crate::trust::{self, Expectation, TrustPolicy, verify_manifest};

/// The engine whose compiled code this program runs.
pub fn engine_in_use() -> anyhow::Result<Digest> {
    Ok(Engine::new(&EngineConfig::default())?.code_hash())
}

/// Everything that [`check`] finds, and for every committed artifact whether it would be accepted now.
pub fn fsck(reader: &Reader, engine: &Digest, policy: &TrustPolicy, now_unix_s: i64) -> Result<Checked, StateError> {
    let mut checked = check(reader, engine)?;
    let Some(snapshot) = checked.snapshot.take() else { return Ok(checked) };
    for (name, record) in &snapshot.records {
        if let Err(why) = verify(reader, record, policy, now_unix_s) {
            let advice = why.hint.unwrap_or_else(|| "see trust.toml, or install another release".to_owned());
            let why_now = format!("{}; it does not start again as it is", why.message);
            checked.findings.push(Finding::new(&why.code, name.to_string(), why_now, advice));
        }
    }
    checked.snapshot = Some(snapshot);
    Ok(checked)
}

/// Signature, policy and dates anew, from the bytes that are stored. What is missing or damaged was found before.
fn verify(reader: &Reader, record: &Record, policy: &TrustPolicy, now_unix_s: i64) -> Result<(), Refusal> {
    let artifact = &record.artifact;
    let stored = |digest: &Digest, most: u64| reader.get_object(digest, most).ok().flatten();
    let manifest = stored(&artifact.manifest, MAX_MANIFEST_BYTES);
    let signature = stored(&artifact.signature, MAX_SIGNATURE_BYTES);
    let (Some(manifest), Some(signature)) = (manifest, signature) else { return Ok(()) };
    let expect = Expectation { package: &artifact.package, require: &record.spec.require };
    let verified = verify_manifest(policy, &expect, &manifest, &signature, now_unix_s)?;
    let found = verified.manifest();
    if found.wasm.digest != artifact.wasm
        || found.wasm.size != artifact.wasm_size
        || found.sequence != artifact.sequence
    {
        let message = "its record names other wasm or another sequence than its signed manifest";
        return Err(Refusal::new("record-differs", message).hint("restore the state from a backup"));
    }
    trust::readmit(policy, record, now_unix_s).map(drop)
}
