//! F1 to F4 and W1: artifacts and desired files on this machine, with the real binary.
//!
//! Where else they are shown stands in the names of tests; `rules` counts them.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::components::idle;
use crate::harness::{Release, World, rename_into_place, stderr, stdout};

const FILES: [&str; 3] = ["Component.toml", "Component.toml.sig", "component.wasm"];
/// A command that takes this long waits for something that never comes.
const BLOCKED: Duration = Duration::from_secs(30);
/// What a file that others must not learn holds.
const SECRET: &str = "canary = \"the secret of somebody else\"";

/// A world in which `one` is installed at 1.0.0, and 1.1.0 is published.
fn updatable() -> World {
    let world = World::new();
    publish(&world, "1.0.0", 1);
    world.desire("one", "test:idle", "idle", "");
    let output = world.on_desired("apply", &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    publish(&world, "1.1.0", 2);
    world
}

fn publish(world: &World, version: &str, sequence: u64) {
    let wasm = idle(version);
    world.publish("idle", &Release { package: "test:idle", version, sequence, more: "", wasm: &wasm });
}

/// Wants an update that was held, with `one` as it was.
#[track_caller]
fn held(world: &World, output: &Output, attack: &str) {
    let told = format!("{attack}: {}{}", stdout(output), stderr(output));
    assert_eq!(output.status.code(), Some(12), "{told}");
    assert_eq!(world.committed()["one"], "1.0.0", "{told}");
    assert!(!told.contains("canary"), "{told}");
}

/// What takes the place of a file.
type Replacement = fn(&World, &Path);

const REPLACEMENTS: [(&str, Replacement); 8] = [
    ("a pipe", |_, at| assert!(Command::new("mkfifo").arg(at).status().expect("mkfifo runs").success())),
    ("a socket", |_, at| drop(UnixListener::bind(at).expect("bound"))),
    ("a directory", |_, at| std::fs::create_dir(at).expect("made")),
    ("a link to an endless device", |_, at| symlink("/dev/zero", at).expect("linked")),
    ("a link to the memory of the reader", |_, at| symlink("/proc/self/mem", at).expect("linked")),
    ("a link to a secret", |world, at| symlink(secret(world), at).expect("linked")),
    ("a hard link to a secret", |world, at| std::fs::hard_link(secret(world), at).expect("linked")),
    ("a link to itself", |_, at| symlink(at, at).expect("linked")),
];

fn secret(world: &World) -> std::path::PathBuf {
    let path = world.path().join("secret.toml");
    std::fs::write(&path, SECRET).expect("written");
    path
}

#[test]
fn f1_whatever_takes_the_place_of_a_file_of_an_artifact_holds_the_update_and_blocks_nothing() {
    let world = updatable();
    for file in FILES {
        let at = world.component("idle").join(file);
        let good = std::fs::read(&at).expect("readable");
        for (attack, put) in REPLACEMENTS {
            std::fs::remove_file(&at).expect("removed");
            put(&world, &at);
            let began = Instant::now();
            held(&world, &world.on_desired("apply", &[]), &format!("{attack} for {file}"));
            assert!(began.elapsed() < BLOCKED, "{attack} for {file} took {:?}", began.elapsed());
            if at.is_dir() && !at.is_symlink() {
                std::fs::remove_dir(&at).expect("removed");
            }
            rename_into_place(&at, &good);
        }
    }
    let output = world.on_desired("apply", &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(world.committed()["one"], "1.1.0", "the good files are back, so the update goes");
}

#[test]
fn f4_errors_of_the_file_system_hold_the_update_and_keep_what_runs() {
    let world = updatable();
    for file in FILES {
        for fault in ["EIO", "ESTALE"] {
            let at = world.component("idle").join(file);
            let Some(output) = apply_under_strace(&world, &at, fault) else { return };
            held(&world, &output, &format!("{fault} while {file} is read"));
        }
    }
    let output = world.on_desired("apply", &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(world.committed()["one"], "1.1.0", "the disk is well again, so the update goes");
}

/// Applies with every read of `file` failing; `None` without strace.
fn apply_under_strace(world: &World, file: &Path, fault: &str) -> Option<Output> {
    let mut paths = Vec::new();
    let apply = world.command(&world.arguments("apply", &mut paths));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("inject=read,pread64:error={fault}"), "-P"]).arg(file);
    strace.arg(apply.get_program()).args(apply.get_args()).current_dir(world.path()).env_clear();
    strace.envs(apply.get_envs().filter_map(|(name, value)| Some((name, value?))));
    match strace.output() {
        Ok(output) => Some(output),
        Err(_) => {
            assert!(std::env::var_os("CI").is_none(), "needs strace");
            println!("not run: needs strace");
            None
        }
    }
}
