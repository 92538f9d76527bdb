//! How long a neighbour's answers take while others do nothing but harm, against the same without them.

use super::*;

/// Answers in each half of a run.
const ANSWERS: usize = 500;
/// From one question to the next.
const PAUSE: Duration = Duration::from_millis(2);
/// From the first harm to the first answer that counts.
const NOTICED: Duration = Duration::from_secs(1);
/// What an answer may take whatever it takes without the others: two ticks.
const TWO_TICKS: Duration = Duration::from_millis(20);
/// Runs of which one must do: other tests and other programs take the processor away, too.
const RUNS: usize = 3;
const SPINNERS: [&str; 8] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
const BOMBS: [&str; 2] = ["b0", "b1"];

/// The slowest of a hundred answers.
fn p99(host: &Host) -> Duration {
    let answer = |_| {
        std::thread::sleep(PAUSE);
        let begun = Instant::now();
        let reply = host.system.begin_request(&name("neighbour"), b"?".to_vec(), PATIENCE).unwrap().wait();
        assert_eq!(bytes(reply), Ok(Some(b"?".to_vec())));
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (0..ANSWERS).map(answer).collect();
    times.sort_unstable();
    times[ANSWERS - 1 - ANSWERS / 100]
}

/// Takes all memory and uses it, and traps; comes up again at once, for the next message.
fn start_bombs(host: &Host) {
    let bomb = TestGuest::new().handle(
        "(loop $more
           (local.set $i (memory.grow (i32.const 16)))
           (if (i32.ne (local.get $i) (i32.const -1)) (then
             (memory.fill (i32.shl (local.get $i) (i32.const 16)) (i32.const 7) (i32.const 0x100000))
             (br $more))))
         unreachable",
    );
    for own in BOMBS {
        let mut actor = Actor::new(own).every(20);
        actor.supervision =
            Supervision { max_restarts: 1_000_000, backoff: Millis(1), backoff_max: Millis(1), ..actor.supervision };
        host.run(&actor, &bomb);
    }
}

fn start_spinners(host: &Host) {
    let spinner = host.compile(&TestGuest::new().handle("(loop $ever (br $ever)) unreachable"));
    for own in SPINNERS {
        let actor = Actor::new(own).limits(|limits| limits.call = Millis(30_000));
        host.activate(host.prepare_compiled(&actor, &spinner).unwrap());
        host.system.send_from_host(&name(own), Vec::new()).unwrap();
    }
}

/// The neighbour's p99 without the others and beside them.
fn quiet_and_beside() -> (Duration, Duration) {
    let host = Host::with(|config| config.workers = std::num::NonZeroUsize::new(2));
    host.run(&Actor::new("neighbour"), &echo());
    let quiet = p99(&host);
    start_spinners(&host);
    start_bombs(&host);
    std::thread::sleep(NOTICED);
    let beside = p99(&host);
    assert!(SPINNERS.iter().all(|own| host.status(own).crashes == 0), "the spinners did not spin all the time");
    assert!(BOMBS.iter().all(|own| host.status(own).crashes > 0), "the bombs did not go off");
    assert_eq!(host.status("neighbour").crashes, 0);
    (quiet, beside)
}

#[test]
fn r12_a_neighbours_slowest_answers_beside_spinners_and_memory_bombs_are_within_three_times_or_two_ticks() {
    const PATH: &str =
        "fair::r12_a_neighbours_slowest_answers_beside_spinners_and_memory_bombs_are_within_three_times_or_two_ticks";
    if !is_inside(PATH) {
        return;
    }
    let is_fair = |_| {
        let (quiet, beside) = quiet_and_beside();
        println!("p99 of {ANSWERS} answers: {quiet:?} quiet, {beside:?} beside 8 spinners and 2 memory bombs");
        beside <= TWO_TICKS.max(quiet * 3)
    };
    assert!((0..RUNS).any(is_fair), "in none of {RUNS} runs");
}
