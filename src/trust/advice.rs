//! Owns the text that tells an operator how to trust a publisher: the exact block for `trust.toml`.
//!
//! It is printed, never applied: whether the keys are the publisher's own is for a person to compare.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::policy::Publisher;
use crate::key::PublicKey;
use crate::manifest::Manifest;
use crate::name::PackageName;
use crate::permission::{Entry, Grant, Permissions};

/// What to do when there is no policy at all: its first file, with the keys that signed.
///
/// `asked` is what the manifest asks for; nothing vouches for it but the keys in the text.
pub(super) fn first_policy(package: &PackageName, keys: &BTreeSet<PublicKey>, asked: &Permissions) -> String {
    format!("{}create trust.toml with:\n\nschema = 1\n\n{}", compare(keys), new_rule(package, keys, asked))
}

/// What to do when no rule is for the package: a new rule with the keys that signed.
pub(super) fn new_publisher(package: &PackageName, keys: &BTreeSet<PublicKey>, asked: &Permissions) -> String {
    format!("{}add to trust.toml:\n\n{}", compare(keys), new_rule(package, keys, asked))
}

fn compare(keys: &BTreeSet<PublicKey>) -> String {
    let keys = if keys.len() == 1 { "the key" } else { "the keys" };
    format!("compare {keys} with what the publisher gives out; if it is the same, ")
}

fn new_rule(package: &PackageName, keys: &BTreeSet<PublicKey>, asked: &Permissions) -> String {
    let name = package.namespace();
    let mut text = String::new();
    write_rule(&mut text, name, keys, &BTreeSet::from([format!("{name}:*")]), keys.len());
    write_max(&mut text, name, "# what this release asks for; the publisher gets no more than this\n", asked);
    text
}

/// What to do when the rule for the package does not list the keys that signed.
pub(super) fn more_keys(publisher: &Publisher, keys: &BTreeSet<PublicKey>) -> String {
    let Publisher { name, keys: known, names, threshold, permissions_max } = publisher;
    let mut text = format!(
        "if the publisher has a new key, compare it with what the publisher gives out, and change \
         [publisher.{name}] in trust.toml to:\n\n"
    );
    let names = names.iter().map(ToString::to_string).collect();
    write_rule(&mut text, name, &known.union(keys).copied().collect(), &names, *threshold);
    write_max(&mut text, name, "", permissions_max);
    text
}

fn write_rule(text: &mut String, name: &str, keys: &BTreeSet<PublicKey>, names: &BTreeSet<String>, threshold: usize) {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let _ = writeln!(text, "[publisher.{name}]");
    let _ = match keys.as_slice() {
        [only] => writeln!(text, "keys = [{only}]"),
        _ => writeln!(text, "keys = [\n    {},\n]", keys.join(",\n    ")),
    };
    let _ = writeln!(text, "names = [{}]", names.join(", "));
    let _ = writeln!(text, "threshold = {threshold}");
}

fn write_max(text: &mut String, name: &str, comment: &str, permissions_max: &Permissions) {
    if !permissions_max.is_empty() {
        let entries: Vec<Entry> = permissions_max.entries().cloned().collect();
        let lines = Grant::default().lines_with(&entries).join("\n");
        let _ = write!(text, "\n{comment}[publisher.{name}.permissions-max]\n{lines}\n");
    }
}

/// What a manifest asks for, if it can be read at all. For the text above only: nothing is decided by it.
pub(super) fn asked_by(manifest: &[u8]) -> Permissions {
    Manifest::parse("Component.toml", manifest).map(|manifest| manifest.permissions).unwrap_or_default()
}
