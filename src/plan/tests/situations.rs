//! Single situations and what must come of them.

use serde_json::json;

use super::fixture::{Scene, grant, key, name, needs, permissions, spec, with};
use crate::desired::spec::{Require, RestartPolicy, Source, Spec, Trigger};
use crate::digest::Digest;
use crate::observed::Phase;
use crate::permission::{Grant, Mode};
use crate::plan::action::{Effect, Instance, Kind, Storage};
use crate::plan::approval::ApprovalName;
use crate::quantity::{ByteSize, Millis};
use crate::resolution::{Candidate, Refusal, Resolution};

fn off(installation: &str) -> Spec {
    with(spec(installation), |spec| spec.enabled = false)
}

fn pinned(installation: &str, version: &str) -> Spec {
    with(spec(installation), |spec| spec.require.version = Some(format!("={version}").parse().expect("a pin")))
}

fn of_package(installation: &str, package: &str) -> Spec {
    with(spec(installation), |spec| spec.package = package.parse().expect("a package"))
}

fn moved(installation: &str, old: &str, package: &str) -> Spec {
    with(of_package(installation, package), |spec| spec.moved_from = Some(name(old)))
}

fn instance(scene: &Scene, installation: &str) -> Instance {
    match scene.action(installation).effect {
        Some(Effect::Commit(commit)) => commit.instance,
        other => panic!("no commit: {other:?}"),
    }
}

#[test]
fn disabling_stops_and_never_uninstalls() {
    let scene = Scene::default().have(spec("a"), "1.0.0").want(off("a"), "1.0.0");
    assert_eq!(scene.reason("a"), "reconfigure disabled");
    assert_eq!(instance(&scene, "a"), Instance::Stop);
    assert_eq!(scene.plan().totals().uninstall, 0);
    let update_too = Scene::default().have(spec("a"), "1.0.0").want(off("a"), "1.1.0");
    assert_eq!(instance(&update_too, "a"), Instance::Stop);
    let stays_off = Scene::default().have(off("a"), "1.0.0").want(off("a"), "1.1.0");
    assert_eq!(instance(&stays_off, "a"), Instance::Keep);
    let ran_all_the_same = stays_off.phase("a", Phase::Running);
    assert_eq!(instance(&ran_all_the_same, "a"), Instance::Stop);
}

#[test]
fn a_failed_component_is_left_to_its_supervisor_until_its_target_changes() {
    for phase in [Phase::Running, Phase::Starting, Phase::Backoff, Phase::Failed, Phase::NotRunning] {
        let scene = Scene::default().settled(&["a"]).phase("a", phase);
        assert!(scene.plan().actions.is_empty(), "{phase:?}");
    }
    let depends_on = with(needs("a", &["b"]), |_| {});
    let scene = Scene::default().settled(&["b"]).have(spec("a"), "1.0.0").want(depends_on, "1.0.0");
    assert_eq!(instance(&scene, "a"), Instance::Keep);
    assert_eq!(instance(&scene.phase("a", Phase::Failed), "a"), Instance::Fresh);
}

#[test]
fn who_observes_is_not_blocked_by_what_it_lacks_and_never_gets_it() {
    let asks = |c: &mut Candidate| c.artifact.ask = permissions(&["send audit", "send alerter"]);
    let grants = |mode| with(spec("a"), move |s| s.grant = Grant { mode, ..grant(&["send audit"]) });
    let enforced = Scene::default().want_with(grants(Mode::Enforce), "1.0.0", asks);
    assert_eq!(enforced.reason("a"), "blocked permission-withheld");
    let observed = Scene::default().want_with(grants(Mode::Observe), "1.0.0", asks);
    assert_eq!(observed.reason("a"), "install not-installed");
    let plan = observed.plan();
    assert_eq!(plan.actions[0].deltas.permissions.added, ["send \"audit\""]);
    assert!(plan.actions[0].risks[0].contains("it runs without send \"alerter\""), "{:?}", plan.actions[0].risks);
    // Nobody gets by watching what is forbidden, or more than the publisher may have.
    let over_cap = Scene::default().want_with(grants(Mode::Observe), "1.0.0", |c| {
        asks(c);
        c.permissions_max = permissions(&["send other"]);
    });
    assert_eq!(over_cap.reason("a"), "blocked permission-over-cap");
}

