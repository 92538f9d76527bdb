//! Owns the floors: per package the highest sequence ever accepted and the lowest still allowed.
//!
//! Values never fall, and a package stays when its last installation goes. Whether a sequence may be
//! installed is the planner's decision; when the file is written is the state's.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::digest::Digest;
use crate::name::PackageName;
use crate::sealed::{self, SealError, Sealed};

/// Most packages a floors file may name.
pub const MAX_FLOOR_PACKAGES: usize = 100_000;
/// Longest floors file, in bytes.
pub const MAX_FLOORS_BYTES: usize = 32 << 20;
const FIRST_LINE: &str = "airssys-floors 1";

/// The two numbers of one package.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Floor {
    /// The highest sequence accepted on this host. Below it only an exact pin or a rollback goes.
    pub high: u64,
    /// Nothing below this goes at all; set by a revocation.
    pub floor: u64,
}

/// The numbers of every package that was ever accepted here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floors(BTreeMap<PackageName, Floor>);

/// A floors file: the floors and the generation with which they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloorsFile {
    /// The generation whose commit wrote the file.
    pub generation: u64,
    /// The floors.
    pub floors: Floors,
    /// The file's checksum, which that generation repeats.
    pub digest: Digest,
}

/// Why a file holds no floors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FloorsError {
    /// Not intact.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Intact, but not what this version writes.
    #[error("line {0} is not what a floors file holds there")]
    Line(usize),
    /// More packages than [`MAX_FLOOR_PACKAGES`].
    #[error("it names more than {MAX_FLOOR_PACKAGES} packages")]
    TooMany,
}

impl Floors {
    /// The numbers of a package; zeros when it was never accepted.
    pub fn of(&self, package: &PackageName) -> Floor {
        self.0.get(package).copied().unwrap_or_default()
    }

    /// Remembers an accepted sequence. A lower one changes nothing.
    pub fn accept(&mut self, package: &PackageName, sequence: u64) {
        let entry = self.0.entry(package.clone()).or_default();
        entry.high = entry.high.max(sequence);
    }

    /// Forbids every sequence below `lowest`. A lower value changes nothing.
    pub fn raise_floor(&mut self, package: &PackageName, lowest: u64) {
        let entry = self.0.entry(package.clone()).or_default();
        entry.floor = entry.floor.max(lowest);
    }

    /// Raises every number to at least that of `other`.
    pub fn raise_to(&mut self, other: &Floors) {
        for (package, floor) in &other.0 {
            self.accept(package, floor.high);
            self.raise_floor(package, floor.floor);
        }
    }

    /// Every package for which `self` is lower than `earlier`, or which it lacks.
    pub fn lower_than<'a>(&'a self, earlier: &'a Floors) -> impl Iterator<Item = &'a PackageName> {
        earlier
            .0
            .iter()
            .filter(|(package, before)| {
                let now = self.of(package);
                now.high < before.high || now.floor < before.floor
            })
            .map(|(package, _)| package)
    }

    /// All packages with their numbers, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&PackageName, &Floor)> {
        self.0.iter()
    }

    /// Whether no package was ever accepted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The file that the commit of `generation` writes.
    pub fn encode(&self, generation: u64) -> Sealed {
        let mut body = format!("generation {generation}\n");
        for (package, floor) in &self.0 {
            writeln!(body, "package {package} {} {}", floor.high, floor.floor).expect("a string takes every write");
        }
        sealed::seal(FIRST_LINE, &body)
    }
}

impl FloorsFile {
    /// Reads exactly what [`Floors::encode`] writes, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, FloorsError> {
        let opened = sealed::open(FIRST_LINE, bytes, MAX_FLOORS_BYTES)?;
        let mut lines = opened.body.lines();
        let first = lines.next().and_then(|line| line.strip_prefix("generation "));
        let generation = first.and_then(|text| text.parse().ok()).ok_or(FloorsError::Line(2))?;
        let mut floors = Floors::default();
        for (index, line) in lines.enumerate() {
            let (package, floor) = read_line(line).ok_or(FloorsError::Line(index + 3))?;
            floors.0.insert(package, floor);
            if floors.0.len() > MAX_FLOOR_PACKAGES {
                return Err(FloorsError::TooMany);
            }
        }
        // One text for one value: order, repeats, signs and leading zeros all show up here.
        if floors.encode(generation).digest != opened.digest {
            return Err(FloorsError::Line(1));
        }
        Ok(Self { generation, floors, digest: opened.digest })
    }
}

