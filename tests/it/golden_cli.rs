//! What commands print, word by word: `tests/golden/cli/`. `UPDATE_EXPECT=1` rewrites it.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use crate::components::{idle, refuses_in_init};
use crate::harness::{PATIENCE, Release, RunningHost, World, desired_text, rename_into_place, stderr, stdout};
use crate::run::example_world;

const COMMANDS: [&str; 22] = [
    "run",
    "plan",
    "apply",
    "validate",
    "keygen",
    "sign",
    "verify",
    "list",
    "status",
    "logs",
    "info",
    "call",
    "dead-letters",
    "sync",
    "pause",
    "resume",
    "schema",
    "history",
    "why",
    "export",
    "completions",
    "rollback",
];

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

#[track_caller]
pub fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cli").join(name);
    expect_test::expect_file![path].assert_eq(text);
}

/// Both streams and the exit code, as a person at a terminal gets them.
pub fn shown(world: &World, arguments: &[&str]) -> String {
    let output = world.output(arguments);
    session(world, arguments, &output)
}

fn session(world: &World, arguments: &[&str], output: &Output) -> String {
    let arguments: Vec<String> =
        arguments.iter().map(|a| if a.is_empty() { "''".to_owned() } else { (*a).to_owned() }).collect();
    let mut text = format!("$ airssys-wasm {}\n{}", arguments.join(" "), stdout(output));
    let error = stderr(output);
    if !error.is_empty() {
        text.push_str(&format!("--- standard error\n{error}"));
    }
    text.push_str(&format!("--- ends with {}\n", output.status.code().expect("a code")));
    normalised(world, &text)
}

/// Replaces what differs from run to run by words: paths, digests, keys, times, process ids.
fn normalised(world: &World, text: &str) -> String {
    let mut text = with_utc_replaced(&text.replace(&world.path().to_string_lossy().into_owned(), "WORLD"));
    text = replace_words(&text, |word| {
        let digits = |prefix: &str| word.strip_prefix(prefix).is_some_and(|rest| rest.len() == 64 && is_hex(rest));
        if digits("sha256:") {
            Some("sha256:DIGEST".to_owned())
        } else if digits("ed25519:") {
            Some("ed25519:KEY".to_owned())
        } else if word.strip_prefix("ed25519:").is_some_and(|rest| rest.len() == 8 && is_hex(rest)) {
            Some("ed25519:KEY8".to_owned())
        } else if is_date(word) {
            Some("DATE".to_owned())
        } else {
            is_clock(word).then(|| "HH:MM:SS".to_owned())
        }
    });
    let lines = text.lines().map(|line| format!("{}\n", without_user(&normalised_line(line))));
    lines.collect()
}

/// `2026-11-24T21:03:11Z`
fn is_date(word: &str) -> bool {
    word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T' && word.starts_with("20")
}

