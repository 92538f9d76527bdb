//! The control socket of the real binary: requests to the loop, and clients that mean harm.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::components::idle;
use crate::harness::{PATIENCE, Release, RunningHost, World, stderr, stdout};
use crate::test_guest::TestGuest;

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

/// A running host with `one` installed.
fn world_with_one() -> (World, RunningHost) {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1"]);
    (world, host)
}

fn connect(world: &World) -> UnixStream {
    let stream = UnixStream::connect(world.home().join("run/host.sock")).expect("the host listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// Sends bytes as they are and reads until the host closes.
pub fn raw(world: &World, bytes: &[u8]) -> String {
    let mut stream = connect(world);
    // A host that refuses early may close before everything is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn post(world: &World, path: &str, body: &str) -> (u16, serde_json::Value) {
    let length = body.len();
    parse(&raw(
        world,
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    ))
}

pub fn get(world: &World, path: &str) -> (u16, serde_json::Value) {
    parse(&raw(world, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()))
}

#[track_caller]
fn parse(answer: &str) -> (u16, serde_json::Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {answer:?}")))
}

#[track_caller]
fn ok(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
    stdout(output)
}

#[test]
fn a_paused_component_stays_as_it_is_over_a_restart_until_it_is_resumed() {
    let (world, mut host) = world_with_one();
    let told = ok(&world.output(&["pause", "one"]));
    assert!(told.starts_with("paused   one, by "), "{told}");
    host.wait_for(&["one paused by"]);
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    // Seen, and not carried out: `sync` returns after a pass that looked at the new release.
    let left = world.output(&["sync"]);
    assert_eq!(left.status.code(), Some(12), "{}", stdout(&left));
    assert!(stdout(&left).contains("`airssys-wasm resume one` lifts it"), "{}", stdout(&left));
    assert_eq!(world.committed()["one"], "1.0.0");
    let plan = world.on_desired("plan", &[]);
    assert_eq!(plan.status.code(), Some(12), "{}", stdout(&plan));
    assert!(stdout(&plan).contains("one is paused by"), "{}", stdout(&plan));
    assert!(host.stop().success());
    let status = stdout(&world.output(&["status"]));
    assert!(status.contains("  paused      by "), "{status}");

    let mut host = world.run();
    host.wait_for(&["one", "held", "paused"]);
    assert_eq!(world.committed()["one"], "1.0.0");
    ok(&world.output(&["resume", "one"]));
    host.wait_for(&["one", "updated", "1.0.0 -> 1.1.0"]);
    assert!(!world.home().join("state/paused").exists());
    assert!(host.stop().success());
}

#[test]
fn while_everything_is_paused_nothing_is_installed_updated_or_removed_and_what_runs_goes_on() {
    let (world, mut host) = world_with_one();
    ok(&world.output(&["pause"]));
    world.desire("two", "test:idle", "idle", "");
    std::fs::remove_file(world.desired().join("one.toml")).expect("removed");
    let left = world.output(&["sync"]);
    assert_eq!(left.status.code(), Some(12));
    assert_eq!(world.committed().into_keys().collect::<Vec<_>>(), ["one"]);
    let status = world.status();
    assert!(status["paused"]["by"].is_string(), "{status:#}");
    assert_eq!(status["components"][0]["state"], "running", "{status:#}");
    ok(&world.output(&["resume"]));
    host.wait_for(&["two", "installed"]);
    host.wait_for(&["one", "uninstalled"]);
    assert!(host.stop().success());
}

#[test]
fn a_damaged_pause_file_pauses_everything_and_resume_writes_it_anew() {
    let (world, host) = world_with_one();
    ok(&world.output(&["pause", "one"]));
    assert!(host.stop().success());
    std::fs::write(world.home().join("state/paused"), "airssys-paused 1\ngarbage").expect("written");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1"]);
    world.desire("two", "test:idle", "idle", "");
    host.wait_for(&["two", "held", "everything is paused"]);
    ok(&world.output(&["resume"]));
    host.wait_for(&["two", "installed"]);
    assert!(host.stop().success());
}

#[test]
fn names_that_there_are_not_and_hosts_that_there_are_not_are_refused_by_name() {
    let (world, host) = world_with_one();
    for command in ["pause", "resume"] {
        let output = world.output(&[command, "nobody"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("there is no installation named nobody"), "{}", stderr(&output));
        let output = world.output(&[command, "../x"]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
    assert!(host.stop().success());
    for command in [&["sync"][..], &["pause"]] {
        let output = world.output(command);
        assert_eq!(output.status.code(), Some(4));
        assert!(stderr(&output).contains("no host is running"), "{}", stderr(&output));
    }
    // What holds something back can be lifted without a host.
    assert_eq!(world.output(&["resume", "one"]).status.code(), Some(0));
    assert_eq!(world.output(&["resume", "nobody"]).status.code(), Some(1));
}

#[test]
fn sync_looks_at_a_source_that_no_event_told_of_and_says_what_it_did() {
    let (world, host) = world_with_one();
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    let pass = world.output(&["sync", "--output", "json"]);
    let pass: serde_json::Value = serde_json::from_str(&ok(&pass)).expect("JSON");
    assert_eq!(pass["$type"], "airssys-wasm/pass/v1", "{pass:#}");
    assert_eq!(pass["exit_code"], 0, "{pass:#}");
    assert_eq!(world.committed()["one"], "1.1.0");
    let (status, plan) = post(&world, "/v1/plan", "");
    assert_eq!((status, &plan["$type"], &plan["exit_code"]), (200, &"airssys-wasm/plan/v1".into(), &0.into()));
    let (status, pass) = post(&world, "/v1/apply", "{}");
    assert_eq!((status, &pass["exit_code"]), (200, &0.into()), "{pass:#}");
    assert!(host.stop().success());
}

#[test]
fn hostile_requests_get_a_typed_error_and_the_host_goes_on() {
    let (world, host) = world_with_one();
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    let cases = [
        (post(&world, "/v1/pause", &large), 413, "body-too-large"),
        (post(&world, "/v1/pause", "{\"name\":"), 400, "malformed-body"),
        (post(&world, "/v1/pause", "{\"nme\":\"one\"}"), 400, "malformed-body"),
        (post(&world, "/v1/pause", "[]"), 400, "malformed-body"),
        (post(&world, "/v1/pause", "{\"name\":\"../../x\"}"), 400, "no-name"),
        (post(&world, "/v1/pause", "{\"name\":\"nobody\"}"), 404, "no-such-installation"),
        (post(&world, "/v1/sync", "{\"now\":true}"), 400, "malformed-body"),
        (post(&world, "/v2/sync", ""), 404, "unknown-path"),
        (get(&world, "/"), 404, "unknown-path"),
        (get(&world, "/v1/sync"), 405, "wrong-method"),
        (post(&world, "/v1/status", ""), 405, "wrong-method"),
        (get(&world, "/v1/logs/..%2f..%2fx"), 400, "no-name"),
        (get(&world, "/v1/logs/one?%1b[2J=1"), 400, "malformed-query"),
        (get(&world, "/v1/dead-letters?tail=-1"), 400, "malformed-query"),
        (get(&world, "/v1/info/%ff"), 400, "malformed-path"),
    ];
    for ((status, body), wanted, code) in cases {
        assert_eq!((status, &body["code"]), (wanted, &code.into()), "{body:#}");
        assert_eq!(body["$type"], "airssys-wasm/error/v1");
        assert!(body["message"].as_str().is_some_and(|text| !text.contains('\u{1b}')), "{body:#}");
    }
    for garbage in [&b"\x16\x03\x01\x00garbage\r\n\r\n"[..], b"GET\r\n\r\n", &[b'x'; 1 << 20]] {
        raw(&world, garbage);
    }
    assert!(world.output(&["status"]).status.success());
    assert!(host.stop().success());
}

#[test]
fn clients_that_send_nothing_hold_up_neither_the_loop_nor_other_clients() {
    let (world, mut host) = world_with_one();
    // Silent, half a head, half a body: each keeps a connection open and nothing else.
    let half_body = b"POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"na";
    let slow: Vec<UnixStream> = [&b""[..], b"GET /v1/st", half_body]
        .into_iter()
        .cycle()
        .take(30)
        .map(|bytes| {
            let mut stream = connect(&world);
            stream.write_all(bytes).expect("sent");
            stream
        })
        .collect();
    assert!(world.output(&["status"]).status.success());
    world.desire("two", "test:idle", "idle", "");
    host.wait_for(&["two", "installed"]);
    ok(&world.output(&["sync"]));
    // The host gives each of them up in time, the half body with a typed error.
    let begun = Instant::now();
    let mut errors = 0;
    for mut stream in slow {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        errors += usize::from(String::from_utf8_lossy(&answer).contains("body-too-slow"));
    }
    assert_eq!(errors, 10);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(host.stop().success());
}

/// A client that follows a log and read what there is of it. The byte behind its request is one that nobody asks for.
fn follower(world: &World) -> UnixStream {
    let mut stream = connect(world);
    stream.write_all(b"GET /v1/logs/one?follow=true HTTP/1.1\r\nHost: x\r\n\r\nx").expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream.set_nonblocking(true).expect("set");
    let _ = stream.read_to_end(&mut Vec::new());
    stream
}

#[test]
fn followers_of_a_log_that_go_away_keep_no_place() {
    let (world, host) = world_with_one();
    for _ in 0..2 {
        // Every place there is: the second time, those of the first time must be free again.
        let followers: Vec<UnixStream> =
            (0..airssys_wasm::control::MAX_CONNECTIONS).map(|_| follower(&world)).collect();
        drop(followers);
    }
    assert!(world.output(&["status"]).status.success());
    assert!(host.stop().success());
}

#[test]
fn two_clients_at_once_are_both_answered_and_one_pass_may_answer_both() {
    let (world, host) = world_with_one();
    let answers: Vec<serde_json::Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..20).map(|_| scope.spawn(|| post(&world, "/v1/sync", "{}"))).collect();
        asked
            .into_iter()
            .map(|asked| asked.join().expect("answered"))
            .map(|(status, pass)| {
                assert_eq!(status, 200, "{pass:#}");
                pass["pass"]["number"].clone()
            })
            .collect()
    });
    assert_eq!(answers.len(), 20);
    assert!(answers.iter().all(serde_json::Value::is_u64));
    assert!(host.stop().success());
}

/// Answers with the name of the operation; knows none without an input, and can't use one that begins with an `n`.
const OPERATES: &str = r#"
    (if (i32.eqz (local.get $len)) (then (return (call $undone (i32.const 0) (i32.const 0) (i32.const 0)))))
    (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 110))
      (then (return (call $undone (i32.const 1) (local.get $ptr) (local.get $len)))))
    (call $done (i32.const 0) (local.get $name) (local.get $name_len))"#;

