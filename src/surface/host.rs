//! Owns the host's side of the surface: what it offers, what it calls, and what an import of something else
//! probably meant.

use serde::Serialize;

use super::{Surface, satisfies, signature};

/// What a host has for components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostSurface<'a> {
    /// Interfaces that a component may import, in the version that is offered.
    pub offers: &'a [&'a str],
    /// What is in them: the text of a [`Surface`] with an `import` for each. What is not in it is not known, and
    /// objected to by nobody but the linker.
    pub items: &'a str,
    /// Interfaces that the host calls where a component exports them.
    pub calls: &'a [&'a str],
    /// Those of `calls` through which other components reach it.
    pub relays: &'a [&'a str],
    /// Those of `offers` through which a component asks others and waits for their answers.
    pub asks: &'a [&'a str],
    /// That of `calls` through which a running component gets another config; empty: there is none.
    pub reconfigures: &'a str,
}

/// An import that a host does not offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// What is imported.
    pub name: String,
    /// What is offered under a similar name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<String>,
}

/// What stands for the signature of a resource.
const RESOURCE: &str = "resource";

/// Something within an interface that a host offers, and that is not there as a component imports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit<'a> {
    /// The interface, as it is imported.
    pub interface: String,
    /// The function in it.
    pub item: String,
    /// The two signatures, as it is imported and as it is here; none when it is not here at all.
    pub signatures: Option<(String, &'a str)>,
    /// What there is in the interface.
    pub there: Vec<&'a str>,
}

impl<'a> HostSurface<'a> {
    /// What a component imports out of interfaces that this host offers, and that is not in them.
    pub fn unfit(&self, surface: &Surface) -> Vec<Unfit<'a>> {
        let mut unfit = Vec::new();
        for import in surface.imports() {
            let Some(here) = self.items_of(import.name) else { continue };
            for (item, wanted) in import.items {
                let signatures = match here.iter().find(|(name, _)| *name == item) {
                    Some((_, signature)) if signature::may_be_same(wanted, signature) => continue,
                    Some((_, signature)) => Some((wanted.to_owned(), *signature)),
                    // It may be another name for one of another interface. One that is not there has no functions either.
                    None if wanted == RESOURCE => continue,
                    None => None,
                };
                let there = here.iter().map(|(name, _)| *name).collect();
                unfit.push(Unfit { interface: import.name.to_owned(), item: item.to_owned(), signatures, there });
            }
        }
        unfit
    }

    /// What is in an interface that is offered, with the signatures.
    fn items_of(&self, import: &str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut lines = self.items.lines();
        lines.find(|line| line.strip_prefix("import ").is_some_and(|offered| satisfies(offered, import)))?;
        Some(lines.map_while(|line| line.strip_prefix(' ')?.split_once(' ')).collect())
    }
}

impl HostSurface<'_> {
    /// Whether an import of this name is satisfied.
    pub fn offers(&self, import: &str) -> bool {
        self.offers.iter().any(|offered| satisfies(offered, import))
    }

    /// Whether the host calls an export of this name.
    pub fn calls(&self, export: &str) -> bool {
        self.calls.iter().any(|called| satisfies(called, export))
    }

    /// Whether other components can reach a component of this surface.
    pub fn reaches(&self, surface: &Surface) -> bool {
        self.relays.iter().any(|relayed| surface.exports_interface(relayed))
    }

    /// Whether a component of this surface may ask others and wait for their answers.
    pub fn lets_ask(&self, surface: &Surface) -> bool {
        surface.imports().iter().any(|import| self.asks.iter().any(|asked| satisfies(asked, import.name)))
    }

    /// Whether a running component of this surface can get another config.
    pub fn reconfigures(&self, surface: &Surface) -> bool {
        !self.reconfigures.is_empty() && surface.exports_interface(self.reconfigures)
    }

    /// Whether an export matters to nobody but the host, which does without.
    pub(super) fn is_private(&self, export: &str) -> bool {
        self.calls(export) && !self.relays.iter().any(|relayed| satisfies(relayed, export))
    }

    /// The imports that this host does not have.
    ///
    /// An interface that is imported for its types alone asks for nothing.
    pub fn missing(&self, surface: &Surface) -> Vec<Missing> {
        let imports = surface.imports().into_iter();
        let missing = imports.filter(|import| !import.items.is_empty() && !self.offers(import.name));
        missing.map(|import| Missing { name: import.name.to_owned(), near: self.near(import.name) }).collect()
    }

    /// The same interface in another version, else one of the same word elsewhere.
    fn near(&self, import: &str) -> Option<String> {
        let name = |interface: &str| interface.split('@').next().unwrap_or_default().to_owned();
        let word = |interface: &str| name(interface).rsplit('/').next().unwrap_or_default().to_owned();
        let same = |part: &dyn Fn(&str) -> String| self.offers.iter().find(|offered| part(offered) == part(import));
        same(&name).or_else(|| same(&word)).map(|offered| (*offered).to_owned())
    }
}
