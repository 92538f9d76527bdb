use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::safe_open::{QUIET_AFTER, own_uid, race, wall_ns};
use crate::test_scale;

const WASM: &[u8] = b"\0asm the signed one";

struct Artifact {
    root: TempDir,
}

impl Artifact {
    fn new() -> Self {
        let artifact = Self { root: tempfile::tempdir().unwrap() };
        artifact.write(MANIFEST_FILE, b"manifest");
        artifact.write(SIGNATURE_FILE, b"signature");
        artifact.write("a.wasm", WASM);
        artifact
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.at(name), bytes).unwrap();
    }

    fn fetch(&self) -> Result<Fetched, FetchError> {
        fetch(self.path(), own_uid())
    }

    /// `code, transient` of the error that fetching or copying ends in.
    fn failure(&self) -> (&'static str, bool) {
        let outcome = self.fetch().and_then(|fetched| fetched.copy_wasm(&signed(WASM), &mut Vec::new()));
        let error = outcome.unwrap_err();
        (error.code(), error.is_transient())
    }

    fn files(&self) -> Files {
        Glance::new(Path::new("/")).unwrap().at(self.path().to_str().unwrap(), Some("a.wasm"))
    }
}

fn signed(wasm: &[u8]) -> WasmReference {
    WasmReference {
        file: "a.wasm".to_owned(),
        digest: Digest::of(wasm),
        size: wasm.len() as u64,
        world: crate::manifest::WORLD.to_owned(),
    }
}

#[test]
fn the_three_files_are_had_in_their_order() {
    let artifact = Artifact::new();
    let fetched = artifact.fetch().unwrap();
    assert_eq!((fetched.manifest(), fetched.signature()), (&b"manifest"[..], &b"signature"[..]));
    let mut sink = Vec::new();
    let wasm = fetched.copy_wasm(&signed(WASM), &mut sink).unwrap();
    assert_eq!((sink.as_slice(), wasm.digest, wasm.size), (WASM, Digest::of(WASM), WASM.len() as u64));
}

#[test]
fn the_directory_is_relative_to_that_of_the_desired_file() {
    let base = Path::new("/etc/airssys/desired");
    assert_eq!(directory(base, "../components/a"), Path::new("/etc/airssys/desired/../components/a"));
    assert_eq!(directory(base, "/srv/a"), Path::new("/srv/a"));
}

#[test]
fn whatever_is_missing_is_named_and_tried_again() {
    let artifact = Artifact::new();
    fs::remove_file(artifact.at("a.wasm")).unwrap();
    assert_eq!(artifact.failure(), ("no-wasm", true));
    fs::remove_file(artifact.at(SIGNATURE_FILE)).unwrap();
    assert_eq!(artifact.failure(), ("unsigned", true));
    fs::remove_file(artifact.at(MANIFEST_FILE)).unwrap();
    assert_eq!(artifact.failure(), ("no-manifest", true));
    fs::remove_dir(artifact.path()).unwrap();
    assert_eq!(artifact.failure(), ("no-directory", true));
}

#[test]
fn a_path_that_names_the_manifest_instead_of_its_directory_is_refused_with_that_hint() {
    let artifact = Artifact::new();
    let error = fetch(&artifact.at(MANIFEST_FILE), own_uid()).unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("not-a-directory", false));
    assert_eq!(error.hint().unwrap(), "name the directory, not a file in it");
}

#[test]
fn f1_a_symlink_in_place_of_any_of_the_files_is_refused() {
    for name in [MANIFEST_FILE, SIGNATURE_FILE, "a.wasm"] {
        let artifact = Artifact::new();
        fs::rename(artifact.at(name), artifact.at("real")).unwrap();
        symlink("real", artifact.at(name)).unwrap();
        assert_eq!(artifact.failure(), ("file-is-link", false), "{name}");
    }
}

