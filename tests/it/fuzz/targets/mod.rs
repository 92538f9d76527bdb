//! What is tried: the formats and the doors, each with its words and the laws that its inputs must keep.

mod control;
mod faults;
mod files;
mod permissions;
mod state;
mod trusted;

use super::seen::Seen;

/// One format or door.
pub struct Target {
    /// Its name, also of the directory of its seeds.
    pub name: &'static str,
    /// Longest input, in bytes: the format's own bound, or less where that would only take time.
    pub most: usize,
    /// Words of the format, one on each line.
    pub words: &'static str,
    /// Tries an input. A law that does not hold is a panic.
    pub run: fn(&[u8], &mut Seen),
    /// Makes checksums fit, for formats that have some.
    pub mend: Option<Mend>,
    /// The worst that can be written within the bounds.
    pub largest: fn() -> Vec<Vec<u8>>,
}

/// Makes an input that nearly fits fit.
type Mend = fn(&[u8]) -> Vec<u8>;

/// All of them.
pub const ALL: &[&Target] = &[
    &files::DESIRED,
    &files::MANIFEST,
    &trusted::POLICY,
    &trusted::SIGNATURE,
    &state::GENERATION,
    &state::AUDIT,
    &state::CODEC,
    &permissions::PERMISSIONS,
    &control::CONTROL,
];

/// The target of this name; `faults` is the one that proves that faults are noticed.
pub fn named(name: &str) -> &'static Target {
    let all = ALL.iter().copied().chain([&faults::FAULTS]);
    all.into_iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target {name}"))
}

/// `start`, as many pieces as fit into `most` bytes, and `end`.
fn filled(most: usize, start: &str, piece: impl Fn(usize) -> String, end: &str) -> Vec<u8> {
    let mut text = start.to_owned();
    for n in 0.. {
        let piece = piece(n);
        if text.len() + piece.len() + end.len() > most {
            break;
        }
        text += &piece;
    }
    (text + end).into_bytes()
}