#[test]
fn a_component_in_quarantine_is_held_until_its_target_changes() {
    let settled = Scene::default().settled(&["a"]).phase("a", Phase::Quarantined);
    assert_eq!(settled.reason("a"), "hold quarantined");
    assert!(settled.plan().actions[0].effect.is_none() && settled.plan().exit_code() == 12);
    let other = Scene::default().have(spec("a"), "1.0.0").phase("a", Phase::Quarantined);
    let update = Scene::default().have(spec("a"), "1.0.0").want(spec("a"), "1.1.0").phase("a", Phase::Quarantined);
    assert_eq!(instance(&update, "a"), Instance::Fresh);
    assert_eq!(other.reason("a"), "uninstall file-removed");
    let off = Scene::default().have(spec("a"), "1.0.0").want(off("a"), "1.0.0").phase("a", Phase::Quarantined);
    assert_eq!(off.reason("a"), "reconfigure disabled");
}

#[test]
fn a_component_that_stands_still_is_restarted_even_while_its_source_is_away() {
    let scene = Scene::default().settled(&["a"]).phase("a", Phase::Stopped);
    assert_eq!(scene.reason("a"), "restart not-running");
    let away = scene.unresolved("a", Resolution::Unavailable, Refusal::new("source-missing", "gone"));
    assert_eq!(away.reason("a"), "restart not-running");
    let revoked = away.unresolved("a", Resolution::Refused, Refusal::new("unknown-signer", "revoked"));
    assert_eq!(revoked.reason("a"), "blocked unknown-signer");
    let other_spec = Scene::default().have(off("a"), "1.0.0").phase("a", Phase::Running).want(spec("a"), "1.0.0");
    let away = other_spec.unresolved("a", Resolution::Unavailable, Refusal::new("source-missing", "gone"));
    assert_eq!(away.reason("a"), "hold source-missing");
}

#[test]
fn only_an_exact_pin_goes_back_and_nothing_goes_below_the_floor() {
    let have = Scene::default().have(spec("a"), "1.2.0");
    assert_eq!(have.clone().want(spec("a"), "1.1.0").reason("a"), "blocked rollback");
    let loose = with(spec("a"), |s| s.require.version = Some("1.1.0".parse().expect("a requirement")));
    assert_eq!(have.clone().want(loose, "1.1.0").reason("a"), "blocked rollback");
    let mut back = have.want(pinned("a", "1.1.0"), "1.1.0");
    assert_eq!(back.reason("a"), "update pinned-older");
    back.floors.raise_floor(&"acme:a".parse().expect("a package"), 10_101);
    assert_eq!(back.reason("a"), "blocked below-floor");
}

#[test]
fn a_replayed_older_release_is_blocked_on_another_installation_and_after_an_uninstall() {
    let mut scene =
        Scene::default().have(of_package("a", "acme:app"), "1.2.0").want(of_package("a", "acme:app"), "1.2.0");
    scene = scene.want(of_package("b", "acme:app"), "1.1.0");
    assert_eq!(scene.reason("b"), "blocked rollback");
    scene.observed.installed.clear();
    assert_eq!(scene.reason("b"), "blocked rollback");
}

#[test]
fn what_runs_may_go_on_below_the_highest_sequence() {
    let mut scene = Scene::default().have(spec("a"), "1.0.0").want(needs("a", &["b"]), "1.0.0").settled(&["b"]);
    scene.floors.accept(&"acme:a".parse().expect("a package"), 20_000);
    assert_eq!(scene.reason("a"), "reconfigure spec-changed");
}

#[test]
fn the_same_version_with_other_bytes_needs_a_higher_sequence() {
    let other = |sequence: u64| {
        Scene::default().have(spec("a"), "1.0.0").want_with(spec("a"), "1.0.0", |candidate| {
            candidate.artifact.wasm = Digest::of(b"other");
            candidate.artifact.sequence = sequence;
        })
    };
    assert_eq!(other(10_000).reason("a"), "blocked same-version-other-bytes");
    assert_eq!(other(10_001).reason("a"), "update new-artifact");
    let resigned = Scene::default()
        .have(spec("a"), "1.0.0")
        .want_with(spec("a"), "1.0.0", |candidate| candidate.artifact.signature = Digest::of(b"one signature more"));
    assert_eq!(resigned.reason("a"), "update new-artifact");
    assert_eq!(instance(&resigned, "a"), Instance::Keep);
}