fn read_line(line: &str) -> Option<(PackageName, Floor)> {
    let mut words = line.strip_prefix("package ")?.split(' ');
    let package = words.next()?.parse().ok()?;
    let floor = Floor { high: words.next()?.parse().ok()?, floor: words.next()?.parse().ok()? };
    words.next().is_none().then_some((package, floor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn package(text: &str) -> PackageName {
        text.parse().unwrap()
    }

    fn any_floors() -> impl Strategy<Value = Floors> {
        let floor = (any::<u64>(), any::<u64>()).prop_map(|(high, floor)| Floor { high, floor });
        let name = "[a-z0-9]{1,8}:[a-z0-9]{1,8}".prop_map(|text| package(&text));
        proptest::collection::btree_map(name, floor, 0..20).prop_map(Floors)
    }

    #[test]
    fn values_never_fall_and_packages_stay() {
        let mut floors = Floors::default();
        floors.accept(&package("acme:a"), 7);
        floors.raise_floor(&package("acme:a"), 3);
        let before = floors.clone();
        floors.accept(&package("acme:a"), 6);
        floors.raise_floor(&package("acme:a"), 2);
        assert_eq!(floors, before);
        assert_eq!(floors.of(&package("acme:a")), Floor { high: 7, floor: 3 });
        floors.accept(&package("acme:a"), 8);
        let mut lower = Floors::default();
        lower.accept(&package("acme:b"), 1);
        lower.raise_to(&floors);
        assert_eq!((lower.of(&package("acme:a")).high, lower.iter().count()), (8, 2));
        assert_eq!(floors.lower_than(&before).count(), 0);
        assert_eq!(before.lower_than(&floors).collect::<Vec<_>>(), [&package("acme:a")]);
        assert_eq!(Floors::default().lower_than(&floors).count(), 1);
    }

    #[test]
    fn a_text_that_is_not_the_one_spelling_is_refused_even_with_a_right_checksum() {
        let bodies = [
            "",
            "generation\n",
            "generation x\n",
            "generation 01\n",
            "generation +1\n",
            "generation 1\npackage acme:a 1\n",
            "generation 1\npackage acme:a 1 0 0\n",
            "generation 1\npackage acme:a 01 0\n",
            "generation 1\npackage acme:a 1  0\n",
            "generation 1\npackage acme 1 0\n",
            "generation 1\npackage acme:a -1 0\n",
            "generation 1\npackage acme:a 18446744073709551616 0\n",
            "generation 1\npackage acme:b 1 0\npackage acme:a 1 0\n",
            "generation 1\npackage acme:a 1 0\npackage acme:a 2 0\n",
            "generation 1\n\n",
            "generation 1\r\n",
        ];
        for body in bodies {
            let text = sealed::seal(FIRST_LINE, body).text;
            assert!(FloorsFile::decode(text.as_bytes()).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn floors_survive_a_round_trip(floors in any_floors(), generation in any::<u64>()) {
            let sealed = floors.encode(generation);
            let file = FloorsFile::decode(sealed.text.as_bytes()).unwrap();
            prop_assert_eq!(file, FloorsFile { generation, floors, digest: sealed.digest });
        }

        #[test]
        fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(FloorsFile::decode(&bytes).is_err());
        }

        #[test]
        fn hostile_bodies_with_a_right_checksum_do_not_panic(body in "([ -~]{0,40}\n){0,6}") {
            let text = sealed::seal(FIRST_LINE, &body).text;
            if let Ok(file) = FloorsFile::decode(text.as_bytes()) {
                prop_assert_eq!(file.floors.encode(file.generation).text, text);
            }
        }

        #[test]
        fn a_flipped_bit_is_always_detected(floors in any_floors(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let mut bytes = floors.encode(9).text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(FloorsFile::decode(&bytes).is_err());
        }
    }
}
