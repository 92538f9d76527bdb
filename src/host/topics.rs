//! Owns `airssys:component/topics`: a guest publishes, and subscribes at run time.
//!
//! Does not decide who may nor who takes what is published; that is the [`Outbox`](super::Outbox)'s part.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, WasmStr};

use super::Guest;
use super::messaging::{BodyInGuest, with_outbox};

pub(super) const INTERFACE: &str = "airssys:component/topics@0.1.0";

/// Why nothing was published. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower, thiserror::Error)]
#[component(variant)]
pub enum PublishError {
    /// The topic is not among those that were asked for and granted.
    #[error("the topic is not granted")]
    #[component(name = "not-permitted")]
    NotPermitted,
    /// It is no topic; why.
    #[error("{0}")]
    #[component(name = "invalid-topic")]
    InvalidTopic(String),
    /// Larger than any component takes; the limit in bytes.
    #[error("the message is larger than the {0} bytes that any component takes")]
    #[component(name = "too-large")]
    TooLarge(u64),
    /// This call has published as many bytes as it may; the limit.
    #[error("this call would publish more than {0} bytes")]
    #[component(name = "too-much")]
    TooMuch(u64),
    /// More components subscribe to it than one message goes to; the limit.
    #[error("more than {0} components subscribe to it")]
    #[component(name = "too-many-subscribers")]
    TooManySubscribers(u64),
    /// This call has sent as many as it may; the limit.
    #[error("this call has sent the {0} messages that it may")]
    #[component(name = "too-many-sends")]
    TooManySends(u64),
    /// The chain of messages that led here is as long as it may get; the limit.
    #[error("the chain of messages that led here has the {0} steps that it may")]
    #[component(name = "too-many-hops")]
    TooManyHops(u32),
    /// The instance sends at the rate that it may; milliseconds until it may send again.
    #[error("the component sends at the rate that it may; it may again in {0} ms")]
    #[component(name = "rate-exceeded")]
    RateExceeded(u64),
}

/// Why there is no new subscription.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower, thiserror::Error)]
#[component(variant)]
pub enum SubscribeError {
    /// Not all that the pattern means was asked for and granted.
    #[error("the pattern is not granted")]
    #[component(name = "not-permitted")]
    NotPermitted,
    /// It is no pattern; why.
    #[error("{0}")]
    #[component(name = "invalid-pattern")]
    InvalidPattern(String),
    /// The instance has made as many subscriptions as it may; the limit.
    #[error("the instance has made the {0} subscriptions that it may")]
    #[component(name = "too-many-subscriptions")]
    TooManySubscriptions(u64),
    /// It exports nothing that takes messages.
    #[error("the component exports no message handler")]
    #[component(name = "no-handler")]
    NoHandler,
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Store<'s> = StoreContextMut<'s, Guest>;
    let mut topics = linker.instance(INTERFACE)?;
    topics.func_wrap("publish", |store: Store<'_>, (topic, body): (WasmStr, BodyInGuest)| {
        let published = with_outbox(store, |outbox, store| {
            let topic = topic.to_str(store)?;
            Ok(outbox.publish(&topic, body.content(store)))
        });
        Ok((published?,))
    })?;
    topics.func_wrap("subscribe", |store: Store<'_>, (pattern,): (WasmStr,)| {
        let subscribed = with_outbox(store, |outbox, store| Ok(outbox.subscribe(&pattern.to_str(store)?)));
        Ok((subscribed?,))
    })?;
    topics.func_wrap("unsubscribe", |store: Store<'_>, (pattern,): (WasmStr,)| {
        let unsubscribed = with_outbox(store, |outbox, store| Ok(outbox.unsubscribe(&pattern.to_str(store)?)));
        Ok((unsubscribed?,))
    })
}