#[test]
fn a_held_target_waits_until_something_else_is_wanted() {
    let held = Scene::default().have(spec("a"), "1.0.0").want(spec("a"), "1.1.0").hold_wanted("a", "it crashed");
    assert_eq!(held.reason("a"), "hold held-target");
    assert!(held.plan().released.is_empty());
    let newer = held.clone().want(spec("a"), "1.2.0");
    assert_eq!(newer.reason("a"), "update new-artifact");
    assert_eq!(newer.plan().released, [name("a")]);
    let back = held.clone().want(spec("a"), "1.0.0");
    assert!(back.plan().is_converged());
    assert_eq!(back.plan().released, [name("a")]);
    let mut removed = held.settled(&["x", "y"]);
    removed.desired.entries.remove(&name("a"));
    assert_eq!(removed.plan().released, [name("a")]);
    removed.desired.complete = false;
    assert!(removed.plan().released.is_empty(), "nobody knows whether it is still wanted");
}

#[test]
fn an_approval_for_one_action_is_worth_nothing_for_another() {
    let change = |version: &str| {
        Scene::default()
            .have(spec("a"), "1.0.0")
            .want_with(spec("a"), version, |candidate| candidate.artifact.signers = [key(2)].into())
    };
    let approved = change("1.1.0").approve_all();
    assert_eq!(approved.plan().exit_code(), 10);
    let other = Scene { approvals: approved.approvals.clone(), ..change("1.2.0") };
    assert_eq!(other.plan().exit_code(), 11);
    assert!(other.effects().is_empty());
}

#[test]
fn a_first_install_needs_no_approval_whatever_it_may() {
    let wide = with(spec("a"), |spec| spec.grant = grant(&["send *"]));
    let scene = Scene::default().want_with(wide, "1.0.0", |c| c.artifact.ask = permissions(&["send alerter"]));
    assert_eq!(scene.effects(), ["install a"]);
}

#[test]
fn a_new_permission_needs_an_approval_only_when_no_line_names_it() {
    let update = |grants: &[&str]| {
        Scene::default()
            .have_with(with(spec("a"), |s| s.grant = grant(grants)), "1.0.0", |c| {
                c.artifact.ask = permissions(&["send x"])
            })
            .want_with(with(spec("a"), |s| s.grant = grant(grants)), "1.1.0", |c| {
                c.artifact.ask = permissions(&["send x", "send y"]);
            })
    };
    assert_eq!(update(&["send x", "send y"]).plan().exit_code(), 10);
    let covered = update(&["send *"]);
    let approvals = covered.action("a").approvals;
    assert_eq!(approvals.len(), 1);
    assert_eq!(approvals[0].name, ApprovalName::Permission(name("a")));
    // Covered before and covered now is nothing new.
    let again = Scene::default()
        .have_with(with(spec("a"), |s| s.grant = grant(&["send *"])), "1.0.0", |c| {
            c.artifact.ask = permissions(&["send x"])
        })
        .want_with(with(spec("a"), |s| s.grant = grant(&["send *"])), "1.1.0", |c| {
            c.artifact.ask = permissions(&["send x"])
        });
    assert_eq!(again.plan().exit_code(), 10);
}

#[test]
fn approved_deletes_do_not_cover_more_of_them() {
    let approved = ["c", "d"].iter().fold(Scene::default().settled(&["a"]), |s, n| s.have(spec(n), "1.0.0"));
    let mut approved = approved.have(spec("e"), "1.0.0").have(spec("f"), "1.0.0").approve_all();
    assert_eq!(approved.effects(), ["uninstall c", "uninstall d", "uninstall e", "uninstall f"]);
    approved.desired.entries.clear();
    assert_eq!(
        approved.effects(),
        ["uninstall c", "uninstall d", "uninstall e", "uninstall f"],
        "a needs its own word"
    );
    assert_eq!(approved.plan().exit_code(), 11);
}

#[test]
fn the_last_of_one_may_go_and_all_of_two_may_not() {
    assert_eq!(Scene::default().have(spec("a"), "1.0.0").effects(), ["uninstall a"]);
    let two = Scene::default().have(spec("a"), "1.0.0").have(spec("b"), "1.0.0");
    assert!(two.effects().is_empty());
    assert_eq!(two.plan().exit_code(), 11);
}

