//! Every shape of a plan as a person and a program see it, as files that reviewers read.

use expect_test::expect_file;
use serde_json::json;

use super::fixture::{Scene, bare_surface, grant, key, name, needs, permissions, spec, surface, with};
use crate::desired::spec::Trigger;
use crate::observed::{Phase, RecentSet};
use crate::permission::Mode;
use crate::quantity::{ByteSize, Millis};
use crate::resolution::{Refusal, Resolution};

/// Compares the text, and checks what every plan's text must hold.
fn check(scene: &Scene, file: expect_test::ExpectFile) {
    let plan = scene.plan();
    let text = plan.text();
    let lines = plan.lines();
    assert_eq!(text.lines().count(), lines.len(), "a line of the plan holds a line end");
    for action in &plan.actions {
        let is_named =
            lines.iter().any(|line| line.spans.get(1).is_some_and(|span| span.text.trim() == action.name.as_str()));
        assert!(is_named, "{} is missing", action.name);
        assert!(
            text.contains(&format!("[{}]", crate::escape::escape(&action.reason.code))),
            "{} does not say why",
            action.name
        );
    }
    file.assert_eq(&format!("{text}exit code {}\n", plan.exit_code()));
}

fn check_json(scene: &Scene, file: expect_test::ExpectFile) {
    let plan = scene.plan();
    let document = serde_json::to_value(plan.document()).expect("a document is JSON");
    assert_eq!(document["plan_digest"], plan.digest().to_string());
    file.assert_eq(&format!("{document:#}\n"));
}

macro_rules! golden {
    ($name:literal) => {
        expect_file![concat!("../../../tests/golden/plan/", $name)]
    };
}

/// One of everything.
pub(super) fn mixed() -> Scene {
    let config = |max: u64| {
        json!({ "retry": { "max": max, "wait": "1s" }, "zone": "eu" }).as_object().cloned().expect("an object")
    };
    let payments = |max: u64, grants: &[&str]| {
        with(needs("payments-api", &["ledger-core"]), |spec| {
            spec.config = config(max);
            spec.grant = grant(grants);
        })
    };
    Scene::default()
        .settled(&["web-front", "jobs", "stats", "mailer", "reports", "search"])
        .have(spec("ledger-core"), "2.0.1")
        .want(spec("ledger-core"), "2.1.0")
        .have_with(payments(3, &["send stripe"]), "1.4.2", |c| c.artifact.ask = permissions(&["send stripe"]))
        .want_with(payments(5, &["send stripe", "send ledger-core"]), "1.5.0", |c| {
            c.artifact.ask = permissions(&["send stripe", "send ledger-core"]);
        })
        .want(spec("ops-probe"), "0.1.0")
        .have(spec("old-report"), "0.7.3")
        .have(with(spec("web-ui"), |s| s.package = "acme:web".parse().expect("a package")), "3.1.0")
        .want(
            with(spec("web"), |s| {
                s.moved_from = Some(name("web-ui"));
                s.package = "acme:web".parse().expect("a package");
            }),
            "3.1.0",
        )
        .have(spec("geo-ip"), "1.0.0")
        .bad_file("geo-ip", "package = \"acme:geo-ip\"\nmemroy = 1\n", 24..30, "unknown key `memroy`")
        .want_with(spec("tracker"), "1.0.0", |c| c.artifact.ask = permissions(&["send alerter"]))
}

#[test]
fn an_empty_plan() {
    let mut scene = Scene::default();
    scene.observed.generation = 0;
    scene.observed.generation_digest = None;
    check(&scene, golden!("empty.txt"));
    check(&Scene::default().settled(&["a", "b", "c"]), golden!("converged.txt"));
    check(&Scene::default().settled(&["a", "b"]).no_host(), golden!("converged-no-host.txt"));
}

#[test]
fn one_of_everything() {
    check(&mixed(), golden!("mixed.txt"));
    check_json(&mixed(), golden!("mixed.json"));
}

