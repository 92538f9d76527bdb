//! Single situations of rollbacks: moves, packages, dependencies, secrets, what is held already.

use std::collections::BTreeSet;

use super::fixture::{HOST, Scene, grant, name, needs, permissions, spec, surface, with};
use crate::name::InstallationName;
use crate::observed::HeldTarget;
use crate::plan::action::{Effect, Storage};
use crate::plan::approval::Operator;
use crate::plan::rollback::document::RollbackDocument;
use crate::plan::rollback::{Asked, Rollback, Then, ThenEntry, propose};
use crate::record::Record;
use crate::resolution::{Candidate, Refusal};
use crate::secret::{Fingerprint, Fingerprints};

/// What is installed in a scene, as a generation of the past.
fn then(scene: &Scene) -> Then {
    let entries = scene.observed.installed.iter().map(|(name, have)| {
        let record = Some(have.record.clone());
        (name.clone(), ThenEntry { digest: have.target, record, storage_id: have.storage_id })
    });
    Then { number: 7, written_unix_s: 1_700_000_000, entries: entries.collect() }
}

fn asked(now: &Scene, then: &Then, names: &[&str]) -> Result<Rollback, Refusal> {
    let names: BTreeSet<InstallationName> = names.iter().map(|text| name(text)).collect();
    let asked = Asked { observed: &now.observed, then, names: &names, host: HOST };
    propose(&asked, &mut |record: &Record| Ok(record.secrets.clone()))
}

fn to(now: &Scene, then: &Scene, names: &[&str]) -> Rollback {
    asked(now, &self::then(then), names).expect("a rollback")
}

fn told(rollback: &Rollback) -> Vec<String> {
    rollback.actions.iter().map(|action| format!("{} {}", action.kind.as_str(), action.name)).collect()
}

fn by() -> Operator {
    Operator { uid: 7, user: "alice".to_owned() }
}

#[track_caller]
fn golden(name: &str, rollback: &Rollback) {
    expect_test::expect_file![path(name)].assert_eq(&rollback.document(None).text());
}

fn path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rollback").join(name)
}

fn moved() -> crate::desired::spec::Spec {
    with(spec("new"), |spec| {
        spec.moved_from = Some(name("old"));
        spec.package = "acme:old".parse().expect("a package");
    })
}

#[test]
fn what_was_moved_goes_back_to_its_name_with_its_storage_and_either_name_takes_both() {
    let before = Scene::default().have(spec("a"), "1.0.0").have(spec("old"), "1.0.0");
    let mut now = Scene::default().have(spec("a"), "1.0.0").have(moved(), "1.1.0").want(moved(), "1.1.0");
    now = now.want(spec("a"), "1.0.0");
    for names in [&[][..], &["old"], &["new"]] {
        let rollback = to(&now, &before, names);
        assert_eq!(told(&rollback), ["move old"]);
        let Some(Effect::Commit(commit)) = &rollback.actions[0].effect else { panic!("a commit") };
        assert_eq!((commit.storage, commit.moved_from.clone()), (Storage::Keep(2), Some(name("new"))));
        assert_eq!(rollback.holds.keys().map(ToString::to_string).collect::<Vec<_>>(), ["new", "old"]);
        golden("moved.txt", &rollback);
    }
    // The next pass neither removes the old name nor moves it again.
    let rollback = to(&now, &before, &[]);
    now.observed.installed = before.observed.installed.clone();
    now.observed.held = rollback.held_targets(&by());
    assert!(now.plan().is_converged(), "{}", now.plan().text());
    now.observed.held.remove(&name("new"));
    assert_eq!(now.effects(), ["move new"]);
    assert_eq!(now.plan().released, [name("old")]);
}

#[test]
fn a_bad_file_of_the_new_name_does_not_remove_what_went_back_to_the_old_one() {
    let before = Scene::default().have(spec("old"), "1.0.0");
    let now = Scene::default().have(moved(), "1.1.0");
    let rollback = to(&now, &before, &[]);
    let mut after = before.bad_file("new", "x", 0..1, "bad");
    after.observed.held = rollback.held_targets(&by());
    assert!(after.plan().is_converged());
    assert_eq!(after.reason("old"), "hold held-target");
}

#[test]
fn another_package_and_what_was_uninstalled_start_with_new_storage() {
    let other = with(spec("a"), |spec| spec.package = "acme:other".parse().expect("a package"));
    let before = Scene::default().have(spec("a"), "1.0.0").have(spec("gone"), "1.0.0").have(spec("same"), "1.0.0");
    let now = Scene::default().have(spec("same"), "1.0.0").have(spec("since"), "1.0.0").have(other, "2.0.0");
    let rollback = to(&now, &before, &[]);
    // `gone` had the storage that `since` has now, and they are other packages: no move.
    assert_eq!(told(&rollback), ["update a", "install gone", "uninstall since"]);
    let storages = rollback.actions.iter().filter_map(|action| match &action.effect {
        Some(Effect::Commit(commit)) => Some(commit.storage),
        _ => None,
    });
    assert_eq!(storages.collect::<Vec<_>>(), [Storage::New, Storage::New]);
    assert!(rollback.holds[&name("gone")] == HeldTarget::absence());
    golden("everything.txt", &rollback);
}

