//! What a message costs, next to what the bare call costs in the same run.
//!
//! Ignored by default; the numbers mean something only with optimisation:
//! `CARGO_PROFILE_TEST_OPT_LEVEL=3 cargo test --lib actor::tests::speed -- --ignored --nocapture --test-threads 1`

use super::*;
use crate::actor::instance::{Circumstances, Instance};
use crate::actor::version::Version;
use crate::host::contract::{Message, Sender};

const ROUNDS: usize = 5;

/// Processor time of this process: on a busy machine it says more than the clock on the wall.
fn cpu_ns() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Passes on what it gets, except at the end of the chain.
fn forwarder() -> TestGuest {
    TestGuest::new().handle(
        r#"(drop (call $send @"next" (local.get $ptr) (local.get $len)))
           (call $ok_none)"#,
    )
}

/// Processor nanoseconds of a call without mailboxes, on as many threads as the host has workers, each of
/// them around its own ring of instances.
fn bare_call_ns(host: &Host, guest: &TestGuest, instances: usize, threads: usize) -> f64 {
    const CALLS: usize = 50_000;
    let compiled = host.compile(guest);
    let record = Arc::new(Actor::new("bare").record(compiled.wasm()));
    let linked = host.system.core.linker.link(&compiled).unwrap();
    let config = Arc::new(crate::host::GuestConfig::new(record.spec.config.clone(), Vec::new()));
    let version = Arc::new(Version::new(record, linked, &host.logs.component(&name("bare")), config));
    let mut rings: Vec<Vec<Instance>> = (0..threads)
        .map(|_| (0..instances).map(|_| Instance::start(&version, &host.system.core).ok().unwrap()).collect())
        .collect();
    let start = cpu_ns();
    std::thread::scope(|scope| {
        for ring in &mut rings {
            scope.spawn(move || {
                for id in 0..CALLS {
                    let body = Payload::from(vec![7; 64]).into();
                    let (number, sender) = (id as u64, Sender::Host);
                    let message = Message { id: number, sender, wants_reply: false, topic: None, body };
                    let circumstances = Circumstances { hops: 0, until: None, left: None, mail: None };
                    ring[id % instances].handle(message, circumstances).unwrap();
                }
            });
        }
    });
    (cpu_ns() - start) / (CALLS * threads) as f64
}

#[test]
#[ignore = "measures"]
fn messages_between_pairs_against_bare_calls() {
    let workers = std::thread::available_parallelism().unwrap().get();
    for pairs in [1_usize, 64, 1000] {
        let host = Host::with(|config| config.max_hops = u32::MAX);
        let guest = forwarder();
        let compiled = host.compile(&guest);
        let names: Vec<String> = (0..2 * pairs).map(|i| format!("p{pairs}-{i}")).collect();
        let steps = names.iter().enumerate().map(|(i, own)| {
            let mut actor = Actor::new(String::leak(own.clone()));
            actor.links = vec![("next", String::leak(names[i ^ 1].clone()))];
            let standby = host.prepare_compiled(&actor, &compiled).unwrap();
            Switch::Activate { standby, moved_from: None }
        });
        let steps = steps.collect();
        host.system.switch(steps);
        for own in names.iter().step_by(2) {
            host.system.send_from_host(&name(own), vec![7; 64]).unwrap();
        }
        let handled = || -> u64 { host.system.statuses().iter().map(|s| s.counts.handled).sum() };
        let mut costs = Vec::new();
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let (before, start, cpu) = (handled(), Instant::now(), cpu_ns());
            std::thread::sleep(Duration::from_millis(500));
            let messages = (handled() - before) as f64;
            costs.push((cpu_ns() - cpu) / messages);
            rates.push(messages / start.elapsed().as_secs_f64());
        }
        let (cost, rate) = (median(costs), median(rates) / 1e6);
        drop(host);
        let host = Host::new();
        let bare = |guest: &TestGuest| {
            median((0..ROUNDS).map(|_| bare_call_ns(&host, guest, (2 * pairs).div_ceil(workers), workers)).collect())
        };
        let (echo, send) = (bare(&echo()), bare(&forwarder()));
        println!(
            "{pairs:5} pairs, {workers} workers: {cost:.0} ns of processor a message, {rate:.3} M messages/s; \
             bare calls of as many instances on as many threads: echo {echo:.0} ns, send to nobody {send:.0} ns"
        );
    }
}

#[test]
#[ignore = "measures"]
fn round_trips_from_the_host() {
    let host = Host::new();
    host.run(&Actor::new("echo"), &echo());
    let measure = |what: &str, ask: &dyn Fn()| {
        let mut times: Vec<Duration> = (0..50_000)
            .map(|_| {
                let start = Instant::now();
                ask();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let at = |part: usize| times[times.len() * part / 1000];
        println!("{what}: p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999));
    };
    measure("round trip on this thread", &|| drop(host.ask("echo", &[7; 64]).unwrap()));
    let by_worker = || host.system.begin_request(&name("echo"), vec![7; 64], PATIENCE).unwrap().wait().unwrap();
    measure("round trip by a worker", &|| drop(by_worker()));
    let (to, from) = (std::sync::mpsc::channel::<()>(), std::sync::mpsc::channel());
    std::thread::scope(|scope| {
        let (back, there) = (from.0, to.1);
        scope.spawn(move || while there.recv().is_ok() && back.send(()).is_ok() {});
        measure("two bare threads", &|| {
            to.0.send(()).unwrap();
            from.1.recv().unwrap();
        });
        drop(to.0);
    });
}
