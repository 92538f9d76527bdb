//! What somebody tries who can put files where the host looks, with the real binary. Each test is one attack.
//!
//! Expected every time: nothing of it is accepted, what was committed stays as it was, and the message
//! says what to do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airssys_wasm::digest::Digest;
use airssys_wasm::trust::{SigningKey, sign_manifest, signed_bytes};
use ed25519_dalek::Signer as _;

use crate::components::idle;
use crate::harness::{Release, TRUSTED_SEED, World, desired_text, rename_into_place, stderr, stdout, tree};
use crate::scale::{Random, cases, seed};

/// How much more memory an endless file may cost than a good one, in KiB.
const MAX_MORE_MEMORY_KIB: u64 = 16 * 1024;
/// A sparse file of this many bytes stands for one without an end.
const ENDLESS_BYTES: u64 = 10 << 30;

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

/// A world in which `one` is installed at 1.0.0 with sequence 1.
fn installed() -> World {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    accepted(&world);
    world
}

#[track_caller]
fn accepted(world: &World) {
    let output = world.on_desired("apply", &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

/// Applies, and wants `name` refused for `code` with everything else as it was. Gives the text of the plan.
#[track_caller]
fn refused(world: &World, name: &str, code: &str) -> String {
    let before = world.status();
    let plan = world.on_desired("plan", &[]);
    assert_eq!(plan.status.code(), Some(12), "{}{}", stdout(&plan), stderr(&plan));
    let action = refused_by_apply(world, name);
    assert_eq!(action["reason"]["code"], code, "{action:#}");
    assert!(action["reason"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "no hint: {action:#}");
    assert_eq!(world.status(), before, "something was accepted");
    let text = stdout(&plan);
    assert!(text.contains(&format!("[{code}]")), "{text}");
    text
}

/// Applies, wants the end of a refusal, and gives what the plan says of `name`.
#[track_caller]
fn refused_by_apply(world: &World, name: &str) -> serde_json::Value {
    let output = world.on_desired("apply", &["--output", "json"]);
    assert_eq!(output.status.code(), Some(12), "{}{}", stdout(&output), stderr(&output));
    let plan: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let actions = plan["actions"].as_array().expect("an array");
    let action = actions.iter().find(|action| action["name"] == name).unwrap_or_else(|| panic!("{plan:#}"));
    assert_eq!(action["will_run"], false, "{action:#}");
    action.clone()
}

const FILES: [&str; 3] = ["component.wasm", "Component.toml", "Component.toml.sig"];

fn flip(bytes: &mut [u8], random: &mut Random) -> usize {
    let at = usize::try_from(random.below(bytes.len() as u64)).expect("small");
    bytes[at] ^= 1 << random.below(8);
    at
}

/// A signature file with lines made by `lines` of seed and signed text.
fn signature_file(lines: &[([u8; 32], &[u8])]) -> String {
    let mut text = "airssys-sig 1\n".to_owned();
    for (seed, message) in lines {
        let signature = hex(&ed25519_dalek::SigningKey::from_bytes(seed).sign(message).to_bytes());
        text.push_str(&format!("ed25519 {} {signature}\n", SigningKey::from_seed(seed).public().hex()));
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Publishes what `sign` would refuse to make: any manifest, really signed by the trusted key.
fn publish_raw(world: &World, directory: &str, manifest: &str, wasm: &[u8]) {
    let to = world.component(directory);
    std::fs::create_dir_all(&to).expect("made");
    let signature = signature_file(&[(TRUSTED_SEED, &signed_bytes(manifest.as_bytes()))]);
    rename_into_place(&to.join(FILES[0]), wasm);
    rename_into_place(&to.join(FILES[1]), manifest.as_bytes());
    rename_into_place(&to.join(FILES[2]), signature.as_bytes());
}

/// A signed manifest for any bytes.
fn manifest_for(release: &Release<'_>) -> String {
    let (digest, size) = (Digest::of(release.wasm), release.wasm.len());
    let digest = digest.to_string().trim_start_matches("sha256:").to_owned();
    release.draft().replacen("\nworld", &format!("\nsha256 = \"{digest}\"\nsize = {size}\nworld"), 1)
}

#[test]
fn t1_bit_flips_in_wasm_manifest_and_signature_install_nothing() {
    let seed = seed("t1 bit flips");
    let mut random = Random::new(seed);
    let world = installed();
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    let before = world.status();
    for round in 0..cases(60) {
        let path = world.component("idle").join(FILES[usize::try_from(round % 3).expect("small")]);
        let good = std::fs::read(&path).expect("readable");
        let mut bad = good.clone();
        let at = flip(&mut bad, &mut random);
        rename_into_place(&path, &bad);
        refused_by_apply(&world, "one");
        assert_eq!(world.status(), before, "round {round}: byte {at} of {} was flipped unnoticed", path.display());
        rename_into_place(&path, &good);
    }
    accepted(&world);
    assert_eq!(world.committed()["one"], "1.1.0", "the flips were undone, so the update goes");
}

#[test]
fn t2_rollback_to_an_older_signed_release_is_refused_in_every_life_of_the_host() {
    let world = World::new();
    let (old, new) = (idle("4"), idle("5"));
    world.publish("idle", &release("5.0.0", 5, &new));
    world.desire("one", "test:idle", "idle", "");
    accepted(&world);
    world.publish("idle", &release("4.0.0", 4, &old));
    let told = refused(&world, "one", "rollback");
    assert!(told.contains("[require]") && told.contains("version = \"=4.0.0\""), "{told}");

    for _ in 0..2 {
        let mut host = world.run();
        let told = host.wait_for(&["one", "rollback"]);
        assert!(told.contains("what runs goes on"), "{told}");
        assert_eq!(world.committed()["one"], "5.0.0");
        assert_eq!(world.status()["components"][0]["state"], "running");
        host.kill();
    }

    std::fs::remove_file(world.desired().join("one.toml")).expect("removed");
    accepted(&world);
    assert!(world.committed().is_empty());
    world.desire("two", "test:idle", "idle", "");
    refused(&world, "two", "rollback");
    assert!(world.committed().is_empty());

    // What the message says is what helps, and it helps this once only.
    world.desire("two", "test:idle", "idle", "[require]\nversion = \"=4.0.0\"");
    accepted(&world);
    assert_eq!(world.committed()["two"], "4.0.0");
    world.publish("idle", &release("3.0.0", 3, &idle("3")));
    world.desire("two", "test:idle", "idle", "");
    refused(&world, "two", "rollback");
}

#[test]
fn t6_mixed_files_of_different_releases_are_refused_in_all_pairs() {
    let world = installed();
    // Of different lengths as well, so that both size and digest are what gives them away.
    let wasm: Vec<Vec<u8>> = ["2", "3", "44", "55"].into_iter().map(idle).collect();
    let versions = ["1.2.0", "1.3.0", "1.4.0", "1.5.0"];
    for ((wasm, version), sequence) in wasm.iter().zip(versions).zip(2..) {
        world.publish(version, &release(version, sequence, wasm));
    }
    let put = |file: usize, from: usize| {
        let bytes = std::fs::read(world.component(versions[from]).join(FILES[file])).expect("readable");
        rename_into_place(&world.component("idle").join(FILES[file]), &bytes);
    };
    let before = world.status();
    for i in 0..4 {
        for j in (0..4).filter(|j| *j != i) {
            // The wasm of another release, then the signature of another release.
            for odd in [0, 2] {
                (0..3).for_each(|file| put(file, if file == odd { j } else { i }));
                let action = refused_by_apply(&world, "one");
                let code = action["reason"]["code"].as_str().expect("a code");
                let wanted: &[&str] = if odd == 0 { &["wrong-size", "wrong-digest"] } else { &["bad-signature"] };
                assert!(wanted.contains(&code), "{i} with {j} at {}: {code}", FILES[odd]);
                assert_eq!(world.status(), before, "{i} with {j} at {}", FILES[odd]);
            }
        }
    }
    for (i, version) in versions.into_iter().enumerate() {
        (0..3).for_each(|file| put(file, i));
        accepted(&world);
        assert_eq!(world.committed()["one"], version);
    }
}

#[test]
fn t7_a_permission_swapped_after_signing_is_refused() {
    let world = installed();
    let more = "[permissions]\nreceive = [\"a\"]";
    world.publish("idle", &Release { more, ..release("1.1.0", 2, &idle("2")) });
    world.desire("one", "test:idle", "idle", "[grant]\nsend = [\"*\"]\nreceive = [\"*\"]");
    let path = world.component("idle").join(FILES[1]);
    let signed = std::fs::read_to_string(&path).expect("readable");
    for edit in ["receive = [\"*\"]", "receive = [\"a\"]\nsend = [\"b\"]", "receive = [\"a\" ]"] {
        rename_into_place(&path, signed.replace("receive = [\"a\"]", edit).as_bytes());
        let told = refused(&world, "one", "bad-signature");
        assert!(told.contains("fetch both files again"), "{told}");
    }
}

#[test]
fn t8_permissions_that_creep_in_with_an_update_hold_it_until_the_printed_lines_are_pasted() {
    let world = installed();
    world.desire("friend", "test:idle", "idle", "");
    accepted(&world);
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2 running"]);
    let more = "[permissions]\nsend = [\"friend\"]\nreceive = [\"*\"]";
    world.publish("idle", &Release { more, ..release("1.1.0", 2, &idle("2")) });
    let told = host.wait_for(&["one", "permission-withheld"]);
    assert!(told.contains("what runs goes on"), "{told}");
    assert_eq!(world.committed()["one"], "1.0.0");

    let plan = world.on_desired("plan", &["--output", "json"]);
    assert_eq!(plan.status.code(), Some(12));
    let plan: serde_json::Value = serde_json::from_str(&stdout(&plan)).expect("JSON");
    let actions = plan["actions"].as_array().expect("an array");
    let action = actions.iter().find(|action| action["name"] == "one").expect("one");
    let hint = action["reason"]["hint"].as_str().expect("a hint");
    let (lines, _) = hint.split_once("or decline it").expect("both ways out");
    let lines = lines.split_once('\n').expect("words, then lines").1;
    assert!(lines.starts_with("[grant]\n"), "{hint}");
    let text = stdout(&world.on_desired("plan", &[]));
    lines.lines().for_each(|line| assert!(text.contains(line), "{line} is not in:\n{text}"));

    world.desire("one", "test:idle", "idle", lines);
    host.wait_for(&["one", "updated", "1.0.0 -> 1.1.0"]);
    assert_eq!(world.committed()["friend"], "1.0.0", "what was pasted is for one installation only");
    assert!(host.stop().success());
}

#[test]
fn t9_a_release_under_another_name_and_another_publishers_signature_are_refused() {
    let world = installed();
    world.desire("two", "test:login", "idle", "");
    refused(&world, "two", "wrong-package");
    std::fs::remove_file(world.desired().join("two.toml")).expect("removed");

    let bolt = SigningKey::from_seed(&[8; 32]);
    let trusted = std::fs::read_to_string(world.trust()).expect("readable");
    world.trust_text(&format!("{trusted}\n[publisher.bolt]\nkeys = [\"{}\"]\nnames = [\"bolt:*\"]\n", bolt.public()));
    world.publish_signed_by("idle", &release("1.1.0", 2, &idle("2")), &bolt);
    refused(&world, "one", "unknown-signer");
    // Nor is it theirs when it comes under their own name: the name is signed.
    world.desire("three", "bolt:idle", "idle", "");
    refused(&world, "three", "wrong-package");
    let nobody = SigningKey::from_seed(&[9; 32]);
    world.publish_signed_by("idle", &Release { package: "else:idle", ..release("1.1.0", 2, &idle("2")) }, &nobody);
    world.desire("three", "else:idle", "idle", "");
    refused(&world, "three", "unknown-publisher");
}

/// Names that look like others, lead out of directories or move the cursor.
fn hostile_names() -> Vec<String> {
    const PIECES: &[&str] = &[
        "",
        "-",
        "--help",
        "-a",
        "a-",
        ".",
        "..",
        "...",
        "/",
        "\\",
        "a/b",
        "../a",
        "../../etc/passwd",
        "/etc/passwd",
        "a/..",
        "~",
        "~root",
        "$HOME",
        "%2e%2e",
        "%00",
        "\0",
        "a\0b",
        "\n",
        "a\nb",
        "\r",
        "\t",
        " ",
        " a",
        "a ",
        "A",
        "Idle",
        "ä",
        "idⅼe",
        "ｉdle",
        "id\u{200b}le",
        "\u{202e}eldi",
        "\u{feff}idle",
        "n\u{303}",
        "\u{1b}[2J",
        "\u{1b}]0;owned\u{7}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "a_b",
        "a.b",
        "a+b",
        "a@b",
        "a=b",
        "a,b",
        "a;b",
        "a|b",
        "a'b",
        "a\"b",
        "`a`",
        "$(a)",
        "*",
        "?",
        "[a]",
        "{a}",
        "<a>",
        "#a",
        "(a)",
        "::",
        "con.wasm.",
        "🦀",
        "٣",
    ];
    let mut names: Vec<String> = Vec::new();
    for piece in PIECES {
        names.push((*piece).to_owned());
        for frame in ["../{}", "{}/", "{}-", "a{}\u{202e}", "x{}\u{0}", "../../../tmp/{}", "{}/../.."] {
            names.push(frame.replace("{}", piece));
        }
    }
    names.push("a".repeat(65));
    names
}

fn toml_text(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// Every path below `root` that is not below the home.
fn outside_home(root: &Path) -> BTreeSet<PathBuf> {
    tree(root).into_keys().filter(|path| !path.starts_with("home")).collect()
}

#[test]
fn t10_hostile_names_are_refused_and_touch_no_path_outside_the_home() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    let names = hostile_names();
    assert!(names.len() >= 500, "{}", names.len());
    for (i, name) in names.iter().enumerate() {
        let value = toml_text(name);
        let good = desired_text("test:idle", "idle", "");
        let text = match i % 6 {
            0 => format!("name = {value}\n{good}"),
            1 => good.replace("\"test:idle\"", &toml_text(&format!("test:{name}"))),
            2 => good.replace("\"test:idle\"", &toml_text(&format!("{name}:idle"))),
            3 => format!("depends-on = [{value}]\n{good}"),
            4 => format!("moved-from = {value}\n{good}"),
            _ => format!("{good}\n[links]\n{value} = {value}\n"),
        };
        std::fs::write(world.desired().join(format!("file-{i}.toml")), text).expect("written");
        // As a file's name, where the system takes it as one.
        if !name.contains(['/', '\0']) && !name.is_empty() && name.len() < 200 {
            let path = world.desired().join(format!("{name}.toml"));
            std::fs::write(path, desired_text("test:idle", "idle", "")).expect("written");
        }
    }
    let before = outside_home(world.path());
    let output = world.on_desired("apply", &[]);
    let told = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(12), "{told}");
    assert_eq!(world.committed().keys().cloned().collect::<Vec<_>>(), Vec::<String>::new(), "{told}");
    let control = told.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "a control character reached the terminal");
    assert_eq!(outside_home(world.path()), before);
    let is_plain = |path: &PathBuf| {
        path.to_str().is_some_and(|p| p.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)))
    };
    let odd: Vec<PathBuf> = tree(&world.home()).into_keys().filter(|path| !is_plain(path)).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn t10_hostile_names_on_the_command_line_read_no_other_files() {
    let world = installed();
    std::fs::create_dir_all(world.home().join("logs")).expect("made");
    std::fs::write(world.path().join("canary"), "canary of another file\n").expect("written");
    std::fs::write(world.home().join("canary.log"), "canary of another file\n").expect("written");
    for name in hostile_names()
        .iter()
        .filter(|name| !name.contains('\0'))
        .step_by(5)
        .map(String::as_str)
        .chain(["../canary", "../../canary"])
    {
        for command in ["logs", "status"] {
            let output = world.output(&[command, "--", name]);
            let told = stdout(&output) + &stderr(&output);
            assert!(matches!(output.status.code(), Some(1 | 2)), "{command} {name:?}: {told}");
            assert!(!told.contains("canary of"), "{command} {name:?}: {told}");
            assert!(!told.chars().any(|c| c.is_control() && c != '\n'), "{command} {name:?}: {told:?}");
        }
    }
}

#[test]
fn t10_a_signed_manifest_that_names_a_file_elsewhere_is_refused() {
    let world = installed();
    let wasm = idle("2");
    rename_into_place(&world.path().join("components/outside.wasm"), &wasm);
    let manifest = manifest_for(&release("1.1.0", 2, &wasm));
    for file in ["../outside.wasm", "/etc/passwd", "..", ".", "", "a/b.wasm", "a\\u0000b", "\\u001b[2J"] {
        let manifest = manifest.replace("file = \"component.wasm\"", &format!("file = \"{file}\""));
        publish_raw(&world, "idle", &manifest, &wasm);
        refused(&world, "one", "bad-manifest");
    }
}

#[test]
fn t11_a_version_relabelled_over_other_bytes_is_refused() {
    let world = installed();
    let path = world.component("idle").join(FILES[1]);
    let signed = std::fs::read_to_string(&path).expect("readable");
    rename_into_place(&path, signed.replace("version = \"1.0.0\"", "version = \"1.9.0\"").as_bytes());
    refused(&world, "one", "bad-signature");
    rename_into_place(&path, signed.replace("sequence = 1", "sequence = 9").as_bytes());
    refused(&world, "one", "bad-signature");
    // Signed anew, by the publisher: the same version must not become another artifact.
    world.publish("idle", &release("1.0.0", 1, &idle("2")));
    refused(&world, "one", "same-version-other-bytes");
    // An old wasm under a new version and sequence is a release like any other, once it is signed.
    world.publish("idle", &release("1.1.0", 2, &idle("1")));
    accepted(&world);
}

#[test]
fn t12_what_is_no_component_is_refused_although_it_is_signed() {
    let world = installed();
    let mut precompiled = std::fs::read("/proc/self/exe").expect("readable")[..4096].to_vec();
    let elf = precompiled.clone();
    precompiled[7] = 200;
    let module = wat::parse_str("(module)").expect("a module");
    let kinds: [(&[u8], &str, &str); 7] = [
        (&precompiled, "not-a-component", "precompiled native code"),
        (&elf, "not-a-component", "an ELF file"),
        (b"(component)", "not-a-component", "WebAssembly text"),
        (&module, "not-a-component", "a WebAssembly core module"),
        (b"", "bad-manifest", "size"),
        (b"\0asm\x0d\0\x01", "not-a-component", "no WebAssembly"),
        (b"\0asm\x0d\0\x02\0", "not-a-component", "no WebAssembly"),
    ];
    for (bytes, code, words) in kinds {
        publish_raw(&world, "idle", &manifest_for(&release("1.1.0", 2, bytes)), bytes);
        let told = refused(&world, "one", code);
        assert!(told.contains(words), "{words}: {told}");
        assert_eq!(world.output(&["verify", "components/idle", "--trust", "trust.toml"]).status.code(), Some(9));
    }
    // The right head, and rubbish behind it: it has no imports and exports that could be read.
    let rubbish = [b"\0asm\x0d\0\x01\0".as_slice(), &[0xff; 64]].concat();
    publish_raw(&world, "idle", &manifest_for(&release("1.1.0", 2, &rubbish)), &rubbish);
    refused(&world, "one", "unreadable-component");
    // Rubbish in a function alone: found when it is compiled, held as an update that failed.
    let mut rubbish = idle("rubbish");
    let body = rubbish.windows(3).rposition(|bytes| bytes == [0x41, 0x10, 0x0b]).expect("the end of a function");
    rubbish[body] = 0x42;
    publish_raw(&world, "idle", &manifest_for(&release("1.1.0", 2, &rubbish)), &rubbish);
    let output = world.on_desired("apply", &[]);
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(world.committed()["one"], "1.0.0");
    refused(&world, "one", "held-target");
}

#[test]
fn t13_one_of_two_keys_and_one_key_twice_are_too_few() {
    let world = installed();
    let (first, second) = (SigningKey::from_seed(&TRUSTED_SEED), SigningKey::from_seed(&[8; 32]));
    let policy = format!(
        "schema = 1\n[publisher.test]\nkeys = [\"{}\", \"{}\"]\nnames = [\"test:*\"]\nthreshold = 2\n",
        first.public(),
        second.public()
    );
    world.trust_text(&policy);
    let wasm = idle("2");
    let update = release("1.1.0", 2, &wasm);
    world.publish("idle", &update);
    refused(&world, "one", "below-threshold");
    world.publish_signed_by("idle", &update, &second);
    refused(&world, "one", "below-threshold");

    // One key under two lines, and in digits of the other case.
    let directory = world.component("idle");
    let manifest = std::fs::read(directory.join(FILES[1])).expect("readable");
    let message = signed_bytes(&manifest);
    let twice = signature_file(&[(TRUSTED_SEED, &message), (TRUSTED_SEED, &message)]);
    let (head, other_case) = twice.trim_end().rsplit_once('\n').expect("lines");
    let other_case = other_case.to_uppercase().replace("ED25519", "ed25519");
    for text in [twice.clone(), format!("{head}\n{other_case}\n")] {
        rename_into_place(&directory.join(FILES[2]), text.as_bytes());
        let action = refused_by_apply(&world, "one");
        let code = action["reason"]["code"].as_str().expect("a code");
        assert!(["bad-signature-file", "below-threshold"].contains(&code), "{action:#}");
        assert_eq!(world.committed()["one"], "1.0.0");
    }
    let both = signature_file(&[(TRUSTED_SEED, &message), ([8; 32], &message)]);
    rename_into_place(&directory.join(FILES[2]), both.as_bytes());
    accepted(&world);
    assert_eq!(world.committed()["one"], "1.1.0");
}

#[test]
fn t16_weak_keys_and_malformed_signatures_are_refused() {
    let world = installed();
    let directory = world.component("idle");
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    let good = std::fs::read_to_string(directory.join(FILES[2])).expect("readable");
    let manifest = std::fs::read(directory.join(FILES[1])).expect("readable");
    let (key, signature) =
        good.lines().nth(1).and_then(|l| l.strip_prefix("ed25519 ")?.split_once(' ')).expect("a line");
    // The group's order, little end first: added to S it gives a second form of the same signature.
    let order = curve25519_dalek::scalar::Scalar::ZERO - curve25519_dalek::scalar::Scalar::ONE;
    let malleable = {
        let bytes: Vec<u8> =
            (0..64).map(|i| u8::from_str_radix(&signature[2 * i..2 * i + 2], 16).expect("hex")).collect();
        let (mut carry, mut s) = (1u16, bytes);
        for (i, byte) in order.to_bytes().iter().enumerate() {
            let sum = u16::from(s[32 + i]) + u16::from(*byte) + carry;
            (s[32 + i], carry) = ((sum & 0xff) as u8, sum >> 8);
        }
        hex(&s)
    };
    let identity = format!("01{}", "00".repeat(31));
    let line = |key: &str, signature: &str| format!("airssys-sig 1\ned25519 {key} {signature}\n");
    let cases = [
        (line(key, &malleable), "bad-signature"),
        (line(key, &signature[..126]), "bad-signature-file"),
        (line(key, &format!("{signature}00")), "bad-signature-file"),
        (line(&identity, &format!("{identity}{}", "00".repeat(32))), "weak-key"),
        (line(&"00".repeat(32), &"00".repeat(64)), "weak-key"),
        (good.replace("airssys-sig 1", "airssys-sig 2"), "bad-signature-file"),
        (good.replace('\n', "\r\n"), "bad-signature-file"),
        (format!("{good}none {key} {signature}\n"), "bad-signature-file"),
        ("airssys-sig 1\n".to_owned(), "bad-signature-file"),
        (String::new(), "bad-signature-file"),
        (
            good.replace(signature, &hex(&ed25519_dalek::SigningKey::from_bytes(&[9; 32]).sign(&manifest).to_bytes())),
            "bad-signature",
        ),
    ];
    for (text, code) in cases {
        rename_into_place(&directory.join(FILES[2]), text.as_bytes());
        refused(&world, "one", code);
    }
    // A weak key is no trust anchor either: the host does not start with it.
    world.trust_text(&format!("schema = 1\n[publisher.test]\nkeys = [\"ed25519:{identity}\"]\nnames = [\"test:*\"]\n"));
    for command in ["plan", "apply", "run"] {
        let output = world.on_desired(command, &[]);
        assert_eq!(output.status.code(), Some(3), "{command}: {}", stderr(&output));
    }
}

#[test]
fn t17_a_signature_made_for_something_else_is_refused() {
    let world = installed();
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    let directory = world.component("idle");
    let manifest = std::fs::read(directory.join(FILES[1])).expect("readable");
    let domain = |word: &str| [format!("{word}\n{}\n", manifest.len()).as_bytes(), &manifest].concat();
    let namespace = |name: &str| {
        let mut text = b"SSHSIG".to_vec();
        for part in [name.as_bytes(), b"", b"sha512", Digest::of(&manifest).to_string().as_bytes()] {
            text.extend(u32::try_from(part.len()).expect("short").to_be_bytes());
            text.extend(part);
        }
        text
    };
    let others = [
        domain("airssys-trust-v1"),
        domain("airssys-revoke-v1"),
        domain("airssys-manifest-v2"),
        manifest.clone(),
        namespace("git"),
        namespace("airssys-manifest-v1"),
        signed_bytes(&manifest[..manifest.len() - 1]),
    ];
    for other in others {
        rename_into_place(&directory.join(FILES[2]), signature_file(&[(TRUSTED_SEED, &other)]).as_bytes());
        refused(&world, "one", "bad-signature");
    }
    rename_into_place(
        &directory.join(FILES[2]),
        signature_file(&[(TRUSTED_SEED, &domain("airssys-manifest-v1"))]).as_bytes(),
    );
    accepted(&world);
}

/// Runs `apply` and gives its exit code and the most memory that it had, in KiB.
fn apply_measured(world: &World) -> (Option<i32>, u64) {
    let mut paths = Vec::new();
    let arguments = world.arguments("apply", &mut paths);
    let mut child = world
        .command(&arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        // The high water mark only rises, so what is missed is at most the last millisecond.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        most = most.max(mark.unwrap_or(0));
        if let Some(ended) = child.try_wait().expect("waited") {
            return (ended.code(), most);
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn t18_endless_files_cost_neither_memory_nor_disk() {
    let world = installed();
    let directory = world.component("idle");
    let (code, usual) = apply_measured(&world);
    assert_eq!(code, Some(0));
    assert!(usual > 1_000, "the measurement does not work: {usual} KiB");
    let before = world.status();
    let size = |world: &World| tree(&world.home()).values().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    let usual_size = size(&world);
    let sparse = |name: &str| {
        let path = directory.join("sparse~");
        std::fs::File::create(&path).and_then(|file| file.set_len(ENDLESS_BYTES)).expect("sparse");
        std::fs::rename(path, directory.join(name)).expect("renamed");
    };
    let check = |what: &str| {
        let (code, most) = apply_measured(&world);
        assert_eq!(code, Some(12), "{what}");
        assert!(most < usual + MAX_MORE_MEMORY_KIB, "{what}: {most} KiB, usually {usual}");
        assert!(size(&world) < usual_size + MAX_MORE_MEMORY_KIB * 1024, "{what}: the home grew");
        assert_eq!(world.status(), before, "{what}");
        let action = refused_by_apply(&world, "one");
        assert!(action["reason"]["hint"].is_string(), "{what}: {action:#}");
    };
    let second = idle("2");
    let update = release("1.1.0", 2, &second);
    for name in FILES {
        world.publish("idle", &update);
        sparse(name);
        check(name);
    }
    world.publish("idle", &update);
    let line = std::fs::read_to_string(directory.join(FILES[2])).expect("readable");
    let (head, line) = line.split_once('\n').expect("lines");
    rename_into_place(&directory.join(FILES[2]), format!("{head}\n{}", line.repeat(1_000_000)).as_bytes());
    check("1,000,000 signatures");
    // A size that no host takes, signed by a key that it trusts.
    let huge =
        manifest_for(&update).replace(&format!("size = {}", update.wasm.len()), &format!("size = {ENDLESS_BYTES}"));
    publish_raw(&world, "idle", &huge, update.wasm);
    sparse(FILES[0]);
    check("a signed size without an end");
    world.publish("idle", &update);
    accepted(&world);

    // The operator's own files are bounded as well.
    std::fs::File::create(world.desired().join("huge.toml"))
        .and_then(|file| file.set_len(ENDLESS_BYTES))
        .expect("sparse");
    let (code, most) = apply_measured(&world);
    assert_eq!(code, Some(12));
    assert!(most < usual + MAX_MORE_MEMORY_KIB, "{most} KiB, usually {usual}");
}

/// Digests of every wasm in the store that `status` names, checked against the bytes.
#[track_caller]
fn check_committed_wasm(world: &World, good: &Digest) -> usize {
    let status = world.status();
    let components = status["components"].as_array().expect("an array");
    for component in components {
        assert_eq!(component["installed"]["wasm"], good.to_string(), "a wrong digest was committed");
    }
    components.len()
}

#[test]
fn t20_files_exchanged_while_they_are_read_never_run_as_something_else() {
    const EVIL: &str = "evil";
    const GOOD: &str = "good";
    let world = World::new();
    let (good, evil) = (idle(GOOD), idle(EVIL));
    assert_eq!(good.len(), evil.len());
    let digest = Digest::of(&good);
    world.publish("good", &release("1.0.0", 1, &good));
    let (a, b) = (world.component("a"), world.component("b"));
    for (to, wasm) in [(&a, &good), (&b, &evil)] {
        std::fs::create_dir_all(to).expect("made");
        for file in FILES {
            std::fs::copy(world.component("good").join(file), to.join(file)).expect("copied");
        }
        rename_into_place(&to.join(FILES[0]), wasm);
    }
    let link = world.component("link");
    std::os::unix::fs::symlink("a", &link).expect("linked");
    // Four of them: each reads its files for itself, so each pass is four attempts.
    for (name, directory) in [("direct-a", "good"), ("direct-b", "good"), ("linked-a", "link"), ("linked-b", "link")] {
        world.desire(name, "test:idle", directory, "");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let racer = {
        let (stop, direct) = (stop.clone(), world.component("good").join(FILES[0]));
        std::thread::spawn(move || {
            let mut random = Random::new(seed("t20 racer"));
            let mut turn = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                turn += 1;
                let (wasm, target) = if turn.is_multiple_of(2) { (&good, "a") } else { (&evil, "b") };
                let next = link.with_file_name("next~");
                std::os::unix::fs::symlink(target, &next)
                    .and_then(|()| std::fs::rename(&next, &link))
                    .expect("flipped");
                // By rename, and in the place of the old bytes.
                match turn / 2 % 2 {
                    0 => rename_into_place(&direct, wasm),
                    _ => std::fs::write(&direct, wasm).expect("written"),
                }
                std::thread::sleep(Duration::from_micros(random.below(3_000)));
            }
            turn
        })
    };
    let mut accepted = 0;
    let rounds = cases(100);
    for round in 0..rounds {
        let output = world.on_desired("apply", &[]);
        assert!(matches!(output.status.code(), Some(0 | 12)), "{round}: {}{}", stdout(&output), stderr(&output));
        accepted += check_committed_wasm(&world, &digest);
        std::fs::remove_dir_all(world.home()).expect("removed");
    }
    stop.store(true, Ordering::Relaxed);
    let turns = racer.join().expect("the racer ends");
    println!("t20: {accepted} of {} installs went through between {turns} exchanges", 4 * rounds);
    assert!(turns > rounds, "the racer hardly ran");
    assert!(accepted > 0, "nothing ever went through, so nothing was at stake");
}

#[test]
fn t23_a_trust_policy_that_others_can_change_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = installed();
    let named = world.trust();
    let default = world.home().join("trust.toml");
    let desired = world.desired().to_string_lossy().into_owned();
    std::fs::copy(&named, &default).expect("copied");
    let set_mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode set");
    };
    let check = |what: &str, remedy: &str, arguments: &[&str]| {
        for command in ["plan", "apply", "run"] {
            let output = world.output(&[&[command, &desired], arguments].concat());
            let told = stderr(&output);
            assert_eq!(output.status.code(), Some(3), "{what}, {command}: {told}");
            assert!(told.contains("trust.toml") && told.contains(remedy), "{what}, {command}: {told}");
        }
        let output = world.output(&[&["verify", "components/idle"], arguments].concat());
        assert_eq!(output.status.code(), Some(3), "{what}, verify: {}", stderr(&output));
    };
    let by_name = ["--trust", named.to_str().expect("UTF-8")];
    set_mode(&default, 0o664);
    check("group-writable", "chmod g-w", &[]);
    for path in [&default, &named] {
        set_mode(path, 0o646);
    }
    check("world-writable", "chmod go-w", &[]);
    check("world-writable", "chmod go-w", &by_name);
    set_mode(&named, 0o664);
    let output = world.on_desired("apply", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("chmod g-w"), "{}", stderr(&output));
    set_mode(&named, 0o644);
    std::fs::remove_file(&default).expect("removed");
    std::os::unix::fs::symlink(&named, &default).expect("linked");
    check("a link", "symbolic link", &[]);
    std::fs::remove_file(&default).expect("removed");
    std::fs::create_dir(&default).expect("made");
    check("a directory", "regular file", &[]);
    std::fs::remove_dir(&default).expect("removed");
    if std::os::unix::fs::chown(&named, Some(12_345), None).is_ok() {
        check("of another user", "chown", &by_name);
    } else {
        println!("not run: needs root to give a file away");
    }
}

#[test]
fn t24_a_trust_policy_beside_desired_files_or_components_is_not_read() {
    let world = installed();
    let rogue = SigningKey::from_seed(&[66; 32]);
    let policy = format!(
        "schema = 1\n\n[publisher.test]\nkeys = [\"{}\"]\nnames = [\"test:*\"]\npermissions-max = {{ send = [\"*\"] }}\n",
        rogue.public()
    );
    world.publish_signed_by("idle", &release("1.1.0", 2, &idle("2")), &rogue);
    for place in [world.component("idle"), world.path().join("components"), world.path().to_owned()] {
        let names: &[&str] =
            if place == world.path() { &["Trust.toml", ".airssys/trust.toml"] } else { &["trust.toml"] };
        for name in names {
            std::fs::create_dir_all(place.join(name).parent().expect("a parent")).expect("made");
            rename_into_place(&place.join(name), policy.as_bytes());
        }
    }
    refused(&world, "one", "unknown-signer");
    // In the desired directory it is a desired file that says nothing of use, and is said to be one.
    world.desire_text("trust", &policy);
    let told = refused(&world, "one", "unknown-signer");
    assert!(told.contains("trust.toml"), "{told}");
    // A home without a policy takes none from elsewhere.
    let desired = world.desired().to_string_lossy().into_owned();
    let output = world.output(&["plan", &desired]);
    assert_eq!(output.status.code(), Some(12));
    assert!(stdout(&output).contains("no-trust-policy"), "{}", stdout(&output));
}

#[test]
fn t26_a_desired_directory_or_file_that_others_can_change_is_not_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = installed();
    let set_mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode set");
    };
    set_mode(&world.desired(), 0o777);
    world.desire("evil", "test:idle", "idle", "");
    let before = world.status();
    for command in ["plan", "apply"] {
        let output = world.on_desired(command, &[]);
        let told = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(12), "{told}");
        assert!(told.contains("can be written by every user") && told.contains("chmod"), "{told}");
    }
    assert_eq!(world.status(), before);
    let mut host = world.run();
    host.wait_for(&["can be written by every user"]);
    assert_eq!(world.committed(), [("one".to_owned(), "1.0.0".to_owned())].into());
    set_mode(&world.desired(), 0o755);
    host.wait_for(&["evil", "installed"]);
    assert!(host.stop().success());

    set_mode(&world.desired().join("evil.toml"), 0o646);
    refused(&world, "evil", "invalid-file");
}

