//! Owns the trust policy, `trust.toml`: which keys may sign which packages, and how far that goes.
//!
//! A key confers nothing by being listed: only through the one rule that is for the package at hand. Who may
//! write the file is checked where it is opened.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::Claims;
use super::key::check_key;
use super::name_pattern::NamePattern;
use super::revocation::{Revocation, Revoked};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::document::{self, Report, Table, Value};
use crate::escape::escape;
use crate::key::PublicKey;
use crate::manifest::{read_schema, text_within};
use crate::name::{LinkName, PackageName};
use crate::permission::Permissions;

/// Largest policy file, in bytes. The tree of a text takes up to eighty times as much memory.
pub const MAX_POLICY_BYTES: u64 = 256 << 10;
/// Most keys of one publisher; no more signatures than that are read either.
pub const MAX_KEYS_PER_PUBLISHER: usize = super::MAX_SIGNATURES;

/// Most publishers of one policy.
pub const MAX_PUBLISHERS: usize = 256;
/// Most patterns of one publisher.
pub const MAX_NAMES_PER_PUBLISHER: usize = 256;

/// What the operator trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustPolicy {
    digest: Option<Digest>,
    publishers: BTreeMap<String, Publisher>,
    revocations: Vec<Revocation>,
}

/// One rule: these keys, this many of them, for these packages, with at most these permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The rule's name, the operator's choice.
    pub name: String,
    /// The keys whose signatures count.
    pub keys: BTreeSet<PublicKey>,
    /// The packages it is for.
    pub names: BTreeSet<NamePattern>,
    /// How many different keys must have signed.
    pub threshold: usize,
    /// The most that any of the packages may have.
    pub permissions_max: Permissions,
}

impl TrustPolicy {
    /// No policy: nothing is trusted.
    pub fn none() -> Self {
        Self { digest: None, publishers: BTreeMap::new(), revocations: Vec::new() }
    }

    /// Reads a policy file; `file` is its name as shown to people.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let text = text_within(file, bytes, MAX_POLICY_BYTES).map_err(|problem| vec![problem])?;
        let mut report = Report::new(file, text);
        let document = document::parse(text, &mut report);
        let (publishers, revocations) = read(Table::document(&document), &mut report);
        if !report.is_clean() {
            return Err(report.into_problems());
        }
        Ok(Self { digest: Some(Digest::of(bytes)), publishers, revocations })
    }

    /// The digest of the file's bytes, of no bytes when there is no file: an input of every plan.
    pub fn digest(&self) -> Digest {
        self.digest.unwrap_or_else(|| Digest::of(&[]))
    }

    /// Whether there is no policy file.
    pub fn is_none(&self) -> bool {
        self.digest.is_none()
    }

    /// The rules, in the order of their names.
    pub fn publishers(&self) -> impl Iterator<Item = &Publisher> {
        self.publishers.values()
    }

    /// The rule of this name.
    pub fn publisher(&self, name: &str) -> Option<&Publisher> {
        self.publishers.get(name)
    }

    /// The one rule that is for the package: the one that names it most closely.
    pub fn publisher_for(&self, package: &PackageName) -> Option<&Publisher> {
        let closeness = |publisher: &&Publisher| {
            let matching = publisher.names.iter().filter(|pattern| pattern.matches(package));
            matching.map(NamePattern::specificity).max()
        };
        self.publishers.values().filter(|publisher| closeness(publisher).is_some()).max_by_key(closeness)
    }

    /// The revocations, in the order of the file.
    pub fn revocations(&self) -> impl Iterator<Item = &Revocation> {
        self.revocations.iter()
    }

    /// Why no signature of the key counts; `None` when it does.
    pub fn revocation_of_key(&self, key: &PublicKey) -> Option<&Revocation> {
        self.revocations.iter().find(|revocation| revocation.is_of_key(key))
    }

    /// The lowest sequence of a package that the revocations leave; what a host keeps as its floor.
    pub fn floor(&self, package: &PackageName) -> Option<u64> {
        let floors = self.revocations.iter().filter_map(|revocation| match &revocation.what {
            Revoked::SequenceBelow(revoked, lowest) if revoked == package => Some(*lowest),
            _ => None,
        });
        floors.max()
    }
}

