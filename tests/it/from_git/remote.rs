//! The same over HTTP and SSH, and with a rule of signers: what is refused leaves the set as it is.

use std::path::Path;
use std::process::Command;

use git2::Oid;

use super::{Fleet, IDLE};
use crate::git::server::{Behaviour, Server};
use crate::git::ssh;
use crate::harness::{RunningHost, stderr, stdout};
use crate::remote::until;

/// Starts the host on `url` with what its settings say.
fn run(fleet: &Fleet, url: &str) -> RunningHost {
    RunningHost::spawn(fleet.command_at(url, "run", &[]))
}

#[test]
fn g3_g4_over_http_a_branch_is_followed_and_neither_a_rewritten_history_nor_a_vanished_path_removes_anything() {
    let fleet = Fleet::new();
    fleet.settings("[from-git]\ninterval = \"1s\"\n");
    let server = Server::start(fleet.world.path(), Behaviour::default());
    let url = server.url("fleet.git");
    let first = fleet.commit(&[("one.toml", IDLE)], None);
    let mut host = run(&fleet, &url);
    host.wait_for(&["converged: 1 of 1 running"]);
    let second = fleet.commit(&[("one.toml", IDLE), ("two.toml", IDLE)], Some(first));
    host.wait_for(&["two", "installed", "1.0.0"]);
    host.wait_for(&["converged: 2 of 2 running"]);

    // Somebody pushes an older commit, then another history: by force, both times.
    fleet.point_to(first);
    host.wait_for(&["doesn't descend from", &second.to_string()[..7]]);
    let foreign = fleet.commit(&[("three.toml", IDLE)], None);
    host.wait_for(&["doesn't descend from", &foreign.to_string()[..7]]);
    assert_eq!(fleet.names(), ["one", "two"]);
    // The mark is on disk: neither a kill nor another start forgets it.
    host.kill();
    let mut host = run(&fleet, &url);
    host.wait_for(&["doesn't descend from", &foreign.to_string()[..7]]);
    assert_eq!(fleet.names(), ["one", "two"]);

    // The directory itself is gone from the commit.
    let gone = fleet.commit_in("elsewhere", &[("one.toml", IDLE)], Some(second));
    host.wait_for(&["there is no directory `fleet`", "[no-directory]"]);
    assert_eq!(fleet.names(), ["one", "two"]);
    let back = fleet.commit(&[("one.toml", IDLE), ("two.toml", IDLE), ("three.toml", IDLE)], Some(gone));
    host.wait_for(&["three", "installed", "1.0.0"]);
    assert_eq!(fleet.names(), ["one", "three", "two"]);
    assert!(host.stop().success());
    let plan = fleet.command_at(&url, "plan", &[]).output().expect("the binary runs");
    assert_eq!(plan.status.code(), Some(0), "{}{}", stdout(&plan), stderr(&plan));
    let applied = format!("branch main@{}, path fleet (as applied)", &back.to_string()[..7]);
    assert!(stdout(&plan).contains(&applied), "{}", stdout(&plan));
    assert!(server.requests().iter().all(|request| request.target.starts_with("/fleet.git/")));
}

#[test]
fn over_ssh_a_branch_is_applied_and_a_changed_host_key_keeps_the_set() {
    if ssh::is_missing() {
        return;
    }
    let fleet = Fleet::new();
    let sshd = ssh::start(&fleet.world.path().join("sshd"), "ed25519");
    let place = fleet.world.path().display().to_string();
    let url = format!("ssh://{}@127.0.0.1:{}{place}/fleet.git", sshd.user, sshd.port);
    let known = |line: &str| {
        std::fs::write(fleet.world.path().join("known_hosts"), line).expect("written");
        fleet.settings(&format!(
            "[credentials.\"127.0.0.1:{}\"]\nssh-key-file = \"{place}/sshd/user\"\n\
             known-hosts-file = \"{place}/known_hosts\"\n",
            sshd.port
        ));
    };
    let apply = || fleet.command_at(&url, "apply", &[]).output().expect("the binary runs");
    known(&sshd.known(&sshd.host_key));
    let first = fleet.commit(&[("one.toml", IDLE)], None);
    let applied = apply();
    assert!(applied.status.success(), "{}{}", stdout(&applied), stderr(&applied));
    assert_eq!(fleet.names(), ["one"]);
    fleet.commit(&[("two.toml", IDLE)], Some(first));
    known(&sshd.known(&ssh::make_key(&fleet.world.path().join("other"), "ed25519")));
    let applied = apply();
    let text = format!("{}{}", stdout(&applied), stderr(&applied));
    assert_eq!(applied.status.code(), Some(12), "{text}");
    assert!(text.contains("is not the one that `known-hosts` names"), "{text}");
    assert_eq!(fleet.names(), ["one"]);
    known(&sshd.known(&sshd.host_key));
    let applied = apply();
    // One in, one out: both were asked for by a commit that is here whole.
    assert_eq!(fleet.names(), ["two"], "{}{}", stdout(&applied), stderr(&applied));
}

