//! The same from repositories: tags, branches that move, kills, and no network at all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{component, desire, files, release, settings, silent_listener, until, url_source};
use crate::components::idle;
use crate::harness::{TRUSTED_SEED, World, stderr, stdout};

/// A repository in the world.
pub(super) struct Repository {
    path: PathBuf,
}

impl Repository {
    pub(super) fn new(world: &World) -> Self {
        let path = world.path().join("releases.git");
        git2::Repository::init_bare(&path).expect("a repository");
        Self { path }
    }

    /// Commits files to `main` and gives the commit's id.
    pub(super) fn commit(&self, files: &BTreeMap<String, Vec<u8>>) -> String {
        let repository = git2::Repository::open(&self.path).expect("opened");
        let mut tree = repository.treebuilder(None).expect("a tree");
        for (name, bytes) in files {
            tree.insert(name, repository.blob(bytes).expect("a blob"), 0o100_644).expect("inserted");
        }
        let tree = repository.find_tree(tree.write().expect("written")).expect("found");
        let who = git2::Signature::new("a", "a@example.com", &git2::Time::new(1, 0)).expect("a signature");
        let parent = repository.refname_to_id("refs/heads/main").ok().and_then(|id| repository.find_commit(id).ok());
        let parents: Vec<_> = parent.iter().collect();
        repository
            .commit(Some("refs/heads/main"), &who, &who, "release", &tree, &parents)
            .expect("committed")
            .to_string()
    }

    fn tag(&self, name: &str, commit: &str) {
        let repository = git2::Repository::open(&self.path).expect("opened");
        let id = git2::Oid::from_str(commit).expect("an id");
        repository.reference(&format!("refs/tags/{name}"), id, true, "").expect("tagged");
    }

    fn source(&self, at: &str) -> String {
        format!("[source.git]\nurl = \"file://{}\"\n{at}\npath = \".\"\n", self.path.display())
    }
}

#[test]
fn a_tag_is_installed_with_its_commit_and_a_branch_that_moves_is_followed_by_interval_and_by_restart() {
    let world = World::new();
    settings(&world, "[sources]\ninterval = \"1s\"\n");
    let repository = Repository::new(&world);
    let (one, two, three) = (idle("1"), idle("2"), idle("3"));
    let first = repository.commit(&files(&release("1.0.0", 1, &one), TRUSTED_SEED));
    repository.tag("v1", &first);
    desire(&world, "tagged", &repository.source("tag = \"v1\""));
    desire(&world, "branch", &repository.source("branch = \"main\""));
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2 running"]);
    assert_eq!(component(&world, "tagged")["installed"]["revision"], first);
    assert_eq!(component(&world, "tagged")["source"]["revision"], first);

    repository.commit(&files(&release("1.1.0", 2, &two), TRUSTED_SEED));
    host.wait_for(&["branch", "updated", "1.0.0 -> 1.1.0"]);
    assert!(host.stop().success());

    // While no host runs, the branch moves on and the tag is moved, which is not followed.
    let third = repository.commit(&files(&release("1.2.0", 3, &three), TRUSTED_SEED));
    repository.tag("v1", &third);
    let mut host = world.run();
    host.wait_for(&["branch", "updated", "1.1.0 -> 1.2.0"]);
    until("the moved tag", || component(&world, "tagged")["held"]["code"] == "tag-moved");
    assert_eq!(component(&world, "tagged")["state"], "running");
    assert_eq!(component(&world, "tagged")["installed"]["revision"], first);
    assert!(host.stop().success());
}

#[test]
fn another_commit_with_the_same_artifact_is_no_update() {
    let world = World::new();
    let repository = Repository::new(&world);
    let wasm = idle("1");
    let mut content = files(&release("1.0.0", 1, &wasm), TRUSTED_SEED);
    repository.commit(&content);
    desire(&world, "a", &repository.source("branch = \"main\""));
    let applied = world.on_desired("apply", &[]);
    assert!(applied.status.success(), "{}{}", stdout(&applied), stderr(&applied));
    content.insert("README".to_owned(), b"more".to_vec());
    repository.commit(&content);
    let planned = world.on_desired("plan", &[]);
    assert_eq!(planned.status.code(), Some(0), "{}{}", stdout(&planned), stderr(&planned));
}

#[test]
fn p6_a_host_that_is_killed_while_it_fetches_converges_after_a_restart() {
    let world = World::new();
    let wasm = idle("1");
    let (port, open, _) = silent_listener();
    let repository = Repository::new(&world);
    repository.commit(&files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    desire(&world, "a", &url_source(port, "a", ""));
    let host = world.run();
    until("the fetch", || open.load(Ordering::SeqCst) == 1);
    host.kill();
    until("the worker's end", || open.load(Ordering::SeqCst) == 0);
    for round in 0..4 {
        desire(&world, "a", &repository.source("branch = \"main\""));
        let host = world.run();
        std::thread::park_timeout(Duration::from_millis(40 * round));
        host.kill();
    }
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1 running"]);
    assert!(host.stop().success());
}

#[test]
fn offline_opens_no_socket_and_says_what_is_missing() {
    let world = World::new();
    let (port, _, most) = silent_listener();
    let wasm = idle("1");
    let repository = Repository::new(&world);
    repository.commit(&files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    desire(&world, "known", &repository.source("branch = \"main\""));
    assert!(world.on_desired("apply", &[]).status.success());
    std::fs::remove_dir_all(&repository.path).expect("removed");
    desire(&world, "new", &url_source(port, "new", ""));
    for command in ["plan", "apply"] {
        let output = world.on_desired(command, &["--offline"]);
        assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
        let text = stdout(&output);
        assert!(text.contains("[offline]") && text.contains("1 unchanged"), "{text}");
    }
    let mut paths = Vec::new();
    let mut arguments = world.arguments("run", &mut paths);
    arguments.push("--offline");
    let mut host = crate::harness::RunningHost::spawn(world.command(&arguments));
    host.wait_for(&["settled: 1 of 1 running"]);
    assert!(host.stop().success());
    assert_eq!(most.load(Ordering::SeqCst), 0);
}
