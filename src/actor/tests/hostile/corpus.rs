//! Owns what a case of the corpus is, and the run of them all beside a well-behaved neighbour in one host.
//!
//! The cases themselves are in `cases`, by theme.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::storage::{BackendKind, Storage};

/// What the process may hold more after the whole corpus than before it.
const MAX_GROWTH_BYTES: u64 = 256 << 20;
/// What it may hold more at any time: a few instances at their limits, and what they hand to the host.
const MAX_PEAK_BYTES: u64 = 512 << 20;
/// The actor whose answers nobody may disturb.
const NEIGHBOUR: &str = "neighbour";

/// One component that means harm or is broken, what is done with it, and where that ends.
pub(super) struct Case {
    pub(super) name: &'static str,
    what: What,
    actor: Actor,
    beside: Option<TestGuest>,
    ends: Ends,
    also: Option<Also>,
    /// Of its own, so that nobody finds what another one stored.
    storage_id: u64,
}

enum What {
    Guest(Box<TestGuest>),
    Bytes(Vec<u8>),
}

/// What holds besides, of the case's actor of this name.
type Also = fn(&Host, &str);

/// The documented states in which a case may end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ends {
    /// The bytes are refused before or by the compiler, for this reason.
    NotCompiled(&'static str),
    /// It does not fit the host, for this reason.
    NotLinked(&'static str),
    /// It does not come up, for this reason, and is never switched to.
    NoStandby(&'static str),
    /// The call crashes with this text. After its backoff it runs again.
    Crashes(&'static str),
    /// The call runs until its deadline ends it, which is a crash as well.
    EndedAtTheDeadline,
    /// The call ends well, and what follows from it crashes with this text. After its backoff it runs again.
    CrashesLater(&'static str),
    /// It crashes with this text, at calls or starts, once more than it may be started again, and counts as failed.
    FailsAfter(u32, &'static str),
    /// It answers with an error, in these words.
    SaysNo(&'static str),
    /// What it asked of the host was refused, and it answers with this: one more than the number of the error's case.
    Told(u8),
    /// All of it is handled.
    Handled,
    /// It is stopped, and the end of it is told so.
    StopsWith(&'static str),
    /// It does not take another config, for this reason. It crashed, and runs again.
    KeepsItsConfig(&'static str),
    /// It does not say how it is, for this reason. It crashed, and runs again.
    CrashesWhenAskedHowItIs(&'static str),
    /// It does not take over what another version stored, for this reason.
    TakesNothingOver(&'static str),
}

/// How long a call may take that is there to be ended.
pub(super) const SHORT: Millis = Millis(50);
/// How an end by that reads.
pub(super) const TOO_LONG: &str = "it took longer than the 50ms it may";

impl Case {
    pub(super) fn guest(name: &'static str, guest: TestGuest, ends: Ends) -> Self {
        Self::of(name, What::Guest(Box::new(guest)), ends)
    }

    /// A guest that has this in its handler.
    pub(super) fn handles(name: &'static str, body: &str, ends: Ends) -> Self {
        Self::guest(name, TestGuest::new().handle(body), ends)
    }

    pub(super) fn bytes(name: &'static str, bytes: Vec<u8>, ends: Ends) -> Self {
        Self::of(name, What::Bytes(bytes), ends)
    }

    fn of(name: &'static str, what: What, ends: Ends) -> Self {
        let mut actor = Actor::new(String::leak(name.replace(' ', "-")));
        actor.supervision.backoff = Millis(1);
        actor.links = vec![("next", NEIGHBOUR), ("self", actor.name)];
        actor.limits.drain = Millis(2_000);
        match ends {
            Ends::EndedAtTheDeadline => actor.limits.call = SHORT,
            Ends::FailsAfter(restarts, _) => actor.supervision.max_restarts = restarts,
            _ => {}
        }
        Self { name, what, actor, beside: None, ends, also: None, storage_id: 0 }
    }

    pub(super) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.actor.limits);
        self
    }

    pub(super) fn actor(mut self, change: impl FnOnce(&mut Actor)) -> Self {
        change(&mut self.actor);
        self
    }

    /// `next` leads to this one instead of the neighbour, and its `next` leads back.
    pub(super) fn beside(mut self, guest: TestGuest) -> Self {
        self.actor.links[0].1 = String::leak(format!("{}-other", self.actor.name));
        self.beside = Some(guest);
        self
    }

    pub(super) fn also(mut self, check: Also) -> Self {
        self.also = Some(check);
        self
    }

    fn wasm(&self) -> Vec<u8> {
        match &self.what {
            What::Guest(guest) => guest.wasm(),
            What::Bytes(bytes) => bytes.clone(),
        }
    }

    /// Runs it, from its bytes to its end.
    fn run(&self, host: &Host) {
        if let Some(guest) = &self.beside {
            let mut other = Actor::new(String::leak(format!("{}-other", self.actor.name)));
            other.links = vec![("next", self.actor.name)];
            other.limits.call = Millis(200);
            other.supervision.backoff = Millis(1);
            host.run(&other, guest);
        }
        self.run_alone(host);
    }

    /// Leaves nothing behind, whatever its end was.
    fn clear(&self, host: &Host) {
        for own in [self.actor.name.to_owned(), format!("{}-other", self.actor.name)] {
            host.system.switch(vec![Switch::Stop(name(&own))]);
        }
    }

    fn run_alone(&self, host: &Host) {
        let compiled = match (host.engine.compile_for_test(&self.wasm()), self.ends) {
            (Err(error), Ends::NotCompiled(why)) => return says(&error.to_string(), why),
            (compiled, Ends::NotCompiled(_)) => panic!("it was compiled: {compiled:?}"),
            (compiled, _) => compiled.expect("compiled"),
        };
        let standby = match (host.prepare_as(&self.actor, &compiled, Some(self.storage_id)), self.ends) {
            (Err(PrepareError::Link(error)), Ends::NotLinked(why)) => return says(&error.to_string(), why),
            (Err(error), Ends::NoStandby(why)) => return says(&error.to_string(), why),
            (Ok(_), Ends::NotLinked(_) | Ends::NoStandby(_)) => panic!("it came up"),
            (standby, _) => standby.expect("a standby"),
        };
        assert_eq!(host.activate(standby), Switched::Done);
        self.ends(host);
        if let Some(also) = self.also {
            also(host, self.actor.name);
        }
    }

    fn ask(&self, host: &Host) -> Reply {
        host.ask(self.actor.name, b"go")
    }

    fn ends(&self, host: &Host) {
        match self.ends {
            Ends::NotCompiled(_) | Ends::NotLinked(_) | Ends::NoStandby(_) => unreachable!("it came up"),
            Ends::Crashes(text) => self.crashes(host, text),
            Ends::EndedAtTheDeadline => self.crashes(host, TOO_LONG),
            Ends::CrashesLater(text) => {
                self.ask(host).expect("handled");
                self.crashed_and_runs_again(host, text);
            }
            Ends::FailsAfter(restarts, text) => self.fails(host, restarts, text),
            Ends::SaysNo(text) => match self.ask(host) {
                Err(CallError::Failed(said)) => says(&said, text),
                other => panic!("an error was expected: {other:?}"),
            },
            Ends::Told(case) => {
                assert_eq!(self.ask(host), Ok(Some(vec![case])));
                self.is_whole(host);
            }
            Ends::Handled => {
                self.ask(host).expect("handled");
                self.is_whole(host);
            }
            Ends::StopsWith(text) => {
                assert_eq!(host.stop(self.actor.name), Switched::Done);
                says(&host.log_text(self.actor.name), text);
            }
            Ends::KeepsItsConfig(text) => self.keeps_its_config(host, text),
            Ends::CrashesWhenAskedHowItIs(text) => {
                self.ask(host).expect("handled");
                let cell = host.system.core.registry.get(&name(self.actor.name)).expect("there");
                cell.ask_health_now(&host.system.core);
                self.crashed_and_runs_again(host, text);
            }
            Ends::TakesNothingOver(text) => self.takes_nothing_over(host, text),
        }
    }

    fn crashes(&self, host: &Host, text: &str) {
        match self.ask(host) {
            Err(CallError::Crashed(said)) => says(&said, text),
            other => panic!("a crash was expected: {other:?}"),
        }
        self.crashed_and_runs_again(host, text);
    }

    /// It crashed once, waited and came up, and there is nothing of the call but a dead letter.
    fn crashed_and_runs_again(&self, host: &Host, text: &str) {
        let of = |event: &ActorEvent| event.name.as_str() == self.actor.name;
        let crashed = host.events.wait(|event| of(event) && matches!(event.what, ActorChange::Crashed(_)));
        let ActorChange::Crashed(said) = crashed.what else { unreachable!("it was looked for") };
        says(&said, text);
        host.events.wait(|event| of(event) && event.what == ActorChange::Recovered);
        let status = host.status(self.actor.name);
        assert_eq!((status.phase, status.crashes, status.restarts), (ActorPhase::Running, 1, 1));
    }

    fn fails(&self, host: &Host, restarts: u32, text: &str) {
        for _ in 0..=restarts {
            host.system.send_from_host(&name(self.actor.name), b"go".to_vec()).expect("taken");
        }
        let of = |event: &ActorEvent| event.name.as_str() == self.actor.name;
        let failed = host.events.wait(|event| of(event) && matches!(event.what, ActorChange::Failed(_)));
        let ActorChange::Failed(said) = failed.what else { unreachable!("it was looked for") };
        says(&said, text);
        let status = host.status(self.actor.name);
        // A start that fails is a crash and no restart.
        assert_eq!((status.phase, status.crashes), (ActorPhase::Failed, u64::from(restarts) + 1));
    }

    fn keeps_its_config(&self, host: &Host, text: &str) {
        let mut actor = self.actor.clone();
        actor.config = serde_json::json!({ "n": 2 });
        let wasm = host.status(actor.name).record.artifact.wasm;
        let record = Arc::new(actor.record(wasm));
        let config = Arc::new(GuestConfig::new(record.spec.config.clone(), Vec::new()));
        match host.system.reconfigure(vec![NewConfig { record, config }]).remove(0) {
            Err(ReconfigureError::Refused(said)) => says(&said, text),
            other => panic!("it was to be refused: {other:?}"),
        }
        self.crashed_and_runs_again(host, text);
    }

    /// Its message makes it store something, which its next version is to take over.
    fn takes_nothing_over(&self, host: &Host, text: &str) {
        self.ask(host).expect("handled");
        let mut next = self.actor.clone();
        next.version = "2.0.0";
        next.supervision.backoff = Millis(60_000);
        let compiled = host.engine.compile_for_test(&self.wasm()).expect("compiled");
        host.activate(host.prepare_as(&next, &compiled, Some(self.storage_id)).expect("a standby"));
        let status = host.status(self.actor.name);
        assert!(status.did_not_take_over);
        says(&status.last_error.expect("an error"), text);
    }

    /// It did not crash, and takes the next message.
    fn is_whole(&self, host: &Host) {
        let status = host.status(self.actor.name);
        assert_eq!((status.phase, status.crashes), (ActorPhase::Running, 0));
    }
}

#[track_caller]
fn says(text: &str, expected: &str) {
    assert!(text.contains(expected), "{expected:?} is not in {text:?}");
}

/// A host with the neighbour and a store on the disk.
fn host_and_neighbour(directory: &std::path::Path) -> Host {
    let store = directory.join("store");
    let host = Host::with(|config| config.storage = Storage::at(BackendKind::LASTING[0], &store));
    host.run(&Actor::new(NEIGHBOUR).limits(|limits| limits.mailbox = 65_536), &echo());
    host
}

/// Nobody waits for anything any more, and the neighbour is as it was.
fn all_is_as_before(host: &Host, memory: u64) {
    assert_eq!(host.ask(NEIGHBOUR, b"still there?"), Ok(Some(b"still there?".to_vec())));
    let status = host.status(NEIGHBOUR);
    assert_eq!((status.phase, status.crashes, status.counts.dead()), (ActorPhase::Running, 0, 0));
    host.until("all memory is given back", || host.engine.memory_budget().used_bytes() == memory);
}

fn run_all() {
    let directory = tempfile::tempdir().unwrap();
    let host = host_and_neighbour(directory.path());
    let mut memory = host.engine.memory_budget().used_bytes();
    let only = std::env::var("AIRSSYS_TEST_CASE").unwrap_or_default();
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.name.contains(&only)).collect();
    let (count, (before, _)) = (cases.len(), resident());
    let mut failed = Vec::new();
    for (case, storage_id) in cases.into_iter().zip(100..) {
        let case = Case { storage_id, ..case };
        let (name, begun) = (case.name, Instant::now());
        let ended = catch_unwind(AssertUnwindSafe(|| case.run(&host)));
        case.clear(&host);
        let after = catch_unwind(AssertUnwindSafe(|| all_is_as_before(&host, memory)));
        println!("{name}: {:?}", begun.elapsed());
        for panic in [ended.err(), after.err()].into_iter().flatten() {
            failed.push(format!("{name}: {}", words(&*panic)));
            // The next one is to be judged by itself.
            memory = host.engine.memory_budget().used_bytes();
        }
    }
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
    let (after, most) = resident();
    println!("{count} cases; resident {} MiB before, {} after, {} at most", before >> 20, after >> 20, most >> 20);
    assert!(after < before + MAX_GROWTH_BYTES, "{before} before, {after} after");
    assert!(most < before + MAX_PEAK_BYTES, "{before} before, {most} at most");
}

#[test]
fn r12_every_case_ends_in_its_documented_state_and_the_neighbour_does_not_notice() {
    const PATH: &str = "corpus::r12_every_case_ends_in_its_documented_state_and_the_neighbour_does_not_notice";
    if is_inside(PATH) {
        run_all();
    }
}

#[test]
fn r12_the_corpus_has_at_least_sixty_cases_and_no_name_twice() {
    let cases = cases::all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len());
    assert!(names.len() >= 60, "{}", names.len());
}
