//! A host that dies or fails at every single call that changes the state.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::*;
use super::fixture::*;
use crate::home::Home;

const STEPS: [Step; 4] =
    [Step::Release("delta", 1), Step::Release("alpha", 3), Step::Reconfigure("gamma", 1), Step::Uninstall("beta")];

/// What happens at the n-th call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// The process dies: the call and all after it are not made. With `true`, a write is cut in half first.
    Die(bool),
    /// Only this call fails; the error is made from the kind.
    Fail(io::ErrorKind),
    /// A write writes half and fails.
    Tear,
    /// The call is made and fails all the same.
    FailLate,
}

fn faults(plan: Plan, at: u64) -> (FaultHook, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let hook: FaultHook = Arc::new(move |_| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        let error = || io::Error::other("fault point");
        match plan {
            Plan::Die(true) if call == at => Err(Fault::Torn(error())),
            Plan::Die(_) if call >= at => Err(Fault::Error(error())),
            Plan::Fail(kind) if call == at => Err(Fault::Error(kind.into())),
            Plan::Tear if call == at => Err(Fault::Torn(io::ErrorKind::StorageFull.into())),
            Plan::FailLate if call == at => Err(Fault::Late(error())),
            _ => Ok(()),
        }
    });
    (hook, calls)
}

/// How many calls opening and one step make.
fn count_calls(base: &Home, run: impl Fn(&Opened)) -> u64 {
    let temp = temp_dir();
    let home = copy_home(base, &temp);
    let (hook, calls) = faults(Plan::Die(false), u64::MAX);
    let opened = Store::open(&home, with_faults(hook)).unwrap_or_else(|e| panic!("{e}"));
    run(&opened);
    drop(opened);
    calls.load(Ordering::SeqCst)
}

/// What the step leads to when nothing goes wrong.
fn expected(base: &Home, step: Step) -> [Snapshot; 2] {
    let temp = temp_dir();
    let home = copy_home(base, &temp);
    let opened = open(&home);
    let before = opened.snapshot.clone();
    carry_out(&opened.store, step).unwrap();
    [before, opened.store.reader().snapshot().unwrap()]
}

#[test]
fn a_host_killed_at_any_call_of_a_step_starts_with_the_old_or_the_new_set() {
    let base_temp = temp_dir();
    let base = lived_in_home(&base_temp);
    let mut points = 0;
    for step in STEPS {
        let [before, after] = expected(&base, step);
        let calls = count_calls(&base, |opened| drop(carry_out(&opened.store, step).unwrap()));
        for at in 0..=calls {
            for torn in [false, true] {
                let context = format!("{step:?} killed at call {at}, torn {torn}");
                let temp = temp_dir();
                let home = copy_home(&base, &temp);
                let (hook, _) = faults(Plan::Die(torn), at);
                let done = match Store::open(&home, with_faults(hook)) {
                    Ok(opened) => carry_out(&opened.store, step).is_ok_and(|done| done.not_recorded.is_none()),
                    Err(_) => false,
                };
                assert_eq!(done, at == calls, "{context}");
                let allowed: &[&Snapshot] = if done { &[&after] } else { &[&before, &after] };
                check_sound(&home, allowed, &context);
                points += 1;
            }
        }
    }
    eprintln!("{points} kills");
    assert!(points > 150, "{points} points are too few to mean anything");
}

#[test]
fn a_host_killed_at_any_call_of_its_first_start_starts_again() {
    let temp = temp_dir();
    let (hook, calls) = faults(Plan::Die(false), u64::MAX);
    drop(Store::open(&home_in(&temp), with_faults(hook)).unwrap_or_else(|e| panic!("{e}")));
    let calls = calls.load(Ordering::SeqCst);
    for at in 0..=calls {
        for torn in [false, true] {
            let temp = temp_dir();
            let home = home_in(&temp);
            let (hook, _) = faults(Plan::Die(torn), at);
            assert_eq!(Store::open(&home, with_faults(hook)).is_ok(), at == calls);
            let empty = Reader::new(&home).snapshot().unwrap();
            check_sound(&home, &[&empty], &format!("first start killed at call {at}"));
        }
    }
}

