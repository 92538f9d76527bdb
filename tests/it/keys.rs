//! Keys, signatures and trust as an operator and a publisher handle them, through the command line.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airssys_wasm::trust::SigningKey;

use crate::components::idle;
use crate::harness::{Release, TRUSTED_SEED, World, rename_into_place, stderr, stdout, tree};

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

#[track_caller]
fn ends_with(output: &Output, code: i32, words: &[&str]) -> String {
    let told = stdout(output) + &stderr(output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    words.iter().for_each(|word| assert!(told.contains(word), "{word:?} is not in: {told}"));
    told
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("there").mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode set");
}

/// Puts an unsigned release into a component directory; `top` goes before the first table.
fn draft(world: &World, directory: &str, release: &Release<'_>, top: &str) -> PathBuf {
    let to = world.component(directory);
    std::fs::create_dir_all(&to).expect("made");
    let manifest = release.draft().replacen("schema = 1\n", &format!("schema = 1\n{top}\n"), 1);
    rename_into_place(&to.join("component.wasm"), release.wasm);
    rename_into_place(&to.join("Component.toml"), manifest.as_bytes());
    to
}

/// The key that the world's policy trusts, as a key file.
fn trusted_key_file(world: &World) -> PathBuf {
    let path = world.path().join("trusted.json");
    let encoded = SigningKey::from_seed(&TRUSTED_SEED).encode();
    rename_into_place(&path, encoded.as_bytes());
    set_mode(&path, 0o600);
    path
}

fn sign(world: &World, directory: &str, key: &Path) -> Output {
    let directory = world.component(directory);
    world.output(&["sign", directory.to_str().expect("UTF-8"), "--keypair", key.to_str().expect("UTF-8")])
}

#[test]
fn keygen_makes_a_key_for_its_owner_alone_and_never_overwrites_one() {
    let world = World::new();
    let made = world.output(&["keygen"]);
    ends_with(&made, 0, &["ed25519:", "keypair.json", "readable by you alone"]);
    let path = world.home().join("keypair.json");
    assert_eq!(mode(&path), 0o600);
    let key = std::fs::read(&path).expect("readable");
    assert_eq!(stdout(&made).trim(), SigningKey::decode(&key).expect("a key").public().to_string());

    ends_with(&world.output(&["keygen"]), 1, &["never overwritten", "--out"]);
    assert_eq!(std::fs::read(&path).expect("readable"), key);
    let link = world.path().join("link.json");
    for target in [path.clone(), world.path().join("not-there.json")] {
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        ends_with(&world.output(&["keygen", "--out", "link.json"]), 1, &["never overwritten"]);
        assert_eq!(target.exists(), target == path, "nothing is made through a link");
        std::fs::remove_file(&link).expect("removed");
    }
    assert_eq!(std::fs::read(&path).expect("readable"), key);
    ends_with(&world.output(&["keygen", "--out", "no/such/directory.json"]), 1, &["directory.json"]);

    let other = world.output(&["keygen", "--out", "other.json", "--output", "json"]);
    let other: serde_json::Value = serde_json::from_str(&stdout(&other)).expect("JSON");
    assert_ne!(other["public_key"].as_str(), Some(stdout(&made).trim()), "two keys are two keys");
    assert_eq!(mode(&world.path().join("other.json")), 0o600);
}

#[test]
fn sign_and_verify_go_together_and_what_is_changed_afterwards_is_refused() {
    let world = World::new();
    let key = trusted_key_file(&world);
    let wasm = idle("1");
    let directory = draft(&world, "idle", &release("1.0.0", 1, &wasm), "");
    let verify = || world.output(&["verify", "components/idle", "--trust", "trust.toml"]);
    ends_with(&verify(), 9, &["refused:", "unsigned", "airssys-wasm sign"]);
    ends_with(&sign(&world, "idle", &key), 0, &["signed", "sha256:", "ed25519:"]);
    ends_with(&verify(), 0, &["accepted", "test:idle 1.0.0", "signed by test"]);
    // Signing what is signed changes nothing.
    let before = tree(&directory);
    ends_with(&sign(&world, "idle", &key), 0, &["signed"]);
    assert!(tree(&directory) == before);

    rename_into_place(&directory.join("component.wasm"), &idle("2"));
    ends_with(&verify(), 9, &["wrong-digest"]);
    ends_with(&sign(&world, "idle", &key), 0, &["signed"]);
    ends_with(&verify(), 0, &["accepted"]);
    let crlf = std::fs::read_to_string(directory.join("Component.toml")).expect("readable").replace('\n', "\r\n");
    rename_into_place(&directory.join("Component.toml"), crlf.as_bytes());
    ends_with(&verify(), 9, &["line-endings", ".gitattributes"]);

    // What can't be signed leaves everything as it is.
    rename_into_place(&directory.join("component.wasm"), b"\0asm\x01\0\0\0");
    let before = tree(&directory);
    ends_with(&sign(&world, "idle", &key), 7, &["core module"]);
    rename_into_place(&directory.join("component.wasm"), &wasm);
    rename_into_place(&directory.join("Component.toml"), b"schema = 1\n[package]\nname = \"Idle\"\n");
    let broken = tree(&directory);
    ends_with(&sign(&world, "idle", &key), 7, &["Component.toml:3", "Component.toml is not valid"]);
    assert!(tree(&directory) == broken && broken.len() == before.len());
}

#[test]
fn a_signing_key_that_others_can_read_or_that_is_none_is_refused() {
    let world = World::new();
    let key = trusted_key_file(&world);
    let directory = draft(&world, "idle", &release("1.0.0", 1, &idle("1")), "");
    for odd in [0o640, 0o604, 0o660, 0o602, 0o610] {
        set_mode(&key, odd);
        ends_with(&sign(&world, "idle", &key), 6, &["others can read or change it", "chmod 600"]);
    }
    set_mode(&key, 0o600);
    if std::os::unix::fs::chown(&key, Some(12_345), None).is_ok() {
        ends_with(&sign(&world, "idle", &key), 6, &["belongs to another user", "chown"]);
        std::fs::remove_file(&key).expect("removed");
    }
    ends_with(&sign(&world, "idle", Path::new("not-there.json")), 3, &["not-there.json", "airssys-wasm keygen"]);
    let odd = world.path().join("odd.json");
    let other = SigningKey::from_seed(&[9; 32]).public().hex();
    let good = String::from_utf8(SigningKey::from_seed(&TRUSTED_SEED).encode().as_bytes().to_vec()).expect("UTF-8");
    let own = SigningKey::from_seed(&TRUSTED_SEED).public().hex();
    for text in
        [String::new(), "{}".to_owned(), good.replace("key-v1", "key-v2"), good.replace(&own, &other), good.repeat(200)]
    {
        std::fs::write(&odd, &text).expect("written");
        set_mode(&odd, 0o600);
        let told = ends_with(&sign(&world, "idle", &odd), 3, &["odd.json"]);
        assert!(!told.contains(&seed_digits(&TRUSTED_SEED)), "{told}");
    }
    assert!(!directory.join("Component.toml.sig").exists());
}

fn seed_digits(seed: &[u8]) -> String {
    seed.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn two_people_sign_one_after_the_other() {
    let world = World::new();
    let first = trusted_key_file(&world);
    ends_with(&world.output(&["keygen", "--out", "second.json"]), 0, &[]);
    let second = world.path().join("second.json");
    let public = |path: &Path| SigningKey::decode(&std::fs::read(path).expect("readable")).expect("a key").public();
    world.trust_text(&format!(
        "schema = 1\n[publisher.test]\nkeys = [\"{}\", \"{}\"]\nnames = [\"test:*\"]\nthreshold = 2\n",
        public(&first),
        public(&second)
    ));
    draft(&world, "idle", &release("1.0.0", 1, &idle("1")), "");
    let verify = || world.output(&["verify", "components/idle", "--trust", "trust.toml"]);
    for _ in 0..2 {
        ends_with(&sign(&world, "idle", &first), 0, &[]);
        ends_with(&verify(), 9, &["below-threshold", "airssys-wasm sign"]);
    }
    ends_with(&sign(&world, "idle", &second), 0, &[]);
    ends_with(&verify(), 0, &[&public(&first).to_string(), &public(&second).to_string()]);
    // A new version of the wasm: the other's signature fits no longer and is told to be dropped.
    rename_into_place(&world.component("idle").join("component.wasm"), &idle("2"));
    ends_with(&sign(&world, "idle", &first), 0, &["dropped   1"]);
    ends_with(&verify(), 9, &["below-threshold"]);
}

/// The lines that a plan prints below `head`, as a person copies them from the terminal.
fn printed_block(plan: &str, head: &str) -> String {
    let lines: Vec<&str> = plan.lines().skip_while(|line| !line.contains(head)).skip(1).collect();
    let block = lines.iter().take_while(|line| line.trim().is_empty() || line.starts_with("        "));
    block.map(|line| format!("{line}\n")).collect()
}

#[test]
fn without_a_trust_policy_the_printed_block_is_all_that_is_needed() {
    let world = World::new();
    let more = "[permissions]\nsend = [\"friend\"]\nreceive = [\"*\"]";
    world.publish("idle", &Release { more, ..release("1.0.0", 1, &idle("1")) });
    world.desire(
        "one",
        "test:idle",
        "idle",
        "[grant]\nsend = [\"friend\"]\nreceive = [\"*\"]\n[links]\nfriend = \"one\"",
    );
    let desired = world.desired().to_string_lossy().into_owned();
    let mut host = crate::harness::RunningHost::spawn(world.command(&["run", &desired]));
    let told = host.wait_for(&["one", "no-trust-policy"]);
    assert!(told.contains("not trusted"), "{told}");
    assert!(world.committed().is_empty());
    assert!(host.stop().success());

    let plan = ends_with(&world.output(&["plan", &desired]), 12, &["create trust.toml with", "compare the key"]);
    let block = printed_block(&plan, "create trust.toml with");
    assert!(block.contains("[publisher.test]") && block.contains("permissions-max"), "{block}");
    rename_into_place(&world.home().join("trust.toml"), block.as_bytes());
    ends_with(&world.output(&["apply", &desired]), 0, &["1 to install"]);
    assert_eq!(world.committed()["one"], "1.0.0");

    // A second publisher's block is added to the first one's file.
    let stranger = SigningKey::from_seed(&[8; 32]);
    world.publish_signed_by("other", &Release { package: "other:idle", ..release("1.0.0", 1, &idle("2")) }, &stranger);
    world.desire("two", "other:idle", "other", "");
    let plan = ends_with(&world.output(&["plan", &desired]), 12, &["unknown-publisher", "add to trust.toml"]);
    let added = printed_block(&plan, "add to trust.toml");
    rename_into_place(&world.home().join("trust.toml"), format!("{block}\n{added}").as_bytes());
    ends_with(&world.output(&["apply", &desired]), 0, &["1 to install"]);
    assert_eq!(world.committed().len(), 2);
}

#[test]
fn a_key_that_is_revoked_updates_nothing_and_starts_nothing() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1 running"]);
    let policy = std::fs::read_to_string(world.trust()).expect("readable");
    let key = SigningKey::from_seed(&TRUSTED_SEED).public();
    world.trust_text(&format!("{policy}\n[[revoked]]\nkey = \"{key}\"\nreason = \"lost laptop\"\n"));
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    let told = host.wait_for(&["one", "revoked-key"]);
    assert!(told.contains("lost laptop") && told.contains("what runs goes on"), "{told}");
    assert_eq!(world.committed()["one"], "1.0.0");
    assert_eq!(world.status()["components"][0]["state"], "running");
    host.kill();

    let mut host = world.run();
    let told = host.wait_for(&["one", "revoked-key"]);
    assert!(told.contains("start failed"), "{told}");
    host.wait_for(&["one", "blocked", "revoked-key"]);
    assert_ne!(world.status()["components"][0]["state"], "running");
    assert_eq!(world.committed()["one"], "1.0.0", "what was installed stays installed");
    // A release that another trusted key signs gets it going again.
    let next = SigningKey::from_seed(&[8; 32]);
    let rotated = policy.replace(&key.to_string(), &next.public().to_string());
    world.trust_text(&format!("{rotated}\n[[revoked]]\nkey = \"{key}\"\n"));
    world.publish_signed_by("idle", &release("1.2.0", 3, &idle("3")), &next);
    let told = host.wait_for(&["one", "signer:one"]);
    assert!(told.contains("needs an approval"), "{told}");
    assert!(host.stop().success());
}

#[test]
fn releases_outside_their_dates_are_refused() {
    let world = World::new();
    let key = trusted_key_file(&world);
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    ends_with(&world.on_desired("apply", &[]), 0, &[]);
    for (top, code) in
        [("expires = 2020-01-01T00:00:00Z", "expired"), ("not-before = 2999-01-01T00:00:00Z", "not-yet-valid")]
    {
        draft(&world, "idle", &release("1.1.0", 2, &idle("2")), top);
        ends_with(&sign(&world, "idle", &key), 0, &[]);
        ends_with(&world.on_desired("apply", &[]), 12, &[code, "clock"]);
        ends_with(&world.output(&["verify", "components/idle", "--trust", "trust.toml"]), 9, &[code]);
        assert_eq!(world.committed()["one"], "1.0.0");
    }
}

#[test]
fn a_release_that_expired_meanwhile_goes_on_and_does_not_start_again() {
    /// Time to install the release in.
    const VALID_S: u64 = 5;
    let world = World::new();
    let key = trusted_key_file(&world);
    let until = SystemTime::now() + Duration::from_secs(VALID_S);
    let unix_s = until.duration_since(UNIX_EPOCH).expect("later").as_secs();
    let date = airssys_wasm::timestamp::rfc3339(i64::try_from(unix_s).expect("small"));
    draft(&world, "idle", &release("1.0.0", 1, &idle("1")), &format!("expires = {date}"));
    ends_with(&sign(&world, "idle", &key), 0, &[]);
    world.desire("one", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1 running"]);
    std::thread::sleep(until.duration_since(SystemTime::now()).unwrap_or_default() + Duration::from_secs(1));
    // Something to look for, so that it looks.
    world.desire("two", "test:idle", "idle", "");
    let told = host.wait_for(&["one", "expired"]);
    assert!(told.contains("what runs goes on"), "{told}");
    assert_eq!(world.committed().len(), 1);
    host.kill();
    let mut host = world.run();
    let told = host.wait_for(&["one", "expired"]);
    assert!(told.contains("start failed"), "{told}");
    assert!(host.stop().success());
}

#[test]
fn t25_the_secret_of_a_key_reaches_no_output_no_log_and_no_state() {
    let world = World::new();
    ends_with(&world.output(&["keygen"]), 0, &[]);
    let path = world.home().join("keypair.json");
    let text = std::fs::read_to_string(&path).expect("readable");
    let secret = serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["secret_key"]
        .as_str()
        .expect("digits")
        .to_owned();
    let public = SigningKey::decode(text.as_bytes()).expect("a key").public();
    world.trust_text(&format!("schema = 1\n[publisher.test]\nkeys = [\"{public}\"]\nnames = [\"test:*\"]\n"));
    let mut outputs: Vec<Output> = Vec::new();
    draft(&world, "idle", &release("1.0.0", 1, &idle("1")), "");
    outputs.push(world.output(&["sign", "components/idle", "--output", "json"]));
    assert!(outputs[0].status.success(), "{}", stderr(&outputs[0]));
    world.desire("one", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1 running"]);
    for arguments in [&["status"][..], &["status", "--output", "json"], &["list"], &["logs", "one"], &["keygen"]] {
        outputs.push(world.output(arguments));
    }
    assert!(host.told().contains("converged"));
    let running = host.told();
    assert!(host.stop().success());
    for command in ["plan", "apply"] {
        outputs.push(world.on_desired(command, &["--output", "json"]));
    }

    // The key file in every place where a person may put it by mistake, on one line and on several.
    let key_path = path.to_str().expect("UTF-8").to_owned();
    let desired = world.desired().to_string_lossy().into_owned();
    let many_lines = text.replace(',', ",\n  ").replace('{', "{\n  ");
    let broken = text.replace('"', "");
    for key in [text.clone(), many_lines, broken] {
        let copy = world.path().join("copy.json");
        std::fs::write(&copy, &key).expect("written");
        set_mode(&copy, 0o600);
        for command in ["plan", "apply", "run"] {
            outputs.push(world.output(&[command, &desired, "--trust", "copy.json"]));
        }
        outputs.push(world.output(&["sign", "components/idle", "--keypair", "copy.json"]));
        outputs.push(world.output(&["verify", "components/idle", "--trust", "copy.json"]));
        std::fs::remove_file(&copy).expect("removed");
    }
    outputs.push(world.output(&["sign", "components/idle", "--keypair", "trust.toml"]));
    outputs.push(world.output(&["logs", &key_path]));

    let shows = |text: &[u8]| text.windows(secret.len()).any(|part| part.eq_ignore_ascii_case(secret.as_bytes()));
    assert!(shows(text.as_bytes()) && !shows(running.as_bytes()), "the host printed the secret");
    for output in &outputs {
        let told = [&output.stdout[..], &output.stderr].concat();
        assert!(!shows(&told), "the secret was printed: {}", String::from_utf8_lossy(&told));
    }
    let seed = SigningKey::decode(text.as_bytes()).map(|_| digits_to_bytes(&secret)).expect("a key");
    for (place, (_, bytes)) in tree(world.path()) {
        let is_key = world.path().join(&place) == path;
        assert!(is_key || !shows(&bytes), "{} holds the secret", place.display());
        let raw = bytes.windows(seed.len()).any(|part| part == seed);
        assert!(!raw, "{} holds the secret's bytes", place.display());
    }
}

fn digits_to_bytes(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("hex")).collect()
}
