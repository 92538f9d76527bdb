//! Owns `airssys:component/messaging`: a guest sends to other components.
//!
//! Does not decide who may be reached nor when a message leaves; that is the [`Outbox`]'s part.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, WasmList, WasmStr};

use super::Guest;

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

/// Where the messages of one instance wait until its call is over.
///
/// A call is a transaction over them: [`Outbox::commit`] lets them go in the order of the calls,
/// [`Outbox::abort`] forgets them.
pub trait Outbox: Send {
    /// Opens the transaction of a call that `hops` messages led to and that may send `sends`.
    fn begin(&mut self, hops: u32, sends: u64);
    /// Takes one message, or says why not. The payload is read only when it is taken.
    fn send(&mut self, link: &str, payload: &[u8]) -> Result<(), SendError>;
    /// The call ended well.
    fn commit(&mut self);
    /// The call did not.
    fn abort(&mut self);
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let send = |mut store: StoreContextMut<'_, Guest>, (link, payload): (WasmStr, WasmList<u8>)| {
        // The outbox steps out of the store for the call, so that it can read link and payload in the
        // guest's memory without a copy.
        let mut outbox = std::mem::replace(&mut store.data_mut().outbox, Box::new(NoOutbox));
        let sent = link.to_str(&store).map(|link| outbox.send(&link, payload.as_le_slice(&store)));
        store.data_mut().outbox = outbox;
        Ok((sent?,))
    };
    linker.instance(INTERFACE)?.func_wrap("send", send)
}

/// Holds the place of an outbox that is in use; takes nothing.
struct NoOutbox;

impl Outbox for NoOutbox {
    fn begin(&mut self, _hops: u32, _sends: u64) {}
    fn send(&mut self, _link: &str, _payload: &[u8]) -> Result<(), SendError> {
        Err(SendError::NotPermitted)
    }
    fn commit(&mut self) {}
    fn abort(&mut self) {}
}
