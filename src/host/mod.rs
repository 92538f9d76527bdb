//! Owns what a guest can reach: one file for each interface that it may import, and the types of
//! those that it exports.
//!
//! Does not call guests and does not know actors; whoever owns the instance hands in an [`Outbox`].

#[cfg(test)]
mod benchmarked;
mod config;
pub mod contract;
mod directory;
pub mod draining;
pub mod health;
mod link;
mod log;
mod messaging;
pub mod migration;
mod multicodec;
#[cfg(test)]
mod offered;
pub mod operations;
pub mod outside;
pub mod reconfiguration;
mod requests;
mod standard;
mod storage;
mod topics;
mod wasi;

use std::sync::Arc;

pub use config::GuestConfig;
pub use directory::{ComponentInfo, Contact, ContactPage};
pub(crate) use link::Exports;
pub use link::{LinkError, Linked, QuietLinker};
pub use messaging::{BodyInGuest, CodecRefusal, Content, Outbox, SendError, Transaction};
pub use outside::{Outside, TreeError};
pub use requests::RequestError;
pub use topics::{PublishError, SubscribeError};
pub(crate) use wasi::{WaitedTooLong, WouldWait};
use wasmtime::component::Linker;

use crate::engine::InstanceLimiter;
use crate::logs::ComponentLog;
use crate::secret::Redactions;
use crate::storage::{HandlerStorage, MailKey, MailSet, Storage, StoreError, Written};
use crate::surface::HostSurface;

/// Bytes that one host call may bring from the guest into host memory, and one result of the guest likewise.
pub const HOSTCALL_BYTES: usize = 2 << 20;
/// Handles that a guest may hold at a time.
pub const MAX_HANDLES: usize = 8_192;
/// Host objects that a guest may hold at a time.
pub const MAX_RESOURCES: usize = 4_096;
/// Random bytes that one call may ask for.
pub const MAX_RANDOM_BYTES: u64 = 64 * 1024;

/// Every interface that a guest may import, in the version that is offered.
pub const OFFERED: &[&str] = &[
    config::INTERFACE,
    directory::INTERFACE,
    log::INTERFACE,
    messaging::INTERFACE,
    multicodec::INTERFACE,
    requests::INTERFACE,
    storage::INTERFACE,
    topics::INTERFACE,
    contract::TYPES,
    "wasi:cli/environment@0.2.12",
    "wasi:cli/exit@0.2.12",
    "wasi:cli/stderr@0.2.12",
    "wasi:cli/stdin@0.2.12",
    "wasi:cli/stdout@0.2.12",
    "wasi:cli/terminal-input@0.2.12",
    "wasi:cli/terminal-output@0.2.12",
    "wasi:cli/terminal-stderr@0.2.12",
    "wasi:cli/terminal-stdin@0.2.12",
    "wasi:cli/terminal-stdout@0.2.12",
    "wasi:clocks/monotonic-clock@0.2.12",
    "wasi:clocks/wall-clock@0.2.12",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:filesystem/preopens@0.2.12",
    "wasi:filesystem/types@0.2.12",
    "wasi:io/error@0.2.12",
    "wasi:io/poll@0.2.12",
    "wasi:io/streams@0.2.12",
    "wasi:keyvalue/atomics@0.2.0-draft",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft",
    "wasi:keyvalue/batch@0.2.0-draft2",
    "wasi:keyvalue/store@0.2.0-draft",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:logging/logging@0.1.0-draft",
    "wasi:random/insecure-seed@0.2.12",
    "wasi:random/insecure@0.2.12",
    "wasi:random/random@0.2.12",
    "wasi:sockets/instance-network@0.2.12",
    "wasi:sockets/ip-name-lookup@0.2.12",
    "wasi:sockets/network@0.2.12",
    "wasi:sockets/tcp-create-socket@0.2.12",
    "wasi:sockets/tcp@0.2.12",
    "wasi:sockets/udp-create-socket@0.2.12",
    "wasi:sockets/udp@0.2.12",
];

/// The surface that this host has for components. What is in the interfaces comes from their WIT, by way of a test that
/// writes it and holds the linker to it.
pub const SURFACE: HostSurface<'static> = HostSurface {
    offers: OFFERED,
    items: include_str!("offered.txt"),
    calls: contract::CALLED,
    relays: contract::RELAYED,
    asks: &[requests::INTERFACE],
    reconfigures: reconfiguration::INTERFACE,
};

