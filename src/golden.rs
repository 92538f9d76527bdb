//! Owns the check of golden directories: each `NAME.toml` has a `NAME.err` with what a person is told.
//!
//! `UPDATE_EXPECT=1` rewrites the expected texts. Only tests use it.

use std::path::PathBuf;

/// Runs `tell` over every `*.toml` of `tests/golden/<area>/` and compares with the `*.err` beside it.
pub fn check_each(area: &str, tell: impl Fn(&str, &[u8]) -> String) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(area);
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let inputs = files.iter().filter(|path| path.extension().is_some_and(|e| e == "toml")).collect::<Vec<_>>();
    assert!(!inputs.is_empty(), "{} holds no *.toml", directory.display());
    for path in &inputs {
        let name = path.file_name().unwrap().to_str().unwrap();
        let told = tell(name, &std::fs::read(path).unwrap());
        expect_test::expect_file![path.with_extension("err")].assert_eq(&told);
    }
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "err")) {
        assert!(path.with_extension("toml").exists(), "{} has no *.toml", path.display());
    }
}
