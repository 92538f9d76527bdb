//! Decides what a new release changes for those who use a component.
//!
//! Versions of one line count as the same interface, as they do to the linker. Signatures are compared as
//! they are: a function that takes more than before breaks its callers as much as one that takes less.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::version::line;
use super::{HostSurface, Interface, Surface};

/// What a change of surface means to those who use a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing differs.
    Identical,
    /// Whoever used it before can go on.
    Additive,
    /// An export that others may use is gone or has another signature.
    Breaking,
}

impl Verdict {
    /// The word that plans and documents use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Additive => "additive",
            Self::Breaking => "breaking",
        }
    }
}

/// A function whose signature is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Changed {
    /// Interface and function.
    pub name: String,
    /// The signature before.
    pub before: String,
    /// The signature after.
    pub after: String,
}

/// What came, went and changed on one side of the surface. An interface that came or went as a whole is named
/// once, without its functions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Changes {
    /// Only after.
    pub added: Vec<String>,
    /// Only before.
    pub removed: Vec<String>,
    /// On both sides, with another signature.
    pub changed: Vec<Changed>,
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let Self { added, removed, changed } = self;
        added.is_empty() && removed.is_empty() && changed.is_empty()
    }
}

/// How one surface differs from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
pub struct Comparison {
    /// What it comes to.
    pub verdict: Verdict,
    /// What is there for others.
    pub exports: Changes,
    /// What the host must have.
    pub imports: Changes,
}

impl Comparison {
    /// What changes from `before` to `after`.
    ///
    /// An export that goes away or changes is breaking, unless nobody but the host calls it: a host does without.
    /// What is imported breaks nobody; whether the host has it is another question.
    pub fn between(before: &Surface, after: &Surface, host: &HostSurface<'_>) -> Self {
        if before == after {
            let (exports, imports) = Default::default();
            return Self { verdict: Verdict::Identical, exports, imports };
        }
        let (exports, breaks) = changes(&before.exports(), &after.exports(), host);
        let (imports, _) = changes(&before.imports(), &after.imports(), host);
        let verdict = match (breaks, exports.is_empty() && imports.is_empty()) {
            (true, _) => Verdict::Breaking,
            (false, true) => Verdict::Identical,
            (false, false) => Verdict::Additive,
        };
        Self { verdict, exports, imports }
    }
}

/// Interfaces by their line of versions; where there are several of one line, the later ones' functions count.
#[derive(Default)]
struct Lines<'s> {
    lines: BTreeMap<String, Line<'s>>,
}

#[derive(Default)]
struct Line<'s> {
    name: &'s str,
    items: BTreeMap<&'s str, &'s str>,
}

impl<'s> Lines<'s> {
    fn of(interfaces: &[Interface<'s>]) -> Self {
        let mut lines: BTreeMap<String, Line<'s>> = BTreeMap::new();
        for interface in interfaces {
            let line = lines.entry(line(interface.name)).or_default();
            line.name = interface.name;
            line.items.extend(interface.items.iter().copied());
        }
        Self { lines }
    }
}

/// The changes, and whether others may notice what went or changed.
fn changes(before: &[Interface<'_>], after: &[Interface<'_>], host: &HostSurface<'_>) -> (Changes, bool) {
    let (before, after) = (Lines::of(before).lines, Lines::of(after).lines);
    let mut changes = Changes::default();
    let mut breaks = false;
    for (key, old) in &before {
        let Some(new) = after.get(key) else {
            breaks |= !host.is_private(old.name);
            changes.removed.push(old.name.to_owned());
            continue;
        };
        for (item, signature) in &old.items {
            match new.items.get(item) {
                Some(now) if now == signature => continue,
                Some(now) => changes.changed.push(Changed {
                    name: full(new.name, item),
                    before: (*signature).to_owned(),
                    after: (*now).to_owned(),
                }),
                None => changes.removed.push(full(old.name, item)),
            }
            breaks |= !host.is_private(old.name);
        }
        let added = new.items.keys().filter(|item| !old.items.contains_key(*item));
        changes.added.extend(added.map(|item| full(new.name, item)));
    }
    let new = after.iter().filter(|(key, _)| !before.contains_key(*key));
    changes.added.extend(new.map(|(_, line)| line.name.to_owned()));
    (changes, breaks)
}

/// Interface and function in one word, as the core modules of components write it.
fn full(interface: &str, item: &str) -> String {
    if item.is_empty() { interface.to_owned() } else { format!("{interface}#{item}") }
}
