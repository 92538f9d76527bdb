//! The guides in `docs/`: every command in them works, in the order in which it is read.
//!
//! `backup.md` has a test of its own in `upkeep`, `storage.md` in `storage`, the tables of `limits.md` in
//! `documented_limits`, and what `fuzzing.md` names in `fuzz`.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{World, stderr, stdout};
use crate::scale::needs_tool;

/// Longest time that all commands of one guide may take, in seconds.
const GUIDE_TIMEOUT_S: &str = "120";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All commands of a guide as one script.
pub fn commands(guide: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs").join(guide)).expect("a guide");
    let blocks: Vec<&str> =
        text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(blocks.len() > 1, "{guide} has no commands");
    blocks.concat()
}

/// Runs a guide in a clone-like directory with an empty home; gives what it printed.
#[track_caller]
fn follow(guide: &str) -> String {
    let world = World::new();
    let work = world.path().join("work");
    std::fs::create_dir(&work).expect("made");
    symlink(root().join("examples"), world.path().join("examples")).expect("linked");
    // Job control, so that `%1` is the host; whatever is left of it ends with the shell.
    let script = format!("set -em\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", commands(guide));
    let program = Path::new(env!("CARGO_BIN_EXE_airssys-wasm")).parent().expect("a directory");
    let mut command = Command::new("timeout");
    command.args(["--foreground", GUIDE_TIMEOUT_S, "/bin/bash", "-c", &script]).stdin(Stdio::null());
    command.env_clear().env("HOME", world.path()).env("AIRSSYS_HOME", world.home()).current_dir(world.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", program.display())).env("WORK", &work).env("ROOT", &work);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "guide").env(format!("GIT_{who}_EMAIL"), "guide@example.com");
    }
    let output = command.output().expect("a shell");
    let told = format!("{}{}", stdout(&output), stderr(&output));
    assert!(output.status.success(), "{guide}: {:?}\n{told}", output.status);
    told
}

#[test]
fn dropping_files_as_the_guide_says_runs_edits_holds_and_removes() {
    let told = follow("file-drop.md");
    for words in ["converged: 3 of 3 running", "validate found it", "held; what runs goes on", "did you mean"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(told.contains("alerter  uninstalled"), "{told}");
}

#[test]
fn approving_as_the_guide_says_carries_out_what_was_held() {
    let told = follow("approvals.md");
    for words in [
        "### Plan <code>",
        "| <code>&#126;</code> | <code>alerter</code> |",
        "\"high\": 27.5,",
        "--approve delete",
        "needs an approval",
        "sensor  uninstalled",
        "approved",
        "apply of the saved plan",
        "was committed in place of 1 since the plan was made",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn a_repository_as_the_guide_makes_it_is_followed() {
    if !needs_tool("git") {
        return;
    }
    let told = follow("gitops.md");
    assert!(told.contains("sensor  installed") && told.contains("sensor  uninstalled"), "{told}");
    assert!(told.contains("commit"), "history names the commit: {told}");
}

#[test]
fn a_service_is_laid_out_as_the_guide_says() {
    follow("service.md");
}

#[test]
fn going_back_as_the_guide_says_holds_until_it_is_resumed() {
    let told = follow("history.md");
    for words in ["rollback to generation 1 by", "held as in generation 1", "resume of sensor by", "done: generation 3"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn the_log_tells_as_the_guide_says_who_did_what_and_what_was_denied() {
    let told = follow("audit.md");
    for words in [
        "order      -           apply; by ",
        "approval   alerter     delete for action",
        "refused    sensor",
        "are whole; the last one is sha256:",
        "the log was changed, or part of it is lost: 4 places",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn what_a_component_may_do_is_shown_blocked_declined_and_denied_as_the_guide_says() {
    let told = follow("permissions.md");
    for words in [
        "may         + publish \"readings.*\"",
        "it asks for publish \"readings.*\", which [grant] withholds",
        "publish: readings.",
        "  denied      ",
        "              publish = [\"readings.",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn every_guide_has_a_test() {
    let guides = std::fs::read_dir(root().join("docs")).expect("readable");
    let guides: BTreeSet<String> =
        guides.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    let tested = [
        "approvals.md",
        "audit.md",
        "backup.md",
        "components.md",
        "file-drop.md",
        "fuzzing.md",
        "gitops.md",
        "history.md",
        "limits.md",
        "messaging.md",
        "permissions.md",
        "service.md",
        "storage.md",
    ]
    .map(str::to_owned);
    assert_eq!(guides, BTreeSet::from(tested));
}

#[test]
fn a_component_that_is_written_as_the_guide_says_is_trusted_runs_and_is_updated() {
    let told = follow("components.md");
    for words in
        ["[no-trust-policy]", "notifier  installed", "\"state\":\"high\"", "30.5 C is above 25 C", "notifier  updated"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn a_message_that_dies_as_the_guide_says_is_listed_shown_and_sent_again() {
    let told = follow("messaging.md");
    for words in [
        "alerter: it does not take borsh (0x701); it takes json [codec-not-taken]",
        "to alerter from host, 10 bytes of json, poison: ",
        "1 kept of 1 since",
        "\nno average\n",
        "sent again as message ",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}
