//! Desired files that are torn, exchanged or unreadable under a running host: nothing is uninstalled,
//! nothing ends, and what is whole again is followed again (P10).

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use crate::components::idle;
use crate::harness::{PATIENCE, Release, RunningHost, World, desired_text, rename_into_place, stdout};

/// Larger than any desired file may be.
const TOO_LARGE_BYTES: u64 = 1 << 40;
/// Time between two states of a file that is being written.
const BETWEEN_WRITES: Duration = Duration::from_millis(4);
/// Every so many bytes the writer rests.
const REST_EVERY: usize = 18;
/// A rest: longer than the host waits for more events.
const REST: Duration = Duration::from_millis(400);

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

const MORE: &str =
    "[grant]\nsend = [\"keep\"]\n\n[config]\nanswer = 42\n\n[limits]\ninit = \"3s\"\n\n[require]\nversion = \"^1\"";

/// A running host with `keep`, which nobody touches, and `one`.
fn running() -> (World, RunningHost) {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("keep", "test:idle", "idle", "");
    world.desire("one", "test:idle", "idle", MORE);
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2 running"]);
    (world, host)
}

#[track_caller]
fn nothing_was_lost(world: &World, host: &RunningHost) {
    let told = host.told();
    for word in ["  uninstalled ", "panicked", "crashed", "start failed"] {
        assert!(!told.contains(word), "{word}:\n{told}");
    }
    assert!(!told.contains(" keep  reconf") && !told.contains(" keep  upd"), "keep was touched:\n{told}");
    let status = world.status();
    let components = status["components"].as_array().expect("an array");
    assert_eq!(components.len(), 2, "{status:#}");
    for component in components {
        assert_eq!(component["state"], "running", "{component:#}");
        assert_eq!(component["actor"]["restarts"], 0, "{component:#}");
    }
}

/// Waits until the running host has nothing left to do.
#[track_caller]
fn wait_until_equal(world: &World) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let plan = world.on_desired("plan", &[]);
        if plan.status.code() == Some(0) {
            return;
        }
        assert!(Instant::now() < deadline, "never converged: {}", stdout(&plan));
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Lets the host see every beginning of the file, some for long enough that it must read them.
fn write_every_beginning(write: fn(&Path, &[u8])) {
    let (world, mut host) = running();
    let path = world.desired().join("one.toml");
    let whole = desired_text("test:idle", "idle", MORE);
    for end in 0..=whole.len() {
        write(&path, &whole.as_bytes()[..end]);
        std::thread::sleep(if end % REST_EVERY == 0 { REST } else { BETWEEN_WRITES });
    }
    wait_until_equal(&world);
    // All lines so far, up to one that surely is the last.
    world.desire_text("one", "package = 3\n");
    host.wait_for(&["one", "held", "one.toml:1: `package`"]);
    let held = host.told().lines().filter(|line| line.contains(" one  held")).count();
    assert!(held > 3, "the host read hardly any of the beginnings:\n{}", host.told());
    nothing_was_lost(&world, &host);
    rename_into_place(&path, whole.as_bytes());
    host.wait_for(&["one", "no longer held"]);
    wait_until_equal(&world);
    assert!(host.stop().success());
}

#[test]
fn p10_every_beginning_of_a_file_written_in_place_uninstalls_nothing() {
    write_every_beginning(|path, torn| std::fs::write(path, torn).expect("written"));
}

#[test]
fn p10_every_beginning_of_a_file_renamed_into_place_uninstalls_nothing() {
    write_every_beginning(rename_into_place);
}

