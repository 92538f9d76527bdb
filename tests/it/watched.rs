//! What the watcher can't tell: lost events, and a desired directory that is another one from now on (W1).

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::components::idle;
use crate::harness::{Release, RunningHost, World, desired_text, rename_into_place};
use crate::remote::until;

/// Files are quiet once they are this old: nobody waits for them to settle.
const QUIET: Duration = Duration::from_secs(2);

fn running(names: &[&str]) -> (World, RunningHost) {
    let world = World::new();
    let wasm = idle("1");
    world.publish("idle", &Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm: &wasm });
    for name in names {
        world.desire(name, "test:idle", "idle", "");
    }
    let mut host = world.run();
    host.wait_for(&[&format!("converged: {0} of {0} running", names.len())]);
    (world, host)
}

fn idle_text(more: &str) -> String {
    desired_text("test:idle", "idle", more)
}

/// How many events one watcher keeps.
fn queue_length() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").ok()?.trim().parse().ok()
}

/// Makes files that mean nothing come and go: three events each at least.
fn burst(directory: &Path, files: u64) {
    for number in 0..files {
        let path = directory.join(format!("burst-{number}.tmp"));
        std::fs::write(&path, "x").expect("written");
        std::fs::remove_file(path).expect("removed");
    }
}

#[test]
fn w1_what_changed_while_the_kernel_dropped_events_is_found_by_a_full_list() {
    let Some(length) = queue_length().filter(|length| *length <= 100_000) else {
        println!("not run: needs inotify with a queue of at most 100,000 events");
        return;
    };
    let (world, mut host) = running(&["keep", "changed", "removed"]);
    // It reads no event from here on, and the queue is full before anything happens that matters.
    host.signal("STOP");
    burst(&world.desired(), length / 3 + 100);
    world.desire("changed", "test:idle", "idle", "[config]\nanswer = 42");
    std::fs::remove_file(world.desired().join("removed.toml")).expect("removed");
    world.desire("added", "test:idle", "idle", "");
    let written = Instant::now();
    while written.elapsed() < QUIET {
        burst(&world.desired(), 100);
    }
    host.signal("CONT");
    host.wait_for(&["added", "installed", "1.0.0"]);
    // The regular list would find it as well, up to a minute later: it is not what did.
    let cause = || world.status()["last_pass"]["cause"].as_str().unwrap_or_default().to_owned();
    until("a pass because of lost events", || cause() == "events were lost");
    until("the rest", || world.committed().keys().collect::<Vec<_>>() == ["added", "changed", "keep"]);
    host.wait_for(&["changed", "reconfigured"]);
    assert!(host.stop().success());
}

#[test]
fn w1_a_directory_that_is_deleted_and_made_again_removes_nobody_and_is_followed_again() {
    let (world, mut host) = running(&["a", "b", "c", "d", "e", "f"]);
    std::fs::remove_dir_all(world.desired()).expect("removed");
    host.wait_for(&["what runs goes on"]);
    assert_eq!(world.committed().len(), 6);
    // Whole before the host looks: file by file it would be as many sets of their own.
    host.signal("STOP");
    std::fs::create_dir(world.desired()).expect("made");
    for name in ["a", "b", "c", "d", "e"] {
        world.desire(name, "test:idle", "idle", "");
    }
    world.desire("new", "test:idle", "idle", "");
    host.signal("CONT");
    host.wait_for(&["new", "installed"]);
    host.wait_for(&["converged: 6 of 6 running"]);
    assert_eq!(world.committed().into_keys().collect::<Vec<_>>(), ["a", "b", "c", "d", "e", "new"]);
    let uninstalled = host.told().matches("  uninstalled ").count();
    assert!(uninstalled <= 1, "more than the one that is not there again was removed:\n{}", host.told());
    // Watched where it is now: an event tells of this one.
    world.desire("newer", "test:idle", "idle", "");
    host.wait_for(&["newer", "installed"]);
    assert!(host.stop().success());
}

#[test]
fn w1_a_directory_that_is_replaced_by_a_link_is_followed_where_the_link_leads() {
    let (world, mut host) = running(&["keep", "one"]);
    let next = |which: &str, answer: u32| {
        let real = world.path().join(which);
        std::fs::create_dir(&real).expect("made");
        std::fs::write(real.join("keep.toml"), idle_text("")).expect("written");
        std::fs::write(real.join("one.toml"), idle_text(&format!("[config]\nanswer = {answer}"))).expect("written");
        real
    };
    std::fs::rename(world.desired(), world.path().join("before")).expect("renamed");
    symlink(next("first", 1), world.desired()).expect("linked");
    host.wait_for(&["one", "reconfigured"]);
    // The link is exchanged, as a deployment does it.
    let link = world.path().join("link");
    symlink(next("second", 2), &link).expect("linked");
    std::fs::rename(&link, world.desired()).expect("renamed");
    host.wait_for(&["one", "reconfigured"]);
    // And what is behind it changes.
    rename_into_place(&world.path().join("second/one.toml"), idle_text("[config]\nanswer = 3").as_bytes());
    host.wait_for(&["one", "reconfigured"]);
    assert!(!host.told().contains("  uninstalled "), "{}", host.told());
    // The directory from before is nobody's any more.
    rename_into_place(&world.path().join("before/stray.toml"), idle_text("").as_bytes());
    rename_into_place(&world.path().join("second/last.toml"), idle_text("").as_bytes());
    host.wait_for(&["last", "installed 1.0.0"]);
    assert_eq!(world.committed().into_keys().collect::<Vec<_>>(), ["keep", "last", "one"]);
    assert!(host.stop().success());
}