#[test]
fn first_installs_in_the_order_of_their_dependencies() {
    let mut scene = Scene::default()
        .want(needs("api", &["ledger", "mailer"]), "1.0.0")
        .want_with(with(spec("ledger"), |s| s.grant = grant(&["receive *", "send audit"])), "2.3.4", |c| {
            c.artifact.ask = permissions(&["receive api", "send audit"]);
        })
        .want(with(spec("mailer"), |s| s.enabled = false), "1.0.0")
        .want(needs("worker", &["ledger"]), "0.1.0");
    scene.observed.generation = 0;
    check(&scene, golden!("install.txt"));
}

#[test]
fn everything_of_a_spec_that_can_change() {
    let before = with(spec("app"), |s| s.depends_on = [name("db")].into());
    let after = with(spec("app"), |s| {
        s.depends_on = [name("cache")].into();
        s.source = crate::desired::spec::Source::File { path: "/srv/app".to_owned() };
        s.require.version = Some("^1".parse().expect("a requirement"));
        s.require.signer = Some(key(0xa1));
        s.grant = grant(&["send *"]);
        s.grant.without = ["publish".parse().expect("a kind")].into();
        s.links.insert("alerter".parse().expect("a link"), name("alerter-prod"));
        s.config = json!({ "greeting": "hi\u{202e}", "n": 1 }).as_object().cloned().expect("an object");
        s.limits.memory = Some(ByteSize(128 << 20));
        s.limits.call = Some(Millis(5_000));
        s.supervision.max_restarts = 9;
        s.triggers = vec![Trigger { every: Millis(1_000) }];
    });
    let scene = Scene::default().settled(&["db", "cache"]).have(before, "1.0.0").want(after, "1.0.0");
    check(&scene, golden!("reconfigure.txt"));
    check_json(&scene, golden!("reconfigure.json"));
}

#[test]
fn stopping_starting_and_bringing_back() {
    let off = |name: &str| with(spec(name), |s| s.enabled = false);
    let scene = Scene::default()
        .settled(&["fell", "runs"])
        .phase("fell", Phase::Stopped)
        .have(spec("goes-off"), "1.0.0")
        .want(off("goes-off"), "1.0.0")
        .have(off("goes-on"), "1.0.0")
        .want(spec("goes-on"), "1.0.0")
        .have(off("ran-all-the-same"), "1.0.0")
        .want(off("ran-all-the-same"), "1.0.0")
        .phase("ran-all-the-same", Phase::Running);
    check(&scene, golden!("phases.txt"));
}

#[test]
fn moves() {
    let package = |name: &str| with(spec(name), |s| s.package = "acme:app".parse().expect("a package"));
    let moved = |name: &str, old: &str| with(package(name), |s| s.moved_from = Some(old.parse().expect("a name")));
    let scene = Scene::default()
        .have(package("plain-old"), "1.0.0")
        .want(moved("plain-new", "plain-old"), "1.0.0")
        .have(package("newer-old"), "1.0.0")
        .want(moved("newer-new", "newer-old"), "1.1.0")
        .have(package("stuck-old"), "1.0.0")
        .want(moved("stuck-new", "stuck-old"), "1.1.0")
        .unresolved(
            "stuck-new",
            Resolution::Unavailable,
            Refusal::new("source-missing", "../components/stuck-new does not exist"),
        )
        .want(moved("fresh", "never-was"), "1.0.0")
        .have(package("twice-old"), "1.0.0")
        .want(moved("twice-a", "twice-old"), "1.0.0")
        .want(moved("twice-b", "twice-old"), "1.0.0");
    check(&scene, golden!("moves.txt"));
}

#[test]
fn deletes() {
    let scene = Scene::default()
        .settled(&["a", "b", "c"])
        .have(needs("needs-old", &["old"]), "1.0.0")
        .want(needs("needs-old", &["old"]), "1.0.0")
        .have(needs("also-old", &["old"]), "0.2.0")
        .have(spec("old"), "0.7.3");
    check(&scene, golden!("delete.txt"));
    check(&Scene { recent: Some(RecentSet { size: 10, removed: 3 }), ..scene }, golden!("delete-adds-up.txt"));
}

