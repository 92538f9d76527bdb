//! Decides whether a sender may go on sending to a target whose messages end badly: a circuit breaker.
//!
//! The decisions are pure: time is an argument. Closed, everything goes, and failures in a row are counted. Open, nothing goes until a
//! time is over. Half open, as many as have to succeed are let through: one that fails opens it again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::core::locked;
use crate::desired::spec::Breaker as Rules;

/// What a breaker does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything goes.
    Closed,
    /// Nothing goes.
    Open,
    /// Some go, to see how they end.
    HalfOpen,
}

impl BreakerState {
    /// The word in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { under_way: u32, successes: u32 },
}

/// What a message is let through with; whoever has it says once how the message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    /// Which turn of the breaker it is of: what is told of an earlier one says nothing about now.
    turn: u64,
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It was handled.
    Well,
    /// It is a dead letter, or was not taken.
    Badly,
    /// It did not leave.
    NotSent,
}

/// The breaker of one sender towards one target.
#[derive(Debug)]
pub(super) struct Breaker {
    rules: Rules,
    state: State,
    /// Counts changes of the state.
    turn: u64,
}

impl Breaker {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, state: State::Closed { failures: 0 }, turn: 0 }
    }

    /// Lets one message through, or says how long nothing goes.
    pub(super) fn pass(&mut self, now: Instant) -> Result<Pass, Duration> {
        if let State::Open { until } = self.state {
            let left = until.saturating_duration_since(now);
            if !left.is_zero() {
                return Err(left);
            }
            self.enter(State::HalfOpen { under_way: 0, successes: 0 });
        }
        if let State::HalfOpen { under_way, successes } = &mut self.state {
            if *under_way + *successes >= self.rules.success_threshold {
                // Those under way decide; nobody knows when.
                return Err(Duration::ZERO);
            }
            *under_way += 1;
        }
        Ok(Pass { turn: self.turn })
    }

    /// A message that was let through has ended.
    pub(super) fn ended(&mut self, pass: Pass, end: End, now: Instant) {
        if pass.turn != self.turn {
            return;
        }
        let Rules { failure_threshold, success_threshold, open_time } = self.rules;
        let opens = State::Open { until: now + open_time.duration() };
        match (&mut self.state, end) {
            (State::Closed { failures }, End::Well) => *failures = 0,
            (State::Closed { failures }, End::Badly) => {
                *failures += 1;
                if *failures >= failure_threshold {
                    self.enter(opens);
                }
            }
            (State::HalfOpen { under_way, successes }, End::Well) => {
                *under_way -= 1;
                *successes += 1;
                if *successes >= success_threshold {
                    self.enter(State::Closed { failures: 0 });
                }
            }
            (State::HalfOpen { .. }, End::Badly) => self.enter(opens),
            (State::HalfOpen { under_way, .. }, End::NotSent) => *under_way -= 1,
            (State::Closed { .. }, End::NotSent) | (State::Open { .. }, _) => {}
        }
    }

    /// What it does now.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } if until > now => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.turn += 1;
    }
}

/// The way back of a message to the breaker that let it through. Dropped without a word, it ended badly.
#[derive(Debug)]
pub(super) struct Outcome {
    breaker: Arc<Mutex<Breaker>>,
    pass: Pass,
    end: End,
}

impl Outcome {
    pub(super) fn new(breaker: Arc<Mutex<Breaker>>, pass: Pass) -> Self {
        Self { breaker, pass, end: End::Badly }
    }

