//! A target with the faults that the others must not have.

use std::hint::black_box;
use std::time::Duration;

use super::super::child::processor_time;
use super::super::seen::Seen;
use super::Target;

pub const FAULTS: Target =
    Target { name: "faults", most: 16, words: "panic", run: faults, mend: None, largest: Vec::new };

fn faults(input: &[u8], seen: &mut Seen) {
    match input {
        b"panic" => panic!("as it was told"),
        b"overflow" => drop(black_box(deeper(0))),
        b"abort" => std::process::abort(),
        b"escape" => seen.refused("a \u{202e} mark"),
        b"memory" => drop(black_box(vec![black_box(1u8); 80 << 20])),
        b"slow" => while processor_time() < Duration::from_millis(1_500) {},
        b"never" => std::thread::park(),
        _ => seen.taken("it"),
    }
}

#[expect(unconditional_recursion, reason = "that is the fault")]
fn deeper(depth: u64) -> u64 {
    black_box(deeper(black_box(depth + 1))) + 1
}