/// The second start finds what the first one left half repaired.
#[test]
fn a_host_killed_while_it_recovers_from_a_kill_recovers_at_the_third_start() {
    let base_temp = temp_dir();
    let base = lived_in_home(&base_temp);
    let step = Step::Release("alpha", 3);
    let [before, after] = expected(&base, step);
    let calls = count_calls(&base, |opened| drop(carry_out(&opened.store, step).unwrap()));
    let mut double_kills = 0;
    for at in 0..calls {
        let killed_temp = temp_dir();
        let killed = copy_home(&base, &killed_temp);
        let (hook, _) = faults(Plan::Die(false), at);
        if let Ok(opened) = Store::open(&killed, with_faults(hook)) {
            let _ = carry_out(&opened.store, step);
        }
        bury(&killed);
        for second in 0..count_calls(&killed, |_| ()) {
            let temp = temp_dir();
            let home = copy_home(&killed, &temp);
            let (hook, _) = faults(Plan::Die(false), second);
            assert!(Store::open(&home, with_faults(hook)).is_err());
            check_sound(&home, &[&before, &after], &format!("killed at call {at} and again at {second}"));
            double_kills += 1;
        }
    }
    assert!(double_kills > 20, "{double_kills}");
}

#[test]
fn a_host_killed_while_it_recovers_from_damage_recovers_at_the_next_start() {
    let base_temp = temp_dir();
    let base = lived_in_home(&base_temp);
    std::fs::write(base.state_dir().join("gen/0000000005"), b"damaged").unwrap();
    let fourth = Reader::new(&base).snapshot().unwrap();
    assert_eq!(fourth.generation.number, 4);
    for at in 0..count_calls(&base, |_| ()) {
        let temp = temp_dir();
        let home = copy_home(&base, &temp);
        let (hook, _) = faults(Plan::Die(false), at);
        assert!(Store::open(&home, with_faults(hook)).is_err());
        let snapshot = open(&home).snapshot;
        // The recovered set may have been written already, and then is recovered itself.
        assert!([6, 7].contains(&snapshot.generation.number), "killed at call {at}");
        assert_eq!(entries(&snapshot), entries(&fourth), "killed at call {at}");
        let again = open(&home).snapshot;
        assert_eq!((again.generation, again.recovered), (snapshot.generation, None), "killed at call {at}");
    }
}

#[test]
fn a_call_that_fails_leaves_a_store_that_works_or_one_that_refuses_until_it_is_opened_again() {
    let plans = [
        Plan::Fail(io::ErrorKind::StorageFull),
        Plan::Fail(io::ErrorKind::ReadOnlyFilesystem),
        Plan::Fail(io::ErrorKind::Other),
        Plan::Tear,
        Plan::FailLate,
    ];
    let base_temp = temp_dir();
    let base = lived_in_home(&base_temp);
    let [mut usable, mut stopped] = [0, 0];
    for step in STEPS {
        let [before, after] = expected(&base, step);
        let calls = count_calls(&base, |opened| drop(carry_out(&opened.store, step).unwrap()));
        for (at, plan) in (0..calls).flat_map(|at| plans.map(|plan| (at, plan))) {
            let context = format!("{step:?}, {plan:?} at call {at}");
            let temp = temp_dir();
            let home = copy_home(&base, &temp);
            let (hook, _) = faults(plan, at);
            let Ok(opened) = Store::open(&home, with_faults(hook)) else {
                check_sound(&home, &[&before], &context);
                continue;
            };
            let first = carry_out(&opened.store, step);
            let on_disk = opened.store.reader().snapshot().unwrap();
            match &first {
                Ok(_) => assert_eq!(entries(&on_disk), entries(&after), "{context}"),
                // The set may have become current though the call failed; then nothing more is written.
                Err(_) if entries(&on_disk) == entries(&after) => {
                    let again = carry_out(&opened.store, step);
                    assert!(matches!(again, Err(StateError::Stopped(_))), "{context}");
                }
                Err(_) => assert_eq!(entries(&on_disk), entries(&before), "{context}"),
            }
            match carry_out(&opened.store, step) {
                Ok(_) => usable += 1,
                Err(StateError::Stopped(_)) => stopped += 1,
                Err(error) => panic!("{context}: neither usable nor stopped: {error}"),
            }
            drop(opened);
            check_sound(&home, &[&before, &after], &context);
            let opened = open(&home);
            carry_out(&opened.store, step).unwrap_or_else(|error| panic!("{context}: {error}"));
            drop(opened);
            check_sound(&home, &[&after], &context);
        }
    }
    eprintln!("{usable} times usable, {stopped} times stopped");
    assert!(usable > 100 && stopped > 20);
}

