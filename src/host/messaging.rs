//! Owns `airssys:component/messaging`: a guest sends to other components.
//!
//! Does not decide who may be reached nor when a message leaves; that is the [`Outbox`]'s part.

use std::time::Instant;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, WasmList, WasmStr};

use super::{Guest, RequestError};

pub(super) const INTERFACE: &str = "airssys:component/messaging@0.1.0";

/// Why a message was not taken. Nothing of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower, thiserror::Error)]
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
}

/// Where the messages of one instance wait until its call is over.
///
/// A call is a transaction over them: [`Outbox::commit`] lets them go in the order of the calls,
/// [`Outbox::abort`] forgets them.
pub trait Outbox: Send {
    /// Opens the transaction of a call.
    fn begin(&mut self, transaction: Transaction);
    /// Takes one message, or says why not. The payload is read only when it is taken.
    fn send(&mut self, link: &str, payload: &[u8]) -> Result<(), SendError>;
    /// Takes one message that wants an answer, or says why not; gives the number of the request.
    fn request(&mut self, link: &str, payload: &[u8], timeout_ms: u64) -> Result<u64, RequestError>;
    /// Gives up a request. Whether it was open.
    fn cancel(&mut self, id: u64) -> bool;
    /// The call ended well.
    fn commit(&mut self);
    /// The call did not.
    fn abort(&mut self);
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let send = |store: StoreContextMut<'_, Guest>, (link, payload): (WasmStr, WasmList<u8>)| {
        let sent = with_outbox(store, |outbox, store| {
            let link = link.to_str(store)?;
            Ok(outbox.send(&link, payload.as_le_slice(store)))
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
    fn send(&mut self, _link: &str, _payload: &[u8]) -> Result<(), SendError> {
        Err(SendError::NotPermitted)
    }
    fn request(&mut self, _link: &str, _payload: &[u8], _timeout_ms: u64) -> Result<u64, RequestError> {
        Err(SendError::NotPermitted.into())
    }
    fn cancel(&mut self, _id: u64) -> bool {
        false
    }
    fn commit(&mut self) {}
    fn abort(&mut self) {}
}
