//! Code that compiles slowly: who waits for it, and who does not.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use airssys_wasm::reconcile::{Pass, Reconciler};
use airssys_wasm::worker::CompileLimits;

use crate::bombs;
use crate::components::idle;
use crate::harness::{PATIENCE, Release, World};
use crate::worker::{processes, reconciler};

/// A world in which `names` want a component of their own, and a reconciler whose passes wait for no compilation.
fn impatient(
    names: &[&str],
    wasm: impl Fn(&str) -> Vec<u8>,
    limits: CompileLimits,
) -> (World, Reconciler, Receiver<()>) {
    let world = World::new();
    for name in names {
        let wasm = wasm(name);
        world.publish(name, &Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm: &wasm });
        world.desire(name, "test:idle", name, "");
    }
    let (reconciler, ended) = impatient_again(&world, limits);
    (world, reconciler, ended)
}

/// The same over a world that is there.
pub fn impatient_again(world: &World, limits: CompileLimits) -> (Reconciler, Receiver<()>) {
    let limits = CompileLimits { first_turn: Duration::from_millis(1), ..limits };
    let mut reconciler = reconciler(world, processes(), limits);
    let (told, ended) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    reconciler.on_compiled(Arc::new(move || {
        let _ = told.lock().expect("not poisoned").send(());
    }));
    (reconciler, ended)
}

pub fn put_off(pass: &Pass) -> Vec<&str> {
    pass.put_off.keys().map(|name| name.as_str()).collect()
}

#[test]
fn code_that_a_pass_does_not_wait_for_is_made_beside_it_and_taken_up_by_a_later_one() {
    let (world, mut reconciler, ended) = impatient(&["a", "b"], idle, CompileLimits::default());
    world.desire_text("off", "enabled = false\npackage = \"test:idle\"\n[source.file]\npath = \"../components/a\"\n");
    world.desire_text(
        "needs-b",
        "package = \"test:idle\"\ndepends-on = [\"b\"]\n[source.file]\npath = \"../components/a\"\n",
    );
    let committed = |reconciler: &Reconciler| -> Vec<String> {
        reconciler.committed().records.keys().map(ToString::to_string).collect()
    };
    let first = reconciler.pass_settled(None).expect("a pass");
    assert!(first.failed.is_empty() && !first.summary.converged, "{:?}", first.failed);
    assert_eq!(put_off(&first), ["a", "b", "needs-b"]);
    assert_eq!(committed(&reconciler), ["off"], "what needs no code does not wait");
    assert!(reconciler.is_compiling());
    ended.recv_timeout(PATIENCE).expect("the first is made");
    let second = reconciler.pass_settled(None).expect("a pass");
    assert_eq!(
        (put_off(&second), committed(&reconciler)),
        (vec!["b", "needs-b"], vec!["a".to_owned(), "off".to_owned()])
    );
    assert!(reconciler.is_compiling(), "the next has its turn");
    ended.recv_timeout(PATIENCE).expect("the second is made");
    let third = reconciler.pass_settled(None).expect("a pass");
    assert!(third.summary.converged && third.put_off.is_empty() && !reconciler.is_compiling());
    assert_eq!(committed(&reconciler), ["a", "b", "needs-b", "off"]);
}

#[test]
fn what_can_t_be_compiled_beside_the_passes_fails_by_its_name_and_is_tried_there_again() {
    let bomb = |_: &str| bombs::many_functions();
    let (world, mut reconciler, ended) =
        impatient(&["bomb"], bomb, CompileLimits { cpu_s: 1, ..CompileLimits::default() });
    assert_eq!(put_off(&reconciler.pass_settled(None).expect("a pass")), ["bomb"]);
    ended.recv_timeout(PATIENCE).expect("it is ended");
    let pass = reconciler.pass_settled(None).expect("a pass");
    assert_eq!((pass.failed[0].action.name.as_str(), &*pass.failed[0].why.code), ("bomb", "worker-killed"));
    assert!(pass.put_off.is_empty() && pass.waiting.len() == 1 && !reconciler.is_compiling());
    // Known to be slow, it has no first turn in a pass any more.
    reconciler.look_at_everything();
    let again = reconciler.pass_settled(None).expect("a pass");
    assert!(again.failed.is_empty() && put_off(&again) == ["bomb"] && reconciler.is_compiling());
    // What nobody wants any more is given up, and leaves no failure behind.
    std::fs::remove_file(world.desired().join("bomb.toml")).expect("removed");
    reconciler.pass_settled(None).expect("a pass");
    ended.recv_timeout(PATIENCE).expect("it is ended");
    let last = reconciler.pass_settled(None).expect("a pass");
    assert!(last.failed.is_empty() && last.put_off.is_empty() && last.summary.converged && !reconciler.is_compiling());
}

