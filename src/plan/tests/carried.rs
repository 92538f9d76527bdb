//! What is carried about as a file: the saved plan and the exported state, as files that reviewers read, and what each
//! moved input is called.

use std::collections::BTreeMap;

use expect_test::expect_file;

use super::fixture::{HOST, Scene, name, spec, with};
use super::golden::mixed;
use crate::config::sources::SourceSettings;
use crate::digest::Digest;
use crate::export::Export;
use crate::floors::Floors;
use crate::observed::{Phase, RecentSet};
use crate::paused::PausedBy;
use crate::plan::PlanInput;
use crate::resolution::Refusal;
use crate::saved::{DesiredInput, Inputs, Made, SavedPlan, settings_digest};
use crate::secret::SecretRules;

/// Digests by file.
type Files = BTreeMap<String, Option<Digest>>;

fn directory() -> DesiredInput {
    let files = [("a.toml", Some(Digest::of(b"a"))), ("b.toml", None)];
    DesiredInput::Directory {
        path: "/srv/desired".to_owned(),
        is_complete: true,
        files: files.map(|(name, digest)| (name.to_owned(), digest)).into(),
    }
}

fn repository(commit: u8) -> DesiredInput {
    DesiredInput::Repository {
        url: "https://example.com/fleet.git".to_owned(),
        at: "branch:main".to_owned(),
        path: "eu".to_owned(),
        commit: Some(format!("{commit:02x}").repeat(20).parse().expect("a commit")),
        is_complete: true,
    }
}

fn inputs(scene: &Scene, desired: DesiredInput) -> Inputs {
    let input = PlanInput {
        desired: &scene.desired,
        resolutions: &scene.resolutions,
        observed: &scene.observed,
        recent: scene.recent.unwrap_or(RecentSet::unchanged(scene.observed.installed.len())),
        floors: &scene.floors,
        approvals: &scene.approvals,
        secrets: &scene.secrets,
        host: HOST,
    };
    let settings = settings_digest(&SecretRules::default(), &SourceSettings::default(), &[]);
    Inputs::of(Made { input: &input, desired, trust: Digest::of(b"trust"), settings })
}

fn scene() -> Scene {
    mixed().secret("web", "config.token", Ok(0xa0))
}

#[test]
fn a_saved_plan_as_a_file() {
    let saved = SavedPlan::new(&scene().plan(), inputs(&scene(), directory()));
    let text = saved.write().expect("small");
    expect_file!["../../../tests/golden/carried/saved-plan.json"].assert_eq(&text);
    assert_eq!(SavedPlan::read(text.as_bytes()), Ok(saved));
    let saved = SavedPlan::new(&scene().plan(), inputs(&scene(), repository(1)));
    let text = saved.write().expect("small");
    expect_file!["../../../tests/golden/carried/saved-plan-of-a-commit.json"].assert_eq(&text);
    assert_eq!(SavedPlan::read(text.as_bytes()), Ok(saved));
}

#[test]
fn an_exported_state_as_a_file() {
    let mut scene = scene().hold_wanted("ledger-core", "it crashed");
    let by = PausedBy::new("ops", 1_767_225_600);
    scene.observed.paused.names.insert(name("jobs"), by);
    let export = Export::of(&scene.observed, &scene.floors, None);
    let text = export.write().expect("small");
    expect_file!["../../../tests/golden/carried/export.json"].assert_eq(&text);
    let read = Export::read(text.as_bytes()).expect("intact");
    assert_eq!(read.floors(), scene.floors);
    assert_eq!((read.phase(&name("jobs")), read.phase(&name("nobody"))), (Phase::Running, Phase::NotRunning));
}

#[test]
fn a_state_that_can_not_be_is_refused() {
    let of = |change: &dyn Fn(&mut Export)| {
        let mut export = Export::of(&scene().observed, &Floors::default(), None);
        change(&mut export);
        Export::read(export.write().expect("small").as_bytes()).expect_err("refused").to_string()
    };
    let renamed = of(&|export| {
        let jobs = export.installations.remove(&name("jobs")).expect("there");
        export.installations.insert(name("other"), jobs);
    });
    assert!(renamed.ends_with("the record of other is that of another installation"), "{renamed}");
    let early = of(&|export| export.generation = 0);
    assert!(early.ends_with("there is something installed before the first generation"), "{early}");
    let stray = of(&|export| {
        let held = crate::observed::HeldTarget { target: Digest::of(b"x"), reason: String::new() };
        export.held.insert(name("nobody"), held);
    });
    assert!(stray.ends_with("nobody is held and not installed"), "{stray}");
}

