//! Files that are read while somebody writes them: every beginning of every file.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::strategies;
use crate::desired::file::parse;
use crate::desired::spec::Spec;
use crate::desired::write;
use crate::permission::{ENFORCED_KINDS, Entry, Permissions, decide};
use crate::test_scale::cases;

/// `count` specs, the same in every run.
fn specs(count: u32) -> Vec<Spec> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategies::spec().new_tree(&mut runner).unwrap().current()).collect()
}

/// The canonical text with its tables in another order, as operators write them.
fn shuffled(text: &str, seed: usize) -> String {
    let is_config = |part: &str| part.starts_with("[config") || part.starts_with("[[config");
    let mut parts: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match parts.last_mut() {
            Some(part) if !line.starts_with('[') => part.push_str(line),
            // The tables of the config stay together: their order means something, and so do brackets in their texts.
            Some(part) if is_config(part) && !["[grant]\n", "[source.file]\n"].contains(&line) => part.push_str(line),
            _ => parts.push(line.to_owned()),
        }
    }
    let mut tables = parts.split_off(1);
    let mut order = Vec::new();
    let mut state = seed;
    while !tables.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.push(tables.remove((state >> 33) % tables.len()));
    }
    parts.concat() + &order.concat()
}

/// Everything that could be asked here: what is granted, and what is declined.
fn possible_asks(spec: &Spec) -> Permissions {
    let asks = [
        "send alerter",
        "send pager",
        "send other",
        "receive b-c",
        "net.connect api.example.com:443",
        "publish events.created",
    ];
    let asks = asks.iter().map(|ask| ask.parse::<Entry>().unwrap());
    asks.chain(spec.grant.permissions.entries().cloned()).collect()
}

#[test]
fn a_file_cut_off_anywhere_adds_no_permission_and_names_no_other_source() {
    let mut valid_parts = 0;
    for (seed, spec) in specs(cases(50)).into_iter().enumerate() {
        let text = shuffled(&write(&spec), seed);
        let full =
            parse("stem.toml", text.as_bytes()).outcome.unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
        assert_eq!(full.spec.as_ref(), &spec, "{text}");
        for length in 0..text.len() {
            let torn = parse("stem.toml", &text.as_bytes()[..length]);
            let certain = torn.name_hint.as_ref().is_none_or(|name| *name == spec.name);
            assert!(certain, "{:?} is not the name of\n{}", torn.name_hint, &text[..length]);
            let Ok(torn) = torn.outcome else { continue };
            valid_parts += 1;
            assert_eq!(
                (&torn.spec.source, &torn.spec.package, &torn.spec.name),
                (&spec.source, &spec.package, &spec.name)
            );
            let (torn, full) = (&torn.spec.grant, &spec.grant);
            assert!(torn.permissions.entries().all(|entry| full.permissions.names(entry)), "{}", &text[..length]);
            let ask = possible_asks(&spec);
            let effective = |grant| decide(&ask, grant, &ask, ENFORCED_KINDS).effective;
            assert!(effective(torn).is_subset_of(&effective(full)), "{}", &text[..length]);
        }
    }
    assert!(valid_parts > 500, "only {valid_parts} valid parts: the test proves little");
}

#[test]
fn a_text_in_three_quotes_that_is_cut_off_is_no_other_path() {
    let text = |path: &str| format!("package = \"a:b\"\n[source.file]\npath = {path}");
    for path in ["\"\"\"a\"\"\"\"", "'''a''''", "\"\"\"a\"\"\""] {
        assert!(parse("stem.toml", text(path).as_bytes()).outcome.is_err(), "{path}");
    }
    assert!(parse("stem.toml", text("\"a\\\"\"").as_bytes()).outcome.is_ok());
}

#[test]
fn no_part_of_a_file_that_this_program_writes_is_valid() {
    for spec in specs(cases(50)) {
        let text = write(&spec);
        for length in 0..text.len() - 1 {
            assert!(parse("stem.toml", &text.as_bytes()[..length]).outcome.is_err(), "{}", &text[..length]);
        }
        // Only the last line end may be missing.
        assert_eq!(parse("stem.toml", &text.as_bytes()[..text.len() - 1]).outcome.unwrap().spec.as_ref(), &spec);
        assert!(text.find("[require]").is_none_or(|require| require < text.find("[source.file]").unwrap()));
    }
}
