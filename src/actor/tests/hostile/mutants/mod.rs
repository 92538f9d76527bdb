//! Broken and made-up components on their whole way: inspected, compiled, started, called. None may end in more than
//! its own end.

mod dice;
mod generate;
mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

use super::*;
use crate::actor::tests::storage::keeper;
use crate::engine::SurfaceError;
use crate::test_scale::cases;
use dice::Dice;

/// What the process may hold more after all of them than before.
const MAX_GROWTH_BYTES: u64 = 256 << 20;
/// No step of one takes as long, or it hangs.
const HANGS: Duration = Duration::from_secs(120);
/// How long somebody waits for an answer of one.
const ANSWER: Duration = Duration::from_secs(2);

/// How many came how far.
#[derive(Debug, Default)]
struct Reached {
    made: u32,
    inspected: u32,
    compiled: u32,
    started: u32,
    answered: u32,
    crashed: u32,
}

/// Guests whose changed kin are tried.
fn sources() -> Vec<Vec<u8>> {
    let asker = TestGuest::new()
        .handle(r#"(drop (call $request @"next" (local.get $ptr) (local.get $len) (i64.const 0))) (call $ok_none)"#)
        .callback("(call $ok_unit)");
    let aside = TestGuest::new()
        .health("(call $health (i32.const 0) (i32.const 0) (i32.const 0))")
        .drain("")
        .migrate("(call $init_ok)")
        .reconfigure("(call $init_ok)")
        .operations("(call $done (local.get $codec) (local.get $ptr) (local.get $len))");
    let mut sources: Vec<Vec<u8>> = [
        echo(),
        asker,
        aside,
        keeper(),
        keeper().wasi().topics().multicodec(),
        TestGuest::new().handle("(drop (call $send @\"next\" (local.get $ptr) (local.get $len))) (call $ok_none)"),
    ]
    .iter()
    .map(TestGuest::wasm)
    .collect();
    // As often as those that are small, and they are not.
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/components");
    for example in ["aggregator", "alerter", "sensor"] {
        sources.push(std::fs::read(examples.join(example).join(format!("{example}.wasm"))).unwrap());
    }
    sources
}

/// The component of a seed: a changed one, or a made-up one, changed or not.
fn component(seed: u64, sources: &[Vec<u8>]) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    match dice.below(3) {
        0 => {
            let made = generate::guest(&mut dice).wasm();
            if dice.below(4) == 0 { mutate::mutant(&mut dice, &[made]) } else { made }
        }
        _ => mutate::mutant(&mut dice, sources),
    }
}

/// Takes one as far as it goes.
fn run(host: &Host, wasm: &[u8], reached: &mut Reached) {
    reached.made += 1;
    // What the host reads in its own process: an error is fine, a failure of the reader is not.
    let surface = crate::engine::surface(wasm);
    assert!(!matches!(surface, Err(SurfaceError::Failed)), "the reader failed");
    if Engine::inspect_for_test(wasm).is_err() {
        return;
    }
    reached.inspected += 1;
    let Ok(compiled) = host.engine.compile_for_test(wasm) else { return };
    reached.compiled += 1;
    assert!(!matches!(surface, Err(SurfaceError::NotCompiled(_))), "it was compiled: {surface:?}");
    let mut actor = quick("mutant").limits(|limits| limits.memory = ByteSize(16 << 20));
    actor.links = vec![("next", "bystander"), ("self", "mutant")];
    actor.storage = Some("read-write");
    actor.supervision = Supervision { backoff: Millis(1), backoff_max: Millis(1), ..Supervision::default() };
    let Ok(standby) = host.prepare_compiled(&actor, &compiled) else { return };
    reached.started += 1;
    host.activate(standby);
    for message in [&b"go"[..], b"", b"twice"] {
        let Ok(pending) = host.system.begin_request(&name("mutant"), message.to_vec(), ANSWER) else { continue };
        match pending.wait() {
            Ok(_) => reached.answered += 1,
            Err(CallError::Crashed(_)) => reached.crashed += 1,
            Err(_) => {}
        }
    }
    host.stop("mutant");
}

/// Ends the process when nothing comes for too long.
fn watched() -> Sender<u64> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut last = 0;
        loop {
            match told.recv_timeout(HANGS) {
                Ok(seed) => last = seed,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("seed {last} hangs");
                    std::process::exit(3);
                }
            }
        }
    });
    tell
}

fn run_all() {
    let (host, sources, alive) = (with_bystander(), sources(), watched());
    let memory = host.engine.memory_budget().used_bytes();
    let only = std::env::var("AIRSSYS_TEST_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = only.map_or(0..u64::from(cases(200)), |seed| seed..seed + 1);
    println!("mutants of the seeds {seeds:?}; AIRSSYS_TEST_SEED=N runs one");
    let (before, _) = resident();
    let (mut reached, mut failed) = (Reached::default(), Vec::new());
    for seed in seeds {
        alive.send(seed).unwrap();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            run(&host, &component(seed, &sources), &mut reached);
            bystander_is_fine(&host);
            host.until("all memory is given back", || host.engine.memory_budget().used_bytes() == memory);
        }));
        if let Err(panic) = ended {
            failed.push(format!("seed {seed}: {}", words(&*panic)));
        }
    }
    let (after, most) = resident();
    println!("{reached:?}; resident {} MiB before, {} after, {} at most", before >> 20, after >> 20, most >> 20);
    assert!(failed.is_empty(), "{}:\n{}", failed.len(), failed.join("\n"));
    assert!(only.is_some() || reached.answered * 10 > reached.made, "too few came to a call: {reached:?}");
    assert!(only.is_some() || reached.compiled * 10 < reached.made * 9, "too few were broken: {reached:?}");
    assert!(after < before + MAX_GROWTH_BYTES, "{before} before, {after} after");
}

#[test]
fn r14_no_broken_or_made_up_component_ends_in_more_than_its_own_end() {
    if is_inside("mutants::r14_no_broken_or_made_up_component_ends_in_more_than_its_own_end") {
        run_all();
    }
}