#[test]
fn every_input_that_moves_is_named() {
    let before = inputs(&scene(), directory());
    let moved = |change: &dyn Fn(&mut Inputs)| {
        let mut now = before.clone();
        change(&mut now);
        assert!(before != now);
        before.moved_to(&now).join("; ")
    };
    let files = |change: &dyn Fn(&mut Files)| {
        moved(&|now| {
            let DesiredInput::Directory { files, .. } = &mut now.desired else { panic!("a directory") };
            change(files);
        })
    };
    assert_eq!(before.moved_to(&before), Vec::<String>::new());
    let c = || Some(Digest::of(b"c"));
    assert_eq!(files(&|files| _ = files.insert("a.toml".into(), c())), "a.toml changed");
    assert_eq!(files(&|files| _ = files.insert("b.toml".into(), c())), "b.toml changed");
    assert_eq!(files(&|files| _ = files.insert("a.toml".into(), None)), "a.toml came to be unreadable");
    assert_eq!(files(&|files| _ = files.insert("c\n.toml".into(), c())), "c\\n.toml was added");
    assert_eq!(files(&|files| _ = files.remove("a.toml")), "a.toml was removed");
    let incomplete = |now: &mut Inputs| {
        let DesiredInput::Directory { is_complete, .. } = &mut now.desired else { panic!("a directory") };
        *is_complete = false;
    };
    assert_eq!(moved(&incomplete), "the desired files could no longer be read as a whole");
    assert_eq!(
        moved(&|now| now.desired = repository(1)),
        "the desired files came to be those of git https://example.com/fleet.git branch main, path eu, not of /srv/desired,"
    );
    let other = Digest::of(b"other");
    assert_eq!(moved(&|now| now.trust = other), "the trust policy changed or --trust names another one");
    assert_eq!(moved(&|now| now.settings = other), "config.toml changed or a host was started with another one");
    assert_eq!(moved(&|now| now.generation.number = 43), "generation 43 was committed in place of 41");
    assert_eq!(moved(&|now| now.generation.digest = None), "generation 41 became another one");
    assert_eq!(moved(&|now| now.is_live = false), "the host was stopped");
    assert_eq!(moved(&|now| _ = now.down.insert(name("jobs"))), "jobs stopped running");
    assert_eq!(moved(&|now| now.paused = other), "what is paused changed");
    assert_eq!(moved(&|now| now.floors = other), "the accepted sequences changed");
    assert_eq!(moved(&|now| now.recent.removed = 9), "the count of what was removed in ten minutes changed");
    assert_eq!(moved(&|now| drop(now.artifacts.remove(&name("jobs")))), "no artifact of jobs is wanted any more");
    let refused = Refusal::new("unsigned", "x");
    let resolution = crate::resolution::Resolution::Refused(refused);
    let refuse = |now: &mut Inputs| drop(now.artifacts.insert(name("jobs"), (&resolution).into()));
    let told = moved(&refuse);
    assert!(told.starts_with("the artifact of jobs changed from 1.0.0 (") && told.ends_with(") to refused (unsigned)"));
    let rotate = |now: &mut Inputs| drop(now.secrets.insert("web config.token".into(), "***(b0b0b0)".into()));
    assert_eq!(moved(&rotate), "the secret web config.token changed from ***(a0a0a0) to ***(b0b0b0)");
    let evil = "\u{1b}[2J\n\u{202e}";
    let hostile = moved(&|now| {
        now.desired = DesiredInput::Directory { path: evil.into(), is_complete: true, files: BTreeMap::new() };
        now.secrets.insert(evil.into(), evil.into());
        let revision = Some(evil.to_owned());
        let ready =
            crate::saved::ArtifactInput::Ready { version: semver::Version::new(1, 0, 0), digest: other, revision };
        now.artifacts.insert(name("jobs"), ready);
    });
    assert_eq!(hostile, crate::escape::escape(&hostile), "what a file says stays in its line");
    let of_commit = inputs(&scene(), repository(1)).moved_to(&inputs(&scene(), repository(2)));
    assert_eq!(of_commit, ["the commit of the desired files changed from 0101010 to 0202020"]);
}

#[test]
fn settings_that_make_another_plan_make_another_digest() {
    let digest = |secrets: &SecretRules, sources: &SourceSettings| settings_digest(secrets, sources, &[]);
    let (secrets, sources) = (SecretRules::default(), SourceSettings::default());
    let plain = digest(&secrets, &sources);
    let slower = SourceSettings { interval: crate::quantity::Millis(1_000), ..sources.clone() };
    assert_eq!(digest(&secrets, &slower), plain);
    let pinned = SourceSettings { require_pin: true, ..sources.clone() };
    assert!(digest(&secrets, &pinned) != plain);
    let narrow = SourceSettings { allow: Some(Vec::new()), ..sources.clone() };
    assert!(digest(&secrets, &narrow) != plain);
    assert!(digest(&SecretRules { env: vec!["A".into()], ..secrets }, &sources) != plain);
}

#[test]
fn a_saved_plan_is_carried_out_when_nothing_moved_and_else_says_what_did() {
    let saved = SavedPlan::new(&scene().plan(), inputs(&scene(), directory()));
    assert_eq!(saved.check(&scene().plan(), &inputs(&scene(), directory())), Ok(()));
    let moved = scene().want(with(spec("jobs"), |spec| spec.enabled = false), "1.2.0");
    let mut now = inputs(&moved, directory());
    now.trust = Digest::of(b"other");
    let refusal = saved.check(&moved.plan(), &now).expect_err("it moved");
    assert_eq!(refusal.code, "input-moved");
    assert_eq!(refusal.message, "the trust policy changed or --trust names another one since the plan was made");
    let hint = refusal.hint.expect("a hint");
    assert!(hint.starts_with("and more moved: the artifact of jobs changed from 1.0.0 ("), "{hint}");
    assert!(hint.ends_with("`airssys-wasm plan --out FILE`, look at it, and apply that"), "{hint}");
    let refusal = saved.check(&moved.plan(), &inputs(&scene(), directory())).expect_err("another plan");
    assert_eq!(refusal.code, "plan-moved");
}
