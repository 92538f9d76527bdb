//! Secrets of components: they arrive, they are followed when they change, and nothing shows them (T25).

mod answers;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::components::{Ending, idle, tells_its_config};
use crate::harness::{Release, RunningHost, World, stderr, stdout, tree};

const IN_FILE: &str = "canary-in-a-file-a9d1";
const ROTATED: &str = "canary-rotated-77c2";
const IN_ENV: &str = "canary-in-the-environment-3e80";
const NOT_NAMED: &str = "canary-nobody-named-51ff";
const PRINTED: &str = "canary-of-a-command-c0de";
const IN_URL: &str = "canary-in-a-url-9b3a";

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:keeper", version, sequence, more: "", wasm }
}

fn private(path: &Path, text: &str) {
    let new = path.with_extension("new~");
    std::fs::write(&new, text).expect("written");
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).expect("mode set");
    std::fs::rename(new, path).expect("renamed");
}

fn world() -> World {
    let world = World::new();
    std::fs::create_dir(world.home()).expect("made");
    let script = world.path().join("print-it");
    // The value is not in the program: it must not be found there by the search.
    std::fs::write(&script, format!("#!/bin/sh\necho '{}' | tr a-z n-za-m\n", shifted(PRINTED))).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).expect("mode set");
    let rules = format!("[secrets]\nenv = [\"APP_*\"]\ncommands = [\"{}\"]\n", script.display());
    private(&world.home().join("config.toml"), &rules);
    private(&world.path().join("token"), IN_FILE);
    world
}

/// Each letter as the one thirteen further.
fn shifted(text: &str) -> String {
    text.bytes().map(|b| char::from(if b.is_ascii_lowercase() { (b - b'a' + 13) % 26 + b'a' } else { b })).collect()
}

fn config(world: &World) -> String {
    format!(
        "[config]\ntoken = {{ secret-file = \"../token\" }}\n[config.db]\npassword = {{ secret-env = \"APP_PASSWORD\" }}\n\
         others = [{{ secret-command = [\"{}\"] }}]\n",
        world.path().join("print-it").display()
    )
}

fn in_environment(world: &World, args: &[&str]) -> std::process::Command {
    let mut command = world.command(args);
    command.env("APP_PASSWORD", IN_ENV).env("UNRELATED", NOT_NAMED);
    command
}

fn on_desired(world: &World, command: &str, more: &[&str]) -> Output {
    let mut paths = Vec::new();
    let mut arguments = world.arguments(command, &mut paths);
    arguments.extend(more);
    in_environment(world, &arguments).output().expect("the binary runs")
}

fn run(world: &World, log: &Path) -> RunningHost {
    let mut paths = Vec::new();
    let arguments = world.arguments("run", &mut paths);
    let mut command = std::process::Command::new("/bin/sh");
    // Both streams of the host also go to a file, for the search.
    let inner = in_environment(world, &arguments);
    command
        .arg("-c")
        .arg("exec \"$0\" \"$@\" 2>&1 | tee -a \"$LOG\" >&2")
        .arg(inner.get_program())
        .args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?)))).env("LOG", log);
    RunningHost::spawn(command)
}

/// Every file below `root` that holds one of the canaries, but for the places where they were put.
fn hits(root: &Path, allowed: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, (_, bytes)) in tree(root) {
        let full = root.join(&path);
        for canary in [IN_FILE, ROTATED, IN_ENV, NOT_NAMED, PRINTED, IN_URL] {
            let is_there = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            if is_there && !allowed.contains(&full) {
                found.push(format!("{canary} in {}", path.display()));
            }
        }
    }
    found
}

#[track_caller]
fn tells_nothing(output: &Output) {
    let text = format!("{}{}", stdout(output), stderr(output));
    for canary in [IN_FILE, ROTATED, IN_ENV, NOT_NAMED, PRINTED, IN_URL] {
        assert!(!text.contains(canary), "{canary} is printed:\n{text}");
    }
}

