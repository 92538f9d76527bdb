//! Owns the patterns by which a trust rule says which packages it is for.
//!
//! `*` stands for a whole part and nothing less, so a pattern has nothing to do with how names begin or end.

use std::fmt;
use std::str::FromStr;

use crate::name::{LinkName, PackageName};

/// Which packages: `acme:notifier`, `acme:*`, `*:notifier` or `*:*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamePattern {
    namespace: Option<Box<str>>,
    name: Option<Box<str>>,
}

impl NamePattern {
    /// Whether the package is meant.
    pub fn matches(&self, package: &PackageName) -> bool {
        let fits = |part: &Option<Box<str>>, text: &str| part.as_deref().is_none_or(|part| part == text);
        fits(&self.namespace, package.namespace()) && fits(&self.name, package.name())
    }

    /// How many parts are named; of two patterns that mean one package, the higher one wins.
    pub fn specificity(&self) -> u8 {
        u8::from(self.namespace.is_some()) + u8::from(self.name.is_some())
    }

    /// Whether it says in which namespace the packages are.
    pub(super) fn names_namespace(&self) -> bool {
        self.namespace.is_some()
    }

    /// Whether some package is meant by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let fits = |one: &Option<Box<str>>, other: &Option<Box<str>>| one.is_none() || other.is_none() || one == other;
        fits(&self.namespace, &other.namespace) && fits(&self.name, &other.name)
    }
}

/// The text is no pattern of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is `namespace:name`, each a-z, 0-9 and inner hyphens, or `*` for a whole part, as in `acme:*`")]
pub struct ParseNamePatternError;

impl FromStr for NamePattern {
    type Err = ParseNamePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Both kinds of names have the one grammar of parts.
        let part = |part: &str| match part {
            "*" => Ok(None),
            _ => part.parse::<LinkName>().map(|_| Some(part.into())).map_err(|_| ParseNamePatternError),
        };
        let (namespace, name) = text.split_once(':').ok_or(ParseNamePatternError)?;
        Ok(Self { namespace: part(namespace)?, name: part(name)? })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace.as_deref().unwrap_or("*"), self.name.as_deref().unwrap_or("*"))
    }
}
