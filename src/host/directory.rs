//! Owns `airssys:component/directory`: a guest asks whom it may talk to.
//!
//! Does not decide who that is; that is the [`Outbox`](super::Outbox)'s part, as it is for what is sent.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, WasmStr};

use super::Guest;
use super::contract::GuestCodec;
use super::messaging::with_outbox;

pub(super) const INTERFACE: &str = "airssys:component/directory@0.1.0";

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct Contact {
    /// The word by which the component knows it.
    pub link: String,
    /// The installation that it leads to.
    pub installation: String,
    /// What is there, if it receives from the component.
    pub component: Option<ComponentInfo>,
}

/// What an installation is.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct ComponentInfo {
    /// Its package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The codecs that it declares.
    pub codecs: Vec<GuestCodec>,
    /// Whether it takes messages now.
    #[component(name = "takes-messages")]
    pub takes_messages: bool,
    /// Its publisher's own data, as JSON.
    pub metadata: String,
}

/// Some contacts, in the order of their links.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct ContactPage {
    /// They.
    pub contacts: Vec<Contact>,
    /// The link behind which the next page begins.
    pub next: Option<String>,
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Store<'s> = StoreContextMut<'s, Guest>;
    let mut directory = linker.instance(INTERFACE)?;
    directory.func_wrap("contacts", |store: Store<'_>, (after, limit): (Option<WasmStr>, u32)| {
        let page = with_outbox(store, |outbox, store| {
            let after = after.as_ref().map(|after| after.to_str(store)).transpose()?;
            Ok(outbox.contacts(after.as_deref(), limit))
        });
        Ok((page?,))
    })?;
    directory.func_wrap("find", |store: Store<'_>, (link,): (WasmStr,)| {
        Ok((with_outbox(store, |outbox, store| Ok(outbox.contact(&link.to_str(store)?)))?,))
    })
}