#[test]
fn what_goes_back_shows_its_interface_its_state_its_messages_and_whom_it_touches() {
    const PLACE: &str = "export acme:api/orders@1.0.0 place func()";
    const CANCEL: &str = "export acme:api/orders@1.0.0 cancel func()";
    let sends = |name: &str| with(spec(name), |spec| spec.grant = grant(&["send api"]));
    let asks = |c: &mut Candidate| c.artifact.ask = permissions(&["send api"]);
    let before = Scene::default()
        .have_with(spec("api"), "1.0.0", |c| c.surface = surface(&[PLACE]))
        .have_with(sends("caller"), "1.0.0", asks)
        .have_with(spec("gone"), "1.0.0", |c| c.surface = surface(&[PLACE]));
    let now = Scene::default()
        .have_with(spec("api"), "1.1.0", |c| c.surface = surface(&[PLACE, CANCEL]))
        .have_with(sends("caller"), "1.0.0", asks)
        .have_with(with(sends("since"), |spec| spec.package = "acme:other".parse().expect("one")), "1.0.0", asks);
    let rollback = to(&now, &before, &[]);
    golden("interfaces.txt", &rollback);
    let document = rollback.document(None);
    let text = serde_json::to_string_pretty(&document).expect("JSON");
    expect_test::expect_file![path("interfaces.json")].assert_eq(&(text.clone() + "\n"));
    assert_eq!(serde_json::from_str::<RollbackDocument>(&text).expect("a document"), document);
}

#[test]
fn what_needs_something_that_would_not_run_is_refused_whole() {
    let before = Scene::default().have(spec("a"), "1.0.0").have(needs("b", &["a"]), "1.0.0");
    let now = Scene::default().have(spec("b"), "1.1.0");
    let rollback = to(&now, &before, &["b"]);
    assert_eq!(rollback.refused[&name("b")].code, "dependency-missing");
    golden("dependency.txt", &rollback);
    let all = to(&now, &before, &[]);
    assert_eq!(told(&all), ["install a", "update b"]);
    assert!(all.refused.is_empty());
}

#[test]
fn what_is_held_already_stays_held_from_the_same_target() {
    let before = Scene::default().have(spec("a"), "1.0.0");
    let now = Scene::default().have(spec("a"), "1.1.0").want(spec("a"), "1.2.0").hold_wanted("a", "it failed");
    let rollback = to(&now, &before, &[]);
    assert_eq!(rollback.holds[&name("a")], now.observed.held[&name("a")].target);
    // Back to what is held back: nothing is held any more.
    let newest = Scene::default().have(spec("a"), "1.2.0");
    let forward = to(&now, &newest, &[]);
    assert!(forward.holds.is_empty());
    assert_eq!(forward.released, [name("a")]);
}

#[test]
fn a_secret_that_changed_elsewhere_is_no_change_and_what_goes_back_gets_the_one_of_now() {
    let fingerprints = |seed| Fingerprints::from([("config.token".to_owned(), Fingerprint::of_mac(&[seed; 32]))]);
    let before = Scene::default().have(spec("a"), "1.0.0").have(spec("b"), "1.0.0");
    let mut then = then(&before);
    for entry in then.entries.values_mut() {
        let record = entry.record.as_ref().expect("kept");
        entry.record = Some(std::sync::Arc::new(Record { secrets: fingerprints(1), ..Record::clone(record) }));
    }
    let now = Scene::default().have(spec("a"), "1.0.0").have(spec("b"), "1.1.0");
    let names = BTreeSet::new();
    let asked = Asked { observed: &now.observed, then: &then, names: &names, host: HOST };
    let rollback = propose(&asked, &mut |_| Ok(fingerprints(2))).expect("a rollback");
    assert_eq!(told(&rollback), ["update b"]);
    let Some(Effect::Commit(commit)) = &rollback.actions[0].effect else { panic!("a commit") };
    assert_eq!(commit.record.secrets, fingerprints(2));
    assert!(rollback.actions[0].risks.iter().any(|risk| risk.contains("another than then")));
}

#[test]
fn what_is_not_kept_or_not_allowed_any_more_is_refused_by_name() {
    let before = Scene::default().have(spec("a"), "1.0.0").have(spec("b"), "1.0.0");
    let now = Scene::default().have(spec("a"), "1.1.0").have(spec("b"), "1.1.0");
    let mut then = then(&before);
    then.entries.get_mut(&name("a")).expect("a").record = None;
    let names = BTreeSet::new();
    let asked = Asked { observed: &now.observed, then: &then, names: &names, host: HOST };
    let refuse = |_: &Record| Err(Refusal::new("revoked", "its wasm is revoked"));
    let rollback = propose(&asked, &mut { refuse }).expect("a rollback");
    let codes: Vec<&str> = rollback.refused.values().map(|refusal| refusal.code.as_str()).collect();
    assert_eq!(codes, ["object-missing", "revoked"]);
    assert!(rollback.actions.is_empty());
    let text = rollback.document(None).text();
    assert!(text.contains("nothing is rolled back"), "{text}");
}

#[test]
fn a_name_that_neither_set_has_is_refused() {
    let scene = Scene::default().have(spec("a"), "1.0.0");
    assert_eq!(asked(&scene, &then(&scene), &["z"]).expect_err("unknown").code, "no-such-installation");
    let nothing = asked(&scene, &then(&scene), &["a"]).expect("a rollback");
    assert!(nothing.is_empty());
    assert!(nothing.document(None).text().contains("nothing differs"));
}