/// The names of the files with compiled code.
fn cached(world: &World) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(world.home().join("state/cache")).expect("a cache");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn phases(reconciler: &Reconciler, names: &[&str]) -> Vec<bool> {
    let running = Some(airssys_wasm::actor::ActorPhase::Running);
    names.iter().map(|name| reconciler.actors().phase(&name.parse().expect("a name")) == running).collect()
}

#[test]
fn a_start_with_part_of_the_code_missing_starts_what_has_code_and_the_rest_when_it_is_made() {
    let (world, mut warm, _) = impatient(&["ready"], idle, CompileLimits::default());
    drop(warm);
    warm = reconciler(&world, processes(), CompileLimits::default());
    assert!(warm.pass_settled(None).expect("a pass").summary.converged);
    let kept = cached(&world);
    let wasm = idle("slow");
    world.publish("slow", &Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm: &wasm });
    world.desire("slow", "test:idle", "slow", "");
    world.desire_text(
        "needs-slow",
        "package = \"test:idle\"\ndepends-on = [\"slow\"]\n[source.file]\npath = \"../components/ready\"\n",
    );
    assert!(warm.pass_settled(None).expect("a pass").summary.converged);
    drop(warm);
    for lost in cached(&world).difference(&kept) {
        std::fs::remove_file(lost).expect("removed");
    }
    // Whatever became of its file meanwhile: what was committed runs again.
    world.desire_text("slow", "package = ");

    let names = ["ready", "slow", "needs-slow"];
    let (mut cold, ended) = impatient_again(&world, CompileLimits::default());
    assert_eq!(cold.start_committed(), 1);
    assert_eq!(phases(&cold, &names), [true, false, false]);
    let generation = cold.committed().generation.number;
    let first = cold.pass_settled(None).expect("a pass");
    assert_eq!(put_off(&first), ["needs-slow", "slow"]);
    assert!(!first.summary.converged && cold.is_compiling());
    ended.recv_timeout(PATIENCE).expect("it is made");
    let second = cold.pass_settled(None).expect("a pass");
    assert!(second.put_off.is_empty() && second.failed.is_empty(), "{:?}", second.failed);
    assert_eq!(phases(&cold, &names), [true, true, true]);
    assert_eq!(cold.committed().generation.number, generation, "a start commits nothing");
}

#[test]
fn a_pass_that_moves_a_name_does_not_wait_for_slow_code_either() {
    let (world, fast, _) = impatient(&["old"], idle, CompileLimits::default());
    drop(fast);
    let mut fast = reconciler(&world, processes(), CompileLimits::default());
    assert!(fast.pass_settled(None).expect("a pass").summary.converged);
    drop(fast);
    let (mut reconciler, ended) = impatient_again(&world, CompileLimits::default());
    assert_eq!(reconciler.start_committed(), 1);
    let wasm = idle("slow");
    world.publish("slow", &Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm: &wasm });
    world.desire("slow", "test:idle", "slow", "");
    std::fs::remove_file(world.desired().join("old.toml")).expect("removed");
    world.desire_text(
        "new",
        "package = \"test:idle\"\nmoved-from = \"old\"\n[source.file]\npath = \"../components/old\"\n",
    );
    let pass = reconciler.pass_settled(None).expect("a pass");
    assert_eq!(put_off(&pass), ["slow"]);
    assert_eq!(phases(&reconciler, &["old", "new", "slow"]), [false, true, false]);
    ended.recv_timeout(PATIENCE).expect("it is made");
    assert!(reconciler.pass_settled(None).expect("a pass").summary.converged);
    assert_eq!(phases(&reconciler, &["old", "new", "slow"]), [false, true, true]);
}

#[test]
fn the_end_of_a_reconciler_ends_what_is_compiled_beside_its_passes() {
    let bomb = |_: &str| bombs::many_functions();
    let (_world, mut reconciler, ended) = impatient(&["bomb"], bomb, CompileLimits::default());
    reconciler.pass_settled(None).expect("a pass");
    assert!(reconciler.is_compiling());
    drop(reconciler);
    ended.try_recv().expect("it ended before the reconciler was gone");
}
