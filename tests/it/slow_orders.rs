//! What an operator orders, and what goes back by itself, when its code compiles slowly: nobody else waits, and nothing of
//! it is lost.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;

use airssys_wasm::actor::ActorPhase;
use airssys_wasm::name::InstallationName;
use airssys_wasm::plan::approval::Operator;
use airssys_wasm::reconcile::Reconciler;
use airssys_wasm::reconcile::order::ApplyOrder;
use airssys_wasm::reconcile::rollback::{RollbackOrder, RollbackTarget, WentBack};
use airssys_wasm::trust::SigningKey;
use airssys_wasm::worker::CompileLimits;

use crate::bombs;
use crate::components::idle;
use crate::harness::{PATIENCE, Release, RunningHost, TRUSTED_SEED, World, stdout};
use crate::slow::{impatient_again, put_off};
use crate::test_guest::TestGuest;
use crate::worker::{processes, reconciler};

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

fn operator() -> Operator {
    Operator { uid: 1_000, user: "somebody".to_owned() }
}

fn other_key() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

/// A world whose publisher has two keys, with `one` of `wasm` installed.
fn world(wasm: &[u8]) -> World {
    let world = World::new();
    let keys = [SigningKey::from_seed(&TRUSTED_SEED).public(), other_key().public()];
    world.trust_text(&format!(
        "schema = 1\n\n[publisher.test]\nkeys = [\"{}\", \"{}\"]\nnames = [\"test:*\"]\n",
        keys[0], keys[1]
    ));
    world.publish("one", &release("1.0.0", 1, wasm));
    world.desire("one", "test:idle", "one", "");
    settle(&world);
    world
}

/// Installs what is wanted, however long its code takes.
fn settle(world: &World) {
    let pass = reconciler(world, processes(), CompileLimits::default()).pass_settled(None).expect("a pass");
    assert!(pass.summary.converged);
}

fn forget_all_code(world: &World) {
    for entry in std::fs::read_dir(world.home().join("state/cache")).expect("a cache") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
}

fn version(reconciler: &Reconciler, name: &str) -> Option<String> {
    let name: InstallationName = name.parse().expect("a name");
    reconciler.committed().records.get(&name).map(|targeted| targeted.record.artifact.version.to_string())
}

/// A host whose operator approved another signer of `one`, the code of which is being made.
fn approved_and_waiting() -> (World, Reconciler, Receiver<()>) {
    let world = world(&idle("1"));
    let (mut host, ended) = impatient_again(&world, CompileLimits::default());
    assert_eq!(host.start_committed(), 1);
    world.publish_signed_by("one", &release("1.1.0", 2, &idle("2")), &other_key());
    let approve = BTreeSet::from(["signer:one".parse().expect("an approval")]);
    let order = ApplyOrder { approve, plan: None, saved: None, by: operator() };
    let ordered = host.pass_settled(Some(&order)).expect("a pass");
    assert_eq!(put_off(&ordered), ["one"]);
    assert!(ordered.failed.is_empty() && !ordered.committed && host.is_compiling());
    (world, host, ended)
}

#[test]
fn an_order_keeps_nobody_waiting_and_its_word_counts_until_its_code_is_made() {
    let (world, mut host, ended) = approved_and_waiting();
    ended.recv_timeout(PATIENCE).expect("it is made");
    let last = host.pass_settled(None).expect("a pass");
    assert!(last.summary.converged && last.put_off.is_empty(), "{:?}", last.failed);
    assert_eq!(version(&host, "one").as_deref(), Some("1.1.0"));
    let kept = world.generation();
    assert!(kept.contains("note order \"apply by somebody (uid 1000)"), "{kept}");
    assert!(kept.contains("note approval \"signer:one for one action "), "{kept}");

    // Spent: the next change of hands asks again.
    world.publish("one", &release("1.2.0", 3, &idle("1")));
    let unasked = host.pass_settled(None).expect("a pass");
    assert_eq!(unasked.plan.exit_code(), 11);
    assert_eq!(version(&host, "one").as_deref(), Some("1.1.0"));
}

#[test]
fn a_word_stays_that_of_its_giver_when_somebody_else_orders_meanwhile() {
    let (world, mut host, ended) = approved_and_waiting();
    let by = Operator { uid: 1_001, user: "another".to_owned() };
    let second = ApplyOrder { approve: BTreeSet::new(), plan: None, saved: None, by };
    host.pass_settled(Some(&second)).expect("a pass");
    ended.recv_timeout(PATIENCE).expect("it is made");
    assert!(host.pass_settled(None).expect("a pass").summary.converged);
    assert_eq!(version(&host, "one").as_deref(), Some("1.1.0"));
    let kept = world.generation();
    let note = kept.lines().find(|line| line.starts_with("note approval \"signer:one for one ")).expect("a note");
    assert!(note.contains("by somebody (uid 1000)"), "{note}");
}

#[test]
fn a_word_for_what_changes_while_its_code_is_made_is_worth_nothing() {
    let (world, mut host, ended) = approved_and_waiting();
    world.publish_signed_by("one", &release("1.2.0", 3, &idle("3")), &other_key());
    let moved = host.pass_settled(None).expect("a pass");
    assert!(moved.put_off.is_empty() && moved.plan.exit_code() == 11);
    ended.recv_timeout(PATIENCE).expect("what nobody wants any more is ended");
    let last = host.pass_settled(None).expect("a pass");
    assert_eq!((last.plan.exit_code(), version(&host, "one").as_deref()), (11, Some("1.0.0")));
}