#[test]
fn t25_no_secret_of_a_component_shows_in_anything_that_a_whole_run_prints_or_writes() {
    let world = world();
    let log = world.path().join("host-output");
    let all = [IN_FILE, IN_ENV, PRINTED];
    world.publish("keeper", &release("1.0.0", 1, &tells_its_config(&all[1..], &Ending::Ready)));
    world.publish("refuser", &release("1.0.1", 2, &tells_its_config(&all, &Ending::Refuses)));
    world.publish("trapper", &release("1.0.2", 3, &tells_its_config(&all, &Ending::Traps)));
    for name in ["keeper", "refuser", "trapper"] {
        world.desire(name, "test:keeper", name, &config(&world));
    }
    // The key of the command line: its secret half is a canary of its own.
    assert!(world.output(&["keygen"]).status.success());
    let key = std::fs::read_to_string(world.home().join("keypair.json")).expect("readable");
    let key = key.split("\"secret_key\":\"").nth(1).and_then(|rest| rest.get(..64)).expect("a key").to_owned();

    tells_nothing(&on_desired(&world, "plan", &["--output", "json"]));
    let mut host = run(&world, &log);
    host.wait_for(&["keeper", "installed"]);
    // It looked for its secrets first.
    host.wait_for(&["refuser", "init answered with an error", "***"]);
    // Someone tries to hand in credentials inside a URL.
    let url =
        format!("package = \"test:url\"\n[source.url]\nurl = \"https://user:{IN_URL}@example.com/Component.toml\"\n");
    world.desire_text("url", &url);
    host.wait_for(&["url", "held"]);
    private(&world.path().join("token"), ROTATED);
    host.wait_for(&["keeper", "config.token"]);
    for format in ["text", "json", "yaml"] {
        for command in ["plan", "status", "list"] {
            let output = match command {
                "plan" => on_desired(&world, command, &["--output", format]),
                _ => in_environment(&world, &[command, "--output", format]).output().expect("runs"),
            };
            tells_nothing(&output);
        }
    }
    tells_nothing(&on_desired(&world, "validate", &[]));
    // What people carry about holds none either: both files are in the search below.
    let saved = on_desired(&world, "plan", &["--out", "saved.json", "--output", "markdown"]);
    tells_nothing(&saved);
    let exported = world.output(&["export", "--out", "export.json"]);
    tells_nothing(&exported);
    for file in ["saved.json", "export.json"] {
        let text = std::fs::read_to_string(world.path().join(file)).expect("written");
        assert!(text.contains("config.token"), "{file} does not know the secrets' places");
    }
    tells_nothing(&on_desired(&world, "plan", &["--against", "export.json", "--output", "json"]));
    tells_nothing(&on_desired(&world, "apply", &["saved.json"]));
    for name in ["keeper", "refuser", "trapper"] {
        let output = world.output(&["logs", name]);
        tells_nothing(&output);
    }
    let told = stdout(&world.output(&["logs", "keeper"]));
    assert!(told.contains("***"), "the component told its config, and its log does not show that:\n{told}");
    host.signal("TERM");
    drop(host);

    let allowed = [world.path().join("token"), world.desired().join("url.toml")];
    assert_eq!(hits(world.path(), &allowed), Vec::<String>::new());
    for (path, (_, bytes)) in tree(world.path()) {
        let is_key_file = path.ends_with("keypair.json");
        assert!(is_key_file || !String::from_utf8_lossy(&bytes).contains(&key), "the key is in {}", path.display());
    }
}

#[test]
fn t25_a_changed_secret_is_followed_and_an_unreadable_one_holds_what_runs() {
    let world = world();
    let token = world.path().join("token");
    world.publish("keeper", &release("1.0.0", 1, &idle("1")));
    world.desire("keeper", "test:keeper", "keeper", "[config]\ntoken = { secret-file = \"../token\" }\n");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1 running"]);
    private(&token, ROTATED);
    let line = host.wait_for(&["reconfigured"]);
    assert!(line.contains("the content of a secret changed: config.token"), "{line}");
    host.wait_for(&["converged"]);
    assert_eq!(world.on_desired("plan", &[]).status.code(), Some(0), "a plan beside the host sees what it sees");

    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).expect("mode set");
    let line = host.wait_for(&["held", "keeper.toml:7"]);
    assert!(line.contains("others can read or change it") && line.contains("what runs goes on"), "{line}");
    assert_eq!(world.status()["components"][0]["state"], "running");
    assert_eq!(world.on_desired("plan", &[]).status.code(), Some(12));
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("mode set");
    host.wait_for(&["no longer held"]);
    assert!(host.stop().success());
}

#[test]
fn t25_the_environment_and_programs_stay_closed_until_the_host_opens_them() {
    let world = world();
    std::fs::remove_file(world.home().join("config.toml")).expect("removed");
    world.publish("keeper", &release("1.0.0", 1, &idle("1")));
    world.desire("env", "test:keeper", "keeper", "[config]\np = { secret-env = \"APP_PASSWORD\" }\n");
    world.desire(
        "command",
        "test:keeper",
        "keeper",
        "[config]\np = { secret-command = [\"/bin/cat\", \"/etc/hostname\"] }\n",
    );
    let output = on_desired(&world, "plan", &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(12), "{text}");
    assert!(text.contains("env = [\"APP_PASSWORD\"]") && text.contains("commands = [\"/bin/cat\"]"), "{text}");
    assert!(text.contains("secret-refused") && text.contains("command.toml:7"), "{text}");
    tells_nothing(&output);
}

#[test]
fn t25_settings_that_others_can_change_open_nothing() {
    let world = world();
    let config = world.home().join("config.toml");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o664)).expect("mode set");
    let output = on_desired(&world, "plan", &[]);
    assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
    assert!(
        stderr(&output).contains("others can change it") && stderr(&output).contains("chmod go-w"),
        "{}",
        stderr(&output)
    );
}
