//! Releases that are signed with fixed seeds, and the policy that trusts them.

use super::*;
use crate::desired::spec::Require;
use crate::name::PackageName;
use crate::resolution::Refusal;

/// A time at which every release here is valid: 2026-11-05.
pub const NOW: i64 = 1_793_836_800;

pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

/// The start of a component and one byte; enough for everything that only hashes.
pub fn wasm(n: u8) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0".as_slice(), &[n; 40]].concat()
}

pub fn draft(package: &str, n: u8) -> String {
    format!(
        "schema = 1\nnot-before = 2026-01-01T00:00:00Z\nexpires = 2027-01-01T00:00:00Z\n\n[package]\n\
         name = \"{package}\" # signed\nversion = \"1.{n}.0\"\nsequence = {n}\n\n[wasm]\nfile = \"it.wasm\"\n\
         world = \"{}\"\n\n[permissions]\nsend = [\"alerter\"]\n\n[limits]\nmemory = \"32MiB\"\n",
        crate::manifest::WORLD
    )
}

/// One published release.
#[derive(Clone)]
pub struct Release {
    pub manifest: Vec<u8>,
    pub signature: Vec<u8>,
    pub wasm: Vec<u8>,
}

impl Release {
    pub fn signed(draft: &str, wasm: Vec<u8>, keys: &[SigningKey]) -> Self {
        let mut release = Self { manifest: draft.as_bytes().to_vec(), signature: Vec::new(), wasm };
        for key in keys {
            let text = String::from_utf8(release.manifest.clone()).unwrap();
            let there = Some(release.signature.as_slice()).filter(|bytes| !bytes.is_empty());
            let signed = sign_manifest(&text, &release.wasm, there, key).unwrap();
            (release.manifest, release.signature) = (signed.manifest.into(), signed.signature.into());
        }
        release
    }

    /// Release `n` of `acme:notifier`, signed with key 1.
    pub fn of(n: u8) -> Self {
        Self::signed(&draft("acme:notifier", n), wasm(n), &[key(1)])
    }

    /// The manifest with a change that was made after signing.
    pub fn edited(&self, from: &str, to: &str) -> Self {
        let text = String::from_utf8(self.manifest.clone()).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} must be there once");
        Self { manifest: text.replace(from, to).into(), ..self.clone() }
    }

    /// Verifies as `acme:notifier` and admits the wasm.
    pub fn admit(&self, policy: &TrustPolicy) -> Result<VerifiedArtifact, Refusal> {
        self.admit_as(policy, "acme:notifier", &Require::default(), NOW)
    }

    pub fn admit_as(
        &self,
        policy: &TrustPolicy,
        package: &str,
        require: &Require,
        now: i64,
    ) -> Result<VerifiedArtifact, Refusal> {
        let package: PackageName = package.parse().unwrap();
        let expect = Expectation { package: &package, require };
        let verified = verify_manifest(policy, &expect, &self.manifest, &self.signature, now);
        let artifact = verified.and_then(|verified| verified.admit(&StoredWasm::of(&self.wasm)));
        if let Err(refusal) = &artifact {
            check_form(refusal);
        }
        artifact
    }

    /// The code of the refusal.
    pub fn refused(&self, policy: &TrustPolicy) -> String {
        self.admit(policy).expect_err("it was admitted").code
    }
}

/// What holds for every refusal: a stable code, one sentence, and something to do.
pub fn check_form(refusal: &Refusal) {
    assert!(
        !refusal.code.is_empty() && refusal.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
        "{refusal:?}"
    );
    let message = &refusal.message;
    assert!(!message.is_empty() && !message.contains('\n') && !message.ends_with('.'), "{refusal:?}");
    assert!(refusal.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{refusal:?}");
    for text in [message, refusal.hint.as_ref().unwrap()] {
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{refusal:?}");
    }
}

pub fn policy_text(keys: &[u8], threshold: usize) -> String {
    let keys: Vec<String> = keys.iter().map(|n| format!("\"{}\"", key(*n).public())).collect();
    format!(
        "schema = 1\n[publisher.acme]\nkeys = [{}]\nnames = [\"acme:*\"]\nthreshold = {threshold}\n\
         permissions-max = {{ send = [\"*\"] }}\n",
        keys.join(", ")
    )
}

pub fn policy(text: &str) -> TrustPolicy {
    TrustPolicy::parse("trust.toml", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Trusts key 1 for `acme:*`.
pub fn trusting() -> TrustPolicy {
    policy(&policy_text(&[1], 1))
}

pub fn with_revocation(table: &str) -> TrustPolicy {
    policy(&format!("{}[[revoked]]\n{table}\n", policy_text(&[1], 1)))
}
