//! What is started only if it fits.

use super::fixture::{Scene, needs, spec, with};
use crate::digest::Digest;
use crate::observed::room::{MAPS_PER_CODE, MAPS_PER_INSTANCE, MapRoom, MemoryRoom, Room, SPARE_MAPS};
use crate::plan::action::Kind;
use crate::quantity::ByteSize;

const MIB: u64 = 1 << 20;

fn with_memory(mut scene: Scene, mib: u64, overcommits: bool) -> Scene {
    scene.observed.room = Room { memory: Some(MemoryRoom { budget: mib * MIB, overcommits }), maps: None };
    scene
}

fn with_maps(mut scene: Scene, free: u64) -> Scene {
    let used = 300;
    scene.observed.room = Room { memory: None, maps: Some(MapRoom { max: used + SPARE_MAPS + free, used }) };
    scene
}

fn wanted(names: &[&str]) -> Scene {
    names.iter().fold(Scene::default(), |scene, name| scene.want(spec(name), "1.0.0"))
}

#[test]
fn a_limit_above_the_whole_budget_is_blocked_with_the_budget_and_how_to_raise_it() {
    let large = with(spec("a"), |spec| spec.limits.memory = Some(ByteSize(300 * MIB)));
    let scene = with_memory(Scene::default().want(large, "1.0.0").want(spec("b"), "1.0.0"), 256, true);
    let action = scene.action("a");
    assert_eq!((action.kind, action.reason.code.as_ref()), (Kind::Blocked, "no-memory"));
    assert_eq!(
        action.reason.message,
        "its limit of 300MiB is more than the 256MiB that all components may hold together"
    );
    assert!(action.reason.hint.is_some_and(|hint| hint.contains("raise `memory` in [host] of config.toml")));
    assert_eq!(scene.effects(), ["install b"]);
    assert_eq!(scene.plan().exit_code(), 12);
}

#[test]
fn limits_may_add_up_to_more_than_the_budget_unless_overcommit_is_off() {
    let names = ["a", "b", "c"];
    assert_eq!(with_memory(wanted(&names), 128, true).effects(), ["install a", "install b", "install c"]);
    let strict = with_memory(wanted(&names), 128, false);
    assert_eq!(strict.effects(), ["install a", "install b"]);
    let action = strict.action("c");
    assert_eq!(action.reason.message, "its limit of 64MiB does not fit: 128MiB of 128MiB are promised to 2 others");
    // What takes another's place needs only what it needs more; what waits for a place that is not there waits too.
    let update =
        wanted(&[]).have(spec("a"), "1.0.0").settled(&["b"]).want(spec("a"), "1.1.0").want(needs("d", &["c"]), "1.0.0");
    let update = with_memory(update.want(spec("c"), "1.0.0"), 128, false);
    assert_eq!(update.effects(), ["update a"]);
    assert_eq!((update.reason("c"), update.action("d").kind), ("blocked no-memory".to_owned(), Kind::Blocked));
    let more = with(spec("a"), |spec| spec.limits.memory = Some(ByteSize(65 * MIB)));
    let more = with_memory(wanted(&[]).have(spec("a"), "1.0.0").settled(&["b"]).want(more, "1.1.0"), 128, false);
    assert_eq!(more.reason("a"), "hold no-memory", "what runs goes on");
    // One that goes makes room.
    let swapped = with_memory(wanted(&["c"]).have(spec("a"), "1.0.0").settled(&["b"]), 128, false);
    assert_eq!(swapped.effects(), ["install c", "uninstall a"]);
}

#[test]
fn starts_that_would_take_the_last_maps_are_blocked_and_code_counts_once() {
    let each = MAPS_PER_INSTANCE + MAPS_PER_CODE;
    let names = ["a", "b", "c"];
    let scene = with_maps(wanted(&names), 2 * each);
    assert_eq!(scene.effects(), ["install a", "install b"]);
    let reason = scene.action("c").reason;
    assert_eq!(reason.code, "no-maps");
    assert!(reason.message.contains("314 of 2362 are in use or promised (2048 are kept free)"), "{}", reason.message);
    assert!(reason.hint.is_some_and(|hint| hint.contains("sysctl -w vm.max_map_count=262144")));
    let same = |scene: Scene, name: &str| {
        scene.want_with(spec(name), "1.0.0", |candidate| candidate.artifact.wasm = Digest::of(b"one wasm for all"))
    };
    let shared = names.into_iter().fold(Scene::default(), same);
    assert_eq!(with_maps(shared, 3 * MAPS_PER_INSTANCE + MAPS_PER_CODE).effects().len(), 3);
    // Without a host what is committed starts as well, with the next one.
    let committed = with_maps(wanted(&["c"]).settled(&["a", "b"]).no_host(), 2 * each);
    assert_eq!(committed.reason("c"), "blocked no-maps");
    assert_eq!(with_maps(wanted(&["c"]).settled(&["a", "b"]), each).effects(), ["install c"], "their maps are in use");
}

#[test]
fn a_plan_says_in_one_line_what_its_starts_may_take_and_its_name_does_not_depend_on_it() {
    let room_of = |scene: &Scene| {
        let text = scene.plan().text();
        text.lines().find_map(|line| line.strip_prefix("room   ")).unwrap_or("none").to_owned()
    };
    let plain = wanted(&["a", "b", "c"]);
    assert_eq!(room_of(&plain), "none", "nobody looked");
    let mut scene = with_maps(plain.clone(), 2 * (MAPS_PER_INSTANCE + MAPS_PER_CODE));
    scene.observed.room.memory = Some(MemoryRoom { budget: 256 * MIB, overcommits: true });
    let expected =
        "for 2 starts: memory up to 128MiB of 256MiB for all, maps up to 14 of 2362 (300 in use or promised)";
    assert_eq!(room_of(&scene), expected, "only what fits counts");
    let more = with_maps(plain.clone(), 1_000);
    let less = with_maps(plain.clone(), 2_000);
    assert!(more.plan().digest() == less.plan().digest() && more.plan().text() != less.plan().text());
    assert_eq!(more.plan().digest(), plain.plan().digest());
    assert_eq!(room_of(&with_memory(Scene::default().settled(&["a"]), 64, true)), "none", "nothing starts");
}

#[test]
fn what_runs_is_left_alone_however_little_room_there_is() {
    let scene = with_maps(Scene::default().settled(&["a", "b"]), 0);
    assert!(scene.plan().actions.is_empty());
    assert!(with_memory(scene, 1, false).plan().actions.is_empty());
}