#[test]
fn dependents_come_after_what_they_need_also_through_what_stays() {
    let scene = Scene::default()
        .have(spec("z-base"), "1.0.0")
        .want(spec("z-base"), "1.1.0")
        .have(needs("m-middle", &["z-base"]), "1.0.0")
        .want(needs("m-middle", &["z-base"]), "1.0.0")
        .want(needs("a-top", &["m-middle"]), "1.0.0")
        .want(spec("b-free"), "1.0.0");
    assert_eq!(scene.effects(), ["install b-free", "update z-base", "install a-top"]);
}

#[test]
fn uninstalls_come_last_and_dependents_first_even_in_a_circle_of_records() {
    let scene = Scene::default()
        .settled(&["k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"])
        .have(needs("a", &["b"]), "1.0.0")
        .have(spec("b"), "1.0.0")
        .want(spec("zz"), "1.0.0");
    assert_eq!(scene.effects(), ["install zz", "uninstall a", "uninstall b"]);
    let circle = Scene::default()
        .settled(&["k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"])
        .have(needs("a", &["b"]), "1.0.0")
        .have(needs("b", &["a"]), "1.0.0");
    assert_eq!(circle.effects(), ["uninstall a", "uninstall b"]);
}

#[test]
fn an_installed_component_stays_when_its_dependency_goes() {
    let scene = Scene::default().settled(&["x", "y"]).have(spec("db"), "1.0.0").have(needs("app", &["db"]), "1.0.0");
    let scene = scene.want(needs("app", &["db"]), "1.1.0");
    assert_eq!(scene.effects(), ["update app", "uninstall db"]);
    assert!(scene.action("db").risks.contains(&"still needed by app".to_owned()));
}

#[test]
fn a_blocked_dependency_blocks_all_that_would_start_on_it() {
    let scene = Scene::default()
        .want(needs("c", &["b"]), "1.0.0")
        .want(needs("b", &["a"]), "1.0.0")
        .want(spec("a"), "1.0.0")
        .unresolved("a", Resolution::Refused, Refusal::new("unsigned", "no signature"));
    assert!(scene.effects().is_empty());
    assert_eq!(scene.reason("b"), "blocked dependency-not-installed");
    assert_eq!(scene.reason("c"), "blocked dependency-not-installed");
}

#[test]
fn a_dependency_that_is_installed_and_held_is_there() {
    let scene = Scene::default()
        .have(spec("db"), "1.0.0")
        .bad_file("db", "x", 0..1, "bad")
        .want(needs("app", &["db"]), "1.0.0");
    assert_eq!(scene.effects(), ["install app"]);
}

#[test]
fn a_move_keeps_storage_and_makes_an_instance_under_the_new_name() {
    let scene = Scene::default()
        .settled(&["x"])
        .have(of_package("old", "acme:app"), "1.0.0")
        .want(moved("new", "old", "acme:app"), "1.0.0")
        .want(needs("user", &["new"]), "1.0.0");
    assert_eq!(scene.effects(), ["move new", "install user"]);
    let Some(Effect::Commit(commit)) = scene.action("new").effect else { panic!("no commit") };
    assert_eq!((commit.storage, commit.instance), (Storage::Keep(2), Instance::Fresh));
    assert_eq!(commit.moved_from, Some(name("old")));
}

#[test]
fn a_move_that_cannot_be_done_leaves_the_old_name_running() {
    let base = || Scene::default().settled(&["x", "y"]).have(of_package("old", "acme:app"), "1.0.0");
    let other_package = base().want(moved("new", "old", "acme:other"), "1.0.0");
    assert_eq!(other_package.reason("new"), "blocked moved-from-other-package");
    assert_eq!(other_package.reason("old"), "hold moved-from-other-package");

    let occupied = base().have(of_package("new", "acme:app"), "1.0.0").want(moved("new", "old", "acme:app"), "1.0.0");
    assert_eq!(occupied.reason("new"), "blocked moved-from-occupied");
    assert_eq!(occupied.reason("old"), "hold moved-from-occupied");

    let in_use = base().want(of_package("old", "acme:app"), "1.0.0").want(moved("new", "old", "acme:app"), "1.0.0");
    assert_eq!(in_use.reason("new"), "blocked moved-from-in-use");
    assert!(in_use.effects().is_empty());

    let unseen = base().unknown_file("new2.toml", "bad").want(moved("new", "old", "acme:app"), "1.0.0");
    assert_eq!(unseen.reason("new"), "blocked unreadable-files");
    assert_eq!(unseen.reason("old"), "hold unreadable-files");

    let other_signer =
        base().want_with(moved("new", "old", "acme:app"), "1.0.0", |c| c.artifact.publisher = "other".to_owned());
    assert_eq!(other_signer.reason("old"), "hold moves-later");
    assert!(other_signer.effects().is_empty());
    assert_eq!(other_signer.approve_all().effects(), ["move new"]);
}