    pub(super) fn ended(mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        locked(&self.breaker).ended(self.pass, self.end, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantity::Millis;
    use crate::test_scale::cases;

    const RULES: Rules = Rules { failure_threshold: 3, success_threshold: 2, open_time: Millis(100) };

    fn later(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn fail(breaker: &mut Breaker, times: u32, now: Instant) {
        for _ in 0..times {
            let pass = breaker.pass(now).expect("it goes");
            breaker.ended(pass, End::Badly, now);
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let start = Instant::now();
        let mut breaker = Breaker::new(RULES);
        fail(&mut breaker, 2, start);
        let pass = breaker.pass(start).unwrap();
        breaker.ended(pass, End::Well, start);
        fail(&mut breaker, 2, start);
        assert_eq!(breaker.state(start), BreakerState::Closed);
        fail(&mut breaker, 1, start);
        assert_eq!(breaker.pass(start), Err(Duration::from_millis(100)));
        assert_eq!(breaker.pass(later(start, 40)), Err(Duration::from_millis(60)));
    }

    #[test]
    fn half_open_it_lets_as_many_through_as_have_to_succeed_and_then_closes() {
        let start = Instant::now();
        let mut breaker = Breaker::new(RULES);
        fail(&mut breaker, 3, start);
        let now = later(start, 100);
        let (first, second) = (breaker.pass(now).unwrap(), breaker.pass(now).unwrap());
        assert_eq!(breaker.pass(now), Err(Duration::ZERO), "two are under way");
        breaker.ended(first, End::NotSent, now);
        let third = breaker.pass(now).unwrap();
        breaker.ended(second, End::Well, now);
        assert_eq!(breaker.state(now), BreakerState::HalfOpen);
        breaker.ended(third, End::Well, now);
        assert_eq!(breaker.state(now), BreakerState::Closed);
    }

    #[test]
    fn one_failure_while_half_open_opens_it_again_and_what_ends_late_says_nothing() {
        let start = Instant::now();
        let mut breaker = Breaker::new(RULES);
        let of_before = breaker.pass(start).unwrap();
        fail(&mut breaker, 3, start);
        let now = later(start, 100);
        let (first, second) = (breaker.pass(now).unwrap(), breaker.pass(now).unwrap());
        breaker.ended(of_before, End::Badly, now);
        assert_eq!(breaker.state(now), BreakerState::HalfOpen);
        breaker.ended(first, End::Badly, now);
        breaker.ended(second, End::Well, now);
        assert_eq!(breaker.state(now), BreakerState::Open);
        assert_eq!(breaker.pass(later(now, 30)), Err(Duration::from_millis(70)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(5_000), ..ProptestConfig::default() })]

        /// A step: time passes, then a message asks, or one of those under way ends.
        #[test]
        fn it_opens_at_the_threshold_lets_nothing_through_meanwhile_and_always_comes_back(
            (failure_threshold, success_threshold, open_ms) in (1..5u32, 1..4u32, 1..50u64),
            steps in proptest::collection::vec((0..20u64, 0..6usize, 0..3u8), 1..150),
        ) {
            let rules = Rules { failure_threshold, success_threshold, open_time: Millis(open_ms) };
            let mut breaker = Breaker::new(rules);
            let mut now = Instant::now();
            let mut under_way: Vec<Pass> = Vec::new();
            let mut opened: Option<Instant> = None;
            for (ms, which, end) in steps {
                now = later(now, ms);
                let before = breaker.state(now);
                if which < 3 {
                    let asked = breaker.pass(now);
                    match before {
                        BreakerState::Closed => prop_assert!(asked.is_ok()),
                        BreakerState::Open => prop_assert!(asked.is_err_and(|wait| !wait.is_zero())),
                        BreakerState::HalfOpen => {}
                    }
                    under_way.extend(asked);
                    let of_now = under_way.iter().filter(|pass| pass.turn == breaker.turn).count();
                    let is_half_open = breaker.state(now) == BreakerState::HalfOpen;
                    prop_assert!(!is_half_open || of_now <= success_threshold as usize);
                } else if !under_way.is_empty() {
                    let pass = under_way.swap_remove(which % under_way.len());
                    let end = [End::Well, End::Badly, End::NotSent][usize::from(end)];
                    breaker.ended(pass, end, now);
                    let after = breaker.state(now);
                    if before != after {
                        prop_assert!(pass.turn + 1 == breaker.turn, "only what is of now changes anything");
                        prop_assert_eq!(after == BreakerState::Open, end == End::Badly);
                    }
                    if after == BreakerState::Open && before != after {
                        opened = Some(now);
                    }
                }
                if breaker.state(now) == BreakerState::Open {
                    let since = opened.expect("a failure opened it");
                    prop_assert!(now < since + Duration::from_millis(open_ms));
                }
            }
            // Whatever is under way, a target that is well again closes it.
            under_way.into_iter().for_each(|pass| breaker.ended(pass, End::NotSent, now));
            now = later(now, open_ms);
            for _ in 0..success_threshold {
                let pass = breaker.pass(now).expect("after the open time something goes");
                breaker.ended(pass, End::Well, now);
            }
            prop_assert_eq!(breaker.state(now), BreakerState::Closed);
        }
    }
}