#[test]
fn p10_a_writer_that_keeps_a_file_open_is_waited_for() {
    use std::io::Write as _;
    let (world, mut host) = running();
    let path = world.desired().join("one.toml");
    let whole = desired_text("test:idle", "idle", "[config]\nanswer = 43");
    let mut file = std::fs::File::create(&path).expect("created");
    for piece in whole.as_bytes().chunks(16) {
        file.write_all(piece).expect("written");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(file);
    host.wait_for(&["one", "reconfigured"]);
    nothing_was_lost(&world, &host);
    assert!(!host.told().contains(" one  held: one.toml:"), "half a file was read:\n{}", host.told());
    assert!(host.stop().success());
}

/// What takes the place of a desired file, and a word of why it can't be used.
type Replacement = (&'static str, fn(&Path), &'static str);

#[test]
fn p10_whatever_takes_the_place_of_a_file_holds_what_it_installed() {
    let (world, mut host) = running();
    let path = world.desired().join("one.toml");
    let good = std::fs::read(&path).expect("readable");
    let next = world.desired().join("next~");
    let replacements: [Replacement; 11] = [
        ("nothing in it", |next| std::fs::write(next, b"").expect("written"), "empty"),
        ("bytes that are no text", |next| std::fs::write(next, [0xff; 100]).expect("written"), "UTF-8"),
        ("zeros, as after a power cut", |next| std::fs::write(next, [0; 300]).expect("written"), "one.toml"),
        ("a directory", |next| std::fs::create_dir(next).expect("made"), "a directory"),
        (
            "a named pipe",
            |next| mknodat(CWD, next, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("made"),
            "a named pipe",
        ),
        ("a link to itself", |next| symlink("one.toml", next).expect("linked"), "symbolic link"),
        ("two links in a circle", circle, "symbolic link"),
        ("a link to nothing", |next| symlink("nothing.toml", next).expect("linked"), "one.toml"),
        ("a link out of the directory", |next| symlink("/etc/hostname", next).expect("linked"), "symbolic link"),
        (
            "a file without an end",
            |next| std::fs::File::create(next).and_then(|file| file.set_len(TOO_LARGE_BYTES)).expect("sparse"),
            "at most",
        ),
        ("a file that must not be used", forbidden, "one.toml"),
    ];
    for (what, make, word) in replacements {
        make(&next);
        // Exchanged, so that there is no moment without the name.
        renameat_with(CWD, &next, CWD, &path, RenameFlags::EXCHANGE).expect("exchanged");
        let told = host.wait_for(&["one", "held", "what runs goes on"]);
        assert!(told.contains(word), "{what}: {told}");
        nothing_was_lost(&world, &host);
        renameat_with(CWD, &next, CWD, &path, RenameFlags::EXCHANGE).expect("exchanged");
        host.wait_for(&["one", "no longer held"]);
        let _ = std::fs::remove_file(&next).or_else(|_| std::fs::remove_dir(&next));
        let _ = std::fs::remove_file(world.desired().join("circle~"));
        assert_eq!(std::fs::read(&path).expect("readable"), good);
    }
    wait_until_equal(&world);
    assert!(host.stop().success());
}

fn circle(next: &Path) {
    symlink("circle~", next).expect("linked");
    symlink("one.toml", next.with_file_name("circle~")).expect("linked");
}

/// Mode 000; root reads that all the same, so for root it is a file that everybody may write.
fn forbidden(next: &Path) {
    std::fs::write(next, desired_text("test:idle", "idle", "")).expect("written");
    let mode = if rustix::process::geteuid().is_root() { 0o666 } else { 0 };
    std::fs::set_permissions(next, std::fs::Permissions::from_mode(mode)).expect("mode set");
}

/// Points `..data` elsewhere in one step, as the kubelet does.
fn flip(world: &World, version: &str) {
    let next = world.desired().join("..data_tmp");
    symlink(version, &next).expect("linked");
    std::fs::rename(next, world.desired().join("..data")).expect("flipped");
}

#[test]
fn p10_a_mount_that_flips_as_one_is_followed_and_a_flip_to_something_torn_holds() {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    let version = |version: &str, keep: &str, one: &str| {
        let directory = world.desired().join(version);
        std::fs::create_dir(&directory).expect("made");
        for (name, text) in [("keep", keep), ("one", one)] {
            std::fs::write(directory.join(format!("{name}.toml")), text).expect("written");
        }
    };
    let plain = desired_text("test:idle", "idle", "");
    let changed = desired_text("test:idle", "idle", "[config]\nanswer = 42");
    version("..v1", &plain, &plain);
    flip(&world, "..v1");
    for name in ["keep.toml", "one.toml"] {
        symlink(Path::new("..data").join(name), world.desired().join(name)).expect("linked");
    }
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2 running"]);

    version("..v2", &plain, &changed);
    flip(&world, "..v2");
    std::fs::remove_dir_all(world.desired().join("..v1")).expect("removed");
    host.wait_for(&["one", "reconfigured"]);

    version("..v3", &plain, &changed[..20]);
    flip(&world, "..v3");
    std::fs::remove_dir_all(world.desired().join("..v2")).expect("removed");
    host.wait_for(&["one", "held", "what runs goes on"]);
    nothing_was_lost(&world, &host);

    // What the links lead to is gone: a mount that went away looks like this.
    flip(&world, "..gone");
    host.wait_for(&["keep", "held", "what runs goes on"]);
    nothing_was_lost(&world, &host);
    let one = std::fs::symlink_metadata(world.desired().join("one.toml")).expect("still a link");
    assert!(one.is_symlink());

    version("..v4", &plain, &plain);
    flip(&world, "..v4");
    host.wait_for(&["one", "no longer held"]);
    wait_until_equal(&world);
    nothing_was_lost(&world, &host);
    assert!(host.stop().success());
}

#[test]
fn p10_a_directory_that_is_exchanged_under_the_host_is_followed_and_never_taken_as_empty() {
    let (world, mut host) = running();
    let other = world.path().join("other");
    let old = world.path().join("old");
    for round in 0..5 {
        std::fs::create_dir(&other).expect("made");
        for name in ["keep", "one"] {
            std::fs::copy(world.desired().join(format!("{name}.toml")), other.join(format!("{name}.toml")))
                .expect("copied");
        }
        let text = desired_text("test:idle", "idle", &format!("[config]\nround = {round}"));
        std::fs::write(other.join("one.toml"), text).expect("written");
        match round % 2 {
            0 => {
                renameat_with(CWD, &other, CWD, world.desired(), RenameFlags::EXCHANGE).expect("exchanged");
                std::fs::remove_dir_all(&other).expect("removed");
            }
            _ => {
                // With a moment without any directory.
                std::fs::rename(world.desired(), &old).expect("renamed");
                std::fs::rename(&other, world.desired()).expect("renamed");
                std::fs::remove_dir_all(&old).expect("removed");
            }
        }
        host.wait_for(&["one", "reconfigured"]);
        nothing_was_lost(&world, &host);
    }
    assert!(host.stop().success());
}