#[test]
fn a_line_that_was_followed_may_stay_in_the_file() {
    let scene = Scene::default()
        .settled(&["x", "y"])
        .have(moved("new", "old", "acme:app"), "1.0.0")
        .want(moved("new", "old", "acme:app"), "1.0.0")
        .have(of_package("old", "acme:app"), "1.0.0");
    assert_eq!(scene.effects(), ["uninstall old"]);
    let next_to_it = scene.want(of_package("old", "acme:app"), "1.0.0");
    assert!(next_to_it.plan().actions.is_empty());
}

#[test]
fn another_package_gets_other_storage_and_another_signer_does_not() {
    let other_package = Scene::default().have(spec("a"), "1.0.0").want(of_package("a", "acme:b"), "1.0.0");
    let Some(Effect::Commit(commit)) = other_package.action("a").effect else { panic!("no commit") };
    assert_eq!(commit.storage, Storage::New);
    let other_signer = Scene::default()
        .have(spec("a"), "1.0.0")
        .want_with(spec("a"), "1.1.0", |candidate| candidate.artifact.signers = [key(2)].into())
        .approve_all();
    let Some(Effect::Commit(commit)) = other_signer.action("a").effect else { panic!("no commit") };
    assert_eq!(commit.storage, Storage::Keep(1));
}

#[test]
fn moving_a_line_is_no_change() {
    let mut scene = Scene::default().settled(&["a"]);
    let Some(crate::desired::Entry::Wanted { origin, .. }) = scene.desired.entries.get_mut(&name("a")) else {
        panic!("it is wanted")
    };
    *origin = std::sync::Arc::new(crate::desired::spec::Origin { file: "other.toml".to_owned(), ..(**origin).clone() });
    assert!(scene.plan().actions.is_empty());
}

#[test]
fn a_smaller_cap_takes_nothing_away_in_silence() {
    let sends = |s: &mut Spec| s.grant = grant(&["send x"]);
    let ask = permissions(&["send x"]);
    let scene = Scene::default()
        .have_with(with(spec("a"), sends), "1.0.0", |c| c.artifact.ask = ask.clone())
        .want_with(with(spec("a"), sends), "1.0.0", |c| {
            c.artifact.ask = ask.clone();
            c.permissions_max = permissions(&[]);
        });
    assert_eq!(scene.reason("a"), "blocked permission-over-cap");
}

#[test]
fn an_ask_that_is_declined_blocks_nothing() {
    let declines = with(spec("a"), |s| s.grant.without = ["send x".parse().expect("an entry")].into());
    let scene = Scene::default().want_with(declines, "1.0.0", |c| c.artifact.ask = permissions(&["send x"]));
    assert_eq!(scene.effects(), ["install a"]);
    assert!(scene.action("a").after.expect("it is known").permissions.is_empty());
}

#[test]
fn exit_codes_come_from_the_actions() {
    let code = |scene: &Scene| scene.plan().exit_code();
    let settled = Scene::default().settled(&["a", "b"]);
    assert_eq!(code(&settled), 0);
    let changes = settled.clone().want(spec("c"), "1.0.0");
    assert_eq!(code(&changes), 10);
    let only_a_restart = settled.clone().phase("a", Phase::Stopped);
    assert_eq!(code(&only_a_restart), 10);
    let needs_approval = changes.clone().want_with(spec("a"), "1.1.0", |c| c.artifact.publisher = "other".to_owned());
    assert_eq!(code(&needs_approval), 11);
    let held = needs_approval.bad_file("b", "x", 0..1, "bad");
    assert_eq!(code(&held), 12);
    assert_eq!(code(&settled.clone().unknown_file("x.toml", "bad")), 12);
    let mut vanished = settled;
    vanished.desired.complete = false;
    assert_eq!(code(&vanished), 12);
}

