//! A host into which compile bombs are dropped: it answers all the while, and what is good comes up beside them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit};

use crate::bombs;
use crate::components::idle;
use crate::harness::{PATIENCE, Release, RunningHost, World};
use crate::scale;

/// What `status` may take at any time, its own process included.
const STALL: Duration = Duration::from_secs(5);
/// Processor time that is left to a worker: enough for a good component, and the limit of its own would take minutes.
const WORKER_CPU_S: u64 = 1;
/// From one look to the next, so that looking does not take what the workers need.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a bomb may take to its end, its wait for its turn not included.
const A_BOMB: Duration = Duration::from_secs(60);
/// How a bomb may end: at a limit, refused before or by the compiler, or compiled and of no use to this host.
const ENDS: [&str; 5] = ["worker-killed", "worker-timeout", "not-compiled", "unreadable-component", "not-linkable"];

/// All of them at full scale, and every third one otherwise, and one more.
fn chosen() -> Vec<(String, &'static str, Vec<u8>)> {
    let step = if scale::cases(1) == 1 { 3 } else { 1 };
    let named = |(i, (what, wasm))| (format!("bomb-{i}"), what, wasm);
    let instances = ("instances of instances", tenfold());
    bombs::all().into_iter().step_by(step).chain([instances]).enumerate().map(named).collect()
}

/// Components within one another, each of them ten times in the next: a kilobyte that makes 10^15 instances.
fn tenfold() -> Vec<u8> {
    let innermost = "(core module $m) (core instance (instantiate $m))".to_owned();
    let around = |inner: String, _| format!("(component $c {inner}) {}", "(instance (instantiate $c))".repeat(10));
    let text = (0..15).fold(innermost, around);
    wat::parse_str(format!("(component {text})")).expect("component text")
}

/// Leaves the host's workers less of the processor than it did.
fn shorten_workers(host: &RunningHost) {
    let parent = format!("PPid:\t{}\n", host.pid());
    for entry in std::fs::read_dir("/proc").expect("listed").filter_map(Result::ok) {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        if !String::from_utf8_lossy(&read("status")).contains(&parent) || !read("cmdline").ends_with(b"\0worker\0") {
            continue;
        }
        let limit = Rlimit { current: Some(WORKER_CPU_S), maximum: Some(WORKER_CPU_S + 1) };
        // It may have ended meanwhile.
        let _ = rustix::process::prlimit(Pid::from_raw(id), Resource::Cpu, limit);
    }
}

fn install(world: &World, name: &str, wasm: &[u8]) {
    world.publish(name, &Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm });
    world.desire(name, "test:idle", name, "");
}

/// By its name, what an installation is: running, or why it is not.
fn states(status: &serde_json::Value) -> BTreeMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let state = |component: &serde_json::Value| match text(&component["state"]) {
        running if running == "running" => running,
        _ => text(&component["held"]["code"]),
    };
    let components = status["components"].as_array().expect("an array");
    components.iter().map(|component| (text(&component["name"]), state(component))).collect()
}

#[test]
fn r13_a_host_answers_and_takes_good_components_while_compile_bombs_go_off() {
    let world = World::new();
    install(&world, "before", &idle("before"));
    let mut host = world.run();
    host.wait_for(&["converged"]);
    let bombs = chosen();
    for (name, _, wasm) in &bombs {
        install(&world, name, wasm);
    }
    host.wait_for(&["bomb-"]);
    install(&world, "good", &idle("good"));

    let deadline = Instant::now() + PATIENCE + A_BOMB * bombs.len() as u32;
    let (mut ends, mut slowest, mut is_up) = (BTreeMap::new(), Duration::ZERO, false);
    while ends.len() < bombs.len() || !is_up {
        shorten_workers(&host);
        let begun = Instant::now();
        let states = states(&world.status());
        slowest = slowest.max(begun.elapsed());
        assert_eq!(states["before"], "running");
        is_up |= states.get("good").is_some_and(|state| state == "running");
        // What has ended is tried again, later and later.
        let ended = |(name, state): &(String, String)| name.starts_with("bomb-") && ENDS.contains(&state.as_str());
        ends.extend(states.clone().into_iter().filter(ended));
        assert!(Instant::now() < deadline, "{states:?}\n{}", host.told());
        std::thread::park_timeout(PAUSE);
    }
    for (name, what, _) in &bombs {
        println!("{what}: {}", ends[name]);
    }
    println!("the slowest of all answers took {slowest:?}");
    assert!(slowest < STALL, "an answer took {slowest:?}");
    let killed = ends.values().filter(|end| end.starts_with("worker-")).count();
    assert!(killed * 4 > bombs.len(), "few came to a limit: {ends:?}");
    assert!(host.stop().success());
}