#[test]
fn f1_endless_and_oversized_files_are_refused_before_they_are_read() {
    for (name, size, expected) in [
        (MANIFEST_FILE, MAX_MANIFEST_BYTES + 1, ("file-too-large", false)),
        (SIGNATURE_FILE, MAX_SIGNATURE_BYTES + 1, ("file-too-large", false)),
        // Another size than the signed one may be a file that is still being copied.
        ("a.wasm", 10 << 30, ("wrong-size", true)),
    ] {
        let artifact = Artifact::new();
        fs::File::create(artifact.at(name)).unwrap().set_len(size).unwrap();
        assert_eq!(artifact.failure(), expected, "{name}");
    }
}

#[test]
fn a_signed_size_over_the_limit_is_refused() {
    let mut reference = signed(WASM);
    reference.size = MAX_WASM_BYTES + 1;
    let error = Artifact::new().fetch().unwrap().copy_wasm(&reference, &mut Vec::new()).unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("wasm-too-large", false));
}

#[test]
fn a_wasm_name_that_leads_out_of_the_directory_is_refused() {
    let artifact = Artifact::new();
    for file in ["../a.wasm", "/etc/passwd", "..", ".", "", "sub/a.wasm", "a\0.wasm"] {
        let reference = WasmReference { file: file.to_owned(), ..signed(WASM) };
        let error = artifact.fetch().unwrap().copy_wasm(&reference, &mut Vec::new()).unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("file-name", false), "{file:?}");
    }
}

#[test]
fn f3_a_half_written_wasm_is_tried_again_and_taken_when_it_is_complete() {
    let artifact = Artifact::new();
    for length in 0..WASM.len() {
        artifact.write("a.wasm", &WASM[..length]);
        assert_eq!(artifact.failure(), ("wrong-size", true), "{length}");
        // Some copiers set the size first.
        let mut padded = WASM[..length].to_vec();
        padded.resize(WASM.len(), 0xff);
        artifact.write("a.wasm", &padded);
        assert_eq!(artifact.failure(), ("wrong-digest", true), "{length}");
    }
    artifact.write("a.wasm", WASM);
    assert!(artifact.fetch().unwrap().copy_wasm(&signed(WASM), &mut Vec::new()).is_ok());
}

#[test]
fn f2_a_directory_that_is_exchanged_midway_does_not_mix_two_releases() {
    let artifact = Artifact::new();
    let fetched = artifact.fetch().unwrap();
    let away = artifact.path().with_extension("away");
    fs::rename(artifact.path(), &away).unwrap();
    fs::create_dir(artifact.path()).unwrap();
    artifact.write("a.wasm", b"\0asm another one!!!");
    let mut sink = Vec::new();
    fetched.copy_wasm(&signed(WASM), &mut sink).unwrap();
    assert_eq!(sink, WASM);
    fs::remove_dir_all(away).unwrap();
}

#[test]
fn a_full_disk_at_the_store_is_no_fault_of_the_artifact() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = Artifact::new().fetch().unwrap().copy_wasm(&signed(WASM), &mut Full).unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("not-stored", true));
}

#[test]
fn a_failure_becomes_a_resolution_of_its_class() {
    let transient = FetchError::Unsigned { directory: "d".to_owned() };
    assert!(matches!(Resolution::from(transient), Resolution::Unavailable(refusal) if refusal.code == "unsigned"));
    let lasting = FetchError::File(FileError::Link { file: "f".to_owned(), fault: "here" });
    assert!(matches!(Resolution::from(lasting), Resolution::Refused(refusal) if refusal.code == "file-is-link"));
}

