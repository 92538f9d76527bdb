//! Who may import whom, and what the pure core may not touch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules of the pure core: names, decisions, formats.
const PURE: &[&str] = &[
    "address",
    "audit",
    "backoff",
    "codec",
    "config",
    "desired",
    "diagnostic",
    "digest",
    "document",
    "escape",
    "export",
    "floors",
    "generation",
    "hex",
    "history",
    "key",
    "limits",
    "manifest",
    "name",
    "observed",
    "paused",
    "permission",
    "plan",
    "quantity",
    "record",
    "remote",
    "remote_url",
    "resolution",
    "saved",
    "sealed",
    "secret",
    "snapshot",
    "status",
    "surface",
    "text_serde",
    "timestamp",
    "trust",
];

/// What each impure module may import of ours, besides the pure core.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("home", &[]),
    ("safe_open", &[]),
    ("source", &["safe_open"]),
    ("state", &["home"]),
    ("watch", &["safe_open"]),
    ("logs", &[]),
    ("user", &[]),
    ("engine", &["state"]),
    ("storage", &[]),
    ("host", &["engine", "logs", "storage"]),
    ("worker", &["engine", "safe_open", "source"]),
    ("actor", &["engine", "host", "logs", "storage"]),
    (
        "reconcile",
        &["actor", "engine", "home", "host", "logs", "safe_open", "source", "state", "storage", "watch", "worker"],
    ),
    (
        "runtime",
        &["actor", "control", "engine", "home", "logs", "reconcile", "source", "state", "storage", "watch", "worker"],
    ),
    ("control", &["logs", "home", "user"]),
    ("schema", &["control"]),
    (
        "cli",
        &[
            "control",
            "home",
            "logs",
            "reconcile",
            "runtime",
            "safe_open",
            "schema",
            "source",
            "state",
            "storage",
            "user",
            "worker",
        ],
    ),
];

/// Files that are compiled for tests only.
const TEST_FILES: &[&str] =
    &["tests.rs", "laws.rs", "attacks.rs", "fixture.rs", "golden.rs", "test_scale.rs", "test_guest.rs"];

/// Texts that would bring the outside world into the pure core.
const IMPURE_TEXTS: &[&str] = &[
    "std::fs",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "std::env::",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "tokio::",
    "anyhow",
    "wasmtime",
    "notify::",
    "rustix",
    "getrandom",
    "println!",
    "eprintln!",
];

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("readable source directory") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The module of the first level that a file belongs to.
fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(source_root()).expect("below src");
    let first = relative.components().next().expect("a component").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The file without its tests and comments: from `#[cfg(test)]` on, a file is tests in this project.
fn code_of(path: &Path) -> String {
    let name = path.file_name().expect("a name").to_string_lossy();
    let below_tests = path.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "laws");
    if below_tests || TEST_FILES.contains(&&*name) {
        return String::new();
    }
    let text = std::fs::read_to_string(path).expect("readable source");
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[cfg(test)]")
            && lines.peek().is_some_and(|next| next.trim_start().starts_with("mod ") && next.ends_with('{'))
        {
            break;
        }
        if !trimmed.starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

fn sources() -> Vec<(PathBuf, String, String)> {
    let mut files = Vec::new();
    rust_files(&source_root(), &mut files);
    assert!(files.len() > 20, "the walk found only {} files", files.len());
    files.into_iter().map(|path| (path.clone(), module_of(&path), code_of(&path))).collect()
}

fn imports(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found: BTreeSet<String> =
        code.match_indices("crate::").map(|(at, hit)| word(&code[at + hit.len()..])).collect();
    for (at, hit) in code.match_indices("crate::{") {
        let list = code[at + hit.len()..].split('}').next().unwrap_or_default();
        found.extend(list.split(',').map(|item| word(item.trim())));
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn the_pure_core_touches_no_outside_world() {
    for (path, module, code) in sources() {
        if !PURE.contains(&module.as_str()) {
            continue;
        }
        for text in IMPURE_TEXTS {
            assert!(!code.contains(text), "{} is part of the pure core and mentions {text}", path.display());
        }
    }
}

#[test]
fn modules_import_only_what_their_floor_allows() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let known: BTreeSet<&str> = PURE.iter().copied().chain(allowed.keys().copied()).collect();
    for (path, module, code) in sources() {
        if matches!(module.as_str(), "lib" | "main" | "test_scale" | "test_guest" | "golden") {
            continue;
        }
        assert!(known.contains(module.as_str()), "{}: give the module a floor in this test", path.display());
        let reach = allowed.get(module.as_str()).copied().unwrap_or_default();
        for import in imports(&code).iter().filter(|import| known.contains(import.as_str())) {
            let fine = *import == module || PURE.contains(&import.as_str()) || reach.contains(&import.as_str());
            assert!(fine, "{} ({module}) may not import {import}", path.display());
        }
    }
}

#[test]
fn no_source_file_outside_tests_unwraps_or_leaves_work_for_later() {
    for (path, _, code) in sources() {
        for text in [".unwrap()", "todo!(", "unimplemented!(", "dbg!("] {
            assert!(!code.contains(text), "{} contains {text}", path.display());
        }
    }
}