#[test]
fn call_prints_the_reply_and_every_way_to_fail_has_its_exit_code() {
    let world = World::new();
    let echo = "(call $ok_some (local.get $ptr) (local.get $len))";
    let guests = [
        ("echo", TestGuest::new().handle(echo), "message = \"1KiB\""),
        ("silent", TestGuest::new(), ""),
        ("refuses", TestGuest::new().handle("(call $error @\"no \\1b[2J thanks\")"), ""),
        ("crashes", TestGuest::new().handle("unreachable"), ""),
        ("operates", TestGuest::new().without_handler().operations(OPERATES), ""),
        ("slow", TestGuest::new().handle("(loop $l (br $l)) unreachable"), "call = \"2s\"\nmailbox = 1"),
    ];
    for (name, guest, limits) in &guests {
        world.publish(
            name,
            &Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm: &guest.wasm() },
        );
        world.desire(name, "test:idle", name, &format!("[limits]\n{limits}\n"));
    }
    let mut host = world.run();
    host.wait_for(&["converged: 6 of 6"]);
    let call = |arguments: &[&str]| world.output(&[&["call"], arguments].concat());
    assert_eq!(ok(&call(&["echo", "hello"])), "hello");
    std::fs::write(world.path().join("payload"), b"\0\xff bytes").expect("written");
    assert_eq!(call(&["echo", "--file", "payload"]).stdout, b"\0\xff bytes");
    let mut child = world.command(&["call", "echo", "-"]);
    child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = child.spawn().expect("spawned");
    child.stdin.take().expect("piped").write_all(b"from stdin").expect("written");
    assert_eq!(child.wait_with_output().expect("ended").stdout, b"from stdin");
    assert_eq!(ok(&call(&["silent"])), "");
    let document = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&ok(&call(&[arguments, &["--output", "json"]].concat()))).expect("JSON")
    };
    // The echo answers with bytes of which it says nothing, whatever it was asked in.
    let reply = serde_json::json!({ "codec": "raw", "text": "[]" });
    assert_eq!(document(&["echo", "--codec", "json", "[]"])["reply"], reply);
    let reply = serde_json::json!({ "codec": "raw", "hex": "00ff206279746573" });
    assert_eq!(document(&["echo", "--file", "payload"])["reply"], reply);
    assert_eq!(document(&["silent"]), serde_json::json!({ "$type": "airssys-wasm/call-reply/v1" }));

    let name = "reset/é?a=b&c d";
    assert_eq!(ok(&call(&["operates", "--operation", name, "x"])), name);
    let reply = serde_json::json!({ "codec": "raw", "text": "up" });
    assert_eq!(document(&["operates", "x", "--operation", "up"])["reply"], reply);

    let large = "x".repeat(2_000);
    std::fs::write(world.path().join("huge"), vec![b'x'; (1 << 20) + 1]).expect("written");
    let cases = [
        (&["nobody", "x"][..], 20, "there is no installation named nobody"),
        (&["echo", &large], 7, "larger than the 1024 bytes"),
        (&["echo", "--file", "huge"], 7, "larger than 1048576 bytes"),
        (&["refuses", "x"], 23, "no \\u{1b}[2J thanks"),
        (&["crashes", "x"], 24, "it crashed"),
        (&["operates", "x"], 7, "it takes no messages"),
        (&["echo", "x", "--operation", "up"], 7, "it has no operations"),
        (&["operates", "--operation", "up"], 23, "it has no operation of this name"),
        (&["operates", "no", "--operation", "up"], 23, "it can't use the input: no"),
        (&["operates", "x", "--operation", "a\u{1b}b"], 2, "it has a control character"),
        (&["nobody", "x", "--operation", "up"], 20, "there is no installation named nobody"),
        (&["slow", "x", "--timeout", "100ms"], 22, "did not answer in time"),
        (&["../x", "x"], 2, "no installation's name"),
        (&["echo", "x", "--codec", "jsn"], 2, "it is no codec; there are raw, json"),
        (&["echo", "x", "--timeout", "0ms"], 2, "--timeout must be between"),
    ];
    for (arguments, code, text) in cases {
        let output = call(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(text), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
    // One in hand, one in the mailbox of one place: the next is refused.
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(|| call(&["slow", "x", "--timeout", "500ms"]))).collect();
        calls.into_iter().map(|call| call.join().expect("ended").status.code()).collect()
    });
    assert!(outputs.contains(&Some(21)), "{outputs:?}");
    assert!(outputs.iter().all(|code| matches!(code, Some(21 | 22 | 20 | 24))), "{outputs:?}");
    let (status, body) = post(&world, "/v1/call/echo?timeout_ms=999999999", "x");
    assert_eq!((status, &body["code"]), (400, &"timeout-out-of-range".into()));
    assert!(host.stop().success());
    assert_eq!(call(&["echo", "x"]).status.code(), Some(4));
}

