//! Owns how a component is broken: its bytes, its sections, its instructions.

use wasmparser::{Operator, Parser, Payload};

use super::dice::Dice;

/// Bytes at which numbers change their length or their sign.
const EDGES: [u8; 8] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xfe, 0xff];
/// The section of a component that is a core module.
const MODULE: u8 = 1;
/// What stands before the sections.
const HEADER: usize = 8;

/// One of these components, changed in one or a few places.
pub(super) fn mutant(dice: &mut Dice, of: &[Vec<u8>]) -> Vec<u8> {
    let mut wasm = dice.one::<Vec<u8>>(of).clone();
    for _ in 0..=dice.below(3) {
        change(dice, &mut wasm, of);
    }
    wasm
}

fn change(dice: &mut Dice, wasm: &mut Vec<u8>, of: &[Vec<u8>]) {
    if wasm.len() <= HEADER {
        return;
    }
    match dice.below(16) {
        0 => flip(dice, wasm),
        1 => {
            let at = dice.below(wasm.len());
            wasm[at] = *dice.one(&EDGES);
        }
        2 => wasm.truncate(dice.below(wasm.len())),
        3 => {
            let range = dice.range(wasm.len().min(64));
            let at = dice.below(wasm.len() - range.len());
            wasm.drain(at..at + range.len());
        }
        4 => splice(dice, wasm, of),
        5 | 6 => sections(dice, wasm),
        7 | 8 => module(dice, wasm),
        // What is still valid goes further than what is not.
        _ => instructions(dice, wasm),
    }
}

fn flip(dice: &mut Dice, wasm: &mut [u8]) {
    for _ in 0..=dice.below(8) {
        let at = dice.below(wasm.len());
        wasm[at] ^= 1 << dice.below(8);
    }
}

/// The beginning of one and the end of another, between two sections of each.
fn splice(dice: &mut Dice, wasm: &mut Vec<u8>, of: &[Vec<u8>]) {
    let (Some(mut ours), Some(theirs)) = (split(wasm), split(dice.one::<Vec<u8>>(of))) else { return };
    if ours.is_empty() || theirs.is_empty() {
        return;
    }
    ours.truncate(dice.below(ours.len()));
    ours.extend_from_slice(&theirs[dice.below(theirs.len())..]);
    join(wasm, &ours);
}

/// Swaps, removes or doubles a section.
fn sections(dice: &mut Dice, wasm: &mut Vec<u8>) {
    let Some(mut parts) = split(wasm).filter(|parts| !parts.is_empty()) else { return };
    let (a, b) = (dice.below(parts.len()), dice.below(parts.len()));
    match dice.below(3) {
        0 => parts.swap(a, b),
        1 => drop(parts.remove(a)),
        _ => parts.insert(b, parts[a].clone()),
    }
    join(wasm, &parts);
}

/// Does the same, or a change of bytes, to a module within the component, whose length stays right.
fn module(dice: &mut Dice, wasm: &mut Vec<u8>) {
    let Some(mut parts) = split(wasm) else { return };
    let mut modules: Vec<&mut Section> = parts.iter_mut().filter(|section| section.id == MODULE).collect();
    if modules.is_empty() {
        return;
    }
    let which = dice.below(modules.len());
    let bytes = &mut modules[which].bytes;
    match dice.below(4) {
        _ if bytes.len() <= HEADER => {}
        0 => flip(dice, bytes),
        1 => bytes.truncate(dice.below(bytes.len())),
        _ => sections(dice, bytes),
    }
    join(wasm, &parts);
}

/// Puts other instructions of the same type, and other numbers of the same length, in the place of some.
fn instructions(dice: &mut Dice, wasm: &mut [u8]) {
    let places = places(wasm);
    if places.is_empty() {
        return;
    }
    for _ in 0..=dice.below(20) {
        let (at, change) = *dice.one(&places);
        match change {
            Change::Opcode(from, to) => wasm[at] = from + dice.below(usize::from(to - from) + 1) as u8,
            // A byte of a number that has one byte, and keeps it.
            Change::Number => wasm[at + 1] = dice.below(0x80) as u8,
        }
    }
}

#[derive(Clone, Copy)]
enum Change {
    Opcode(u8, u8),
    Number,
}

/// Where instructions may be changed and be of the same type still.
fn places(wasm: &[u8]) -> Vec<(usize, Change)> {
    let bodies = Parser::new(0).parse_all(wasm).map_while(Result::ok).filter_map(|payload| match payload {
        Payload::CodeSectionEntry(body) => body.get_operators_reader().ok(),
        _ => None,
    });
    let mut places = Vec::new();
    for body in bodies {
        for (operator, at) in body.into_iter_with_offsets().map_while(Result::ok) {
            let change = match operator {
                Operator::I32Const { value: -64..=63 } => Some(Change::Number),
                Operator::LocalGet { .. } | Operator::Br { .. } | Operator::BrIf { .. } | Operator::Call { .. } => {
                    Some(Change::Number).filter(|_| wasm[at + 1] < 0x80 && at % 7 == 0)
                }
                _ => same_type(wasm[at]).map(|(from, to)| Change::Opcode(from, to)),
            };
            places.extend(change.map(|change| (at, change)));
        }
    }
    places
}

/// The instructions that take and give what this one does, which stand in a row.
fn same_type(opcode: u8) -> Option<(u8, u8)> {
    const ROWS: [(u8, u8); 10] = [
        (0x46, 0x4f), // compares two i32
        (0x51, 0x5a), // compares two i64
        (0x61, 0x66), // compares two f64
        (0x67, 0x69), // i32 to i32
        (0x6a, 0x78), // two i32 to i32
        (0x79, 0x7b), // i64 to i64
        (0x7c, 0x8a), // two i64 to i64
        (0xa0, 0xa6), // two f64 to f64
        (0xaa, 0xab), // f64 to i32
        (0x2c, 0x2d), // loads a byte
    ];
    ROWS.into_iter().find(|(from, to)| (*from..=*to).contains(&opcode))
}

#[derive(Clone)]
struct Section {
    id: u8,
    bytes: Vec<u8>,
}

/// The sections, or none when they can't be told apart.
fn split(wasm: &[u8]) -> Option<Vec<Section>> {
    let mut rest = wasm.get(HEADER..)?;
    let mut sections = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        let (len, after) = number(after)?;
        let (bytes, after) = after.split_at_checked(len)?;
        sections.push(Section { id: *id, bytes: bytes.to_vec() });
        rest = after;
    }
    Some(sections)
}

fn join(wasm: &mut Vec<u8>, sections: &[Section]) {
    wasm.truncate(HEADER);
    for Section { id, bytes } in sections {
        wasm.push(*id);
        let mut len = bytes.len();
        while len >= 0x80 {
            wasm.push(len as u8 | 0x80);
            len >>= 7;
        }
        wasm.push(len as u8);
        wasm.extend_from_slice(bytes);
    }
}

/// A number of the format, and what is behind it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (i, byte) in bytes.iter().take(5).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[i + 1..]));
        }
    }
    None
}
