//! How much work a plan is: counted, not timed.

use super::fixture::{Scene, name, needs, spec};
use crate::plan::Plan;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("component-{n:05}")).collect()
}

fn settled(count: usize) -> Scene {
    let names = names(count);
    Scene::default().settled(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn check(plan: &Plan, count: usize) {
    let most = 2.0 * count as f64 * (count as f64).log2();
    assert!((plan.comparisons() as f64) <= most, "{} comparisons of names for {count}", plan.comparisons());
}

#[test]
fn the_comparisons_of_names_grow_like_n_log_n() {
    for count in [1_000, 10_000] {
        let mut scene = settled(count);
        let nothing = scene.plan();
        assert_eq!((nothing.actions.len(), nothing.unchanged), (0, count));
        check(&nothing, count);
        assert!(nothing.comparisons() <= 3 * count as u64, "a settled set is one walk through the maps");

        scene = scene.want(spec("component-00500"), "1.1.0");
        let one = scene.plan();
        assert_eq!((one.actions.len(), one.unchanged), (1, count - 1));
        check(&one, count);
        assert!(one.comparisons() <= 3 * count as u64);

        scene.desired.entries.remove(&name("component-00007"));
        check(&scene.plan(), count);
    }
}

#[test]
fn a_chain_of_ten_thousand_first_installs_is_sorted_within_the_same_bound() {
    for count in [1_000, 10_000] {
        let names = names(count);
        // Each depends on the one after it, so that the order is the reverse of the names.
        let scene = (0..count).fold(Scene::default(), |scene, n| match names.get(n + 1) {
            Some(next) => scene.want(needs(&names[n], &[next]), "1.0.0"),
            None => scene.want(spec(&names[n]), "1.0.0"),
        });
        let plan = scene.plan();
        check(&plan, count);
        let order: Vec<&str> = plan.effects().map(|action| action.name.as_str()).collect();
        assert!(order.iter().rev().eq(names.iter()), "dependencies come first");
    }
}

#[test]
fn one_circle_of_ten_thousand_is_told_in_bounded_text() {
    let names = names(10_000);
    let scene = (0..names.len())
        .fold(Scene::default(), |scene, n| scene.want(needs(&names[n], &[&names[(n + 1) % names.len()]]), "1.0.0"));
    let plan = scene.plan();
    assert!(plan.is_converged());
    check(&plan, names.len());
    assert!(plan.actions.iter().all(|action| action.reason.code == "dependency-cycle"));
    assert!(plan.actions.iter().all(|action| action.reason.message.len() < 500));
}
