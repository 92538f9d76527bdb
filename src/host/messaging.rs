//! Owns `airssys:component/messaging`: a guest sends to other components.
//!
//! Does not decide who may be reached nor when a message leaves; that is the [`Outbox`]'s part.

use std::time::Instant;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, WasmList, WasmStr};

use super::contract::GuestCodec;
use super::{Contact, ContactPage, Guest, PublishError, RequestError, SubscribeError};
use crate::codec::{Codec, NotTaken};
use crate::permission::Entry;
use crate::storage::{MailKey, MailSet, Posted};

pub(super) const INTERFACE: &str = "airssys:component/messaging@0.1.0";

/// A codec that the target does not take: [`NotTaken`] as guests hear it.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct CodecRefusal {
    /// Its number.
    pub code: u32,
    /// Its name.
    pub name: &'static str,
    /// What the target takes.
    pub taken: Vec<GuestCodec>,
}

impl From<NotTaken> for CodecRefusal {
    fn from(NotTaken { codec, taken }: NotTaken) -> Self {
        let taken = taken.members().into_iter().map(GuestCodec::from).collect();
        Self { code: codec.code(), name: codec.name(), taken }
    }
}

/// Why a message was not taken. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower, thiserror::Error)]
#[component(variant)]
pub enum SendError {
    /// The word is not among the links that were asked for and granted.
    #[error("no such link is granted")]
    #[component(name = "not-permitted")]
    NotPermitted,
    /// There is no such installation, or it takes no messages now.
    #[error("the target does not exist or takes no messages now")]
    #[component(name = "no-such-target")]
    NoSuchTarget,
    /// The target does not receive from this sender.
    #[error("the target does not receive from this sender")]
    #[component(name = "refused-by-target")]
    RefusedByTarget,
    /// The target's mailbox, or this sender's share of it, is full.
    #[error("the target's mailbox is full")]
    #[component(name = "mailbox-full")]
    MailboxFull,
    /// Larger than the target takes; its limit in bytes.
    #[error("the message is larger than the {0} bytes that the target takes")]
    #[component(name = "too-large")]
    TooLarge(u64),
    /// This call has sent as many as it may; the limit.
    #[error("this call has sent the {0} messages that it may")]
    #[component(name = "too-many-sends")]
    TooManySends(u64),
    /// The chain of messages that led here is as long as it may get; the limit.
    #[error("the chain of messages that led here has the {0} steps that it may")]
    #[component(name = "too-many-hops")]
    TooManyHops(u32),
    /// The target takes other codecs.
    #[error("the target does not take the codec {}", .0.name)]
    #[component(name = "codec-not-taken")]
    CodecNotTaken(CodecRefusal),
    /// The component sends faster than it may; milliseconds until it may send one more.
    #[error("it sends faster than it may; one more in {0} ms")]
    #[component(name = "rate-exceeded")]
    RateExceeded(u64),
    /// What went to the target ended badly too often; milliseconds until it is tried again.
    #[error("what went to the target ended badly too often; it is tried again in {0} ms")]
    #[component(name = "target-unavailable")]
    TargetUnavailable(u64),
}

/// A content that is still in the guest's memory.
#[derive(ComponentType, Lift)]
#[component(record)]
pub struct BodyInGuest {
    codec: GuestCodec,
    data: WasmList<u8>,
}

impl BodyInGuest {
    /// What it is, read in place.
    pub fn content<'g>(&self, store: &'g StoreContextMut<'_, Guest>) -> Content<'g> {
        Content { codec: self.codec.into(), bytes: self.data.as_le_slice(store) }
    }
}

/// A content that is somebody else's.
#[derive(Debug, Clone, Copy)]
pub struct Content<'g> {
    /// The form in which it is written.
    pub codec: Codec,
    /// The content.
    pub bytes: &'g [u8],
}

/// What holds for the messages of one call.
#[derive(Debug, Clone, Copy)]
pub struct Transaction {
    /// Messages that led to the call.
    pub hops: u32,
    /// Messages that it may send.
    pub sends: u64,
    /// When nobody waits any more for what the call is about.
    pub until: Option<Instant>,
    /// The message that it is about, if the store holds it: it ends with the call's commit.
    pub mail: Option<MailKey>,
}

