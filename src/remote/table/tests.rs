use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const INTERVAL_MS: u64 = 300_000;
const MIDDLE: Jitter = Jitter(u32::MAX / 2);

fn want(host: &str, input: &str) -> Want {
    Want {
        place: Place { host: (!host.is_empty()).then(|| host.to_owned()), exclusive: None },
        input: Digest::of(input.as_bytes()),
        is_known: false,
        is_fixed: false,
    }
}

fn many(host: &str, count: usize) -> BTreeMap<usize, Want> {
    (0..count).map(|key| (key, want(host, "a"))).collect()
}

fn failed(is_unreachable: bool) -> Outcome {
    Outcome::Failed { class: Class::Transient, is_unreachable, retry_after_ms: None }
}

fn started(commands: &[Command<usize>]) -> Vec<(usize, Ticket)> {
    let start = |command: &Command<usize>| match command {
        Command::Start { key, ticket } => Some((*key, *ticket)),
        Command::Cancel { .. } => None,
    };
    commands.iter().filter_map(start).collect()
}

/// Lets time pass until `until_ms`; every fetch ends at once as `end` says. Gives the number of starts.
fn run(
    table: &mut Table<usize>,
    mut now: u64,
    until_ms: u64,
    jitter: Jitter,
    mut end: impl FnMut(usize) -> Outcome,
) -> Vec<(u64, usize)> {
    let mut starts = Vec::new();
    for _ in 0..1_000_000 {
        for (key, ticket) in started(&table.tick(now)) {
            starts.push((now, key));
            table.done(ticket, end(key), now, &mut || jitter);
        }
        match table.next_tick_ms() {
            Some(next) if next <= until_ms => now = next.max(now),
            _ => return starts,
        }
    }
    panic!("a hot loop: {} starts", starts.len());
}

#[test]
fn u10_a_dead_host_with_a_thousand_sources_costs_a_few_attempts_and_heals_at_once() {
    for jitter in [Jitter(0), MIDDLE, Jitter(u32::MAX)] {
        let mut table = Table::new(INTERVAL_MS);
        table.want(many("dead:443", 1_000), 0);
        let hour = 3_600_000;
        let starts = run(&mut table, 0, hour, jitter, |_| failed(true));
        // Waits of 0.5, 1, 2 … 150 s at least, then one every 150 s.
        assert!(starts.len() <= 2 + 9 + 24, "{} attempts in an hour", starts.len());
        let first_minute = starts.iter().filter(|(at, _)| *at < 60_000).count();
        assert!(first_minute <= 9, "{first_minute} attempts in the first minute");
        // It heals: within one longest wait all are resolved.
        let mut seen = std::collections::BTreeSet::new();
        run(&mut table, hour, hour + 300_000, jitter, |key| {
            seen.insert(key);
            Outcome::Resolved
        });
        assert_eq!(seen.len(), 1_000);
    }
}

#[test]
fn a_silent_host_holds_two_places_and_leaves_six_to_others() {
    let mut table = Table::new(INTERVAL_MS);
    let mut wanted = many("silent:443", 1_000);
    wanted.extend((1_000..1_004).map(|key| (key, want("good:443", "a"))));
    table.want(wanted, 0);
    let starts = started(&table.tick(0));
    let on = |low: usize, high: usize| starts.iter().filter(|(key, _)| (low..high).contains(key)).count();
    assert_eq!((on(0, 1_000), on(1_000, 1_004)), (MAX_FETCHES_PER_HOST, MAX_FETCHES_PER_HOST));
    assert_eq!(table.next_tick_ms(), None, "only an event can start more");
}

#[test]
fn p17_a_changed_source_cancels_the_fetch_of_the_old_one_and_does_not_wait_for_it() {
    let mut table = Table::new(INTERVAL_MS);
    table.want([(1, want("slow:443", "a"))].into(), 0);
    let [(1, ticket)] = started(&table.tick(0))[..] else { panic!("started") };
    let commands = table.want([(2, want("slow:443", "a"))].into(), 10);
    assert_eq!(commands, [Command::Cancel { ticket }]);
    assert_eq!(started(&table.tick(10)).len(), 1, "the new one starts beside the old one");
    table.done(ticket, Outcome::Resolved, 20, &mut || MIDDLE);
    assert_eq!(table.standing(&1), None);
    assert_eq!(table.standing(&2), Some(Standing::Fetching));
}

#[test]
fn another_policy_starts_a_stalled_source_anew_and_the_same_one_does_not() {
    let mut table = Table::new(INTERVAL_MS);
    let fixed = |input: &str| Want { is_fixed: true, ..want("a:443", input) };
    table.want([(1, fixed("policy"))].into(), 0);
    let stalled = Outcome::Failed { class: Class::Stalled, is_unreachable: false, retry_after_ms: None };
    assert_eq!(run(&mut table, 0, u64::MAX, MIDDLE, |_| stalled).len(), 1);
    table.want([(1, fixed("policy"))].into(), 5);
    assert_eq!((table.standing(&1), table.next_tick_ms()), (Some(Standing::Resting), None));
    table.want([(1, fixed("another"))].into(), 5);
    assert_eq!(run(&mut table, 5, u64::MAX, MIDDLE, |_| stalled).len(), 1);
    table.sync(6);
    assert_eq!(run(&mut table, 6, u64::MAX, MIDDLE, |_| Outcome::Resolved).len(), 1);
    table.sync(7);
    assert_eq!(table.next_tick_ms(), None, "what is fixed and known is never fetched again");
    table.lost(&1, 8);
    assert_eq!(table.next_tick_ms(), Some(8));
}

