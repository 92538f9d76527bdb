//! Saved plans and exported states with the real binary: what is unchanged is carried out, what moved is refused and
//! named, and a file that is not what it should be changes nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use airssys_wasm::trust::SigningKey;

use crate::components::idle;
use crate::harness::{Release, TRUSTED_SEED, World, rename_into_place, stderr, stdout, tree};

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

fn other_key() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

/// `one` is installed and an update of it waits; `two` is installed and names a secret.
fn world() -> World {
    let world = World::new();
    std::fs::create_dir(world.home()).expect("made");
    let keys = [SigningKey::from_seed(&TRUSTED_SEED).public(), other_key().public()];
    world.trust_text(&format!(
        "schema = 1\n\n[publisher.test]\nkeys = [\"{}\", \"{}\"]\nnames = [\"test:*\"]\n",
        keys[0], keys[1]
    ));
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.publish("steady", &Release { package: "test:steady", ..release("1.0.0", 1, &idle("1")) });
    private(&world.path().join("token"), "first");
    world.desire("one", "test:idle", "idle", "");
    world.desire("two", "test:steady", "steady", "[config]\ntoken = { secret-file = \"../token\" }\n");
    let applied = world.on_desired("apply", &[]);
    assert_eq!(applied.status.code(), Some(0), "{}", stderr(&applied));
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    world
}

fn private(path: &Path, text: &str) {
    rename_into_place(path, text.as_bytes());
    mode(path, 0o600);
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode set");
}

/// Where the tests save plans.
fn file(world: &World) -> PathBuf {
    world.path().join("saved.json")
}

#[track_caller]
fn save(world: &World, code: i32) {
    let output = world.on_desired("plan", &["--out", &file(world).to_string_lossy()]);
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(&output), stderr(&output));
}

fn apply(world: &World, more: &[&str]) -> Output {
    let (file, trust) = (file(world), world.trust());
    let mut arguments = vec!["apply", file.to_str().expect("text"), "--trust", trust.to_str().expect("text")];
    arguments.extend(more);
    world.output(&arguments)
}

/// Applies, and wants it refused with these words and nothing committed.
#[track_caller]
fn refused(world: &World, words: &str) {
    let generations = || tree(&world.home().join("state/gen"));
    let (committed, before) = (world.committed(), generations());
    let output = apply(world, &[]);
    assert_eq!(output.status.code(), Some(7), "{words}: {}{}", stdout(&output), stderr(&output));
    assert!(stderr(&output).contains(words), "{words}: {}", stderr(&output));
    assert_eq!(world.committed(), committed, "{words}");
    assert!(generations() == before, "{words}: a generation was written");
}

#[test]
fn an_unchanged_plan_is_carried_out_once_and_leaves_its_name_in_the_history() {
    let world = world();
    save(&world, 10);
    let plan: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file(&world)).expect("saved")).expect("JSON");
    assert_eq!(plan["$type"], "airssys-wasm/saved-plan/v1");
    let mode = std::fs::metadata(file(&world)).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let output = apply(&world, &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(world.committed()["one"], "1.1.0");
    let digits = &plan["plan_digest"].as_str().expect("text")["sha256:".len()..][..8];
    let history = stdout(&world.output(&["history", "-n", "1"]));
    assert!(history.contains(&format!("apply of the saved plan {digits} by ")), "{history}");
    refused(&world, "generation 2 was committed in place of 1 since the plan was made");
}

