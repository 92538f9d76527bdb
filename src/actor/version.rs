//! Owns what an actor runs: one record with everything that starting an instance of it needs.
//!
//! Immutable while it is in use; an update brings another version.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::attempts::Policy;
use super::breaker::{Breaker, BreakerState};
use super::cell::ActorCell;
use super::core::locked;
use super::cpu::CpuShare;
use super::mailbox::Share;
use super::rate::Rate;
use super::status::CpuUse;
use super::system::Lookup;
use crate::desired::spec::Delivery;
use crate::host::{GuestConfig, Linked};
use crate::limits::Limits;
use crate::logs::{ComponentLog, Level, Source};
use crate::name::{InstallationName, LinkName};
use crate::record::Record;
use crate::storage::{HandlerStorage, Quota, Rules, Storage};

/// Targets of which a sender's share is remembered; beyond this, shares that nobody uses are forgotten.
pub(super) const MAX_SHARES: usize = 1_024;

/// Longest value of an environment variable that a component gets, in bytes.
const MAX_ENVIRONMENT_BYTES: usize = 32 << 10;

/// One version of an actor.
pub(super) struct Version {
    pub(super) record: Arc<Record>,
    pub(super) linked: Arc<Linked>,
    pub(super) config: Arc<GuestConfig>,
    pub(super) log: ComponentLog,
    /// Which storage is its own; set at the latest when its generation is committed.
    pub(super) storage_id: Arc<OnceLock<u64>>,
    /// The name as receivers see it.
    pub(super) sender: Arc<str>,
    /// Kept here and not with the instance: a sender that crashes gets no new share by it.
    shares: Mutex<BTreeMap<InstallationName, Arc<Share>>>,
    /// Likewise: no crash makes a sender faster, or a target well.
    pub(super) rate: Option<Mutex<Rate>>,
    breakers: Mutex<BTreeMap<InstallationName, Arc<Mutex<Breaker>>>>,
    /// How often a message is delivered that the store does not hold, where its file asks for more than once.
    pub(super) retry: Option<Policy>,
    /// Likewise: no crash gives a component more of a core.
    pub(super) cpu: Option<Arc<Mutex<CpuShare>>>,
}

impl Version {
    pub(super) fn new(record: Arc<Record>, linked: Arc<Linked>, log: &ComponentLog, config: Arc<GuestConfig>) -> Self {
        let log = log.redacting(config.redactions().clone());
        let sender = record.spec.name.as_str().into();
        let Limits { send_rate, send_burst, max_cpu_percent, .. } = record.limits;
        let rate = send_rate.zip(send_burst);
        let rate = rate.map(|(rate, burst)| Mutex::new(Rate::new(rate, burst, Instant::now())));
        let cpu = max_cpu_percent.map(|percent| Arc::new(Mutex::new(CpuShare::new(percent, Instant::now()))));
        let retry = Policy::of(&record.limits);
        let (shares, breakers) = (Mutex::default(), Mutex::default());
        Self { record, linked, config, log, storage_id: Arc::default(), sender, shares, rate, breakers, retry, cpu }
    }

    /// What one instance of it needs to use its storage; none without the permission.
    pub(super) fn handler_storage(&self, storage: &Arc<Storage>) -> Option<Box<HandlerStorage>> {
        let level = self.record.effective.storage()?;
        let rules = Rules { level: Some(level), quota: Quota::of(&self.record.limits), writes: false };
        let version = self.record.artifact.version.to_string().into();
        Some(Box::new(HandlerStorage::new(Arc::clone(storage), Arc::clone(&self.storage_id), rules, version)))
    }

    /// The environment variables that it sees. What is too long is told in the log, and not cut.
    pub(super) fn environment(&self, look_up: &Lookup, log: &ComponentLog) -> Box<[(String, String)]> {
        let granted = self.record.effective.environment().filter_map(|name| {
            let value = look_up(name.as_str())?;
            if value.len() > MAX_ENVIRONMENT_BYTES {
                let text = format!("it does not get {name}: the value is longer than {MAX_ENVIRONMENT_BYTES} bytes");
                log.write(Level::Warn, Source::Host, &text);
                return None;
            }
            Some((name.to_string(), value))
        });
        granted.collect()
    }

    /// Whether its messages are to outlive the host.
    pub(super) fn keeps_messages(&self) -> bool {
        self.record.spec.delivery == Delivery::Durable
    }

    /// The installation that `link` means, if a message may go there.
    pub(super) fn target(&self, link: &str) -> Option<InstallationName> {
        let link: LinkName = link.parse().ok()?;
        if !self.record.effective.may_send(&link) {
            return None;
        }
        Some(self.record.spec.links.get(&link).cloned().unwrap_or_else(|| InstallationName::from(&link)))
    }

    /// Whether messages of the installation `sender` are taken.
    pub(super) fn receives_from(&self, sender: &InstallationName) -> bool {
        self.record.effective.may_receive_from(sender)
    }

    /// This sender's share of the mailbox of `target`.
    pub(super) fn share(&self, name: &InstallationName, target: &ActorCell) -> Arc<Share> {
        if target.mail_id().is_some() {
            return target.share_of(&self.record.spec.name);
        }
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() >= MAX_SHARES {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        Arc::clone(shares.entry(name.clone()).or_insert_with(|| Arc::new(target.mailbox.share())))
    }

    /// This sender's breaker towards `target`, if its file asks for one.
    pub(super) fn breaker(&self, target: &InstallationName) -> Option<Arc<Mutex<Breaker>>> {
        let rules = self.record.spec.breaker?;
        let mut breakers = locked(&self.breakers);
        if breakers.len() >= MAX_SHARES {
            breakers.retain(|_, breaker| Arc::strong_count(breaker) > 1);
        }
        let breaker = breakers.entry(target.clone()).or_insert_with(|| Arc::new(Mutex::new(Breaker::new(rules))));
        Some(Arc::clone(breaker))
    }

    /// How long it has to rest for what its calls took of a core; none when it may go on.
    pub(super) fn rest(&self) -> Option<Duration> {
        locked(self.cpu.as_ref()?).rest(Instant::now())
    }

    /// What its calls took of a core, where its share of one is limited.
    pub(super) fn cpu_use(&self) -> Option<CpuUse> {
        Some(locked(self.cpu.as_ref()?).used(Instant::now()))
    }

    /// What its breakers do now, by target.
    pub(super) fn breaker_states(&self) -> Vec<(InstallationName, BreakerState)> {
        let now = Instant::now();
        let breakers = locked(&self.breakers);
        breakers.iter().map(|(target, breaker)| (target.clone(), locked(breaker).state(now))).collect()
    }
}
