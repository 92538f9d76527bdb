//! Owns what an installation has used up of its limits as a sender and of a core: its shares of mailboxes, its rate, its
//! breakers and its time.
//!
//! Kept apart from instances and configs: no crash and no other config is a new share, a faster sender or a target that is
//! well. Another version begins anew.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::breaker::{Breaker, BreakerState};
use super::core::locked;
use super::cpu::CpuShare;
use super::mailbox::{Mailbox, Share};
use super::rate::Rate;
use super::seen::{Seen, SeenGrant};
use super::status::CpuUse;
use crate::desired::spec;
use crate::limits::Limits;
use crate::name::InstallationName;
use crate::permission::Entry;

/// Targets of which a sender's share is remembered; beyond this, shares that nobody uses are forgotten.
pub(super) const MAX_SHARES: usize = 1_024;

/// What is used up.
pub(super) struct Account {
    shares: Mutex<BTreeMap<InstallationName, Arc<Share>>>,
    rate: Option<Mutex<Rate>>,
    breaker: Option<spec::Breaker>,
    breakers: Mutex<BTreeMap<InstallationName, Arc<Mutex<Breaker>>>>,
    cpu: Option<Mutex<CpuShare>>,
    denied: AtomicU64,
    seen: Option<Seen>,
}

impl Account {
    /// Nothing is used up yet.
    pub(super) fn new(limits: &Limits, breaker: Option<spec::Breaker>, seen: Option<Seen>, now: Instant) -> Self {
        let rate = limits.send_rate.zip(limits.send_burst);
        Self {
            shares: Mutex::default(),
            rate: rate.map(|(rate, burst)| Mutex::new(Rate::new(rate, burst, now))),
            breaker,
            breakers: Mutex::default(),
            cpu: limits.max_cpu_percent.map(|percent| Mutex::new(CpuShare::new(percent, now))),
            denied: AtomicU64::new(0),
            seen,
        }
    }

    /// It asked for something that it may not do.
    pub(super) fn denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// It did something, or asked for it, that this covers; kept where it observes.
    pub(super) fn needs(&self, entry: impl FnOnce() -> Option<Entry>) {
        if let Some(seen) = &self.seen
            && let Some(entry) = entry()
        {
            seen.add(entry);
        }
    }

    /// Whether that is kept.
    pub(super) fn observes(&self) -> bool {
        self.seen.is_some()
    }

    /// The smallest grant that covers what was seen, where it observes.
    pub(super) fn seen(&self) -> Option<SeenGrant> {
        self.seen.as_ref().map(Seen::grant)
    }

    /// How often that was.
    pub(super) fn times_denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// Its share of the mailbox of a target.
    pub(super) fn share<C>(&self, target: &InstallationName, mailbox: &Mailbox<C>) -> Arc<Share> {
        let mut shares = locked(&self.shares);
        if shares.len() >= MAX_SHARES {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        Arc::clone(shares.entry(target.clone()).or_insert_with(|| Arc::new(mailbox.share())))
    }

    /// Takes one message's worth of its rate. If it is not there: how long until it is.
    pub(super) fn take_rate(&self) -> Result<(), Duration> {
        self.rate.as_ref().map_or(Ok(()), |rate| locked(rate).take(Instant::now()))
    }

    /// The message does not leave.
    pub(super) fn give_rate_back(&self) {
        if let Some(rate) = &self.rate {
            locked(rate).give_back();
        }
    }

    /// Its breaker towards a target, if its file asks for one.
    pub(super) fn breaker(&self, target: &InstallationName) -> Option<Arc<Mutex<Breaker>>> {
        let rules = self.breaker?;
        let mut breakers = locked(&self.breakers);
        if breakers.len() >= MAX_SHARES {
            breakers.retain(|_, breaker| Arc::strong_count(breaker) > 1);
        }
        let breaker = breakers.entry(target.clone()).or_insert_with(|| Arc::new(Mutex::new(Breaker::new(rules))));
        Some(Arc::clone(breaker))
    }

    /// What its breakers do now, by target.
    pub(super) fn breaker_states(&self) -> Vec<(InstallationName, BreakerState)> {
        let now = Instant::now();
        let breakers = locked(&self.breakers);
        breakers.iter().map(|(target, breaker)| (target.clone(), locked(breaker).state(now))).collect()
    }

    /// Its share of a core, if that is limited.
    pub(super) fn cpu(&self) -> Option<&Mutex<CpuShare>> {
        self.cpu.as_ref()
    }

    /// How long it has to rest for what its calls took of a core; none when it may go on.
    pub(super) fn rest(&self) -> Option<Duration> {
        locked(self.cpu.as_ref()?).rest(Instant::now())
    }

    /// What its calls took of a core, where its share of one is limited.
    pub(super) fn cpu_use(&self) -> Option<CpuUse> {
        Some(locked(self.cpu.as_ref()?).used(Instant::now()))
    }
}
