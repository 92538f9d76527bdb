//! Owns the surface of a component: what it imports and exports, with a signature for each function.
//!
//! A value that `engine` reads from the wasm, and that a record keeps so that two releases can be compared
//! without either's bytes. One text holds it: it is taken apart only where two are compared or one is shown.

mod compare;
mod host;
mod signature;
mod version;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use compare::{Changed, Changes, Comparison, Verdict};
pub use host::{HostSurface, Missing, Unfit};
pub use version::satisfies;

use crate::digest::Digest;
use crate::escape::escape;

/// Most imports, exports and functions in them, together.
pub const MAX_SURFACE_ITEMS: usize = 2_000;
/// Most bytes of a surface's text.
pub const MAX_SURFACE_BYTES: usize = 256 << 10;
/// Longest signature that is kept as it is, in bytes. Of a longer one its beginning and its digest are kept.
pub const MAX_KEPT_SIGNATURE_BYTES: usize = 192;
/// Bytes of the beginning that is kept of a long signature.
const KEPT_BEGINNING_BYTES: usize = 128;
/// Hexadecimal digits of the digest of a long signature: 128 bits, so that no two are mistaken for one another.
const SIGNATURE_DIGITS: usize = 32;

/// What a component imports and exports.
///
/// One line for each interface, `import NAME` or `export NAME`, each followed by its functions: a space, the
/// function's name, a space, its signature. Equal surfaces have equal texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Surface(Arc<str>);

/// An import or an export: mostly an interface, with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface<'s> {
    /// Its name, with its version where it has one. Escaped, and without spaces.
    pub name: &'s str,
    /// Functions and resources, each with its signature, in the order of their names. Types have no place of
    /// their own: they are part of the signatures. What is imported or exported by itself has an empty name.
    pub items: Vec<(&'s str, &'s str)>,
}

/// A component has more at its surface than is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// More than [`MAX_SURFACE_ITEMS`].
    #[error("it imports and exports more than {MAX_SURFACE_ITEMS} functions and interfaces")]
    Items,
    /// More than [`MAX_SURFACE_BYTES`].
    #[error("the names and signatures of what it imports and exports are longer than {} KiB", MAX_SURFACE_BYTES >> 10)]
    Bytes,
}

/// Whether something is imported or exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It comes from the host.
    Import,
    /// It is there for others.
    Export,
}

/// A surface in the making.
#[derive(Debug, Default)]
pub struct SurfaceBuilder {
    interfaces: BTreeMap<(Side, String), BTreeMap<String, String>>,
    items: usize,
    bytes: usize,
}

impl SurfaceBuilder {
    /// Adds an interface, which may stay empty.
    pub fn interface(&mut self, side: Side, name: &str) -> Result<(), TooLarge> {
        let name = word(name);
        self.grow(name.len() + "import ".len())?;
        self.interfaces.entry((side, name)).or_default();
        Ok(())
    }

    /// Adds a function, or a resource, of an interface.
    pub fn item(&mut self, side: Side, interface: &str, item: &str, signature: &str) -> Result<(), TooLarge> {
        let (item, signature) = (word(item), kept(&escape(signature)));
        self.grow(item.len() + signature.len() + "  ".len())?;
        self.interfaces.entry((side, word(interface))).or_default().insert(item, signature);
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.items += 1;
        self.bytes += bytes + 1;
        if self.items > MAX_SURFACE_ITEMS {
            return Err(TooLarge::Items);
        }
        if self.bytes > MAX_SURFACE_BYTES { Err(TooLarge::Bytes) } else { Ok(()) }
    }

    /// The surface.
    pub fn finish(self) -> Surface {
        let mut text = String::with_capacity(self.bytes);
        for ((side, name), items) in &self.interfaces {
            let side = if *side == Side::Import { "import" } else { "export" };
            let _ = writeln!(text, "{side} {name}");
            for (item, signature) in items {
                let _ = writeln!(text, " {item} {signature}");
            }
        }
        Surface(text.into())
    }
}

/// A name without what would end it early.
fn word(name: &str) -> String {
    escape(name).replace(' ', "\\u{20}")
}

/// A signature as it is kept: as it is, or its beginning and what tells it from all others.
fn kept(signature: &str) -> String {
    if signature.len() <= MAX_KEPT_SIGNATURE_BYTES {
        return signature.to_owned();
    }
    let digest = Digest::of(signature.as_bytes()).hex();
    let beginning = &signature[..signature.floor_char_boundary(KEPT_BEGINNING_BYTES)];
    format!("{beginning}… sha256:{}", &digest[..SIGNATURE_DIGITS])
}

impl Surface {
    /// The text that holds it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Everything that is imported, in the order of the names.
    pub fn imports(&self) -> Vec<Interface<'_>> {
        self.side("import ")
    }

    /// Everything that is exported, in the order of the names.
    pub fn exports(&self) -> Vec<Interface<'_>> {
        self.side("export ")
    }

    /// Whether an interface of this name, in this line of versions, is exported.
    pub fn exports_interface(&self, interface: &str) -> bool {
        self.exports().iter().any(|export| satisfies(export.name, interface))
    }

    /// How this surface differs from `before`; see [`Comparison::between`].
    pub fn compare(&self, before: &Surface, host: &HostSurface<'_>) -> Comparison {
        Comparison::between(before, self, host)
    }

    /// What no builder writes is passed over: a surface comes out of a sealed record, or fresh from the wasm.
    fn side(&self, side: &str) -> Vec<Interface<'_>> {
        let mut found: Vec<Interface<'_>> = Vec::new();
        let mut is_on = false;
        for line in self.0.lines() {
            match line.strip_prefix(' ') {
                None => {
                    let name = line.strip_prefix(side);
                    is_on = name.is_some();
                    found.extend(name.map(|name| Interface { name, items: Vec::new() }));
                }
                Some(item) if is_on => {
                    let interface = found.last_mut();
                    if let (Some(interface), Some(item)) = (interface, item.split_once(' ')) {
                        interface.items.push(item);
                    }
                }
                Some(_) => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
