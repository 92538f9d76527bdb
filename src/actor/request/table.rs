//! Decides about the open requests of one instance: whether one more may be made, and that each is settled once.
//!
//! Pure: times are arguments. It sends and calls nothing.

use std::collections::BTreeMap;
use std::time::Instant;

/// What is known about a request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::actor) struct Open {
    /// When its time is over.
    pub(in crate::actor) until: Instant,
    /// Messages that led to the call that made it.
    pub(in crate::actor) hops: u32,
    /// When nobody waits any more for what that call was about.
    pub(in crate::actor) parent: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Open(Open),
    /// The answer waits in the mailbox.
    Answered,
    /// So it does, and nobody wants it any more. It keeps its place: its bytes are still there.
    Cancelled,
}

/// The requests of one instance: promised by a call that still runs, open, or answered and not yet taken in hand.
#[derive(Debug)]
pub(super) struct Table {
    limit: u64,
    promised: u64,
    requests: BTreeMap<u64, State>,
    /// The time for which an alarm is set.
    alarm: Option<Instant>,
    over: bool,
}

impl Table {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, promised: 0, requests: BTreeMap::new(), alarm: None, over: false }
    }

    /// Takes a place for a request of a call that still runs; it must be opened or given back.
    pub(super) fn promise(&mut self) -> Result<(), u64> {
        if self.promised + self.requests.len() as u64 >= self.limit {
            return Err(self.limit);
        }
        self.promised += 1;
        Ok(())
    }

    /// The request was not made after all.
    pub(super) fn give_back(&mut self) {
        self.promised -= 1;
    }

    /// The request leaves. Gives the time for which an alarm is needed, if the one that is set comes too late.
    pub(super) fn open(&mut self, id: u64, open: Open) -> Option<Instant> {
        self.promised -= 1;
        self.requests.insert(id, State::Open(open));
        let sooner = self.alarm.is_none_or(|alarm| open.until < alarm);
        sooner.then(|| *self.alarm.insert(open.until))
    }

    /// Its answer is there. None when it comes too late or for the second time, and nobody wants it.
    pub(super) fn settle(&mut self, id: u64) -> Option<Open> {
        if self.over {
            return None;
        }
        let state = self.requests.get_mut(&id)?;
        let State::Open(open) = *state else { return None };
        *state = State::Answered;
        Some(open)
    }

    /// Its answer is taken in hand. False when it was given up meanwhile.
    pub(super) fn take(&mut self, id: u64) -> bool {
        !self.over && matches!(self.requests.remove(&id), Some(State::Answered))
    }

    /// Gives a request up. False when there is none of this number, or it was given up before.
    pub(super) fn cancel(&mut self, id: u64) -> bool {
        match self.requests.get_mut(&id) {
            Some(State::Open(_)) => self.requests.remove(&id).is_some(),
            Some(state @ State::Answered) => {
                *state = State::Cancelled;
                true
            }
            Some(State::Cancelled) | None => false,
        }
    }

    /// The alarm of `at` went off: settles all whose time is over at `now`. Gives them, and the time of the next
    /// alarm. An alarm that was replaced by a sooner one does nothing.
    pub(super) fn expire(&mut self, at: Instant, now: Instant) -> (Vec<(u64, Open)>, Option<Instant>) {
        if self.over || self.alarm != Some(at) {
            return (Vec::new(), None);
        }
        let mut expired = Vec::new();
        let mut next: Option<Instant> = None;
        for (id, state) in &mut self.requests {
            let State::Open(open) = state else { continue };
            let open = *open;
            if open.until <= now {
                *state = State::Answered;
                expired.push((*id, open));
            } else {
                next = Some(next.map_or(open.until, |next| next.min(open.until)));
            }
        }
        self.alarm = next;
        (expired, next)
    }

    /// The instance ends: nothing is wanted any more. Gives how many were open or had a wanted answer waiting.
    pub(super) fn end(&mut self) -> u64 {
        self.over = true;
        let requests = std::mem::take(&mut self.requests);
        requests.values().filter(|state| !matches!(state, State::Cancelled)).count() as u64
    }

    /// Whether nothing is promised, open or waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.promised == 0 && self.requests.is_empty()
    }

    /// Whether the instance has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Requests that are open or have their answer waiting, wanted or not.
    #[cfg(test)]
    fn count(&self) -> u64 {
        self.requests.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::test_scale::cases;

    const LIMIT: u64 = 4;

    #[derive(Debug, Clone)]
    enum Step {
        Promise,
        GiveBack,
        Open {
            after_ms: u64,
        },
        Settle(u64),
        Take(u64),
        Cancel(u64),
        /// Time goes on, and the alarm that is set goes off if it is due.
        Wait {
            ms: u64,
        },
        /// An alarm that was set before goes off although another one replaced it.
        Stale,
        End,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Promise),
            1 => Just(Step::GiveBack),
            3 => (1..50u64).prop_map(|after_ms| Step::Open { after_ms }),
            3 => (0..12u64).prop_map(Step::Settle),
            3 => (0..12u64).prop_map(Step::Take),
            1 => (0..12u64).prop_map(Step::Cancel),
            2 => (1..30u64).prop_map(|ms| Step::Wait { ms }),
            1 => Just(Step::Stale),
            1 => Just(Step::End),
        ]
    }

    /// What a reader of the rules would write down: each request, when its time is over, and how often it was settled.
    #[derive(Default)]
    struct Model {
        promised: u64,
        until: BTreeMap<u64, Instant>,
        answered: BTreeMap<u64, ()>,
        /// Given up while the answer waited.
        cancelled: BTreeMap<u64, ()>,
        settled: BTreeMap<u64, u32>,
        over: bool,
    }

    impl Model {
        fn places(&self) -> u64 {
            (self.until.len() + self.answered.len() + self.cancelled.len()) as u64
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(20_000), ..ProptestConfig::default() })]

        #[test]
        fn each_request_is_settled_once_and_never_more_are_open_than_may(
            steps in proptest::collection::vec(step(), 1..60),
        ) {
            let mut table = Table::new(LIMIT);
            let mut model = Model::default();
            let mut now = Instant::now();
            let (mut next_id, mut alarm, mut old) = (0u64, None, Vec::new());
            for step in steps {
                match step {
                    Step::Promise => {
                        let room = model.promised + model.places();
                        prop_assert_eq!(table.promise(), if room < LIMIT { Ok(()) } else { Err(LIMIT) });
                        model.promised += u64::from(room < LIMIT);
                    }
                    Step::GiveBack if model.promised > 0 => {
                        table.give_back();
                        model.promised -= 1;
                    }
                    Step::Open { after_ms } if model.promised > 0 && !model.over => {
                        let until = now + Duration::from_millis(after_ms);
                        if let Some(at) = table.open(next_id, Open { until, hops: 0, parent: None }) {
                            old.extend(alarm.replace(at));
                        }
                        model.promised -= 1;
                        model.until.insert(next_id, until);
                        next_id += 1;
                        let first = model.until.values().min().copied();
                        prop_assert!(alarm <= first, "the alarm comes after the first request's time");
                    }
                    Step::Settle(id) => {
                        let expected = model.until.remove(&id);
                        prop_assert_eq!(table.settle(id).map(|open| open.until), expected);
                        if expected.is_some() {
                            model.answered.insert(id, ());
                            *model.settled.entry(id).or_default() += 1;
                        }
                    }
                    Step::Take(id) if model.answered.contains_key(&id) => {
                        prop_assert!(table.take(id));
                        model.answered.remove(&id);
                    }
                    Step::Take(id) if model.cancelled.contains_key(&id) => {
                        prop_assert!(!table.take(id));
                        model.cancelled.remove(&id);
                    }
                    Step::Cancel(id) => {
                        let waits = model.answered.remove(&id);
                        model.cancelled.extend(waits.map(|()| (id, ())));
                        prop_assert_eq!(table.cancel(id), model.until.remove(&id).is_some() | waits.is_some());
                    }
                    Step::Wait { ms } => {
                        now += Duration::from_millis(ms);
                        if let Some(at) = alarm.filter(|at| *at <= now) {
                            let (expired, next) = table.expire(at, now);
                            alarm = next;
                            let due: Vec<u64> =
                                model.until.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
                            let expired: Vec<u64> = expired.into_iter().map(|(id, _)| id).collect();
                            prop_assert_eq!(&expired, &due);
                            for id in due {
                                model.until.remove(&id);
                                model.answered.insert(id, ());
                                *model.settled.entry(id).or_default() += 1;
                            }
                        }
                    }
                    Step::Stale => {
                        for at in old.drain(..).filter(|at| Some(*at) != alarm) {
                            let (expired, next) = table.expire(at, now + Duration::from_secs(60));
                            prop_assert!(expired.is_empty() && next.is_none());
                        }
                    }
                    Step::End => {
                        let left = model.until.len() + model.answered.len();
                        prop_assert_eq!(table.end(), left as u64);
                        model.over = true;
                        model.until.clear();
                        model.answered.clear();
                        model.cancelled.clear();
                        alarm = None;
                    }
                    Step::GiveBack | Step::Open { .. } | Step::Take(_) => {}
                }
                prop_assert_eq!(table.count(), model.places());
                prop_assert!(model.settled.values().all(|times| *times == 1));
            }
        }
    }
}
