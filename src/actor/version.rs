//! Owns what an actor runs: one record with everything that starting an instance of it needs.
//!
//! Immutable while it is in use; an update brings another version.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::account::Account;
use super::attempts::Policy;
use super::cell::ActorCell;
use super::mailbox::Share;
use super::seen::Seen;
use super::system::Lookup;
use crate::desired::spec::Delivery;
use crate::host::{GuestConfig, Linked};
use crate::logs::{ComponentLog, Level, Source};
use crate::name::{InstallationName, LinkName};
use crate::record::Record;
use crate::storage::{HandlerStorage, Quota, Rules, Storage};

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
    /// What is used up of its limits.
    pub(super) account: Arc<Account>,
    /// How often a message is delivered that the store does not hold, where its file asks for more than once.
    pub(super) retry: Option<Policy>,
}

impl Version {
    pub(super) fn new(record: Arc<Record>, linked: Arc<Linked>, log: &ComponentLog, config: Arc<GuestConfig>) -> Self {
        let log = log.redacting(config.redactions().clone());
        let sender = record.spec.name.as_str().into();
        let account =
            Arc::new(Account::new(&record.limits, record.spec.breaker, Seen::of(&record.spec.grant), Instant::now()));
        let retry = Policy::of(&record.limits);
        Self { record, linked, config, log, storage_id: Arc::default(), sender, account, retry }
    }

    /// The same with a record that differs by its config alone.
    pub(super) fn with_config(&self, record: Arc<Record>, log: &ComponentLog, config: Arc<GuestConfig>) -> Self {
        let (account, storage_id) = (Arc::clone(&self.account), Arc::clone(&self.storage_id));
        Self { account, storage_id, ..Self::new(record, Arc::clone(&self.linked), log, config) }
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
        self.account.share(name, &target.mailbox)
    }
}
