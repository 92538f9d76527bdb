//! What a service manager sees of the real binary: readiness, watchdog, reload, exit codes; and the unit file.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use crate::components::idle;
use crate::harness::{PATIENCE, Release, RunningHost, World};
use crate::test_guest::TestGuest;

/// The receiving end that a service manager would have. It reads all the time: a full queue loses messages.
struct Manager {
    messages: Receiver<String>,
}

impl Manager {
    fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("bound");
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut message = vec![0; 4096];
            while let Ok(length) = socket.recv(&mut message) {
                let text = String::from_utf8(message[..length].to_vec()).expect("UTF-8");
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        Self { messages }
    }

    fn next(&self) -> String {
        self.messages.recv_timeout(PATIENCE).expect("a message came")
    }

    /// The next message with `needle` in it.
    fn wait_for(&self, needle: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.next();
            if message.contains(needle) {
                return message;
            }
            assert!(Instant::now() < deadline, "no message with {needle:?}");
        }
    }
}

fn publish(world: &World, version: &str, sequence: u64) {
    let wasm = idle(version);
    world.publish("idle", &Release { package: "test:idle", version, sequence, more: "", wasm: &wasm });
}

#[test]
fn a_service_manager_hears_ready_status_watchdog_reload_and_stopping() {
    let world = World::new();
    publish(&world, "1.0.0", 1);
    world.desire("one", "test:idle", "idle", "");
    assert!(world.on_desired("apply", &[]).status.success());
    let manager = Manager::new(&world.path().join("notify"));
    let mut paths = Vec::new();
    let mut command = world.command(&world.arguments("run", &mut paths));
    command.env("NOTIFY_SOCKET", world.path().join("notify")).env("WATCHDOG_USEC", "200000");
    let mut host = RunningHost::spawn(command);
    // Not before the first pass: by then everything that is committed is up.
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS=1 of 1 running, generation 1"), "{ready}");
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");

    publish(&world, "1.1.0", 2);
    host.signal("HUP");
    let reloading = manager.wait_for("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    host.wait_for(&["SIGHUP"]);
    manager.wait_for("READY=1");
    host.wait_for(&["one", "updated", "1.0.0 -> 1.1.0"]);
    assert_eq!(world.committed()["one"], "1.1.0");

    host.signal("TERM");
    manager.wait_for("STOPPING=1");
    assert_eq!(host.wait().code(), Some(0));
}

#[test]
fn a_watchdog_for_another_process_and_a_manager_that_is_gone_hold_nothing_up() {
    let world = World::new();
    publish(&world, "1.0.0", 1);
    world.desire("one", "test:idle", "idle", "");
    let mut paths = Vec::new();
    let mut command = world.command(&world.arguments("run", &mut paths));
    command.env("NOTIFY_SOCKET", world.path().join("nobody")).env("WATCHDOG_USEC", "1").env("WATCHDOG_PID", "1");
    let mut host = RunningHost::spawn(command);
    host.wait_for(&["converged: 1 of 1"]);
    host.signal("HUP");
    host.wait_for(&["SIGHUP"]);
    assert!(host.stop().success());
}

#[test]
fn a_host_that_had_to_cut_something_off_says_so_with_its_exit_code() {
    let world = World::new();
    // The first of them takes all the time that there is for both.
    let spins = TestGuest::new().shutdown("(loop $l (br $l))").wasm();
    world.publish("spin", &Release { package: "test:spin", version: "1.0.0", sequence: 1, more: "", wasm: &spins });
    let limits = "[limits]\nstop = \"30s\"\n";
    world.desire("last", "test:spin", "spin", limits);
    let first = crate::harness::desired_text("test:spin", "spin", limits);
    world.desire_text("first", &format!("depends-on = [\"last\"]\n{first}"));
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2"]);
    host.signal("TERM");
    host.wait_for(&["cut off"]);
    assert_eq!(host.wait().code(), Some(13));
}

fn unit_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/airssys-wasm.service")
}

/// Sections, and in each the values of every key.
fn unit() -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let text = std::fs::read_to_string(unit_path()).expect("readable");
    let mut unit: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no key: {line}"));
        unit.entry(section.clone()).or_default().entry(key.to_owned()).or_default().push(value.to_owned());
    }
    unit
}

#[test]
fn the_unit_file_is_hardened_and_leaves_what_host_and_worker_need() {
    let unit = unit();
    let service = &unit["Service"];
    let wanted = [
        ("Type", "notify"),
        ("NoNewPrivileges", "true"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "true"),
        ("PrivateTmp", "true"),
        ("RestrictNamespaces", "true"),
        ("RestrictSUIDSGID", "true"),
        ("SystemCallArchitectures", "native"),
        ("KillMode", "mixed"),
    ];
    for (key, value) in wanted {
        assert_eq!(service.get(key).map(Vec::as_slice), Some(&[value.to_owned()][..]), "{key}");
    }
    // Compiled code is written, then made executable; children are started; limits and Landlock are set.
    assert!(!service.contains_key("MemoryDenyWriteExecute"));
    assert!(!service.contains_key("LimitNPROC") && !service.contains_key("TasksMax"));
    let calls = service["SystemCallFilter"].join(" ");
    for call in ["@system-service", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"] {
        assert!(calls.split(' ').any(|word| word == call), "{call}");
    }
    for family in ["AF_UNIX", "AF_INET", "AF_INET6"] {
        assert!(service["RestrictAddressFamilies"][0].contains(family), "{family}");
    }
    // The state is where the home says, and there is time to stop.
    assert_eq!(service["Environment"], ["AIRSSYS_HOME=/var/lib/airssys"]);
    assert_eq!(service["StateDirectory"], ["airssys"]);
    let stop: u64 = service["TimeoutStopSec"][0].trim_end_matches('s').parse().expect("seconds");
    assert!(stop * 1_000 > airssys_wasm::runtime::STOP_ALL_MS);
    let watchdog: u64 = service["WatchdogSec"][0].trim_end_matches('s').parse().expect("seconds");
    assert!(watchdog * 1_000 > 2 * airssys_wasm::runtime::MAX_QUIET_REST_MS);
}

#[test]
fn systemd_accepts_the_unit_file_and_finds_it_hardened() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is needed");
        println!("not run: needs systemd-analyze");
        return;
    };
    assert!(version.status.success());
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("airssys-wasm.service");
    let text = std::fs::read_to_string(unit_path()).expect("readable");
    let own = text.replace("/usr/local/bin/airssys-wasm", env!("CARGO_BIN_EXE_airssys-wasm"));
    std::fs::write(&copy, own).expect("written");
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output().expect("ran");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success(), "{said}");
    let about_ours = said.lines().filter(|line| line.contains("airssys"));
    assert_eq!(about_ours.collect::<Vec<_>>(), Vec::<&str>::new(), "{said}");
    // 20 stands for an exposure of 2.0 out of 10.
    let security = ["security", "--offline=true", "--threshold=20"];
    let judged = Command::new("systemd-analyze").args(security).arg(&copy).output().expect("ran");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}
