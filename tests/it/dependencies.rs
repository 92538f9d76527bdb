//! Minimum versions and banned features, read from what cargo resolved.

use std::path::Path;
use std::process::Command;

use semver::Version;

/// Earlier ones have known vulnerabilities or lose data.
const AT_LEAST: &[(&str, &str)] = &[
    ("wasmtime", "48.0.8"),
    ("wasmtime-wasi", "48.0.8"),
    ("ed25519-dalek", "3.0.0"),
    ("libgit2-sys", "0.18.8"),
    ("git2", "0.21.0"),
    ("fjall", "3.1.13"),
    ("lsm-tree", "3.1.10"),
    ("notify", "8.2.0"),
    ("openssl-probe", "0.2.0"),
    ("toml", "1.2.0"),
];

/// Lines that may not cross over to a next one without a decision.
const MAJOR: &[(&str, u64)] = &[("wasmtime", 48), ("wasmtime-wasi", 48)];

/// Features that are attack surface or cost speed by being compiled in.
const BANNED_FEATURES: &[(&str, &[&str])] = &[
    ("wasmtime", &["component-model-async", "wat", "threads", "winch", "gc", "cache", "default"]),
    ("wasmtime-wasi", &["p3", "p1"]),
    ("ed25519-dalek", &["legacy_compatibility", "hazmat", "batch"]),
    ("toml", &["unbounded"]),
    // libgit2's own HTTP is not used, and changes the environment of a process that has threads.
    ("git2", &["https"]),
    ("libgit2-sys", &["https"]),
];

/// Packages that must not be linked at all. `openssl-probe` is not among them: reqwest finds the system's authorities
/// with it, as an OpenSSL that is built from source does not know where they are. Its older line changed the
/// environment of the process, and came with a feature of git2 that is off.
const BANNED_PACKAGES: &[&str] = &["bincode", "wasmtime-winch", "winch-codegen", "serde_yaml", "atty"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn locked() -> Vec<(String, Version)> {
    let text = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is committed");
    let lock: toml::Table = text.parse().expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let name = package["name"].as_str().expect("a name").to_owned();
            let version = package["version"].as_str().expect("a version").parse().expect("a semantic version");
            (name, version)
        })
        .collect()
}

#[test]
fn packages_with_known_vulnerabilities_are_not_locked() {
    let locked = locked();
    assert!(locked.iter().any(|(name, _)| name == "wasmtime"), "the lock file was not understood");
    for (name, version) in &locked {
        for (_, least) in AT_LEAST.iter().filter(|(package, _)| package == name) {
            let least: Version = least.parse().expect("a semantic version");
            assert!(*version >= least, "{name} {version} is older than {least}");
        }
        for (_, major) in MAJOR.iter().filter(|(package, _)| package == name) {
            assert_eq!(version.major, *major, "{name} {version} left the long-term line");
        }
        assert!(!BANNED_PACKAGES.contains(&name.as_str()), "{name} is linked");
    }
}

#[test]
fn banned_features_are_off_in_the_resolved_tree() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "--format", "{p}|{f}"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(tree.contains("wasmtime v48"), "the tree was not understood:\n{tree}");
    for line in tree.lines() {
        let (package, features) = line.split_once('|').unwrap_or((line, ""));
        let name = package.split(' ').next().unwrap_or_default();
        for (_, banned) in BANNED_FEATURES.iter().filter(|(package, _)| *package == name) {
            for feature in features.split(',') {
                assert!(!banned.contains(&feature), "{package} is built with {feature}");
            }
        }
    }
}