fn read<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> (BTreeMap<String, Publisher>, Vec<Revocation>) {
    if !read_schema(&mut table, report) {
        return Default::default();
    }
    let mut publishers = BTreeMap::new();
    let mut claims = Claims::default();
    if let Some(mut rules) = table.table("publisher", report) {
        let rules_at = rules.span();
        let rules = rules.take_rest();
        if rules.len() > MAX_PUBLISHERS {
            report.error(rules_at, format!("there are more than {MAX_PUBLISHERS} publishers"));
        }
        for (name, value) in rules.into_iter().take(MAX_PUBLISHERS) {
            if let Some(publisher) = read_publisher(&name, &value, &mut claims, report) {
                publishers.insert(name, publisher);
            }
        }
    }
    let revoked = table.take("revoked").and_then(|value| value.array(report)).unwrap_or_default();
    let revocations = revoked.iter().filter_map(|value| {
        let table = value.table(report)?;
        Revocation::read(table, report)
    });
    let revocations = revocations.collect();
    table.finish(report);
    (publishers, revocations)
}

fn read_publisher<'t>(
    name: &str,
    value: &Value<'_, 't>,
    claims: &mut Claims,
    report: &mut Report<'t>,
) -> Option<Publisher> {
    if let Err(error) = name.parse::<LinkName>() {
        let message = format!("a publisher can't be called `{}`: {error}", escape(name));
        report.error(value.key_span.clone(), message);
    }
    let mut table = value.table(report)?;
    let keys = table.require("keys", report).map(|value| read_keys(&value, report)).unwrap_or_default();
    let names = table.require("names", report).map(|value| read_names(name, &value, claims, report));
    let threshold = match table.take("threshold") {
        None => Some(1),
        Some(value) => value.integer(report).and_then(|number| {
            let threshold = usize::try_from(number).ok().filter(|threshold| (1..=keys.len()).contains(threshold));
            if threshold.is_none() && !keys.is_empty() {
                let message = format!("`{}` must be from 1 to the number of keys, {}", escape(&value.path), keys.len());
                report.error(value.span.clone(), message);
            }
            threshold
        }),
    };
    let permissions_max = table.table("permissions-max", report).map(|max| Permissions::read(max, report));
    if let Some(value) = table.take("build")
        && value.boolean(report) == Some(true)
    {
        let message = format!("`{}` is not supported by this version", escape(&value.path));
        report.error_with_hint(value.span, message, "the host builds nothing; let the publisher sign what was built");
    }
    table.finish(report);
    let permissions_max = permissions_max.unwrap_or_default();
    Some(Publisher { name: name.to_owned(), keys, names: names?, threshold: threshold?, permissions_max })
}

fn read_keys<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> BTreeSet<PublicKey> {
    let items = value.array(report).unwrap_or_default();
    if items.is_empty() || items.len() > MAX_KEYS_PER_PUBLISHER {
        let message = format!("`{}` must hold from 1 to {MAX_KEYS_PER_PUBLISHER} keys", escape(&value.path));
        report.error(value.key_span.clone(), message);
        return BTreeSet::new();
    }
    let mut keys = BTreeSet::new();
    for item in items {
        let Some(key) = item.parsed::<PublicKey>(report) else { continue };
        if let Err(problem) = check_key(&key) {
            report.error(item.span, format!("`{}` can't be trusted: {problem}", escape(&item.path)));
        } else if !keys.insert(key) {
            report.error(item.span, format!("`{}` is listed twice", escape(&item.path)));
        }
    }
    keys
}

fn read_names<'t>(
    publisher: &str,
    value: &Value<'_, 't>,
    claims: &mut Claims,
    report: &mut Report<'t>,
) -> BTreeSet<NamePattern> {
    let items = value.array(report).unwrap_or_default();
    if items.is_empty() || items.len() > MAX_NAMES_PER_PUBLISHER {
        let message = format!("`{}` must hold from 1 to {MAX_NAMES_PER_PUBLISHER} names", escape(&value.path));
        report.error(value.key_span.clone(), message);
        return BTreeSet::new();
    }
    let mut names = BTreeSet::new();
    for item in items {
        let Some(pattern) = item.parsed::<NamePattern>(report) else { continue };
        if let Some((other, owner)) = claims.conflict(&pattern, publisher) {
            let message = if pattern == *other {
                format!("publisher `{owner}` names `{pattern}` as well")
            } else {
                format!("`{pattern}` and `{other}` of publisher `{owner}` name some package equally closely")
            };
            report.error_with_hint(item.span, message, "one package has one publisher; name it in full in one rule");
        }
        claims.add(&pattern, publisher);
        names.insert(pattern);
    }
    names
}
