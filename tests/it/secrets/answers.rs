//! The same search over every answer of the socket and of the commands, and after everything crashed that can: a
//! component that tells its config with its last words, the worker that holds a password, and the host.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;

use super::{IN_ENV, IN_FILE, PRINTED, config, hits, in_environment, private, release, run, tells_nothing, world};
use crate::control::{get, post};
use crate::harness::{World, stderr, stdout};
use crate::remote::{silent_listener, until};
use crate::test_guest::TestGuest;

/// What the settings of the host hold for a remote one.
const PASSWORD: &str = "canary-of-a-remote-host-2f64";

/// Keeps its config, tells it to its log with every message, and as the error of its answer; traps at an empty one.
fn teller() -> Vec<u8> {
    TestGuest::new()
        .functions("(global $kept (mut i32) (i32.const 0))")
        .init(
            "(memory.copy (i32.const 40000) (local.get $ptr) (local.get $len))
             (global.set $kept (local.get $len)) (call $init_ok)",
        )
        .handle(
            "(call $log (i32.const 40000) (global.get $kept))
             (if (i32.eqz (local.get $len)) (then unreachable))
             (call $error (i32.const 40000) (global.get $kept))",
        )
        .wasm()
}

/// A world in which the teller, and a component from a server that takes a password and says nothing, are wanted.
fn everything() -> (World, impl Fn() -> usize) {
    let world = world();
    let (port, open, _) = silent_listener();
    private(&world.path().join("password"), PASSWORD);
    let rules = std::fs::read_to_string(world.home().join("config.toml")).expect("settings");
    let place = world.path().display();
    let door = format!("[credentials.\"127.0.0.1:{port}\"]\nuser = \"u\"\npassword-file = \"{place}/password\"\n");
    private(&world.home().join("config.toml"), &format!("{rules}\n{door}"));
    world.publish("teller", &release("1.0.0", 1, &teller()));
    world.desire("teller", "test:keeper", "teller", &config(&world));
    let url = format!("http://127.0.0.1:{port}/Component.toml");
    world.desire_text("remote", &format!("package = \"test:keeper\"\n[source.url]\nurl = \"{url}\"\n"));
    (world, move || open.load(Ordering::SeqCst))
}

#[track_caller]
fn holds_none(what: &str, text: &str) {
    for canary in [IN_FILE, IN_ENV, PRINTED, PASSWORD] {
        assert!(!text.contains(canary), "{canary} in {what}:\n{text}");
    }
}

