//! Desired state from a repository, with the real binary and real repositories on this machine.

mod mark;
mod remote;

use std::path::PathBuf;
use std::process::{Command, Output};

use git2::{Oid, Repository, Signature, Time};

use crate::components::idle;
use crate::harness::{Release, RunningHost, World, stderr, stdout};

/// A world whose desired files are in a repository: `fleet/*.toml`, and `components/idle` beside it.
struct Fleet {
    world: World,
    repository: Repository,
}

impl Fleet {
    fn new() -> Self {
        let world = World::new();
        let repository = Repository::init_bare(world.path().join("fleet.git")).expect("made");
        let wasm = idle("1");
        let release = Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm: &wasm };
        world.publish("idle", &release);
        Self { world, repository }
    }

    /// Commits these desired files, and the published component, on top of `parent`; moves the branch there.
    fn commit(&self, files: &[(&str, &str)], parent: Option<Oid>) -> Oid {
        self.commit_in("fleet", files, parent)
    }

    /// The same with the files in another directory.
    fn commit_in(&self, directory: &str, files: &[(&str, &str)], parent: Option<Oid>) -> Oid {
        let repository = &self.repository;
        let blob = |bytes: &[u8]| repository.blob(bytes).expect("a blob");
        let mut fleet = repository.treebuilder(None).expect("a tree");
        for (name, text) in files {
            fleet.insert(*name, blob(text.as_bytes()), 0o100_644).expect("inserted");
        }
        let mut component = repository.treebuilder(None).expect("a tree");
        for name in ["Component.toml", "Component.toml.sig", "component.wasm"] {
            let bytes = std::fs::read(self.world.component("idle").join(name)).expect("published");
            component.insert(name, blob(&bytes), 0o100_644).expect("inserted");
        }
        let mut components = repository.treebuilder(None).expect("a tree");
        components.insert("idle", component.write().expect("written"), 0o040_000).expect("inserted");
        let mut root = repository.treebuilder(None).expect("a tree");
        // The key of whoever writes the repository counts for nothing here.
        root.insert("trust.toml", blob(b"schema = 1\n"), 0o100_644).expect("inserted");
        root.insert(directory, fleet.write().expect("written"), 0o040_000).expect("inserted");
        root.insert("components", components.write().expect("written"), 0o040_000).expect("inserted");
        let tree = repository.find_tree(root.write().expect("written")).expect("a tree");
        let author = Signature::new("A", "a@example.com", &Time::new(1_767_225_600, 0)).expect("a name");
        let parent = parent.map(|id| repository.find_commit(id).expect("a commit"));
        let parents: Vec<_> = parent.iter().collect();
        let id = repository.commit(None, &author, &author, "change", &tree, &parents).expect("committed");
        self.point_to(id);
        id
    }

    /// Writes the host's settings.
    fn settings(&self, text: &str) {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(self.world.home()).expect("made");
        std::fs::write(self.world.home().join("config.toml"), text).expect("written");
    }

    /// Moves the branch, forwards or back.
    fn point_to(&self, id: Oid) {
        self.repository.reference("refs/heads/main", id, true, "test").expect("moved");
    }

    fn command(&self, command: &str, more: &[&str]) -> Command {
        let path: PathBuf = self.world.path().join("fleet.git");
        self.command_at(&format!("file://{}", path.display()), command, more)
    }

    /// The same with another URL of the repository.
    fn command_at(&self, url: &str, command: &str, more: &[&str]) -> Command {
        let trust = self.world.trust().to_string_lossy().into_owned();
        let mut arguments = vec![command, "--from-git", url, "--path", "fleet", "--trust", &trust];
        arguments.extend(more);
        self.world.command(&arguments)
    }

    fn output(&self, command: &str, more: &[&str]) -> Output {
        self.command(command, more).output().expect("the binary runs")
    }

    fn names(&self) -> Vec<String> {
        self.world.committed().into_keys().collect()
    }
}

/// A desired file whose artifact is in the same repository.
const IDLE: &str = "package = \"test:idle\"\n\n[source.file]\npath = \"../components/idle\"\n";

#[test]
fn a_commit_is_applied_and_the_plan_names_it() {
    let fleet = Fleet::new();
    let first = fleet.commit(&[("one.toml", IDLE)], None);
    let short = first.to_string()[..7].to_owned();
    let plan = fleet.output("plan", &[]);
    assert_eq!(plan.status.code(), Some(10), "{}{}", stdout(&plan), stderr(&plan));
    assert!(stdout(&plan).contains(&format!("branch main@{short}, path fleet (the first)")), "{}", stdout(&plan));
    let applied = fleet.output("apply", &[]);
    assert!(applied.status.success(), "{}{}", stdout(&applied), stderr(&applied));
    assert_eq!(fleet.names(), ["one"]);
    let plan = fleet.output("plan", &[]);
    assert_eq!(plan.status.code(), Some(0), "{}{}", stdout(&plan), stderr(&plan));
    assert!(stdout(&plan).contains("(as applied)"), "{}", stdout(&plan));
    // Without the repository, what was applied last is still known.
    std::fs::rename(fleet.world.path().join("fleet.git"), fleet.world.path().join("gone.git")).expect("moved");
    let plan = fleet.output("plan", &["--offline"]);
    assert!(stdout(&plan).contains("(as applied)"), "{}{}", stdout(&plan), stderr(&plan));
}

