//! A part of a test that needs a process of its own: this binary again, with one test that is only for it.

use std::path::PathBuf;
use std::process::Command;

use airssys_wasm::source::remote::{Access, GitJob};

use super::port::fetch;
use super::repository::{WASM, branch};

/// The test binary as a child that does `what`.
pub fn command(what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "git::child::runs_as_a_child_only", "--nocapture", "--test-threads=1"]);
    command.env("CHILD_TASK", what);
    command
}

/// Does nothing in the ordinary run: [`command`] starts it with a task.
#[test]
fn runs_as_a_child_only() {
    if std::env::var("CHILD_TASK").is_err() {
        return;
    }
    let variable = |name: &str| std::env::var(name).expect("set by the parent");
    let job = GitJob {
        url: variable("CHILD_URL").parse().expect("a URL"),
        at: branch("main"),
        path: "app".to_owned(),
        mirror: PathBuf::from(variable("CHILD_MIRROR")),
        offline: false,
        access: Access::default(),
    };
    match fetch(&job, WASM.len()) {
        Ok(fetched) => println!("\nfetched {}", fetched.commit),
        Err(error) => println!("\nfailed {}: {}", error.code, error.message),
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    println!("peak {}", peak.trim().trim_end_matches(" kB"));
}
