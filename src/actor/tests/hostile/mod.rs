//! Components that mean harm or are broken: each ends where it should, and the host goes on.

use super::*;

mod cases;
mod corpus;
mod fair;
mod mutants;
mod single;

/// Names the test that runs in a process of its own.
const INSIDE: &str = "AIRSSYS_TEST_HOSTILE_INSIDE";

/// Whether this is the process of this one test, which has the path. Everybody else starts that, and waits for it.
///
/// What a test takes of memory is its own then, and a host that aborts fails a test and not the program of all tests.
fn is_inside(path: &str) -> bool {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == path) {
        return true;
    }
    let mut inside = std::process::Command::new(std::env::current_exe().unwrap());
    inside.args(["--exact", "--nocapture", &format!("actor::tests::hostile::{path}")]).env(INSIDE, path);
    let output = inside.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("1 passed"), "it did not run");
    false
}

/// What this process holds now, and the most that it held, in bytes.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    };
    (kib("VmRSS:") << 10, kib("VmHWM:") << 10)
}

/// What a panic says.
fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied()).unwrap_or("?")
}

/// A bystander that must not notice anything.
fn with_bystander() -> Host {
    let host = Host::new();
    host.run(&Actor::new("bystander"), &echo());
    host
}

fn bystander_is_fine(host: &Host) {
    assert_eq!(host.ask("bystander", b"still there?"), Ok(Some(b"still there?".to_vec())));
    assert_eq!(host.status("bystander").crashes, 0);
}

fn quick(name: &'static str) -> Actor {
    Actor::new(name).limits(|limits| {
        limits.call = Millis(50);
        limits.init = Millis(50);
        limits.stop = Millis(100);
        limits.drain = Millis(50);
    })
}