#[test]
fn a_mass_delete_waits_for_an_approval() {
    let scene =
        ["e", "f", "g", "h"].iter().fold(Scene::default().settled(&["a", "b"]), |s, n| s.have(spec(n), "1.0.0"));
    check(&scene, golden!("mass-delete.txt"));
    check_json(&scene, golden!("mass-delete.json"));
    check(&scene.approve_all(), golden!("mass-delete-approved.txt"));
}

#[test]
fn what_cannot_be_seen_is_not_deleted() {
    let scene = Scene::default().settled(&["a"]).have(spec("b"), "1.0.0");
    let mut vanished = scene.clone();
    vanished.desired.complete = false;
    check(&vanished, golden!("directory-incomplete.txt"));
    let unreadable = scene
        .unknown_file("new.toml", "expected a value after `=`")
        .unknown_file("evil\u{1b}[2J\n.toml", "not valid UTF-8");
    check(&unreadable, golden!("unreadable-files.txt"));
    check_json(&unreadable, golden!("unreadable-files.json"));
}

#[test]
fn what_is_held() {
    let scene = Scene::default()
        .settled(&["a"])
        .have(spec("bad-file"), "1.0.0")
        .bad_file("bad-file", "packge = 1\n", 0..6, "unknown key `packge`")
        .bad_file("bad-and-new", "= 1\n", 0..1, "this is not valid TOML")
        .have(spec("rolled-back"), "1.0.0")
        .want(spec("rolled-back"), "1.1.0")
        .hold_wanted("rolled-back", "1.1.0 ended 3 times within 2 minutes of its start")
        .have(spec("source-gone"), "1.0.0")
        .want(spec("source-gone"), "1.0.0")
        .unresolved(
            "source-gone",
            Resolution::Unavailable,
            Refusal::new("source-missing", "../components/source-gone does not exist")
                .hint("build it, or correct the path"),
        );
    let mut scene = scene;
    let other = crate::digest::Digest::of(b"something else");
    scene.observed.held.insert(name("a"), crate::observed::HeldTarget { target: other, reason: "x".to_owned() });
    check(&scene, golden!("held.txt"));
}

