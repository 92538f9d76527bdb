//! Owns the types of `wit/actor.wit` as this host passes them to guests.
//!
//! A test holds them against the WIT file itself. What a host function does stands beside it.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::codec::{Codec, Payload};

use super::{draining, health, migration, operations, reconfiguration};

/// The words that the other interfaces share.
pub const TYPES: &str = "airssys:component/types@0.1.0";
/// Start and end of an instance.
pub const LIFECYCLE: &str = "airssys:component/lifecycle@0.1.0";
/// Where messages arrive.
pub const MESSAGE_HANDLER: &str = "airssys:component/message-handler@0.1.0";
/// Where answers arrive.
pub const CALLBACK_HANDLER: &str = "airssys:component/callback-handler@0.1.0";

/// Every interface that the host calls where a component exports it.
pub const CALLED: &[&str] = &[
    LIFECYCLE,
    MESSAGE_HANDLER,
    CALLBACK_HANDLER,
    draining::INTERFACE,
    health::INTERFACE,
    migration::INTERFACE,
    operations::INTERFACE,
    reconfiguration::INTERFACE,
];
/// Those of them through which other components reach it.
pub const RELAYED: &[&str] = &[MESSAGE_HANDLER];

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

/// The form in which a content is written: [`Codec`] as guests say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum GuestCodec {
    /// [`Codec::Raw`].
    #[component(name = "raw")]
    Raw,
    /// [`Codec::Json`].
    #[component(name = "json")]
    Json,
    /// [`Codec::Msgpack`].
    #[component(name = "msgpack")]
    Msgpack,
    /// [`Codec::Borsh`].
    #[component(name = "borsh")]
    Borsh,
    /// [`Codec::Cbor`].
    #[component(name = "cbor")]
    Cbor,
    /// [`Codec::Protobuf`].
    #[component(name = "protobuf")]
    Protobuf,
    /// [`Codec::Bincode`].
    #[component(name = "bincode")]
    Bincode,
    /// [`Codec::Yaml`].
    #[component(name = "yaml")]
    Yaml,
}

/// A content and the form in which it is written: [`Payload`] as guests say it.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Body {
    /// The form.
    pub codec: GuestCodec,
    /// The content.
    pub data: Vec<u8>,
}

/// One message as it reaches the handler.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct Message {
    /// Unique on this host as long as the host runs.
    pub id: u64,
    /// Who sent it.
    pub sender: Sender,
    /// Whether somebody waits for an answer.
    #[component(name = "wants-reply")]
    pub wants_reply: bool,
    /// The topic to which it was published.
    pub topic: Option<Arc<str>>,
    /// Its content.
    pub body: Body,
}

macro_rules! same_codecs {
    ($($codec:ident)+) => {
        impl From<Codec> for GuestCodec {
            fn from(codec: Codec) -> Self {
                match codec {
                    $(Codec::$codec => Self::$codec,)+
                }
            }
        }

        impl From<GuestCodec> for Codec {
            fn from(codec: GuestCodec) -> Self {
                match codec {
                    $(GuestCodec::$codec => Self::$codec,)+
                }
            }
        }
    };
}

same_codecs!(Raw Json Msgpack Borsh Cbor Protobuf Bincode Yaml);

impl From<Payload> for Body {
    fn from(Payload { codec, bytes }: Payload) -> Self {
        Self { codec: codec.into(), data: bytes }
    }
}

impl From<Body> for Payload {
    fn from(Body { codec, data }: Body) -> Self {
        Self::new(codec.into(), data)
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(variant)]
pub enum CallbackError {
    /// The target answered with an error; its words.
    #[component(name = "failed")]
    Failed(String),
    /// The target crashed with the message in hand, or what it wrote could not be kept.
    #[component(name = "crashed")]
    Crashed,
    /// The target was stopped before it came to the message.
    #[component(name = "stopped")]
    Stopped,
    /// The time is over.
    #[component(name = "timed-out")]
    TimedOut,
    /// The answer is larger than the component takes; its limit in bytes.
    #[component(name = "too-large")]
    TooLarge(u64),
}

/// The answer to a request.
pub type Answer = Result<Option<Body>, CallbackError>;

/// Parameters of `init`: the config as JSON.
pub type InitParams = (Arc<str>,);
/// Result of `init`.
pub type InitResults = (Result<(), String>,);
/// Parameters of `handle`. Shared, so that the host has the message back when it was not handled.
pub type HandleParams = (Arc<Message>,);
/// Result of `handle`: a reply or none, or an error in the guest's words.
pub type HandleResults = (Result<Option<Body>, String>,);
/// Parameters of `handle-callback`: which request, and its answer.
pub type CallbackParams = (u64, Answer);
/// Result of `handle-callback`.
pub type CallbackResults = (Result<(), String>,);

#[cfg(test)]
mod tests {
    use wasmtime::component::{HasSelf, Linker};

    use crate::engine::{Engine, EngineConfig};
    use crate::host::QuietLinker;
    use crate::test_guest::TestGuest;

    /// What the WIT file says, as the engine's own generator understands it.
    mod wit {
        wasmtime::component::bindgen!({ path: "wit", world: "everything" });
    }

    /// Does nothing; only its types matter.
    struct Nothing;

    impl wit::airssys::component::types::Host for Nothing {}

    impl wit::airssys::component::log::Host for Nothing {
        fn log(&mut self, _: wit::airssys::component::log::Level, _: String) {}
    }

    impl wit::airssys::component::config::Host for Nothing {
        fn get(&mut self, _: String) -> Option<String> {
            None
        }
    }

