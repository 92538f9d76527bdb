//! The mark of what was applied last, attacked: whoever can write the repository brings back no older state (T2).

use std::process::Output;

use super::{Fleet, IDLE};
use crate::crash::copy_tree;
use crate::harness::{RunningHost, stderr, stdout};

fn text(output: &Output) -> String {
    format!("{}{}", stdout(output), stderr(output))
}

/// Two installations are applied from a second commit; gives the first one, too.
fn at_second() -> (Fleet, git2::Oid, git2::Oid) {
    let fleet = Fleet::new();
    let first = fleet.commit(&[("one.toml", IDLE)], None);
    let second = fleet.commit(&[("one.toml", IDLE), ("two.toml", IDLE)], Some(first));
    let applied = fleet.output("apply", &[]);
    assert!(applied.status.success(), "{}", text(&applied));
    assert_eq!(fleet.names(), ["one", "two"]);
    (fleet, first, second)
}

/// Puts another repository in its place, with a history of its own.
fn replace_repository(fleet: &Fleet) {
    let other = Fleet::new();
    other.commit(&[("one.toml", IDLE), ("two.toml", IDLE), ("three.toml", IDLE)], None);
    let place = fleet.world.path().join("fleet.git");
    std::fs::remove_dir_all(&place).expect("removed");
    copy_tree(&other.world.path().join("fleet.git"), &place);
}

#[track_caller]
fn is_refused(fleet: &Fleet, second: git2::Oid) {
    for command in ["plan", "apply"] {
        let output = fleet.output(command, &[]);
        assert_eq!(output.status.code(), Some(12), "{command}: {}", text(&output));
        let told = text(&output);
        assert!(told.contains("doesn't descend from") && told.contains(&second.to_string()[..7]), "{command}: {told}");
        assert_eq!(fleet.names(), ["one", "two"], "{command}");
    }
}

#[test]
fn g4_t2_another_repository_in_the_place_of_the_old_one_is_refused_by_a_host_and_after_it() {
    let (fleet, _, second) = at_second();
    let mut host = RunningHost::spawn(fleet.command("run", &[]));
    host.wait_for(&["converged: 2 of 2 running"]);
    replace_repository(&fleet);
    let sync = fleet.world.output(&["sync"]);
    assert_eq!(sync.status.code(), Some(12), "{}", text(&sync));
    assert!(stdout(&sync).contains("doesn't descend from"), "{}", text(&sync));
    assert_eq!(fleet.names(), ["one", "two"]);
    host.kill();
    is_refused(&fleet, second);
}

#[test]
fn g4_t2_a_mirror_that_is_gone_takes_the_mark_with_it_nowhere() {
    let (fleet, first, second) = at_second();
    let mirrors = fleet.world.home().join("state/mirrors");
    let forget = || std::fs::remove_dir_all(&mirrors).expect("there are mirrors");
    forget();
    fleet.point_to(first);
    is_refused(&fleet, second);
    forget();
    replace_repository(&fleet);
    is_refused(&fleet, second);
}

#[test]
fn g4_t2_a_rollback_of_the_set_is_none_of_the_mark() {
    let (fleet, first, second) = at_second();
    let third = fleet.commit(&[("one.toml", IDLE)], Some(second));
    let applied = fleet.output("apply", &[]);
    assert!(applied.status.success(), "{}", text(&applied));
    assert_eq!(fleet.names(), ["one"]);
    let trust = fleet.world.trust().to_string_lossy().into_owned();
    let back = fleet.world.output(&["rollback", "--yes", "--trust", &trust]);
    assert!(back.status.success(), "{}", text(&back));
    assert_eq!(fleet.names(), ["one", "two"]);
    for older in [first, second] {
        fleet.point_to(older);
        let refused = fleet.output("apply", &[]);
        assert_eq!(refused.status.code(), Some(12), "{}", text(&refused));
        assert!(
            text(&refused).contains(&format!("doesn't descend from {}", &third.to_string()[..7])),
            "{}",
            text(&refused)
        );
        assert_eq!(fleet.names(), ["one", "two"]);
    }
}

#[test]
fn g4_a_commit_that_joins_the_applied_history_with_another_one_descends_from_it() {
    let (fleet, _, second) = at_second();
    let foreign = fleet.commit(&[("three.toml", IDLE)], None);
    let join = |parents: [git2::Oid; 2]| {
        let repository = &fleet.repository;
        let parents = parents.map(|id| repository.find_commit(id).expect("a commit"));
        let tree = parents[0].tree().expect("a tree");
        let author = parents[0].author();
        let parents: Vec<_> = parents.iter().collect();
        let id = repository.commit(None, &author, &author, "join", &tree, &parents).expect("committed");
        fleet.point_to(id);
    };
    // Whose first parent it is does not matter: the applied commit is behind it.
    join([second, foreign]);
    let applied = fleet.output("apply", &[]);
    assert!(applied.status.success(), "{}", text(&applied));
    assert_eq!(fleet.names(), ["one", "two"]);
}