/// Signs a commit that is there, and moves the branch to the signed one.
fn sign(fleet: &Fleet, commit: Oid, key: &Path) -> Oid {
    let found = fleet.repository.find_commit(commit).expect("a commit");
    let parents: Vec<_> = found.parents().collect();
    let parents: Vec<_> = parents.iter().collect();
    let (author, tree) = (found.author(), found.tree().expect("a tree"));
    let raw = fleet.repository.commit_create_buffer(&author, &author, "signed", &tree, &parents).expect("made");
    let text = fleet.world.path().join("to-sign");
    std::fs::write(&text, &*raw).expect("written");
    let _ = std::fs::remove_file(text.with_extension("sig"));
    let signed =
        Command::new("/usr/bin/ssh-keygen").args(["-q", "-Y", "sign", "-n", "git", "-f"]).arg(key).arg(&text).status();
    assert!(signed.expect("ssh-keygen runs").success());
    let signature = std::fs::read_to_string(text.with_extension("sig")).expect("a signature");
    let id = fleet.repository.commit_signed(raw.as_str().expect("UTF-8"), signature.trim_end(), None).expect("written");
    fleet.point_to(id);
    id
}

#[test]
fn where_signers_are_required_each_commit_of_the_range_must_be_signed_by_one_of_them() {
    if ssh::is_missing() {
        return;
    }
    let fleet = Fleet::new();
    let at = |name: &str| fleet.world.path().join(name);
    let (ours, theirs) = (at("ours"), at("theirs"));
    let public = ssh::make_key(&ours, "ed25519");
    ssh::make_key(&theirs, "ed25519");
    fleet.settings(&format!("[from-git]\ninterval = \"1s\"\nsigners = [\"{}\"]\n", public.trim()));
    let server = Server::start(fleet.world.path(), Behaviour::default());
    let url = server.url("fleet.git");

    let unsigned = fleet.commit(&[("one.toml", IDLE)], None);
    let mut host = run(&fleet, &url);
    host.wait_for(&[&unsigned.to_string()[..7], "[commit-unsigned]"]);
    assert_eq!(fleet.names(), Vec::<String>::new());
    let first = sign(&fleet, unsigned, &ours);
    host.wait_for(&["one", "installed", "1.0.0"]);

    let unsigned = fleet.commit(&[("one.toml", IDLE), ("two.toml", IDLE)], Some(first));
    host.wait_for(&[&unsigned.to_string()[..7], "[commit-unsigned]"]);
    // A signature on top signs its own commit only, and a stranger's signs nothing.
    let on_top = fleet.commit(&[("one.toml", IDLE), ("two.toml", IDLE), ("three.toml", IDLE)], Some(unsigned));
    let before = server.requests().len();
    sign(&fleet, on_top, &ours);
    // A look, what it fetches, and the next look: what is told of it is what was told before.
    until("a look at it", || server.requests().len() > before + 3);
    assert_eq!(fleet.names(), ["one"], "a signature on top let an unsigned commit through");
    sign(&fleet, unsigned, &theirs);
    host.wait_for(&["[commit-unknown-signer]"]);
    assert_eq!(fleet.names(), ["one"], "a commit that nobody signed was applied");
    sign(&fleet, unsigned, &ours);
    host.wait_for(&["two", "installed", "1.0.0"]);
    assert_eq!(fleet.names(), ["one", "two"]);
    assert!(host.stop().success());
}
