//! Where each rule about sources is shown: a test that shows one has it in its name, as `g4_…` or `u1_u2_…`.
//!
//! What is expected here of each rule, and how many tests have it in their names at least. The rules themselves stand at
//! the head of the modules that follow them.

use std::collections::BTreeMap;
use std::path::Path;

/// Rule, what it says in short, and how many tests show it at least.
const RULES: &[(&str, &str, usize)] = &[
    ("g1", "what may be named as a repository, and that nothing of the environment changes it", 3),
    ("g2", "credentials go to their host once and into no message", 3),
    ("g3", "no redirect leaves the host", 3),
    ("g4", "commit, tag and branch; what was rewound or moved is told and refused", 6),
    ("g5", "only regular files on a path of directories, with normal names", 5),
    ("g6", "packs that become large cost no memory", 3),
    ("g7", "nothing of a repository is run", 1),
    ("g8", "submodules are not touched", 1),
    ("g9", "only known keys of SSH hosts", 4),
    ("g10", "certificates", 2),
    ("g11", "servers that are slow or silent are left at the deadline", 2),
    ("g12", "what is interrupted leaves nothing behind", 3),
    ("f1", "only regular files of trusted owners, and nothing that blocks", 11),
    ("f2", "a change while a file is read is noticed", 5),
    ("f3", "a half-written file is tried again", 3),
    ("f4", "an error of the file system keeps what runs", 1),
    ("u1", "https, and nothing less", 4),
    ("u2", "redirects", 7),
    ("u3", "which addresses are connected to", 7),
    ("u4", "proxies", 2),
    ("u5", "nothing is unpacked", 1),
    ("u6", "what is taken is bounded, whatever the server says", 8),
    ("u7", "every wait has an end", 8),
    ("u8", "validators", 3),
    ("u9", "pins", 2),
    ("u10", "a dead host costs little, and one that asks for rest gets it", 6),
    ("w1", "an event is a hint, and a lost one costs nothing", 3),
];

fn rust_files(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("listed").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(&path).expect("UTF-8"));
        }
    }
}

/// The rules that the name of a test begins with, after those of other lists.
fn rules_of(test: &str) -> impl Iterator<Item = &str> {
    let is_mark = |word: &&str| {
        let digits = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
        word.len() - digits.len() == 1 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    };
    test.split('_').take_while(is_mark)
}

#[test]
fn every_rule_about_sources_is_shown_by_tests_that_name_it() {
    let mut texts = Vec::new();
    for directory in ["src", "tests/it"] {
        rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut texts);
    }
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for text in &texts {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[test]") {
            let name = pair[1].trim_start_matches("fn ").split('(').next().unwrap_or_default();
            rules_of(name).for_each(|rule| *shown.entry(rule.to_owned()).or_default() += 1);
        }
    }
    let mut all = 0;
    for (rule, says, least) in RULES {
        let count = shown.get(*rule).copied().unwrap_or_default();
        assert!(count >= *least, "{rule} ({says}) is named by {count} tests, and by {least} at least it must be");
        println!("{rule:4} {count:2}  {says}");
        all += count;
    }
    println!("{all} in all");
    // A test of a rule that is not in the list is one of a rule that nobody counts.
    let listed = |rule: &str| RULES.iter().any(|(known, ..)| *known == rule);
    let other = |rule: &&String| "gfuw".contains(&rule[..1]) && !listed(rule);
    assert_eq!(shown.keys().find(other), None);
}