#[test]
fn g4_t2_an_older_commit_is_refused_also_after_a_restart_and_a_kill() {
    let fleet = Fleet::new();
    let first = fleet.commit(&[("one.toml", IDLE)], None);
    let second = fleet.commit(&[("one.toml", IDLE), ("two.toml", IDLE)], Some(first));
    let mut host = RunningHost::spawn(fleet.command("run", &[]));
    host.wait_for(&["converged"]);
    assert_eq!(fleet.names(), ["one", "two"]);
    fleet.point_to(first);
    // It waits for the look at the repository, and the pass after it.
    let sync = fleet.world.output(&["sync"]);
    assert!(stdout(&sync).contains("doesn't descend from"), "{}{}", stdout(&sync), stderr(&sync));
    host.wait_for(&["doesn't descend from", &second.to_string()[..7]]);
    assert_eq!(fleet.names(), ["one", "two"]);
    host.kill();
    let mut host = RunningHost::spawn(fleet.command("run", &[]));
    host.wait_for(&["doesn't descend from"]);
    assert_eq!(fleet.names(), ["one", "two"]);
    assert!(host.stop().success());
    let applied = fleet.output("apply", &[]);
    assert_eq!(applied.status.code(), Some(12), "{}{}", stdout(&applied), stderr(&applied));
    assert!(stderr(&applied).contains("--allow-non-fast-forward"), "{}", stderr(&applied));
    let allowed = fleet.output("apply", &["--allow-non-fast-forward"]);
    assert!(allowed.status.success(), "{}{}", stdout(&allowed), stderr(&allowed));
    assert_eq!(fleet.names(), ["one"]);
}

#[test]
fn sync_waits_for_the_commit_and_its_pass_and_status_speaks_of_the_repository() {
    let fleet = Fleet::new();
    let first = fleet.commit(&[("one.toml", IDLE)], None);
    let mut host = RunningHost::spawn(fleet.command("run", &[]));
    host.wait_for(&["converged"]);
    for count in 1..4 {
        let parent = fleet.repository.refname_to_id("refs/heads/main").expect("there");
        let files = ["one.toml", "two.toml", "three.toml", "four.toml"].map(|name| (name, IDLE));
        let commit = fleet.commit(&files[..=count], Some(parent));
        let sync = fleet.world.output(&["sync", "--output", "json"]);
        let pass: serde_json::Value = serde_json::from_str(&stdout(&sync)).expect("JSON");
        assert_eq!((sync.status.code(), &pass["fetching"]), (Some(0), &false.into()), "{pass:#}");
        assert_eq!(pass["done"][0]["kind"], "install", "{pass:#}");
        assert_eq!(fleet.names().len(), count + 1);
        let status = fleet.world.status();
        let shown = &status["from_git"];
        assert_eq!((&shown["applied"], &shown["seen"]), (&commit.to_string().into(), &commit.to_string().into()));
        assert_eq!((&shown["path"], &shown["reference"]), (&"fleet".into(), &"branch main".into()), "{shown}");
        assert!(shown["looked_ms_ago"].is_u64() && shown["last_error"].is_null(), "{shown}");
    }
    let text = stdout(&fleet.world.output(&["status"]));
    assert!(text.contains("watching    the repository, every 1m"), "{text}");
    // Nothing to wait for, and what can't be had is said.
    let no_wait = fleet.world.output(&["sync", "--no-wait"]);
    assert_eq!(no_wait.status.code(), Some(0), "{}{}", stdout(&no_wait), stderr(&no_wait));
    std::fs::rename(fleet.world.path().join("fleet.git"), fleet.world.path().join("gone.git")).expect("moved");
    let sync = fleet.world.output(&["sync"]);
    assert!(stdout(&sync).contains("problem"), "{}{}", stdout(&sync), stderr(&sync));
    let status = fleet.world.status();
    assert!(status["from_git"]["error_class"].is_string(), "{status:#}");
    assert_eq!(fleet.names().len(), 4);
    assert!(host.stop().success());
    assert_ne!(first.to_string(), status["from_git"]["applied"]);
}