/// Every answer that the socket gives.
fn ask_everything(world: &World) {
    let paths = ["status", "info/teller", "info/remote", "logs/teller", "dead-letters", "dead-letters/1", "nothing"];
    for path in paths.map(|path| format!("/v1/{path}")) {
        let answer = crate::control::raw(
            world,
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
        holds_none(&path, &answer);
    }
    assert_eq!(get(world, "/v1/status").0, 200);
    for path in ["/v1/plan", "/v1/sync", "/v1/apply", "/v1/gc", "/v1/pause", "/v1/resume", "/v1/call/teller"] {
        let (status, body) = post(world, path, "{}");
        holds_none(path, &format!("{status} {body}"));
    }
}

/// Every command that shows something.
fn run_everything(world: &World) {
    let trust = world.trust().to_string_lossy().into_owned();
    for format in ["text", "json", "yaml"] {
        for arguments in [
            &["status"][..],
            &["list"],
            &["info", "teller"],
            &["why", "teller"],
            &["history"],
            &["history", "teller"],
            &["dead-letters", "list"],
            &["export"],
            &["rollback", "--dry-run", "--trust", &trust],
            &["gc"],
            &["fsck", "--trust", &trust],
        ] {
            let output = in_environment(world, &[arguments, &["--output", format]].concat()).output().expect("runs");
            tells_nothing(&output);
            holds_none(&arguments.join(" "), &format!("{}{}", stdout(&output), stderr(&output)));
        }
    }
    for format in ["text", "json", "yaml", "markdown"] {
        for out in [&[][..], &["--out", "saved-plan"]] {
            let plan = super::on_desired(world, "plan", &[&["--offline", "--output", format], out].concat());
            holds_none("plan", &format!("{}{}", stdout(&plan), stderr(&plan)));
        }
    }
    // What a plan says of a machine that has neither the state nor the secrets.
    assert!(in_environment(world, &["export", "--out", "exported"]).status().expect("runs").success());
    let against = super::on_desired(world, "plan", &["--offline", "--against", "exported"]);
    holds_none("plan --against", &format!("{}{}", stdout(&against), stderr(&against)));
    for arguments in [&["logs", "teller"][..], &["call", "teller", "x"], &["call", "teller"]] {
        let output = in_environment(world, arguments).output().expect("runs");
        holds_none(&arguments.join(" "), &format!("{}{}", stdout(&output), stderr(&output)));
    }
}

/// Every message that died: what it held, and why it died.
fn show_dead_letters(world: &World) -> usize {
    let listed = in_environment(world, &["dead-letters", "list", "--output", "json"]).output().expect("runs");
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let letters = listed["letters"].as_array().expect("an array");
    for letter in letters {
        let id = letter["id"].to_string();
        for format in ["text", "json"] {
            let shown =
                in_environment(world, &["dead-letters", "show", &id, "--output", format]).output().expect("runs");
            assert!(shown.status.success(), "{}", stderr(&shown));
            holds_none("a dead letter", &stdout(&shown));
        }
    }
    letters.len()
}

/// The worker of this world's host that fetches: a process whose parent has the world's path among its arguments.
fn worker_of(world: &World) -> Option<u32> {
    let read = |pid: u32, file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let desired = world.desired().to_string_lossy().into_owned();
    let pids = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| read(*pid, "cmdline").contains("airssys-wasm\0worker\0")).find(|pid| {
        let status = read(*pid, "status");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        parent.is_some_and(|parent| read(parent, "cmdline").contains(&desired))
    })
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().expect("kill runs").success());
}

#[test]
fn t25_no_secret_shows_in_any_answer_nor_when_component_worker_and_host_crash() {
    let (world, open) = everything();
    let log = world.path().join("host-output");
    let mut host = run(&world, &log);
    host.wait_for(&["teller", "installed"]);
    until("the fetch", || open() == 1);
    ask_everything(&world);
    run_everything(&world);
    // The component told its config by every way, and each has something in its place.
    let refused = world.output(&["call", "teller", "x"]);
    assert!(stderr(&refused).contains("***"), "{}", stderr(&refused));
    let crashed = world.output(&["call", "teller"]);
    assert_eq!(crashed.status.code(), Some(24), "{}", stderr(&crashed));
    host.wait_for(&["teller", "crashed"]);
    assert!(stdout(&world.output(&["logs", "teller"])).contains("***"));

    assert!(show_dead_letters(&world) > 0, "the message that made it crash died with it");

    // The worker that was told the password dies with it.
    until("a worker", || worker_of(&world).is_some());
    signal("ABRT", worker_of(&world).expect("it waits for an answer that never comes"));
    until("what is told of it", || stdout(&world.output(&["status", "remote"])).contains("worker-crashed"));
    ask_everything(&world);
    run_everything(&world);
    let output = super::on_desired(&world, "plan", &["--offline", "--output", "json"]);
    holds_none("plan", &format!("{}{}", stdout(&output), stderr(&output)));

    // And so does the host, while it holds all of them.
    let holder = host_of(&world).expect("a host");
    signal("ABRT", holder);
    until("its end", || host_of(&world).is_none());
    run_everything(&world);
    let allowed = ["token", "password"].map(|name| world.path().join(name));
    let allowed: Vec<PathBuf> = allowed.into();
    assert_eq!(hits(world.path(), &allowed), Vec::<String>::new());
    for (path, (_, bytes)) in crate::harness::tree(world.path()) {
        let is_there = bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
        assert!(!is_there || path.ends_with("password"), "the password is in {}", path.display());
    }
}

/// The host of this world, if it runs.
fn host_of(world: &World) -> Option<u32> {
    let desired = world.desired().to_string_lossy().into_owned();
    let pids = std::fs::read_dir("/proc").ok()?.flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| {
        let cmdline = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = cmdline.split('\0');
        words.next().is_some_and(|program| program.ends_with("/airssys-wasm"))
            && words.next() == Some("run")
            && cmdline.contains(&desired)
    })
}
