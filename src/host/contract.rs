//! Owns the types of `wit/actor.wit` as this host passes them to guests.
//!
//! A test holds them against the WIT file itself. What a host function does stands beside it.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lower};

/// The words that the other interfaces share.
pub const TYPES: &str = "airssys:component/types@0.1.0";
/// Start and end of an instance.
pub const LIFECYCLE: &str = "airssys:component/lifecycle@0.1.0";
/// Where messages arrive.
pub const MESSAGE_HANDLER: &str = "airssys:component/message-handler@0.1.0";

/// Who sent a message.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(variant)]
pub enum Sender {
    /// Another installation on this host.
    #[component(name = "installation")]
    Installation(Arc<str>),
    /// A trigger of the desired file, by its place in the file, from 0.
    #[component(name = "trigger")]
    Trigger(u32),
    /// The host itself.
    #[component(name = "host")]
    Host,
}

/// One message as it reaches the handler.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct Message {
    /// Unique on this host as long as the host runs.
    pub id: u64,
    /// Who sent it.
    pub sender: Sender,
    /// Its content.
    pub payload: Vec<u8>,
}

/// Parameters of `init`: the config as JSON.
pub type InitParams = (Arc<str>,);
/// Result of `init`.
pub type InitResults = (Result<(), String>,);
/// Parameters of `handle`.
pub type HandleParams = (Message,);
/// Result of `handle`: a reply or none, or an error in the guest's words.
pub type HandleResults = (Result<Option<Vec<u8>>, String>,);
