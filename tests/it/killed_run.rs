//! `kill -9` of a host that runs, at its n-th system call that changes state (P6): while it starts, while it follows an
//! install, an update and an uninstall in its directory, and while it stops.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::components::idle;
use crate::crash::{STATE_CHANGING, converge, copy_tree, release};
use crate::harness::{Release, RunningHost, World};
use crate::remote::until;
use crate::scale::{Random, cases, needs_tool, seed};

/// The host under `strace` with these options more.
fn traced(world: &World, options: &[&str]) -> RunningHost {
    let mut paths = Vec::new();
    let arguments = world.arguments("run", &mut paths);
    let plain = world.command(&arguments);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]).args(options);
    strace.arg(plain.get_program()).args(plain.get_args()).env_clear().current_dir(world.path());
    for (key, value) in plain.get_envs() {
        strace.env(key, value.expect("set"));
    }
    RunningHost::spawn(strace)
}

/// The host that a `strace` runs, if it does still.
fn host_of(strace: u32) -> Option<String> {
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).ok()?;
    children.split_whitespace().next().map(str::to_owned)
}

/// Ends the host even where the test ends first: without `strace` it would go on.
struct Ends(Option<String>);

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(pid) = &self.0 {
            let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
        }
    }
}

/// Lets it start, changes what is wanted, and lets it stop, as far as it comes.
fn live(world: &World, mut host: RunningHost, change: impl Fn(&World), wanted: &BTreeMap<String, String>) {
    let mut ends = Ends(None);
    let mut goes_on = host.comes_to(&["desired"]);
    ends.0 = host_of(host.pid());
    goes_on = goes_on && host.comes_to(&["converged: 3 of 3 running"]);
    change(world);
    // Killed in the middle of its answer it has not said what is committed.
    let is_as_wanted = || world.try_committed().is_some_and(|committed| committed == *wanted);
    while goes_on && !is_as_wanted() {
        goes_on = host.comes_to(&["converged"]);
    }
    if let Some(pid) = host_of(host.pid()) {
        // It may be killed at this very moment.
        let _ = Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status();
    }
    let _ = host.wait();
    ends.0 = None;
}

/// How often a thread makes each call at most in such a life, from the record of `strace`.
fn counts(record: &Path) -> BTreeMap<&'static str, u32> {
    let mut by_thread: BTreeMap<(String, &str), u32> = BTreeMap::new();
    for line in std::fs::read_to_string(record).expect("a record").lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(call)) = (words.next(), words.next()) else { continue };
        let name = call.split('(').next().unwrap_or_default();
        if let Some(name) = STATE_CHANGING.iter().find(|known| **known == name) {
            *by_thread.entry((thread.to_owned(), name)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in by_thread {
        let most = most.entry(call).or_default();
        *most = count.max(*most);
    }
    most
}

#[test]
fn p6_a_host_killed_at_its_nth_state_changing_call_converges_at_its_next_start() {
    if !needs_tool("strace") {
        return;
    }
    let (first, second) = (idle("1"), idle("2"));
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &first));
    // Its code is that of the update to come: no compiler is killed in the place of the host.
    world.publish("warm", &Release { package: "test:warm", version: "1.0.0", sequence: 1, more: "", wasm: &second });
    world.desire("up", "test:idle", "idle", "");
    world.desire("gone", "test:idle", "idle", "");
    world.desire("warm", "test:warm", "warm", "");
    assert!(world.on_desired("apply", &[]).status.success());
    let (files, components) = (world.desired(), world.path().join("components"));
    let saved = world.path().join("saved");
    std::fs::create_dir(&saved).expect("made");
    for place in [&world.home(), &files, &components] {
        copy_tree(place, &saved);
    }
    let restore = || {
        for place in [&world.home(), &files, &components] {
            std::fs::remove_dir_all(place).expect("removed");
            copy_tree(&saved.join(place.file_name().expect("a name")), place);
        }
    };
    let change = |world: &World| {
        world.desire("new", "test:warm", "warm", "");
        world.publish("idle", &release("1.1.0", 2, &second));
        std::fs::remove_file(world.desired().join("gone.toml")).expect("removed");
    };
    let record = world.path().join("record");
    let all = format!("trace={}", STATE_CHANGING.join(","));
    let wanted: BTreeMap<String, String> =
        [("new", "1.0.0"), ("up", "1.1.0"), ("warm", "1.0.0")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    live(&world, traced(&world, &["-o", &record.to_string_lossy(), "-e", &all]), change, &wanted);
    converge(&world, &wanted, "nobody killed it");
    let points: Vec<(&str, u32)> =
        counts(&record).into_iter().flat_map(|(call, most)| (1..=most).map(move |point| (call, point))).collect();
    println!("{} points", points.len());
    assert!(points.len() > 40, "{points:?}");

    let mut random = Random::new(seed("p6 points of a host"));
    let everyday = cases(12);
    let is_full = everyday > 12;
    let chosen = points.len() as u64;
    let chosen: Vec<usize> = match is_full {
        true => (0..points.len()).collect(),
        false => (0..everyday).map(|_| usize::try_from(random.below(chosen)).expect("small")).collect(),
    };
    for index in chosen {
        let (call, point) = points[index];
        restore();
        let inject = format!("inject={call}:signal=KILL:when={point}");
        let trace = format!("trace={call}");
        live(&world, traced(&world, &["-o", "/dev/null", "-e", &trace, "-e", &inject]), change, &wanted);
        let after = format!("killed at {call} number {point}");
        // Each change is there whole or not at all, whichever came first.
        for (name, version) in world.committed() {
            let versions: &[&str] = match name.as_str() {
                "up" | "gone" => &["1.0.0", "1.1.0"],
                "new" | "warm" => &["1.0.0"],
                other => panic!("{after}: {other} is committed"),
            };
            assert!(versions.contains(&&*version), "{after}: {name} {version}");
        }
        // Whoever comes next finds the lock free and nothing half done.
        let mut host = world.run();
        host.wait_for(&["converged: 3 of 3 running"]);
        until("the wanted set", || world.committed() == wanted);
        assert!(host.stop().success(), "{after}");
        converge(&world, &wanted, &after);
    }
}
