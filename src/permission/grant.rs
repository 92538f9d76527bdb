//! Owns the operator's grant: what is given, and which asks are declined on purpose.
//!
//! A declined ask does not block an installation; it is not given either, whatever wider entry stands beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::{Entry, Kind};
use super::pattern::PatternError;
use super::{Permissions, text};
use crate::document::{Report, Table};

/// What an operator grants, and what is declined on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What is granted.
    pub permissions: Permissions,
    /// Asks that are known and not granted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub without: BTreeSet<Declined>,
    /// What becomes of asks that are neither granted nor declined. Written only where it is not the default: records of
    /// hosts that did not know it stay what they are.
    #[serde(default, skip_serializing_if = "Mode::is_default")]
    pub mode: Mode,
}

/// What becomes of what a component asks for and is not granted. It does not get it either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It blocks the installation until somebody grants or declines it.
    #[default]
    Enforce,
    /// The component runs without it, and what it would need is noted.
    Observe,
}

impl Mode {
    /// The word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a line of `without` declines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Declined {
    /// Everything of a kind that is not granted: `"net.connect"`.
    Kind(Kind),
    /// One entry and what it includes: `"net.connect api.example.com:443"`.
    Entry(Entry),
}

impl Grant {
    /// Reads a `[grant]` table.
    pub fn read<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Self {
        let mut without = BTreeSet::new();
        let declined = table.take("without").and_then(|value| value.array(report)).unwrap_or_default();
        let permissions = Permissions { entries: text::read_kinds(&mut table, report) };
        for value in declined {
            match value.parsed(report) {
                Some(Declined::Entry(entry)) if permissions.names(&entry) => {
                    let message = format!("{entry} is both granted and declined");
                    report.error_with_hint(value.span, message, "remove one of the two lines");
                }
                Some(declined) => drop(without.insert(declined)),
                None => {}
            }
        }
        table.finish(report);
        Self { permissions, without, mode: Mode::default() }
    }

    /// The parts of `ask` that are given.
    ///
    /// An entry that overlaps a declined one gives nothing, unless it is the narrower of the two: beside
    /// `without = ["net.connect *.example.com:443"]`, the grant `api.example.com:443` still holds, while
    /// `send = ["*"]` does not give what `without = ["send alerter"]` takes out.
    pub(super) fn parts_of(&self, ask: &Entry) -> BTreeSet<Entry> {
        let given = self.permissions.entries().filter_map(|granted| {
            let part = ask.meet(granted)?;
            let is_cut = self.without.iter().any(|declined| match declined {
                Declined::Kind(_) => false,
                Declined::Entry(declined) => {
                    let granted_is_narrower = declined.covers(granted) && declined != granted;
                    declined.meet(&part).is_some() && !granted_is_narrower
                }
            });
            (!is_cut).then_some(part)
        });
        given.collect()
    }

    /// Whether `ask` as a whole is declined: by a line, or because who observes means to see what is needed without it.
    pub(super) fn declines(&self, ask: &Entry) -> bool {
        self.mode == Mode::Observe || self.declines_on_purpose(ask)
    }

    /// Whether a line of `without` declines `ask` as a whole.
    pub fn declines_on_purpose(&self, ask: &Entry) -> bool {
        self.without.iter().any(|declined| match declined {
            Declined::Kind(kind) => *kind == ask.kind(),
            Declined::Entry(entry) => entry.covers(ask),
        })
    }

    /// The lines for `[grant]` that also give `missing`: one a kind, complete with what is granted already.
    pub fn lines_with(&self, missing: &[Entry]) -> Vec<String> {
        let mut lines: BTreeMap<Kind, BTreeSet<&Entry>> = BTreeMap::new();
        for entry in missing {
            lines.entry(entry.kind()).or_default().insert(entry);
        }
        let line = |(kind, mut entries): (Kind, BTreeSet<&Entry>)| {
            if let (Kind::Storage | Kind::Custom(_), Some(only)) = (&kind, entries.last()) {
                return format!("{kind} = {}", toml_value(only));
            }
            entries.extend(self.permissions.entries().filter(|granted| granted.kind() == kind));
            let patterns: Vec<String> = entries.into_iter().map(toml_value).collect();
            format!("{kind} = [{}]", patterns.join(", "))
        };
        lines.into_iter().map(line).collect()
    }
}

/// The pattern as a TOML value.
fn toml_value(entry: &Entry) -> String {
    match entry {
        Entry::Custom(_, value) => match toml::Value::try_from(value.value()) {
            Ok(table) => table.to_string(),
            Err(_) => "{}".to_owned(),
        },
        // No pattern holds a quotation mark or a backslash.
        _ => format!("\"{}\"", entry.pattern()),
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "{kind}"),
            Self::Entry(entry) => f.write_str(&entry.plain()),
        }
    }
}

impl FromStr for Declined {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(' ') { text.parse().map(Self::Entry) } else { text.parse().map(Self::Kind) }
    }
}

impl Serialize for Declined {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Declined {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
