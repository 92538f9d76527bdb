//! Decides when to look: at once after a first event, rarely while events keep coming.
//!
//! Pure: time is an argument, monotonic. Knows nothing about what the events say.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// Quiet time that ends a burst of events.
pub const BURST_GAP: Duration = Duration::from_millis(250);
/// Longest wait of an event while others keep coming.
pub const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// Wait after an event that only begins something (created, partly written, taken away): its end
/// usually follows, and until then there is nothing to act on.
pub const BEGINNING_DELAY: Duration = Duration::from_millis(100);
/// Shortest time between two looks that were caused by lost events.
pub const RELIST_GAP: Duration = Duration::from_secs(1);

/// What an event means for the time of the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Something is complete: a file was closed after writing or renamed into place.
    Complete,
    /// Something has begun.
    Begun,
}

/// What it is time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Events were lost or the watcher failed.
    Relist,
    /// Events came.
    Events,
}

/// The state between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Debounce {
    waiting: Option<Waiting>,
    /// Events before this time continue a burst.
    burst_until: Duration,
    relist_at: Option<Duration>,
    last_relist: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    first: Duration,
    due: Duration,
}

impl Debounce {
    /// An event came.
    pub fn event(&mut self, now: Duration, urgency: Urgency) {
        let in_burst = now < self.burst_until;
        let delay = match urgency {
            _ if in_burst => BURST_GAP,
            Urgency::Complete => Duration::ZERO,
            Urgency::Begun => BEGINNING_DELAY,
        };
        let first = self.waiting.map_or(now, |waiting| waiting.first);
        let due = match self.waiting {
            // It is time already; a further event must not move that.
            Some(waiting) if waiting.due <= now => waiting.due,
            _ => (now + delay).min(first + LONGEST_DELAY),
        };
        self.waiting = Some(Waiting { first, due });
        if in_burst {
            self.burst_until = now + BURST_GAP;
        }
    }

    /// Events were lost, or the watcher failed: everything is to be looked at.
    pub fn relist(&mut self, now: Duration) {
        let earliest = self.last_relist.map_or(now, |last| (last + RELIST_GAP).max(now));
        self.relist_at = Some(self.relist_at.map_or(earliest, |at| at.min(earliest)));
    }

    /// When the next look is due; `None`: nothing is waiting.
    pub fn due_at(&self) -> Option<Duration> {
        match (self.waiting.map(|waiting| waiting.due), self.relist_at) {
            (Some(events), Some(relist)) => Some(events.min(relist)),
            (events, relist) => events.or(relist),
        }
    }

    /// Takes what is due.
    pub fn take(&mut self, now: Duration) -> Option<Due> {
        if self.relist_at.is_some_and(|at| at <= now) {
            self.last_relist = Some(now);
            self.looked(now);
            return Some(Due::Relist);
        }
        if self.waiting.is_some_and(|waiting| waiting.due <= now) {
            self.answer_events(now);
            return Some(Due::Events);
        }
        None
    }

    /// Everything is looked at now, whatever the reason: nothing waits any more.
    pub fn looked(&mut self, now: Duration) {
        self.relist_at = None;
        self.answer_events(now);
    }

    fn answer_events(&mut self, now: Duration) {
        if self.waiting.take().is_some() {
            self.burst_until = now + BURST_GAP;
        }
    }
}