#[test]
fn permissions_that_are_not_given_block_and_say_which_lines_are_missing() {
    let scene = Scene::default()
        .want_with(with(spec("withheld"), |s| s.grant = grant(&["send audit"])), "1.0.0", |c| {
            c.artifact.ask = permissions(&["send audit", "send alerter", "receive api"]);
        })
        .want_with(
            with(spec("not-enforced"), |s| s.grant = grant(&[r#"custom.metrics {"prefix":"shop"}"#])),
            "1.0.0",
            |c| {
                c.artifact.ask = permissions(&[r#"custom.metrics {"prefix":"shop"}"#]);
                c.permissions_max = c.artifact.ask.clone();
            },
        )
        .want_with(with(spec("over-cap"), |s| s.grant = grant(&["send *"])), "1.0.0", |c| {
            c.artifact.ask = permissions(&["send audit", "send alerter"]);
            c.permissions_max = permissions(&["send audit"]);
        })
        .have(spec("update"), "1.0.0")
        .want_with(spec("update"), "1.1.0", |c| c.artifact.ask = permissions(&["send alerter"]))
        .want_with(with(spec("watched"), |s| s.grant.mode = Mode::Observe), "1.0.0", |c| {
            c.artifact.ask = permissions(&["send audit", "send alerter"]);
        });
    check(&scene, golden!("permissions-blocked.txt"));
}

#[test]
fn what_the_rules_of_trust_and_sequence_block() {
    let pinned = |name: &str| with(spec(name), |s| s.require.version = Some("=1.0.0".parse().expect("a pin")));
    let mut scene = Scene::default()
        .want(spec("unsigned"), "1.0.0")
        .unresolved(
            "unsigned",
            Resolution::Refused,
            Refusal::new("unsigned", "Component.toml.sig is missing")
                .hint("sign it:\nairssys-wasm sign ../components/unsigned"),
        )
        .have(spec("back"), "1.2.0")
        .want(spec("back"), "1.1.0")
        .have(spec("pinned-back"), "1.2.0")
        .want(pinned("pinned-back"), "1.0.0")
        .have(spec("same"), "1.0.0")
        .want_with(spec("same"), "1.0.0", |c| c.artifact.wasm = crate::digest::Digest::of(b"other bytes"))
        .want(pinned("revoked"), "1.0.0")
        .want_with(spec("mixed-up"), "1.0.0", |c| c.artifact.package = "acme:other".parse().expect("a package"));
    scene.floors.raise_floor(&"acme:revoked".parse().expect("a package"), 10_100);
    check(&scene, golden!("rules-blocked.txt"));
}

#[test]
fn dependencies_that_block() {
    let scene = Scene::default()
        .want(needs("a", &["b"]), "1.0.0")
        .want(needs("b", &["c"]), "1.0.0")
        .want(needs("c", &["a"]), "1.0.0")
        .want(needs("after-a", &["a"]), "1.0.0")
        .want(needs("itself", &["itself"]), "1.0.0")
        .want(needs("lost", &["nowhere"]), "1.0.0")
        .want(with(spec("off"), |s| s.enabled = false), "1.0.0")
        .want(needs("after-off", &["off"]), "1.0.0")
        .have(needs("stays", &["nowhere"]), "1.0.0")
        .want(needs("stays", &["nowhere"]), "1.1.0")
        .have(spec("adds"), "1.0.0")
        .want(needs("adds", &["nowhere"]), "1.1.0")
        .want(spec("free"), "1.0.0");
    check(&scene, golden!("dependencies-blocked.txt"));
}

#[test]
fn changes_that_need_an_approval() {
    let wide = |name: &str| with(spec(name), |s| s.grant = grant(&["send *"]));
    let scene = Scene::default()
        .have_with(wide("covered"), "1.0.0", |c| c.artifact.ask = permissions(&["send alerter"]))
        .want_with(wide("covered"), "1.1.0", |c| c.artifact.ask = permissions(&["send alerter", "send payments"]))
        .have(spec("signer"), "1.0.0")
        .want_with(spec("signer"), "1.1.0", |c| c.artifact.signers = [key(0xb2)].into())
        .have(spec("publisher"), "1.0.0")
        .want_with(spec("publisher"), "1.1.0", |c| c.artifact.publisher = "evil\u{202e}".to_owned())
        .have(spec("key-added"), "1.0.0")
        .want_with(spec("key-added"), "1.1.0", |c| c.artifact.signers = [key(0xa1), key(0xb2)].into());
    check(&scene, golden!("approvals.txt"));
    check_json(&scene, golden!("approvals.json"));
    check(&scene.approve_all(), golden!("approved.txt"));
}

#[test]
fn interfaces_and_whom_they_touch() {
    let orders = |item: &str, signature: &str| format!("export acme:api/orders@1.0.0 {item} {signature}");
    let (place, cancel) = (orders("place", "func()"), orders("cancel", "func()"));
    let caller = with(needs("checkout", &["breaks"]), |s| {
        s.grant = grant(&["send shop", "send adds"]);
        s.links.insert("shop".parse().expect("a link"), name("breaks"));
    });
    let asks = |c: &mut crate::resolution::Candidate| c.artifact.ask = permissions(&["send shop", "send adds"]);
    let more = "import airssys:component/messaging@0.1.0 send func()";
    let scene = Scene::default()
        .settled(&["a", "b", "c", "d", "e", "f"])
        .have_with(caller.clone(), "1.0.0", asks)
        .want_with(caller, "1.0.0", asks)
        .have_with(spec("breaks"), "1.0.0", |c| c.surface = surface(&[&place, &cancel]))
        .want_with(spec("breaks"), "2.0.0", |c| c.surface = surface(&[&orders("place", "func(id: u64)")]))
        .have_with(spec("adds"), "1.0.0", |c| c.surface = surface(&[&place]))
        .want_with(spec("adds"), "1.1.0", |c| c.surface = surface(&[&place, &cancel, more]))
        .have(spec("goes"), "1.0.0")
        .have(spec("swapped"), "1.0.0")
        .want(with(spec("swapped"), |s| s.package = "acme:quite-another".parse().expect("a package")), "0.1.0")
        .want_with(spec("new"), "1.0.0", |c| c.surface = surface(&[&place]))
        .want_with(spec("wants-more"), "1.0.0", |c| c.surface = surface(&["import wasi:io/streams@0.3.0 f func()"]));
    check(&scene, golden!("interfaces.txt"));
    check_json(&scene, golden!("interfaces.json"));
}

#[test]
fn what_becomes_of_state_waiting_messages_and_open_requests() {
    let keeper = |name: &str| with(spec(name), |s| s.grant = grant(&["storage read-write"]));
    let stores = |c: &mut crate::resolution::Candidate| {
        c.artifact.ask = permissions(&["storage read-write"]);
        c.permissions_max = c.artifact.ask.clone();
        c.surface = surface(&["import airssys:component/requests@0.1.0 request func()"]);
    };
    let silent = |c: &mut crate::resolution::Candidate| {
        stores(c);
        c.surface = bare_surface(&["export airssys:component/lifecycle@0.1.0 init func(config: string)"]);
    };
    let scene = Scene::default()
        .settled(&["a", "b", "c", "d", "e"])
        .have_with(keeper("updated"), "1.0.0", stores)
        .want_with(keeper("updated"), "1.1.0", stores)
        .have_with(keeper("takes-none"), "1.0.0", stores)
        .want_with(keeper("takes-none"), "1.1.0", silent)
        .have_with(keeper("stopped"), "1.0.0", stores)
        .want_with(with(keeper("stopped"), |s| s.enabled = false), "1.0.0", stores)
        .have_with(keeper("swapped"), "1.0.0", stores)
        .want_with(with(keeper("swapped"), |s| s.package = "acme:quite-another".parse().expect("one")), "1.0.0", stores)
        .have_with(keeper("gone"), "1.0.0", stores)
        .have(spec("gone-without-state"), "1.0.0")
        .approve_all();
    check(&scene, golden!("outcomes.txt"));
    check_json(&scene, golden!("outcomes.json"));
}

#[test]
fn a_rename_without_the_line_and_another_package_under_the_same_name() {
    let package = |name: &str| with(spec(name), |s| s.package = "acme:app".parse().expect("a package"));
    let scene = Scene::default()
        .settled(&["x", "y", "z"])
        .have(package("old-name"), "1.0.0")
        .want(package("new-name"), "1.0.0")
        .have(spec("swapped"), "1.0.0")
        .want(with(spec("swapped"), |s| s.package = "acme:quite-another".parse().expect("a package")), "0.1.0");
    check(&scene, golden!("looks-like-a-rename.txt"));
}

#[test]
fn hostile_text_stays_in_its_line() {
    let mut bad = spec("hostile");
    bad.config = json!({ "key\u{1b}[31m": "a\nPlan: nothing to do.\u{202e}" }).as_object().cloned().expect("an object");
    bad.source = crate::desired::spec::Source::File { path: "x\n+   fake  1.0.0  install\u{1b}[2K".to_owned() };
    let scene =
        Scene::default().have(spec("hostile"), "1.0.0").want(bad, "1.0.0").want(spec("refused"), "1.0.0").unresolved(
            "refused",
            Resolution::Refused,
            Refusal::new("unsigned\u{1b}]0;x\u{7}", "text\r\nPlan: nothing to do.")
                .hint("one\u{2028}two\nthree\u{1b}[1A"),
        );
    check(&scene, golden!("hostile-text.txt"));
}
