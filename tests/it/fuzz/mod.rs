//! What must hold for every sequence of bytes, asked of many: each format and each door has a target.
//!
//! A target runs in a child of this binary, which writes every input down before it tries it: whatever ends the child, a
//! panic, an overflow of the stack or a loop without an end, the input that did it is there. `docs/fuzzing.md` says what
//! holds, how to run for longer and how to replay one input.

mod child;
mod mutate;
mod parent;
mod seen;
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::PATIENCE;
use crate::scale::{cases, seed};

/// The largest rise of the memory of a target's process over its run, in bytes.
const MOST_MEMORY: u64 = 64 << 20;

/// Which target the child runs.
const TARGET: &str = "AIRSSYS_FUZZ_TARGET";
/// For how many seconds a target makes new inputs.
const SECONDS: &str = "AIRSSYS_FUZZ_SECONDS";
/// A file that is tried instead of everything else.
const INPUT: &str = "AIRSSYS_FUZZ_INPUT";
/// Where the child writes each input before it tries it.
const JOURNAL: &str = "AIRSSYS_FUZZ_JOURNAL";
/// Set for the child; the same that all tests take their seed from.
const SEED: &str = "AIRSSYS_TEST_SEED";

/// Where the seeds of a target are.
fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target)
}

/// The inputs that are checked in for a target, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(corpus(target)).expect("a corpus");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("readable")).collect()
}

fn seconds() -> u64 {
    let given = std::env::var(SECONDS).ok();
    given.map_or_else(|| cases(3), |text| text.parse().expect("AIRSSYS_FUZZ_SECONDS is a whole number"))
}

/// Tries a target's seeds, its largest inputs, and new ones until the time is over.
#[track_caller]
fn fuzz(target: &str) {
    let seed = seed(&format!("fuzz {target}"));
    let run = parent::run(target, seconds(), seed);
    eprint!("{}", run.told);
    assert!(run.is_good(), "{}", run.report(target));
}

#[test]
fn no_desired_file_breaks_what_holds() {
    fuzz("desired");
}

#[test]
fn no_manifest_breaks_what_holds() {
    fuzz("manifest");
}

#[test]
fn no_trust_policy_breaks_what_holds() {
    fuzz("policy");
}

#[test]
fn no_signature_breaks_what_holds() {
    fuzz("signature");
}

#[test]
fn no_generation_breaks_what_holds() {
    fuzz("generation");
}

#[test]
fn no_audit_log_breaks_what_holds() {
    fuzz("audit");
}

#[test]
fn no_codec_prefix_breaks_what_holds() {
    fuzz("codec");
}

#[test]
fn no_permission_breaks_what_holds() {
    fuzz("permissions");
}

#[test]
fn no_request_breaks_what_holds() {
    fuzz("control");
}

/// The child: one target, or one input of it.
#[test]
#[ignore = "the process that the tests of this file start; by hand to replay an input"]
fn the_target_that_is_named_is_tried() {
    child::run();
}

#[test]
fn every_target_has_seeds_of_its_own_and_a_test() {
    let tests = include_str!("mod.rs");
    for target in targets::ALL {
        let seeds = seeds(target.name);
        let different: BTreeSet<&Vec<u8>> = seeds.iter().collect();
        assert!(different.len() >= 12, "{} has only {} different seeds", target.name, different.len());
        assert!(tests.contains(&format!("    fuzz(\"{}\");", target.name)), "{} has no test", target.name);
    }
    let directories = std::fs::read_dir(corpus("")).expect("the corpora").count();
    assert_eq!(directories, targets::ALL.len(), "a corpus without a target");
}

#[test]
fn the_guide_names_every_target_and_what_is_run_by_hand() {
    let guide = include_str!("../../../docs/fuzzing.md");
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let named: Vec<&str> = rows.collect();
    let targets: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
    assert_eq!(named, targets);
    let tests = include_str!("mod.rs");
    let tests: BTreeSet<&str> = tests.lines().filter_map(|line| line.strip_prefix("fn ")?.split('(').next()).collect();
    for word in guide.split(|c: char| c.is_whitespace()).filter_map(|word| word.strip_prefix("fuzz::")) {
        assert!(tests.iter().any(|test| test.starts_with(word)), "there is no test {word}");
    }
    for variable in guide.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(|word| word.contains("FUZZ")) {
        assert!([TARGET, SECONDS, INPUT].contains(&variable), "there is no variable {variable}");
    }
}

/// The engine itself: each way in which an input can do harm is noticed, and the input is named.
#[test]
fn whatever_an_input_does_to_its_process_the_input_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let soon = Duration::from_secs(10);
    for (input, told, patience) in [
        ("panic", "as it was told", PATIENCE),
        ("overflow", "overflowed its stack", PATIENCE),
        ("abort", "it ended by itself", PATIENCE),
        ("escape", "is not escaped", PATIENCE),
        ("memory", "of memory", PATIENCE),
        ("slow", "of processor time", PATIENCE),
        ("never", "it had to be ended", soon),
    ] {
        if input == "memory" && child::most_memory() == 0 {
            println!("not run: this system does not say how much memory was taken");
            continue;
        }
        let file = directory.path().join(input);
        std::fs::write(&file, input).expect("written");
        let run = parent::run_one("faults", &file, patience);
        assert!(!run.is_good(), "{input} was not noticed");
        let report = run.report("faults");
        let hex: String = input.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(report.contains(told) && report.contains(&hex), "{input}: {report}");
    }
}
