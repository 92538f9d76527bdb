//! Owns `airssys:component/requests`: a guest asks other components, and hears the answers later.
//!
//! Does not decide who may be asked nor how long; that is the [`Outbox`](super::Outbox)'s part.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, WasmStr};

use super::messaging::{BodyInGuest, with_outbox};
use super::{Guest, SendError};

pub(super) const INTERFACE: &str = "airssys:component/requests@0.1.0";

/// Why a request was not taken. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower, thiserror::Error)]
#[component(variant)]
pub enum RequestError {
    /// Its message was not taken.
    #[error(transparent)]
    #[component(name = "not-sent")]
    NotSent(#[from] SendError),
    /// The instance waits for as many answers as it may; the limit.
    #[error("the instance waits for the {0} answers that it may")]
    #[component(name = "too-many-requests")]
    TooManyRequests(u64),
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let request = |store: StoreContextMut<'_, Guest>, (link, body, timeout_ms): (WasmStr, BodyInGuest, u64)| {
        let requested = with_outbox(store, |outbox, store| {
            let link = link.to_str(store)?;
            Ok(outbox.request(&link, body.content(store), timeout_ms))
        });
        Ok((requested?,))
    };
    let cancel = |mut store: StoreContextMut<'_, Guest>, (id,): (u64,)| Ok((store.data_mut().outbox.cancel(id),));
    let mut requests = linker.instance(INTERFACE)?;
    requests.func_wrap("request", request)?;
    requests.func_wrap("cancel", cancel)
}