#[test]
fn the_completion_scripts_know_every_command_and_bash_takes_its_own() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = ok(&world.output(&["completions", shell]));
        for word in ["history", "from-git", "no-wait", "exit-zero"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let refused = world.output(&["completions", "powershell"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    let script = ok(&world.output(&["completions", "bash"]));
    let ask = format!(
        "{script}\nCOMP_WORDS=(airssys-wasm his)\nCOMP_CWORD=1\nfunction=$(complete -p airssys-wasm | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n$function airssys-wasm his airssys-wasm\necho \"${{COMPREPLY[*]}}\""
    );
    let bash = std::process::Command::new("/bin/bash").args(["-c", &ask]).output().expect("bash runs");
    assert_eq!(stdout(&bash).trim(), "history", "{}", stderr(&bash));
}

#[test]
fn a_hangup_tells_that_changed_settings_wait_for_a_restart() {
    let (world, mut host) = world_with_one();
    let hang_up = |host: &RunningHost| {
        let pid = rustix::process::Pid::from_raw(i32::try_from(host.pid()).expect("fits")).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("signalled");
    };
    let config = world.home().join("config.toml");
    crate::harness::rename_into_place(&config, b"[state]\nkeep-days = 3\n");
    hang_up(&host);
    host.wait_for(&["config.toml changed; restart to use it"]);
    crate::harness::rename_into_place(&config, b"[state]\nkeep-dys = 3\n");
    hang_up(&host);
    host.wait_for(&["is not valid"]);
    host.wait_for(&["the settings of the start stay in force"]);
    assert!(host.stop().success());
}

#[test]
fn a_limit_above_the_budget_of_the_host_is_blocked_before_anything_starts_and_status_shows_the_room() {
    let world = World::new();
    std::fs::create_dir_all(world.home()).expect("made");
    std::fs::set_permissions(world.home(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("set");
    std::fs::write(world.home().join("config.toml"), "[host]\nmemory = \"128MiB\"\novercommit = false\n")
        .expect("written");
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    for name in ["a", "b", "c"] {
        world.desire(name, "test:idle", "idle", "");
    }
    let plan = world.on_desired("plan", &[]);
    assert_eq!(plan.status.code(), Some(12), "{}", stdout(&plan));
    assert!(stdout(&plan).contains("its limit of 64MiB does not fit: 128MiB of 128MiB are promised to 2 others"));
    let mut host = world.run();
    host.wait_for(&["c", "blocked", "does not fit"]);
    // What is blocked is told before the rest is committed.
    host.wait_for(&["settled: 2 of"]);
    assert_eq!(world.committed().into_keys().collect::<Vec<_>>(), ["a", "b"]);
    let text = ok(&world.output(&["status"]));
    assert!(text.contains(" of 128MiB for instances; promised 2 x 64MiB") && text.contains("maps        "), "{text}");
    std::fs::remove_file(world.desired().join("a.toml")).expect("removed");
    host.wait_for(&["c", "installed"]);
    assert!(host.stop().success());
}

#[test]
fn a_message_that_failed_is_listed_shown_and_sent_again() {
    let world = World::new();
    let refuses = TestGuest::new().handle(r#"(call $error @"not today")"#).wasm();
    world.publish("idle", &release("1.0.0", 1, &refuses));
    world.desire("one", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1"]);
    assert_eq!(ok(&world.output(&["dead-letters", "list"])), "no message has died since the host started\n");
    assert_eq!(world.output(&["call", "one", "hello"]).status.code(), Some(23));
    let listed = ok(&world.output(&["dead-letters", "list"]));
    assert!(listed.contains("to one from host, 5 bytes of raw, failed: not today\n1 kept of 1 since"), "{listed}");
    let document: serde_json::Value =
        serde_json::from_str(&ok(&world.output(&["dead-letters", "list", "--output", "json"]))).expect("JSON");
    let id = document["letters"][0]["id"].to_string();
    let shown = ok(&world.output(&["dead-letters", "show", &id]));
    assert!(shown.ends_with("\nhello\n"), "{shown}");

    let echo = TestGuest::new().handle("(call $ok_some (local.get $ptr) (local.get $len))").wasm();
    world.publish("idle", &release("1.1.0", 2, &echo));
    ok(&world.output(&["sync"]));
    assert!(ok(&world.output(&["dead-letters", "replay", &id])).starts_with("sent again as message "));
    assert!(ok(&world.output(&["dead-letters", "list"])).starts_with("none kept of 1 since"));
    let gone = world.output(&["dead-letters", "show", &id]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains(&format!("there is no dead letter {id} [no-such-letter]")), "{}", stderr(&gone));
    let (status, refused) = get(&world, "/v1/dead-letters/x");
    assert_eq!((status, refused["code"].as_str()), (400, Some("no-number")));
    assert_eq!(get(&world, &format!("/v1/dead-letters/{}", u64::MAX)).0, 404);
}