#[test]
fn an_order_to_go_back_keeps_nobody_waiting_and_is_carried_out_whole() {
    let world = world(&idle("1"));
    world.publish("one", &release("1.1.0", 2, &idle("2")));
    settle(&world);
    forget_all_code(&world);
    let (mut host, ended) = impatient_again(&world, CompileLimits::default());
    host.start_committed();
    host.pass_settled(None).expect("a pass");
    ended.recv_timeout(PATIENCE).expect("what was committed is made");
    assert!(host.pass_settled(None).expect("a pass").summary.converged);

    let target = RollbackTarget { names: BTreeSet::new(), to: None };
    let order = RollbackOrder { target, digest: None, by: operator() };
    let WentBack::WaitsForCode(again) = host.roll_back(&order).expect("an answer") else { panic!("it has no code") };
    assert!(host.is_compiling());
    // Passes go on meanwhile, and do not end it.
    assert!(host.pass_settled(None).expect("a pass").summary.converged);
    assert_eq!(version(&host, "one").as_deref(), Some("1.1.0"));
    ended.recv_timeout(PATIENCE).expect("it is made");
    assert!(host.pass_settled(None).expect("a pass").summary.converged);
    let WentBack::Is(document) = host.roll_back(&again).expect("an answer") else { panic!("its code is made") };
    assert!(document.committed.is_some());
    assert_eq!(version(&host, "one").as_deref(), Some("1.0.0"));
    assert!(world.generation().contains("by somebody (uid 1000)"), "{}", world.generation());
}

#[test]
fn an_order_to_go_back_fits_only_what_it_was_given_for() {
    let world = world(&idle("1"));
    world.publish("one", &release("1.1.0", 2, &idle("2")));
    settle(&world);
    let (mut host, ended) = impatient_again(&world, CompileLimits::default());
    host.start_committed();
    assert!(host.pass_settled(None).expect("a pass").summary.converged);
    forget_all_code(&world);
    let target = RollbackTarget { names: BTreeSet::new(), to: None };
    let order = RollbackOrder { target, digest: None, by: operator() };
    let WentBack::WaitsForCode(again) = host.roll_back(&order).expect("an answer") else { panic!("it has no code") };
    ended.recv_timeout(PATIENCE).expect("it is made");
    // Another version was installed meanwhile: what was to be undone is not what is there.
    world.publish("one", &release("1.2.0", 3, &idle("2")));
    assert!(host.pass_settled(None).expect("a pass").committed);
    let refused = host.roll_back(&again).expect_err("it is another one by now");
    assert!(refused.to_string().contains("another one by now"), "{refused}");
    assert_eq!(version(&host, "one").as_deref(), Some("1.2.0"));
}

#[test]
fn a_version_that_fails_goes_back_without_holding_up_a_pass() {
    let good = TestGuest::new().handle("(call $ok_some (local.get $ptr) (local.get $len))").wasm();
    let bad = TestGuest::new().handle("unreachable").wasm();
    let world = world(&good);
    let (mut host, ended) = impatient_again(&world, CompileLimits::default());
    assert_eq!(host.start_committed(), 1);
    world.publish("one", &release("1.1.0", 2, &bad));
    assert_eq!(put_off(&host.pass_settled(None).expect("a pass")), ["one"]);
    ended.recv_timeout(PATIENCE).expect("it is made");
    host.pass_settled(None).expect("a pass");
    assert_eq!(version(&host, "one").as_deref(), Some("1.1.0"));
    forget_all_code(&world);
    let name: InstallationName = "one".parse().expect("a name");
    let actors = host.actors().clone();
    for _ in 0..3 {
        while actors.phase(&name) != Some(ActorPhase::Running) {
            std::thread::yield_now();
        }
        let _ = actors.request_from_host(&name, b"m".to_vec(), PATIENCE);
    }
    let generation = host.committed().generation.number;
    host.pass_settled(None).expect("a pass");
    assert!(host.is_compiling(), "the old version's code is made beside the passes");
    assert_eq!(host.committed().generation.number, generation);
    ended.recv_timeout(PATIENCE).expect("it is made");
    host.pass_settled(None).expect("a pass");
    assert_eq!(version(&host, "one").as_deref(), Some("1.0.0"));
    assert_eq!(
        actors.request_from_host(&name, b"m".to_vec(), PATIENCE).expect("a reply").map(|p| p.bytes.to_vec()),
        Some(b"m".to_vec())
    );
}

#[test]
fn r13_an_order_for_a_compile_bomb_holds_up_nobody() {
    let world = world(&idle("1"));
    let mut host = world.run();
    host.wait_for(&["converged"]);
    world.publish_signed_by("one", &release("1.1.0", 2, &bombs::many_functions()), &other_key());
    host.wait_for(&["one", "needs an approval"]);
    let mut order = RunningHost::spawn(world.command(&["apply", "--approve", "signer:one"]));
    host.wait_for(&["one", "that goes on beside everything else"]);
    order.wait_for(&["waits for code", "one"]);
    world.publish("same", &release("1.0.0", 1, &idle("1")));
    world.desire("dropped", "test:idle", "same", "");
    host.wait_for(&["dropped", "installed", "1.0.0"]);
    assert!(stdout(&world.output(&["status", "one"])).contains("compiling"));
    assert!(!host.told().contains("failed"), "the bomb was given up already: it shows nothing\n{}", host.told());
    order.signal("KILL");
    order.wait();
    assert_eq!(world.committed()["one"], "1.0.0");
    assert!(host.stop().success());
}