#[test]
fn validate_reads_the_files_of_a_commit_and_changes_nothing() {
    let fleet = Fleet::new();
    let first = fleet.commit(&[("one.toml", IDLE)], None);
    let validate = |more: &[&str]| {
        let url = format!("file://{}", fleet.world.path().join("fleet.git").display());
        let mut arguments = vec!["validate", "--from-git", &url, "--path", "fleet"];
        arguments.extend(more);
        fleet.world.output(&arguments)
    };
    let valid = validate(&[]);
    assert_eq!((valid.status.code(), stdout(&valid).as_str()), (Some(0), "1 file is valid\n"), "{}", stderr(&valid));
    fleet.commit(&[("one.toml", IDLE), ("broken.toml", "name = \"broken\"\npackage")], Some(first));
    let broken = validate(&[]);
    assert_eq!(broken.status.code(), Some(7), "{}{}", stdout(&broken), stderr(&broken));
    assert!(stderr(&broken).contains("fleet/broken.toml:2"), "{}", stderr(&broken));
    let missing = validate(&["--ref", "branch:other"]);
    assert_eq!(missing.status.code(), Some(3), "{}{}", stdout(&missing), stderr(&missing));
    assert!(!fleet.world.home().join("state/current").exists());
}

#[test]
fn an_empty_commit_and_a_path_that_leads_out_change_nothing() {
    let fleet = Fleet::new();
    let first = fleet.commit(&[("one.toml", IDLE)], None);
    assert!(fleet.output("apply", &[]).status.success());
    let empty = fleet.commit(&[("readme", "nothing")], Some(first));
    let applied = fleet.output("apply", &[]);
    assert_eq!(applied.status.code(), Some(12), "{}{}", stdout(&applied), stderr(&applied));
    assert_eq!(fleet.names(), ["one"]);
    let out = IDLE.replace("../components", "../../components");
    fleet.commit(&[("one.toml", IDLE), ("bad.toml", &out), ("broken.toml", "name = \"broken\"\npackage")], Some(empty));
    let applied = fleet.output("apply", &[]);
    assert_eq!(applied.status.code(), Some(12), "{}{}", stdout(&applied), stderr(&applied));
    assert!(stdout(&applied).contains("leads out of the repository"), "{}{}", stdout(&applied), stderr(&applied));
    assert!(stdout(&applied).contains("fleet/broken.toml"), "{}{}", stdout(&applied), stderr(&applied));
    assert_eq!(fleet.names(), ["one"]);
}

#[test]
fn a_saved_plan_is_for_one_commit_and_refused_once_the_branch_has_moved() {
    let fleet = Fleet::new();
    let trust = fleet.world.trust().to_string_lossy().into_owned();
    let apply = || fleet.world.output(&["apply", "saved.json", "--trust", &trust]);
    let first = fleet.commit(&[("one.toml", IDLE)], None);
    let saved = fleet.output("plan", &["--out", "saved.json"]);
    assert_eq!(saved.status.code(), Some(10), "{}{}", stdout(&saved), stderr(&saved));
    let second = fleet.commit(&[("one.toml", IDLE), ("two.toml", IDLE)], Some(first));
    let refused = apply();
    assert_eq!(refused.status.code(), Some(7), "{}{}", stdout(&refused), stderr(&refused));
    let (was, is) = (&first.to_string()[..7], &second.to_string()[..7]);
    let words = format!("the commit of the desired files changed from {was} to {is} since the plan was made");
    assert!(stderr(&refused).contains(&words), "{}", stderr(&refused));
    assert!(fleet.names().is_empty());
    assert_eq!(fleet.output("plan", &["--out", "saved.json"]).status.code(), Some(10));
    let applied = apply();
    assert!(applied.status.success(), "{}{}", stdout(&applied), stderr(&applied));
    assert_eq!(fleet.names(), ["one", "two"]);
}

#[test]
fn a_running_host_that_does_not_know_the_commit_of_a_saved_plan_refuses_it() {
    let fleet = Fleet::new();
    let first = fleet.commit(&[("one.toml", IDLE)], None);
    let mut host = RunningHost::spawn(fleet.command("run", &[]));
    host.wait_for(&["converged"]);
    let apply = || fleet.world.output(&["apply", "saved.json"]);
    assert_eq!(fleet.output("plan", &["--out", "saved.json"]).status.code(), Some(0));
    let applied = apply();
    assert!(applied.status.success(), "{}{}", stdout(&applied), stderr(&applied));
    // It looks at the repository once a minute; `plan` looked just now.
    fleet.commit(&[("one.toml", IDLE), ("two.toml", IDLE)], Some(first));
    assert_eq!(fleet.output("plan", &["--out", "saved.json"]).status.code(), Some(10));
    let refused = apply();
    assert_eq!(refused.status.code(), Some(7), "{}{}", stdout(&refused), stderr(&refused));
    let told = stderr(&refused);
    assert!(
        told.contains("the commit of the desired files changed from ") && told.contains("airssys-wasm sync"),
        "{told}"
    );
    assert_eq!(fleet.names(), ["one"]);
    assert!(host.stop().success());
}