#[test]
fn every_failure_says_what_and_where_and_what_to_do() {
    let all = [
        FetchError::NoDirectory { directory: "/d".to_owned() },
        FetchError::NoManifest { directory: "/d".to_owned() },
        FetchError::Unsigned { directory: "/d".to_owned() },
        FetchError::NoWasm { file: "/d/a.wasm".to_owned() },
        FetchError::OtherWasm { file: "/d/a.wasm".to_owned(), difference: "digest" },
        FetchError::SizeOverLimit { size: 1 << 40 },
        FetchError::NotStored { file: "/d/a.wasm".to_owned(), reason: "no space left on device".to_owned() },
    ];
    let text: Vec<String> = all
        .iter()
        .map(|error| format!("{}: {error}; {}", error.code(), error.hint().unwrap_or_else(|| "-".to_owned())))
        .collect();
    expect_test::expect![[r#"
        no-directory: the directory `/d` does not exist; `path` in `[source.file]` is relative to the directory of the desired file
        no-manifest: there is no Component.toml in `/d`; name the directory that holds Component.toml itself, its signature and the wasm
        unsigned: there is no Component.toml.sig beside the manifest in `/d`; the publisher signs it with: airssys-wasm sign '/d'
        no-wasm: there is no `/d/a.wasm`, which the manifest names; if it is being copied, it is taken when the copy is complete
        wrong-digest: `/d/a.wasm` is not the file that was signed: its digest differs; if it is being copied, it is taken when the copy is complete
        wasm-too-large: the manifest speaks of a wasm of 1099511627776 bytes, at most 67108864 are read; the publisher must make the wasm smaller and sign it again
        not-stored: cannot store a copy of `/d/a.wasm`: no space left on device; make room for the home; the next pass tries again"#]]
    .assert_eq(&text.join("\n"));
}

/// Waits until the files are old enough that their times prove something: the clock is the subject.
fn until_quiet(artifact: &Artifact) {
    while !Stamp::of_attempt(artifact.files(), wall_ns()).quiet {
        std::thread::sleep(QUIET_AFTER / 10);
    }
}

#[test]
fn unchanged_files_hold_their_stamp_and_every_change_breaks_it() {
    type Change<'a> = (&'a str, &'a dyn Fn(&Artifact));
    let changes: [Change<'_>; 6] = [
        ("manifest", &|artifact: &Artifact| artifact.write(MANIFEST_FILE, b"Manifest")),
        ("signature", &|artifact: &Artifact| artifact.write(SIGNATURE_FILE, b"Signature")),
        ("wasm", &|artifact: &Artifact| artifact.write("a.wasm", WASM)),
        ("mode", &|artifact: &Artifact| {
            fs::set_permissions(artifact.at("a.wasm"), fs::Permissions::from_mode(0o444)).unwrap()
        }),
        ("removed", &|artifact: &Artifact| fs::remove_file(artifact.at(MANIFEST_FILE)).unwrap()),
        ("link", &|artifact: &Artifact| {
            fs::rename(artifact.at("a.wasm"), artifact.at("real")).unwrap();
            symlink("real", artifact.at("a.wasm")).unwrap();
        }),
    ];
    for (name, change) in changes {
        let artifact = Artifact::new();
        until_quiet(&artifact);
        let wasm = artifact.fetch().unwrap().copy_wasm(&signed(WASM), &mut Vec::new()).unwrap();
        assert!(wasm.stamp.still_holds(&artifact.files()), "{name}");
        change(&artifact);
        assert!(!wasm.stamp.still_holds(&artifact.files()), "{name}");
    }
}

#[test]
fn f3_files_that_were_read_right_after_a_change_are_read_once_more() {
    let artifact = Artifact::new();
    let wasm = artifact.fetch().unwrap().copy_wasm(&signed(WASM), &mut Vec::new()).unwrap();
    assert!(!wasm.stamp.still_holds(&artifact.files()));
    until_quiet(&artifact);
    let wasm = artifact.fetch().unwrap().copy_wasm(&signed(WASM), &mut Vec::new()).unwrap();
    assert!(wasm.stamp.still_holds(&artifact.files()));
}

#[test]
fn f3_a_failed_attempt_is_repeated_when_a_file_changes_and_not_before() {
    let artifact = Artifact::new();
    fs::remove_file(artifact.at(SIGNATURE_FILE)).unwrap();
    until_quiet(&artifact);
    let before = Stamp::of_attempt(artifact.files(), wall_ns());
    assert!(before.still_holds(&artifact.files()));
    artifact.write(SIGNATURE_FILE, b"signature");
    assert!(!before.still_holds(&artifact.files()));
    assert!(!Stamp::of_attempt(artifact.files(), wall_ns()).still_holds(&artifact.files()));
}

#[test]
fn f2_racing_exchange_of_the_wasm_for_other_files_and_links_never_gets_a_wrong_byte_accepted() {
    let artifact = Artifact::new();
    let good: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
    let evil: Vec<u8> = good.iter().map(|byte| !byte).collect();
    let half = good.len() / 2;
    artifact.write("good", &good);
    artifact.write("evil", &evil);
    artifact.write("a.wasm", &good);
    let exchange = |make: &dyn Fn(&Path)| {
        make(&artifact.at("next"));
        fs::rename(artifact.at("next"), artifact.at("a.wasm")).unwrap();
    };
    let turn = AtomicU32::new(0);
    let attack = |step: &dyn Fn()| {
        exchange(&|next| symlink("evil", next).unwrap());
        step();
        exchange(&|next| fs::hard_link(artifact.at("evil"), next).unwrap());
        step();
        exchange(&|next| symlink("good", next).unwrap());
        step();
        exchange(&|next| fs::write(next, &good).unwrap());
        step();
        // Now and then in place, which is slow: cut off, half good and half evil, good again.
        if !turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(16) {
            return;
        }
        for bytes in [&good[..half], &[&good[..half], &evil[half..]].concat(), &good] {
            fs::write(artifact.at("a.wasm"), bytes).unwrap();
            step();
        }
    };
    let mut outcomes = BTreeMap::new();
    race::against(attack, test_scale::cases(1_000), || {
        let mut sink = Vec::new();
        let outcome = match artifact.fetch().and_then(|fetched| fetched.copy_wasm(&signed(&good), &mut sink)) {
            Ok(wasm) => {
                assert!(sink == good && wasm.digest == Digest::of(&good), "wrong bytes were accepted");
                "accepted"
            }
            Err(error) => error.code(),
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    });
    println!("{outcomes:?}, no wrong byte accepted");
    assert!(outcomes.len() > 1, "a race that one side wins always proves nothing");
    // When the attack is over, the good one is had.
    artifact.write("next", &good);
    fs::rename(artifact.at("next"), artifact.at("a.wasm")).unwrap();
    assert!(artifact.fetch().unwrap().copy_wasm(&signed(&good), &mut Vec::new()).is_ok());
}

#[test]
#[ignore = "a measurement: cargo test --lib -- --ignored --nocapture costs"]
fn a_glance_costs_about_one_stat_a_file() {
    let root = tempfile::tempdir().unwrap();
    let count = test_scale::cases(200);
    let paths: Vec<String> = (0..count).map(|n| format!("../components/component-{n}")).collect();
    fs::create_dir(root.path().join("desired")).unwrap();
    for n in 0..count {
        let directory = root.path().join(format!("components/component-{n}"));
        fs::create_dir_all(&directory).unwrap();
        for name in [MANIFEST_FILE, SIGNATURE_FILE, "a.wasm"] {
            fs::write(directory.join(name), name).unwrap();
        }
    }
    let best = |run: &mut dyn FnMut()| -> Duration {
        let time = |_| {
            let begin = Instant::now();
            run();
            begin.elapsed()
        };
        (0..10).map(time).min().unwrap()
    };
    let desired = root.path().join("desired");
    let absolute = best(&mut || {
        for path in &paths {
            for name in [MANIFEST_FILE, SIGNATURE_FILE, "a.wasm"] {
                rustix::fs::lstat(directory(&desired, path).join(name)).unwrap();
            }
        }
    });
    let mut glance = Glance::new(&desired).unwrap();
    let glanced = best(&mut || {
        for path in &paths {
            assert!(glance.at(path, Some("a.wasm")).wasm.is_some());
        }
    });
    println!("{count} artifacts: glance {glanced:?}, lstat by absolute path {absolute:?}");
}