#[test]
fn t26_a_link_that_leads_out_of_the_desired_directory_is_an_unreadable_entry() {
    let world = installed();
    let outside = world.path().join("outside.toml");
    std::fs::write(&outside, desired_text("test:idle", "idle", "")).expect("written");
    for target in ["../outside.toml", outside.to_str().expect("UTF-8"), "/etc/passwd", "../desired/../outside.toml"] {
        let path = world.desired().join("evil.toml");
        std::os::unix::fs::symlink(target, &path).expect("linked");
        let before = world.status();
        let output = world.on_desired("apply", &[]);
        let told = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(12), "{target}: {told}");
        assert!(told.contains("evil.toml") && told.contains("symbolic link"), "{target}: {told}");
        assert!(!told.contains("root:"), "{told}");
        assert_eq!(world.status(), before, "{target}");
        // Nor does the link open a way to delete: a known file that became such a link only holds.
        std::fs::remove_file(&path).expect("removed");
        let one = world.desired().join("one.toml");
        let good = std::fs::read(&one).expect("readable");
        std::fs::remove_file(&one).expect("removed");
        std::os::unix::fs::symlink(target, &one).expect("linked");
        refused(&world, "one", "invalid-file");
        rename_into_place(&one, &good);
    }
}

#[test]
fn a_component_directory_that_is_not_what_it_seems_is_refused() {
    let world = installed();
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    let directory = world.component("idle");
    for file in FILES {
        let path = directory.join(file);
        let good = std::fs::read(&path).expect("readable");
        let away = world.path().join("away");
        std::fs::write(&away, &good).expect("written");
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink(&away, &path).expect("linked");
        let told = refused(&world, "one", "file-is-link");
        assert!(told.contains(file), "{told}");
        std::fs::remove_file(&path).expect("removed");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
        refused(&world, "one", "file-not-regular");
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("made");
        refused(&world, "one", "file-not-regular");
        std::fs::remove_dir(&path).expect("removed");
        let code = ["no-wasm", "no-manifest", "unsigned"][FILES.iter().position(|f| *f == file).expect("one of them")];
        refused(&world, "one", code);
        rename_into_place(&path, &good);
    }
    std::fs::rename(&directory, world.component("elsewhere")).expect("renamed");
    refused(&world, "one", "no-directory");
    std::fs::rename(world.component("elsewhere"), &directory).expect("renamed");
    accepted(&world);
}

#[test]
fn an_unsigned_or_foreign_signature_file_can_not_be_made_to_fit() {
    // A signature of the right key over the release of another directory, with both manifests valid.
    let world = installed();
    let second = idle("2");
    let update = release("1.1.0", 2, &second);
    world.publish("idle", &update);
    let other = sign_manifest(&update.draft(), update.wasm, None, &SigningKey::from_seed(&[8; 32])).expect("signed");
    let good = std::fs::read_to_string(world.component("idle").join(FILES[2])).expect("readable");
    let grafted = format!("{good}{}", other.signature.split_once('\n').expect("lines").1);
    // A signature of a stranger beside that of the publisher neither helps nor harms.
    rename_into_place(&world.component("idle").join(FILES[2]), grafted.as_bytes());
    accepted(&world);
}