#[test]
fn each_input_that_moved_is_refused_by_its_name_and_nothing_changes() {
    let world = world();
    let (one, extra) = (world.desired().join("one.toml"), world.desired().join("three.toml"));
    let text = std::fs::read_to_string(&one).expect("readable");
    let trust = std::fs::read_to_string(world.trust()).expect("readable");
    let config = world.home().join("config.toml");
    // Each from where the one before left the world.
    let moves: [(&str, i32, &dyn Fn()); 10] = [
        ("one.toml changed since the plan was made", 10, &|| world.desire_text("one", &format!("# a word\n{text}"))),
        ("three.toml was added since", 10, &|| world.desire("three", "test:steady", "steady", "")),
        ("three.toml was removed since", 10, &|| std::fs::remove_file(&extra).expect("removed")),
        ("one.toml came to be unreadable since", 10, &|| mode(&one, 0o666)),
        ("one.toml changed since", 12, &|| mode(&one, 0o644)),
        ("the trust policy changed or --trust", 10, &|| world.trust_text(&format!("{trust}# a word\n"))),
        ("config.toml changed or a host was started with another one since", 10, &|| {
            private(&config, "[secrets]\nenv = [\"APP_*\"]\n")
        }),
        ("the artifact of one changed from 1.1.0 (", 10, &|| world.publish("idle", &release("1.2.0", 3, &idle("3")))),
        ("the secret two config.token changed from ***(", 10, &|| private(&world.path().join("token"), "second")),
        ("generation 2 was committed in place of 1 since", 10, &|| {
            assert_eq!(world.on_desired("apply", &[]).status.code(), Some(0));
        }),
    ];
    for (words, code, moves) in moves {
        save(&world, code);
        moves();
        refused(&world, words);
    }
}

#[test]
fn the_same_inputs_that_lead_to_another_plan_are_refused_too() {
    let world = world();
    save(&world, 10);
    let text = std::fs::read_to_string(file(&world)).expect("saved");
    // Whoever can compute a checksum can write any digest.
    let at = text.find("\"plan_digest\": \"sha256:").expect("there") + "\"plan_digest\": \"sha256:".len();
    let forged = format!("{}{}{}", &text[..at], "0".repeat(64), &text[at + 64..]);
    let end = forged.rfind(",\n  \"digest\": \"").expect("a checksum");
    let digest = airssys_wasm::digest::Digest::of(&forged.as_bytes()[..end]);
    private(&file(&world), &format!("{},\n  \"digest\": \"{digest}\"\n}}\n", &forged[..end]));
    refused(&world, "the same inputs lead to another plan by now");
}

#[test]
fn a_file_that_is_no_intact_saved_plan_is_refused_as_what_it_is() {
    let world = world();
    save(&world, 10);
    let good = std::fs::read_to_string(file(&world)).expect("saved");
    let moved = good.replace("1.1.0", "9.9.9");
    assert!(moved != good);
    for (words, text) in [
        ("breaks off: it was cut", &good[..good.len() / 2]),
        ("was changed after it was written", &moved),
        ("of a newer format, airssys-wasm/saved-plan/v2", &good.replace("saved-plan/v1", "saved-plan/v2")),
        ("its `$type` is airssys-wasm/plan/v1", &good.replace("saved-plan/v1", "plan/v1")),
        ("it holds no JSON with a `$type`", "package = \"test:idle\"\n"),
        ("it holds no JSON with a `$type`", ""),
        ("it holds no JSON with a `$type`", &"[".repeat(1 << 20)),
    ] {
        private(&file(&world), text);
        refused(&world, words);
    }
    let put = |make: &dyn Fn(&Path)| {
        std::fs::remove_file(file(&world)).expect("removed");
        make(&file(&world));
    };
    private(&world.path().join("good.json"), &good);
    put(&|path| std::os::unix::fs::symlink("good.json", path).expect("linked"));
    refused(&world, "name the file itself");
    put(&|path| {
        std::fs::write(path, &good).expect("written");
        mode(path, 0o666);
    });
    refused(&world, "chmod o-w");
    put(&|path| std::fs::File::create(path).expect("made").set_len(17 << 20).expect("grown"));
    refused(&world, "can't be read as a saved plan");
    put(&|path| {
        let kind = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).expect("made");
    });
    refused(&world, "can't be read as a saved plan");
    put(&|path| private(path, &good));
    assert_eq!(apply(&world, &[]).status.code(), Some(0));
}

