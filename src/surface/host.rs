//! Owns the host's side of the surface: what it offers, what it calls, and what an import of something else
//! probably meant.

use serde::Serialize;

use super::{Surface, satisfies};

/// What a host has for components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostSurface<'a> {
    /// Interfaces that a component may import, in the version that is offered.
    pub offers: &'a [&'a str],
    /// Interfaces that the host calls where a component exports them.
    pub calls: &'a [&'a str],
    /// Those of `calls` through which other components reach it.
    pub relays: &'a [&'a str],
    /// Those of `offers` through which a component asks others and waits for their answers.
    pub asks: &'a [&'a str],
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