#[test]
fn every_part_of_a_spec_shows_in_the_deltas_and_names_its_key() {
    type Change = fn(&mut Spec);
    let changes: [(&str, Change); 14] = [
        ("enabled", |s| s.enabled = false),
        ("depends-on", |s| s.depends_on = [name("b")].into()),
        ("moved-from", |s| s.moved_from = Some(name("q"))),
        ("require", |s| s.require = Require { version: None, signer: Some(key(7)) }),
        ("require", |s| s.require.version = Some("^1".parse().expect("a requirement"))),
        ("source", |s| s.source = Source::File { path: "elsewhere".to_owned() }),
        ("grant", |s| s.grant = grant(&["send x"])),
        ("grant", |s| s.grant.without = ["send".parse().expect("a kind")].into()),
        ("links", |s| drop(s.links.insert("x".parse().expect("a link"), name("b")))),
        ("config", |s| drop(s.config.insert("k".to_owned(), json!(1)))),
        ("limits", |s| s.limits.memory = Some(ByteSize(1 << 20))),
        ("limits", |s| s.limits.sends = Some(crate::limits::DEFAULT_SENDS)),
        ("supervision", |s| s.supervision.restart = RestartPolicy::Never),
        ("trigger", |s| s.triggers.push(Trigger { every: Millis(1_000) })),
    ];
    for (key, change) in changes {
        let scene = Scene::default().settled(&["b"]).have(spec("a"), "1.0.0").want(with(spec("a"), change), "1.0.0");
        let action = scene.action("a");
        assert_eq!(action.kind, Kind::Reconfigure, "{key}");
        assert_eq!(action.deltas.changed_keys(), [key]);
        assert!(!action.deltas.is_empty(), "{key}");
    }
}

fn with_token(installation: &str) -> Spec {
    let config = serde_json::json!({ "token": { "secret-file": "../token" } });
    with(spec(installation), |spec| spec.config = config.as_object().cloned().expect("a table"))
}

#[test]
fn a_secret_with_another_content_is_a_reconfiguration_that_shows_two_fingerprints() {
    let token = "config.token";
    let wanted = Scene::default().want(with_token("a"), "1.0.0").secret("a", token, Ok(0xa1));
    assert_eq!(wanted.reason("a"), "install not-installed");
    let settled = wanted.applied("a");
    assert!(settled.plan().actions.is_empty());
    let changed = settled.secret("a", token, Ok(0xb2));
    assert_eq!(changed.reason("a"), "reconfigure secret-changed");
    assert_eq!(instance(&changed, "a"), Instance::Fresh);
    let text = changed.plan().text();
    assert!(text.contains("secret      config.token ***(a1a1a1) -> ***(b2b2b2)"), "{text}");
    assert!(changed.applied("a").plan().actions.is_empty());
}

#[test]
fn an_unreadable_secret_holds_what_runs_and_blocks_what_is_new() {
    let away = || Err(Refusal::new("secret-missing", "the file ../token is not there"));
    let wanted = Scene::default().want(with_token("a"), "1.0.0").secret("a", "config.token", Ok(1));
    let new = wanted.clone().secret("a", "config.token", away());
    assert_eq!(new.reason("a"), "blocked secret-missing");
    let settled = wanted.applied("a");
    for scene in [settled.clone(), settled.clone().want(with_token("a"), "1.1.0"), settled.phase("a", Phase::Stopped)] {
        let held = scene.secret("a", "config.token", away());
        assert_eq!(held.reason("a"), "hold secret-missing");
        assert_eq!(held.action("a").location.to_string(), "a.toml:15");
        assert_eq!(held.plan().exit_code(), 12);
    }
}

#[test]
fn an_approved_delete_counts_for_ten_minutes_like_any_other() {
    // Seven, of which four were deleted with an approval; one more file goes.
    let mut scene = Scene::default().settled(&["a", "b"]).have(spec("c"), "1.0.0");
    scene.recent = Some(crate::observed::RecentSet { size: 7, removed: 4 });
    let asked = scene.action("c").approvals;
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!((&asked[0].name, asked[0].given), (&ApprovalName::Delete, false));
    assert_eq!(asked[0].why, "5 of 7 deleted within ten minutes: more than is done unattended");
    assert_eq!(scene.approve_all().effects(), ["uninstall c"]);
}