#[test]
fn a_plan_is_saved_in_place_of_an_older_one_and_of_nothing_else() {
    let world = world();
    save(&world, 10);
    let first = std::fs::read(file(&world)).expect("saved");
    world.publish("idle", &release("1.2.0", 3, &idle("3")));
    save(&world, 10);
    assert!(std::fs::read(file(&world)).expect("saved") != first);
    private(&file(&world), std::str::from_utf8(&first[..first.len() / 2]).expect("text"));
    save(&world, 10);
    let before = tree(world.path());
    let trust = world.trust();
    for (path, words) in [
        (trust.to_str().expect("text"), "trust.toml is there and is not a saved plan; it is not overwritten"),
        ("desired/one.toml", "one.toml is there and is not a saved plan"),
        ("desired", "can't be read as a saved plan"),
        ("nowhere/plan.json", "can't be written"),
        ("..", "names no file"),
    ] {
        let output = world.on_desired("plan", &["--out", path]);
        assert!(output.status.code().is_some_and(|code| code < 10), "{path}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{path}: {}", stderr(&output));
    }
    let left = |tree: std::collections::BTreeMap<PathBuf, (u32, Vec<u8>)>| {
        tree.into_iter().filter(|(path, _)| !path.starts_with("home/state")).collect::<Vec<_>>()
    };
    assert!(left(tree(world.path())) == left(before), "something was left or overwritten");
    // Neither with a state that somebody else exported.
    let output = world.on_desired("plan", &["--out", "x", "--against", "y"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_plan_with_secrets_is_not_saved_before_they_can_be_told_apart() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    private(&world.path().join("token"), "first");
    world.desire("one", "test:idle", "idle", "[config]\ntoken = { secret-file = \"../token\" }\n");
    let output = world.on_desired("plan", &["--out", "saved.json"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("this home has no key yet"), "{}", stderr(&output));
    assert!(!file(&world).exists());
}

#[test]
fn a_first_plan_is_saved_and_carried_out_in_a_home_that_was_not_there() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    save(&world, 10);
    let output = apply(&world, &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(world.committed()["one"], "1.0.0");
}

#[test]
fn a_running_host_carries_out_a_saved_plan_with_what_is_approved_or_refuses_it() {
    let world = world();
    // Held until somebody approves it, so that the host does not carry it out by itself.
    world.publish_signed_by("idle", &release("1.1.0", 2, &idle("2")), &other_key());
    save(&world, 11);
    let mut host = world.run();
    host.wait_for(&["one", "needs an approval"]);
    host.wait_for(&["settled"]);
    refused(&world, "a host was started since the plan was made");

    save(&world, 11);
    let two = std::fs::read_to_string(world.desired().join("two.toml")).expect("readable");
    // Not even closed: the host waits until it knows what the file says.
    let mut open = std::fs::File::create(world.desired().join("two.toml")).expect("opened");
    std::io::Write::write_all(&mut open, format!("# a word\n{two}").as_bytes()).expect("written");
    refused(&world, "two.toml changed since the plan was made");
    save(&world, 11);
    drop(open);
    assert!(world.output(&["pause", "two"]).status.success());
    refused(&world, "what is paused changed since the plan was made");
    assert!(world.output(&["resume", "two"]).status.success());
    save(&world, 11);
    world.publish_signed_by("idle", &release("1.2.0", 3, &idle("3")), &other_key());
    assert_eq!(world.output(&["sync"]).status.code(), Some(11));
    refused(&world, "the artifact of one changed from 1.1.0 (");
    assert_eq!(world.committed()["one"], "1.0.0");

    save(&world, 11);
    let unasked = apply(&world, &["--approve", "signer:two"]);
    assert_eq!(unasked.status.code(), Some(7), "{}", stderr(&unasked));
    let unapproved = apply(&world, &[]);
    assert_eq!(unapproved.status.code(), Some(11), "{}", stderr(&unapproved));
    let approved = apply(&world, &["--approve", "signer:one"]);
    assert_eq!(approved.status.code(), Some(0), "{}{}", stdout(&approved), stderr(&approved));
    host.wait_for(&["one", "updated 1.0.0 -> 1.2.0"]);
    assert_eq!(world.committed()["one"], "1.2.0");
    let elsewhere = world.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("made");
    let saved = world.output(&["plan", "elsewhere", "--trust", "trust.toml", "--out", "saved.json"]);
    assert_eq!(saved.status.code(), Some(11), "{}", stderr(&saved));
    let output = apply(&world, &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("the running host works with"), "{}", stderr(&output));
    assert!(host.stop().success());
}

#[test]
fn a_saved_plan_is_approved_and_carried_out_without_a_host() {
    let world = world();
    world.publish_signed_by("idle", &release("1.1.0", 2, &idle("2")), &other_key());
    let output = world.on_desired("plan", &["--out", "saved.json"]);
    let text = stdout(&output);
    let command = text.lines().find_map(|line| line.strip_prefix("approve with:  airssys-wasm ")).expect("a command");
    assert!(command.starts_with("apply saved.json --trust "), "{command}");
    // The printed command is the one that works.
    let approved = world.output(&command.split(' ').collect::<Vec<_>>());
    assert_eq!(approved.status.code(), Some(0), "{}{}", stdout(&approved), stderr(&approved));
    assert_eq!(world.committed()["one"], "1.1.0");
}

#[test]
fn a_plan_against_an_exported_state_is_the_one_that_the_home_itself_would_make() {
    let world = world();
    let export = world.path().join("export.json");
    let export = export.to_str().expect("text");
    assert!(world.output(&["export", "--out", export]).status.success());
    assert_eq!(stdout(&world.output(&["export"])), std::fs::read_to_string(export).expect("written"));
    let here = world.on_desired("plan", &["--output", "json"]);
    let home = world.path().join("elsewhere");
    let elsewhere = |more: &[&str]| {
        let (desired, trust) = (world.desired(), world.trust());
        let mut arguments = vec!["plan", desired.to_str().expect("text"), "--trust", trust.to_str().expect("text")];
        arguments.extend(["--against", export]);
        arguments.extend(more);
        world.command(&arguments).env("AIRSSYS_HOME", &home).output().expect("the binary runs")
    };
    // The secret is not even there.
    std::fs::remove_file(world.path().join("token")).expect("removed");
    let there = elsewhere(&["--output", "json"]);
    assert_eq!(there.status.code(), Some(10), "{}{}", stdout(&there), stderr(&there));
    // What the machine has room for is not in an export.
    let plan = |output: &Output| -> serde_json::Value {
        let mut plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let room = plan["room"].as_object_mut().expect("a room");
        room.retain(|key, _| ["starts", "memory_bytes", "maps"].contains(&key.as_str()));
        plan
    };
    assert_eq!(plan(&there), plan(&here));
    let state = tree(&home).into_keys().filter(|path| path.starts_with("state") && home.join(path).is_file());
    assert_eq!(state.filter(|path| !path.starts_with("state/objects")).count(), 0, "the other home got a state");

    // Exit codes as of any plan: an approval, then something bad.
    world.publish_signed_by("idle", &release("1.2.0", 3, &idle("3")), &other_key());
    assert_eq!(elsewhere(&[]).status.code(), Some(11));
    let markdown = stdout(&elsewhere(&["--output", "markdown"]));
    assert!(markdown.starts_with("<!-- airssys-wasm plan -->\n### Plan <code>"), "{markdown}");
    assert!(markdown.contains("**waits for approval** <code>signer&#58;one</code>"), "{markdown}");
    world.desire_text("one", "package = \n");
    assert_eq!(elsewhere(&[]).status.code(), Some(12));
    assert_eq!(elsewhere(&["--exit-zero"]).status.code(), Some(0));
    let good = std::fs::read_to_string(export).expect("written");
    for (words, text) in [
        ("breaks off: it was cut", &good[..good.len() - 30]),
        ("was changed after it was written", &good.replace("\"high\": 1", "\"high\": 0")),
        ("of a newer format", &good.replace("export/v1", "export/v2")),
        ("it is not an exported state", "{}"),
    ] {
        rename_into_place(Path::new(export), text.as_bytes());
        let output = elsewhere(&[]);
        assert_eq!(output.status.code(), Some(7), "{words}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{words}: {}", stderr(&output));
    }
}

#[test]
fn only_a_plan_has_a_markdown_form() {
    let world = world();
    let before = tree(&world.home());
    let output = world.on_desired("apply", &["--output", "markdown"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("only `plan` has a Markdown form"), "{}", stderr(&output));
    assert!(tree(&world.home()) == before, "it was carried out all the same");
}
