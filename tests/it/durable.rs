//! Messages that outlive `kill -9` of the real host, on their way through a chain of three components.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Release, RunningHost, World, desired_text, stderr, stdout};
use crate::scale::cases;
use crate::test_guest::TestGuest;

const CHAIN: [(&str, &str); 3] = [("a", "b"), ("b", "c"), ("c", "nobody")];

/// Keeps all payloads behind one another, and sends each to `next`. `g` answers with what it kept.
fn logger() -> Vec<u8> {
    TestGuest::new()
        .storage()
        .handle(
            r#"(call $host_load @"log" (i32.const 256))
            (local.set $i (i32.const 0))
            (if (i32.load8_u (i32.const 264)) (then
              (local.set $i (i32.load (i32.const 272)))
              (memory.copy (i32.const 8192) (i32.load (i32.const 268)) (local.get $i))))
            (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 103))
              (then (return (call $ok_some (i32.const 8192) (local.get $i)))))
            (memory.copy (i32.add (i32.const 8192) (local.get $i)) (local.get $ptr) (local.get $len))
            (call $host_store @"log" (i32.const 8192) (i32.add (local.get $i) (local.get $len)) (i32.const 256))
            (if (i32.load8_u (i32.const 256)) (then unreachable))
            (drop (call $send @"next" (local.get $ptr) (local.get $len)))
            (call $ok_none)"#,
        )
        .wasm()
}

fn world() -> World {
    let world = World::new();
    let policy = std::fs::read_to_string(world.trust()).expect("a policy");
    world.trust_text(&policy.replace("send = [\"*\"]", "storage = \"read-write\", send = [\"*\"]"));
    let wasm = logger();
    let more = "[permissions]\nstorage = \"read-write\"\nsend = [\"next\"]\nreceive = [\"*\"]";
    world.publish("logger", &Release { package: "test:logger", version: "1.0.0", sequence: 1, more, wasm: &wasm });
    for (name, next) in CHAIN {
        let more = format!(
            "[grant]\nstorage = \"read-write\"\nsend = [\"next\"]\nreceive = [\"*\"]\n\n[links]\nnext = \"{next}\""
        );
        let text = format!("delivery = \"durable\"\n{}", desired_text("test:logger", "logger", &more));
        world.desire_text(name, &text);
    }
    world
}

fn up(world: &World) -> RunningHost {
    let mut host = world.run();
    host.wait_for(&["converged", "3 of 3 running"]);
    host
}

/// The numbers that a component kept, in their order.
#[track_caller]
fn kept(world: &World, name: &str) -> Vec<u32> {
    // It is the last of its mailbox: everything before it is handled.
    let output = world.output(&["call", name, "g"]);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Sends number after number until the host is gone; gives those that were answered.
fn send_until_killed(world: &World, host: RunningHost, after: Duration, next: &mut u32) -> Vec<u32> {
    let is_killed = AtomicBool::new(false);
    let mut answered = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(after);
            host.kill();
            is_killed.store(true, Ordering::SeqCst);
        });
        while !is_killed.load(Ordering::SeqCst) {
            let number = *next;
            *next += 1;
            // Of one that got no answer nobody knows whether it was accepted; its number comes once in any case.
            if world.output(&["call", "a", &format!("{number:05} ")]).status.success() {
                answered.push(number);
            }
        }
    });
    answered
}

#[test]
fn each_accepted_message_has_its_effect_once_and_in_order_however_often_the_host_is_killed() {
    let world = world();
    let mut random = Random(20_260_704);
    let (mut answered, mut next) = (Vec::new(), 0);
    for kill in 0..cases(20) {
        let host = up(&world);
        let after = Duration::from_millis(5 + random.below(250));
        answered.extend(send_until_killed(&world, host, after, &mut next));
        assert!(next < 9_000, "kill {kill}: no more fit into the guests");
    }
    assert!(!answered.is_empty(), "some were answered");
    let host = up(&world);
    let first = kept(&world, "a");
    assert!(first.is_sorted_by(|a, b| a < b), "once and in order: {first:?}");
    let lost: Vec<_> = answered.iter().filter(|number| first.binary_search(number).is_err()).collect();
    assert_eq!(lost, [&0; 0], "answered, and without effect");
    for (name, _) in &CHAIN[1..] {
        assert_eq!(kept(&world, name), first, "what came out of {name}");
    }
    let dead = world.output(&["dead-letters", "list"]);
    assert_eq!(stdout(&dead), "no message has died since the host started\n");
    assert!(host.stop().success());
    let verified = world.output(&["storage", "verify"]);
    assert!(verified.status.success() && stdout(&verified).contains("sound"), "{}", stdout(&verified));
}

/// The actors' own tests end messages in all ways; here is what an operator sees of those that wait.
#[test]
fn what_waits_is_shown_stays_over_a_stop_and_becomes_dead_letters_when_nobody_is_left_to_handle_it() {
    let world = World::new();
    let wasm = TestGuest::new().handle("unreachable").wasm();
    let more = "[permissions]\nreceive = [\"*\"]";
    world.publish("crashes", &Release { package: "test:crashes", version: "1.0.0", sequence: 1, more, wasm: &wasm });
    let more = "[grant]\nreceive = [\"*\"]\n\n[supervision]\nbackoff = \"1h\"\nbackoff-max = \"1h\"";
    world.desire_text("a", &format!("delivery = \"durable\"\n{}", desired_text("test:crashes", "crashes", more)));
    let mut host = world.run();
    host.wait_for(&["converged", "1 of 1 running"]);
    // It crashes with the first in hand, and is not started again so soon.
    let calls = ["one", "two"]
        .map(|payload| world.command(&["call", "a", payload]).stderr(Stdio::null()).spawn().expect("started"));
    let waiting = || world.status()["components"][0]["actor"]["waiting"].as_u64();
    let until = Instant::now() + PATIENCE;
    while waiting() != Some(2) {
        assert!(Instant::now() < until, "both wait: {}", world.status());
    }
    assert!(host.stop().success());
    for mut call in calls {
        assert!(!call.wait().expect("ended").success(), "nobody waits any more");
    }
    let listed = world.output(&["storage", "list"]);
    assert!(stdout(&listed).contains("a  0B in 0 keys, 2 messages with "), "{}", stdout(&listed));

    let mut host = world.run();
    host.wait_for(&["a", "crashed"]);
    std::fs::remove_file(world.desired().join("a.toml")).expect("removed");
    host.wait_for(&["a", "uninstalled"]);
    host.wait_for(&["converged"]);
    host.kill();
    let mut host = world.run();
    host.wait_for(&["converged"]);
    let dead = world.output(&["dead-letters", "list"]);
    // The first was delivered once more by the second host, which is once too often.
    let count = |words: &str| stdout(&dead).matches(words).count();
    assert_eq!((count("3 bytes of raw, poison"), count("3 bytes of raw, stopped")), (1, 1), "{}", stdout(&dead));
    assert_eq!(count("2 kept, also from before this host started; 0 since"), 1, "{}", stdout(&dead));
    assert!(host.stop().success());
    let verified = world.output(&["storage", "verify"]);
    assert!(stdout(&verified).contains("checked  0 messages, 2 dead letters\nsound"), "{}", stdout(&verified));
}