/// Where the messages of one instance wait until its call is over.
///
/// A call is a transaction over them: [`Outbox::commit`] lets them go in the order of the calls,
/// [`Outbox::abort`] forgets them.
pub trait Outbox: Send {
    /// Opens the transaction of a call.
    fn begin(&mut self, transaction: Transaction);
    /// Takes one message, or says why not. The content is read only when it is taken.
    fn send(&mut self, link: &str, content: Content<'_>) -> Result<(), SendError>;
    /// Takes one message that wants an answer, or says why not; gives the number of the request.
    fn request(&mut self, link: &str, content: Content<'_>, timeout_ms: u64) -> Result<u64, RequestError>;
    /// Counts that the guest asked for something that it may not do: which permission it lacks, and for what.
    fn denied(&self, permission: &'static str, what: &str);
    /// Notes what covers something that the guest does or asks for, where that is observed.
    fn needs(&self, entry: &dyn Fn() -> Option<Entry>);
    /// Whether it is.
    fn observes(&self) -> bool;
    /// Gives up a request. Whether it was open.
    fn cancel(&mut self, id: u64) -> bool;
    /// Takes one message for whoever subscribes to the topic, or says why not; gives how many took it.
    fn publish(&mut self, topic: &str, content: Content<'_>) -> Result<u32, PublishError>;
    /// Subscribes to a pattern, or says why not.
    fn subscribe(&mut self, pattern: &str) -> Result<(), SubscribeError>;
    /// Ends a subscription. Whether there was one.
    fn unsubscribe(&mut self, pattern: &str) -> bool;
    /// The links behind `after` over which it may send, at most `limit` and a page.
    fn contacts(&self, after: Option<&str>, limit: u32) -> ContactPage;
    /// One of them.
    fn contact(&self, link: &str) -> Option<Contact>;
    /// The call ended well. Adds those of its messages that the store keeps to what its commit changes, and gives who is
    /// to be told of that; none when there are none. They leave with the commit, and the others with
    /// [`Outbox::commit`] after it.
    fn post(&mut self, mail: &mut MailSet) -> Option<Posted>;
    /// The call ended well, and what it wrote is kept.
    fn commit(&mut self);
    /// The call did not.
    fn abort(&mut self);
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let send = |store: StoreContextMut<'_, Guest>, (link, body): (WasmStr, BodyInGuest)| {
        let sent = with_outbox(store, |outbox, store| {
            let link = link.to_str(store)?;
            Ok(outbox.send(&link, body.content(store)))
        });
        Ok((sent?,))
    };
    linker.instance(INTERFACE)?.func_wrap("send", send)
}

/// Lets the outbox step out of the store for a call, so that it can read what the guest has in its memory without a
/// copy.
pub(super) fn with_outbox<T>(
    mut store: StoreContextMut<'_, Guest>,
    call: impl FnOnce(&mut dyn Outbox, &StoreContextMut<'_, Guest>) -> wasmtime::Result<T>,
) -> wasmtime::Result<T> {
    let mut outbox = std::mem::replace(&mut store.data_mut().outbox, Box::new(NoOutbox));
    let result = call(&mut *outbox, &store);
    store.data_mut().outbox = outbox;
    result
}

/// Holds the place of an outbox that is in use; takes nothing.
struct NoOutbox;

impl Outbox for NoOutbox {
    fn begin(&mut self, _transaction: Transaction) {}
    fn send(&mut self, _link: &str, _content: Content<'_>) -> Result<(), SendError> {
        Err(SendError::NotPermitted)
    }
    fn request(&mut self, _link: &str, _content: Content<'_>, _timeout_ms: u64) -> Result<u64, RequestError> {
        Err(SendError::NotPermitted.into())
    }
    fn denied(&self, _permission: &'static str, _what: &str) {}
    fn needs(&self, _entry: &dyn Fn() -> Option<Entry>) {}
    fn observes(&self) -> bool {
        false
    }
    fn cancel(&mut self, _id: u64) -> bool {
        false
    }
    fn publish(&mut self, _topic: &str, _content: Content<'_>) -> Result<u32, PublishError> {
        Err(PublishError::NotPermitted)
    }
    fn subscribe(&mut self, _pattern: &str) -> Result<(), SubscribeError> {
        Err(SubscribeError::NotPermitted)
    }
    fn unsubscribe(&mut self, _pattern: &str) -> bool {
        false
    }
    fn contacts(&self, _after: Option<&str>, _limit: u32) -> ContactPage {
        ContactPage { contacts: Vec::new(), next: None }
    }
    fn contact(&self, _link: &str) -> Option<Contact> {
        None
    }
    fn post(&mut self, _mail: &mut MailSet) -> Option<Posted> {
        None
    }
    fn commit(&mut self) {}
    fn abort(&mut self) {}
}
