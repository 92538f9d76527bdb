//! Every mistake that an operator is likely to make, with the words that answer it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;

use crate::desired::file::{is_desired_file_name, parse};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/desired").join(name)
}

/// Stems of the files with this ending.
fn stems(directory: &Path, ending: &str) -> BTreeSet<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

#[test]
fn every_mistake_is_answered_as_the_golden_file_beside_it_says() {
    let directory = directory("invalid");
    let stems_of_files = stems(&directory, ".toml");
    for stem in &stems_of_files {
        let file = format!("{stem}.toml");
        let bytes = fs::read(directory.join(&file)).unwrap();
        let problems = parse(&file, &bytes).outcome.expect_err(&file);
        assert!(!problems.is_empty(), "{file}");
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        expect_file![directory.join(format!("{stem}.err"))].assert_eq(&text.join("\n"));
    }
    assert_eq!(stems(&directory, ".err"), stems_of_files, "an .err without a .toml");
    assert!(stems_of_files.len() >= 60);
}

#[test]
fn every_answer_says_what_to_do() {
    let directory = directory("invalid");
    let mut without_hint = BTreeSet::new();
    for stem in stems(&directory, ".toml") {
        let file = format!("{stem}.toml");
        for problem in parse(&file, &fs::read(directory.join(&file)).unwrap()).outcome.unwrap_err() {
            if problem.hint.is_none() {
                without_hint.insert(problem.message);
            }
        }
    }
    // These say it in the message: what is wrong and what is allowed are one sentence.
    let says_it = |message: &String| {
        [" must be ", " can't be ", " can't be named ", "never closed", "are allowed", "are not shown"]
            .iter()
            .any(|words| message.contains(words))
    };
    without_hint.retain(|message| !says_it(message));
    assert!(without_hint.is_empty(), "{without_hint:#?}");
}

#[test]
fn only_names_that_an_operator_would_give_are_desired_files() {
    for good in ["notifier.toml", "a.toml", "Notifier_EU.toml", "notifier eu (copy).toml", "a.b.toml"] {
        assert!(is_desired_file_name(good), "{good}");
    }
    let others = [
        "",
        ".toml",
        "..toml",
        ".notifier.toml",
        "..data",
        "..2024_05_27.toml",
        "notifier.toml~",
        "notifier~.toml",
        "#notifier.toml#",
        ".#notifier.toml",
        "notifier.toml.swp",
        ".notifier.toml.swp",
        "4913",
        "notifier.TOML",
        "notifier.toml.bak",
        "notifier.toml.tmp",
        "notifier.json",
        "toml",
    ];
    for other in others {
        assert!(!is_desired_file_name(other), "{other}");
    }
}