/// What the host keeps for one instance: the data of its store.
pub struct Guest {
    pub(crate) limiter: InstanceLimiter,
    pub(crate) outbox: Box<dyn Outbox>,
    /// Only for a component that has a storage permission.
    pub(crate) storage: Option<Box<HandlerStorage>>,
    /// Where messages are kept that must outlive the host; none when this host keeps none.
    pub(crate) post: Option<Arc<Storage>>,
    /// The message in hand, if the store holds it.
    mail: Option<MailKey>,
    pub(crate) log: ComponentLog,
    /// The environment variables that it sees.
    pub(crate) environment: Box<[(String, String)]>,
    pub(crate) config: Arc<GuestConfig>,
    /// Only for a component that may reach something outside.
    outside: Option<Box<Outside>>,
    wasi: Option<Box<wasi::Wasi>>,
    handles: Option<Box<standard::Handles>>,
}

impl Guest {
    /// Nothing used yet. What costs memory is made when the guest first asks for it.
    pub fn new(limiter: InstanceLimiter, log: ComponentLog, config: Arc<GuestConfig>, outbox: Box<dyn Outbox>) -> Self {
        Self {
            limiter,
            outbox,
            storage: None,
            post: None,
            mail: None,
            log,
            environment: Box::default(),
            config,
            outside: None,
            wasi: None,
            handles: None,
        }
    }

    /// Gives it what it may reach outside.
    pub(crate) fn give(&mut self, outside: Outside) -> wasmtime::Result<()> {
        self.wasi = Some(Box::new(wasi::Wasi::new(&self.log, &self.environment, Some(&outside))?));
        self.outside = Some(Box::new(outside));
        Ok(())
    }

    /// A call begins that may take `time`, waiting included.
    pub(crate) fn may_take(&mut self, time: std::time::Duration) {
        if let Some(outside) = &mut self.outside {
            outside.begin(time);
        }
    }

    /// From now on these values are taken out of what it writes.
    pub(crate) fn redact(&mut self, redactions: Redactions) {
        self.log = self.log.redacting(redactions);
    }
}

/// A call is one transaction over messages and storage.
impl Guest {
    /// A call begins.
    pub(crate) fn begin(&mut self, transaction: Transaction) {
        self.mail = transaction.mail;
        self.outbox.begin(transaction);
        if let Some(storage) = &mut self.storage {
            storage.begin(true);
        }
    }

    /// A call begins that is no transaction: it sends nothing, and reads.
    pub(crate) fn begin_aside(&mut self) {
        self.mail = None;
        self.outbox.begin(Transaction { hops: 0, sends: 0, until: None, mail: None });
        if let Some(storage) = &mut self.storage {
            storage.begin(false);
        }
    }

    /// The call ended well. If it wrote nothing, its messages leave. If it did, what it wrote has to be kept before they
    /// do: [`Guest::kept`] or [`Guest::abort`] must follow. On an error neither.
    pub(crate) fn finish(&mut self) -> Result<Option<Box<Written>>, StoreError> {
        let written = match &mut self.storage {
            Some(storage) => storage.finish(),
            None => Ok(None),
        };
        let written = written.and_then(|written| self.with_mail(written));
        match written {
            Ok(None) => self.outbox.commit(),
            Ok(Some(_)) => {}
            Err(_) => self.outbox.abort(),
        }
        written
    }

    /// What the call wrote together with the end of the message that it was about, and its own messages.
    fn with_mail(&mut self, written: Option<Box<Written>>) -> Result<Option<Box<Written>>, StoreError> {
        let mut mail = MailSet::default();
        if let Some(key) = self.mail.take() {
            mail.take(key);
        }
        let posted = self.outbox.post(&mut mail);
        if mail.is_empty() {
            return Ok(written);
        }
        let written = match written {
            Some(written) => written.with_mail(mail),
            None => {
                let store = self.post.as_ref().and_then(|post| post.opened()).ok_or(StoreError::Closed)?;
                Written::of_mail(store, mail)
            }
        };
        Ok(Some(Box::new(written.telling(posted))))
    }

    /// What the call wrote is kept: its messages leave.
    pub(crate) fn kept(&mut self) {
        if let Some(storage) = &mut self.storage {
            storage.kept();
        }
        self.outbox.commit();
    }

    /// The call did not end well.
    pub(crate) fn abort(&mut self) {
        self.mail = None;
        self.outbox.abort();
        if let Some(storage) = &mut self.storage {
            storage.abort();
        }
    }
}

/// Binds every interface of [`OFFERED`].
fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    config::add_to_linker(linker)?;
    directory::add_to_linker(linker)?;
    log::add_to_linker(linker)?;
    messaging::add_to_linker(linker)?;
    multicodec::add_to_linker(linker)?;
    requests::add_to_linker(linker)?;
    standard::add_to_linker(linker)?;
    storage::add_to_linker(linker)?;
    topics::add_to_linker(linker)?;
    wasi::add_to_linker(linker)
}
