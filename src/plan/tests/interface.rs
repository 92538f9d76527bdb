//! What a change of the interface means, whom it touches, and what becomes of state and messages.

use super::fixture::{Scene, bare_surface, grant, name, needs, permissions, spec, surface, with};
use crate::desired::spec::{Delivery, OnUninstall, Spec};
use crate::observed::Phase;
use crate::plan::action::{Effect, Instance, Kind};
use crate::plan::approval::ApprovalName;
use crate::plan::impact::{Mailbox, State};
use crate::record::Record;
use crate::surface::{Surface, Verdict};

const F: &str = "export acme:api/orders@1.0.0 place func()";
const G: &str = "export acme:api/orders@1.0.0 cancel func()";
const G_CHANGED: &str = "export acme:api/orders@1.0.0 cancel func(id: u64)";
const LIFECYCLE: &str = "export airssys:component/lifecycle@0.1.0 init func(config: string)";
const HANDLER: &str = "export airssys:component/message-handler@0.1.0 handle func(message: list<u8>)";

/// `api` is installed with one surface and wanted with another.
fn update(before: &Surface, after: &Surface) -> Scene {
    Scene::default().have_with(spec("api"), "1.0.0", |c| c.surface = before.clone()).want_with(
        spec("api"),
        "1.1.0",
        |c| c.surface = after.clone(),
    )
}

/// A spec that may send by a link, bound to `target` or to the installation of its word.
fn sends(installation: &str, link: &str, target: Option<&str>) -> Spec {
    with(spec(installation), |spec| {
        spec.grant = grant(&[&format!("send {link}")]);
        spec.links.extend(target.map(|target| (link.parse().expect("a link"), name(target))));
    })
}

/// The scene with another installation that sends.
fn with_sender(scene: Scene, spec: &Spec) -> Scene {
    let asks = |c: &mut crate::resolution::Candidate| c.artifact.ask = spec.grant.permissions.clone();
    scene.have_with(spec.clone(), "1.0.0", asks).want_with(spec.clone(), "1.0.0", asks)
}

fn verdict(scene: &Scene) -> Verdict {
    scene.action("api").impact.interface.expect("another wasm").change.expect("both are known").verdict
}

fn outcome(scene: &Scene, installation: &str) -> (State, u64, Mailbox) {
    let outcome = scene.action(installation).impact.outcome.expect("something is installed");
    (outcome.state, outcome.storage_id, outcome.mailbox)
}

#[test]
fn a_breaking_change_waits_for_its_own_approval_and_the_rest_goes_on() {
    let scene = update(&surface(&[F, G]), &surface(&[F])).want(spec("other"), "1.0.0");
    assert_eq!(verdict(&scene), Verdict::Breaking);
    let action = scene.action("api");
    assert!(action.waits_for_approval() && action.kind == Kind::Update);
    assert_eq!(action.approvals[0].name, ApprovalName::Breaking(name("api")));
    assert_eq!(action.approvals[0].why, "what it exports goes away or changes: - acme:api/orders@1.0.0#cancel");
    assert_eq!(scene.effects(), ["install other"]);
    assert_eq!(scene.plan().exit_code(), 11);

    let approved = scene.approve_all();
    assert_eq!(approved.effects(), ["update api", "install other"]);
    // The word was given for this artifact, and for no later one.
    let next = approved.want_with(spec("api"), "1.2.0", |c| c.surface = surface(&[F]));
    assert!(next.action("api").waits_for_approval());
}

#[test]
fn what_breaks_nobody_needs_no_approval() {
    let import = "import airssys:component/messaging@0.1.0 send func()";
    for (before, after, expected) in [
        (&[F][..], &[F][..], Verdict::Identical),
        (&[F], &[F, G], Verdict::Additive),
        (&[F], &[F, import], Verdict::Additive),
        (&[F, G], &[F, G_CHANGED], Verdict::Breaking),
    ] {
        let scene = update(&surface(before), &surface(after));
        assert_eq!(verdict(&scene), expected);
        assert_eq!(scene.action("api").is_ready(), expected != Verdict::Breaking, "{after:?}");
    }
    // A host calls `init` where it is, and does without where it is not.
    assert!(update(&surface(&[]), &bare_surface(&[HANDLER])).action("api").is_ready());
    assert!(update(&surface(&[]), &bare_surface(&[LIFECYCLE])).action("api").waits_for_approval());
}