#[test]
fn what_is_known_and_fixed_needs_no_fetch_and_what_moves_is_looked_at_again() {
    let mut table = Table::new(INTERVAL_MS);
    let known = |is_fixed| Want { is_known: true, is_fixed, ..want("a:443", "a") };
    table.want([(1, known(true)), (2, known(false))].into(), 0);
    let starts = run(&mut table, 0, 1_000_000, MIDDLE, |_| Outcome::Resolved);
    assert!(starts.iter().all(|(_, key)| *key == 2));
    assert_eq!(starts.len(), 4, "at once, then every five minutes: {starts:?}");
}

#[test]
fn retry_after_is_honoured_for_the_whole_host_and_capped_at_an_hour() {
    let mut table = Table::new(INTERVAL_MS);
    table.want(many("busy:443", 3), 0);
    let asked = |ms| Outcome::Failed { class: Class::Transient, is_unreachable: false, retry_after_ms: Some(ms) };
    let starts = run(&mut table, 0, 119_999, MIDDLE, |_| asked(120_000));
    assert_eq!(starts.len(), 2, "those that were under way already: {starts:?}");
    table.sync(1_000);
    assert_eq!(table.next_tick_ms(), Some(120_000), "a sync does not override it");
    run(&mut table, 120_000, 120_000, MIDDLE, |_| asked(u64::MAX));
    assert_eq!(table.next_tick_ms(), Some(120_000 + MAX_RETRY_AFTER_MS));
}

#[test]
fn one_repository_is_fetched_by_one_at_a_time() {
    let mut table = Table::new(INTERVAL_MS);
    let wanted = (0..4).map(|key| {
        let place = Place { host: None, exclusive: Some("file:///srv/a.git".to_owned()) };
        (key, Want { place, ..want("", "a") })
    });
    table.want(wanted.collect(), 0);
    let first = started(&table.tick(0));
    assert_eq!((first.len(), table.next_tick_ms()), (1, None));
    table.done(first[0].1, Outcome::Resolved, 1, &mut || MIDDLE);
    assert_eq!(started(&table.tick(1)).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(200)))]

    #[test]
    fn p18_every_source_alone_is_bounded_jittered_and_reset_by_success_and_change(
        jitter in any::<u32>(), unreachable in any::<bool>(),
    ) {
        let mut table = Table::new(INTERVAL_MS);
        table.want([(1, want("a:443", "a")), (2, want("b:443", "a"))].into(), 0);
        let starts = run(&mut table, 0, 600_000, Jitter(jitter), |key| {
            if key == 1 { failed(unreachable) } else { Outcome::Resolved }
        });
        let of = |key: usize| starts.iter().filter(|(_, one)| *one == key).map(|(at, _)| *at).collect::<Vec<_>>();
        prop_assert!(of(2).len() <= 3, "a failing neighbour costs nothing");
        let bad = of(1);
        prop_assert!(bad.len() <= 12, "{} attempts in ten minutes", bad.len());
        let waits: Vec<u64> = bad.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (index, wait) in waits.iter().enumerate() {
            let ceiling = Backoff::SOURCE.ceiling(u32::try_from(index + 1).unwrap()).0;
            prop_assert!(*wait >= ceiling / 2 && *wait <= ceiling, "wait {index} is {wait}");
        }
        // A changed input: at once, at most the shortest wait after the last failure; then the waits start anew.
        let now = 600_000;
        table.want([(1, want("a:443", "b")), (2, want("b:443", "a"))].into(), now);
        let Some(Standing::Waiting { next_ms }) = table.standing(&1) else { panic!("waits") };
        prop_assert!(next_ms <= now + SOURCE_FIRST_WAIT_MS);
    }

    #[test]
    fn u10_no_host_ever_has_more_than_two_and_all_together_never_more_than_eight(
        steps in prop::collection::vec((0u64..20_000, any::<u32>(), 0usize..6), 1..300),
    ) {
        let mut table = Table::new(10_000);
        let wanted: BTreeMap<usize, Want> = (0..60).map(|key| (key, want(&format!("h{}:443", key % 6), "a"))).collect();
        table.want(wanted.clone(), 0);
        let mut now = 0;
        let mut running: Vec<(usize, Ticket)> = Vec::new();
        for (pause, random, what) in steps {
            now += pause;
            match what {
                0 => drop(table.want(wanted.iter().filter(|(key, _)| *key % 2 == 0).map(|(k, w)| (*k, w.clone())).collect(), now)),
                1 => drop(table.want(wanted.clone(), now)),
                2 => table.sync(now),
                _ if !running.is_empty() => {
                    let (_, ticket) = running.swap_remove(random as usize % running.len());
                    let outcome = match what { 3 => Outcome::Resolved, 4 => failed(true), _ => failed(false) };
                    table.done(ticket, outcome, now, &mut || Jitter(random));
                }
                _ => {}
            }
            running.extend(started(&table.tick(now)));
            prop_assert!(running.len() <= MAX_FETCHES);
            prop_assert_eq!(table.running(), running.len());
            for host in 0..6 {
                prop_assert!(running.iter().filter(|(key, _)| key % 6 == host).count() <= MAX_FETCHES_PER_HOST);
            }
            prop_assert!(table.next_tick_ms().is_none_or(|next| next > now), "what may start has started");
        }
        // Nothing is stuck: once all ends well, every wanted source is resolved.
        table.want(wanted.clone(), now);
        for (_, ticket) in running {
            table.done(ticket, Outcome::Resolved, now, &mut || MIDDLE);
        }
        let mut seen = std::collections::BTreeSet::new();
        run(&mut table, now, now + 400_000, MIDDLE, |key| { seen.insert(key); Outcome::Resolved });
        prop_assert_eq!(seen.len(), 60);
    }
}
