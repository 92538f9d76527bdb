//! Owns `airssys:component/multicodec`: a guest puts the prefix of a codec before a content, and takes it off.
//!
//! What a prefix is, [`codec`](crate::codec) decides. A content is brought into the host for it, so
//! [`HOSTCALL_BYTES`](super::HOSTCALL_BYTES) bounds it.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use super::Guest;
use super::contract::{Body, GuestCodec};
use crate::codec::{Codec, Info, Payload, PrefixError};

pub(super) const INTERFACE: &str = "airssys:component/multicodec@0.1.0";

/// Why bytes do not begin with the prefix of a codec: [`PrefixError`] as guests hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(variant)]
enum MulticodecError {
    #[component(name = "empty")]
    Empty,
    #[component(name = "truncated")]
    Truncated,
    #[component(name = "too-long")]
    TooLong,
    #[component(name = "not-minimal")]
    NotMinimal,
    #[component(name = "unknown-codec")]
    UnknownCodec(u64),
}

impl From<PrefixError> for MulticodecError {
    fn from(error: PrefixError) -> Self {
        match error {
            PrefixError::Empty => Self::Empty,
            PrefixError::Truncated => Self::Truncated,
            PrefixError::TooLong => Self::TooLong,
            PrefixError::NotMinimal => Self::NotMinimal,
            PrefixError::Unknown(code) => Self::UnknownCodec(code),
        }
    }
}

/// What names a codec.
#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
enum CodecKey {
    #[component(name = "code")]
    Code(u64),
    #[component(name = "name")]
    Name(String),
}

impl CodecKey {
    fn codec(&self) -> Option<Codec> {
        match self {
            Self::Code(code) => Codec::of_code(*code),
            Self::Name(name) => name.parse().ok(),
        }
    }
}

/// What is known about a codec.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
struct CodecInfo {
    codec: GuestCodec,
    code: u32,
    name: &'static str,
    tag: &'static str,
    status: &'static str,
}

impl From<Codec> for CodecInfo {
    fn from(codec: Codec) -> Self {
        let Info { code, name, tag, status } = codec.info();
        Self { codec: codec.into(), code, name, tag: tag.as_str(), status: status.as_str() }
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Store<'s> = StoreContextMut<'s, Guest>;
    let mut multicodec = linker.instance(INTERFACE)?;
    multicodec.func_wrap("encode", |_: Store<'_>, (body,): (Body,)| Ok((Payload::from(body).encode(),)))?;
    multicodec.func_wrap("decode", |_: Store<'_>, (encoded,): (Vec<u8>,)| {
        Ok((Payload::decode(&encoded).map(Body::from).map_err(MulticodecError::from),))
    })?;
    multicodec.func_wrap("is-supported", |_: Store<'_>, (key,): (CodecKey,)| Ok((key.codec().is_some(),)))?;
    multicodec.func_wrap("info", |_: Store<'_>, (key,): (CodecKey,)| Ok((key.codec().map(CodecInfo::from),)))
}