/// Who runs the tests, as notes name them.
fn without_user(line: &str) -> String {
    let by = line.find(" (uid ").and_then(|end| Some((line[..end].rfind(" by ")?, end)));
    let Some((start, end)) = by else { return line.to_owned() };
    let close = line[end..].find(')').map_or(line.len(), |at| end + at + 1);
    format!("{} by USER{}", &line[..start], &line[close..])
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Times in UTC as records hold them.
fn with_utc_replaced(text: &str) -> String {
    const SHAPE: &str = "0000-00-00T00:00:00Z";
    let is_time = |piece: &str| {
        let fits = |(shape, byte): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
        piece.len() == SHAPE.len() && SHAPE.bytes().zip(piece.bytes()).all(fits)
    };
    let mut result = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match rest.get(..SHAPE.len()) {
            Some(piece) if is_time(piece) => {
                result.push_str("UTC_TIME");
                SHAPE.len()
            }
            _ => {
                result.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    result
}

fn is_clock(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    parts.len() == 3 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()))
}

fn replace_words(text: &str, stands_for: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::new();
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let mut rest = text;
    while let Some(start) = rest.find(is_inner) {
        result.push_str(&rest[..start]);
        let end = rest[start..].find(|c| !is_inner(c)).map_or(rest.len(), |at| start + at);
        let word = &rest[start..end];
        let bare = word.trim_end_matches(':');
        match stands_for(bare) {
            Some(other) => {
                result.push_str(&other);
                result.push_str(&word[bare.len()..]);
            }
            None => result.push_str(word),
        }
        rest = &rest[end..];
    }
    result + rest
}

/// Numbers that are measured, by the words around them.
fn normalised_line(line: &str) -> String {
    let fields = [
        ("host        running for ", ", pid ", "TIME"),
        (", pid ", ", version", "PID"),
        ("looked at everything in ", ": ", "TIME"),
        ("memory      ", " for instances", "MEMORY"),
        ("maps        ", " in use", "N of N"),
        (" maps up to ", ")", "N of N (N in use or promised"),
        ("memory up to ", " for all", "SIZE of SIZE"),
        ("  memory-budget ", "", "SIZE of SIZE"),
        ("  threads       ", "", "N of N"),
        ("  maps          ", "", "N of N"),
        ("last pass   ", ":", "TIME ago (CAUSE), took TIME"),
        ("  for         ", ";", "TIME"),
        ("for         ", ";", "TIME"),
        ("  memory            ", " of ", "SIZE"),
        ("  mailbox           ", " of ", "N"),
        ("  mailbox-bytes     ", " of ", "SIZE"),
        ("  open-requests     ", " of ", "N"),
        ("  storage           ", " of ", "SIZE"),
        ("  storage-keys      ", " of ", "N"),
        ("messages    handled ", ",", "N"),
        ("received    json ", "", "N"),
        ("plan ", "  ", "DIGEST8"),
        ("rollback ", "  from", "DIGEST"),
        (" --plan ", " ", "PLAN8"),
        ("in process ", "", "PID"),
    ];
    let mut line = line.to_owned();
    for (before, after, word) in fields {
        let Some(start) = line.find(before).map(|at| at + before.len()) else { continue };
        if word == "PLAN8" && !is_hex(line[start..].get(..8).unwrap_or("-")) {
            continue;
        }
        if word == "DIGEST8" && (before.len() != start || !is_hex(line[start..].get(..8).unwrap_or("-"))) {
            continue;
        }
        let length = if after.is_empty() { Some(line.len() - start) } else { line[start..].find(after) };
        if let Some(length) = length {
            line.replace_range(start..start + length, word);
        }
    }
    for key in [
        "pid",
        "uptime_ms",
        "memory_used_bytes",
        "memory_budget_bytes",
        "maps_used",
        "maps_max",
        "threads_used",
        "threads_max",
        "most",
        "took_us",
        "ended_ms_ago",
        "cause",
        "done",
        "since_ms",
        "memory_bytes",
        "handled",
        "accepted",
        "waiting_bytes",
        "asked",
        "answered",
        "open",
        "received",
        "number",
        "ms",
        "time_ms",
        "unix_ms",
        "used",
    ] {
        for quote in ["\"", ""] {
            let lead = format!("{quote}{key}{quote}: ");
            let at = line.trim_start().starts_with(&lead).then(|| line.find(&lead)).flatten();
            if let Some(at) = at.map(|at| at + lead.len()) {
                let comma = if line.ends_with(',') { "," } else { "" };
                if line[at..].starts_with(|c: char| c.is_ascii_digit() || key == "cause") {
                    line = format!("{}N{comma}", &line[..at]);
                }
            }
        }
    }
    line
}

#[test]
fn help_of_every_command() {
    let world = World::new();
    let mut text = shown(&world, &["--help"]);
    for command in COMMANDS {
        text.push_str(&format!("\n{}", shown(&world, &[command, "--help"])));
    }
    check("help.txt", &text);
    check(
        "command-line-errors.txt",
        &[
            &[][..],
            &["instal"],
            &["run", "a", "b"],
            &["--output", "xml", "list"],
            &["logs"],
            &["logs", "../x"],
            &["logs", "x", "--level", "loud"],
            &["logs", "x", "--tail", "-1"],
        ]
        .map(|arguments| shown(&world, arguments))
        .join("\n"),
    );
}

#[test]
fn nothing_there_yet() {
    let world = World::new();
    let all = [
        &["list"][..],
        &["status"],
        &["status", "x"],
        &["logs", "x"],
        &["plan"],
        &["validate"],
        &["verify"],
        &["sign"],
    ];
    check("nothing-there.txt", &all.map(|arguments| shown(&world, arguments)).join("\n"));
}

#[test]
fn the_example_system_planned_without_and_with_a_policy() {
    let world = example_world();
    check("plan-without-a-policy.txt", &shown(&world, &["plan", "examples/desired-state"]));
    let with_policy = ["plan", "examples/desired-state", "--trust", "examples/trust.toml"];
    check("plan-example.txt", &shown(&world, &with_policy));
    check("validate-example.txt", &shown(&world, &["validate", "examples/desired-state"]));
}

/// `good` at its newest, `held` whose update does not start, `blocked` whose update asks for more.
fn mixed_world() -> World {
    let world = World::new();
    for directory in ["good", "held", "blocked"] {
        world.publish(directory, &release("1.0.0", 1, &idle("1")));
        world.desire(directory, "test:idle", directory, "");
    }
    let output = world.on_desired("apply", &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    world.publish("held", &release("1.1.0", 2, &refuses_in_init("2")));
    let more = "[permissions]\nsend = [\"good\"]";
    world.publish("blocked", &Release { more, ..release("1.2.0", 3, &idle("3")) });
    world.desire_text("off", &format!("enabled = false\n{}", desired_text("test:idle", "good", "")));
    world
}

#[test]
fn a_saved_plan_and_what_it_says_when_an_input_has_moved() {
    let world = mixed_world();
    let trust = world.trust().to_string_lossy().into_owned();
    let plan = ["plan", "desired", "--trust", &trust, "--out", "saved.json"];
    let apply = ["apply", "saved.json", "--trust", &trust];
    let mut text = shown(&world, &plan);
    world.publish("held", &release("1.2.0", 4, &idle("4")));
    world.desire_text("off", "package = \n");
    text.push_str(&format!("\n{}", shown(&world, &apply)));
    rename_into_place(&world.path().join("saved.json"), b"{\n  \"$type\": \"airssys-wasm/saved-plan/v1\",\n");
    text.push_str(&format!("\n{}", shown(&world, &apply)));
    rename_into_place(&world.path().join("saved.json"), b"{\n  \"$type\": \"airssys-wasm/saved-plan/v9\",\n");
    text.push_str(&format!("\n{}", shown(&world, &apply)));
    rename_into_place(&world.path().join("saved.json"), b"[publisher.acme]\n");
    text.push_str(&format!("\n{}\n{}", shown(&world, &apply), shown(&world, &plan)));
    check("saved-plan.txt", &text);
}

#[test]
fn list_status_and_plan_of_a_running_and_of_a_stopped_host() {
    let world = mixed_world();
    // Older than what may still be written: else the host says first that it waits for it.
    std::thread::sleep(Duration::from_millis(300));
    let mut host = world.run();
    host.wait_for(&["held", "  held: "]);
    let deadline = Instant::now() + PATIENCE;
    while !["held-target", "permission-withheld"].iter().all(|code| world.status().to_string().contains(code)) {
        assert!(Instant::now() < deadline, "{:#}", world.status());
    }
    let both = |arguments: &[&str]| shown(&world, arguments);
    check("list.txt", &[both(&["list"]), both(&["list", "--output", "json"])].join("\n"));
    check("status.txt", &[both(&["status"]), both(&["status", "held"]), both(&["status", "nobody"])].join("\n"));
    check("status.json.txt", &both(&["status", "--output", "json"]));
    check("status.yaml.txt", &both(&["status", "--output", "yaml"]));
    let trust = world.trust().to_string_lossy().into_owned();
    check("plan-mixed.txt", &both(&["plan", "desired", "--trust", &trust]));
    let second = ["run", "apply"].map(|command| both(&[command, "desired", "--trust", &trust])).join("\n");
    check("second-host.txt", &second.replace(&host.pid().to_string(), "PID"));
    let told = normalised(&world, &host.told());
    check("run.txt", &without_times(&told));
    assert!(host.stop().success());
    check("status-without-host.txt", &[both(&["list"]), both(&["status"])].join("\n"));
}

#[test]
fn sync_pause_and_resume_of_a_running_host() {
    let world = mixed_world();
    std::thread::sleep(Duration::from_millis(300));
    let mut host = world.run();
    host.wait_for(&["held", "  held: "]);
    let mut text = String::new();
    for arguments in [
        &["sync"][..],
        &["sync", "--no-wait", "--exit-zero"],
        &["pause", "good"],
        &["pause"],
        &["resume"],
        &["resume", "good"],
        &["resume", "good"],
        &["pause", "nobody"],
    ] {
        text += &format!("{}\n", shown(&world, arguments));
    }
    check("control.txt", &without_times(&without_moments(&text)));
    assert!(host.stop().success());
}

/// Who paused something, and when.
fn without_moments(text: &str) -> String {
    let cut = |line: &str| match line.split_once(", by ") {
        Some((rest, _)) => format!("{rest}, by USER at TIME\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(cut).collect()
}

/// Cuts the time that ends a line of the host.
fn without_times(told: &str) -> String {
    let cut = |line: &str| match line.rsplit_once("  ") {
        Some((rest, time)) if [" ms", " us", " s"].iter().any(|unit| time.ends_with(unit)) => format!("{rest}  TIME\n"),
        _ => format!("{line}\n"),
    };
    told.lines().map(cut).collect()
}

#[test]
fn info_of_the_example_aggregator_with_and_without_a_host() {
    let world = example_world();
    let run = ["run", "examples/desired-state", "--trust", "examples/trust.toml"];
    let mut host = RunningHost::spawn(world.command(&run));
    host.wait_for(&["converged: 3 of 3 running"]);
    let info = ["info", "aggregator"];
    // The sensor's first reading comes a second after the start.
    let deadline = Instant::now() + PATIENCE;
    while !stdout(&world.output(&["info", "aggregator"])).contains("received") {
        assert!(Instant::now() < deadline, "no reading came");
    }
    let mut text = shown(&world, &info);
    text.push_str(&format!("\n{}", shown(&world, &["info", "aggregator", "--output", "json"])));
    text.push_str(&format!("\n{}", shown(&world, &["info", "aggregator", "--output", "yaml"])));
    assert!(host.stop().success());
    text.push_str(&format!("\n{}", shown(&world, &info)));
    text.push_str(&format!("\n{}", shown(&world, &["info", "nobody"])));
    check("info.txt", &text);
}

#[test]
fn validate_tells_every_problem_of_every_file() {
    let world = World::new();
    for (name, text) in [
        ("cut", "package = \"test:idle"),
        ("twice-a", "name = \"twice\"\npackage = \"test:idle\"\n[source.file]\npath = \"x\"\n"),
        ("twice-b", "name = \"twice\"\npackage = \"test:idle\"\n[source.file]\npath = \"x\"\n"),
        ("typos", "pakcage = \"test:idle\"\n[sorce.file]\npath = \"x\"\n[limits]\nmemory = 64\n"),
    ] {
        world.desire_text(name, text);
    }
    world.desire("good", "test:idle", "idle", "");
    check(
        "validate-problems.txt",
        &[shown(&world, &["validate", "desired"]), shown(&world, &["validate", "desired", "--output", "json"])]
            .join("\n"),
    );
}

#[test]
fn what_keeps_a_host_from_starting_and_what_to_do_about_it() {
    let world = World::new();
    let mut text = String::new();
    let mut add = |what: &str, shown: String| text.push_str(&format!("# {what}\n{shown}\n"));
    add("a policy that is named and not there", shown(&world, &["run", "desired", "--trust", "no.toml"]));
    rename_into_place(&world.path().join("bad.toml"), b"schema = 1\n[publisher.acme]\nkey = \"x\"\n");
    add("a policy that is not valid", shown(&world, &["run", "desired", "--trust", "bad.toml"]));
    std::fs::create_dir_all(world.home()).expect("made");
    rename_into_place(&world.home().join("config.toml"), b"desird = \"x\"\n");
    add("a setting that there is not", shown(&world, &["run"]));
    rename_into_place(&world.home().join("config.toml"), b"desired = \n");
    add("settings that are torn", shown(&world, &["status"]));
    add("settings that are torn, for a run", shown(&world, &["run"]));
    std::fs::remove_file(world.home().join("config.toml")).expect("removed");
    let file = world.path().join("file");
    std::fs::write(&file, "").expect("written");
    add("a home that is a file", shown(&world, &["--home", "file", "run", "desired"]));
    let odd = world.path().join("odd");
    make_world_writable(&odd);
    add("a home that everybody may write", shown(&world, &["--home", "odd", "run", "desired"]));
    check("start-errors.txt", &text);
}

fn make_world_writable(path: &PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir(path).expect("made");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("mode set");
}

#[test]
fn logs_in_all_forms() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    let output = world.on_desired("apply", &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let seen = [&["logs", "one"][..], &["logs", "nobody"], &["logs", "one", "--output", "json"]];
    check("logs-empty.txt", &seen.map(|arguments| shown(&world, arguments)).join("\n"));
    // Lines as the host writes them, with times that do not change.
    let line = |second: u32, level: &str, source: &str, rest: &str| {
        format!(
            "{{\"ts\":\"2026-01-02T03:04:{second:02}.678Z\",\"level\":\"{level}\",\"source\":\"{source}\",\"instance\":1,{rest}}}\n"
        )
    };
    let text = [
        line(1, "info", "host", "\"message\":\"started\""),
        line(2, "trace", "guest", "\"message\":\"a step\""),
        line(3, "debug", "guest", "\"message\":\"größe 大きい\""),
        line(4, "info", "guest", "\"message\":\"23.5 C\""),
        line(5, "warn", "guest", "\"message\":\"\\u001b[2J\\u202eno clean screen\\nand no second line\""),
        line(6, "error", "guest", "\"cut\":true,\"message\":\"very long\""),
    ];
    std::fs::write(world.home().join("logs/one.log"), text.concat()).expect("written");
    let seen = [
        &["logs", "one"][..],
        &["logs", "one", "--tail", "2"],
        &["logs", "one", "--level", "warn"],
        &["logs", "one", "--tail", "2", "--output", "json"],
        &["logs", "one", "--tail", "2", "--output", "yaml"],
    ];
    check("logs.txt", &seen.map(|arguments| shown(&world, arguments)).join("\n"));
}