#[test]
fn a_break_names_whom_it_breaks() {
    let scene = update(&surface(&[F]), &surface(&[]));
    let scene = with_sender(scene, &sends("by-word", "api", None));
    let scene = with_sender(scene, &sends("by-link", "orders", Some("api")));
    let scene = with_sender(scene, &sends("elsewhere", "api", Some("by-word")));
    let scene = scene.have(needs("waits", &["api"]), "1.0.0").want(needs("waits", &["api"]), "1.0.0");
    let text = scene.plan().text();
    assert!(text.contains("breaks      by-link (link orders), by-word (link api), waits (depends-on)\n"), "{text}");
    assert_eq!(scene.action("api").impact.callers.left_out, 0);
}

#[test]
fn more_callers_than_are_named_are_counted() {
    let scene = (0..100).fold(update(&surface(&[F]), &surface(&[])), |scene, n| {
        with_sender(scene, &sends(&format!("caller-{n:03}"), "api", None))
    });
    let callers = scene.action("api").impact.callers;
    assert_eq!((callers.named.len(), callers.left_out), (64, 36));
    assert!(scene.plan().text().contains(" and 92 more\n"));
}

#[test]
fn an_import_that_this_host_does_not_have_blocks_with_what_there_is() {
    let wants = |import: &str| surface(&[&format!("import {import} f func()")]);
    let messaging = wants("airssys:component/messaging@0.2.0");
    let action = Scene::default().want_with(spec("api"), "1.0.0", |c| c.surface = messaging).action("api");
    assert_eq!((action.kind, &*action.reason.code), (Kind::Blocked, "missing-import"));
    assert_eq!(action.reason.message, "it imports what this host does not offer: airssys:component/messaging@0.2.0");
    expect_test::expect![[r#"
        airssys:component/messaging@0.2.0: there is airssys:component/messaging@0.1.0; did you mean that?
        this host offers: airssys:component/log@0.1.0, airssys:component/messaging@0.1.0, airssys:component/requests@0.1.0, wasi:io/streams@0.2.12"#]]
    .assert_eq(action.reason.hint.as_deref().unwrap_or_default());

    // What is installed stays.
    let action = update(&surface(&[]), &wants("acme:db/query@1.0.0")).action("api");
    assert_eq!((action.kind, action.wanted, &*action.reason.code), (Kind::Blocked, Kind::Update, "missing-import"));
    assert_eq!(action.impact.outcome, None, "nothing happens to it");
    // Another version of the same line is the same interface.
    assert!(update(&surface(&[]), &wants("wasi:io/streams@0.2.3")).action("api").is_ready());
}

#[test]
fn a_function_that_is_not_there_or_of_another_type_blocks_with_what_there_is() {
    let wants = |line: &str| {
        let scene = Scene::default().want_with(spec("api"), "1.0.0", |c| c.surface = surface(&[line]));
        let action = scene.action("api");
        let reason = action.reason.clone();
        (action.kind, format!("[{}] {}\n{}", reason.code, reason.message, reason.hint.unwrap_or_default()))
    };
    let (kind, text) = wants("import airssys:component/messaging@0.1.3 publish func(topic: string)");
    assert_eq!(kind, Kind::Blocked);
    expect_test::expect![[r#"
        [missing-import] it imports what this host does not offer: airssys:component/messaging@0.1.3#publish
        airssys:component/messaging@0.1.3 has here: send
        it was built against another version of that interface: use a release for this host, or another host"#]]
    .assert_eq(&text);
    let (kind, text) = wants("import airssys:component/messaging@0.1.0 send func(link: string)");
    assert_eq!(kind, Kind::Blocked);
    expect_test::expect![[r#"
        [other-import-type] it imports what is of another type on this host: airssys:component/messaging@0.1.0#send
        airssys:component/messaging@0.1.0#send: it wants func(link: string); here is func()
        it was built against another version of that interface: use a release for this host, or another host"#]]
    .assert_eq(&text);
    let (kind, text) = wants("import airssys:component/messaging@0.1.0 send func()");
    assert_eq!((kind, &*text), (Kind::Install, "[not-installed] it is wanted and not installed\n"));
}

#[test]
fn what_an_earlier_version_committed_has_no_surface_and_is_not_guessed() {
    let mut scene = update(&surface(&[F]), &surface(&[]));
    let installed = scene.observed.installed.get_mut(&name("api")).expect("it is installed");
    let record = Record { surface: None, ..Record::clone(&installed.record) };
    assert_eq!(record.target_digest(), installed.target, "the surface is no part of the target");
    assert_eq!(Record::decode(&record.encode()).expect("a record"), record);
    installed.record = record.into();
    let action = scene.action("api");
    let interface = action.impact.interface.as_ref().expect("another wasm");
    assert!(interface.unknown_before && interface.change.is_none() && action.is_ready());
    let text = scene.plan().text();
    assert!(text.contains("interface   not known before"), "{text}");
    // And where nothing changes, its absence is no change.
    let settled = scene.want_with(spec("api"), "1.0.0", |c| c.surface = surface(&[F]));
    assert!(settled.plan().actions.is_empty());
}

#[test]
fn a_plan_says_what_becomes_of_state_and_messages() {
    let (usual, silent) = (surface(&[]), bare_surface(&[LIFECYCLE]));
    assert_eq!(outcome(&update(&usual, &usual), "api"), (State::Kept, 1, Mailbox::Kept));
    assert_eq!(outcome(&update(&usual, &silent), "api"), (State::Kept, 1, Mailbox::Dropped));
    assert_eq!(outcome(&update(&silent, &usual), "api"), (State::Kept, 1, Mailbox::Empty));
    assert_eq!(outcome(&update(&usual, &usual).no_host(), "api"), (State::Kept, 1, Mailbox::Empty));

    let other = with(spec("api"), |s| s.package = "acme:another".parse().expect("a package"));
    let scene = Scene::default().have(spec("api"), "1.0.0").want(other, "1.0.0");
    assert_eq!(outcome(&scene, "api"), (State::Replaced, 1, Mailbox::HandedOn));

    let off = with(spec("api"), |s| s.enabled = false);
    let scene = Scene::default().have(spec("api"), "1.0.0").want(off, "1.0.0");
    assert_eq!(outcome(&scene, "api"), (State::Kept, 1, Mailbox::Drained));

    let scene = Scene::default().settled(&["a", "b", "c"]).have(spec("api"), "1.0.0");
    assert_eq!(outcome(&scene, "api"), (State::LeftBehind, 4, Mailbox::Drained));
    assert!(scene.action("api").impact.outcome.expect("one").drain_ms.is_some_and(|ms| ms > 0));
    assert_eq!(outcome(&scene.phase("api", Phase::Stopped), "api"), (State::LeftBehind, 4, Mailbox::Empty));

    let durable = with(spec("api"), |s| s.delivery = Delivery::Durable);
    let kept = Scene::default().have(durable.clone(), "1.0.0").want(durable.clone(), "1.1.0");
    assert_eq!(outcome(&kept, "api"), (State::Kept, 1, Mailbox::Kept));
    let gone = Scene::default().settled(&["a", "b", "c"]).have(durable.clone(), "1.0.0");
    assert_eq!(outcome(&gone, "api"), (State::LeftBehind, 4, Mailbox::DroppedInStore));
    let text = gone.plan().text();
    let told = "messages that wait in the store become dead letters (`dead-letters list`), which outlive the host";
    assert!(text.contains(told), "{text}");
    let other = with(durable.clone(), |s| s.package = "acme:another".parse().expect("a package"));
    let scene = Scene::default().have(durable, "1.0.0").want(other, "1.0.0");
    assert_eq!(outcome(&scene, "api"), (State::Replaced, 1, Mailbox::DroppedInStore));

    let purge = with(spec("api"), |s| s.on_uninstall = OnUninstall::Purge);
    let scene = Scene::default().settled(&["a", "b", "c"]).have(purge.clone(), "1.0.0");
    assert_eq!(outcome(&scene, "api"), (State::Removed, 4, Mailbox::Drained));
    let text = scene.plan().text();
    assert!(text.contains("uninstall: stops, storage 4 will be removed"), "{text}");
    assert!(text.contains("loses       state will be removed (storage id 4)"), "{text}");
    let json = serde_json::to_value(scene.plan().document()).expect("JSON");
    assert_eq!(
        (&json["actions"][0]["outcome"]["state"], &json["actions"][0]["storage"]),
        (&"removed".into(), &"remove".into())
    );
    // What the file says now counts once it is committed, and nothing restarts for it.
    let scene = Scene::default().have(spec("api"), "1.0.0").want(purge, "1.0.0");
    let action = scene.action("api");
    let Some(Effect::Commit(commit)) = &action.effect else { panic!("{action:?}") };
    assert_eq!((action.kind, commit.instance), (Kind::Reconfigure, Instance::Keep));
    assert!(scene.plan().text().contains("uninstall   keep -> purge"), "{}", scene.plan().text());

    let package = |installation: &str| with(spec(installation), |s| s.package = "acme:api".parse().expect("a package"));
    let new = with(package("gateway"), |s| s.moved_from = Some(name("api")));
    let scene = Scene::default().have(package("api"), "1.0.0").want(new, "1.0.0");
    let scene = with_sender(scene, &sends("by-word", "api", None));
    assert_eq!(outcome(&scene, "gateway"), (State::Kept, 1, Mailbox::Kept));
    assert_eq!(scene.action("gateway").impact.callers.named.len(), 1, "who sends to the old name");

    assert_eq!(Scene::default().want(spec("api"), "1.0.0").action("api").impact.outcome, None);
}

#[test]
fn exports_beyond_what_the_host_calls_are_tolerated_and_listed() {
    let action = Scene::default().want_with(spec("api"), "1.0.0", |c| c.surface = surface(&[F])).action("api");
    assert!(action.is_ready());
    let interface = action.impact.interface.expect("a first install");
    assert_eq!((interface.exports.len(), &*interface.not_called), (3, &["acme:api/orders@1.0.0".to_owned()][..]));
}

#[test]
fn who_goes_away_is_no_caller_and_what_is_called_is_listed() {
    let scene = Scene::default().settled(&["a", "b", "c", "d", "e", "api"]);
    let scene = scene.have_with(sends("sender", "api", None), "1.0.0", |c| c.artifact.ask = permissions(&["send api"]));
    let action = scene.action("sender");
    assert_eq!(action.kind, Kind::Uninstall);
    let callees: Vec<&str> = action.impact.callees.named.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(callees, ["api"]);
    assert!(scene.want(spec("api"), "1.1.0").action("api").impact.callers.is_empty());
}

#[test]
fn a_config_goes_to_the_running_instance_where_it_takes_one_and_nothing_else_changed() {
    let told = "export airssys:component/reconfiguration@0.1.0 reconfigure func(config: string) -> result<_, string>";
    let config = |n: u32| {
        let config = serde_json::json!({ "n": n });
        with(spec("api"), |spec| spec.config = config.as_object().cloned().expect("a table"))
    };
    let instance = |more: &[&str], wanted: Spec, phase: Phase| {
        let scene = Scene::default().have_with(config(1), "1.0.0", |c| c.surface = surface(more)).phase("api", phase);
        let scene = scene.want_with(wanted, "1.0.0", |c| c.surface = surface(more));
        match scene.action("api").effect {
            Some(Effect::Commit(commit)) => (commit.instance, scene.plan().text()),
            other => panic!("{other:?}"),
        }
    };
    let (is_told, text) = instance(&[told], config(2), Phase::Running);
    assert_eq!(is_told, Instance::Reconfigure);
    assert!(text.contains("the running instance is told"), "{text}");
    assert_eq!(instance(&[], config(2), Phase::Running).0, Instance::Fresh, "it takes none");
    assert_eq!(instance(&[told], config(2), Phase::Backoff).0, Instance::Fresh, "nothing runs");
    let more = with(config(2), |spec| spec.limits.sends = Some(7));
    assert_eq!(instance(&[told], more, Phase::Running).0, Instance::Fresh, "more changed");
    // Nobody but the host calls it: without it a new instance comes in.
    let without = update(&surface(&[told]), &surface(&[]));
    assert!(without.action("api").is_ready());
}
