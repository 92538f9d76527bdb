//! Owns revocations: what is no longer trusted although it is signed.
//!
//! Each `[[revoked]]` table of the trust policy says one thing, and may say why:
//!
//! ```toml
//! [[revoked]]
//! key = "ed25519:…"                  # no signature of this key counts
//! reason = "lost laptop"
//! [[revoked]]
//! digest = "sha256:…"                # of a manifest, a signature file or a wasm
//! [[revoked]]
//! package = "acme:notifier"
//! version = ">=1.2.0, <1.4.2"        # pre-releases between count as well
//! [[revoked]]
//! package = "acme:notifier"
//! sequence-below = 17                # nothing below, and that stays so after the table is gone
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::{BuildMetadata, Op, Version, VersionReq};

use crate::digest::Digest;
use crate::document::{Report, Table};
use crate::escape::escape;
use crate::key::PublicKey;
use crate::name::PackageName;

/// Longest reason, in bytes.
const MAX_REASON_BYTES: usize = 256;

/// One revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What is revoked.
    pub what: Revoked,
    /// Why, in the operator's words, escaped.
    pub reason: Option<String>,
}

/// What a revocation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// No signature of the key counts.
    Key(PublicKey),
    /// The manifest, signature file or wasm of this digest.
    Digest(Digest),
    /// The releases of a package in a range of versions.
    Versions(PackageName, VersionRange),
    /// The releases of a package with a lower sequence.
    SequenceBelow(PackageName, u64),
}

/// A range of versions in their plain order.
///
/// Unlike a requirement of a dependency, pre-releases in the range belong to it: a revocation of `<1.4.2`
/// that left out `1.4.1-rc.1` would be a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    /// All must hold.
    bounds: Vec<(Op, Version)>,
    text: String,
}

impl VersionRange {
    /// Whether the version is in the range.
    pub fn contains(&self, version: &Version) -> bool {
        self.bounds.iter().all(|(op, bound)| {
            let order = version.cmp_precedence(bound);
            match op {
                Op::Less => order == Ordering::Less,
                Op::LessEq => order != Ordering::Greater,
                Op::Greater => order == Ordering::Greater,
                Op::GreaterEq => order != Ordering::Less,
                _ => order == Ordering::Equal,
            }
        })
    }
}

/// The text is no range of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a range is one or more of `<`, `<=`, `>`, `>=`, `=` with a full version each, as in `>=1.2.0, <1.4.2`")]
pub struct ParseVersionRangeError;

impl FromStr for VersionRange {
    type Err = ParseVersionRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let written: VersionReq = text.parse().map_err(|_| ParseVersionRangeError)?;
        let bound = |comparator: &semver::Comparator| {
            if !matches!(comparator.op, Op::Exact | Op::Less | Op::LessEq | Op::Greater | Op::GreaterEq) {
                return Err(ParseVersionRangeError);
            }
            let (Some(minor), Some(patch)) = (comparator.minor, comparator.patch) else {
                return Err(ParseVersionRangeError);
            };
            let (major, pre) = (comparator.major, comparator.pre.clone());
            Ok((comparator.op, Version { major, minor, patch, pre, build: BuildMetadata::EMPTY }))
        };
        let bounds = written.comparators.iter().map(bound).collect::<Result<Vec<_>, _>>()?;
        if bounds.is_empty() {
            return Err(ParseVersionRangeError);
        }
        Ok(Self { bounds, text: written.to_string() })
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Revocation {
    /// Reads one `[[revoked]]` table.
    pub(super) fn read<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Option<Self> {
        let span = table.span();
        let keys = ["key", "digest", "package", "version", "sequence-below"].map(|key| table.take(key));
        let reason = table.take("reason").and_then(|value| {
            let reason = value.string(report)?;
            if reason.len() > MAX_REASON_BYTES {
                report.error(value.span.clone(), format!("`reason` is longer than {MAX_REASON_BYTES} bytes"));
            }
            Some(escape(reason))
        });
        table.finish(report);
        let what = match &keys {
            [Some(key), None, None, None, None] => Revoked::Key(key.parsed(report)?),
            [None, Some(digest), None, None, None] => Revoked::Digest(digest.parsed(report)?),
            [None, None, Some(package), Some(range), None] => {
                let (package, range) = (package.parsed(report), range.parsed(report));
                Revoked::Versions(package?, range?)
            }
            [None, None, Some(package), None, Some(sequence)] => {
                let (package, sequence) = (package.parsed(report), sequence.integer(report));
                Revoked::SequenceBelow(package?, sequence?)
            }
            _ => {
                let hint = "write `key`, or `digest`, or `package` with either `version` or `sequence-below`";
                report.error_with_hint(span, "a `[[revoked]]` table must say exactly one thing", hint);
                return None;
            }
        };
        Some(Self { what, reason })
    }

    /// Whether no signature of the key counts.
    pub fn is_of_key(&self, key: &PublicKey) -> bool {
        matches!(&self.what, Revoked::Key(revoked) if revoked == key)
    }

    /// Whether a release is revoked, by its names or by one of its digests.
    pub fn is_of_release(&self, package: &PackageName, version: &Version, sequence: u64, digests: &[Digest]) -> bool {
        match &self.what {
            Revoked::Key(_) => false,
            Revoked::Digest(revoked) => digests.contains(revoked),
            Revoked::Versions(revoked, range) => revoked == package && range.contains(version),
            Revoked::SequenceBelow(revoked, lowest) => revoked == package && sequence < *lowest,
        }
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Revoked::Key(key) => write!(f, "the key {key} is revoked")?,
            Revoked::Digest(digest) => write!(f, "{digest} is revoked")?,
            Revoked::Versions(package, range) => write!(f, "{package} {range} is revoked")?,
            Revoked::SequenceBelow(package, lowest) => {
                write!(f, "{package} is revoked below sequence {lowest}")?;
            }
        }
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}