    impl wit::airssys::component::directory::Host for Nothing {
        fn contacts(&mut self, _: Option<String>, _: u32) -> wit::airssys::component::directory::ContactPage {
            wit::airssys::component::directory::ContactPage { contacts: Vec::new(), next: None }
        }
        fn find(&mut self, _: String) -> Option<wit::airssys::component::directory::Contact> {
            None
        }
    }

    impl wit::airssys::component::messaging::Host for Nothing {
        fn send(
            &mut self,
            _: String,
            _: wit::airssys::component::types::Body,
        ) -> Result<(), wit::airssys::component::messaging::SendError> {
            Ok(())
        }
    }

    impl wit::airssys::component::multicodec::Host for Nothing {
        fn encode(&mut self, _: wit::airssys::component::types::Body) -> Vec<u8> {
            Vec::new()
        }
        fn decode(
            &mut self,
            _: Vec<u8>,
        ) -> Result<wit::airssys::component::types::Body, wit::airssys::component::multicodec::MulticodecError>
        {
            Err(wit::airssys::component::multicodec::MulticodecError::Empty)
        }
        fn is_supported(&mut self, _: wit::airssys::component::multicodec::CodecKey) -> bool {
            false
        }
        fn info(
            &mut self,
            _: wit::airssys::component::multicodec::CodecKey,
        ) -> Option<wit::airssys::component::multicodec::CodecInfo> {
            None
        }
    }

    impl wit::airssys::component::topics::Host for Nothing {
        fn publish(
            &mut self,
            _: String,
            _: wit::airssys::component::types::Body,
        ) -> Result<u32, wit::airssys::component::topics::PublishError> {
            Ok(0)
        }
        fn subscribe(&mut self, _: String) -> Result<(), wit::airssys::component::topics::SubscribeError> {
            Ok(())
        }
        fn unsubscribe(&mut self, _: String) -> bool {
            false
        }
    }

    type Stored<T> = Result<T, wit::airssys::component::storage::StorageError>;

    impl wit::airssys::component::storage::Host for Nothing {
        fn get(&mut self, _: String) -> Stored<Option<Vec<u8>>> {
            Ok(None)
        }
        fn has(&mut self, _: String) -> Stored<bool> {
            Ok(false)
        }
        fn set(&mut self, _: String, _: Vec<u8>) -> Stored<()> {
            Ok(())
        }
        fn delete(&mut self, _: String) -> Stored<bool> {
            Ok(false)
        }
        fn keys(&mut self, _: String, _: Option<String>, _: u32) -> Stored<wit::airssys::component::storage::KeyPage> {
            Ok(wit::airssys::component::storage::KeyPage { keys: Vec::new(), next: None })
        }
        fn scan(
            &mut self,
            _: String,
            _: Option<String>,
            _: u32,
        ) -> Stored<wit::airssys::component::storage::EntryPage> {
            Ok(wit::airssys::component::storage::EntryPage { entries: Vec::new(), next: None })
        }
        fn size(&mut self) -> Stored<wit::airssys::component::storage::Usage> {
            Ok(wit::airssys::component::storage::Usage { bytes: 0, keys: 0 })
        }
        fn clear(&mut self) -> Stored<()> {
            Ok(())
        }
        fn get_many(&mut self, _: Vec<String>) -> Stored<Vec<Option<Vec<u8>>>> {
            Ok(Vec::new())
        }
        fn set_many(&mut self, _: Vec<wit::airssys::component::storage::Entry>) -> Stored<()> {
            Ok(())
        }
    }

    impl wit::airssys::component::requests::Host for Nothing {
        fn request(
            &mut self,
            _: String,
            _: wit::airssys::component::types::Body,
            _: u64,
        ) -> Result<u64, wit::airssys::component::requests::RequestError> {
            Ok(0)
        }

        fn cancel(&mut self, _: u64) -> bool {
            false
        }
    }

    #[test]
    fn what_the_host_calls_is_what_the_world_exports() {
        let wit = include_str!("../../wit/actor.wit");
        let (_, worlds) = wit.split_once("world actor {").expect("the world of all interfaces");
        let exports = worlds.lines().filter_map(|line| line.trim().strip_prefix("export ")?.strip_suffix(';'));
        let exports: Vec<String> = exports.map(|name| format!("airssys:component/{name}@0.1.0")).collect();
        assert_eq!(super::CALLED, exports);
    }

    #[test]
    fn the_types_of_this_host_are_those_of_the_wit_file() {
        let engine = Engine::new(&EngineConfig::default()).unwrap();
        // One component that uses everything: whoever can link it has its types.
        let guest = TestGuest::new().storage().multicodec().topics().callback("(call $ok_unit)");
        let guest = guest.health("unreachable").migrate("unreachable").drain("").reconfigure("unreachable");
        let guest = guest.operations("unreachable");
        let compiled = engine.compile_for_test(&guest.wasm()).unwrap();
        let linked = QuietLinker::new(&engine).unwrap().link(&compiled).unwrap();
        let exports = &linked.exports;
        assert!(exports.init.is_some() && exports.shutdown.is_some() && exports.callback.is_some());
        assert!(exports.check.is_some() && exports.migrate.is_some() && exports.drain.is_some());
        assert!(exports.reconfigure.is_some() && exports.execute.is_some());
        assert!(linked.takes_messages());

        let mut linker: Linker<Nothing> = Linker::new(engine.wasmtime());
        wit::Everything::add_to_linker::<_, HasSelf<_>>(&mut linker, |nothing| nothing).unwrap();
        let pre = linker.instantiate_pre(compiled.component()).unwrap();
        wit::EverythingPre::new(pre).unwrap();
    }
}