/// The failed step may have raised the floors already, or made the set current.
#[test]
fn another_step_after_a_failed_one_never_contradicts_what_the_failed_one_left() {
    let base_temp = temp_dir();
    let base = lived_in_home(&base_temp);
    for step in [Step::Release("delta", 1), Step::Accept("gamma", 5)] {
        let calls = count_calls(&base, |opened| drop(carry_out(&opened.store, step).unwrap()));
        for (at, plan) in
            (0..calls).flat_map(|at| [Plan::FailLate, Plan::Fail(io::ErrorKind::Other)].map(|plan| (at, plan)))
        {
            let context = format!("{step:?}, {plan:?} at call {at}");
            let temp = temp_dir();
            let home = copy_home(&base, &temp);
            let (hook, _) = faults(plan, at);
            let Ok(opened) = Store::open(&home, with_faults(hook)) else { continue };
            let _ = carry_out(&opened.store, step);
            let _ = carry_out(&opened.store, Step::Uninstall("gamma"));
            let last = opened.store.reader().snapshot().unwrap();
            drop(opened);
            check_sound(&home, &[&last], &context);
        }
    }
}

#[test]
fn a_full_or_read_only_disk_is_said_so_and_the_set_stays() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::QuotaExceeded] {
        let temp = temp_dir();
        let home = lived_in_home(&temp);
        let is_full = Arc::new(AtomicU64::new(0));
        let full = Arc::clone(&is_full);
        let hook: FaultHook = Arc::new(move |point| match (full.load(Ordering::SeqCst), point) {
            // What a full disk refuses; syncs and removals work.
            (1, FaultPoint::Create(_) | FaultPoint::Write(..) | FaultPoint::Symlink(..)) => {
                Err(Fault::Error(kind.into()))
            }
            _ => Ok(()),
        });
        let opened = Store::open(&home, with_faults(hook)).unwrap_or_else(|e| panic!("{e}"));
        is_full.store(1, Ordering::SeqCst);
        for step in STEPS {
            let error = carry_out(&opened.store, step).unwrap_err();
            assert!(error.is_disk_full_or_read_only() && error.hint().is_some(), "{error}");
        }
        let snapshot = opened.store.reader().snapshot().unwrap();
        assert_eq!(entries(&snapshot), entries(&opened.snapshot));
        is_full.store(0, Ordering::SeqCst);
        STEPS.iter().for_each(|step| drop(carry_out(&opened.store, *step).unwrap()));
    }
}

#[test]
fn a_host_killed_at_any_call_of_collecting_keeps_what_is_committed() {
    let base_temp = temp_dir();
    let base = lived_in_home(&base_temp);
    let opened = open(&base);
    for sequence in 4..20 {
        carry_out(&opened.store, Step::Release("alpha", sequence)).unwrap();
    }
    drop(opened);
    let later = Keep::at(std::time::SystemTime::now() + std::time::Duration::from_secs(30 * 24 * 3600));
    let before = Reader::new(&base).snapshot().unwrap();
    let calls = count_calls(&base, |opened| {
        let collected = opened.store.collect(later.clone()).wait().unwrap();
        assert!(collected.generations > 0 && collected.objects > 20, "{collected:?}");
    });
    for at in 0..calls {
        let temp = temp_dir();
        let home = copy_home(&base, &temp);
        let (hook, _) = faults(Plan::Die(false), at);
        if let Ok(opened) = Store::open(&home, with_faults(hook)) {
            assert!(opened.store.collect(later.clone()).wait().is_err());
        }
        check_sound(&home, &[&before], &format!("collecting killed at call {at}"));
    }
}
